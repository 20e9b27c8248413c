/*
 * join.c - a copy becomes a node, or a node leaves its cluster (see join.h). Nothing is replayed: that is the log's part, when
 * the node runs.
 */
#include "service/offline/join.h"

#include <inttypes.h>
#include <sodium.h>

#include "service/base/names.h"
#include "service/store/cluster.h"
#include "service/store/join.h"

/* Steps, in a write transaction. Each returns 0, or -1 with a line at ${why}. */
static int
join(struct store_txn *txn, const struct store_options *options, struct record_cluster *cluster, char *why,
    size_t why_len)
{
	uint8_t replica[sizeof(cluster->replica)];
	int fault;

	randombytes_buf(replica, sizeof(replica));
	if ((fault = store_join(txn, replica, cluster)) == 0)
		return 0;
	if (fault == -FAULT_NOT_FOUND) {
		snprintf(why, why_len,
		    "%s: is a copy of a database that is in no cluster. Make the cluster first (fob cluster init), and then "
		    "a new copy",
		    options->path);
		return -1;
	}
	snprintf(why, why_len, "%s: the database is damaged, or cannot be written to", options->path);
	return -1;
}

static int
leave(struct store_txn *txn, const struct store_options *options, struct record_cluster *cluster, char *why,
    size_t why_len)
{
	int fault;

	if ((fault = store_cluster(txn, cluster)) == -FAULT_NOT_FOUND)
		snprintf(why, why_len, "%s: the database is in no cluster", options->path);
	else if (fault == 0 && sodium_is_zero(cluster->cluster, sizeof(cluster->cluster)))
		snprintf(why, why_len, "%s: the database is empty, and waits for a copy of another node's: remove it instead",
		    options->path);
	else if (fault == 0 && store_del_cluster(txn) == 0)
		return 0;
	else
		snprintf(why, why_len, "%s: the database is damaged, or cannot be written to", options->path);
	return -1;
}

typedef int (*step_cb)(struct store_txn *txn, const struct store_options *options, struct record_cluster *cluster,
    char *why, size_t why_len);

/* One step in a transaction of its own. Returns: as join_cluster(). */
static int
commit(const struct store_options *options, step_cb step, struct record_cluster *cluster, char *why, size_t why_len)
{
	struct store_txn *txn;
	struct store *store;
	int rc = -1;

	if (store_open(options, &store, why, why_len) != 0)
		return -1;
	if ((txn = store_txn_new(store)) == NULL || store_write(txn) != 0)
		snprintf(why, why_len, "%s: the database cannot be written to", options->path);
	else if (step(txn, options, cluster, why, why_len) != 0)
		store_abort(txn);
	else if (store_commit(txn) != 0)
		snprintf(why, why_len, "%s: the commit failed", options->path);
	else
		rc = 0;
	store_txn_free(txn);
	store_close(store);
	return rc;
}

int
join_cluster(const struct store_options *options, FILE *out, char *why, size_t why_len)
{
	struct record_cluster cluster;

	if (commit(options, join, &cluster, why, why_len) != 0)
		return -1;
	fprintf(out,
	    "%s: joined its cluster at entry %" PRIu64 ". Start fobd and fob-cluster: it serves when it has read the rest\n",
	    environment_name(options->environment), cluster.number);
	return 0;
}

int
join_empty(const struct store_options *options, FILE *out, char *why, size_t why_len)
{
	if (store_join_empty(options, why, why_len) != 0)
		return -1;
	fprintf(out,
	    "%s: made to join a cluster. Start fobd and fob-cluster: it fetches a copy from another node that has a listener "
	    "of role \"peer\"\n",
	    environment_name(options->environment));
	return 0;
}

int
join_leave(const struct store_options *options, FILE *out, char *why, size_t why_len)
{
	struct record_cluster cluster;

	if (commit(options, leave, &cluster, why, why_len) != 0)
		return -1;
	fprintf(out, "%s: in no cluster any more, as of entry %" PRIu64 " of the one that it was in\n",
	    environment_name(options->environment), cluster.number);
	return 0;
}
