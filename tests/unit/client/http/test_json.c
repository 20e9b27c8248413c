/*
 * test_json.c - client/http/json.c: verify calls from JSON and to it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "client/http/json.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static void
verify(void **state)
{
	struct fob_verify_request v;
	const char *why;
	json_t *object;
	const char text[] = "{\"secret\": \"k\", \"operation\": \"a.b\", \"require_environment\": \"test\"}";

	(void)state;
	assert_int_equal(json_read(text, strlen(text), &object, &why), 0);
	assert_int_equal(json_to_verify(object, &v, &why), 0);
	assert_int_equal(v.size, sizeof(v));
	assert_int_equal(v.secret_len, 1);
	assert_memory_equal(v.secret, "k", 1);
	assert_null(v.authorization);
	assert_string_equal(v.operation, "a.b");
	assert_int_equal(v.require_environment, FOB_ENVIRONMENT_TEST);
	json_decref(object);
}

static void
refused(void **state)
{
	static const char *const texts[] = { "", "{", "[]", "1", "null", "{} {}", "{}", "{\"secret\": 1}",
		"{\"secret\": null}", "{\"Secret\": \"a\"}", "{\"secret\": \"a\", \"authorization\": \"b\"}",
		"{\"secret\": \"a\", \"secret\": \"a\"}", "{\"secret\": \"a\", \"operation\": 1}",
		"{\"secret\": \"a\", \"x\": \"\"}", "{\"secret\": \"a\\u0000\"}",
		"{\"secret\": \"a\", \"require_environment\": \"any\"}",
		"{\"secret\": \"a\", \"require_environment\": 1}",
		"{\"secret\": \"a\", \"require_environment\": \"LIVE\"}", "{\"operation\": \"a\"}",
		"{\"secret\": \"\xff\"}" };

	(void)state;
	for (size_t i = 0; i < COUNT(texts); i++) {
		struct fob_verify_request v;
		const char *why = NULL;
		json_t *object = NULL;

		if (json_read(texts[i], strlen(texts[i]), &object, &why) == 0 && json_to_verify(object, &v, &why) == 0)
			fail_msg("taken: %s", texts[i]);
		assert_non_null(why);
		json_decref(object);
	}
}

static json_t *
batch_of(size_t n)
{
	json_t *items = json_array();

	for (size_t i = 0; i < n; i++)
		json_array_append_new(items, json_pack("{s:s}", "authorization", ""));
	return json_pack("{s:o}", "items", items);
}

static void
batches(void **state)
{
	static const struct {
		size_t n;
		int rc;
	} cases[] = { { 0, -1 }, { 1, 0 }, { FOB_BATCH_MAX, 0 }, { FOB_BATCH_MAX + 1, -1 } };
	struct fob_verify_request items[FOB_BATCH_MAX];
	const char *why;
	size_t n;

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		json_t *object = batch_of(cases[i].n);

		assert_int_equal(json_to_verify_batch(object, items, &n, &why), cases[i].rc);
		assert_int_equal(n, cases[i].rc == 0 ? cases[i].n : 0);
		json_object_set_new(object, "more", json_true());
		assert_int_equal(json_to_verify_batch(object, items, &n, &why), -1);
		json_decref(object);
	}
}

static void
results(void **state)
{
	const struct fob_verification v[] = {
		{ FOB_VERIFICATION_INIT, .verdict = FOB_VERDICT_VALID, .environment = FOB_ENVIRONMENT_LIVE,
		    .livemode = true, .kind = FOB_KIND_SECRET, .superseded = true, .generation = 1,
		    .current_generation = 2, .created_ms = 3, .expires_ms = 4, .account = "acme", .last4 = "abcd" },
		{ FOB_VERIFICATION_INIT, .verdict = FOB_VERDICT_VALID }
	};
	const int faults[] = { 0, FOB_EUNAVAILABLE };
	json_t *object = json_from_batch(v, faults, 2);
	char *text = json_dumps(object, JSON_COMPACT);

	(void)state;
	assert_string_equal(text,
	    "{\"items\":[{\"code\":\"OK\",\"message\":\"\",\"result\":{\"verdict\":\"VALID\",\"detail\":\"\","
	    "\"account\":\"acme\",\"environment\":\"live\",\"livemode\":true,\"kind\":\"secret\",\"generation\":1,"
	    "\"current_generation\":2,\"superseded\":true,\"created_ms\":3,\"expires_ms\":4,\"last4\":\"abcd\"}},"
	    "{\"code\":\"UNAVAILABLE\",\"message\":\"this key could not be checked: nothing is known of it\"}]}");
	free(text);
	json_decref(object);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(verify), cmocka_unit_test(refused),
		cmocka_unit_test(batches), cmocka_unit_test(results) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
