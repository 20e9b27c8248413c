/*
 * test_reload.c - reload.c under requests: lists are replaced while peers use operations that both lists have, and ones
 * that neither has. A half-replaced or freed list would give a wrong verdict or a sanitizer's report.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "service/reload.h"
#include "tests/unit/service/served.h"

enum { PEERS = 4, RELOADS = 2000 };

struct fixture {
	struct harness *h;
	struct server *server;
	struct reload reload;
	char url[SERVED_URL];
	struct harness_secrets live;
	_Atomic bool done;
	_Atomic unsigned asked, wrong;
};

static void
nap(long ms)
{
	struct timespec ts = { .tv_nsec = ms * 1000000 };

	nanosleep(&ts, NULL);
}

static char *
copy(const char *text)
{
	char *s = strdup(text);

	assert_non_null(s);
	return s;
}

/* As config_load() would make it: all of it on the heap. The n-th differs in length and in what comes first. */
static void
make_config(struct fixture *f, unsigned n, struct config *out)
{
	char name[32];

	*out = (struct config){ .n_listeners = 1,
		.timeout_ms = 60000,
		.connections = 64,
		.in_flight = LIMIT_IN_FLIGHT,
		.drain_ms = 1000,
		.log_level = LOG_ERROR };
	out->listeners[0] = (struct config_listener){ .url = copy(f->url), .role = ROLE_VERIFY, .mode = 0660 };
	/* Long, so that a request is often in the middle of it. */
	for (unsigned i = 0; i < LIMIT_OPERATIONS - 1 - n % 7; i++) {
		snprintf(name, sizeof(name), "filler.%u.%u", n, i);
		out->publishable_operations[out->n_publishable_operations++] = copy(name);
	}
	out->publishable_operations[out->n_publishable_operations++] = copy("tokenize");
}

static int
setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct harness_call *hc;

	assert_non_null(f);
	f->h = harness_new();
	hc = harness_call_new(f->h, ROLE_ADMIN);
	assert_non_null(harness_create(hc, ENVIRONMENT_LIVE, "acme", &f->live));
	harness_call_free(hc);
	f->server = served_open(f->h, f->url);
	reload_init(&f->reload, &f->h->service, f->server, &f->h->config);
	*state = f;
	return 0;
}

static int
teardown(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(server_drain(f->server, 10000), 0);
	harness_close(f->h);
	server_close(f->server);
	reload_fini(&f->reload);
	harness_free(f->h);
	free(f);
	return 0;
}

/* ---- a peer ---- */

static void *
peer(void *arg)
{
	struct fixture *f = arg;
	nng_socket socket;

	if (nng_req0_open(&socket) != 0 || nng_dial(socket, f->url, NULL, 0) != 0) {
		f->wrong++;
		return NULL;
	}
	while (!f->done) {
		if (served_verdict(socket, f->live.publishable, "tokenize") != VERDICT_VALID ||
		    served_verdict(socket, f->live.publishable, "refund") != VERDICT_FORBIDDEN)
			f->wrong++;
		f->asked++;
	}
	nng_close(socket);
	return NULL;
}

/* ---- tests ---- */

static void
lists_are_swapped_under_requests(void **state)
{
	struct fixture *f = *state;
	pthread_t threads[PEERS];
	struct config config;
	char why[512] = "";
	unsigned before;

	for (int i = 0; i < PEERS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, peer, f), 0);
	for (unsigned n = 0; n < RELOADS; n++) {
		make_config(f, n, &config);
		assert_int_equal(reload_apply(&f->reload, &config, why, sizeof(why)), 0);
		assert_int_equal(config.n_listeners, 0);
		reload_tidy(&f->reload);
		/* At least one answer between two swaps, or the test would show nothing. */
		for (before = f->asked; f->asked == before && f->wrong == 0;)
			sched_yield();
	}
	for (unsigned i = 0; i < 10000 && f->reload.retired != NULL; i++) {
		reload_tidy(&f->reload);
		nap(1);
	}
	assert_null(f->reload.retired);
	f->done = true;
	for (int i = 0; i < PEERS; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(f->wrong, 0);
}

static void
what_nobody_reads_is_freed(void **state)
{
	struct fixture *f = *state;
	struct config config;
	char why[512] = "";

	for (unsigned n = 0; n < 2; n++) {
		make_config(f, n, &config);
		assert_int_equal(reload_apply(&f->reload, &config, why, sizeof(why)), 0);
	}
	assert_non_null(f->reload.retired);
	reload_tidy(&f->reload);
	assert_null(f->reload.retired);
}

/* A listener that newer settings do not have keeps its last settings. They are freed when it appears again. */
static void
a_listener_that_is_left_out(void **state)
{
	static const char *const urls[] = { NULL, "ipc:///elsewhere", "ipc:///elsewhere", NULL, NULL };
	static const unsigned allowed[] = { 1, 0, 0, 0, 0 };
	struct fixture *f = *state;
	struct config config;
	nng_socket socket;
	char why[512] = "";

	assert_int_equal(nng_req0_open(&socket), 0);
	assert_int_equal(nng_dial(socket, f->url, NULL, 0), 0);
	assert_int_equal(served_verdict(socket, f->live.publishable, "tokenize"), VERDICT_VALID);
	for (unsigned n = 0; n < sizeof(urls) / sizeof(urls[0]); n++) {
		make_config(f, n, &config);
		if (urls[n] != NULL) {
			free(config.listeners[0].url);
			config.listeners[0].url = copy(urls[n]);
		}
		config.listeners[0].n_allow_uids = allowed[n];
		config.listeners[0].allow_uids[0] = geteuid() + 1;
		assert_int_equal(reload_apply(&f->reload, &config, why, sizeof(why)), 0);
		for (unsigned i = 0; i < 10000 && !server_passed(f->server); i++)
			nap(1);
		reload_tidy(&f->reload);
		if (n == 1 || n == 2)
			assert_non_null(f->reload.retired);
		else
			assert_null(f->reload.retired);
		assert_int_equal(served_verdict(socket, f->live.publishable, "tokenize"),
		    n < 3 ? -FAULT_PERMISSION_DENIED : VERDICT_VALID);
	}
	nng_close(socket);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(lists_are_swapped_under_requests, setup, teardown),
		cmocka_unit_test_setup_teardown(what_nobody_reads_is_freed, setup, teardown),
		cmocka_unit_test_setup_teardown(a_listener_that_is_left_out, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
