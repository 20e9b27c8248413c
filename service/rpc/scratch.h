/*
 * scratch.h - the memory in which one context decodes, answers and encodes one request at a time: a fixed piece of
 * address space, handed out front to back, wiped after each request. No malloc on a request's way; a request that wants
 * more than its budget is refused, and leaves no memory behind.
 */
#ifndef SCRATCH_H
#define SCRATCH_H

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct scratch {
	uint8_t *bytes;
	size_t used;
	bool exhausted; /* since the last reset: something did not fit */
	ProtobufCAllocator allocator;
};

/* LIMIT_ARENA bytes of address space; pages are taken when touched. Returns 0, or -1 when there is none. */
int scratch_init(struct scratch *scratch);
void scratch_fini(struct scratch *scratch);

/* Zeroed, aligned for anything. NULL when the budget is used up. Threads: the context's. */
void *scratch_alloc(struct scratch *scratch, size_t size);

/* Wipe what was handed out, and give the pages of a large request back. */
void scratch_reset(struct scratch *scratch);

#endif
