/*
 * verify.h - a verify at a node, in the order of service/rpc/verify.c: load fresh_until, take the snapshot, look at the clock.
 */
#ifndef CLUSTER_VERIFY_H
#define CLUSTER_VERIFY_H

struct node;

/* Begin one now. It is judged when it is answered. */
void verify_begin(struct node *node);

#endif
