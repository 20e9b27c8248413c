/*
 * etcd.h - transactions and a watch, over gRPC on HTTP/2 with TLS, by libcurl. Nothing else of the agent knows libcurl.
 *
 * One of several members is used at a time. When it cannot be reached, or says that it has no leader, the next one is used
 * for what comes later. No transaction is ever sent twice.
 * Threads: one.
 */
#ifndef CLUSTER_ETCD_H
#define CLUSTER_ETCD_H

#include <poll.h>
#include <stdbool.h>

#include "client/cluster/txn.h"

struct etcd;

struct etcd_options {
	char *const *endpoints; /* https://HOST:PORT; borrowed until etcd_free(), as are the others */
	size_t n_endpoints;
	const char *ca, *cert, *key; /* PEM files; cert and key may be NULL */
	const char *prefix;          /* of all keys */
	const char *watched;         /* the key, without the prefix, whose changes are told */
	/* A transaction has ended. ${result} is the callee's. */
	void (*done)(void *arg, Fob__V1__Result *result);
	/* ${watched} has changed, or may have. */
	void (*changed)(void *arg);
	/* What is wrong, in a sentence for an operator; empty: nothing is any more. Called when it changes. */
	void (*trouble)(void *arg, const char *text);
	void *arg;
};

/* NULL without memory. ${options} is copied, what it points to is borrowed. */
struct etcd *etcd_new(const struct etcd_options *options);
/* What is under way is dropped, and not told. NULL is allowed. */
void etcd_free(struct etcd *etcd);

/* Begin a transaction. Its end is told by options->done, perhaps before this returns. */
void etcd_transact(struct etcd *etcd, const Fob__V1__Transaction *txn);

/*
 * etcd_wait(etcd, fds, n, timeout_ms):
 * Wait until one of ${fds} is ready, or something of etcd's is, or the time is over; and do what can be done. Sets revents.
 */
void etcd_wait(struct etcd *etcd, struct pollfd *fds, unsigned n, int timeout_ms);

#endif
