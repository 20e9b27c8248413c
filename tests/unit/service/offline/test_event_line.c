/*
 * test_event_line.c - an event that fob printed is read back unchanged, and any other line is refused.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/fob.h"
#include "service/offline/event_line.h"

#define ENV "\"environment\": \"live\", "
#define ROLLED \
	ENV "\"sequence\": 12, \"event\": \"key_rolled\", \"account\": \"acme\", \"kind\": \"secret\", \"generation\": 2, " \
	    "\"last4\": \"uAd0\", \"time_ms\": 1790000000000, \"time\": \"2026-09-21T14:13:20.000Z\", " \
	    "\"expires_ms\": 1790086400000, \"expires\": \"2026-09-22T14:13:20.000Z\""
#define SUSPENDED \
	ENV "\"sequence\": 13, \"event\": \"account_suspended\", \"account\": \"acme\", \"kind\": null, " \
	    "\"generation\": 0, \"last4\": null, \"time_ms\": 1790000000001, \"expires_ms\": 0"

/* Read from memory of exactly its length, so that a sanitizer notices a read behind its end. */
static int
read_line(const char *text, struct record_event *e, const char **why)
{
	char *line = malloc(strlen(text) + 1);
	int rc;

	assert_non_null(line);
	memcpy(line, text, strlen(text) + 1);
	memset(e, 0xaa, sizeof(*e));
	*why = NULL;
	rc = event_line_read(line, ENVIRONMENT_LIVE, e, why);
	free(line);
	return rc;
}

static void
an_event_of_a_key(void **state)
{
	struct record_event e;
	const char *why;

	(void)state;
	assert_int_equal(read_line("{" ROLLED "}\n", &e, &why), 0);
	assert_int_equal(e.sequence, 12);
	assert_int_equal(e.type, EVENT_KEY_ROLLED);
	assert_string_equal(e.account, "acme");
	assert_int_equal(e.kind, KIND_SECRET);
	assert_int_equal(e.generation, 2);
	assert_memory_equal(e.last4, "uAd0", 4);
	assert_int_equal(e.time_ms, 1790000000000);
	assert_int_equal(e.expires_ms, 1790086400000);
}

static void
who_asked(void **state)
{
	struct record_event e;
	const char *why;

	(void)state;
	assert_int_equal(read_line("{" ROLLED "}\n", &e, &why), 0);
	assert_false(e.by.known);
	assert_int_equal(
	    read_line("{" ROLLED ", \"uid\": 0, \"pid\": 77, \"peer\": null, \"certificate\": null}", &e, &why), 0);
	assert_true(e.by.known);
	assert_int_equal(e.by.uid, 0);
	assert_int_equal(e.by.pid, 77);
	assert_int_equal(read_line("{" ROLLED ", \"uid\": null, \"pid\": null, \"peer\": \"192.0.2.7:50312\", "
				   "\"certificate\": \"ops 1\"}",
			     &e, &why),
	    0);
	assert_false(e.by.known);
	assert_string_equal(e.by.address, "192.0.2.7:50312");
	assert_string_equal(e.by.certificate, "ops 1");
	assert_string_equal(e.on_behalf_of, "");
	assert_int_equal(read_line("{" ROLLED ", \"on_behalf_of\": null}", &e, &why), 0);
	assert_string_equal(e.on_behalf_of, "");
	assert_int_equal(read_line("{" ROLLED ", \"uid\": 1, \"on_behalf_of\": \"Ada <ada@a.example>\"}", &e, &why), 0);
	assert_string_equal(e.on_behalf_of, "Ada <ada@a.example>");
	assert_int_equal(read_line("{" ROLLED ", \"on_behalf_of\": \"\xc3\xa9\"}", &e, &why), -1);
	assert_int_equal(
	    read_line("{" ROLLED ", \"on_behalf_of\": \"12345678901234567890123456789012345678901234567890123"
		      "456789012345\"}",
		&e, &why),
	    -1);
	assert_int_equal(read_line("{" ROLLED ", \"uid\": 4294967296}", &e, &why), -1);
	assert_int_equal(read_line("{" ROLLED ", \"uid\": \"1\"}", &e, &why), -1);
	assert_int_equal(read_line("{" ROLLED ", \"peer\": \"\x7f\"}", &e, &why), -1);
}

static void
an_event_of_an_account(void **state)
{
	struct record_event e;
	const char *why;

	(void)state;
	assert_int_equal(read_line(" {" SUSPENDED "} ", &e, &why), 0);
	assert_int_equal(e.type, EVENT_ACCOUNT_SUSPENDED);
	assert_int_equal(e.kind, 0);
	assert_int_equal(e.generation, 0);
	assert_int_equal(e.expires_ms, 0);
	assert_memory_equal(e.last4, "\0\0\0\0", 4);
}

static void
an_event_of_the_database(void **state)
{
	struct record_event e;
	const char *why;

	(void)state;
	assert_int_equal(
	    read_line("{" ENV "\"sequence\":1,\"event\":\"restored\",\"account\":null,\"time_ms\":5}", &e, &why), 0);
	assert_int_equal(e.type, EVENT_RESTORED);
	assert_string_equal(e.account, "");
}

/* "null" is a valid account id, and not JSON's null. */
static void
an_account_named_null(void **state)
{
	struct record_event e;
	const char *why;

	(void)state;
	assert_int_equal(read_line("{" SUSPENDED ", \"account\": \"null\"}", &e, &why), 0);
	assert_string_equal(e.account, "null");
}

/* The table of names has the record's numbers. */
static void
every_type(void **state)
{
	struct record_event e;
	char line[256];
	const char *why;

	(void)state;
	for (unsigned i = EVENT_ACCOUNT_CREATED; i <= EVENT_RESTORED; i++) {
		snprintf(line, sizeof(line),
		    "{" ENV "\"sequence\":1,\"event\":\"%s\",\"account\":\"a\",\"kind\":\"publishable\",\"generation\":"
		    "1,"
		    "\"last4\":\"abcd\",\"time_ms\":5}",
		    fob_event_type_name((enum fob_event_type)i));
		assert_int_equal(read_line(line, &e, &why), 0);
		assert_int_equal(e.type, i);
		assert_int_equal(e.kind, KIND_PUBLISHABLE);
	}
	/* A new event type needs a name there and a reader here. */
	assert_string_equal(fob_event_type_name((enum fob_event_type)(EVENT_RESTORED + 1)), "UNKNOWN");
}

static void
the_other_environment(void **state)
{
	struct record_event e, before;
	const char *why;

	(void)state;
	memset(&before, 0xaa, sizeof(before));
	assert_int_equal(read_line("{" SUSPENDED ", \"environment\": \"test\"}", &e, &why), 1);
	assert_memory_equal(&e, &before, sizeof(e));
}

static void
what_is_none(void **state)
{
	static const struct {
		const char *line;
		const char *why;
	} cases[] = {
		{ "", "not an object" },
		{ "null", "not an object" },
		{ "[{" ROLLED "}]", "not an object" },
		{ "{}", "not an event" },
		{ "{" ROLLED, "cut off" },
		{ "{" ROLLED "} {" ROLLED "}", "more than one" },
		{ "{" ROLLED "}x", "more than one" },
		{ "{" ROLLED ",}", "not an event" },
		{ "{" ROLLED ", \"more\": {\"a\": 1}}", "more than one" },
		{ "{" ROLLED ", \"more\": \"a\\u0041\"}", "not an event" },
		{ "{" ROLLED ", \"more", "not an event" },
		{ "{" ROLLED ", \"more\"", "not an event" },
		{ "{" ROLLED ", \"more\":", "not an event" },
		{ "{" ROLLED ", \"more\": \"", "not an event" },
		{ "{" ROLLED ", more: 1}", "not an event" },
		{ "{" ROLLED ", \"event\": \"key_eaten\"}", "not an event" },
		{ "{" ROLLED ", \"event\": \"UNKNOWN\"}", "not an event" },
		{ "{" ROLLED ", \"account\": \"a b\"}", "not an event" },
		{ "{" ROLLED ", \"account\": \"\"}", "not an event" },
		{ "{" ROLLED ", \"account\": \"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"}",
		    "not an event" },
		{ "{" ROLLED ", \"account\": 5}", "not an event" },
		{ "{" ROLLED ", \"environment\": \"LIVE\"}", "not an event" },
		{ "{" ROLLED ", \"kind\": \"UNKNOWN\"}", "not an event" },
		{ "{" ROLLED ", \"last4\": \"a\033[m\"}", "not an event" },
		{ "{" ROLLED ", \"last4\": \"null\"", "cut off" },
		{ "{" ROLLED ", \"last4\": \"abc\"}", "not an event" },
		{ "{" ROLLED ", \"last4\": \"abcde\"}", "not an event" },
		{ "{" ROLLED ", \"generation\": 4294967296}", "not an event" },
		{ "{" ROLLED ", \"generation\": -1}", "not an event" },
		{ "{" ROLLED ", \"generation\": 1.5}", "not an event" },
		{ "{" ROLLED ", \"time_ms\": 9223372036854775808}", "not an event" },
		{ "{" ROLLED ", \"expires_ms\": 99999999999999999999}", "not an event" },
		{ "{" ROLLED ", \"sequence\": 1e3}", "not an event" },
		{ "{" ROLLED
		  ", \"sequence\": 00000000000000000000000000000000000000000000000000000000000000000000000001}",
		    "not an event" },
		{ "{" ROLLED ", \"sequence\": 0}", "not an event" },
		{ "{" ROLLED ", \"sequence\": \"12\"}", "not an event" },
		{ "{" ROLLED ", \"expires_ms\": \"1790086400000\"}", "not an event" },
		{ "{" ROLLED ", \"time_ms\": 0}", "not an event" },
		{ "{\"sequence\": 1, \"event\": \"account_resumed\", \"account\": \"a\", \"time_ms\": 5}",
		    "without its" },
		{ "{" ROLLED ", \"generation\": 0}", "without its" },
		{ "{" ENV "\"event\": \"account_resumed\", \"account\": \"a\", \"time_ms\": 5}", "without its" },
		{ "{" ENV "\"sequence\": 1, \"account\": \"a\", \"time_ms\": 5}", "without its" },
		{ "{" ENV "\"sequence\": 1, \"event\": \"account_resumed\", \"time_ms\": 5}", "without its" },
		{ "{" ENV "\"sequence\": 1, \"event\": \"account_resumed\", \"account\": \"a\"}", "without its" },
		{ "{" ENV "\"sequence\": 1, \"event\": \"key_rolled\", \"account\": \"a\", \"time_ms\": 5, "
		  "\"generation\": 1, \"last4\": \"abcd\"}",
		    "without its" },
		{ "{" ENV "\"sequence\": 1, \"event\": \"key_revoked\", \"account\": \"a\", \"time_ms\": 5, "
		  "\"generation\": 1, \"kind\": \"secret\"}",
		    "without its" },
	};
	struct record_event e, before;
	const char *why;

	(void)state;
	memset(&before, 0xaa, sizeof(before));
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		if (read_line(cases[i].line, &e, &why) != -1)
			fail_msg("%s: taken for an event", cases[i].line);
		if (strstr(why, cases[i].why) == NULL)
			fail_msg("%s: %s", cases[i].line, why);
		assert_memory_equal(&e, &before, sizeof(e));
	}
}

/* A file that is still being written may end anywhere. */
static void
every_cut(void **state)
{
	static const char whole[] = "{" ROLLED "}";
	char cut[sizeof(whole)];
	struct record_event e;
	const char *why;

	(void)state;
	for (size_t n = 0; n < sizeof(whole) - 1; n++) {
		memcpy(cut, whole, n);
		cut[n] = '\0';
		assert_int_equal(read_line(cut, &e, &why), -1);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_event_of_a_key),
		cmocka_unit_test(who_asked),
		cmocka_unit_test(an_event_of_an_account),
		cmocka_unit_test(an_event_of_the_database),
		cmocka_unit_test(an_account_named_null),
		cmocka_unit_test(every_type),
		cmocka_unit_test(the_other_environment),
		cmocka_unit_test(what_is_none),
		cmocka_unit_test(every_cut),
	};

	return cmocka_run_group_tests_name("service/event_line", tests, NULL, NULL);
}
