/*
 * cluster.h - what the files of `fob cluster` share. Where no environment is named, one that is in no cluster is passed
 * over; only when none is in a cluster is that said.
 */
#ifndef CLI_CLUSTER_H
#define CLI_CLUSTER_H

#include "client/cli/cli.h"

#define CLUSTER_ID_HEX_SIZE (2 * FOB_CLUSTER_ID_LEN + 1)
#define CLUSTER_ID_SHORT 8 /* digits of a node's id in the table */

void cluster_id_hex(const uint8_t id[FOB_CLUSTER_ID_LEN], char out[CLUSTER_ID_HEX_SIZE]);

/* Connect, and see which environments are asked for, and are there. Returns CLI_OK, or the exit code with the reason said. */
int cluster_begin(struct cli *cli, enum fob_environment envs[2], size_t *n);

/*
 * cluster_status_of(cli, env, out, absent):
 * The status of ${env}, to be freed with fob_cluster_status_free(). *${out} is NULL when there is none; *${absent} counts
 * it where the environment is in no cluster and was not asked for by name.
 * Returns: CLI_OK; the exit code, having said why not.
 */
int cluster_status_of(struct cli *cli, enum fob_environment env, struct fob_cluster_status **out, size_t *absent);

/* After all ${n} were looked at. Returns ${rc}, or what it is when none of them is in a cluster, having said so. */
int cluster_all_absent(const struct cli *cli, const enum fob_environment *envs, size_t n, size_t absent, int rc);

#endif
