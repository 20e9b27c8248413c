/*
 * test_admin_json.c - client/http/admin_json.c: what a body means, and which member an error names.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "client/http/admin.h"
#include "client/http/admin_json.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define ALL 1023U
#define T "00112233445566778899aabbccddeeffFFEEDDCCBBAA99887766554433221100"

static int
read_text(const char *text, unsigned takes, unsigned needs, json_t **object, struct admin_fields *out, const char **why)
{
	*object = json_loads(text, 0, NULL);
	assert_non_null(*object);
	return admin_json_read(*object, takes, needs, out, why);
}

static void
every_member(void **state)
{
	struct admin_fields f;
	const char *why = NULL;
	json_t *object;

	(void)state;
	assert_int_equal(
	    read_text(
		"{\"request_token\": \"" T "\", \"environment\": \"test\", \"account\": \"a.B-9_\", "
		"\"kind\": \"publishable\", \"grace\": {\"seconds\": 86400}, \"expected_generation\": 4294967295, "
		"\"authorizing_secret\": \"s\", \"generation\": 1, \"page_size\": 1000, \"page_token\": \"AQID\"}",
		ALL, ALL, &object, &f, &why),
	    0);
	assert_int_equal(f.token[1], 0x11);
	assert_int_equal(f.token[16], 0xff);
	assert_int_equal(f.environment, FOB_ENVIRONMENT_TEST);
	assert_string_equal(f.account, "a.B-9_");
	assert_int_equal(f.kind, FOB_KIND_PUBLISHABLE);
	assert_int_equal(f.grace_s, 86400);
	assert_int_equal(f.expected_generation, UINT32_MAX);
	assert_string_equal(f.authorizing_secret, "s");
	assert_int_equal(f.generation, 1);
	assert_int_equal(f.page_size, 1000);
	assert_int_equal(f.cursor.len, 3);
	assert_memory_equal(f.cursor.bytes, "\1\2\3", 3);
	json_decref(object);
}

/* What is left out is libfob's default; a grace of 0 is none. */
static void
what_is_left_out(void **state)
{
	static const struct admin_fields none;
	struct admin_fields f;
	const char *why = NULL;
	json_t *object;

	(void)state;
	assert_int_equal(read_text("{}", ALL, 0, &object, &f, &why), 0);
	assert_memory_equal(&f, &none, sizeof(f));
	json_decref(object);
	assert_int_equal(
	    read_text("{\"grace\": {\"seconds\": 0}, \"page_token\": \"\"}", ALL, 0, &object, &f, &why), 0);
	assert_int_equal(f.grace_s, FOB_GRACE_NONE_S);
	assert_int_equal(f.cursor.len, 0);
	json_decref(object);
}

static void
refused(void **state)
{
	static const struct {
		const char *text, *member;
		unsigned takes, needs;
	} cases[] = { { "{}", "request_token:", ALL, ALL }, { "{}", "kind:", ALL, ADMIN_KIND },
		{ "{\"kind\": \"secret\"}", "the body has a member", ALL & ~(unsigned)ADMIN_KIND, 0 },
		{ "{\"Kind\": \"secret\"}", "the body has a member", ALL, 0 }, { "{\"kind\": null}", "kind:", ALL, 0 },
		{ "{\"kind\": \"any\"}", "kind:", ALL, 0 }, { "{\"request_token\": 1}", "request_token:", ALL, 0 },
		{ "{\"request_token\": \"" T "00\"}", "request_token:", ALL, 0 },
		{ "{\"request_token\": \" 0112233445566778899aabbccddeeffFFEEDDCCBBAA99887766554433221100\"}",
		    "request_token:", ALL, 0 },
		{ "{\"environment\": \"\"}", "environment:", ALL, 0 }, { "{\"account\": \"a/b\"}", "account:", ALL, 0 },
		{ "{\"grace\": {}}", "grace:", ALL, 0 }, { "{\"grace\": []}", "grace:", ALL, 0 },
		{ "{\"grace\": {\"seconds\": -1}}", "grace:", ALL, 0 },
		{ "{\"grace\": {\"seconds\": 1.0}}", "grace:", ALL, 0 },
		{ "{\"grace\": {\"second\": 1}}", "grace:", ALL, 0 }, { "{\"generation\": 0}", "generation:", ALL, 0 },
		{ "{\"expected_generation\": \"1\"}", "expected_generation:", ALL, 0 },
		{ "{\"authorizing_secret\": \"\"}", "authorizing_secret:", ALL, 0 },
		{ "{\"page_size\": 1001}", "page_size:", ALL, 0 }, { "{\"page_token\": \"A\"}", "page_token:", ALL, 0 },
		{ "{\"page_token\": \"AQ==\"}", "page_token:", ALL, 0 },
		{ "{\"page_token\": \"+/\"}", "page_token:", ALL, 0 } };

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct admin_fields f;
		const char *why = NULL;
		json_t *object;

		if (read_text(cases[i].text, cases[i].takes, cases[i].needs, &object, &f, &why) != -1)
			fail_msg("taken: %s", cases[i].text);
		if (why == NULL || strncmp(why, cases[i].member, strlen(cases[i].member)) != 0)
			fail_msg("%s: %s", cases[i].text, why);
		/* A reply has room for it. */
		assert_true(strlen(why) < 200);
		json_decref(object);
	}
}

static void
an_event(void **state)
{
	struct fob_event e = { .size = sizeof(e),
		.sequence = 9,
		.time_ms = 8,
		.type = FOB_EVENT_TYPE_KEY_ROLLED,
		.kind = FOB_KIND_SECRET,
		.generation = 2,
		.expires_ms = 7,
		.account = "a",
		.last4 = "abcd" };
	const struct fob_event *const events[] = { &e };
	const struct fob_event_page page = { .size = sizeof(page), .n = 1, .events = events };
	struct fob_cursor next = { .len = 2, .bytes = { 1, 2 } };
	static const char *const origins[] = { "null",
		"{\"address\":null,\"certificate\":null,\"uid\":5,\"pid\":6,\"on_behalf_of\":\"ada\"}",
		"{\"address\":\"h:1\",\"certificate\":null,\"uid\":null,\"pid\":null,\"on_behalf_of\":null}",
		"{\"address\":\"h:1\",\"certificate\":\"c\",\"uid\":null,\"pid\":null,\"on_behalf_of\":\"ada\"}" };

	(void)state;
	for (size_t i = 0; i < COUNT(origins); i++) {
		char expected[512], *text;
		json_t *got;

		e.has_user = i == 1;
		e.uid = 5;
		e.pid = 6;
		snprintf(e.address, sizeof(e.address), "%s", i >= 2 ? "h:1" : "");
		snprintf(e.certificate, sizeof(e.certificate), "%s", i == 3 ? "c" : "");
		snprintf(e.on_behalf_of, sizeof(e.on_behalf_of), "%s", i % 2 == 1 ? "ada" : "");
		next.done = i == 0;
		snprintf(expected, sizeof(expected),
		    "{\"events\":[{\"sequence\":9,\"time_ms\":8,\"type\":\"key_rolled\","
		    "\"account\":\"a\",\"kind\":\"secret\","
		    "\"generation\":2,\"last4\":\"abcd\",\"expires_ms\":7,\"origin\":%s}],"
		    "\"next_page_token\":\"AQI\",\"more\":%s}",
		    origins[i], next.done ? "false" : "true");
		got = admin_json_events(&page, &next);
		text = json_dumps(got, JSON_COMPACT);
		assert_string_equal(text, expected);
		free(text);
		json_decref(got);
	}
}

static void
a_key_that_is_not_there(void **state)
{
	json_t *none = admin_json_key(NULL);

	(void)state;
	assert_true(json_is_null(none));
	json_decref(none);
}

static void
statuses(void **state)
{
	static const int statuses[] = { [1] = 503,
		[2] = 500,
		[3] = 400,
		[4] = 504,
		[5] = 404,
		[6] = 409,
		[7] = 403,
		[8] = 429,
		[9] = 409,
		[10] = 409,
		[11] = 400,
		[12] = 501,
		[13] = 500,
		[14] = 503,
		[15] = 500,
		[16] = 500,
		[17] = 500 };

	(void)state;
	for (int fault = 1; fault <= 17; fault++)
		assert_int_equal(admin_http_status(-fault), statuses[fault]);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(every_member), cmocka_unit_test(what_is_left_out),
		cmocka_unit_test(refused), cmocka_unit_test(an_event), cmocka_unit_test(a_key_that_is_not_there),
		cmocka_unit_test(statuses) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
