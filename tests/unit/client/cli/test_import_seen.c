/*
 * test_import_seen.c - client/cli/import_seen.c: a line is judged as fobd would, by the lines before it. The command line's
 * objects are not linked to unit tests, so the file under test is included.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "client/cli/import_seen.c"

static struct import_seen seen;

/* Keys are numbers; 0: none. */
static enum fob_import_outcome
judge(const char *account, uint32_t secret, uint32_t publishable)
{
	struct import_line line = { .secret.given = secret != 0, .publishable.given = publishable != 0 };
	enum fob_import_outcome outcome = FOB_IMPORT_OUTCOME_UNKNOWN;

	snprintf(line.account, sizeof(line.account), "%s", account);
	memcpy(line.secret.sha256, &secret, sizeof(secret));
	memcpy(line.publishable.sha256, &publishable, sizeof(publishable));
	assert_int_equal(import_seen_judge(&seen, &line, &outcome), 0);
	return outcome;
}

static void
outcomes(void **state)
{
	(void)state;
	assert_int_equal(judge("a", 0, 0), FOB_IMPORT_OUTCOME_IMPORTED);
	assert_int_equal(judge("a", 0, 0), FOB_IMPORT_OUTCOME_UNCHANGED);
	assert_int_equal(judge("a", 1, 0), FOB_IMPORT_OUTCOME_IMPORTED);
	assert_int_equal(judge("a", 1, 0), FOB_IMPORT_OUTCOME_UNCHANGED);
	assert_int_equal(judge("a", 1, 2), FOB_IMPORT_OUTCOME_IMPORTED);
	assert_int_equal(judge("a", 3, 0), FOB_IMPORT_OUTCOME_ACCOUNT_CONFLICT);
	assert_int_equal(judge("b", 1, 0), FOB_IMPORT_OUTCOME_KEY_CONFLICT);
	/* What is refused is not remembered. */
	assert_int_equal(judge("b", 1, 4), FOB_IMPORT_OUTCOME_KEY_CONFLICT);
	assert_int_equal(judge("c", 3, 4), FOB_IMPORT_OUTCOME_IMPORTED);
	assert_int_equal(judge("a", 9, 4), FOB_IMPORT_OUTCOME_KEY_CONFLICT);
	/* One digest as two kinds is two keys. */
	assert_int_equal(judge("d", 5, 5), FOB_IMPORT_OUTCOME_IMPORTED);
	import_seen_fini(&seen);
}

static void
many(void **state)
{
	char account[16];

	(void)state;
	for (int pass = 0; pass < 2; pass++) {
		for (uint32_t i = 1; i <= 20000; i++) {
			snprintf(account, sizeof(account), "a%u", i);
			assert_int_equal(judge(account, i, i),
			    pass == 0 ? FOB_IMPORT_OUTCOME_IMPORTED : FOB_IMPORT_OUTCOME_UNCHANGED);
		}
	}
	assert_int_equal(seen.n, 60000);
	import_seen_fini(&seen);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(outcomes), cmocka_unit_test(many) };

	return cmocka_run_group_tests_name("import_seen", tests, NULL, NULL);
}
