/*
 * scratch.c - a bump allocator over one mapping (see scratch.h). Called by dispatch.c and the handlers, and by
 * protobuf-c through its allocator interface. Frees nothing piecemeal.
 */
#include "service/rpc/scratch.h"

#include <sodium.h>
#include <stdalign.h>
#include <sys/mman.h>

#include "service/base/limits.h"

#define KEPT_BYTES (64U << 10) /* resident between requests, at most */

static void *
allocator_alloc(void *data, size_t size)
{
	return scratch_alloc(data, size);
}

static void
allocator_free(void *data, void *p)
{
	(void)data;
	(void)p;
}

int
scratch_init(struct scratch *scratch)
{
	void *map;

	map = mmap(NULL, LIMIT_ARENA, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (map == MAP_FAILED)
		return -1;
	/* Secrets pass through; core dumps are off, and this holds even if somebody turns them on. */
	madvise(map, LIMIT_ARENA, MADV_DONTDUMP);
	*scratch = (struct scratch){
		.bytes = map,
		.allocator = { .alloc = allocator_alloc, .free = allocator_free, .allocator_data = scratch },
	};
	return 0;
}

void
scratch_fini(struct scratch *scratch)
{
	if (scratch->bytes == NULL)
		return;
	scratch_reset(scratch);
	munmap(scratch->bytes, LIMIT_ARENA);
	scratch->bytes = NULL;
}

void *
scratch_alloc(struct scratch *scratch, size_t size)
{
	const size_t align = alignof(max_align_t);
	size_t left = LIMIT_ARENA - scratch->used;
	void *p;

	if (size > left || (size + align - 1) / align * align > left) {
		scratch->exhausted = true;
		return NULL;
	}
	p = scratch->bytes + scratch->used;
	scratch->used += (size + align - 1) / align * align;
	return p;
}

void
scratch_reset(struct scratch *scratch)
{
	sodium_memzero(scratch->bytes, scratch->used);
	if (scratch->used > KEPT_BYTES)
		madvise(scratch->bytes + KEPT_BYTES, LIMIT_ARENA - KEPT_BYTES, MADV_DONTNEED);
	scratch->used = 0;
	scratch->exhausted = false;
}
