/*
 * buffer.h - bytes of messages that a connection has to keep: grown as they arrive, counted in one budget for all
 * connections, wiped when they go.
 */
#ifndef BUFFER_H
#define BUFFER_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

/* How much memory buffers hold; what one holds is held by ${of}, too, unless that is NULL. */
struct budget {
	_Atomic size_t held;
	struct budget *of;
};

/* Zeroed: empty. */
struct buffer {
	uint8_t *bytes;
	size_t len, cap;
};

/* Make room for ${more} bytes behind ${len}. Returns: 0; -1 when there is no memory. */
int buffer_reserve(struct buffer *buffer, size_t more, struct budget *budget);
int buffer_append(struct buffer *buffer, const void *bytes, size_t len, struct budget *budget);
/* Drop the first ${n} bytes, wiped. An empty buffer holds no memory. */
void buffer_drop(struct buffer *buffer, size_t n, struct budget *budget);
void buffer_clear(struct buffer *buffer, struct budget *budget);

#endif
