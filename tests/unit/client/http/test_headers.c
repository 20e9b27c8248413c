/*
 * test_headers.c - client/http/headers.c: what is refused of a head, and a head that comes in pieces.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "client/http/headers.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* Cut "name: value" lines at ${text} into ${out}; returns their number. */
static size_t
cut(char *text, struct http_header *out)
{
	char *rest = NULL;
	size_t n = 0;

	for (char *line = strtok_r(text, "\n", &rest); line != NULL; line = strtok_r(NULL, "\n", &rest)) {
		char *colon = strchr(line, ':');

		*colon = '\0';
		out[n++] = (struct http_header){ line, colon + 1 + (colon[1] == ' ') };
	}
	return n;
}

static void
checks(void **state)
{
	static const struct {
		const char *head;
		bool ok;
	} cases[] = { { "Host: a", true }, { "host: a\nAuthorization: Basic x\nX-Fob-Account: a\nX-Fob-Kind: b", true },
		{ "Host: a\nContent-Length: 0", true },
		{ "Host: a\nX_Other: a\nX_Other: b\nAccept: a\nAccept: b", true },
		{ "Host: a\nX-Fobx: a\nX-Fobx: b", true }, { "Host: a\nA: b\tc\xff", true }, { "Host: a\nA: ", true },
		{ "A: b", false }, { "Host: ", false }, { "Host: a\nHost: a", false }, { "Host: a\nhost: b", false },
		{ "Host: a\nAuthorization: a\nauthorization: a", false }, { "Host: a\nAuthorization_: a\nX: a", true },
		{ "Host: a\nX-Fob-A: a\nX-Fob-A: a", false }, { "Host: a\nX-Fob-A: a\nx-fOB-a: b", false },
		{ "Host: a\nX_Fob_A: a", false }, { "Host: a\nX-Fob_A: a", false }, { "Host: a\nX.Fob-A: a", false },
		{ "Host: a\nX-Fob-A.b: a", false }, { "Host: a\nX-Fob-: a\nX-Fob-: b", false },
		{ "Host: a\nTransfer-Encoding: chunked", false }, { "Host: a\nTransfer-Encoding: ", false },
		{ "Host: a\nTransfer_Encoding: x", false }, { "Host: a\ntransfer.encoding: x", false },
		{ "Host: a\nContent-Length: 1\nContent-Length: 1", false }, { "Host: a\nContent_Length: 1", false },
		{ "Host: a\nContent-Length: ", false }, { "Host: a\nContent-Length: +1", false },
		{ "Host: a\nContent-Length: 1, 1", false }, { "Host: a\nContent-Length: 0x1", false },
		{ "Host: a\nContent-Length: 1234567890123456789", false }, { "Host: a\nA : b", false },
		{ "Host: a\n: b", false }, { "Host: a\nA\x80: b", false }, { "Host: a\nA(: b", false },
		{ "Host: a\nA: b\x01", false }, { "Host: a\nA: b\rc", false }, { "Host: a\nA: b\x7f", false } };

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct http_header headers[16];
		char text[256];
		const char *why;

		snprintf(text, sizeof(text), "%s", cases[i].head);
		why = headers_check(headers, cut(text, headers));
		if ((why == NULL) != cases[i].ok)
			fail_msg("%s: %s", cases[i].head, why != NULL ? why : "taken");
	}
}

static void
many(void **state)
{
	struct http_header headers[HEADERS_MAX + 1];

	(void)state;
	for (size_t i = 0; i <= HEADERS_MAX; i++)
		headers[i] = (struct http_header){ i == 0 ? "Host" : "A", "b" };
	assert_null(headers_check(headers, HEADERS_MAX));
	assert_non_null(headers_check(headers, HEADERS_MAX + 1));
}

static void
once(void **state)
{
	const struct http_header headers[] = { { "A-b", "1" }, { "C_d", "2" }, { "e-F", "3" }, { "E-f", "4" } };
	const char *value;

	(void)state;
	assert_int_equal(headers_once(headers, 4, "a-B", &value), 0);
	assert_string_equal(value, "1");
	assert_int_equal(headers_once(headers, 4, "x", &value), 0);
	assert_null(value);
	assert_int_equal(headers_once(headers, 4, "c-d", &value), -1);
	assert_int_equal(headers_once(headers, 4, "e-f", &value), -1);
	assert_int_equal(headers_once(headers, 4, "a-bc", &value), 0);
	assert_null(value);
}

/* In pieces of every length it must read the same. */
static struct head_scan
scan(const char *bytes, size_t n)
{
	struct head_scan whole = { 0 };

	head_scan(&whole, bytes, n);
	for (size_t piece = 1; piece < n; piece++) {
		struct head_scan parts = { 0 };

		for (size_t at = 0; at < n; at += piece)
			head_scan(&parts, bytes + at, n - at < piece ? n - at : piece);
		assert_ptr_equal(parts.why, whole.why);
		assert_int_equal(parts.ended, whole.ended);
	}
	return whole;
}

static void
scans(void **state)
{
#define HEAD(text, ok, ended) \
	{ \
		text, sizeof(text) - 1, ok, ended \
	}
	static const struct {
		const char *bytes;
		size_t n;
		bool ok, ended;
	} cases[] = { HEAD("GET / HTTP/1.1\r\nHost: a\r\n\r\n", true, true), HEAD("GET / HTTP/1.0\r\n\r\n", true, true),
		HEAD("GET / HTTP/1.1\r\nA: b\r\n\r\n\0\n \r", true, true),
		HEAD("GET / HTTP/1.1\r\nA: b\r\n\r", true, false), HEAD("GET / HTTP/1.1\r\nA: b", true, false),
		HEAD("", true, false), HEAD("GET", true, false), HEAD("GET / HTTP/1.1\nHost: a\r\n\r\n", false, false),
		HEAD("GET / HTTP/1.1\r\nHost: a\n\r\n", false, false),
		HEAD("GET / HTTP/1.1\r\nHost: a\r\n\n", false, false),
		HEAD("GET / HTTP/1.1\r\nA: b\rC: d\r\n\r\n", false, false),
		HEAD("GET / HTTP/1.1\r\nA: b\0c\r\n\r\n", false, false), HEAD("GET /\0 HTTP/1.1\r\n\r\n", false, false),
		HEAD("GET / HTTP/1.1\r\nA: b\r\n c\r\n\r\n", false, false),
		HEAD("GET / HTTP/1.1\r\n\tc\r\n\r\n", false, false), HEAD(" GET / HTTP/1.1\r\n", false, false),
		HEAD("GET / HTTP/1.2\r\n", false, false), HEAD("GET / HTTP/1.1 \r\n", false, false),
		HEAD("GET  / HTTP/1.1\r\n", false, false), HEAD("GET / http/1.1\r\n", false, false),
		HEAD("GET /\r\n", false, false), HEAD("A\r\n", false, false),
		HEAD("GET / a HTTP/1.1\r\n", false, false), HEAD("GET / HTTP/1.1\r\r\n", false, false) };

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct head_scan got = scan(cases[i].bytes, cases[i].n);

		if ((got.why == NULL) != cases[i].ok || got.ended != cases[i].ended)
			fail_msg("%s: %s, %d", cases[i].bytes, got.why != NULL ? got.why : "taken", got.ended);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(checks), cmocka_unit_test(many), cmocka_unit_test(once),
		cmocka_unit_test(scans) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
