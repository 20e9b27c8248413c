/*
 * test_judge.c - what each end of a call means. A transaction that may have been made is never NOT_SENT.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "client/cluster/judge.h"

enum { UNKNOWN, DONE, NOT_SENT, NO_SPACE };

static void
test_ends(void **state)
{
	static const struct {
		bool sent, broken;
		long http;
		int code;
		const char *reason;
		bool whole;
		int outcome;
		bool elsewhere;
	} rows[] = {
		{ false, true, 0, GRPC_NONE, "", false, NOT_SENT, true },
		{ true, true, 0, GRPC_NONE, "", false, UNKNOWN, true },
		{ true, true, 200, 0, "", true, UNKNOWN, true },
		{ true, false, 200, 0, "", true, DONE, false },
		{ true, false, 200, 0, "", false, UNKNOWN, true },
		{ true, false, 200, GRPC_NONE, "", true, DONE, false }, /* libcurl has lost the trailers */
		{ true, false, 200, GRPC_NONE, "", false, UNKNOWN, true },
		{ true, false, 502, GRPC_NONE, "", true, UNKNOWN, true },
		{ true, false, 502, 0, "", true, UNKNOWN, true },
		{ true, false, 200, 8, "etcdserver: mvcc: database space exceeded", false, NO_SPACE, false },
		{ true, false, 200, 8, "etcdserver: too many requests", false, NOT_SENT, false },
		{ true, false, 200, 14, "etcdserver: request timed out", false, UNKNOWN, true },
		{ true, false, 200, 14, "etcdserver: leader changed", true, UNKNOWN, true },
		{ true, false, 200, 4, "", false, UNKNOWN, false },
		{ true, false, 200, 1, "", false, UNKNOWN, false },
		{ true, false, 200, 2, "", false, UNKNOWN, false },
		{ true, false, 200, 13, "", false, UNKNOWN, false },
		{ true, false, 200, 99, "", true, UNKNOWN, false },
		{ true, false, 200, 3, "etcdserver: request is too large", false, NOT_SENT, false },
		{ true, false, 200, 7, "etcdserver: permission denied", false, NOT_SENT, false },
		{ true, false, 200, 16, "", false, NOT_SENT, false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct judge_end end = { rows[i].sent, rows[i].broken, rows[i].http, rows[i].whole, { .code = rows[i].code } };
		struct judgement got;

		snprintf(end.grpc.reason, sizeof(end.grpc.reason), "%s", rows[i].reason);
		got = judge(&end);
		print_message("row %zu\n", i);
		assert_int_equal(rows[i].outcome, got.outcome);
		assert_int_equal(rows[i].elsewhere, got.elsewhere);
		assert_int_equal(rows[i].outcome != DONE, got.trouble);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_ends) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
