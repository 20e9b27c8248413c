/* Names, HTTP statuses, and that nothing but VALID lets a request through. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "client/fob.h"

static void
test_names(void **state)
{
	static const int strange[] = { -1, 9, 17, 99, INT_MAX, INT_MIN };
	size_t i;

	(void)state;
	assert_string_equal(fob_verdict_name(FOB_VERDICT_DENIED), "DENIED");
	assert_string_equal(fob_verdict_name(FOB_VERDICT_VALID), "VALID");
	assert_string_equal(fob_verdict_name(FOB_VERDICT_WRONG_ENVIRONMENT), "WRONG_ENVIRONMENT");
	assert_string_equal(fob_verdict_name(FOB_VERDICT_FORBIDDEN), "FORBIDDEN");
	assert_string_equal(fob_environment_name(FOB_ENVIRONMENT_LIVE), "live");
	assert_string_equal(fob_environment_name(FOB_ENVIRONMENT_TEST), "test");
	assert_string_equal(fob_kind_name(FOB_KIND_SECRET), "secret");
	assert_string_equal(fob_kind_name(FOB_KIND_PUBLISHABLE), "publishable");
	assert_string_equal(fob_key_state_name(FOB_KEY_STATE_UNKNOWN), "UNKNOWN");
	assert_string_equal(fob_key_state_name(FOB_KEY_STATE_GRACE), "grace");
	assert_string_equal(fob_key_state_name(FOB_KEY_STATE_REVOKED), "revoked");
	assert_string_equal(fob_event_type_name(FOB_EVENT_TYPE_KEY_ROLLED), "key_rolled");
	assert_string_equal(fob_event_type_name(FOB_EVENT_TYPE_ACCOUNT_RESUMED), "account_resumed");
	assert_string_equal(fob_event_type_name(FOB_EVENT_TYPE_ACCOUNT_IMPORTED), "account_imported");
	assert_string_equal(fob_event_type_name(FOB_EVENT_TYPE_RESTORED), "restored");
	assert_string_equal(fob_import_outcome_name(FOB_IMPORT_OUTCOME_IMPORTED), "imported");
	assert_string_equal(fob_import_outcome_name(FOB_IMPORT_OUTCOME_BAD_TIME), "bad_time");
	assert_string_equal(fob_import_outcome_name(FOB_IMPORT_OUTCOME_UNKNOWN), "UNKNOWN");
	assert_string_equal(fob_import_outcome_name((enum fob_import_outcome)8), "UNKNOWN");
	assert_string_equal(fob_health_status_name(FOB_HEALTH_STATUS_UNKNOWN), "UNKNOWN");
	assert_string_equal(fob_health_status_name(FOB_HEALTH_STATUS_SERVING), "SERVING");
	assert_string_equal(fob_health_status_name(FOB_HEALTH_STATUS_NOT_SERVING), "NOT_SERVING");
	assert_string_equal(fob_health_status_name((enum fob_health_status)3), "UNKNOWN");
	assert_string_equal(fob_operation_class_name(FOB_OPERATION_CLASS_OTHER), "other");
	assert_string_equal(fob_operation_class_name(FOB_OPERATION_CLASS_VERIFY_BATCH), "verify_batch");
	assert_string_equal(fob_operation_class_name(FOB_OPERATION_CLASS_HEALTH), "health");
	assert_string_equal(fob_operation_class_name(FOB_OPERATION_CLASS_CLUSTER), "cluster");
	assert_string_equal(fob_operation_class_name((enum fob_operation_class)8), "UNKNOWN");
	assert_string_equal(fob_fault_name(0), "OK");
	assert_string_equal(fob_fault_name(FOB_EUNAVAILABLE), "UNAVAILABLE");
	assert_string_equal(fob_fault_name(FOB_EUNAUTHENTICATED), "UNAUTHENTICATED");
	assert_string_equal(fob_fault_name(1), "UNKNOWN");
	assert_string_equal(fob_fault_name(-17), "UNKNOWN");
	for (i = 0; i < sizeof(strange) / sizeof(strange[0]); i++) {
		assert_string_equal(fob_verdict_name((enum fob_verdict)strange[i]), "UNKNOWN");
		assert_string_equal(fob_environment_name((enum fob_environment)strange[i]), "UNKNOWN");
		assert_string_equal(fob_kind_name((enum fob_kind)strange[i]), "UNKNOWN");
		assert_string_equal(fob_key_state_name((enum fob_key_state)strange[i]), "UNKNOWN");
		assert_string_equal(fob_event_type_name((enum fob_event_type)strange[i]), "UNKNOWN");
	}
}

/* The three ways to say the version agree. */
static void
test_version(void **state)
{
	char text[32];

	(void)state;
	snprintf(text, sizeof(text), "%d.%d.%d", FOB_VERSION_MAJOR, FOB_VERSION_MINOR, FOB_VERSION_PATCH);
	assert_string_equal(FOB_VERSION, text);
	assert_string_equal(fob_version(), FOB_VERSION);
	assert_int_equal(fob_version_number(), FOB_VERSION_NUMBER);
	assert_int_equal(
	    FOB_VERSION_NUMBER, FOB_VERSION_MAJOR * 1000000 + FOB_VERSION_MINOR * 1000 + FOB_VERSION_PATCH);
}

static void
test_basic(void **state)
{
	char secret[FOB_BASIC_MAX];
	const char *why = NULL;
	size_t len = 0;

	(void)state;
	assert_int_equal(fob_basic_parse("Basic eDo=", 10, secret, &len, NULL), 0);
	assert_int_equal(len, 1);
	assert_memory_equal(secret, "x", 1);
	assert_int_equal(fob_basic_parse("Bearer x", 8, secret, &len, &why), FOB_EINVALID_ARGUMENT);
	assert_non_null(why);
}

static void
test_only_valid_allows(void **state)
{
	struct fob_verification v = { 0 };
	int i;

	(void)state;
	assert_false(fob_allows(NULL));
	for (i = -3; i < 40; i++) {
		v.verdict = (enum fob_verdict)i;
		assert_int_equal(fob_allows(&v), i == 1);
	}
}

static void
test_http_status(void **state)
{
	static const int by_verdict[] = { 401, 200, 401, 401, 401, 401, 403, 401, 403, 401 };
	/* By gRPC's number; [0] is no fault. */
	static const int by_fault[] = { 0, 503, 503, 500, 503, 500, 500, 500, 503, 500, 503, 500, 500, 503, 503, 503,
		500, 503 };
	int i;

	(void)state;
	for (i = 0; i < 10; i++)
		assert_int_equal(fob_http_status(0, (enum fob_verdict)i), by_verdict[i]);
	assert_int_equal(fob_http_status(0, (enum fob_verdict) - 1), 401);
	/* A fault says nothing about the key, whatever stands beside it. */
	for (i = 1; i < 18; i++)
		assert_int_equal(fob_http_status(-i, FOB_VERDICT_VALID), by_fault[i]);
	assert_int_equal(fob_http_status(7, FOB_VERDICT_VALID), 503);
}

static void
test_wipe(void **state)
{
	char secret[8] = "secret!";
	static const char zero[8];

	(void)state;
	fob_wipe(secret, sizeof(secret));
	assert_memory_equal(secret, zero, sizeof(secret));
	fob_wipe(NULL, 0);
	fob_wipe(NULL, 5);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_names), cmocka_unit_test(test_version),
		cmocka_unit_test(test_basic), cmocka_unit_test(test_only_valid_allows),
		cmocka_unit_test(test_http_status), cmocka_unit_test(test_wipe) };

	return cmocka_run_group_tests_name("client/names", tests, NULL, NULL);
}
