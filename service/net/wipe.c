/*
 * wipe.c - free() that wipes. The reply to a CreateAccount or RollKey holds a new secret in a message of nng's, which
 * nng frees itself, after it was sent and out of our sight; a key that somebody verifies may lie in a buffer of a
 * library likewise. All of them call this, as the dynamic linker asks the executable first. main.c asks whether it
 * works. Never allocates or locks, but once, when it looks for the free behind it.
 */
#include "service/net/wipe.h"

#include <dlfcn.h>
#include <malloc.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "service/process/confine.h"

#if CONFINE_SANITIZED

bool
wipe_in_effect(void)
{
	return false;
}

#else

typedef void free_fn(void *);

static _Atomic(free_fn *) real_free;

/* dlsym() may free something: what it frees meanwhile is left to lie, wiped. */
static free_fn *
resolve(void)
{
	static _Thread_local bool resolving;
	free_fn *fn = NULL;
	void *sym;

	if (resolving)
		return NULL;
	resolving = true;
	if ((sym = dlsym(RTLD_NEXT, "free")) != NULL) {
		/* ISO C has no cast from void * to a function; POSIX wants this copy. */
		memcpy(&fn, &sym, sizeof(fn));
		atomic_store_explicit(&real_free, fn, memory_order_release);
	}
	resolving = false;
	return fn;
}

__attribute__((visibility("default"), used)) void
free(void *p)
{
	free_fn *fn;

	if (p == NULL)
		return;
	explicit_bzero(p, malloc_usable_size(p));
	if ((fn = atomic_load_explicit(&real_free, memory_order_acquire)) != NULL || (fn = resolve()) != NULL)
		fn(p);
}

bool
wipe_in_effect(void)
{
	free_fn *fn = free;
	void *here;

	memcpy(&here, &fn, sizeof(here));
	return dlsym(RTLD_DEFAULT, "free") == here;
}

#endif
