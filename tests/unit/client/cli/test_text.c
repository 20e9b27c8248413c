/*
 * test_text.c - client/cli/text.c: the parsing of arguments, and values as text. The command line's objects are not linked to
 * unit tests, so the file under test is included.
 */
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "client/cli/text.c"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static void
assert_trim(const char *text, const char *expected)
{
	size_t from, len = text_trim(text, strlen(text), &from);

	assert_int_equal(len, strlen(expected));
	assert_memory_equal(text + from, expected, len);
}

static void
trims(void **state)
{
	(void)state;
	assert_trim("", "");
	assert_trim("a", "a");
	assert_trim("a\n", "a");
	assert_trim("\xef\xbb\xbf"
		    "a b\r\n",
	    "a b");
	assert_trim(" \t a \n\n", "a");
	assert_trim("\xef\xbb\xbf \r\n", "");
	assert_trim("\xef\xbb", "\xef\xbb");
	assert_trim("a\xef\xbb\xbf", "a\xef\xbb\xbf");
	assert_true(text_is_utf16("\xff\xfe"
				  "a",
			3) &&
	    text_is_utf16("\xfe\xff", 2));
	assert_false(text_is_utf16("\xff", 1) || text_is_utf16("ab", 2));
}

static void
accounts(void **state)
{
	char id[66];

	(void)state;
	memset(id, 'a', 65);
	id[65] = '\0';
	assert_false(text_is_account(id));
	id[64] = '\0';
	assert_true(text_is_account(id));
	assert_true(text_is_account("A.z_0-9"));
	assert_false(text_is_account(""));
	assert_false(text_is_account("a b"));
	assert_false(text_is_account("a/b"));
	assert_false(text_is_account("a\n"));
	assert_false(text_is_account("\xc3\xa4"));
}

static void
durations(void **state)
{
	static const struct {
		const char *s;
		int64_t ms;
	} good[] = { { "0", 0 }, { "0s", 0 }, { "1ms", 1 }, { "500ms", 500 }, { "90s", 90000 }, { "30m", 1800000 },
		{ "24h", 86400000 }, { "1h30m", 5400000 }, { "1d", 86400000 }, { "1000d", 86400000000 },
		{ "007s", 7000 } };
	static const char *const bad[] = { "", "1", "00", "s", "-1s", "+1s", " 1s", "1s ", "1 s", "1.5s", "1x", "1s2",
		"1S", "1001d", "1000d1ms", "99999999999999999999s", "9223372036854775807ms" };
	int64_t ms = 0;

	(void)state;
	for (size_t i = 0; i < COUNT(good); i++) {
		assert_int_equal(text_duration_ms(good[i].s, &ms), 0);
		assert_int_equal(ms, good[i].ms);
	}
	ms = 42;
	for (size_t i = 0; i < COUNT(bad); i++)
		assert_int_equal(text_duration_ms(bad[i], &ms), -1);
	assert_int_equal(ms, 42);
}

static void
numbers(void **state)
{
	uint32_t n = 0;

	(void)state;
	assert_int_equal(text_number("1", 1, 5, &n), 0);
	assert_int_equal(n, 1);
	assert_int_equal(text_number("4294967295", 1, UINT32_MAX, &n), 0);
	assert_int_equal(n, UINT32_MAX);
	assert_int_equal(text_number("4294967296", 1, UINT32_MAX, &n), -1);
	assert_int_equal(text_number("99999999999999999999999", 1, UINT32_MAX, &n), -1);
	assert_int_equal(text_number("0", 1, 5, &n), -1);
	assert_int_equal(text_number("6", 1, 5, &n), -1);
	assert_int_equal(text_number("", 0, 5, &n), -1);
	assert_int_equal(text_number("-1", 0, 5, &n), -1);
	assert_int_equal(text_number("1 ", 0, 5, &n), -1);
	assert_int_equal(n, UINT32_MAX);
}

static void
assert_time(int64_t ms, bool milliseconds, const char *expected)
{
	char out[TEXT_TIME_SIZE];

	text_time(ms, milliseconds, out);
	assert_string_equal(out, expected);
}

static void
times(void **state)
{
	(void)state;
	assert_time(0, false, "-");
	assert_time(1, true, "1970-01-01T00:00:00.001Z");
	assert_time(951782400000, false, "2000-02-29T00:00:00Z");
	assert_time(1767225599999, true, "2025-12-31T23:59:59.999Z");
	assert_time(253402300799999, true, "9999-12-31T23:59:59.999Z");
	assert_time(253402300800000, false, "253402300800000ms");
	assert_time(-1, false, "-1ms");
	assert_time(INT64_MIN, true, "-9223372036854775808ms");
}

static void
assert_relative(int64_t ms, int64_t now_ms, const char *expected)
{
	char out[TEXT_TIME_SIZE];

	text_relative(ms, now_ms, out);
	assert_string_equal(out, expected);
}

static void
relative_times(void **state)
{
	(void)state;
	assert_relative(1000, 1000, "now");
	assert_relative(1999, 1000, "now");
	assert_relative(2000, 1000, "in 1s");
	assert_relative(0, 59000, "59s ago");
	assert_relative(60000, 0, "in 1m00s");
	assert_relative(86399000, 0, "in 23h59m");
	assert_relative(0, 86400000, "1d00h ago");
	assert_relative(INT64_MAX, INT64_MIN, "in 213503982334d14h");
	assert_relative(INT64_MIN, INT64_MAX, "213503982334d14h ago");
}

static void
assert_escape(const char *in, size_t size, const char *expected)
{
	char out[64];

	assert_true(size <= sizeof(out));
	memset(out, '#', sizeof(out));
	text_escape(in, out, size);
	assert_string_equal(out, expected);
	for (size_t i = size; i < sizeof(out); i++)
		assert_int_equal(out[i], '#');
}

static void
escapes(void **state)
{
	(void)state;
	assert_escape("", 64, "");
	assert_escape("plain ~text", 64, "plain ~text");
	assert_escape("\033[31m\n\r\t\x7f", 64, "\\x1b[31m\\x0a\\x0d\\x09\\x7f");
	assert_escape("\xc2\x9b"
		      "31m",
	    64, "\\xc2\\x9b31m");
	assert_escape("a\\x1b", 64, "a\\\\x1b");
	assert_escape("(\xe2\x80\xa6"
		      "abcd)",
	    64,
	    "(\xe2\x80\xa6"
	    "abcd)");
	assert_escape("\xe2\x80", 64, "\\xe2\\x80");
	/* What does not fit is cut between characters. */
	assert_escape("abcdef", 5, "abcd");
	assert_escape("a\033b", 5, "a");
	assert_escape("\033", 5, "\\x1b");
	assert_escape("ab\xe2\x80\xa6", 5, "ab");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(trims),
		cmocka_unit_test(accounts),
		cmocka_unit_test(durations),
		cmocka_unit_test(numbers),
		cmocka_unit_test(times),
		cmocka_unit_test(relative_times),
		cmocka_unit_test(escapes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
