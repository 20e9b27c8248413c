/*
 * events.h - virtual time: a queue of what happens when. Two events of the same moment happen in the order in which they
 * were added, so that a run depends on nothing but its seed.
 */
#ifndef CLUSTER_EVENTS_H
#define CLUSTER_EVENTS_H

#include <stddef.h>
#include <stdint.h>

struct world;

typedef void (*event_fn)(struct world *world, void *arg, uint64_t number);

struct event {
	int64_t at_us;
	uint64_t order;
	event_fn fn;
	void *arg;
	uint64_t number;
};

struct events {
	struct event *heap;
	size_t n, room;
	uint64_t order;
	int64_t now_us;
	uint64_t happened;
};

/* Call ${fn}(world, ${arg}, ${number}) at ${at_us}, or now if that has passed. Aborts without memory. */
void events_add(struct events *events, int64_t at_us, event_fn fn, void *arg, uint64_t number);
/* Let happen what does until ${until_us}. */
void events_run(struct events *events, struct world *world, int64_t until_us);
/* Give up what is left: each handler is called with a world of NULL, and frees what it was given. */
void events_fini(struct events *events);

/* realloc() that aborts without memory. */
void *sim_realloc(void *p, size_t len);

#endif
