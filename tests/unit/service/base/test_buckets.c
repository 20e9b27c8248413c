/*
 * test_buckets.c - each bucket's first and last value.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "service/base/buckets.h"

static void
bounds(void **state)
{
	(void)state;
	assert_int_equal(bucket_of(0, 25), 0);
	assert_int_equal(bucket_of(1, 25), 0);
	for (unsigned i = 1; i < 24; i++) {
		assert_int_equal(bucket_of((UINT64_C(1) << (i - 1)) + 1, 25), i);
		assert_int_equal(bucket_of(UINT64_C(1) << i, 25), i);
	}
	assert_int_equal(bucket_of((UINT64_C(1) << 23) + 1, 25), 24);
	assert_int_equal(bucket_of(UINT64_MAX, 25), 24);
	assert_int_equal(bucket_of(UINT64_MAX, 65), 64);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(bounds) };

	return cmocka_run_group_tests_name("buckets", tests, NULL, NULL);
}
