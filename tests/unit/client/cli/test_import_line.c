/*
 * test_import_line.c - both formats of client/cli/import_line.c, and every reason for which a line is refused, none of which
 * repeats the line. The command line's objects are not linked to unit tests, so the files under test are included.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

/* The pure half of what it calls, and jansson. */
#include "client/cli/text.c"

#include "client/cli/import_line.c"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define SHA "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1F"

static struct import_reader reader;
static struct import_line line;
static const char *why;

static void
open_text(const char *text, size_t len, bool csv)
{
	static char copy[16384];

	assert_in_range(len, 1, sizeof(copy));
	memcpy(copy, text, len);
	import_reader_init(&reader, fmemopen(copy, len, "r"), csv);
}

static enum import_result
read_next(void)
{
	memset(&line, 0xee, sizeof(line));
	return import_reader_next(&reader, &line, &why);
}

static enum import_result
read_one(const char *text, bool csv)
{
	enum import_result rc;

	open_text(text, strlen(text), csv);
	if (csv)
		assert_int_equal(read_next(), IMPORT_NOTHING);
	rc = read_next();
	import_reader_fini(&reader);
	return rc;
}

static void
objects(void **state)
{
	struct fob_import_account a;

	(void)state;
	assert_int_equal(read_one("{\"account\":\"a\"}", false), IMPORT_LINE);
	import_line_account(&line, &a);
	assert_string_equal(a.account, "a");
	assert_int_equal(a.created_ms, 0);
	assert_null(a.secret_sha256);
	assert_null(a.publishable_last4);
	assert_int_equal(read_one("{\"account\":\"a\",\"created_ms\":1790000000000,\"secret_sha256\":\"" SHA
				  "\",\"secret_last4\":\"1a2B\",\"publishable_sha256\":null}\r\n",
			     false),
	    IMPORT_LINE);
	import_line_account(&line, &a);
	assert_true(a.created_ms == INT64_C(1790000000000));
	assert_int_equal(a.secret_sha256[31], 0x1f);
	assert_string_equal(a.secret_last4, "1a2B");
	assert_null(a.publishable_sha256);
	assert_int_equal(
	    read_one("{\"account\":\"a\",\"kind\":\"publishable\",\"sha256\":\"" SHA "\",\"last4\":\"abcd\"}", false),
	    IMPORT_LINE);
	import_line_account(&line, &a);
	assert_null(a.secret_sha256);
	assert_string_equal(a.publishable_last4, "abcd");
}

static void
objects_that_are_refused(void **state)
{
	static const char *const texts[] = { "x", "{", "[]", "1", "{}", "{\"account\":1}", "{\"account\":\"a b\"}",
		"{\"account\":\"a\\u0000\"}", "{\"account\":\"a\",\"account\":\"a\"}", "{\"account\":\"a\"} x",
		"{\"account\":\"a\",\"created_ms\":-1}", "{\"account\":\"a\",\"created_ms\":1.5}",
		"{\"account\":\"a\",\"created_ms\":\"yesterday\"}", "{\"account\":\"a\",\"secret\":\"x\"}",
		"{\"account\":\"a\",\"secret_sha256\":\"" SHA "\"}", "{\"account\":\"a\",\"secret_last4\":\"abcd\"}",
		"{\"account\":\"a\",\"secret_sha256\":\"" SHA "\",\"secret_last4\":\"ab_d\"}",
		"{\"account\":\"a\",\"secret_sha256\":\"" SHA "0\",\"secret_last4\":\"abcd\"}",
		"{\"account\":\"a\",\"secret_sha256\":\"g" SHA "\",\"secret_last4\":\"abcd\"}",
		"{\"account\":\"a\",\"sha256\":\"" SHA "\",\"last4\":\"abcd\"}",
		"{\"account\":\"a\",\"kind\":\"secret\"}",
		"{\"account\":\"a\",\"kind\":\"sekret\",\"sha256\":\"" SHA "\",\"last4\":\"abcd\"}",
		"{\"account\":\"a\",\"kind\":\"secret\",\"sha256\":\"" SHA
		"\",\"last4\":\"abcd\",\"secret_sha256\":\"" SHA "\",\"secret_last4\":\"abcd\"}" };

	(void)state;
	for (size_t i = 0; i < COUNT(texts); i++) {
		if (read_one(texts[i], false) != IMPORT_REFUSED)
			fail_msg("taken: %s", texts[i]);
		assert_in_range(strlen(why), 10, 200);
	}
}

/* Whatever else is wrong with the line, or right. */
static void
keys_are_out_of_place(void **state)
{
	static const char *const texts[] = { "sk_live_0123456789ab", "{\"account\":\"sk_test_0123456789ab\"}",
		"{\"account\":\"a\",\"secret_sha256\":\"sk_live_0123456789ab\",\"secret_last4\":\"abcd\"}",
		"{\"account\":\"a\",\"secret\":\"pk_live_0123456789ab\"}" };

	(void)state;
	for (size_t i = 0; i < COUNT(texts); i++) {
		assert_int_equal(read_one(texts[i], false), IMPORT_REFUSED);
		assert_ptr_equal(why, out_of_place);
	}
	open_text("sk_live_0123456789ab\naccount\na\n", 31, true);
	assert_int_equal(read_next(), IMPORT_FAILED);
	assert_ptr_equal(why, out_of_place);
	import_reader_fini(&reader);
}

static void
csv(void **state)
{
	(void)state;
	assert_int_equal(read_one("account\na", true), IMPORT_LINE);
	assert_string_equal(line.account, "a");
	assert_int_equal(
	    read_one(
		"\xef\xbb\xbf\"last4\",kind,account,created_ms,sha256\r\n\"abcd\",secret,\"a\",,\"" SHA "\"\r\n", true),
	    IMPORT_LINE);
	assert_string_equal(line.account, "a");
	assert_string_equal(line.secret.last4, "abcd");
	assert_true(line.secret.given && !line.publishable.given);
	assert_int_equal(line.created_ms, 0);
	assert_int_equal(read_one("account,created_ms\na,100000000017", true), IMPORT_LINE);
	assert_int_equal(line.created_ms, 100000000017);
	/* As spreadsheets and people write it. */
	assert_int_equal(read_one("\xef\xbb\xbf"
				  "account; created_ms ;kind\r\na ; 100000000017;\r\n",
			     true),
	    IMPORT_LINE);
	assert_string_equal(line.account, "a");
	assert_int_equal(line.created_ms, 100000000017);
	assert_int_equal(read_one("account\tcreated_ms\na\t\n", true), IMPORT_LINE);
	assert_int_equal(read_one("account,created_ms\n,\n", true), IMPORT_NOTHING);
	assert_int_equal(read_one("account,created_ms\n\"\", ,,\n", true), IMPORT_NOTHING);
}

/* What is wrong, by name, unless the name could be a value. */
static void
names_that_are_not_known(void **state)
{
	static const struct {
		bool csv;
		const char *text, *said, *not_said;
	} cases[] = {
		{ false, "{\"account\":\"a\",\"secret\":\"x\"}", "field 2, \"secret\", has no name", "x\"" },
		{ true, "account,Secret Key\n", "column 2, \"Secret Key\", has no name", NULL },
		{ true, "account,,kind\n", "column 2 has no name", NULL },
		{ true, "a,kjhkjh23kjh4k2jh34\n", "column 1, \"a\"", "kjh" },
		{ true, "account,kjhkjh23kjh4k2jh34\n", "column 2 has no name", "kjh" },
		{ true, "account,0123\n", "column 2 has no name", "0123" },
		{ false, "{\"abcdefghijklmnopqrstuvwxyz\":1}", "field 1 has no name", "abc" },
		{ false, "{\"a\\u001b\":1}", "field 1 has no name", "\x1b" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		open_text(cases[i].text, strlen(cases[i].text), cases[i].csv);
		assert_int_equal(read_next(), cases[i].csv ? IMPORT_FAILED : IMPORT_REFUSED);
		if (strstr(why, cases[i].said) == NULL ||
		    (cases[i].not_said != NULL && strstr(why, cases[i].not_said) != NULL))
			fail_msg("%s: %s", cases[i].text, why);
		import_reader_fini(&reader);
	}
}

static void
byte_order_marks(void **state)
{
	(void)state;
	assert_int_equal(read_one("\xef\xbb\xbf{\"account\":\"a\"}", false), IMPORT_LINE);
	open_text("{\"account\":\"a\"}\n\xef\xbb\xbf{\"account\":\"a\"}\n", 36, false);
	assert_int_equal(read_next(), IMPORT_LINE);
	assert_int_equal(read_next(), IMPORT_REFUSED);
	import_reader_fini(&reader);
	open_text("\xff\xfe{\0\"\0", 6, false);
	assert_int_equal(read_next(), IMPORT_FAILED);
	assert_non_null(strstr(why, "UTF-16"));
	import_reader_fini(&reader);
}

static void
times_in_seconds(void **state)
{
	(void)state;
	assert_int_equal(read_one("{\"account\":\"a\",\"created_ms\":1700000000}", false), IMPORT_REFUSED);
	assert_non_null(strstr(why, "seconds"));
	assert_int_equal(read_one("{\"account\":\"a\",\"created_ms\":99999999999}", false), IMPORT_REFUSED);
	assert_int_equal(read_one("{\"account\":\"a\",\"created_ms\":100000000000}", false), IMPORT_LINE);
}

static void
csv_that_is_refused(void **state)
{
	static const char *const lines[] = { "account,created_ms\na", "account,created_ms\na,1,", "account\n\"a",
		"account\n\"a\"b", "account\na\"b", "account\n\"a\"\"b\"", "account,created_ms\n,1",
		"account,kind,sha256,last4\na,secret,,", "account\na,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,," };
	static const char *const names[] = { "account,secret\n", "account,account\n", "\"account\n", "a\n",
		",,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,\n" };

	(void)state;
	for (size_t i = 0; i < COUNT(lines); i++)
		if (read_one(lines[i], true) != IMPORT_REFUSED)
			fail_msg("taken: %s", lines[i]);
	for (size_t i = 0; i < COUNT(names); i++) {
		open_text(names[i], strlen(names[i]), true);
		assert_int_equal(read_next(), IMPORT_FAILED);
		import_reader_fini(&reader);
	}
}

/* Numbers are of lines, whatever becomes of them. */
static void
lines(void **state)
{
	static char text[IMPORT_LINE_MAX + 200];
	size_t len = 0;

	(void)state;
	memset(text, ' ', sizeof(text));
	memcpy(text, "\n{\"account\":\"a\"}\n\0\n", 20);
	len = 20;
	len += IMPORT_LINE_MAX + 1;
	memcpy(text + len, "\n \t\n{\"account\":\"b\"}", 20);
	len += 19;
	open_text(text, len, false);
	assert_int_equal(read_next(), IMPORT_NOTHING);
	assert_int_equal(read_next(), IMPORT_LINE);
	assert_int_equal(reader.line, 2);
	assert_int_equal(read_next(), IMPORT_REFUSED);
	assert_non_null(strstr(why, "NUL"));
	assert_int_equal(read_next(), IMPORT_REFUSED);
	assert_non_null(strstr(why, "4096"));
	assert_int_equal(read_next(), IMPORT_NOTHING);
	assert_int_equal(read_next(), IMPORT_LINE);
	assert_int_equal(reader.line, 6);
	assert_string_equal(line.account, "b");
	assert_int_equal(read_next(), IMPORT_END);
	import_reader_fini(&reader);
	assert_true(
	    import_is_csv("x.csv") && import_is_csv("X.CSV") && !import_is_csv("x.csv.json") && !import_is_csv("csv"));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(objects),
		cmocka_unit_test(objects_that_are_refused),
		cmocka_unit_test(keys_are_out_of_place),
		cmocka_unit_test(csv),
		cmocka_unit_test(csv_that_is_refused),
		cmocka_unit_test(names_that_are_not_known),
		cmocka_unit_test(byte_order_marks),
		cmocka_unit_test(times_in_seconds),
		cmocka_unit_test(lines),
	};

	return cmocka_run_group_tests_name("import_line", tests, NULL, NULL);
}
