/*
 * hist.c - the histogram of hist.h. Called by everything that measures; calls nothing. Never allocates, locks or reads
 * a clock: recording a value is a handful of instructions.
 */
#include "tests/load/hist.h"

#include <assert.h>
#include <stddef.h>

#define SUB (1U << HIST_SUB_BITS)
#define BILLION UINT64_C(1000000000)

static uint64_t
get(const _Atomic uint64_t *counter)
{
	return atomic_load_explicit(counter, memory_order_relaxed);
}

/* There is one writer, so no read-modify-write is needed. */
static void
put(_Atomic uint64_t *counter, uint64_t value)
{
	atomic_store_explicit(counter, value, memory_order_relaxed);
}

static size_t
bucket_of(uint64_t ns)
{
	unsigned shift;

	if (ns < SUB)
		return (size_t)ns;
	shift = 63U - (unsigned)__builtin_clzll(ns) - HIST_SUB_BITS;
	/* The leading bit is in (ns >> shift) as well: it makes the step from one power of two to the next. */
	return ((size_t)shift << HIST_SUB_BITS) + (size_t)(ns >> shift);
}

static uint64_t
bucket_last(size_t i)
{
	size_t shift;

	if (i < SUB)
		return i;
	shift = (i >> HIST_SUB_BITS) - 1;
	/* Of the last bucket this wraps to 2^64 - 1, as it should. */
	return ((uint64_t)(i - (shift << HIST_SUB_BITS) + 1) << shift) - 1;
}

void
hist_record(struct hist *h, uint64_t ns, uint64_t times)
{
	_Atomic uint64_t *count = &h->counts[bucket_of(ns)];

	put(count, get(count) + times);
	put(&h->n, get(&h->n) + times);
	put(&h->sum_ns, get(&h->sum_ns) + ns * times);
	if (times > 0 && ns > get(&h->max_ns))
		put(&h->max_ns, ns);
}

void
hist_merge(struct hist *to, const struct hist *from)
{
	uint64_t count, n = 0;
	size_t i;

	for (i = 0; i < HIST_BUCKETS; i++) {
		if ((count = get(&from->counts[i])) == 0)
			continue;
		put(&to->counts[i], get(&to->counts[i]) + count);
		n += count;
	}
	/* What was added, not what ${from} says: it may be written to meanwhile. */
	put(&to->n, get(&to->n) + n);
	put(&to->sum_ns, get(&to->sum_ns) + get(&from->sum_ns));
	if (get(&from->max_ns) > get(&to->max_ns))
		put(&to->max_ns, get(&from->max_ns));
}

void
hist_subtract(struct hist *h, const struct hist *before)
{
	uint64_t left, last = 0, n = 0;
	size_t i;

	for (i = 0; i < HIST_BUCKETS; i++) {
		assert(get(&h->counts[i]) >= get(&before->counts[i]));
		left = get(&h->counts[i]) - get(&before->counts[i]);
		put(&h->counts[i], left);
		n += left;
		if (left > 0)
			last = bucket_last(i);
	}
	put(&h->n, n);
	put(&h->sum_ns, get(&h->sum_ns) - get(&before->sum_ns));
	if (last < get(&h->max_ns))
		put(&h->max_ns, last);
}

uint64_t
hist_rank(uint64_t n, uint64_t ppb)
{
	uint64_t rank;

	assert(n > 0 && ppb <= BILLION);
	rank = n / BILLION * ppb + (n % BILLION * ppb + BILLION - 1) / BILLION;
	return rank == 0 ? 1 : rank;
}

uint64_t
hist_quantile(const struct hist *h, uint64_t ppb)
{
	uint64_t n = get(&h->n), max_ns = get(&h->max_ns), rank, seen = 0, last;
	size_t i;

	if (n == 0)
		return 0;
	rank = hist_rank(n, ppb);
	for (i = 0; i < HIST_BUCKETS; i++) {
		if ((seen += get(&h->counts[i])) >= rank) {
			last = bucket_last(i);
			return last < max_ns ? last : max_ns;
		}
	}
	return max_ns;
}

uint64_t
hist_mean(const struct hist *h)
{
	uint64_t n = get(&h->n);

	return n == 0 ? 0 : get(&h->sum_ns) / n;
}
