/*
 * arena.c - memory for decoding one reply.
 *
 * Called by codec.c, and by protobuf-c through the allocator. Calls malloc. Never gives out more than its budget, and
 * never gives memory back before it has been wiped: replies carry new secrets.
 */
#include "client/arena.h"

#include <stdlib.h>

#include <sodium.h>

#define ALIGN (_Alignof(max_align_t))
#define BLOCK_SIZE 16384

struct arena_block {
	struct arena_block *older;
	size_t size;
	_Alignas(max_align_t) unsigned char bytes[];
};

static int
arena_grow(struct arena *arena, size_t size)
{
	struct arena_block *b;

	if (size > arena->budget)
		return -1;
	if (size < BLOCK_SIZE)
		size = arena->budget < BLOCK_SIZE ? arena->budget : BLOCK_SIZE;
	if ((b = malloc(sizeof(*b) + size)) == NULL)
		return -1;
	b->older = arena->blocks;
	b->size = size;
	arena->blocks = b;
	arena->budget -= size;
	arena->next = b->bytes;
	arena->room = size;
	return 0;
}

static void *
arena_alloc(void *data, size_t size)
{
	struct arena *arena = data;
	void *p;

	/* Larger than any budget, and close to where rounding up would overflow. */
	if (size > SIZE_MAX / 2)
		return NULL;
	size = (size + ALIGN - 1) / ALIGN * ALIGN;
	if (size > arena->room && arena_grow(arena, size) != 0)
		return NULL;
	p = arena->next;
	arena->next += size;
	arena->room -= size;
	return p;
}

static void
arena_keep(void *data, void *p)
{
	(void)data;
	(void)p;
}

void
arena_init(struct arena *arena, size_t budget)
{
	arena->allocator = (ProtobufCAllocator){ .alloc = arena_alloc, .free = arena_keep, .allocator_data = arena };
	arena->blocks = NULL;
	arena->next = arena->first;
	arena->room = sizeof(arena->first);
	arena->budget = budget;
}

void
arena_fini(struct arena *arena)
{
	size_t used = arena->blocks == NULL ? (size_t)(arena->next - arena->first) : sizeof(arena->first);
	struct arena_block *b;

	while ((b = arena->blocks) != NULL) {
		arena->blocks = b->older;
		sodium_memzero(b, sizeof(*b) + b->size);
		free(b);
	}
	sodium_memzero(arena->first, used);
}
