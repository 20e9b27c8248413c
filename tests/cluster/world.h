/*
 * world.h - all that is in one run: etcd, the nodes, their clients, the faults, and the checker. Nothing outside of it is
 * read but the options and the seed.
 */
#ifndef CLUSTER_WORLD_H
#define CLUSTER_WORLD_H

#include "tests/cluster/checker.h"
#include "tests/cluster/client.h"
#include "tests/cluster/etcd.h"
#include "tests/cluster/events.h"
#include "tests/cluster/faults.h"
#include "tests/cluster/node.h"
#include "tests/load/rng.h"

#define NODES_MAX 120 /* below FLEET_NODES, as rows of lives that have ended are there for a while */

struct options {
	unsigned nodes;
	uint32_t staleness_ms;
	int64_t seconds;
	unsigned faults; /* a bit each: see faults.h */
	unsigned changes_per_s, verifies_per_s; /* of all clients; verifies: of each node */
	int64_t mean_us; /* between two faults; 0: the seed says */
	bool stop; /* at the first violation */
	bool trace;
};

struct world {
	struct options options;
	struct events events;
	struct rng rng;
	struct etcd etcd;
	struct checker checker;
	struct clients clients;
	struct weather weather;
	struct node nodes[NODES_MAX];
	unsigned n_nodes;
};

static inline int64_t
world_now_us(const struct world *w)
{
	return w->events.now_us;
}

/* From ${low} to ${high}, evenly. */
static inline int64_t
world_between(struct world *w, int64_t low, int64_t high)
{
	return low + (int64_t)(rng_next(&w->rng) % (uint64_t)(high - low + 1));
}

/* True in ${n} of ${of} cases. */
static inline bool
world_chance(struct world *w, unsigned n, unsigned of)
{
	return rng_below(&w->rng, of) < n;
}

#define TRACE(w, ...) \
	do { \
		if ((w)->options.trace) \
			world_trace((w), __VA_ARGS__); \
	} while (0)
void world_trace(const struct world *world, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
