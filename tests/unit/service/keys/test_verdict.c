/*
 * test_verdict.c - verdict.c: every state, kind, suspension and operation at every side of a deadline, against a table.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "service/keys/verdict.h"

#define END_MS INT64_C(1800000000000)

static enum verdict
ask(const struct record_key *key, const char *operation, int64_t now_ms)
{
	static char names[3][16] = { "tokenize", "tokens.create", "keys.roll" };
	const struct config config = { .publishable_operations = { names[0], names[1] },
		.n_publishable_operations = 2,
		.roll_operations = { names[2] },
		.n_roll_operations = 1 };

	return verdict_of(&config, key, operation, strlen(operation), now_ms);
}

static const struct {
	const char *operation;
	bool publishable, in_grace; /* may such a key do it? A current secret key may do everything */
} operations[] = {
	{ "", true, true },
	{ "tokenize", true, true },
	{ "tokens.create", true, true },
	{ "tokeniz", false, true },
	{ "tokenized", false, true },
	{ "TOKENIZE", false, true },
	{ "charges.create", false, true },
	{ "keys.roll", false, false },
	{ "keys.rol", false, true },
	{ "keys.rolls", false, true },
};
#define N_OPERATIONS (sizeof(operations) / sizeof(operations[0]))

static void
who_may_do_what(void **state)
{
	(void)state;
	for (size_t i = 0; i < N_OPERATIONS; i++) {
		struct record_key key = { .kind = KIND_SECRET, .state = KEY_CURRENT };
		const char *operation = operations[i].operation;

		assert_int_equal(ask(&key, operation, END_MS), VERDICT_VALID);
		key.kind = KIND_PUBLISHABLE;
		assert_int_equal(
		    ask(&key, operation, END_MS), operations[i].publishable ? VERDICT_VALID : VERDICT_FORBIDDEN);
		key = (struct record_key){ .kind = KIND_SECRET, .state = KEY_GRACE, .expires_ms = END_MS };
		assert_int_equal(
		    ask(&key, operation, END_MS - 1), operations[i].in_grace ? VERDICT_VALID : VERDICT_FORBIDDEN);
	}
}

static void
a_grace_ends_at_its_deadline(void **state)
{
	struct record_key key = { .kind = KIND_SECRET, .state = KEY_GRACE, .expires_ms = END_MS };

	(void)state;
	assert_int_equal(ask(&key, "", 0), VERDICT_VALID);
	assert_int_equal(ask(&key, "", END_MS - 1), VERDICT_VALID);
	assert_int_equal(ask(&key, "", END_MS), VERDICT_EXPIRED);
	assert_int_equal(ask(&key, "", END_MS + 1), VERDICT_EXPIRED);
	assert_int_equal(ask(&key, "", INT64_MAX), VERDICT_EXPIRED);
}

/* An end is told before a suspension, and both before what the operation would be told. */
static void
what_is_told_first(void **state)
{
	static const struct {
		enum key_state state;
		bool suspended;
		int64_t now_ms;
		enum verdict verdict;
	} cases[] = {
		{ KEY_CURRENT, false, 0, VERDICT_FORBIDDEN },
		{ KEY_CURRENT, true, 0, VERDICT_SUSPENDED },
		{ KEY_GRACE, false, END_MS - 1, VERDICT_FORBIDDEN },
		{ KEY_GRACE, true, END_MS - 1, VERDICT_SUSPENDED },
		{ KEY_GRACE, true, END_MS, VERDICT_EXPIRED },
		{ KEY_EXPIRED, false, 0, VERDICT_EXPIRED },
		{ KEY_EXPIRED, true, 0, VERDICT_EXPIRED },
		{ KEY_REVOKED, false, 0, VERDICT_REVOKED },
		{ KEY_REVOKED, true, 0, VERDICT_REVOKED },
		/* States that this version does not know deny. */
		{ (enum key_state)0, false, 0, VERDICT_REVOKED },
		{ (enum key_state)5, false, 0, VERDICT_REVOKED },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct record_key key = { .kind = KIND_PUBLISHABLE,
			.state = cases[i].state,
			.suspended = cases[i].suspended,
			.expires_ms = END_MS };

		assert_int_equal(ask(&key, "charges.create", cases[i].now_ms), cases[i].verdict);
	}
}

static void
nothing_is_listed(void **state)
{
	const struct config config = { 0 };
	struct record_key key = { .kind = KIND_PUBLISHABLE, .state = KEY_CURRENT };

	(void)state;
	assert_int_equal(verdict_of(&config, &key, "tokenize", 8, 0), VERDICT_FORBIDDEN);
	assert_int_equal(verdict_of(&config, &key, NULL, 0, 0), VERDICT_VALID);
	key.kind = KIND_SECRET;
	assert_int_equal(verdict_of(&config, &key, "keys.roll", 9, 0), VERDICT_VALID);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(who_may_do_what),
		cmocka_unit_test(a_grace_ends_at_its_deadline),
		cmocka_unit_test(what_is_told_first),
		cmocka_unit_test(nothing_is_listed),
	};

	return cmocka_run_group_tests_name("verdict", tests, NULL, NULL);
}
