/*
 * node_internal.h - the inside of a node: node.c has its machine and process, node_writer.c what service/engine/order_commit.c
 * does. Nobody else includes it.
 */
#ifndef CLUSTER_NODE_INTERNAL_H
#define CLUSTER_NODE_INTERNAL_H

#include "tests/cluster/node.h"

/* What order_publish() does. */
void node_publish(struct node *node);
/* One round of the writer. */
void writer_run(struct node *node);
/* When the writer has something to do by time alone. */
int64_t writer_wake_us(const struct node *node);
/* The process ends: nobody answers, or ${answer}. */
void writer_drop(struct node *node, bool answer);

#endif
