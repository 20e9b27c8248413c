/*
 * test_auth.c - client/http/auth.c: each verdict and each fault as a reply, and what is asked of fobd. The backend is
 * this file's own.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "client/http/auth.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* ---- fobd, as the test wants it ---- */

static struct {
	int refuse; /* the call is not taken */
	int fault;
	struct fob_verification v;
	unsigned asked;
	char authorization[128], secret[64], operation[64], traceparent[64];
} fobd;

static void
keep(char *to, size_t size, const char *from)
{
	snprintf(to, size, "%s", from != NULL ? from : "(none)");
}

int
backend_verify(
    struct backend *backend, const struct fob_verify_request *r, fob_verify_cb cb, void *arg, struct fob_error *error)
{
	(void)backend;
	fobd.asked++;
	*error = (struct fob_error){ .fault = fobd.refuse };
	keep(fobd.authorization, sizeof(fobd.authorization), r->authorization);
	keep(fobd.secret, sizeof(fobd.secret), r->secret);
	keep(fobd.operation, sizeof(fobd.operation), r->operation);
	keep(fobd.traceparent, sizeof(fobd.traceparent), r->traceparent);
	if (fobd.refuse != 0)
		return fobd.refuse;
	cb(arg, fobd.fault, &fobd.v, error);
	return 0;
}

/* ---- a request, and its reply ---- */

static struct {
	unsigned n;
	int status;
	char headers[1024], body[512];
	bool close;
} got;

static void
on_reply(struct http_request *request, const struct http_reply *reply)
{
	size_t at = 0;

	(void)request;
	got.n++;
	got.status = reply->status;
	got.close = reply->close;
	for (size_t i = 0; i < reply->n_headers; i++)
		at += (size_t)snprintf(got.headers + at, sizeof(got.headers) - at, "%s: %s\n", reply->headers[i].name,
		    reply->headers[i].value);
	snprintf(got.body, sizeof(got.body), "%.*s", (int)reply->body_len,
	    reply->type != NULL ? (const char *)reply->body : "");
}

static struct settings settings;
static struct auth auth = { .settings = &settings };

static int
set_up(void **state)
{
	const char *why;

	(void)state;
	settings = (struct settings){ .original_method = (char *)(uintptr_t) "X-M",
		.original_uri = (char *)(uintptr_t) "X-U",
		.realm = (char *)(uintptr_t) "R",
		.error_body = true };
	assert_int_equal(route_add(&settings.routes, "GET /a/{id} = a.read", &why), 0);
	memset(&fobd, 0, sizeof(fobd));
	fobd.v = (struct fob_verification){ FOB_VERIFICATION_INIT, .verdict = FOB_VERDICT_VALID,
		.environment = FOB_ENVIRONMENT_LIVE, .livemode = true, .kind = FOB_KIND_SECRET, .generation = 7,
		.account = "acme" };
	return 0;
}

static int
tear_down(void **state)
{
	(void)state;
	route_table_fini(&settings.routes);
	return 0;
}

static void
ask(const struct http_header *headers, size_t n, bool trusted)
{
	struct http_request request = { .method = "GET",
		.target = "/v1/auth/a/9",
		.headers = headers,
		.n_headers = n,
		.peer = { .is_unix = trusted },
		.reply = on_reply };

	memset(&got, 0, sizeof(got));
	auth_handle(&request, &auth);
	assert_int_equal(got.n, 1);
}

static void
ask_right(void)
{
	const struct http_header headers[] = { { "Authorization", "Basic eDo=" }, { "X-M", "GET" }, { "X-U", "/a/1?q" },
		{ "traceparent", "00-t" } };

	ask(headers, COUNT(headers), true);
}

/* ---- tests ---- */

static void
valid(void **state)
{
	(void)state;
	ask_right();
	assert_int_equal(got.status, 200);
	assert_string_equal(got.body, "");
	assert_string_equal(got.headers,
	    "X-Fob-Account: acme\nX-Fob-Environment: live\nX-Fob-Livemode: true\nX-Fob-Kind: secret\n"
	    "X-Fob-Generation: 7\nX-Fob-Superseded: false\nX-Fob-Expires: never\n");
	assert_string_equal(fobd.authorization, "Basic eDo=");
	assert_string_equal(fobd.secret, "(none)");
	assert_string_equal(fobd.operation, "a.read");
	assert_string_equal(fobd.traceparent, "00-t");
	fobd.v.environment = FOB_ENVIRONMENT_TEST;
	fobd.v.livemode = false;
	fobd.v.kind = FOB_KIND_PUBLISHABLE;
	fobd.v.superseded = true;
	fobd.v.expires_ms = 1790000000007;
	ask_right();
	assert_string_equal(got.headers,
	    "X-Fob-Account: acme\nX-Fob-Environment: test\nX-Fob-Livemode: false\nX-Fob-Kind: publishable\n"
	    "X-Fob-Generation: 7\nX-Fob-Superseded: true\nX-Fob-Expires: 2026-09-21T14:13:20.007Z\n");
}

static void
verdicts(void **state)
{
	(void)state;
	snprintf(fobd.v.detail, sizeof(fobd.v.detail), "why \"not\"\n");
	for (int verdict = -1; verdict < 20; verdict++) {
		int expected = verdict == FOB_VERDICT_VALID                              ? 200 :
		    verdict == FOB_VERDICT_SUSPENDED || verdict == FOB_VERDICT_FORBIDDEN ? 403 :
											   401;
		char body[128];

		fobd.v.verdict = (enum fob_verdict)verdict;
		ask_right();
		assert_int_equal(got.status, expected);
		assert_int_equal(strstr(got.headers, "X-Fob-") != NULL, expected == 200);
		assert_int_equal(strstr(got.headers, "WWW-Authenticate: Basic realm=\"R\"") != NULL, expected == 401);
		snprintf(body, sizeof(body), "{\"error\":{\"code\":\"%s\",\"message\":\"why 'not'?\"}}\n",
		    fob_verdict_name(fobd.v.verdict));
		assert_string_equal(got.body, expected == 200 ? "" : body);
	}
	settings.error_body = false;
	fobd.v.verdict = FOB_VERDICT_REVOKED;
	ask_right();
	assert_int_equal(got.status, 401);
	assert_string_equal(got.body, "");
}

static void
faults(void **state)
{
	(void)state;
	for (int fault = FOB_EUNAUTHENTICATED; fault < 0; fault++)
		for (int refused = 0; refused < 2; refused++) {
			fobd.fault = refused ? 0 : fault;
			fobd.refuse = refused ? fault : 0;
			ask_right();
			assert_int_equal(got.status, 503);
			assert_null(strstr(got.headers, "X-Fob-"));
			assert_non_null(strstr(got.body, "UNAVAILABLE"));
		}
}

/* Each is a VALID for which a header would be empty or wrong. */
static void
a_valid_that_says_too_little(void **state)
{
	const struct fob_verification whole = fobd.v;

	(void)state;
	for (unsigned i = 0; i < 8; i++) {
		fobd.v = whole;
		if (i == 0)
			fobd.v.account[0] = '\0';
		else if (i == 1)
			snprintf(fobd.v.account, sizeof(fobd.v.account), "a\r\nX: y");
		else if (i == 2)
			fobd.v.environment = FOB_ENVIRONMENT_ANY;
		else if (i == 3)
			fobd.v.livemode = false;
		else if (i == 4)
			fobd.v.kind = FOB_KIND_ANY;
		else if (i == 5)
			fobd.v.generation = 0;
		else
			fobd.v.expires_ms = i == 6 ? -1 : INT64_MAX;
		ask_right();
		assert_int_equal(got.status, 503);
		assert_string_equal(got.headers, "");
	}
}

static void
what_is_not_asked(void **state)
{
#define M \
	{ \
		"X-M", "GET" \
	}
#define U \
	{ \
		"X-U", "/a/1" \
	}
#define A \
	{ \
		"Authorization", "Basic x" \
	}
	static const struct {
		struct http_header headers[4];
		size_t n;
		bool trusted;
		int status;
		const char *code;
	} cases[] = { { { A, M, U }, 3, false, 403, "UNTRUSTED" }, { { A, M }, 2, true, 403, "NO_ORIGINAL" },
		{ { A, U }, 2, true, 403, "NO_ORIGINAL" }, { { A, M, U, U }, 4, true, 400, "BAD_REQUEST" },
		{ { A, M, U, { "x_m", "GET" } }, 4, true, 400, "BAD_REQUEST" },
		{ { A, M, { "X-U", "/a/../b" } }, 3, true, 403, "PATH_REFUSED" },
		{ { A, M, { "X-U", "/b" } }, 3, true, 403, "UNKNOWN_ROUTE" },
		{ { A, U, { "X-M", "PUT" } }, 3, true, 403, "UNKNOWN_ROUTE" },
		{ { M, U }, 2, true, 401, "NO_CREDENTIALS" },
		{ { M, U, { "Authorization", "" } }, 3, true, 401, "NO_CREDENTIALS" } };

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		ask(cases[i].headers, cases[i].n, cases[i].trusted);
		assert_int_equal(got.status, cases[i].status);
		assert_int_equal(got.close, cases[i].status == 400);
		assert_non_null(strstr(got.body, cases[i].code));
	}
	assert_int_equal(fobd.asked, 0);
}

static void
bearer(void **state)
{
	const struct http_header headers[] = { { "Authorization", "bEARER  key" }, M, U };

	(void)state;
	ask(headers, 3, true);
	assert_string_equal(fobd.authorization, "bEARER  key");
	settings.bearer = true;
	ask(headers, 3, true);
	assert_string_equal(fobd.authorization, "(none)");
	assert_string_equal(fobd.secret, "key");
}

static void
the_request_itself(void **state)
{
	const struct http_header headers[] = { A };

	(void)state;
	settings.original = ORIGINAL_REQUEST;
	ask(headers, 1, false);
	assert_int_equal(got.status, 200);
	assert_string_equal(fobd.operation, "a.read");
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int
main(void)
{
	const struct CMUnitTest tests[] = { TEST(valid), TEST(verdicts), TEST(faults),
		TEST(a_valid_that_says_too_little), TEST(what_is_not_asked), TEST(bearer), TEST(the_request_itself) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
