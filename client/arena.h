/*
 * arena.h - memory for decoding one reply: a budget that a hostile reply cannot exceed, and nothing left behind.
 */
#ifndef CLIENT_ARENA_H
#define CLIENT_ARENA_H

#include <stddef.h>

#include <protobuf-c/protobuf-c.h>

#define ARENA_FIRST 2048

struct arena_block;

struct arena {
	ProtobufCAllocator allocator; /* to be given to protobuf-c; what it frees stays until arena_fini() */
	struct arena_block *blocks;
	unsigned char *next;
	size_t room;   /* at next */
	size_t budget; /* for further blocks */
	_Alignas(max_align_t) unsigned char first[ARENA_FIRST];
};

/* On the caller's stack; the first kilobytes need no malloc. ${budget} bounds what comes after them. */
void arena_init(struct arena *arena, size_t budget);
/* Wipes and frees everything. */
void arena_fini(struct arena *arena);

#endif
