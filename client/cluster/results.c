/*
 * results.c - results on their way to fobd, and how many bytes of them go at once (see results.h).
 */
#include "client/cluster/results.h"

#include <string.h>

/* The field's tag and length in front of a result or a kv. */
#define AROUND 8

static size_t
size_of(const Fob__V1__Result *r)
{
	return fob__v1__result__get_packed_size(r) + AROUND;
}

/* Let go of the last kvs, so that it fits. */
static void
cut(Fob__V1__Result *r)
{
	size_t size = size_of(r);

	while (size > RESULTS_BYTES && r->n_kvs > 0) {
		Fob__V1__KeyValue *last = r->kvs[--r->n_kvs];

		size -= fob__v1__key_value__get_packed_size(last);
		fob__v1__key_value__free_unpacked(last, NULL);
		r->more = 1;
	}
}

void
results_add(struct results *rs, Fob__V1__Result *result)
{
	if (rs->n == RESULTS_MAX)
		fob__v1__result__free_unpacked(result, NULL);
	else
		rs->waiting[rs->n++] = result;
}

size_t
results_take(struct results *rs, Fob__V1__Result *out[RESULTS_AT_ONCE], size_t *bytes)
{
	size_t n = 0, size;

	*bytes = 0;
	for (; n < rs->n && n < RESULTS_AT_ONCE; n++) {
		cut(rs->waiting[n]);
		size = size_of(rs->waiting[n]);
		if (n > 0 && *bytes + size > RESULTS_BYTES)
			break;
		*bytes += size;
		out[n] = rs->waiting[n];
	}
	rs->n -= n;
	memmove(rs->waiting, rs->waiting + n, rs->n * sizeof(rs->waiting[0]));
	return n;
}

void
results_clear(struct results *rs)
{
	while (rs->n > 0)
		fob__v1__result__free_unpacked(rs->waiting[--rs->n], NULL);
}
