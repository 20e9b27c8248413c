/*
 * wipe.c - memory that is overwritten when it is given back (see wipe.h). evhttp copies a header several times on its
 * way in; only the allocator sees all of the copies.
 */
#include "client/http/wipe.h"

#include <event2/event.h>
#include <jansson.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

#include "client/daemon/log.h"
#include "client/fob.h"

static void
wiping_free(void *p)
{
	if (p != NULL)
		fob_wipe(p, malloc_usable_size(p));
	free(p);
}

/* realloc() would leave the old place as it is. */
static void *
wiping_realloc(void *p, size_t size)
{
	size_t old = p != NULL ? malloc_usable_size(p) : 0;
	void *moved;

	if (p != NULL && size <= old && size >= old / 2)
		return p;
	if ((moved = malloc(size)) == NULL)
		return NULL;
	if (p != NULL) {
		memcpy(moved, p, old < size ? old : size);
		wiping_free(p);
	}
	return moved;
}

/*
 * jansson 2.14 writes outside its memory after an allocation that failed (found by fuzzing): the end is better than
 * that.
 */
static void *
malloc_or_end(size_t size)
{
	void *p = malloc(size);

	if (p == NULL) {
		log_line(LOG_ERROR, "out of memory; ending", NULL);
		abort();
	}
	return p;
}

void
wipe_begin(void)
{
	event_set_mem_functions(malloc, wiping_realloc, wiping_free);
	json_set_alloc_funcs(malloc_or_end, wiping_free);
}
