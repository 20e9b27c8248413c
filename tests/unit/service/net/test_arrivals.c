/*
 * test_arrivals.c - arrivals.c over real sockets of the loopback: who is closed when, who is not, and that a descriptor
 * which has become something else is left alone. The accept of this program is the one that is tested.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "service/net/arrivals.h"
#include "service/base/clock.h"

enum { LATE_MS = LIMIT_GREETING_MS + 1000, THREADS = 4, TURNS = 400 };

struct connection {
	int client, server;
	struct arrival_ends ends;
};

/* ---- a listener of our own ---- */

static int
listen_at(struct sockaddr_in6 *at)
{
	int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0), off = 0;
	socklen_t len = sizeof(*at);

	*at = (struct sockaddr_in6){ .sin6_family = AF_INET6 };
	assert_int_equal(setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off)), 0);
	assert_int_equal(bind(fd, (struct sockaddr *)at, sizeof(*at)), 0);
	assert_int_equal(listen(fd, 128), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)at, &len), 0);
	return fd;
}

static void
map(const struct sockaddr_in *in, uint8_t address[16], uint16_t *port)
{
	memset(address, 0, 10);
	memset(address + 10, 0xff, 2);
	memcpy(address + 12, &in->sin_addr, 4);
	*port = in->sin_port;
}

/* Dialed over IPv4, and accepted as what IPv6 makes of it; every other time by accept4. */
static struct connection
connect_to(int listener, const struct sockaddr_in6 *at)
{
	struct sockaddr_in in = {
		.sin_family = AF_INET, .sin_port = at->sin6_port, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)
	};
	struct connection c = { .client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0) };
	socklen_t len = sizeof(in);

	map(&in, c.ends.own, &c.ends.own_port);
	assert_int_equal(connect(c.client, (struct sockaddr *)&in, sizeof(in)), 0);
	c.server = c.client % 2 == 0 ? accept(listener, NULL, NULL) : accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	assert_true(c.server >= 0);
	assert_int_equal(getsockname(c.client, (struct sockaddr *)&in, &len), 0);
	map(&in, c.ends.peer, &c.ends.peer_port);
	return c;
}

static void
disconnect(struct connection *c)
{
	close(c->client);
	close(c->server);
}

static bool
ended(const struct connection *c)
{
	struct pollfd pfd = { .fd = c->client, .events = POLLIN };
	char byte;

	/* The loopback delivers before shutdown(2) returns. */
	return poll(&pfd, 1, 0) == 1 && recv(c->client, &byte, 1, 0) == 0;
}

struct fixture {
	int listener;
	struct sockaddr_in6 at;
};

static int
begin(void **state)
{
	static struct fixture f;

	f.listener = listen_at(&f.at);
	*state = &f;
	return arrivals_start(3);
}

static int
finish(void **state)
{
	struct fixture *f = *state;

	close(f->listener);
	arrivals_stop();
	return 0;
}

/* Each thread has two on their way: none is too many, but those that have left must be seen to have. */
static int
begin_threads(void **state)
{
	static struct fixture f = { .listener = -1 };

	*state = &f;
	return arrivals_start(2 * THREADS);
}

static struct connection
arrive(void **state)
{
	struct fixture *f = *state;

	return connect_to(f->listener, &f->at);
}

static void
expect_stats(uint64_t late, uint64_t crowded)
{
	struct arrivals_stats stats;

	arrivals_stats(&stats);
	assert_int_equal(stats.late, late);
	assert_int_equal(stats.crowded, crowded);
}

/* ---- tests ---- */

static void
who_does_not_greet_is_closed(void **state)
{
	struct connection a = arrive(state), b = arrive(state), c = arrive(state);

	arrivals_greeted(&b.ends);
	arrivals_greeted(&b.ends);
	arrivals_sweep(clock_boot_ms() + LIMIT_GREETING_MS - 1000);
	assert_false(ended(&a) || ended(&b) || ended(&c));
	arrivals_sweep(clock_boot_ms() + LATE_MS);
	assert_true(ended(&a) && ended(&c));
	assert_false(ended(&b));
	expect_stats(2, 0);
	disconnect(&a), disconnect(&b), disconnect(&c);
}

static void
one_too_many_closes_the_oldest(void **state)
{
	struct connection a = arrive(state), b = arrive(state), c = arrive(state), d = arrive(state);

	assert_true(ended(&a));
	assert_false(ended(&b) || ended(&c) || ended(&d));
	arrivals_greeted(&c.ends);
	disconnect(&a);
	a = arrive(state);
	assert_false(ended(&b) || ended(&c) || ended(&d) || ended(&a));
	expect_stats(0, 1);
	disconnect(&a), disconnect(&b), disconnect(&c), disconnect(&d);
}

static void
those_that_have_left_make_room(void **state)
{
	struct connection a = arrive(state), b = arrive(state), c = arrive(state), d;

	disconnect(&b);
	d = arrive(state);
	assert_false(ended(&a) || ended(&c) || ended(&d));
	expect_stats(0, 0);
	disconnect(&a), disconnect(&c), disconnect(&d);
}

/* The number of a descriptor that was closed is soon that of another: also of one that is none of ours. */
static void
what_has_taken_its_number_is_left_alone(void **state)
{
	struct connection a = arrive(state);
	int pair[2];
	char byte = 'x';

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	assert_int_equal(dup2(pair[0], a.server), a.server);
	arrivals_sweep(clock_boot_ms() + LATE_MS);
	assert_int_equal(send(a.server, &byte, 1, MSG_NOSIGNAL), 1);
	assert_int_equal(recv(pair[1], &byte, 1, 0), 1);
	expect_stats(0, 0);
	close(pair[0]), close(pair[1]);
	disconnect(&a);
}

static void
it_takes_no_descriptor(void **state)
{
	struct connection a = arrive(state);
	struct rlimit old, none;

	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	none = (struct rlimit){ 0, old.rlim_max };
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	assert_int_equal(dup(a.client), -1);
	/*
	 * dup3(2) asks whether the number that it is to make is below the limit: ours is, as it was when it was made.
	 */
	none.rlim_cur = (rlim_t)a.server + 1;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	arrivals_sweep(clock_boot_ms() + LATE_MS);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
	assert_true(ended(&a));
	disconnect(&a);
}

static void
a_unix_socket_is_not_watched(void **state)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	socklen_t len = sizeof(sa);
	int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct connection c = { .client = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0) };

	(void)state;
	assert_int_equal(bind(listener, (struct sockaddr *)&sa, sizeof(sa.sun_family)), 0);
	assert_int_equal(listen(listener, 8), 0);
	assert_int_equal(getsockname(listener, (struct sockaddr *)&sa, &len), 0);
	assert_int_equal(connect(c.client, (struct sockaddr *)&sa, len), 0);
	assert_true((c.server = accept(listener, NULL, NULL)) >= 0);
	arrivals_sweep(clock_boot_ms() + LATE_MS);
	assert_false(ended(&c));
	close(listener);
	disconnect(&c);
}

static void
nobody_is_watched_before_the_start(void **state)
{
	struct sockaddr_in6 at;
	int listener = listen_at(&at);
	struct connection a = connect_to(listener, &at), b;

	(void)state;
	assert_int_equal(arrivals_start(1), 0);
	assert_int_equal(arrivals_start(3), 0); /* changes nothing */
	b = connect_to(listener, &at);
	disconnect(&b);
	arrivals_stop();
	b = connect_to(listener, &at);
	arrivals_sweep(clock_boot_ms() + LATE_MS);
	assert_false(ended(&a));
	assert_true(ended(&b));
	arrivals_stop();
	close(listener);
	disconnect(&a), disconnect(&b);
}

/* Over a listener of its own; the sweeps beside it are in time, so that nobody is to be closed. */
static void *
come_and_go(void *arg)
{
	struct sockaddr_in6 at;
	int listener = listen_at(&at);
	uintptr_t wrong = 0;

	(void)arg;
	for (int i = 0; i < TURNS; i++) {
		struct connection greets = connect_to(listener, &at), leaves = connect_to(listener, &at);

		arrivals_greeted(&greets.ends);
		wrong += ended(&greets) || ended(&leaves);
		disconnect(&leaves);
		disconnect(&greets);
	}
	close(listener);
	return (void *)wrong;
}

static void
many_threads(void **state)
{
	pthread_t threads[THREADS];
	void *wrong;

	(void)state;
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, come_and_go, NULL), 0);
	for (int i = 0; i < TURNS; i++)
		arrivals_sweep(clock_boot_ms());
	for (int i = 0; i < THREADS; i++) {
		assert_int_equal(pthread_join(threads[i], &wrong), 0);
		assert_null(wrong);
	}
	expect_stats(0, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(who_does_not_greet_is_closed, begin, finish),
		cmocka_unit_test_setup_teardown(one_too_many_closes_the_oldest, begin, finish),
		cmocka_unit_test_setup_teardown(those_that_have_left_make_room, begin, finish),
		cmocka_unit_test_setup_teardown(what_has_taken_its_number_is_left_alone, begin, finish),
		cmocka_unit_test_setup_teardown(it_takes_no_descriptor, begin, finish),
		cmocka_unit_test_setup_teardown(a_unix_socket_is_not_watched, begin, finish),
		cmocka_unit_test(nobody_is_watched_before_the_start),
		cmocka_unit_test_setup_teardown(many_threads, begin_threads, finish),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
