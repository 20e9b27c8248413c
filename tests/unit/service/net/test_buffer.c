/*
 * test_buffer.c - buffer.c: bytes are kept in order whatever is added and dropped, and every budget knows what is held.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "service/net/buffer.h"

static void
in_order_and_counted(void **state)
{
	struct budget all = { 0 }, own = { .of = &all };
	struct buffer b = { 0 };
	uint8_t piece[5000], next_in = 0, next_out = 0;

	(void)state;
	srand(7);
	for (int i = 0; i < 2000; i++) {
		size_t n = (size_t)rand() % sizeof(piece), drop;

		for (size_t k = 0; k < n; k++)
			piece[k] = next_in++;
		assert_int_equal(buffer_append(&b, piece, n, &own), 0);
		drop = (size_t)rand() % (b.len + b.len / 8 + 1);
		for (size_t k = 0; k < drop && k < b.len; k++)
			assert_int_equal(b.bytes[k], next_out++);
		buffer_drop(&b, drop, &own);
		assert_int_equal(own.held, b.cap);
		assert_int_equal(all.held, b.cap);
		if (b.len == 0)
			assert_int_equal(b.cap, 0);
	}
	buffer_clear(&b, &own);
	assert_int_equal(own.held, 0);
	assert_int_equal(all.held, 0);
	assert_null(b.bytes);
	buffer_clear(&b, &own);
}

static void
room_is_taken_as_asked(void **state)
{
	struct budget own = { 0 };
	struct buffer b = { 0 };

	(void)state;
	assert_int_equal(buffer_append(&b, NULL, 0, &own), 0);
	assert_int_equal(b.cap, 0);
	assert_int_equal(buffer_reserve(&b, 1, &own), 0);
	assert_in_range(b.cap, 1, 4096);
	assert_int_equal(buffer_reserve(&b, 100000, &own), 0);
	assert_in_range(b.cap, 100000, 200000);
	buffer_clear(&b, NULL);
}

/* Dropped bytes are wiped where they were. */
static void
dropped_bytes_are_wiped(void **state)
{
	struct buffer b = { 0 };

	(void)state;
	assert_int_equal(buffer_append(&b, "secretsecret-rest", 17, NULL), 0);
	buffer_drop(&b, 12, NULL);
	assert_memory_equal(b.bytes, "-rest\0\0\0\0\0\0\0\0\0\0\0\0", 17);
	buffer_clear(&b, NULL);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(in_order_and_counted),
		cmocka_unit_test(room_is_taken_as_asked),
		cmocka_unit_test(dropped_bytes_are_wiped),
	};

	return cmocka_run_group_tests_name("buffer", tests, NULL, NULL);
}
