/*
 * positions.c - the newest state that a client was told of (see positions.h). Knows no message and no server.
 */
#include "client/positions.h"

void
positions_init(struct positions *ps)
{
	pthread_mutex_init(&ps->mutex, NULL);
	atomic_init(&ps->any, false);
	for (unsigned i = 0; i < POSITIONS; i++) {
		atomic_init(&ps->of[i].cluster, 0);
		atomic_init(&ps->of[i].entry, 0);
	}
}

void
positions_fini(struct positions *ps)
{
	pthread_mutex_destroy(&ps->mutex);
}

static struct position
load(struct positions *ps, unsigned i)
{
	return (struct position){ .cluster = atomic_load_explicit(&ps->of[i].cluster, memory_order_relaxed),
		.entry = atomic_load_explicit(&ps->of[i].entry, memory_order_relaxed) };
}

static bool
is_newer(const struct position *told, const struct position *known)
{
	return told->entry != 0 && (told->cluster != known->cluster || told->entry > known->entry);
}

void
positions_note(struct positions *ps, const struct position told[POSITIONS])
{
	struct position known;

	for (unsigned i = 0; i < POSITIONS; i++) {
		/* Most replies tell nothing new. Without the lock they may be compared with a number that is just replaced. */
		known = load(ps, i);
		if (!is_newer(&told[i], &known))
			continue;
		pthread_mutex_lock(&ps->mutex);
		known = load(ps, i);
		if (is_newer(&told[i], &known)) {
			atomic_store_explicit(&ps->of[i].cluster, told[i].cluster, memory_order_relaxed);
			atomic_store_explicit(&ps->of[i].entry, told[i].entry, memory_order_relaxed);
			atomic_store_explicit(&ps->any, true, memory_order_relaxed);
		}
		pthread_mutex_unlock(&ps->mutex);
	}
}

void
positions_get(struct positions *ps, struct position out[POSITIONS])
{
	pthread_mutex_lock(&ps->mutex);
	for (unsigned i = 0; i < POSITIONS; i++)
		out[i] = load(ps, i);
	pthread_mutex_unlock(&ps->mutex);
}
