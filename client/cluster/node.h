/*
 * node.h - the connection to fobd: a unix socket on which requests and replies go in any order, by proto/c/sp.h. When it
 * is lost it is made again, after a pause that grows. Never waits.
 * Threads: one. Callbacks are called within node_turn().
 */
#ifndef CLUSTER_NODE_H
#define CLUSTER_NODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct node_callbacks {
	void (*on_up)(void *arg);
	/* What was under way is lost. ${why} is NULL when node_drop() was called. */
	void (*on_down)(void *arg, const char *why);
	/* ${code}: a fob.rpc.v1.Code, and ${message} its reason of ${message_len} bytes. All borrowed. */
	void (*on_reply)(void *arg, int code, const char *message, size_t message_len, const uint8_t *body, size_t len);
	void *arg;
};

struct node;

/* ${path}: of the socket; borrowed. Returns: NULL when out of memory, or when ${path} is too long for a socket. */
struct node *node_new(const char *path, const struct node_callbacks *callbacks);
void node_free(struct node *node); /* takes NULL */

int node_fd(const struct node *node); /* -1: there is none */
short node_events(const struct node *node);
/* How long until node_turn() is to be called without an event; -1: not at all. */
int node_wait_ms(const struct node *node, int64_t now_ms);

/* Do what can be done without waiting. */
void node_turn(struct node *node, int64_t now_ms);

/* Send a request. Returns: 0; -1 when there is no connection, or out of memory. */
int node_send(struct node *node, const char *method, uint32_t timeout_ms, const uint8_t *body, size_t len);

/* Close the connection. It is made again after the longest pause. */
void node_drop(struct node *node, int64_t now_ms);

#endif
