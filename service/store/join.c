/*
 * join.c - a copy becomes a node's database, or an empty one is made to be replaced by a copy (see join.h).
 */
#include "service/store/join.h"

#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "service/store/cluster.h"
#include "service/store/copy.h"
#include "service/store/init.h"

/* The copy is mapped while it is changed, with some room to write. */
#define CHANGE_BYTES (16U << 20)

int
store_join(struct store_txn *txn, const uint8_t replica[RECORD_CLUSTER_ID_LEN], struct record_cluster *cluster)
{
	int fault;

	if ((fault = store_cluster(txn, cluster)) != 0)
		return fault;
	memcpy(cluster->replica, replica, sizeof(cluster->replica));
	store_unmark(txn);
	return store_put_cluster(txn, cluster);
}

/* Returns 0; a negative fault, with a sentence at *${why} where the fault does not say all. */
static int
join(struct store *store, const uint8_t id[RECORD_CLUSTER_ID_LEN], const uint8_t replica[RECORD_CLUSTER_ID_LEN],
    struct record_cluster *cluster, const char **why)
{
	struct store_txn *txn;
	int fault = -FAULT_INTERNAL;

	*why = "it cannot be written, or is damaged";
	if ((txn = store_txn_new(store)) != NULL && (fault = store_write(txn)) == 0) {
		fault = store_join(txn, replica, cluster);
		if (fault == -FAULT_NOT_FOUND || (fault == 0 && memcmp(cluster->cluster, id, RECORD_CLUSTER_ID_LEN) != 0)) {
			*why = "it is not of this cluster";
			fault = -FAULT_FAILED_PRECONDITION;
		}
		if (fault != 0)
			store_abort(txn);
		else
			fault = store_commit(txn);
	}
	store_txn_free(txn);
	return fault;
}

int
store_join_copy(const struct store_options *options, const char *path, const uint8_t id[RECORD_CLUSTER_ID_LEN],
    const uint8_t replica[RECORD_CLUSTER_ID_LEN], struct record_cluster *cluster, char *why, size_t why_len)
{
	struct store_options of_copy = *options;
	struct store *store;
	struct stat st;
	const char *what;
	int fault;

	of_copy.use = STORE_JOIN;
	of_copy.path = path;
	if (stat(path, &st) == 0)
		of_copy.ceiling_bytes = (uint64_t)st.st_size + CHANGE_BYTES;
	if ((fault = store_open(&of_copy, &store, why, why_len)) != 0)
		return fault;
	if ((fault = join(store, id, replica, cluster, &what)) != 0)
		snprintf(why, why_len, "%s: cannot make this copy a node's database: %s", path, what);
	store_close(store);
	return fault;
}

int
store_join_empty(const struct store_options *options, char *why, size_t why_len)
{
	struct store_options empty = *options;
	struct record_cluster cluster = { .number = 0 };
	struct store_txn *txn = NULL;
	struct store *store;
	int fault;

	empty.use = STORE_SERVE;
	empty.to_replace = true;
	if (store_init(&empty, why, why_len) != 0)
		return -1;
	if (store_open(&empty, &store, why, why_len) != 0)
		return -1;
	fault = -FAULT_INTERNAL;
	randombytes_buf(cluster.replica, sizeof(cluster.replica));
	if ((txn = store_txn_new(store)) != NULL && (fault = store_write(txn)) == 0) {
		if ((fault = store_put_cluster(txn, &cluster)) != 0)
			store_abort(txn);
		else
			fault = store_commit(txn);
	}
	store_txn_free(txn);
	store_close(store);
	if (fault != 0)
		snprintf(why, why_len, "%s: cannot write the new database", options->path);
	return fault == 0 ? 0 : -1;
}
