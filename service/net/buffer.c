/*
 * buffer.c - growable bytes in a budget (see buffer.h). Never leaves a message's bytes in freed memory.
 */
#include "service/net/buffer.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#define CAP_MIN 1024

static void
hold(struct budget *budget, size_t n)
{
	for (; budget != NULL; budget = budget->of)
		atomic_fetch_add_explicit(&budget->held, n, memory_order_relaxed);
}

int
buffer_reserve(struct buffer *b, size_t more, struct budget *budget)
{
	size_t need = b->len + more, cap = b->cap < CAP_MIN ? CAP_MIN : b->cap;
	uint8_t *bytes;

	if (need <= b->cap)
		return 0;
	while (cap < need)
		cap *= 2;
	/* Not realloc(): it would leave a copy behind. */
	if ((bytes = malloc(cap)) == NULL)
		return -1;
	if (b->len > 0) {
		memcpy(bytes, b->bytes, b->len);
		sodium_memzero(b->bytes, b->len);
	}
	free(b->bytes);
	hold(budget, cap - b->cap);
	b->bytes = bytes;
	b->cap = cap;
	return 0;
}

int
buffer_append(struct buffer *b, const void *bytes, size_t len, struct budget *budget)
{
	if (len == 0)
		return 0;
	if (buffer_reserve(b, len, budget) != 0)
		return -1;
	memcpy(b->bytes + b->len, bytes, len);
	b->len += len;
	return 0;
}

void
buffer_drop(struct buffer *b, size_t n, struct budget *budget)
{
	if (n >= b->len) {
		buffer_clear(b, budget);
		return;
	}
	memmove(b->bytes, b->bytes + n, b->len - n);
	sodium_memzero(b->bytes + b->len - n, n);
	b->len -= n;
}

void
buffer_clear(struct buffer *b, struct budget *budget)
{
	if (b->bytes == NULL)
		return;
	sodium_memzero(b->bytes, b->len);
	free(b->bytes);
	for (; budget != NULL; budget = budget->of)
		atomic_fetch_sub_explicit(&budget->held, b->cap, memory_order_relaxed);
	*b = (struct buffer){ 0 };
}
