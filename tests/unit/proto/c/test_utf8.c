/*
 * test_utf8.c - every valid character is decoded to its code point, and all other bytes are refused.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "proto/c/utf8.h"

/* The bytes of valid characters, from RFC 3629's table. */
static size_t
encode(uint32_t c, uint8_t out[4])
{
	if (c < 0x80) {
		out[0] = (uint8_t)c;
		return 1;
	}
	if (c < 0x800) {
		out[0] = (uint8_t)(0xc0 | c >> 6);
		out[1] = (uint8_t)(0x80 | (c & 0x3f));
		return 2;
	}
	if (c < 0x10000) {
		out[0] = (uint8_t)(0xe0 | c >> 12);
		out[1] = (uint8_t)(0x80 | (c >> 6 & 0x3f));
		out[2] = (uint8_t)(0x80 | (c & 0x3f));
		return 3;
	}
	out[0] = (uint8_t)(0xf0 | c >> 18);
	out[1] = (uint8_t)(0x80 | (c >> 12 & 0x3f));
	out[2] = (uint8_t)(0x80 | (c >> 6 & 0x3f));
	out[3] = (uint8_t)(0x80 | (c & 0x3f));
	return 4;
}

static void
every_character(void **state)
{
	uint32_t point;
	uint8_t s[4];
	size_t len;

	(void)state;
	for (uint32_t c = 0; c <= 0x110000; c++) {
		len = encode(c, s);
		if ((c >= 0xd800 && c <= 0xdfff) || c > 0x10ffff) {
			assert_int_equal(utf8_decode(s, len, &point), 0);
			continue;
		}
		if (utf8_decode(s, len, &point) != len || point != c)
			fail_msg("U+%04X is not itself", (unsigned)c);
		for (size_t n = 1; n < len; n++)
			assert_int_equal(utf8_decode(s, n, &point), 0);
	}
}

/* Returns 1 when these bytes begin with a character of exactly that length. */
static unsigned
is_one(const uint8_t s[4], size_t len)
{
	uint32_t point;
	uint8_t again[4];

	if (utf8_decode(s, len, &point) != len)
		return 0;
	assert_int_equal(encode(point, again), len);
	assert_memory_equal(again, s, len);
	return 1;
}

/* All strings of up to three bytes, and those of four at the edges. Their number is that of all characters. */
static void
nothing_else(void **state)
{
	static const uint8_t edges[] = { 0x00, 0x7f, 0x80, 0xbf, 0xc0, 0xff };
	unsigned n[5] = { 0 };

	(void)state;
	for (unsigned a = 0; a < 256; a++) {
		n[1] += is_one((uint8_t[4]){ (uint8_t)a }, 1);
		for (unsigned b = 0; b < 256; b++) {
			n[2] += is_one((uint8_t[4]){ (uint8_t)a, (uint8_t)b }, 2);
			for (unsigned c = 0; c < 256; c++)
				n[3] += is_one((uint8_t[4]){ (uint8_t)a, (uint8_t)b, (uint8_t)c }, 3);
			for (size_t c = 0; c < 36; c++)
				n[4] += is_one((uint8_t[4]){ (uint8_t)a, (uint8_t)b, edges[c / 6], edges[c % 6] }, 4);
		}
	}
	assert_int_equal(n[1], 0x80);
	assert_int_equal(n[2], 0x800 - 0x80);
	assert_int_equal(n[3], 0x10000 - 0x800 - 0x800);
	assert_int_equal(n[4], (0x110000 - 0x10000) / 0x1000 * 4);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(every_character), cmocka_unit_test(nothing_else) };

	return cmocka_run_group_tests_name("client/utf8", tests, NULL, NULL);
}
