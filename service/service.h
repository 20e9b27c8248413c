/*
 * service.h - what answers requests: the engines of the environments, and the settings that a request looks at.
 * Made by main.c before the first request, shared by all contexts without a lock; unchanged afterwards, but for the
 * settings, which a reload replaces as a whole.
 */
#ifndef SERVICE_H
#define SERVICE_H

#include "service/clock.h"
#include "service/config.h"
#include "service/lastused.h"
#include "service/store.h"
#include "service/writer.h"

/* One environment: nothing in here is reachable from the other one. */
struct engine {
	enum environment environment;
	struct store *store;
	struct clock clock;
	struct lastused *lastused;
	struct writer *writer;
};

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

/*
 * engine_open(config, environment, readers, engine, why, why_len):
 * Open store, last-used times and writer of one environment. ${readers}: contexts that may read it at once.
 * Returns: 0; with one line at ${why}: -FAULT_CORRUPT for a damaged database, -FAULT_FULL for a full disk,
 *          -FAULT_DISK for one that fails, another negative fault for what an operator has set wrongly.
 */
int engine_open(const struct config *config, enum environment environment, unsigned readers, struct engine **engine,
    char *why, size_t why_len);
/* Ends the writer and closes the files. No request may be under way, and every reader's transaction is freed. */
void engine_close(struct engine *engine);

#endif
