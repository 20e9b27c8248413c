/*
 * etcd.h - the one place that knows libcurl, and that etcd is spoken to by gRPC over HTTP/2 with TLS. It makes
 * transactions, and watches the head of the log as a doorbell: any message of the watch means "changed".
 *
 * One endpoint is used at a time. When it cannot be reached, says that it is unavailable or lets a transaction's time
 * run out, the next one is. No transaction is ever sent twice: libcurl could only do that if it could rewind the body,
 * and it cannot.
 * Threads: one. Callbacks are called within etcd_turn() and etcd_begin(), and may call etcd_begin() only.
 */
#ifndef CLUSTER_ETCD_H
#define CLUSTER_ETCD_H

#include <poll.h>
#include <stddef.h>
#include <stdint.h>

#include "fob/v1/cluster.pb-c.h"

#define ETCD_ENDPOINTS_MAX 16
#define ETCD_UNDER_WAY 64 /* transactions. One more is NOT_SENT */
#define ETCD_TROUBLE_MAX 256

struct etcd_options {
	const char *const *endpoints; /* https://HOST:PORT */
	size_t n_endpoints;
	const char *ca, *cert, *key; /* files. ${cert} and ${key} may be NULL */
	const char *prefix;
};

struct etcd_callbacks {
	/* ${tag} is what etcd_begin() was given. ${result} is the callee's, to be freed as an unpacked message. */
	void (*on_result)(void *arg, uint32_t tag, Fob__V1__Result *result);
	void (*on_change)(void *arg);
	void *arg;
};

struct etcd;

/*
 * etcd_new(options, callbacks, out):
 * Ownership: ${options} is borrowed until etcd_free() or another etcd_reload(); the callbacks are copied.
 * Returns:   0; -1 when out of memory.
 */
int etcd_new(const struct etcd_options *options, const struct etcd_callbacks *callbacks, struct etcd **out);
/* Without callbacks. Takes NULL. */
void etcd_free(struct etcd *etcd);

/* New connections, which read the certificates' files again. What is under way ends: UNKNOWN, if it was sent. */
void etcd_reload(struct etcd *etcd, const struct etcd_options *options);

/* ${txn} is borrowed while this runs. Its result comes by on_result(), once, or never after etcd_free(). */
void etcd_begin(struct etcd *etcd, uint32_t tag, const Fob__V1__Transaction *txn);

#define ETCD_FDS_MAX 16
/*
 * Wait until there is something to do or one of ${fds}, at most ETCD_FDS_MAX, is ready; -1 is none. Not longer than
 * ${timeout_ms}. Then call etcd_turn().
 */
void etcd_wait(struct etcd *etcd, const struct pollfd *fds, unsigned n, int timeout_ms);
void etcd_turn(struct etcd *etcd);

/* Why etcd cannot be reached or refuses, in one sentence; empty when the last answer was good. */
const char *etcd_trouble(const struct etcd *etcd);

#endif
