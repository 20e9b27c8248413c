/*
 * A connection is made to whatever of its addresses answers, is lost, and made again. The listeners here do no more than
 * greet, or what else is said.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "client/connection.h"

#define LONG_MS 20000

static char dir[64];

static int64_t
now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* Of 127.0.0.1 only. */
static int
listen_tcp(uint16_t *port)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = *port };
	socklen_t len = sizeof(a);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;

	assert_true(fd >= 0);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	assert_int_equal(listen(fd, 16), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &len), 0);
	*port = a.sin_port;
	return fd;
}

static struct sockaddr_un
unix_address(const char *name, char *url, size_t size)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };

	snprintf(a.sun_path, sizeof(a.sun_path), "%s/%s", dir, name);
	if (url != NULL)
		snprintf(url, size, "ipc://%s", a.sun_path);
	return a;
}

static int
listen_unix(const char *name, int backlog, char *url, size_t size)
{
	struct sockaddr_un a = unix_address(name, url, size);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	assert_int_equal(listen(fd, backlog), 0);
	return fd;
}

static int
accept_and_say(int listener, const void *bytes, size_t len)
{
	int fd = accept(listener, NULL, NULL);

	assert_true(fd >= 0);
	assert_int_equal(send(fd, bytes, len, MSG_NOSIGNAL), len);
	return fd;
}

static int
accept_and_greet(int listener)
{
	uint8_t greeting[SP_GREETING_LEN];

	sp_greeting(SP_REP, greeting);
	return accept_and_say(listener, greeting, sizeof(greeting));
}

/* To ${n} addresses. */
static void
connection_to(struct connection *c, unsigned n, ...)
{
	struct fob_options *o = fob_options_new();
	va_list ap;

	va_start(ap, n);
	while (n-- > 0)
		assert_int_equal(fob_options_add_address(o, va_arg(ap, const char *)), 0);
	va_end(ap);
	assert_int_equal(connection_init(c, &o->addresses[0], o, NULL, NULL), 0);
	fob_options_free(o);
}

/* As the link does; until it is open, or has failed in every way ${rounds} times. */
static bool
drive(struct connection *c, unsigned rounds)
{
	int64_t end_ms = now_ms() + LONG_MS, left_ms;
	struct pollfd pfd;

	while (!connection_step(c, now_ms()) && c->failed < rounds && now_ms() < end_ms) {
		pfd = (struct pollfd){ .fd = c->fd, .events = connection_events(c) };
		if (pfd.events == 0)
			pfd.fd = -1;
		left_ms = c->due_ms - now_ms();
		poll(&pfd, 1, left_ms < 0 ? 0 : left_ms > 1000 ? 1000 : (int)left_ms);
	}
	return c->phase == CONNECTION_OPEN;
}

/* Until it waits for the greeting. */
static void
drive_to_greeting(struct connection *c)
{
	struct pollfd pfd;

	while (c->phase != CONNECTION_GREETS) {
		assert_false(connection_step(c, now_ms()));
		pfd = (struct pollfd){ .fd = c->fd, .events = POLLOUT };
		poll(&pfd, 1, 1);
	}
}

static int
setup(void **state)
{
	const char *tmp = getenv("TMPDIR");

	(void)state;
	snprintf(dir, sizeof(dir), "%s/connection-XXXXXX", tmp != NULL ? tmp : "/tmp");
	return mkdtemp(dir) == NULL;
}

static int
teardown(void **state)
{
	static const char *const names[] = { "a", "b", "file" };
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		unlink(unix_address(names[i], NULL, 0).sun_path);
	return rmdir(dir);
}

/*
 * A name that stands for ::1 first, where nothing listens. Not every system's localhost is so: the first endpoint is
 * made here.
 */
static void
test_every_endpoint_of_a_name(void **state)
{
	const struct sockaddr_in nobody = {
		.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons(9)
	};
	struct addrinfo *localhost;
	struct endpoints *e;
	struct connection c;
	uint16_t port = 0;
	int listener, peer;
	char url[64];

	(void)state;
	if (getaddrinfo("localhost", NULL, NULL, &localhost) != 0)
		skip(); /* a system without /etc/hosts */
	freeaddrinfo(localhost);
	listener = listen_tcp(&port);
	snprintf(url, sizeof(url), "tcp://localhost:%u", ntohs(port));
	connection_to(&c, 1, url);
	e = &c.targets[0].endpoints;
	assert_in_range(e->n, 1, ADDRESS_ENDPOINTS_MAX - 1);
	memmove(&e->list[1], &e->list[0], e->n * sizeof(e->list[0]));
	memmove(&e->len[1], &e->len[0], e->n * sizeof(e->len[0]));
	memcpy(&e->list[0].any, &nobody, sizeof(nobody));
	e->len[0] = sizeof(nobody);
	e->n++;
	/* The kernel completes a connection before it is accepted. */
	drive_to_greeting(&c);
	peer = accept_and_greet(listener);
	assert_true(drive(&c, 1));
	assert_string_equal(connection_address(&c), url);
	close(peer);
	connection_fini(&c);
	close(listener);
}

/* In their order; where it is it stays; and when that is lost, from the first again. */
static void
test_every_address(void **state)
{
	struct sockaddr_un none = unix_address("a", NULL, 0);
	char first[160], second[160];
	struct connection c;
	int b = listen_unix("b", 4, second, sizeof(second)), a, peer;

	(void)state;
	snprintf(first, sizeof(first), "ipc://%s", none.sun_path);
	connection_to(&c, 2, first, second);
	drive_to_greeting(&c);
	peer = accept_and_greet(b);
	assert_true(drive(&c, 1));
	assert_string_equal(connection_address(&c), second);

	a = listen_unix("a", 4, NULL, 0);
	c.proven = true;
	close(connection_lost(&c, now_ms(), "closed by the server"));
	close(peer);
	assert_string_equal(c.where, second);
	drive_to_greeting(&c);
	peer = accept_and_greet(a);
	assert_true(drive(&c, 1));
	assert_string_equal(connection_address(&c), first);
	connection_fini(&c);
	close(peer);
	close(a);
	close(b);
}

/* A unix socket whose backlog is full refuses a non-blocking connect. It is asked again soon. */
static void
test_full_backlog(void **state)
{
	char url[160];
	struct sockaddr_un to = unix_address("a", NULL, 0);
	int listener = listen_unix("a", 0, url, sizeof(url)), filler[8], peer, i, n = 0;
	struct connection c;

	(void)state;
	for (i = 0; i < 8; i++) {
		filler[i] = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
		if (connect(filler[i], (struct sockaddr *)&to, sizeof(to)) == 0)
			n++;
	}
	assert_in_range(n, 1, 7);
	connection_to(&c, 1, url);
	assert_false(connection_step(&c, now_ms()));
	assert_string_equal(c.reason, "its backlog is full");
	assert_in_range(c.due_ms - now_ms(), 0, 10);
	for (i = 0; i < n; i++)
		close(accept(listener, NULL, NULL));
	drive_to_greeting(&c);
	peer = accept_and_greet(listener);
	assert_true(drive(&c, 1));
	assert_int_equal(c.failed, 0);
	connection_fini(&c);
	for (i = 0; i < 8; i++)
		close(filler[i]);
	close(peer);
	close(listener);
}

static void
check_reason(const char *url, const char *reason)
{
	struct connection c;

	connection_to(&c, 1, url);
	assert_false(drive(&c, 1));
	assert_non_null(strstr(c.reason, reason));
	assert_string_equal(c.where, url);
	connection_fini(&c);
}

static void
test_reasons(void **state)
{
	static const char http[] = "HTTP/1.1 400 Bad Request\r\n";
	struct sockaddr_un un = unix_address("a", NULL, 0);
	uint8_t rep[SP_GREETING_LEN] = { 0 };
	struct connection c;
	char url[160];
	int listener, peer;
	FILE *file;

	(void)state;
	snprintf(url, sizeof(url), "ipc://%s", un.sun_path);
	check_reason(url, "No such file");
	listener = listen_unix("a", 4, url, sizeof(url));
	connection_to(&c, 1, url);
	drive_to_greeting(&c);
	peer = accept_and_say(listener, http, sizeof(http) - 1);
	assert_false(drive(&c, 1));
	assert_string_equal(c.reason, "what listens there does not speak the protocol");
	connection_fini(&c);
	close(peer);
	/* Half a greeting, then nothing. */
	connection_to(&c, 1, url);
	drive_to_greeting(&c);
	peer = accept_and_say(listener, rep, 1);
	assert_false(connection_step(&c, now_ms()));
	assert_int_equal(c.failed, 0);
	assert_false(connection_step(&c, now_ms() + 3000));
	assert_int_equal(c.failed, 1);
	assert_string_equal(c.reason, "no answer to connecting");
	connection_fini(&c);
	close(peer);
	connection_to(&c, 1, url);
	drive_to_greeting(&c);
	close(accept(listener, NULL, NULL));
	assert_false(drive(&c, 1));
	assert_string_equal(c.reason, "the connection is closed as soon as it is made");
	connection_fini(&c);
	close(listener);
	check_reason(url, "nothing listens there");
	unix_address("file", url, sizeof(url));
	assert_non_null(file = fopen(url + strlen("ipc://"), "w"));
	fclose(file);
	check_reason(url, "it is not a socket");
	check_reason("tcp://127.0.0.1:9", "refused");
	check_reason("tcp://nobody.invalid:9", "");
}

/* Twice as long each time, up to a second, less a random part; a name that was not found is looked up again meanwhile. */
static void
test_pauses(void **state)
{
	int64_t now = now_ms(), pause, least = 5, most = 10;
	struct connection c;
	unsigned i;

	(void)state;
	connection_to(&c, 1, "ipc:///nonexistent/fob.sock");
	for (i = 1; i <= 12; i++) {
		assert_false(connection_step(&c, now));
		assert_int_equal(c.failed, i);
		pause = c.due_ms - now;
		assert_in_range(pause, least, most);
		least = least * 2 > 500 ? 500 : least * 2;
		most = most * 2 > 1000 ? 1000 : most * 2;
		/* Not sooner. */
		assert_false(connection_step(&c, c.due_ms - 1));
		assert_int_equal(c.failed, i);
		now = c.due_ms;
	}
	connection_fini(&c);

	connection_to(&c, 1, "tcp://nobody.invalid:9");
	assert_false(drive(&c, 3));
	assert_int_equal(c.failed, 3);
	connection_fini(&c);
}

/* A server that greets and closes, again and again, is not asked without a pause. */
static void
test_lost_for_nothing(void **state)
{
	struct connection c;
	char url[160];
	int listener = listen_unix("a", 4, url, sizeof(url)), i;
	int64_t now;

	(void)state;
	connection_to(&c, 1, url);
	for (i = 0; i < 3; i++) {
		do {
			connection_step(&c, c.due_ms > now_ms() ? c.due_ms : now_ms());
		} while (c.phase != CONNECTION_GREETS);
		close(accept_and_greet(listener));
		assert_true(drive(&c, 99));
		now = now_ms();
		close(connection_lost(&c, now, "closed by the server"));
		assert_in_range(c.due_ms - now, 5 << i, 10 << i);
	}
	connection_fini(&c);
	close(listener);
}

int
main(void)
{
	const unsigned whole_s = 120;
	const struct CMUnitTest tests[] = { cmocka_unit_test_setup_teardown(
						test_every_endpoint_of_a_name, setup, teardown),
		cmocka_unit_test_setup_teardown(test_every_address, setup, teardown),
		cmocka_unit_test_setup_teardown(test_full_backlog, setup, teardown),
		cmocka_unit_test_setup_teardown(test_reasons, setup, teardown),
		cmocka_unit_test_setup_teardown(test_pauses, setup, teardown),
		cmocka_unit_test_setup_teardown(test_lost_for_nothing, setup, teardown) };

	alarm(whole_s);
	return cmocka_run_group_tests_name("client/connection", tests, NULL, NULL);
}
