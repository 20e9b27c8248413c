/*
 * test_reopen.c - reopen.c under requests: a database fails and is opened anew, many times, while peers verify keys of both
 * environments. A verify in a database that was closed would crash, or be a sanitizer's report.
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

#include "service/reopen.h"
#include "tests/unit/service/served.h"

enum { PEERS = 3, FAILURES = 40 };

struct fixture {
	struct harness *h;
	struct server *server;
	struct reopen reopen;
	char url[SERVED_URL];
	char file[1024], away[1024]; /* of live */
	struct harness_secrets secrets[ENVIRONMENTS];
	_Atomic bool done;
	_Atomic unsigned valid, unavailable, wrong;
};

static void
nap(void)
{
	const struct timespec ms = { .tv_nsec = 1000000 };

	nanosleep(&ms, NULL);
}

static int
setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct harness_call *hc;

	assert_non_null(f);
	f->h = harness_new();
	log_setup((enum log_level) - 1, false); /* each failure logs an error */
	snprintf(f->file, sizeof(f->file), "%s/data.mdb", f->h->config.environments[ENVIRONMENT_LIVE].path);
	snprintf(f->away, sizeof(f->away), "%s/away.mdb", f->h->config.environments[ENVIRONMENT_LIVE].path);
	hc = harness_call_new(f->h, ROLE_ADMIN);
	for (int e = 0; e < ENVIRONMENTS; e++)
		assert_non_null(harness_create(hc, (enum environment)e, "acme", &f->secrets[e]));
	harness_call_free(hc);
	f->server = served_open(f->h, f->url);
	reopen_init(&f->reopen, &f->h->service, f->server, &f->h->config);
	*state = f;
	return 0;
}

static int
teardown(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(server_drain(f->server, 10000), 0);
	assert_int_equal(reopen_stop(&f->reopen, 10000), 0);
	harness_close(f->h);
	server_close(f->server);
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
	int answer;

	if (nng_req0_open(&socket) != 0 || nng_dial(socket, f->url, NULL, 0) != 0) {
		f->wrong++;
		return NULL;
	}
	while (!f->done) {
		if ((answer = served_verdict(socket, f->secrets[ENVIRONMENT_LIVE].secret, "")) == VERDICT_VALID)
			f->valid++;
		else if (answer == -FAULT_UNAVAILABLE)
			f->unavailable++;
		else
			f->wrong++;
		if (served_verdict(socket, f->secrets[ENVIRONMENT_TEST].secret, "") != VERDICT_VALID)
			f->wrong++;
	}
	nng_close(socket);
	return NULL;
}

/* ---- tests ---- */

static void
fail_live(struct fixture *f)
{
	assert_int_equal(rename(f->file, f->away), 0);
	store_look(f->h->service.engines[ENVIRONMENT_LIVE]->store);
	assert_true(store_failed(f->h->service.engines[ENVIRONMENT_LIVE]->store));
}

static struct reopen_environment *
live(struct fixture *f)
{
	return &f->reopen.environments[ENVIRONMENT_LIVE];
}

/* Look until ${step} is reached, without the pauses. */
static void
look_until(struct fixture *f, enum reopen_step step)
{
	for (unsigned i = 0; i < 20000 && live(f)->step != step; i++) {
		if (live(f)->step == REOPEN_PAUSING)
			live(f)->next_ms = 0;
		if (reopen_look(&f->reopen))
			nap();
	}
	assert_int_equal(live(f)->step, step);
}

/* Have one attempt made. */
static void
try_once(struct fixture *f)
{
	live(f)->next_ms = 0;
	reopen_look(&f->reopen);
	while (live(f)->step == REOPEN_WORKING) {
		nap();
		reopen_look(&f->reopen);
	}
}

/* Wait until the peers have got one more of the answers that ${n} counts, or the test would show nothing. */
static void
one_more(struct fixture *f, const _Atomic unsigned *n)
{
	unsigned before = *n;

	while (*n == before && f->wrong == 0)
		sched_yield();
}

static void
is_opened_anew_under_requests(void **state)
{
	struct fixture *f = *state;
	pthread_t threads[PEERS];
	unsigned descriptors;

	for (int i = 0; i < PEERS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, peer, f), 0);
	one_more(f, &f->valid);
	descriptors = fixture_descriptors();
	for (int i = 0; i < FAILURES && f->wrong == 0; i++) {
		fail_live(f);
		one_more(f, &f->unavailable);
		look_until(f, REOPEN_PAUSING);
		one_more(f, &f->unavailable);
		assert_int_equal(rename(f->away, f->file), 0);
		look_until(f, REOPEN_NONE);
		one_more(f, &f->valid);
	}
	f->done = true;
	for (int i = 0; i < PEERS; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(f->wrong, 0);
	assert_int_equal(f->h->service.failures[ENVIRONMENT_LIVE], FAILURES);
	assert_int_equal(f->h->service.failures[ENVIRONMENT_TEST], 0);
	assert_in_range(fixture_descriptors(), 1, descriptors);
}

/* Another file in the place of the one that was open is not served, and that one stays open until it has its name again. */
static void
another_file_is_not_served(void **state)
{
	struct fixture *f = *state;
	struct engine *engine = f->h->service.engines[ENVIRONMENT_LIVE];
	nng_socket socket;

	assert_int_equal(nng_req0_open(&socket), 0);
	assert_int_equal(nng_dial(socket, f->url, NULL, 0), 0);
	fail_live(f);
	assert_int_equal(link(f->h->config.environments[ENVIRONMENT_TEST].pepper, f->file), 0);
	look_until(f, REOPEN_PAUSING);
	for (int i = 0; i < 3; i++) {
		try_once(f);
		assert_int_equal(live(f)->result, REOPEN_DISPLACED);
		assert_ptr_equal(live(f)->engine, engine);
		assert_non_null(strstr(live(f)->why, "is not the file that was open"));
		assert_true(live(f)->next_ms > clock_boot_ms());
		assert_int_equal(served_verdict(socket, f->secrets[ENVIRONMENT_LIVE].secret, ""), -FAULT_UNAVAILABLE);
	}
	assert_int_equal(rename(f->away, f->file), 0);
	look_until(f, REOPEN_NONE);
	assert_int_equal(served_verdict(socket, f->secrets[ENVIRONMENT_LIVE].secret, ""), VERDICT_VALID);
	nng_close(socket);
}

/* The pauses grow to a minute, and are short again for a database that has worked for a while. */
static void
attempts_become_rare(void **state)
{
	struct fixture *f = *state;
	const char *pepper = f->h->config.environments[ENVIRONMENT_LIVE].pepper;
	char hidden[1100];
	int64_t wait_ms;

	snprintf(hidden, sizeof(hidden), "%s.hidden", pepper);
	for (int worked = 0; worked < 3; worked++) {
		fail_live(f);
		look_until(f, REOPEN_PAUSING);
		wait_ms = live(f)->next_ms - clock_boot_ms();
		if (worked == 1)
			assert_in_range(wait_ms, 50000, 60000);
		else
			assert_in_range(wait_ms, 0, 1000);
		assert_int_equal(rename(f->away, f->file), 0);
		assert_int_equal(rename(pepper, hidden), 0);
		for (int i = 0; i < 9; i++) {
			try_once(f);
			assert_int_equal(live(f)->result, REOPEN_FAILED);
			assert_true(live(f)->next_ms - clock_boot_ms() >= wait_ms - 1000);
			wait_ms = live(f)->next_ms - clock_boot_ms();
		}
		assert_in_range(wait_ms, 50000, 60000);
		assert_int_equal(rename(hidden, pepper), 0);
		look_until(f, REOPEN_NONE);
		if (worked == 1)
			live(f)->opened_ms -= 3600000;
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(is_opened_anew_under_requests, setup, teardown),
		cmocka_unit_test_setup_teardown(another_file_is_not_served, setup, teardown),
		cmocka_unit_test_setup_teardown(attempts_become_rare, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
