/*
 * pipes.c - a hash table of connections with linear probing (see pipes.h). Called by listen_context.c and
 * listen_connection.c, by listen.c, which makes the table, and by listen_guard.c, which counts. Knows nothing of nng.
 *
 * A place is given away only under the lock, and only when its connection has gone and no request of it is under way. A
 * request that finds its place and loses it before it could count itself notices, and goes uncounted.
 */
#include "service/net/pipes.h"

#include <pthread.h>
#include <stdlib.h>

#define SPREAD 4  /* places per connection */
#define PROBES 64 /* places looked at for one connection: a quarter full, far fewer are needed */

struct pipes {
	pthread_mutex_t lock;
	unsigned most;
	_Atomic unsigned count;
	uint32_t mask;
	struct pipe places[];
};

struct pipes *
pipes_new(unsigned most)
{
	struct pipes *p;
	uint32_t size = PROBES;

	while (size < most * SPREAD)
		size *= 2;
	if ((p = calloc(1, sizeof(*p) + size * sizeof(p->places[0]))) == NULL)
		return NULL;
	pthread_mutex_init(&p->lock, NULL);
	p->most = most;
	p->mask = size - 1;
	return p;
}

void
pipes_free(struct pipes *p)
{
	if (p == NULL)
		return;
	pthread_mutex_destroy(&p->lock);
	free(p);
}

/*
 * nng numbers pipes in sequence, so a fleet that connects at one go is a run of neighbours; when the numbers come round
 * to it again, the run must not keep the newcomers out. So numbers are spread first: MurmurHash3's finalizer, a
 * bijection.
 */
static uint32_t
spread(uint32_t id)
{
	id = (id ^ id >> 16) * 0x85ebca6bU;
	id = (id ^ id >> 13) * 0xc2b2ae35U;
	return id ^ id >> 16;
}

static struct pipe *
place(struct pipes *p, uint32_t id, uint32_t probe)
{
	return &p->places[(spread(id) + probe) & p->mask];
}

static struct pipe *
find(struct pipes *p, uint32_t id)
{
	for (uint32_t i = 0; i < PROBES; i++) {
		struct pipe *pipe = place(p, id, i);

		if (atomic_load(&pipe->id) == id && !atomic_load(&pipe->gone))
			return pipe;
	}
	return NULL;
}

bool
pipes_add(struct pipes *p, uint32_t id, const struct peer *peer)
{
	bool added = false;

	pthread_mutex_lock(&p->lock);
	for (uint32_t i = 0; i < PROBES && atomic_load(&p->count) < p->most; i++) {
		struct pipe *pipe = place(p, id, i);

		if (atomic_load(&pipe->id) != 0)
			continue;
		atomic_store(&pipe->gone, false);
		atomic_store(&pipe->dropped, false);
		pipe->peer = peer != NULL ? *peer : (struct peer){ 0 };
		atomic_store(&pipe->id, id);
		atomic_fetch_add(&p->count, 1);
		added = true;
		break;
	}
	pthread_mutex_unlock(&p->lock);
	return added;
}

/* Give the place away, if it is time. Under the lock. */
static void
release(struct pipe *pipe)
{
	if (atomic_load(&pipe->gone) && atomic_load(&pipe->in_flight) == 0)
		atomic_store(&pipe->id, 0);
}

void
pipes_remove(struct pipes *p, uint32_t id)
{
	struct pipe *pipe;

	pthread_mutex_lock(&p->lock);
	if ((pipe = find(p, id)) != NULL) {
		atomic_store(&pipe->gone, true);
		atomic_fetch_sub(&p->count, 1);
		release(pipe);
	}
	pthread_mutex_unlock(&p->lock);
}

unsigned
pipes_count(struct pipes *p)
{
	return atomic_load(&p->count);
}

struct pipe *
pipes_enter(struct pipes *p, uint32_t id, struct pipe_load *load)
{
	struct pipe *pipe;

	*load = (struct pipe_load){ 1, 1 };
	if ((pipe = find(p, id)) == NULL)
		return NULL;
	load->in_flight = atomic_fetch_add(&pipe->in_flight, 1) + 1;
	load->working = atomic_fetch_add(&pipe->working, 1) + 1;
	if (atomic_load(&pipe->id) == id && !atomic_load(&pipe->gone))
		return pipe;
	/* It closed in between; the place may be another's by now. */
	pipes_replied(pipe);
	pipes_leave(p, pipe);
	*load = (struct pipe_load){ 1, 1 };
	return NULL;
}

void
pipes_replied(struct pipe *pipe)
{
	if (pipe != NULL)
		atomic_fetch_sub(&pipe->working, 1);
}

void
pipes_leave(struct pipes *p, struct pipe *pipe)
{
	if (pipe == NULL)
		return;
	if (atomic_fetch_sub(&pipe->in_flight, 1) == 1 && atomic_load(&pipe->gone)) {
		pthread_mutex_lock(&p->lock);
		release(pipe);
		pthread_mutex_unlock(&p->lock);
	}
}

bool
pipes_drop(struct pipe *pipe)
{
	return pipe != NULL && !atomic_exchange(&pipe->dropped, true);
}
