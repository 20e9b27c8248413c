/*
 * test_csrf.c - client/http/csrf.c: which requests are those of our own page, and which cookie is meant.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "client/http/csrf.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static void
origins(void **state)
{
	static const struct {
		const char *origin, *site, *from; /* the settings', and the two headers; NULL: none */
		bool required, ok;
	} cases[] = { { NULL, NULL, NULL, true, false }, { NULL, NULL, NULL, false, true },
		{ NULL, "same-origin", NULL, true, true }, { NULL, NULL, "http://h:1", true, true },
		{ NULL, NULL, "https://h:1", true, true }, { NULL, NULL, "http://H:1", true, true },
		{ NULL, "same-origin", "http://h:1", true, true }, { NULL, "same-origin", "http://x", true, false },
		{ NULL, "cross-site", "http://h:1", true, false }, { NULL, "same-site", NULL, false, false },
		{ NULL, "none", NULL, true, false }, { NULL, "", NULL, false, false },
		{ NULL, NULL, "null", false, false }, { NULL, NULL, "", false, false },
		{ NULL, NULL, "http://h", true, false }, { NULL, NULL, "http://h:12", true, false },
		{ NULL, NULL, "ftp://h:1", true, false }, { NULL, NULL, "http://h:1/", true, false },
		{ "https://a.b", NULL, "https://a.b", true, true }, { "https://a.b", NULL, "http://a.b", true, false },
		{ "https://a.b", NULL, "https://h:1", true, false },
		{ "https://a.b", "same-origin", NULL, true, true } };

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct http_header headers[3] = { { "Host", "h:1" } };
		size_t n = 1;

		if (cases[i].site != NULL)
			headers[n++] = (struct http_header){ "Sec-Fetch-Site", cases[i].site };
		if (cases[i].from != NULL)
			headers[n++] = (struct http_header){ "Origin", cases[i].from };
		if (csrf_origin_ok(headers, n, cases[i].origin, cases[i].required) != cases[i].ok)
			fail_msg("case %zu", i);
	}
}

static void
there_twice(void **state)
{
	static const struct http_header headers[] = { { "Host", "h" }, { "Origin", "http://h" },
		{ "origin", "http://h" } };
	static const struct http_header no_host[] = { { "Origin", "http://h" } };

	(void)state;
	assert_true(csrf_origin_ok(headers, 2, NULL, true));
	assert_false(csrf_origin_ok(headers, 3, NULL, true));
	assert_false(csrf_origin_ok(no_host, 1, NULL, true));
}

static void
cookies(void **state)
{
	static const struct {
		const char *header, *value; /* NULL: refused */
	} cases[] = { { "a=b", "b" }, { "a=", "" }, { "x=y; a=b", "b" }, { "a=b; x=y", "b" }, { "x=y;a=b", "b" },
		{ "a=1234567", "1234567" }, { "a=12345678", NULL }, { "a=b; a=b", NULL }, { "a", NULL }, { "", NULL },
		{ "A=b", NULL }, { "aa=b", NULL }, { "xa=b", NULL }, { "x=a=b", NULL }, { "a=b=c", "b=c" },
		{ ";;; ; a=b;;", "b" } };

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		const struct http_header headers[] = { { "Cookie", cases[i].header }, { "cookie", "a=b" } };
		char value[8] = "before";
		int rc = cookie_find(headers, 1, "a", sizeof(value), value);

		if (rc != (cases[i].value != NULL ? 0 : -1))
			fail_msg("%s: %d", cases[i].header, rc);
		assert_string_equal(value, cases[i].value != NULL ? cases[i].value : "");
		assert_int_equal(cookie_find(headers, 2, "a", sizeof(value), value), -1);
		assert_int_equal(cookie_find(headers, 0, "a", sizeof(value), value), -1);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(origins), cmocka_unit_test(there_twice),
		cmocka_unit_test(cookies) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
