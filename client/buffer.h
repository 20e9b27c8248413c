/*
 * buffer.h - bytes on their way in or out, which may be secrets: what is consumed or freed is wiped.
 */
#ifndef CLIENT_BUFFER_H
#define CLIENT_BUFFER_H

#include <stddef.h>
#include <stdint.h>

/* All zero: empty, without memory. */
struct buffer {
	uint8_t *p;
	size_t len;
	size_t size;
};

/* Make room for ${n} bytes behind those that are there. Returns: where they go; NULL when out of memory. */
uint8_t *buffer_reserve(struct buffer *buffer, size_t n);
/* ${n} bytes were written to where buffer_reserve() said. */
void buffer_add(struct buffer *buffer, size_t n);
/* The first ${n} bytes are done with. An empty buffer larger than ${keep} gives its memory back. */
void buffer_consume(struct buffer *buffer, size_t n, size_t keep);
void buffer_free(struct buffer *buffer);

#endif
