/*
 * buffer.c - bytes on their way in or out (see buffer.h). Never leaves a copy of them behind.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "client/buffer.h"

#define SIZE_MIN 4096

uint8_t *
buffer_reserve(struct buffer *b, size_t n)
{
	size_t size = b->size < SIZE_MIN ? SIZE_MIN : b->size;
	uint8_t *p;

	if (b->size - b->len >= n && b->p != NULL)
		return b->p + b->len;
	while (size - b->len < n)
		size *= 2;
	/* Not realloc(), which would free the old bytes as they are. */
	if ((p = malloc(size)) == NULL)
		return NULL;
	if (b->p != NULL) {
		memcpy(p, b->p, b->len);
		sodium_memzero(b->p, b->len);
		free(b->p);
	}
	b->p = p;
	b->size = size;
	return p + b->len;
}

void
buffer_add(struct buffer *b, size_t n)
{
	assert(n <= b->size - b->len);
	b->len += n;
}

void
buffer_consume(struct buffer *b, size_t n, size_t keep)
{
	size_t left = b->len - n;

	assert(n <= b->len);
	if (n == 0)
		return;
	if (left > 0)
		memmove(b->p, b->p + n, left);
	sodium_memzero(b->p + left, n);
	b->len = left;
	if (left == 0 && b->size > keep) {
		free(b->p);
		*b = (struct buffer){ 0 };
	}
}

void
buffer_free(struct buffer *b)
{
	if (b->p != NULL) {
		sodium_memzero(b->p, b->len);
		free(b->p);
	}
	*b = (struct buffer){ 0 };
}
