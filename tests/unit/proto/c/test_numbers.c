/*
 * test_numbers.c - numbers that do not fit their fields are refused wherever they are in a message, and no others.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "fob/v1/admin.pb-c.h"
#include "fob/v1/keys.pb-c.h"
#include "proto/c/numbers.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* "08 81 80 80 80 10" as bytes. */
static size_t
bytes_of(const char *hex, uint8_t *out)
{
	size_t n = 0;
	unsigned byte;
	int used;

	for (; sscanf(hex, "%2x%n", &byte, &used) == 1; hex += used)
		out[n++] = (uint8_t)byte;
	return n;
}

static bool
fit(const ProtobufCMessageDescriptor *type, const char *hex)
{
	uint8_t bytes[64];
	size_t len = bytes_of(hex, bytes);

	return numbers_fit(type, bytes, len);
}

static void
a_verdict(void **state)
{
	static const char *const good[] = { "", "08 01", "08 81 80 00", "08 81 80 80 80 80 80 80 80 80 00",
		"08 ff ff ff ff 07", "08 ff ff ff ff ff ff ff ff ff 01", /* 2^31 - 1; -1 */
		"08 80 80 80 80 f8 ff ff ff ff 01",                      /* -2^31 */
		"50 80 80 80 80 80 80 01", "38 ff ff ff ff 0f",          /* an int64; a uint32 of 2^32 - 1 */
		"f8 ff 03 81 80 80 80 10" };                             /* of a field that is not known */
	static const char *const bad[] = { "08 81 80 80 80 10", "08 80 80 80 80 08", "08 81 80 80 80 f0 ff ff ff ff 01",
		"08 80 80 80 80 80 80 80 80 80 02", "08 81 80 80 80 80 80 80 80 80 80 00", "08 81 80 80 80",
		"38 80 80 80 80 10", "08 01 08 81 80 80 80 10", "12 04 80 80 80 80 08 81 80 80 80 10",
		"12 7f 80 80 80 80", "0b 80 80 80 80 10", "09 80 80 80 80 01", "81 80 80 80 80 10 01" };

	(void)state;
	for (size_t i = 0; i < COUNT(good); i++)
		if (!fit(&fob__v1__verify_key_response__descriptor, good[i]))
			fail_msg("refused: %s", good[i]);
	for (size_t i = 0; i < COUNT(bad); i++)
		if (fit(&fob__v1__verify_key_response__descriptor, bad[i]))
			fail_msg("taken: %s", bad[i]);
}

static void
within_other_messages(void **state)
{
	(void)state;
	assert_true(fit(&fob__v1__verify_keys_response__descriptor, "0a 05 1a 03 08 81 00"));
	assert_false(fit(&fob__v1__verify_keys_response__descriptor, "0a 08 1a 06 08 81 80 80 80 10"));
	assert_true(fit(&fob__v1__verify_keys_response__descriptor, "0a 06 12 04 81 80 80 80"));
}

static void
packed(void **state)
{
	(void)state;
	assert_true(fit(&fob__v1__import_accounts_response__descriptor, "0a 0b 01 ff ff ff ff ff ff ff ff ff 01"));
	assert_false(fit(&fob__v1__import_accounts_response__descriptor, "0a 07 01 01 81 80 80 80 10"));
	assert_false(fit(&fob__v1__import_accounts_response__descriptor, "0a 04 81 80 80 80"));
	assert_false(fit(&fob__v1__import_accounts_response__descriptor, "08 81 80 80 80 10"));
}

/* At each place of a long message, which is looked at eight bytes at a time. */
static void
anywhere(void **state)
{
	uint8_t bytes[64];

	(void)state;
	for (size_t before = 0; before < 20; before++) {
		memset(bytes, 'x', sizeof(bytes));
		bytes[0] = 0x1a;
		bytes[1] = (uint8_t)before;
		memcpy(bytes + 2 + before, "\x08\x81\x80\x80\x80\x10", 6);
		assert_false(numbers_fit(&fob__v1__verify_key_response__descriptor, bytes, before + 8));
		bytes[2 + before + 5] = 0;
		assert_true(numbers_fit(&fob__v1__verify_key_response__descriptor, bytes, before + 8));
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_verdict),
		cmocka_unit_test(within_other_messages),
		cmocka_unit_test(packed),
		cmocka_unit_test(anywhere),
	};

	return cmocka_run_group_tests_name("numbers", tests, NULL, NULL);
}
