/*
 * test_buffer.c - buffer.c: bytes are kept in order whatever is added and consumed, and every budget knows what is held.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "proto/c/buffer.h"

static void
in_order_and_counted(void **state)
{
	struct budget all = { 0 }, own = { .of = &all };
	struct buffer b = { .budget = &own };
	uint8_t piece[5000], next_in = 0, next_out = 0;

	(void)state;
	srand(7);
	for (int i = 0; i < 2000; i++) {
		size_t n = (size_t)rand() % sizeof(piece), done;

		for (size_t k = 0; k < n; k++)
			piece[k] = next_in++;
		assert_int_equal(buffer_append(&b, piece, n), 0);
		done = (size_t)rand() % (b.len + b.len / 8 + 1);
		done = done < b.len ? done : b.len;
		for (size_t k = 0; k < done; k++)
			assert_int_equal(b.p[k], next_out++);
		buffer_consume(&b, done, 0);
		assert_int_equal(own.held, b.size);
		assert_int_equal(all.held, b.size);
		if (b.len == 0)
			assert_int_equal(b.size, 0);
	}
	buffer_free(&b);
	assert_int_equal(own.held, 0);
	assert_int_equal(all.held, 0);
	assert_null(b.p);
	assert_ptr_equal(b.budget, &own);
	buffer_free(&b);
}

static void
room_is_taken_as_asked(void **state)
{
	struct buffer b = { 0 };

	(void)state;
	assert_int_equal(buffer_append(&b, NULL, 0), 0);
	assert_int_equal(b.size, 0);
	assert_non_null(buffer_reserve(&b, 1));
	assert_in_range(b.size, 1, 4096);
	assert_non_null(buffer_reserve(&b, 100000));
	assert_in_range(b.size, 100000, 200000);
	/* What is empty keeps as much as it is told to. */
	buffer_add(&b, 5);
	buffer_consume(&b, 5, b.size);
	assert_non_null(b.p);
	buffer_consume(&b, 0, b.size - 1);
	assert_null(b.p);
}

/* Bytes that are done with are wiped where they were. */
static void
what_is_consumed_is_wiped(void **state)
{
	struct buffer b = { 0 };

	(void)state;
	assert_int_equal(buffer_append(&b, "secretsecret-rest", 17), 0);
	buffer_consume(&b, 12, 0);
	assert_memory_equal(b.p, "-rest\0\0\0\0\0\0\0\0\0\0\0\0", 17);
	buffer_free(&b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(in_order_and_counted),
		cmocka_unit_test(room_is_taken_as_asked),
		cmocka_unit_test(what_is_consumed_is_wiped),
	};

	return cmocka_run_group_tests_name("buffer", tests, NULL, NULL);
}
