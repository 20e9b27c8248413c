/*
 * test_recorder.c - recorder.c and measure.c: threads record without a lock, and the sum has all of it, each call in
 * the time that it belongs to.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/load/hist.c"
#include "tests/load/recorder.c"
#include "tests/load/measure.c"

#define THREADS 4
#define CALLS 50000

static struct measure measured;

static void *
record(void *arg)
{
	int i;

	(void)arg;
	for (i = 0; i < CALLS; i++)
		measure_record(&measured, recorder_mine(), OP_VERIFY, measured.begin_ns, measured.begin_ns + 1000 + i,
		    i % 10 == 0, 1);
	return NULL;
}

static void
sums_all_threads(void **state)
{
	struct recorder *before = calloc(1, sizeof(*before)), *sum = calloc(1, sizeof(*sum));
	pthread_t threads[THREADS];
	int i;

	(void)state;
	assert_non_null(before);
	assert_non_null(sum);
	measure_start(&measured, 0, 3600, true);
	recorder_sum(before);
	for (i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, record, NULL), 0);
	/* Reading while they write is allowed, and never sees more than there will be. */
	for (i = 0; i < 100; i++) {
		*sum = (struct recorder){ 0 };
		recorder_sum(sum);
		assert_in_range(sum->done - before->done, 0, THREADS * CALLS);
	}
	for (i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	*sum = (struct recorder){ 0 };
	recorder_sum(sum);
	assert_int_equal(sum->done - before->done, THREADS * CALLS);
	assert_int_equal(sum->failed - before->failed, THREADS * CALLS / 10);
	assert_int_equal(sum->done_within[OP_VERIFY] - before->done_within[OP_VERIFY], THREADS * CALLS * 9 / 10);
	assert_int_equal(sum->latency[OP_VERIFY].n - before->latency[OP_VERIFY].n, THREADS * CALLS);
	assert_int_equal(sum->latency[OP_VERIFY].max_ns, 1000 + CALLS - 1);
	free(before);
	free(sum);
}

/* Warm-up from 0 to 100, measured from 100 to 200. */
static void
counts_in_its_time(void **state)
{
	static const struct {
		int64_t from, now;
		bool failed;
		unsigned measured, within;
	} cases[] = {
		{ 0, 99, false, 0, 0 },                               /* warm-up */
		{ 0, 100, false, 0, 1 },                              /* began in the warm-up: throughput, no latency */
		{ 100, 199, false, 1, 1 }, { 199, 250, false, 1, 0 }, /* ended later: latency, no throughput */
		{ 200, 250, false, 0, 0 }, { 120, 150, true, 1, 0 },  /* failed: its time counts, its work does not */
		{ 150, 149, false, 1, 1 },                            /* clocks of two processors: no negative time */
	};
	struct measure m = { .start_ns = 0, .begin_ns = 100, .end_ns = 200 };
	struct recorder *r = calloc(1, sizeof(*r));
	size_t i;

	(void)state;
	assert_non_null(r);
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		*r = (struct recorder){ 0 };
		measure_record(&m, r, OP_ROLL, cases[i].from, cases[i].now, cases[i].failed, 3);
		assert_int_equal(r->done, 3);
		assert_int_equal(r->failed, cases[i].failed ? 3 : 0);
		assert_int_equal(r->latency[OP_ROLL].n, 3 * cases[i].measured);
		assert_int_equal(r->done_within[OP_ROLL], 3 * cases[i].within);
	}
	free(r);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sums_all_threads),
		cmocka_unit_test(counts_in_its_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
