/*
 * service.h - what answers requests: the engines of the environments, the settings that a request looks at, and what
 * the transport does for a request. Made by main.c before the first request; shared by all threads.
 */
#ifndef SERVICE_H
#define SERVICE_H

#include <pthread.h>
#include <stdatomic.h>

#include "service/engine/engine.h"
#include "service/rpc/tally.h"

struct call;
struct worker;

/* Where a request came from, and where its reply goes. */
struct origin {
	void *connection; /* the transport's */
	uint32_t id;      /* the transport's: of the request within its connection */
	enum role role;   /* of the listener */
	const struct peer *peer;
};

struct transport_counters {
	uint32_t connections, open_descriptors, in_flight;
	uint64_t connections_refused, connections_dropped;
};

/* What the transport does for requests. Threads: any. */
struct transport_ops {
	/*
	 * May another change of this connection wait for the writer? True: it counts until its reply. Called before a
	 * change is looked at, so that the connection outlives its changes.
	 */
	bool (*admit)(const struct origin *origin);
	/* Take a reply's bytes, which are borrowed. ${admitted}: of a request that admit() let pass. */
	void (*reply)(const struct origin *origin, const uint8_t *bytes, size_t len, bool admitted);
	void (*count)(void *arg, struct transport_counters *counters); /* NULL in tests */
	void *count_arg;
};

struct service {
	/*
	 * NULL: not configured, or broken. While the daemon runs the main thread takes one away that has failed, and puts a
	 * new one in its place: see reopen.c. A request that has loaded one may use it until its end.
	 */
	struct engine *_Atomic engines[ENVIRONMENTS];
	/*
	 * Configured, but could not be opened, or has failed: while there is no engine the answer is UNAVAILABLE. Never set
	 * back, as a request may have looked for the engine just before it came.
	 */
	_Atomic bool broken[ENVIRONMENTS];
	_Atomic uint64_t failures[ENVIRONMENTS]; /* how often its database has failed since the start */
	const struct config *_Atomic config;     /* loaded in a request, and not kept beyond it: see reload.c */
	const struct transport_ops *transport;
	int64_t start_ms;
	_Atomic bool draining;    /* no further request is answered */
	_Atomic uint32_t changes; /* taken up and not answered */
	struct tally tally;       /* of changes: several threads count here */

	pthread_mutex_t mutex; /* of the rest */
	struct worker *workers;
	struct call *spare_calls; /* of changes that were answered */
	unsigned n_spare_calls;
};

#endif
