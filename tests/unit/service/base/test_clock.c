/*
 * test_clock.c - the effective time never runs backwards, however the wall clock is set, and is exact to the millisecond.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <time.h>

#include "tests/unit/service/fixture.h"

#define NOW FIXTURE_NOW_MS

static void
follows_the_wall(void **state)
{
	struct fixture_clock f;

	(void)state;
	fixture_clock(&f, NOW);
	assert_int_equal(clock_now_ms(&f.clock), NOW);
	fixture_clock_pass(&f, 1);
	assert_int_equal(clock_now_ms(&f.clock), NOW + 1);
	/* The wall clock is set ahead: the effective time follows. */
	fixture_clock_set(&f, NOW + FIXTURE_DAY_MS);
	assert_int_equal(clock_now_ms(&f.clock), NOW + FIXTURE_DAY_MS);
}

static void
never_goes_back(void **state)
{
	struct fixture_clock f;

	(void)state;
	fixture_clock(&f, NOW);
	assert_int_equal(clock_now_ms(&f.clock), NOW);
	fixture_clock_set(&f, NOW - 30 * FIXTURE_DAY_MS);
	assert_int_equal(clock_now_ms(&f.clock), NOW);
	/* And does not stand still until the wall has caught up either: it follows CLOCK_BOOTTIME. */
	fixture_clock_pass(&f, FIXTURE_DAY_MS);
	assert_int_equal(clock_now_ms(&f.clock), NOW + FIXTURE_DAY_MS);
	fixture_clock_set(&f, 0);
	fixture_clock_pass(&f, 1);
	assert_int_equal(clock_now_ms(&f.clock), NOW + FIXTURE_DAY_MS + 1);
	/* Once the wall is ahead again, it is the wall. */
	fixture_clock_set(&f, NOW + 2 * FIXTURE_DAY_MS);
	assert_int_equal(clock_now_ms(&f.clock), NOW + 2 * FIXTURE_DAY_MS);
}

/* A machine that slept: BOOTTIME and the wall went on together. */
static void
a_sleep_is_time_too(void **state)
{
	struct fixture_clock f;

	(void)state;
	fixture_clock(&f, NOW);
	(void)clock_now_ms(&f.clock);
	atomic_fetch_add(&f.boot_ns, 8 * FIXTURE_HOUR_MS * 1000000);
	assert_int_equal(clock_now_ms(&f.clock), NOW + 8 * FIXTURE_HOUR_MS);
}

static void
is_rounded_down(void **state)
{
	struct fixture_clock f;

	(void)state;
	fixture_clock(&f, NOW);
	atomic_store(&f.wall_ns, NOW * 1000000 + 999999);
	assert_int_equal(clock_now_ms(&f.clock), NOW);
	atomic_fetch_add(&f.boot_ns, 1);
	assert_int_equal(clock_now_ms(&f.clock), NOW + 1);
	atomic_fetch_add(&f.boot_ns, 999999);
	assert_int_equal(clock_now_ms(&f.clock), NOW + 1);
}

static void
has_a_floor(void **state)
{
	struct fixture_clock f;

	(void)state;
	fixture_clock(&f, NOW);
	clock_not_before(&f.clock, NOW + FIXTURE_DAY_MS);
	assert_int_equal(clock_now_ms(&f.clock), NOW + FIXTURE_DAY_MS);
	fixture_clock_pass(&f, 5);
	assert_int_equal(clock_now_ms(&f.clock), NOW + FIXTURE_DAY_MS + 5);
	/* A lower floor takes nothing back. */
	clock_not_before(&f.clock, NOW);
	clock_not_before(&f.clock, 0);
	assert_int_equal(clock_now_ms(&f.clock), NOW + FIXTURE_DAY_MS + 5);

	/* A floor behind the wall is no news. */
	fixture_clock(&f, NOW);
	clock_not_before(&f.clock, NOW - 1);
	assert_int_equal(clock_now_ms(&f.clock), NOW);
}

/* A damaged or foreign floor may be any number; it must not come out as a time in the past. */
static void
an_absurd_floor_does_not_overflow(void **state)
{
	static const int64_t floors[] = { INT64_MAX, INT64_MAX / 1000000, INT64_MAX / 1000000 + 1, INT64_MAX / 2 };
	struct fixture_clock f;

	(void)state;
	for (size_t i = 0; i < sizeof(floors) / sizeof(floors[0]); i++) {
		int64_t first;

		fixture_clock(&f, NOW);
		clock_not_before(&f.clock, floors[i]);
		first = clock_now_ms(&f.clock);
		assert_true(first > NOW);
		fixture_clock_pass(&f, 100 * 365 * FIXTURE_DAY_MS);
		assert_true(clock_now_ms(&f.clock) > first);
	}
}

static void
two_clocks_share_nothing(void **state)
{
	struct fixture_clock live, test;

	(void)state;
	fixture_clock(&live, NOW);
	fixture_clock(&test, NOW);
	clock_not_before(&test.clock, NOW + FIXTURE_DAY_MS);
	assert_int_equal(clock_now_ms(&live.clock), NOW);
	assert_int_equal(clock_now_ms(&test.clock), NOW + FIXTURE_DAY_MS);
}

static void
the_system_s(void **state)
{
	struct clock clock;
	int64_t now, boot;

	(void)state;
	clock_init(&clock);
	now = clock_now_ms(&clock);
	assert_true(now / 1000 - (int64_t)time(NULL) <= 1 && (int64_t)time(NULL) - now / 1000 <= 5);
	boot = clock_boot_ms();
	assert_true(boot > 0 && clock_boot_ms() >= boot);
	assert_true(clock_now_ms(&clock) >= now);
}

/* ---- threads ---- */

#define THREADS 4
#define ROUNDS 20000

struct race {
	struct fixture_clock f;
	_Atomic int64_t seen_ms; /* the newest time that any thread has read */
	_Atomic unsigned backwards;
};

static void
publish(_Atomic int64_t *newest, int64_t ms)
{
	int64_t old = atomic_load(newest);

	while (ms > old && !atomic_compare_exchange_weak(newest, &old, ms))
		;
}

/* No thread may read a time before one that another thread has read. */
static void *
read_times(void *arg)
{
	struct race *race = arg;

	for (int i = 0; i < ROUNDS; i++) {
		int64_t before = atomic_load(&race->seen_ms);
		int64_t now = clock_now_ms(&race->f.clock);

		if (now < before)
			atomic_fetch_add(&race->backwards, 1);
		publish(&race->seen_ms, now);
	}
	return NULL;
}

/* Meanwhile the wall jumps to and fro, and commits raise the floor. */
static void *
disturb(void *arg)
{
	struct race *race = arg;

	for (int i = 0; i < ROUNDS; i++) {
		atomic_fetch_add(&race->f.boot_ns, 1000);
		fixture_clock_set(&race->f, NOW + (i % 2 == 0 ? i : -i));
		if (i % 64 == 0)
			clock_not_before(&race->f.clock, atomic_load(&race->seen_ms) + 1);
	}
	return NULL;
}

static void
threads_never_see_it_go_back(void **state)
{
	struct race race = { .seen_ms = 0, .backwards = 0 };
	pthread_t threads[THREADS + 1];

	(void)state;
	fixture_clock(&race.f, NOW);
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, read_times, &race), 0);
	assert_int_equal(pthread_create(&threads[THREADS], NULL, disturb, &race), 0);
	for (int i = 0; i <= THREADS; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(atomic_load(&race.backwards), 0);
	assert_true(clock_now_ms(&race.f.clock) >= atomic_load(&race.seen_ms));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(follows_the_wall),
		cmocka_unit_test(never_goes_back),
		cmocka_unit_test(a_sleep_is_time_too),
		cmocka_unit_test(is_rounded_down),
		cmocka_unit_test(has_a_floor),
		cmocka_unit_test(an_absurd_floor_does_not_overflow),
		cmocka_unit_test(two_clocks_share_nothing),
		cmocka_unit_test(the_system_s),
		cmocka_unit_test(threads_never_see_it_go_back),
	};

	return cmocka_run_group_tests_name("clock", tests, NULL, NULL);
}
