/*
 * buffer.h - bytes on their way in or out, which may be secrets: grown as they come, wiped where they were when they go.
 */
#ifndef BUFFER_H
#define BUFFER_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

/* How much memory buffers hold. What is held here is held by ${of}, too, unless that is NULL. */
struct budget {
	_Atomic size_t held;
	struct budget *of;
};

/* All zero, but for the budget: empty, without memory. */
struct buffer {
	uint8_t *p;
	size_t len;
	size_t size;
	struct budget *budget; /* NULL: not counted */
};

/* Make room for ${n} bytes behind those that are there. Returns: where they go; NULL when out of memory. */
uint8_t *buffer_reserve(struct buffer *buffer, size_t n);
/* ${n} bytes were written to where buffer_reserve() said. */
void buffer_add(struct buffer *buffer, size_t n);
/* Both, with a copy of ${bytes}. Returns: 0; -1 when out of memory. */
int buffer_append(struct buffer *buffer, const void *bytes, size_t n);
/* The first ${n} bytes are done with. An empty buffer larger than ${keep} gives its memory back. */
void buffer_consume(struct buffer *buffer, size_t n, size_t keep);
/* Give all back. The budget stays. */
void buffer_free(struct buffer *buffer);

#endif
