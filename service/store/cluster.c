/*
 * cluster.c - the record of the cluster, and the schema that goes with it (see cluster.h). Knows nothing of what the cluster
 * orders.
 */
#include "service/store/cluster.h"

#include <string.h>

#include "service/store/internal.h"

uint32_t
store_schema(const struct store *store)
{
	return store->identity.schema;
}

int
store_cluster(struct store_txn *txn, struct record_cluster *cluster)
{
	struct lmdb_value value;
	int fault;

	if ((fault = store_get(txn, TABLE_META, CLUSTER, strlen(CLUSTER), &value)) != 0)
		return fault;
	return store_count_damage(txn->store,
	    record_get_cluster(txn->pepper, CLUSTER, strlen(CLUSTER), value.data, value.len, cluster));
}

struct position
store_position_of(const struct record_cluster *cluster)
{
	return (struct position){ .cluster = position_cluster(cluster->cluster), .entry = cluster->number };
}

int
store_position(struct store_txn *txn, struct position *position)
{
	uint64_t snapshot = lmdb_snapshot(txn->txn);
	struct record_cluster cluster;
	int fault;

	if (txn->positioned != snapshot) {
		memset(&cluster, 0, sizeof(cluster));
		if ((fault = store_cluster(txn, &cluster)) != 0 && fault != -FAULT_NOT_FOUND)
			return fault;
		txn->position = store_position_of(&cluster);
		txn->positioned = snapshot;
	}
	*position = txn->position;
	return 0;
}

static void
put_schema(struct store_txn *txn, uint32_t schema)
{
	struct record_identity identity = txn->store->identity;
	struct record_bytes value;

	/*
	 * What is compared is what this transaction has. Were it what an earlier one had, which was aborted, the record could
	 * be committed without its schema.
	 */
	if (txn->store->next_schema == schema)
		return;
	txn->store->next_schema = identity.schema = schema;
	record_put_identity(txn->pepper, IDENTITY, strlen(IDENTITY), &identity, &value);
	lmdb_put(txn->txn, TABLE_META, IDENTITY, strlen(IDENTITY), value.bytes, value.len);
}

int
store_put_cluster(struct store_txn *txn, const struct record_cluster *cluster)
{
	struct record_bytes value;

	put_schema(txn, RECORD_SCHEMA_CLUSTER);
	record_put_cluster(txn->pepper, CLUSTER, strlen(CLUSTER), cluster, &value);
	lmdb_put(txn->txn, TABLE_META, CLUSTER, strlen(CLUSTER), value.bytes, value.len);
	return lmdb_fault(txn->txn);
}

int
store_del_cluster(struct store_txn *txn)
{
	struct record_cluster cluster;

	if (store_cluster(txn, &cluster) == -FAULT_NOT_FOUND)
		return 0;
	put_schema(txn, RECORD_SCHEMA);
	lmdb_del(txn->txn, TABLE_META, CLUSTER, strlen(CLUSTER));
	return lmdb_fault(txn->txn);
}
