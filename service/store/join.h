/*
 * join.h - a copy of a node's database becomes that of another node of its cluster. It replays nothing: that is the log's
 * part, when the node runs.
 */
#ifndef STORE_JOIN_H
#define STORE_JOIN_H

#include "service/store/open.h"

/*
 * store_join(txn, replica, cluster):
 * In a write transaction on a copy: it is one no more, but the database of the node ${replica}. *${cluster}: what it says
 * of its cluster from then on. Returns: 0; -FAULT_NOT_FOUND: it is of no cluster; another negative fault.
 */
int store_join(
    struct store_txn *txn, const uint8_t replica[RECORD_CLUSTER_ID_LEN], struct record_cluster *cluster);

/*
 * store_join_copy(options, path, id, replica, cluster, why, why_len):
 * The same of the file ${path}, whose commit is synced. ${options}: of the database in whose place it is to be put. ${id}:
 * the cluster that it has to be of.
 * Returns: 0; a negative fault with one line at ${why}.
 */
int store_join_copy(const struct store_options *options, const char *path, const uint8_t id[RECORD_CLUSTER_ID_LEN],
    const uint8_t replica[RECORD_CLUSTER_ID_LEN], struct record_cluster *cluster, char *why, size_t why_len);

/*
 * store_join_empty(options, why, why_len):
 * Make a new database that is of no use but to be replaced by a copy: its node asks the others for one. The pepper is
 * theirs, and has to be there. A database that is there already is refused.
 * Returns: 0; -1 with one line at ${why}.
 */
int store_join_empty(const struct store_options *options, char *why, size_t why_len);

#endif
