/*
 * test_hist.c - hist.c against a full sort: every quantile is at or above the true value, and at most 1/128 above it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>

#include "tests/load/hist.c"
#include "tests/load/rng.h"

#define N 100000

static const uint64_t ppbs[] = { 0, 1, 1000, 100000000, 250000000, 500000000, 900000000, 990000000, 999000000,
	999900000, 999990000, 999999999, 1000000000 };

static int
compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static void
check(const struct hist *h, uint64_t *values, size_t n)
{
	uint64_t is, found;
	size_t i;

	qsort(values, n, sizeof(values[0]), compare);
	assert_int_equal(h->n, n);
	assert_int_equal(h->max_ns, values[n - 1]);
	for (i = 0; i < sizeof(ppbs) / sizeof(ppbs[0]); i++) {
		is = values[hist_rank(n, ppbs[i]) - 1];
		found = hist_quantile(h, ppbs[i]);
		assert_true(found >= is);
		assert_true(found - is <= is / 128);
	}
	assert_int_equal(hist_quantile(h, BILLION), values[n - 1]);
}

/* Spread over ${parts} histograms, as threads would, and merged. */
static void
check_merged(uint64_t (*make)(struct rng *, size_t), size_t n, size_t parts)
{
	struct hist *h = calloc(parts + 1, sizeof(*h));
	uint64_t *values = calloc(n, sizeof(*values));
	struct rng rng = rng_new(7);
	size_t i;

	assert_non_null(h);
	assert_non_null(values);
	for (i = 0; i < n; i++) {
		values[i] = make(&rng, i);
		hist_record(&h[1 + i % parts], values[i], 1);
	}
	for (i = 1; i <= parts; i++)
		hist_merge(&h[0], &h[i]);
	check(&h[0], values, n);
	free(values);
	free(h);
}

static uint64_t
uniform(struct rng *r, size_t i)
{
	(void)i;
	return rng_below(r, 10000000);
}

/* Every magnitude alike: 0 to 2^64 - 1. */
static uint64_t
magnitudes(struct rng *r, size_t i)
{
	return rng_next(r) >> (i % 64);
}

static uint64_t
constant(struct rng *r, size_t i)
{
	(void)r;
	(void)i;
	return 93001;
}

static uint64_t
bimodal(struct rng *r, size_t i)
{
	return i % 100 == 0 ? 4000000 + rng_below(r, 1000000) : 90000 + rng_below(r, 9000);
}

static uint64_t
huge(struct rng *r, size_t i)
{
	return i % 3 == 0 ? UINT64_MAX : UINT64_MAX - (rng_next(r) >> 2);
}

static uint64_t
small(struct rng *r, size_t i)
{
	(void)i;
	return rng_below(r, 256);
}

static void
agrees_with_a_sort(void **state)
{
	uint64_t (*const makes[])(struct rng *, size_t) = { uniform, magnitudes, constant, bimodal, huge, small };
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(makes) / sizeof(makes[0]); i++) {
		check_merged(makes[i], N, 1);
		check_merged(makes[i], N, 7);
		check_merged(makes[i], 1, 1);
		check_merged(makes[i], 2, 2);
		check_merged(makes[i], 999, 3);
	}
}

static void
is_exact_below_256(void **state)
{
	struct hist *h = calloc(1, sizeof(*h));
	uint64_t v;

	(void)state;
	assert_non_null(h);
	for (v = 0; v < 256; v++)
		hist_record(h, v, 1);
	for (v = 1; v <= 256; v++)
		assert_int_equal(hist_quantile(h, (v * BILLION) / 256), v - 1);
	free(h);
}

static void
buckets_cover_everything_once(void **state)
{
	size_t i;

	(void)state;
	assert_int_equal(bucket_of(0), 0);
	assert_int_equal(bucket_of(UINT64_MAX), HIST_BUCKETS - 1);
	assert_true(bucket_last(HIST_BUCKETS - 1) == UINT64_MAX);
	for (i = 0; i < HIST_BUCKETS; i++) {
		assert_int_equal(bucket_of(bucket_last(i)), i);
		if (i + 1 < HIST_BUCKETS)
			assert_int_equal(bucket_of(bucket_last(i) + 1), i + 1);
	}
}

static void
empty_is_zero(void **state)
{
	struct hist *h = calloc(2, sizeof(*h));

	(void)state;
	assert_non_null(h);
	hist_merge(&h[0], &h[1]);
	hist_record(&h[0], 5, 0);
	assert_int_equal(hist_quantile(&h[0], 0), 0);
	assert_int_equal(hist_quantile(&h[0], BILLION), 0);
	assert_int_equal(hist_mean(&h[0]), 0);
	free(h);
}

static void
ranks(void **state)
{
	(void)state;
	assert_int_equal(hist_rank(1, 0), 1);
	assert_int_equal(hist_rank(1000, 999000000), 999);
	assert_int_equal(hist_rank(1000, 999000001), 1000);
	assert_int_equal(hist_rank(1001, 500000000), 501);
	assert_int_equal(hist_rank(1000, BILLION), 1000);
	/* No overflow where n times ppb has more than 64 bits. */
	assert_int_equal(hist_rank(UINT64_C(1) << 60, 500000000), UINT64_C(1) << 59);
	assert_int_equal(hist_rank(UINT64_C(1) << 60, BILLION), UINT64_C(1) << 60);
}

static void
times_and_mean(void **state)
{
	struct hist *h = calloc(1, sizeof(*h));

	(void)state;
	assert_non_null(h);
	hist_record(h, 10, 3);
	hist_record(h, 50, 1);
	assert_int_equal(h->n, 4);
	assert_int_equal(hist_mean(h), 20);
	assert_int_equal(hist_quantile(h, 750000000), 10);
	assert_int_equal(hist_quantile(h, 750000001), 50);
	free(h);
}

static void
an_interval_is_a_difference(void **state)
{
	struct hist *h = calloc(2, sizeof(*h));

	(void)state;
	assert_non_null(h);
	hist_record(&h[0], 1000000, 5);
	hist_merge(&h[1], &h[0]);
	hist_record(&h[0], 200, 4);
	hist_record(&h[0], 3000, 1);
	hist_subtract(&h[0], &h[1]);
	assert_int_equal(h[0].n, 5);
	assert_int_equal(hist_quantile(&h[0], 500000000), 200);
	assert_true(h[0].max_ns >= 3000 && h[0].max_ns <= 3000 + 3000 / 128);
	free(h);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(agrees_with_a_sort),
		cmocka_unit_test(is_exact_below_256),
		cmocka_unit_test(buckets_cover_everything_once),
		cmocka_unit_test(empty_is_zero),
		cmocka_unit_test(ranks),
		cmocka_unit_test(times_and_mean),
		cmocka_unit_test(an_interval_is_a_difference),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
