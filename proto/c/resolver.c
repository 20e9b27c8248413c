/*
 * resolver.c - a name is resolved on a thread of its own (see resolver.h).
 */
#include "proto/c/resolver.h"

#include <stdatomic.h>

#include "proto/c/thread.h"

static void *
resolver_run(void *arg)
{
	struct resolver *r = arg;

	r->why = address_resolve(r->address, &r->endpoints);
	atomic_store(&r->done, true);
	return NULL;
}

int
resolver_start(struct resolver *r, const struct address *address)
{
	int rv;

	r->address = address;
	atomic_store(&r->done, false);
	if ((rv = thread_start(&r->thread, resolver_run, r)) == 0)
		r->running = true;
	return rv;
}

bool
resolver_done(struct resolver *r)
{
	if (!r->running || !atomic_load(&r->done))
		return false;
	resolver_fini(r);
	return true;
}

void
resolver_fini(struct resolver *r)
{
	if (r->running)
		pthread_join(r->thread, NULL);
	r->running = false;
}
