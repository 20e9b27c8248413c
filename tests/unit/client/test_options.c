/* What a client is made from: bad values are refused when they are given, bad combinations when a client is made. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "client/fob.h"
#include "client/options.h"
#include "proto/c/address.h"

static const char *const good[] = { "ipc:///run/fob/verify.sock", "ipc://relative.sock", "tcp://127.0.0.1:7400",
	"tcp://fob.internal:1", "tcp://[::1]:65535", "tls+tcp://fob.example:7401" };

static const char *const bad[] = {
	"", "fob", "/run/fob/verify.sock", "ipc://", "tcp://", "tcp://host", "tcp://host:", "tcp://:7400",
	"tcp://host:0", "tcp://host:65536", "tcp://host:x", "tcp://host:74x", "tcp://host:-1", "tcp://host: 7400",
	"tcp://ho st:7400", "tcp://host:99999999999999999999", "tcp://*:7400", "tcp://user@host:7400",
	"tcp://host:7400/path", "tcp://::1:7400", "tcp://[::1", "tcp://[]:1", "tls+tcp://host", "udp://host:7400",
	"ws://host:80/x", "inproc://x", "TCP://host:7400",
	"ipc:///a/path/that/is/longer/than/the/107/bytes/that/a/unix/socket/address/can/hold/and/so/can/never/be/connected/to"
};

static void
test_address(void **state)
{
	struct fob_options *o = fob_options_new();
	const struct options_addresses *a = &o->addresses[FOB_ENVIRONMENT_ANY];
	char longest[ADDRESS_TEXT_MAX + 20];
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		assert_int_equal(fob_options_set_address(o, good[i]), 0);
		assert_int_equal(a->n, 1);
		assert_string_equal(a->list[0], good[i]);
	}
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		if (fob_options_set_address(o, bad[i]) != FOB_EINVALID_ARGUMENT ||
		    fob_options_add_address(o, bad[i]) != FOB_EINVALID_ARGUMENT ||
		    fob_options_set_environment_address(o, FOB_ENVIRONMENT_LIVE, bad[i]) != FOB_EINVALID_ARGUMENT)
			fail_msg("%s was taken", bad[i]);
	}
	memset(longest, 'h', sizeof(longest));
	memcpy(longest, "tcp://", 6);
	strcpy(longest + sizeof(longest) - 6, ":7400");
	assert_int_equal(fob_options_set_address(o, longest), FOB_EINVALID_ARGUMENT);
	assert_int_equal(fob_options_set_address(o, NULL), FOB_EINVALID_ARGUMENT);
	/* A refused value leaves the one before it. */
	assert_int_equal(a->n, 1);
	assert_string_equal(a->list[0], good[sizeof(good) / sizeof(good[0]) - 1]);
	fob_options_free(o);
	fob_options_free(NULL);
}

static void
test_several_addresses(void **state)
{
	struct fob_options *o = fob_options_new();
	const struct options_addresses *a = &o->addresses[FOB_ENVIRONMENT_ANY];
	size_t i;

	(void)state;
	/* Adding to none makes the first. */
	for (i = 0; i < FOB_ADDRESSES_MAX; i++)
		assert_int_equal(fob_options_add_address(o, i == 0 ? good[0] : good[1]), 0);
	assert_int_equal(a->n, FOB_ADDRESSES_MAX);
	assert_string_equal(a->list[0], good[0]);
	assert_int_equal(fob_options_add_address(o, good[2]), FOB_EINVALID_ARGUMENT);
	assert_int_equal(fob_options_set_address(o, good[2]), 0);
	assert_int_equal(a->n, 1);
	assert_string_equal(a->list[0], good[2]);
	fob_options_free(o);
}

static void
test_environment_addresses(void **state)
{
	struct fob_options *o = fob_options_new();
	struct fob_client *c;
	struct fob_error e;

	(void)state;
	assert_int_equal(fob_options_set_environment_address(o, FOB_ENVIRONMENT_ANY, good[0]), FOB_EINVALID_ARGUMENT);
	assert_int_equal(
	    fob_options_set_environment_address(o, (enum fob_environment)3, good[0]), FOB_EINVALID_ARGUMENT);
	assert_int_equal(fob_options_set_environment_address(o, FOB_ENVIRONMENT_LIVE, good[0]), 0);
	/* What would be asked about test keys? */
	assert_int_equal(fob_client_new(o, &c, &e), FOB_EINVALID_ARGUMENT);
	assert_non_null(strstr(e.message, "only one environment has an address"));
	assert_int_equal(fob_options_set_environment_address(o, FOB_ENVIRONMENT_TEST, good[1]), 0);
	assert_int_equal(fob_options_set_environment_address(o, FOB_ENVIRONMENT_TEST, good[0]), 0);
	assert_int_equal(o->addresses[FOB_ENVIRONMENT_TEST].n, 1);
	assert_int_equal(options_check(o, &e), 0);
	fob_options_free(o);
}

static void
state_changed(void *arg, const char *address, enum fob_connection_state state, const struct fob_error *reason)
{
	(void)arg;
	(void)address;
	(void)state;
	(void)reason;
}

static void
test_switches(void **state)
{
	struct fob_options *o = fob_options_new();
	int arg;

	(void)state;
	assert_false(o->fail_fast);
	assert_false(o->loop);
	assert_null(o->state_cb);
	assert_int_equal(fob_options_set_fail_fast(o, true), 0);
	assert_int_equal(fob_options_set_loop(o, true), 0);
	assert_int_equal(fob_options_set_state_callback(o, state_changed, &arg), 0);
	assert_true(o->fail_fast);
	assert_true(o->loop);
	assert_true(o->state_cb == state_changed);
	assert_ptr_equal(o->state_arg, &arg);
	fob_options_free(o);
}

static void
test_numbers(void **state)
{
	struct fob_options *o = fob_options_new();

	(void)state;
	assert_int_equal(o->timeout_ms, 5000);
	assert_int_equal(o->connect_wait_ms, 0);
	assert_int_equal(o->in_flight, 64);
	assert_int_equal(o->queue, 4096);
	assert_int_equal(fob_options_set_timeout_ms(o, 0), FOB_EINVALID_ARGUMENT);
	assert_int_equal(fob_options_set_timeout_ms(o, 60001), FOB_EINVALID_ARGUMENT);
	assert_int_equal(fob_options_set_timeout_ms(o, 60000), 0);
	assert_int_equal(fob_options_set_connect_wait_ms(o, 0), FOB_EINVALID_ARGUMENT);
	assert_int_equal(fob_options_set_connect_wait_ms(o, 60001), FOB_EINVALID_ARGUMENT);
	assert_int_equal(fob_options_set_connect_wait_ms(o, 250), 0);
	assert_int_equal(fob_options_set_in_flight(o, 0), FOB_EINVALID_ARGUMENT);
	assert_int_equal(fob_options_set_in_flight(o, 65), FOB_EINVALID_ARGUMENT);
	assert_int_equal(fob_options_set_in_flight(o, 1), 0);
	assert_int_equal(fob_options_set_queue(o, OPTIONS_QUEUE_MAX + 1), FOB_EINVALID_ARGUMENT);
	assert_int_equal(fob_options_set_queue(o, 0), 0);
	assert_int_equal(o->timeout_ms, 60000);
	assert_int_equal(o->connect_wait_ms, 250);
	assert_int_equal(o->in_flight, 1);
	assert_int_equal(o->queue, 0);
	fob_options_free(o);
}

static void
test_tls(void **state)
{
	struct fob_options *o = fob_options_new();
	struct fob_client *c = (struct fob_client *)o;
	struct fob_error e;

	(void)state;
	assert_int_equal(fob_options_set_tls_ca(o, NULL), FOB_EINVALID_ARGUMENT);
	assert_int_equal(fob_options_set_tls_ca(o, ""), FOB_EINVALID_ARGUMENT);
	assert_int_equal(fob_options_set_tls_certificate(o, "cert", NULL), FOB_EINVALID_ARGUMENT);
	assert_int_equal(fob_options_set_tls_certificate(o, NULL, "key"), FOB_EINVALID_ARGUMENT);
	assert_null(o->tls_cert);
	assert_int_equal(fob_options_set_tls_server_name(o, ""), FOB_EINVALID_ARGUMENT);

	assert_int_equal(fob_client_new(o, &c, &e), FOB_EINVALID_ARGUMENT);
	assert_null(c);
	assert_int_equal(e.fault, FOB_EINVALID_ARGUMENT);
	assert_non_null(strstr(e.message, "no address"));

	assert_int_equal(fob_options_set_address(o, "tls+tcp://localhost:1"), 0);
	assert_int_equal(fob_client_new(o, &c, &e), FOB_EINVALID_ARGUMENT);
	assert_non_null(strstr(e.message, "needs a CA"));

	assert_int_equal(fob_options_set_tls_ca(o, "/does/not/exist.pem"), 0);
	assert_int_equal(fob_client_new(o, &c, &e), FOB_EINVALID_ARGUMENT);
	assert_non_null(strstr(e.message, "/does/not/exist.pem"));
	assert_int_equal(fob_client_new(o, &c, NULL), FOB_EINVALID_ARGUMENT);

	assert_int_equal(fob_options_set_tls_certificate(o, "/no/cert.pem", "/no/key.pem"), 0);
	assert_int_equal(fob_options_set_tls_certificate(o, "/no/cert2.pem", "/no/key2.pem"), 0);
	assert_int_equal(fob_options_set_tls_server_name(o, "fob"), 0);
	assert_int_equal(fob_options_set_address(o, "tcp://localhost:1"), 0);
	assert_int_equal(fob_client_new(o, &c, &e), FOB_EINVALID_ARGUMENT);
	assert_non_null(strstr(e.message, "tls+tcp"));
	fob_client_free(NULL);
	fob_options_free(o);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_address), cmocka_unit_test(test_several_addresses),
		cmocka_unit_test(test_environment_addresses), cmocka_unit_test(test_switches),
		cmocka_unit_test(test_numbers), cmocka_unit_test(test_tls) };

	return cmocka_run_group_tests_name("client/options", tests, NULL, NULL);
}
