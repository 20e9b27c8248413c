/*
 * rng.h - pseudo-random numbers for choosing keys and operations: xorshift64*. Nothing secret is made of them.
 */
#ifndef LOAD_RNG_H
#define LOAD_RNG_H

#include <stdint.h>

struct rng {
	uint64_t state; /* not 0 */
};

/* Streams of different ${stream}s have nothing in common that matters here. */
static inline struct rng
rng_new(uint64_t stream)
{
	uint64_t x = (stream + 1) * UINT64_C(0x9E3779B97F4A7C15);

	x = (x ^ (x >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
	x ^= x >> 27;
	return (struct rng){ x == 0 ? 1 : x };
}

static inline uint64_t
rng_next(struct rng *r)
{
	r->state ^= r->state >> 12;
	r->state ^= r->state << 25;
	r->state ^= r->state >> 27;
	return r->state * UINT64_C(0x2545F4914F6CDD1D);
}

/* 0 to ${n} - 1; ${n} at most 2^32. The bias is below n / 2^32. */
static inline uint64_t
rng_below(struct rng *r, uint64_t n)
{
	return ((rng_next(r) >> 32) * n) >> 32;
}

#endif
