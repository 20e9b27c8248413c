/*
 * network.h - the way between a node's fleet and etcd, its agent included: delays, losses, cuts, and transactions that take
 * effect long after the node was told that their outcome is unknown.
 */
#ifndef CLUSTER_NETWORK_H
#define CLUSTER_NETWORK_H

#include "service/cluster/fleet.h"

struct node;

/* Carry out ${txn}. The node is told by node_result(), or never. */
void network_send(struct node *node, const struct fleet_txn *txn);

#endif
