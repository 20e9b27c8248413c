/*
 * hist.h - a log-linear histogram of nanoseconds, in fixed memory, for any value that fits in 64 bits.
 *
 * Each power of two is cut into 128 buckets of equal width, so values below 256 are exact, and what hist_quantile()
 * returns is never below the true value and at most 1/128 (0.79 %) above it. The maximum is exact.
 *
 * Threads: one writer a histogram; any number of readers meanwhile, who see each value at once or a little later.
 */
#ifndef LOAD_HIST_H
#define LOAD_HIST_H

#include <stdatomic.h>
#include <stdint.h>

#define HIST_SUB_BITS 7
#define HIST_BUCKETS ((64 - HIST_SUB_BITS + 1) << HIST_SUB_BITS)

/* All zero is an empty one: calloc() it, 58 KiB are much for a stack. */
struct hist {
	_Atomic uint64_t counts[HIST_BUCKETS];
	_Atomic uint64_t n;
	_Atomic uint64_t sum_ns; /* wraps after 584 years */
	_Atomic uint64_t max_ns;
};

/* Record ${ns}, ${times} times. */
void hist_record(struct hist *h, uint64_t ns, uint64_t times);

/* Add what ${from} holds to ${to}. */
void hist_merge(struct hist *to, const struct hist *from);

/* Take away what ${h} held earlier, in ${before}; the maximum becomes that of the bucket of the greatest value left. */
void hist_subtract(struct hist *h, const struct hist *before);

/*
 * hist_rank(n, ppb): which of ${n} > 0 values in ascending order, counted from 1, is the quantile of ${ppb} parts per
 * billion: the smallest rank that has at least that share of the values at or below it.
 */
uint64_t hist_rank(uint64_t n, uint64_t ppb);

/* The value of that rank, as precise as said above; 0 when empty. 1,000,000,000 is the maximum. */
uint64_t hist_quantile(const struct hist *h, uint64_t ppb);

/* The mean; 0 when empty. */
uint64_t hist_mean(const struct hist *h);

#endif
