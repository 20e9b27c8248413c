/*
 * buffer.c - bytes on their way in or out (see buffer.h). Never leaves a copy of them behind.
 */
#include "proto/c/buffer.h"

#include <assert.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#define SIZE_MIN 1024

static void
count(struct budget *budget, size_t before, size_t now)
{
	for (; budget != NULL; budget = budget->of) {
		atomic_fetch_add_explicit(&budget->held, now, memory_order_relaxed);
		atomic_fetch_sub_explicit(&budget->held, before, memory_order_relaxed);
	}
}

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
	count(b->budget, b->size, size);
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

int
buffer_append(struct buffer *b, const void *bytes, size_t n)
{
	uint8_t *to;

	if (n == 0)
		return 0;
	if ((to = buffer_reserve(b, n)) == NULL)
		return -1;
	memcpy(to, bytes, n);
	buffer_add(b, n);
	return 0;
}

void
buffer_consume(struct buffer *b, size_t n, size_t keep)
{
	size_t left = b->len - n;

	assert(n <= b->len);
	if (n > 0) {
		if (left > 0)
			memmove(b->p, b->p + n, left);
		sodium_memzero(b->p + left, n);
		b->len = left;
	}
	if (left == 0 && b->size > keep)
		buffer_free(b);
}

void
buffer_free(struct buffer *b)
{
	if (b->p != NULL) {
		sodium_memzero(b->p, b->len);
		free(b->p);
		count(b->budget, b->size, 0);
	}
	*b = (struct buffer){ .budget = b->budget };
}
