/*
 * test_client.c - libfob without memory: the nth allocation of a call fails, for every n until none does. Each time the
 * call is a fault, hands out nothing and (under AddressSanitizer) keeps no memory.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "client/fob.h"
#include "tests/crash/shim.h"

/* More than fob_client_new() makes: ends the test if it never succeeds. */
#define ALLOCATIONS_MAX 64

static void
test_new_without_memory(void **state)
{
	struct fob_options *o = fob_options_new();
	struct fob_client *c;
	struct fob_error e;
	uint64_t n, fired;
	int rc;

	(void)state;
	assert_non_null(o);
	/* No server has to listen there. */
	assert_int_equal(fob_options_set_address(o, "ipc:///nonexistent/fob.sock"), 0);
	for (n = 1; n < ALLOCATIONS_MAX; n++) {
		shim_arm(SHIM_MEMORY, n, n, SHIM_FAIL, ENOMEM);
		rc = fob_client_new(o, &c, &e);
		fired = shim_disarm();
		if (fired == 0)
			break;
		assert_int_equal(rc, FOB_EINTERNAL);
		assert_int_equal(e.fault, FOB_EINTERNAL);
		assert_string_equal(e.message, "out of memory");
		assert_null(c);
	}
	assert_int_equal(rc, 0);
	/* The client, the transport, its address, its lanes, the coalescer. */
	assert_true(n > 5);
	fob_client_free(c);
	fob_options_free(o);
}

/* ---- calls: nothing listens, so one that gets its memory is a fault as well, a millisecond later ---- */

static int
call_verify(struct fob_client *c, struct fob_error *e)
{
	static const char secret[2000];
	const struct fob_verify_request r = { FOB_VERIFY_REQUEST_INIT, .secret = secret, .secret_len = sizeof(secret),
		.timeout_ms = 1 };
	struct fob_verification v = { FOB_VERIFICATION_INIT, .verdict = FOB_VERDICT_VALID };
	int rc = fob_verify(c, &r, &v, e);

	assert_false(fob_allows(&v));
	return rc;
}

static int
call_verify_batch(struct fob_client *c, struct fob_error *e)
{
	const struct fob_verify_request r[2] = { { FOB_VERIFY_REQUEST_INIT, .secret = "x", .secret_len = 1 },
		{ FOB_VERIFY_REQUEST_INIT, .secret = "x", .secret_len = 1 } };
	const struct fob_verify_batch_request batch = { FOB_VERIFY_BATCH_REQUEST_INIT, .requests = r, .n = 2,
		.timeout_ms = 1 };
	struct fob_verification v[2] = { { .verdict = FOB_VERDICT_VALID }, { .verdict = FOB_VERDICT_VALID } };
	int faults[2] = { 0, 0 }, rc = fob_verify_batch(c, &batch, v, faults, e);

	assert_int_equal(faults[0], rc);
	assert_int_equal(faults[1], rc);
	assert_false(fob_allows(&v[0]) || fob_allows(&v[1]));
	return rc;
}

static int
call_create(struct fob_client *c, struct fob_error *e)
{
	const struct fob_account_request r = { FOB_ACCOUNT_REQUEST_INIT, .environment = FOB_ENVIRONMENT_LIVE,
		.account = "a", .timeout_ms = 1 };
	struct fob_created_account *created;
	int rc = fob_create_account(c, &r, &created, e);

	assert_null(created);
	return rc;
}

static int
call_import(struct fob_client *c, struct fob_error *e)
{
	const struct fob_import_account account = { FOB_IMPORT_ACCOUNT_INIT, .account = "a" };
	const struct fob_import_request r = { FOB_IMPORT_REQUEST_INIT, .environment = FOB_ENVIRONMENT_LIVE,
		.accounts = &account, .n = 1, .timeout_ms = 1 };
	enum fob_import_outcome outcome = FOB_IMPORT_OUTCOME_IMPORTED;
	int rc = fob_import_accounts(c, &r, &outcome, e);

	assert_int_equal(outcome, FOB_IMPORT_OUTCOME_UNKNOWN);
	return rc;
}

static void
test_calls_without_memory(void **state)
{
	static int (*const calls[])(
	    struct fob_client *, struct fob_error *) = { call_verify, call_verify_batch, call_create, call_import };
	struct fob_options *o = fob_options_new();
	struct fob_client *c;
	struct fob_error e;
	uint64_t n, fired;
	int rc;

	(void)state;
	assert_int_equal(fob_options_set_address(o, "ipc:///nonexistent/fob.sock"), 0);
	assert_int_equal(fob_client_new(o, &c, &e), 0);
	for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
		for (n = 1; n < ALLOCATIONS_MAX; n++) {
			shim_arm(SHIM_MEMORY, n, n, SHIM_FAIL, ENOMEM);
			rc = calls[i](c, &e);
			fired = shim_disarm();
			assert_true(rc < 0);
			assert_int_equal(e.fault, rc);
			if (fired == 0)
				break;
		}
		assert_in_range(n, 2, ALLOCATIONS_MAX - 1);
	}
	fob_client_free(c);
	fob_options_free(o);
}

int
main(void)
{
	const unsigned whole_s = 60;
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_new_without_memory),
		cmocka_unit_test(test_calls_without_memory) };

	alarm(whole_s);
	return cmocka_run_group_tests_name("crash/client", tests, NULL, NULL);
}
