/*
 * resolver.h - a name is resolved on a thread that ends with it, so that nobody waits for the name server.
 */
#ifndef RESOLVER_H
#define RESOLVER_H

#include <pthread.h>

#include "proto/c/address.h"

/* Used by one thread at a time. Zero: idle. */
struct resolver {
	pthread_t thread;
	bool running;
	_Atomic bool done;
	const struct address *address;
	struct endpoints endpoints;
	const char *why;
};

/* Returns: 0; an errno. */
int resolver_start(struct resolver *resolver, const struct address *address);
/* Whether the started one is done. If so it is idle again, and ${endpoints} and ${why} are address_resolve()'s. */
bool resolver_done(struct resolver *resolver);
/* Waits for it, for as long as the system's resolver takes. */
void resolver_fini(struct resolver *resolver);

#endif
