/*
 * test_route.c - client/http/route.c: the checks of a path, the table, and what a route stands for.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "client/http/route.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static void
paths(void **state)
{
	static const struct {
		const char *target;
		int len; /* -1: refused */
	} cases[] = { { "/", 1 }, { "/v1/charges", 11 }, { "/v1/charges?a=/../%2F//;", 11 }, { "/v1/charges/", 12 },
		{ "/a%20b", 6 }, { "/a%c3%a9", 8 }, { "/...", 4 }, { "/a..b", 5 }, { "/.well-known", 12 }, { "/a?", 2 },
		{ "", -1 }, { "?", -1 }, { "v1", -1 }, { "*", -1 }, { "http://a/b", -1 }, { "//", -1 }, { "//a", -1 },
		{ "/a//b", -1 }, { "/.", -1 }, { "/..", -1 }, { "/../a", -1 }, { "/a/..", -1 }, { "/a/./b", -1 },
		{ "/%2e", -1 }, { "/%2E%2e/a", -1 }, { "/.%2e/a", -1 }, { "/a/%2e.", -1 }, { "/a%2Fb", -1 },
		{ "/a%2fb", -1 }, { "/a%5Cb", -1 }, { "/a\\b", -1 }, { "/a;b", -1 }, { "/a%3bb", -1 }, { "/a%00", -1 },
		{ "/a%0a", -1 }, { "/a%7f", -1 }, { "/a%25", -1 }, { "/a%", -1 }, { "/a%4", -1 }, { "/a%4?1", -1 },
		{ "/a%g0", -1 }, { "/a b", -1 }, { "/a\tb", -1 }, { "/a\x80", -1 }, { "/a\x7f", -1 }, { "/a#b", -1 },
		{ "/a?b#c", -1 } };

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		const char *why = "x";
		size_t len;
		int rc = route_path(cases[i].target, &len, &why);

		if (rc != (cases[i].len < 0 ? -1 : 0) || (rc == 0 && (int)len != cases[i].len) ||
		    (rc == 0) != (why == NULL))
			fail_msg("%s: %d, %zu, %s", cases[i].target, rc, len, why);
	}
}

static const char *
find(const struct route_table *table, const char *method, const char *target)
{
	const char *why;
	size_t len;

	assert_int_equal(route_path(target, &len, &why), 0);
	return route_find(table, method, target, len);
}

static void
routes(void **state)
{
	static const char *const lines[] = { "POST /v1/charges = charges.create", "GET /v1/charges/{id} = charges.read",
		"GET  /v1/charges/{id}/refunds\t=  refunds.list", "GET /v1/files/* = files.read", "GET / = root",
		"GET /v1/charges/{id}/{rest} = later", "DELETE /* = any.delete" };
	static const struct {
		const char *method, *target, *operation;
	} cases[] = { { "POST", "/v1/charges", "charges.create" }, { "POST", "/v1/charges?x", "charges.create" },
		{ "GET", "/v1/charges", NULL }, { "GET", "/v1/charges/a", "charges.read" },
		{ "GET", "/v1/charges/a%20b", "charges.read" }, { "GET", "/v1/charges/", NULL },
		{ "get", "/v1/charges/a", NULL }, { "", "/v1/charges/a", NULL }, { "GET", "/v1/charges/a/", NULL },
		{ "GET", "/v1/charges/a/refunds", "refunds.list" }, { "GET", "/v1/charges/a/refunds/", NULL },
		{ "GET", "/v1/charges/a/other", "later" }, { "GET", "/v1/files", NULL },
		{ "GET", "/v1/files/", "files.read" }, { "GET", "/v1/files/a/b", "files.read" }, { "GET", "/", "root" },
		{ "GET", "/?", "root" }, { "GET", "/x", NULL }, { "DELETE", "/", "any.delete" },
		{ "DELETE", "/a/b", "any.delete" }, { "GET", "/v1/chargesx", NULL }, { "GET", "/v1/charge", NULL },
		{ "GET", "/v1", NULL } };
	struct route_table table = { 0 };
	const char *why;

	(void)state;
	for (size_t i = 0; i < COUNT(lines); i++)
		if (route_add(&table, lines[i], &why) != 0)
			fail_msg("%s: %s", lines[i], why);
	for (size_t i = 0; i < COUNT(cases); i++) {
		const char *found = find(&table, cases[i].method, cases[i].target);

		if ((found == NULL) != (cases[i].operation == NULL) ||
		    (found != NULL && strcmp(found, cases[i].operation) != 0))
			fail_msg("%s %s: %s", cases[i].method, cases[i].target, found != NULL ? found : "none");
	}
	route_table_fini(&table);
	assert_null(find(&table, "GET", "/"));
}

static void
bad_routes(void **state)
{
	static const char *const lines[] = { "", "GET /a", "GET /a =", "GET /a = b c", "GET = a", "get /a = b",
		"FOO /a = b", "TRACE /a = b", "GET a = b", "GET /a/../b = c", "GET /a//b = c", "GET /a?b = c",
		"GET /a*b = c", "GET /*/b = c", "GET /a* = c", "GET /{a}b = c", "GET /a{b} = c", "GET /{} = c",
		"GET /{a = c", "GET /a} = c", "GET /{a}{b} = c", "GET /{a{b} = c", "GET /a = b!", "GET /a;b = c",
		"GET /a%2F = c", "GET /seen = again", "GET /seen/{x} = again",
		"GET /a = 12345678901234567890123456789012345678901234567890123456789012345" };
	struct route_table table = { 0 };
	const char *why;

	(void)state;
	assert_int_equal(route_add(&table, "GET /seen = one", &why), 0);
	assert_int_equal(route_add(&table, "GET /seen/* = two", &why), 0);
	for (size_t i = 0; i < COUNT(lines); i++)
		if (route_add(&table, lines[i], &why) != -1 || why == NULL)
			fail_msg("taken: %s", lines[i]);
	assert_int_equal(table.n, 2);
	route_table_fini(&table);
}

static void
too_many(void **state)
{
	char line[] = "GET /0000 = a";
	struct route_table table = { 0 };
	const char *why;

	(void)state;
	for (unsigned i = 0; i < ROUTES_MAX; i++) {
		for (unsigned d = 0, v = i; d < 4; d++, v /= 10)
			line[8 - d] = (char)('0' + v % 10);
		assert_int_equal(route_add(&table, line, &why), 0);
	}
	assert_int_equal(route_add(&table, "GET /more = a", &why), -1);
	route_table_fini(&table);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(paths), cmocka_unit_test(routes),
		cmocka_unit_test(bad_routes), cmocka_unit_test(too_many) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
