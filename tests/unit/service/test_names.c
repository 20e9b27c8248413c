/*
 * test_names.c - names.c: every number has its name, and one that nobody knows still has one.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "service/types.h"

static void
every_environment_and_kind(void **state)
{
	(void)state;
	assert_string_equal(environment_name(ENVIRONMENT_LIVE), "live");
	assert_string_equal(environment_name(ENVIRONMENT_TEST), "test");
	assert_string_equal(kind_name(KIND_SECRET), "secret");
	assert_string_equal(kind_name(KIND_PUBLISHABLE), "publishable");
}

static void
every_verdict(void **state)
{
	static const char *const names[VERDICTS] = { "UNSPECIFIED", "VALID", "MALFORMED", "NOT_FOUND", "EXPIRED",
		"REVOKED", "SUSPENDED", "WRONG_ENVIRONMENT", "FORBIDDEN" };

	(void)state;
	for (unsigned i = 0; i < VERDICTS; i++)
		assert_string_equal(verdict_name((enum verdict)i), names[i]);
}

static void
unknown_numbers(void **state)
{
	volatile unsigned beyond = 15; /* within what an enum's bits can hold, but no name's number */

	(void)state;
	assert_string_equal(verdict_name((enum verdict)beyond), "UNKNOWN");
	assert_string_equal(environment_name((enum environment)beyond), "UNKNOWN");
	assert_string_equal(kind_name((enum kind)beyond), "UNKNOWN");
	assert_string_equal(kind_name((enum kind)0), "UNKNOWN");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_environment_and_kind),
		cmocka_unit_test(every_verdict),
		cmocka_unit_test(unknown_numbers),
	};

	return cmocka_run_group_tests_name("names", tests, NULL, NULL);
}
