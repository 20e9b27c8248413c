/*
 * cluster.h - what the database says of the cluster that it is a node of.
 */
#ifndef STORE_CLUSTER_H
#define STORE_CLUSTER_H

#include "proto/c/position.h"
#include "service/store/store.h"

/*
 * Of the database, as committed: RECORD_SCHEMA_CLUSTER with a cluster's record, RECORD_SCHEMA without; an older one where
 * the store was not opened for writing.
 */
uint32_t store_schema(const struct store *store);

/* Returns: 0; -FAULT_NOT_FOUND: it is in no cluster; another fault. */
int store_cluster(struct store_txn *txn, struct record_cluster *cluster);

/*
 * In a read transaction: the newest entry that the snapshot has applied; its number is 0 before the first one, and where the
 * database is in no cluster. The record is read only where the snapshot is another one than at the last call.
 * Returns: 0, or a negative fault.
 */
int store_position(struct store_txn *txn, struct position *position);
/* The same of a record. */
struct position store_position_of(const struct record_cluster *cluster);

/*
 * In a write transaction. From the first time on the database has a schema that an older fobd refuses, because that would
 * change it without the cluster. Returns: 0, or a negative fault, after which the transaction can only be aborted.
 */
int store_put_cluster(struct store_txn *txn, const struct record_cluster *cluster);
/* It is in no cluster any more. Nothing is done where it was in none. Returns: likewise. */
int store_del_cluster(struct store_txn *txn);

#endif
