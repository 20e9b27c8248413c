/*
 * test_reply.c - client/http/reply.c: the head of a reply, byte by byte, and what may not stand in one.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "client/http/reply.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define DATE "Mon, 30 Nov 2026 20:00:00 GMT"

static void
heads(void **state)
{
	static const struct http_header two[] = { { "X-A", "a b" }, { "X-B", "" } };
	static const struct {
		struct http_reply reply;
		enum reply_connection connection;
		const char *head;
	} cases[] = {
		{ { .status = 200 }, REPLY_KEEP,
		    "HTTP/1.1 200 OK\r\nDate: " DATE "\r\nContent-Length: 0\r\nCache-Control: no-store\r\n\r\n" },
		{ { .status = 401, .type = "application/json", .body_len = 12 }, REPLY_CLOSE,
		    "HTTP/1.1 401 Unauthorized\r\nDate: " DATE "\r\nContent-Length: 12\r\nCache-Control: no-store\r\n"
		    "Content-Type: application/json\r\nConnection: close\r\n\r\n" },
		/* The length of a body without a type counts for nothing: there is none. */
		{ { .status = 299, .body_len = 12, .headers = two, .n_headers = 2 }, REPLY_KEEP_OLD,
		    "HTTP/1.1 299 Other\r\nDate: " DATE "\r\nContent-Length: 0\r\nCache-Control: no-store\r\n"
		    "Connection: keep-alive\r\nX-A: a b\r\nX-B: \r\n\r\n" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		char out[REPLY_HEAD_MAX + 1];
		size_t n = reply_head(&cases[i].reply, cases[i].connection, DATE, out);

		out[n] = '\0';
		assert_string_equal(out, cases[i].head);
	}
}

/* A value from elsewhere must never end the head, or begin another header. */
static void
refused(void **state)
{
	static const struct http_header cases[] = { { "X-A", "a\r\nX-B: b" }, { "X-A", "a\n" }, { "X-A\r\nX-B", "a" },
		{ "X-A", "a\x7f" }, { "X-A", "\x01" } };
	char out[REPLY_HEAD_MAX];

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		const struct http_reply reply = { .status = 200, .headers = &cases[i], .n_headers = 1 };

		assert_int_equal(reply_head(&reply, REPLY_KEEP, DATE, out), 0);
	}
}

/* Each length around the longest head that fits: written whole and within ${out}, or not at all. */
static void
lengths(void **state)
{
	static const struct http_reply empty = { .status = 200 };
	static char value[REPLY_HEAD_MAX + 16];
	char out[REPLY_HEAD_MAX + 1];
	const size_t others = reply_head(&empty, REPLY_KEEP, DATE, out) + strlen("X-A: \r\n");

	(void)state;
	for (size_t len = REPLY_HEAD_MAX - others - 8; len <= REPLY_HEAD_MAX + 8; len++) {
		const struct http_header header = { "X-A", value };
		const struct http_reply reply = { .status = 200, .headers = &header, .n_headers = 1 };

		memset(value, 'v', len);
		value[len] = '\0';
		out[REPLY_HEAD_MAX] = '!';
		assert_int_equal(reply_head(&reply, REPLY_KEEP, DATE, out), others + len <= REPLY_HEAD_MAX ? others + len : 0);
		assert_int_equal(out[REPLY_HEAD_MAX], '!');
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(heads), cmocka_unit_test(refused), cmocka_unit_test(lengths) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
