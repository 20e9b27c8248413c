/*
 * verify.c - a verify (see verify.h), with delays between its steps, in which the node may stand still or end.
 */
#include "tests/cluster/verify.h"

#include <stdlib.h>

#include "tests/cluster/world.h"

struct verify {
	struct node *node;
	uint64_t process, must_see, applied;
	int64_t fresh_until_ms;
};

static void
load_fresh_until(struct verify *v)
{
	v->fresh_until_ms = v->node->fresh_until_ms;
}

static void
take_snapshot(struct verify *v)
{
	v->applied = v->node->applied;
}

static void
look_at_clock(struct verify *v)
{
	struct world *w = v->node->world;

	if (node_boot_ms(v->node) < v->fresh_until_ms)
		checker_answered(&w->checker, world_now_us(w), v->node->index, v->must_see, v->applied);
	else
		w->checker.unavailable++;
}

static void (*const steps[])(struct verify *v) = { load_fresh_until, take_snapshot, look_at_clock };
#define STEPS (sizeof(steps) / sizeof(steps[0]))

/* Mostly nothing, and rarely as long as a thread may be kept from running. */
static int64_t
pause_us(struct world *w)
{
	unsigned kind = (unsigned)rng_below(&w->rng, 100);

	return kind < 60 ? 0 : kind < 90 ? world_between(w, 1, 2000) :
					   world_between(w, 1, (int64_t)w->options.staleness_ms * 1500);
}

static void
step(struct world *w, void *arg, uint64_t next)
{
	struct verify *v = arg;
	int64_t for_us;

	if (w == NULL || v->node->process != v->process) {
		free(v);
		return;
	}
	for_us = v->node->paused_until_us - world_now_us(w);
	while (for_us <= 0 && next < STEPS) {
		steps[next++](v);
		for_us = pause_us(w);
	}
	if (next < STEPS)
		events_add(&w->events, world_now_us(w) + for_us, step, v, next);
	else
		free(v);
}

void
verify_begin(struct node *n)
{
	struct world *w = n->world;
	struct verify *v;

	w->checker.verifies++;
	if (n->fleet == NULL) {
		w->checker.unavailable++;
		return;
	}
	v = sim_realloc(NULL, sizeof(*v));
	*v = (struct verify){ .node = n, .process = n->process, .must_see = w->checker.acked_to };
	step(w, v, 0);
}
