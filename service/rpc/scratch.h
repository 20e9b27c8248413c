/*
 * scratch.h - the memory in which a worker decodes, answers and encodes a request, and holds the requests that it keeps: a
 * fixed piece of address space, handed out front to back, wiped when all are answered. No malloc on a request's way; a
 * request that wants more than its budget is refused, and leaves no memory behind.
 */
#ifndef SCRATCH_H
#define SCRATCH_H

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What requests that are kept may hold when the next one begins; so much stays resident. */
#define SCRATCH_KEPT (64U << 10)

struct scratch {
	uint8_t *bytes;
	size_t used;
	size_t base;    /* ${used} when the request at hand began */
	bool exhausted; /* something of it did not fit */
	ProtobufCAllocator allocator;
};

/* Address space; pages are taken when touched. Returns 0, or -1 when there is none. */
int scratch_init(struct scratch *scratch);
void scratch_fini(struct scratch *scratch);

/* The next request has LIMIT_ARENA bytes. At most SCRATCH_KEPT are in use. */
void scratch_begin(struct scratch *scratch);

/* Zeroed, aligned for anything. NULL when the request's budget is used up. */
void *scratch_alloc(struct scratch *scratch, size_t size);

/* Take back all that was handed out from ${end} on, which is in the piece that came last. */
void scratch_trim(struct scratch *scratch, const uint8_t *end);

/* Wipe what was handed out, and give the pages of a large request back. */
void scratch_reset(struct scratch *scratch);

#endif
