/*
 * scratch.c - a bump allocator over one mapping (see scratch.h). Called by dispatch.c and the handlers, and by
 * protobuf-c through its allocator interface. Frees nothing piecemeal.
 */
#include "service/rpc/scratch.h"

#include <assert.h>
#include <sodium.h>
#include <stdalign.h>
#include <sys/mman.h>

#include "service/base/limits.h"

#define MAP_BYTES (LIMIT_ARENA + SCRATCH_KEPT)

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

	map = mmap(NULL, MAP_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (map == MAP_FAILED)
		return -1;
	/* Secrets pass through; core dumps are off, and this holds even if somebody turns them on. */
	madvise(map, MAP_BYTES, MADV_DONTDUMP);
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
	munmap(scratch->bytes, MAP_BYTES);
	scratch->bytes = NULL;
}

void *
scratch_alloc(struct scratch *scratch, size_t size)
{
	const size_t align = alignof(max_align_t);
	size_t left = scratch->base + LIMIT_ARENA - scratch->used;
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
scratch_begin(struct scratch *scratch)
{
	assert(scratch->used <= SCRATCH_KEPT);
	scratch->base = scratch->used;
	scratch->exhausted = false;
}

void
scratch_trim(struct scratch *scratch, const uint8_t *end)
{
	const size_t align = alignof(max_align_t);
	size_t used = (size_t)(end - scratch->bytes);

	used = (used + align - 1) / align * align;
	assert(used <= scratch->used);
	scratch->used = used;
}

void
scratch_reset(struct scratch *scratch)
{
	sodium_memzero(scratch->bytes, scratch->used);
	if (scratch->used > SCRATCH_KEPT)
		madvise(scratch->bytes + SCRATCH_KEPT, MAP_BYTES - SCRATCH_KEPT, MADV_DONTNEED);
	scratch->used = scratch->base = 0;
	scratch->exhausted = false;
}
