/*
 * buckets.h - the fixed buckets of a histogram: bucket i has what is at most 2^i, and more than the bucket before it; the
 * last bucket has all the rest.
 */
#ifndef BUCKETS_H
#define BUCKETS_H

#include <stdint.h>

static inline unsigned
bucket_of(uint64_t value, unsigned buckets)
{
	unsigned i = value <= 1 ? 0 : 64U - (unsigned)__builtin_clzll(value - 1);

	return i < buckets ? i : buckets - 1;
}

#endif
