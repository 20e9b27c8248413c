/*
 * events.c - a binary heap of events (see events.h).
 */
#include "tests/cluster/events.h"

#include <stdbool.h>
#include <stdlib.h>

void *
sim_realloc(void *p, size_t len)
{
	if ((p = realloc(p, len)) == NULL)
		abort();
	return p;
}

static bool
before(const struct event *a, const struct event *b)
{
	return a->at_us != b->at_us ? a->at_us < b->at_us : a->order < b->order;
}

static void
swap(struct event *a, struct event *b)
{
	struct event c = *a;

	*a = *b;
	*b = c;
}

void
events_add(struct events *e, int64_t at_us, event_fn fn, void *arg, uint64_t number)
{
	size_t i = e->n;

	if (e->n == e->room) {
		e->room = e->room * 2 + 64;
		e->heap = sim_realloc(e->heap, e->room * sizeof(*e->heap));
	}
	e->heap[e->n++] = (struct event){
		.at_us = at_us > e->now_us ? at_us : e->now_us, .order = e->order++, .fn = fn, .arg = arg, .number = number
	};
	for (; i > 0 && before(&e->heap[i], &e->heap[(i - 1) / 2]); i = (i - 1) / 2)
		swap(&e->heap[i], &e->heap[(i - 1) / 2]);
}

static struct event
take(struct events *e)
{
	struct event first = e->heap[0];
	size_t i = 0, child;

	e->heap[0] = e->heap[--e->n];
	while ((child = i * 2 + 1) < e->n) {
		if (child + 1 < e->n && before(&e->heap[child + 1], &e->heap[child]))
			child++;
		if (!before(&e->heap[child], &e->heap[i]))
			break;
		swap(&e->heap[child], &e->heap[i]);
		i = child;
	}
	return first;
}

void
events_run(struct events *e, struct world *world, int64_t until_us)
{
	struct event event;

	while (e->n > 0 && e->heap[0].at_us <= until_us) {
		event = take(e);
		e->now_us = event.at_us;
		e->happened++;
		event.fn(world, event.arg, event.number);
	}
	e->now_us = until_us;
}

void
events_fini(struct events *e)
{
	struct event event;

	while (e->n > 0) {
		event = take(e);
		event.fn(NULL, event.arg, event.number);
	}
	free(e->heap);
}
