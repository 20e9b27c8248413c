/*
 * test_row.c - a row is read back, and nothing that was changed is believed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "service/cluster/row.h"

static const uint8_t key[ROW_KEY_LEN] = { 1 }, cluster[16] = { 2 };
static const char name[] = "nodes/x";

static size_t
make(const char *address, uint8_t bytes[ROW_MAX], struct row *row)
{
	*row = (struct row){ .applied = 0x0102030405060708,
		.max_staleness_ms = 10000,
		.wall_ms = 1900000000123,
		.pepper_lines = 2,
		.entry_version = 1 };
	memset(row->tag, 7, sizeof(row->tag));
	memset(row->boot, 9, sizeof(row->boot));
	strcpy(row->address, address);
	return row_put(key, cluster, name, row, bytes);
}

static void
a_row_is_read_back(void **state)
{
	char longest[ROW_ADDRESS_MAX + 1];
	const char *const addresses[] = { "", "tls+tcp://192.0.2.1:7402", longest };
	uint8_t bytes[ROW_MAX];
	struct row row, read;

	(void)state;
	memset(longest, 'a', ROW_ADDRESS_MAX);
	longest[ROW_ADDRESS_MAX] = '\0';
	for (int i = 0; i < 3; i++) {
		size_t len = make(addresses[i], bytes, &row);

		assert_int_equal(len, ROW_FIXED_LEN + strlen(addresses[i]) + ROW_MAC_LEN);
		assert_int_equal(row_get(key, cluster, name, bytes, len, &read), 0);
		assert_memory_equal(&row, &read, sizeof(row));
	}
}

static void
what_was_changed_is_refused(void **state)
{
	const uint8_t other[32] = { 3 };
	uint8_t bytes[ROW_MAX + 1];
	struct row row;
	size_t len;

	(void)state;
	len = make("a", bytes, &row);
	for (size_t bit = 0; bit < len * 8; bit++) {
		bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
		assert_int_equal(row_get(key, cluster, name, bytes, len, &row), -1);
		bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	for (size_t n = 0; n < len; n++)
		assert_int_equal(row_get(key, cluster, name, bytes, n, &row), -1);
	assert_int_equal(row_get(key, cluster, name, bytes, len + 1, &row), -1);
	assert_int_equal(row_get(other, cluster, name, bytes, len, &row), -1);
	assert_int_equal(row_get(key, other, name, bytes, len, &row), -1);
	assert_int_equal(row_get(key, cluster, "nodes/y", bytes, len, &row), -1);
	assert_int_equal(row_get(key, cluster, name, bytes, len, &row), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_row_is_read_back),
		cmocka_unit_test(what_was_changed_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
