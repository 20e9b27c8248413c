/*
 * test_attempts.c - client/http/attempts.c: how often a sign-in may fail, for each peer and for all. The clock is
 * the test's.
 */
#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "client/http/attempts.h"

static struct attempts attempts;

static int
set_up(void **state)
{
	(void)state;
	memset(&attempts, 0, sizeof(attempts));
	return 0;
}

static struct peer
peer(const char *address)
{
	struct peer out = { .is_unix = strcmp(address, "unix") == 0 };

	if (!out.is_unix)
		assert_int_equal(inet_pton(AF_INET6, address, &out.address), 1);
	return out;
}

static void
fail_times(const char *address, unsigned times, int64_t now_ms)
{
	const struct peer p = peer(address);

	while (times-- > 0)
		attempts_failed(&attempts, &p, now_ms);
}

static unsigned
wait_of(const char *address, int64_t now_ms)
{
	const struct peer p = peer(address);

	return attempts_wait_s(&attempts, &p, now_ms);
}

static void
of_one_peer(void **state)
{
	(void)state;
	assert_int_equal(wait_of("::ffff:10.0.0.1", 0), 0);
	fail_times("::ffff:10.0.0.1", ATTEMPTS_PEER - 1, 1000);
	assert_int_equal(wait_of("::ffff:10.0.0.1", 2000), 0);
	fail_times("::ffff:10.0.0.1", 1, 31000);
	assert_int_equal(wait_of("::ffff:10.0.0.1", 31000), 30);
	assert_int_equal(wait_of("::ffff:10.0.0.1", 60999), 1);
	assert_int_equal(wait_of("::ffff:10.0.0.1", 61000), 0);
	/* Others are not concerned. */
	assert_int_equal(wait_of("::ffff:10.0.0.2", 31000), 0);
	assert_int_equal(wait_of("unix", 31000), 0);
	/* A window is over as a whole. */
	fail_times("::ffff:10.0.0.1", ATTEMPTS_PEER - 1, 61000);
	assert_int_equal(wait_of("::ffff:10.0.0.1", 61000), 0);
}

static void
who_is_one_peer(void **state)
{
	(void)state;
	fail_times("2001:db8:1:2::1", ATTEMPTS_PEER, 0);
	assert_int_equal(wait_of("2001:db8:1:2:ffff::9", 0), 60);
	assert_int_equal(wait_of("2001:db8:1:3::1", 0), 0);
	fail_times("unix", ATTEMPTS_PEER, 0);
	assert_int_equal(wait_of("unix", 0), 60);
	assert_int_equal(wait_of("::", 0), 0);
}

static void
of_all_together(void **state)
{
	char address[32];

	(void)state;
	for (unsigned i = 0; i < ATTEMPTS_ALL; i++) {
		assert_int_equal(wait_of("::ffff:10.1.1.1", i), 0);
		snprintf(address, sizeof(address), "::ffff:10.0.0.%u", i);
		fail_times(address, 1, i);
	}
	assert_int_equal(wait_of("::ffff:10.1.1.1", 20), 60);
	assert_int_equal(wait_of("::ffff:10.1.1.1", ATTEMPTS_WINDOW_MS), 0);
	/* The table of peers is full of those whose window is over: they make room. */
	for (int64_t now = 2 * ATTEMPTS_WINDOW_MS; now < 20 * ATTEMPTS_WINDOW_MS; now += 2 * ATTEMPTS_WINDOW_MS) {
		snprintf(address, sizeof(address), "::ffff:10.2.0.%u", (unsigned)(now / ATTEMPTS_WINDOW_MS));
		fail_times(address, ATTEMPTS_PEER, now);
		assert_int_equal(wait_of(address, now), 60);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test_setup(of_one_peer, set_up),
		cmocka_unit_test_setup(who_is_one_peer, set_up), cmocka_unit_test_setup(of_all_together, set_up) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
