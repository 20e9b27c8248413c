/*
 * node.h - the connection to fobd: Fob's wire on a unix socket that never blocks, with several requests under way.
 * Threads: one.
 */
#ifndef CLUSTER_NODE_H
#define CLUSTER_NODE_H

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct node;

/* ${path}: of the unix socket; borrowed. NULL without memory. */
struct node *node_new(const char *path);
void node_free(struct node *node);

/* Connect, if it is not connected. Returns whether it is. */
bool node_connect(struct node *node);
void node_close(struct node *node);
/* What to wait for. fd -1: it is not connected. */
struct pollfd node_poll(const struct node *node);

/* Send a request; copied. Returns its id; 0: the connection is closed, or there is no memory. */
uint32_t node_send(struct node *node, const uint8_t *request, size_t len);
/*
 * Write what waits to be written, and read what has come. Returns false: the connection is closed now, and what was under
 * way is lost.
 */
bool node_run(struct node *node);
/*
 * The next reply that is whole; borrowed until the next call. Returns false when there is none.
 */
bool node_reply(struct node *node, uint32_t *id, const uint8_t **reply, size_t *len);

#endif
