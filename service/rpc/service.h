/*
 * service.h - what answers requests: the engines of the environments, and the settings that a request looks at.
 * Made by main.c before the first request, shared by all contexts without a lock; unchanged afterwards, but for the
 * settings, which a reload replaces as a whole.
 */
#ifndef SERVICE_H
#define SERVICE_H

#include "service/engine/engine.h"

struct tally;

/* What listen.c knows and Stats tells. */
struct transport_counters {
	uint32_t connections, open_descriptors, in_flight;
	uint64_t connections_refused, connections_dropped, listener_restarts, nng_corrections;
};

struct service {
	struct engine *engines[ENVIRONMENTS]; /* NULL: not configured, or broken */
	bool broken[ENVIRONMENTS];            /* configured, but could not be opened: answered with UNAVAILABLE */
	const struct config *_Atomic config;  /* to be loaded in a request, and not kept beyond it: see reload.c */
	int64_t start_ms;
	_Atomic bool draining;
	/* The tallies of all contexts, for Stats to add up; added to before the first request. */
	struct tally **tallies;
	size_t n_tallies;
	void (*count_transport)(void *arg, struct transport_counters *counters); /* NULL in tests */
	void *count_arg;
};

#endif
