/*
 * join.h - make a new node of a cluster, of a copy of another node's database or without one; or let one leave it.
 */
#ifndef JOIN_H
#define JOIN_H

#include <stdio.h>

#include "service/store/open.h"

/*
 * join_cluster(options, out, why, why_len):
 * Make the marked copy at ${options}, opened with STORE_RESTORE, the database of a new node: it gets a replica id of its
 * own, and keeps the cluster's and the number of the entry that it has. What has changed since the copy was taken it reads
 * from the log, before it serves. Refused: a copy of a database that is in no cluster. What was done is written to ${out}.
 * Returns: 0; -1 with one line at ${why}, and nothing has changed.
 */
int join_cluster(const struct store_options *options, FILE *out, char *why, size_t why_len);

/*
 * join_empty(options, out, why, why_len):
 * The same where there is no copy: see store_join_empty(). The node fetches one itself when it runs.
 */
int join_empty(const struct store_options *options, FILE *out, char *why, size_t why_len);

/*
 * join_leave(options, out, why, why_len):
 * Let the database at ${options}, opened with STORE_SERVE, be in no cluster any more: its own changes are all that it gets.
 * Refused: one that is in none, or is empty and waits for a copy. Returns: likewise.
 */
int join_leave(const struct store_options *options, FILE *out, char *why, size_t why_len);

#endif
