/*
 * results.h - results that wait for the next Exchange, and what of them fits one. Pure.
 */
#ifndef CLUSTER_RESULTS_H
#define CLUSTER_RESULTS_H

#include <stddef.h>

#include "fob/v1/cluster.pb-c.h"

#define RESULTS_AT_ONCE 16
#define RESULTS_BYTES (200U << 10) /* in one Exchange, answers included */
#define RESULTS_MAX 256

struct results {
	Fob__V1__Result *waiting[RESULTS_MAX]; /* the oldest first */
	size_t n;
};

/* ${result} is the callee's. Beyond RESULTS_MAX it is dropped: fobd has a time limit of its own. */
void results_add(struct results *results, Fob__V1__Result *result);

/*
 * results_take(results, out, bytes):
 * Take the oldest ones that fit one Exchange, at most RESULTS_AT_ONCE and at least one if there is one. One that is too
 * large for an Exchange of its own loses its last kvs, and has ${more} set. How many of RESULTS_BYTES they need goes to
 * *${bytes}.
 * Ownership: of ${out}'s, the caller's: free each as an unpacked message.
 * Returns:   how many.
 */
size_t results_take(struct results *results, Fob__V1__Result *out[RESULTS_AT_ONCE], size_t *bytes);

void results_clear(struct results *results);

#endif
