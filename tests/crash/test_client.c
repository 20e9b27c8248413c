/*
 * test_client.c - the nth allocation of fob_client_new() fails, for every n until it succeeds. Each time it returns
 * the error and no client, and (under AddressSanitizer) leaks nothing.
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

int
main(void)
{
	const unsigned whole_s = 60;
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_new_without_memory) };

	alarm(whole_s);
	return cmocka_run_group_tests_name("crash/client", tests, NULL, NULL);
}
