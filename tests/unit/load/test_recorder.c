/*
 * test_recorder.c - recorder.c, measure.c and switches.c: threads record without a lock, and the sum has all of it, each
 * call in the time that it belongs to. A fault, an unexpected verdict and a thread switch are each counted.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <sys/wait.h>

#include "tests/load/hist.c"
#include "tests/load/recorder.c"
#include "tests/load/switches.c"
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

static void
counts_faults_and_verdicts(void **state)
{
	struct measure m = { .start_ns = 0, .begin_ns = 100, .end_ns = 200 };
	struct recorder *r = calloc(1, sizeof(*r));

	(void)state;
	assert_non_null(r);
	measure_fault(&m, r, OP_VERIFY, 100, 150, FOB_EUNAVAILABLE, 3);
	measure_fault(&m, r, OP_VERIFY, 100, 150, -77, 1); /* a code that nobody knows */
	measure_fault(&m, r, OP_VERIFY, 50, 60, FOB_EUNAVAILABLE, 1);
	measure_fault(&m, r, OP_VERIFY, 100, 150, 0, 2); /* no fault */
	assert_int_equal(r->failed, 5);
	assert_int_equal(r->faults[-FOB_EUNAVAILABLE], 3);
	assert_int_equal(r->faults[-FOB_EUNKNOWN], 1);
	assert_int_equal(r->faults[0], 0);
	assert_int_equal(r->done_within[OP_VERIFY], 2);
	measure_verdict(&m, r, OP_VERIFY, 100, 150, FOB_VERDICT_VALID, true);
	measure_verdict(&m, r, OP_VERIFY, 100, 150, FOB_VERDICT_NOT_FOUND, false);
	measure_verdict(&m, r, OP_VERIFY, 50, 60, FOB_VERDICT_NOT_FOUND, false); /* unexpected in the warm-up as well */
	measure_verdict(&m, r, OP_VERIFY, 100, 150, 99, false);
	assert_int_equal(r->failed, 5);
	assert_int_equal(r->verdicts[FOB_VERDICT_VALID], 1);
	assert_int_equal(r->verdicts[FOB_VERDICT_NOT_FOUND], 1);
	assert_int_equal(r->verdicts[FOB_VERDICT_DENIED], 1);
	assert_int_equal(r->unexpected, 3);
	free(r);
}

#define SLEEPS 100

/* Each sleep is one switch, and one call. */
static void *
sleep_often(void *arg)
{
	const struct timespec short_time = { .tv_nsec = 100000 };

	while (!measure_is_over(arg, measure_now_ns())) {
		nanosleep(&short_time, NULL);
		measure_record(arg, recorder_mine(), OP_VERIFY, measure_now_ns(), measure_now_ns(), false, 1);
	}
	return NULL;
}

static void
counts_thread_switches(void **state)
{
	const struct timespec short_time = { .tv_nsec = 100000 };
	_Atomic bool stopped = false;
	uint64_t before, after;
	struct measure m;
	pthread_t thread;
	pid_t child;
	int i;

	(void)state;
	assert_int_equal(switches_of(getpid(), &before), 0);
	for (i = 0; i < SLEEPS; i++)
		nanosleep(&short_time, NULL);
	assert_int_equal(switches_of(getpid(), &after), 0);
	assert_true(after >= before + SLEEPS);

	/*
	 * This process in the place of the server's, too: each switch counts twice. On a busy machine the one who counts
	 * may sleep through the measured time, or through its beginning.
	 */
	m.switch_calls = m.switches = 0;
	for (i = 0; i < 20 && (m.switch_calls == 0 || m.switches < 2 * m.switch_calls); i++) {
		measure_start(&m, 0.05, 0.2, true);
		measure_count_switches(&m, getpid());
		assert_int_equal(pthread_create(&thread, NULL, sleep_often, &m), 0);
		measure_watch(&m, &stopped);
		pthread_join(thread, NULL);
	}
	assert_true(m.switch_calls > 0);
	assert_true(m.switches >= 2 * m.switch_calls);

	/* A process that is not there: nothing is told. */
	if ((child = fork()) == 0)
		_exit(0);
	assert_true(child > 0);
	waitpid(child, NULL, 0);
	assert_int_equal(switches_of(child, &after), -1);
	measure_start(&m, 0, 0.01, true);
	measure_count_switches(&m, child);
	measure_watch(&m, &stopped);
	assert_int_equal(m.switch_calls, 0);
}

static void
the_first_reason(void **state)
{
	(void)state;
	assert_null(recorder_reason());
	recorder_note_reason("");
	recorder_note_reason("Too many open files");
	recorder_note_reason("another");
	assert_string_equal(recorder_reason(), "Too many open files");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sums_all_threads),
		cmocka_unit_test(counts_in_its_time),
		cmocka_unit_test(counts_faults_and_verdicts),
		cmocka_unit_test(counts_thread_switches),
		cmocka_unit_test(the_first_reason),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
