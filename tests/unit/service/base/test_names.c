/*
 * test_names.c - every number has its name, unknown numbers are "UNKNOWN", and the valid names of operations.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "service/base/names.h"

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
	static const char *const names[VERDICTS] = { "DENIED", "VALID", "MALFORMED", "NOT_FOUND", "EXPIRED", "REVOKED",
		"SUSPENDED", "WRONG_ENVIRONMENT", "FORBIDDEN" };

	(void)state;
	for (unsigned i = 0; i < VERDICTS; i++)
		assert_string_equal(verdict_name((enum verdict)i), names[i]);
}

static void
unknown_numbers(void **state)
{
	volatile unsigned beyond = 15; /* fits into the enum, but has no name */

	(void)state;
	assert_string_equal(verdict_name((enum verdict)beyond), "UNKNOWN");
	assert_string_equal(environment_name((enum environment)beyond), "UNKNOWN");
	assert_string_equal(kind_name((enum kind)beyond), "UNKNOWN");
	assert_string_equal(kind_name((enum kind)0), "UNKNOWN");
}

static void
every_byte_of_an_operation(void **state)
{
	static const char others[] = "._:/-";
	char name[LIMIT_OPERATION + 1];

	(void)state;
	for (int c = 0; c < 256; c++) {
		bool ok = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
		    (c != 0 && strchr(others, c) != NULL);

		assert_int_equal(operation_name_ok(&(char){ (char)c }, 1), ok);
		/* Behind others, too. */
		assert_int_equal(operation_name_ok((char[]){ 'a', (char)c, 'z' }, 3), ok);
	}
	memset(name, 'a', sizeof(name));
	assert_false(operation_name_ok(NULL, 0));
	assert_true(operation_name_ok(name, LIMIT_OPERATION));
	assert_false(operation_name_ok(name, LIMIT_OPERATION + 1));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_environment_and_kind),
		cmocka_unit_test(every_verdict),
		cmocka_unit_test(unknown_numbers),
		cmocka_unit_test(every_byte_of_an_operation),
	};

	return cmocka_run_group_tests_name("names", tests, NULL, NULL);
}
