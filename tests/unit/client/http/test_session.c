/*
 * test_session.c - client/http/session.c: when a session ends, how many there are, and what a CSRF token is bound
 * to. The clock is the test's.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "client/http/session.h"

#define IDLE_MS 900000

static struct sessions sessions;

static int
set_up(void **state)
{
	(void)state;
	sessions_init(&sessions, IDLE_MS);
	return 0;
}

static bool
is_open(const char *id, int64_t now_ms)
{
	return session_find(&sessions, id, now_ms) != NULL;
}

static void
it_is_found_by_its_id(void **state)
{
	char a[SESSION_TEXT_SIZE], b[SESSION_TEXT_SIZE];

	(void)state;
	session_begin(&sessions, "ada", 5, a);
	session_begin(&sessions, "", 5, b);
	assert_int_equal(strlen(a), 43);
	assert_string_not_equal(a, b);
	assert_string_equal(session_find(&sessions, a, 5)->user, "ada");
	assert_string_equal(session_find(&sessions, b, 5)->user, "");
	assert_false(is_open("", 5));
	a[42] ^= 1;
	assert_false(is_open(a, 5));
	a[42] ^= 1;
	session_end(session_find(&sessions, a, 5));
	assert_false(is_open(a, 5));
	assert_true(is_open(b, 5));
	session_end(NULL);
}

static void
it_ends_when_it_is_idle(void **state)
{
	char id[SESSION_TEXT_SIZE];

	(void)state;
	session_begin(&sessions, "", 1000, id);
	assert_int_equal(session_left_ms(&sessions, session_find(&sessions, id, 1000), 1000), IDLE_MS);
	/* That it is looked for is no use. */
	assert_true(is_open(id, 1000 + IDLE_MS - 1));
	assert_false(is_open(id, 1000 + IDLE_MS));
	assert_false(is_open(id, 1000));
	session_begin(&sessions, "", 1000, id);
	session_use(session_find(&sessions, id, 500000), 500000);
	assert_true(is_open(id, 500000 + IDLE_MS - 1));
	assert_false(is_open(id, 500000 + IDLE_MS));
}

static void
it_ends_after_eight_hours(void **state)
{
	char id[SESSION_TEXT_SIZE];
	int64_t now = 7;

	(void)state;
	session_begin(&sessions, "", now, id);
	for (; now < 7 + SESSION_MAX_MS; now += IDLE_MS / 2) {
		assert_true(is_open(id, now));
		session_use(session_find(&sessions, id, now), now);
	}
	assert_true(is_open(id, 7 + SESSION_MAX_MS - 1));
	assert_int_equal(
	    session_left_ms(&sessions, session_find(&sessions, id, 7 + SESSION_MAX_MS - 1), 7 + SESSION_MAX_MS - 1), 1);
	assert_false(is_open(id, 7 + SESSION_MAX_MS));
}

static void
one_too_many(void **state)
{
	char ids[SESSIONS_MAX + 1][SESSION_TEXT_SIZE];

	(void)state;
	for (int i = 0; i < SESSIONS_MAX; i++)
		session_begin(&sessions, "", i, ids[i]);
	session_use(session_find(&sessions, ids[0], SESSIONS_MAX), SESSIONS_MAX);
	session_begin(&sessions, "", SESSIONS_MAX, ids[SESSIONS_MAX]);
	for (int i = 0; i <= SESSIONS_MAX; i++)
		assert_int_equal(is_open(ids[i], SESSIONS_MAX), i != 1);
	/* Sessions that have ended make room first. */
	session_begin(&sessions, "", IDLE_MS + 5, ids[1]);
	assert_true(is_open(ids[0], IDLE_MS + 6));
	assert_true(is_open(ids[1], IDLE_MS + 6));
	assert_false(is_open(ids[4], IDLE_MS + 6));
	assert_true(is_open(ids[7], IDLE_MS + 6));
}

static void
the_csrf_token(void **state)
{
	char a[SESSION_TEXT_SIZE], b[SESSION_TEXT_SIZE], of_a[SESSION_TEXT_SIZE], of_b[SESSION_TEXT_SIZE];

	(void)state;
	session_begin(&sessions, "", 0, a);
	session_begin(&sessions, "", 0, b);
	session_csrf(a, of_a);
	session_csrf(b, of_b);
	assert_int_equal(strlen(of_a), 43);
	assert_string_not_equal(of_a, a);
	assert_string_not_equal(of_a, of_b);
	assert_true(session_csrf_ok(a, of_a));
	assert_true(session_csrf_ok(b, of_b));
	assert_false(session_csrf_ok(a, of_b));
	assert_false(session_csrf_ok(a, a));
	assert_false(session_csrf_ok(a, NULL));
	assert_false(session_csrf_ok(a, ""));
	of_a[0] ^= 1;
	assert_false(session_csrf_ok(a, of_a));
	of_a[0] ^= 1;
	of_a[42] = '\0';
	assert_false(session_csrf_ok(a, of_a));
}

/* The store holds no id, and nothing is left of what ended. */
static void
what_is_kept(void **state)
{
	static const struct sessions none = { .idle_ms = IDLE_MS };
	char id[SESSION_TEXT_SIZE], csrf[SESSION_TEXT_SIZE];

	(void)state;
	session_begin(&sessions, "ada", 0, id);
	session_csrf(id, csrf);
	for (size_t i = 0; i + 43 <= sizeof(sessions); i++) {
		assert_memory_not_equal((const char *)&sessions + i, id, 43);
		assert_memory_not_equal((const char *)&sessions + i, csrf, 43);
	}
	session_end(session_find(&sessions, id, 0));
	assert_memory_equal(&sessions, &none, sizeof(none));
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test_setup(it_is_found_by_its_id, set_up),
		cmocka_unit_test_setup(it_ends_when_it_is_idle, set_up),
		cmocka_unit_test_setup(it_ends_after_eight_hours, set_up), cmocka_unit_test_setup(one_too_many, set_up),
		cmocka_unit_test_setup(the_csrf_token, set_up), cmocka_unit_test_setup(what_is_kept, set_up) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
