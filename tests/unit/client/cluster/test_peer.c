/*
 * test_peer.c - asks of other nodes, with a clock that the test sets: time limits, idle connections, and how many there
 * may be. The other nodes are listeners of this test over TCP.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "client/cluster/peer.h"

#define NODES (PEERS_ADDRESSES + 1)
#define LONG_MS 20000

static const uint8_t greeting[] = { 0, 'S', 'P', 0, 0, 0x31, 0, 0 };

struct told {
	uint64_t id;
	size_t len;
	char why[256];
};

static struct {
	int listeners[NODES];
	char addresses[NODES][64];
	struct peers *peers;
	int64_t now_ms;
	struct told told[256];
	unsigned n_told;
} t;

static void
on_answer(void *arg, uint64_t id, const ProtobufCBinaryData *sealed, const char *why)
{
	struct told *to = &t.told[t.n_told++];

	(void)arg;
	assert_in_range(t.n_told, 1, sizeof(t.told) / sizeof(t.told[0]));
	*to = (struct told){ .id = id, .len = sealed->len };
	snprintf(to->why, sizeof(to->why), "%s", why);
}

static int
setup(void **state)
{
	static const struct peer_link_files files = { .ca = "/nowhere" };
	static const struct peers_callbacks callbacks = { on_answer, NULL };

	(void)state;
	memset(&t, 0, sizeof(t));
	t.now_ms = 1000000;
	for (unsigned i = 0; i < NODES; i++) {
		struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
		socklen_t len = sizeof(a);

		t.listeners[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		assert_int_equal(0, bind(t.listeners[i], (struct sockaddr *)&a, sizeof(a)));
		assert_int_equal(0, listen(t.listeners[i], 16));
		assert_int_equal(0, getsockname(t.listeners[i], (struct sockaddr *)&a, &len));
		snprintf(t.addresses[i], sizeof(t.addresses[i]), "tcp://127.0.0.1:%d", ntohs(a.sin_port));
	}
	return (t.peers = peers_new(&files, &callbacks)) != NULL ? 0 : -1;
}

static int
teardown(void **state)
{
	(void)state;
	peers_free(t.peers);
	for (unsigned i = 0; i < NODES; i++)
		close(t.listeners[i]);
	return 0;
}

static void
ask(const char *address, uint64_t id, uint32_t timeout_ms)
{
	Fob__V1__Ask a = FOB__V1__ASK__INIT;

	a.id = id;
	a.address = (ProtobufCBinaryData){ .data = (uint8_t *)(uintptr_t)address, .len = strlen(address) };
	a.sealed = (ProtobufCBinaryData){ .data = (uint8_t *)(uintptr_t) "sealed", .len = 6 };
	a.timeout_ms = timeout_ms;
	peers_ask(t.peers, FOB__V1__ENVIRONMENT__LIVE, &a, t.now_ms);
}

static unsigned
connections(void)
{
	struct pollfd fds[PEERS_ADDRESSES];

	return peers_fds(t.peers, fds);
}

/* Turns until ${n} have been told of. */
static void
turn_until(unsigned n)
{
	struct pollfd fds[PEERS_ADDRESSES];

	while (peers_turn(t.peers, t.now_ms), t.n_told < n)
		assert_true(poll(fds, peers_fds(t.peers, fds), LONG_MS) > 0);
	assert_int_equal(n, t.n_told);
}

static int
take(unsigned node)
{
	int fd = accept4(t.listeners[node], NULL, NULL, SOCK_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(sizeof(greeting), send(fd, greeting, sizeof(greeting), MSG_NOSIGNAL));
	return fd;
}

/* The connection's request number ${i} is answered. */
static void
answer(int fd, uint32_t i)
{
	/* A Response with an AskResponse whose sealed is "abc". */
	uint8_t bytes[] = { 0, 0, 0, 0, 0, 0, 0, 11, 0x80, 0, 0, (uint8_t)i, 0x1a, 5, 0x0a, 3, 'a', 'b', 'c' };

	assert_int_equal(sizeof(bytes), send(fd, bytes, sizeof(bytes), MSG_NOSIGNAL));
}

static void
is_told(unsigned i, uint64_t id, size_t len, const char *why)
{
	assert_int_equal(id, t.told[i].id);
	assert_int_equal(len, t.told[i].len);
	if (why[0] == '\0' ? t.told[i].why[0] != '\0' : strstr(t.told[i].why, why) == NULL)
		fail_msg("%s, not %s", t.told[i].why, why);
}

static void
test_order_and_idle(void **state)
{
	int fd;

	(void)state;
	assert_int_equal(INT64_MAX, peers_due_ms(t.peers));
	ask(t.addresses[0], 7, LONG_MS);
	ask(t.addresses[0], 8, LONG_MS);
	assert_int_equal(2, peers_under_way(t.peers));
	fd = take(0);
	answer(fd, 1);
	answer(fd, 5); /* of nothing that was asked */
	answer(fd, 0);
	answer(fd, 0); /* once more */
	turn_until(2);
	is_told(0, 8, 3, "");
	is_told(1, 7, 3, "");
	assert_int_equal(0, peers_under_way(t.peers));
	/* Then it is idle: until its time is up. */
	assert_int_equal(t.now_ms + PEERS_IDLE_MS, peers_due_ms(t.peers));
	t.now_ms += PEERS_IDLE_MS - 1;
	peers_turn(t.peers, t.now_ms);
	assert_int_equal(1, connections());
	t.now_ms++;
	peers_turn(t.peers, t.now_ms);
	assert_int_equal(0, connections());
	assert_int_equal(INT64_MAX, peers_due_ms(t.peers));
	close(fd);
}

static void
test_time_limits(void **state)
{
	int64_t begun_ms = t.now_ms;
	int fd;

	(void)state;
	ask(t.addresses[0], 1, 0);
	ask(t.addresses[0], 2, UINT32_MAX);
	ask(t.addresses[0], 3, 300);
	ask(t.addresses[0], 4, LONG_MS);
	fd = take(0);
	answer(fd, 3); /* so that it is up */
	turn_until(1);
	assert_int_equal(begun_ms + 300, peers_due_ms(t.peers));
	t.now_ms = begun_ms + 299;
	turn_until(1);
	t.now_ms = begun_ms + 300;
	turn_until(2);
	is_told(1, 3, 0, "no answer in time");
	t.now_ms = begun_ms + PEERS_TIMEOUT_MS;
	turn_until(3);
	is_told(2, 1, 0, "no answer in time");
	t.now_ms = begun_ms + PEERS_TIMEOUT_MAX_MS;
	turn_until(4);
	is_told(3, 2, 0, "no answer in time");
	assert_int_equal(1, connections());
	close(fd);
}

/* It accepts and says nothing: the ask's time comes later. */
static void
test_no_greeting(void **state)
{
	(void)state;
	ask(t.addresses[0], 1, LONG_MS);
	assert_int_equal(t.now_ms + PEER_LINK_CONNECT_MS, peers_due_ms(t.peers));
	t.now_ms += PEER_LINK_CONNECT_MS - 1;
	turn_until(0);
	t.now_ms++;
	turn_until(1);
	is_told(0, 1, 0, "no answer to connecting");
	assert_int_equal(0, connections());
}

static void
test_closed(void **state)
{
	int fd;

	(void)state;
	ask(t.addresses[0], 1, LONG_MS);
	ask(t.addresses[0], 2, LONG_MS);
	ask(t.addresses[1], 3, LONG_MS);
	fd = take(0);
	answer(fd, 1);
	/* Not close(), which would reset the connection, as it has not read. */
	shutdown(fd, SHUT_WR);
	turn_until(2);
	is_told(0, 2, 3, "");
	is_told(1, 1, 0, "closed the connection");
	assert_int_equal(1, connections());
	close(fd);
	/* Another one is made; and what listens nowhere is refused. */
	ask(t.addresses[0], 4, LONG_MS);
	fd = take(0);
	answer(fd, 0);
	turn_until(3);
	is_told(2, 4, 3, "");
	close(fd);
	close(t.listeners[2]);
	ask(t.addresses[2], 5, LONG_MS);
	turn_until(4);
	is_told(3, 5, 0, "refused");
	t.listeners[2] = dup(t.listeners[1]);
}

static void
test_bounds(void **state)
{
	int fds[NODES];

	(void)state;
	for (unsigned i = 0; i < PEERS_ADDRESSES; i++)
		ask(t.addresses[i], i, LONG_MS);
	ask(t.addresses[PEERS_ADDRESSES], 100, LONG_MS);
	turn_until(1);
	is_told(0, 100, 0, "8 other addresses");
	for (unsigned i = 0; i < PEERS_ADDRESSES; i++)
		fds[i] = take(i);
	/* The one that is idle for longest makes room. */
	answer(fds[5], 0);
	turn_until(2);
	t.now_ms++;
	answer(fds[3], 0);
	turn_until(3);
	ask(t.addresses[PEERS_ADDRESSES], 101, LONG_MS);
	assert_int_equal(PEERS_ADDRESSES, connections());
	fds[PEERS_ADDRESSES] = take(PEERS_ADDRESSES);
	answer(fds[PEERS_ADDRESSES], 0);
	answer(fds[0], 0);
	turn_until(5);
	ask(t.addresses[3], 102, LONG_MS);
	answer(fds[3], 1); /* is still there */
	turn_until(6);
	is_told(5, 102, 3, "");
	/* And no more than so many asks. */
	for (unsigned i = peers_under_way(t.peers); i < PEERS_UNDER_WAY; i++)
		ask(t.addresses[0], 200, LONG_MS);
	assert_int_equal(6, t.n_told);
	ask(t.addresses[0], 201, LONG_MS);
	assert_int_equal(7, t.n_told);
	is_told(6, 201, 0, "64 asks are under way");
	for (unsigned i = 0; i < NODES; i++)
		close(fds[i]);
}

static void
test_forget_and_reload(void **state)
{
	static const struct peer_link_files files = { .ca = "/elsewhere" };
	int first, second;

	(void)state;
	ask(t.addresses[0], 1, LONG_MS);
	first = take(0);
	peers_forget(t.peers, t.now_ms);
	assert_int_equal(0, peers_under_way(t.peers));
	answer(first, 0);
	ask(t.addresses[0], 2, LONG_MS);
	answer(first, 1);
	turn_until(1);
	is_told(0, 2, 3, "");
	/* The old connection ends with its ask. */
	ask(t.addresses[0], 3, LONG_MS);
	peers_reload(t.peers, &files);
	ask(t.addresses[0], 4, LONG_MS);
	assert_int_equal(2, connections());
	second = take(0);
	answer(second, 0);
	turn_until(2);
	is_told(1, 4, 3, "");
	answer(first, 2);
	turn_until(3);
	is_told(2, 3, 3, "");
	assert_int_equal(1, connections());
	/* The files are read for each connection with TLS. */
	ask("tls+tcp://127.0.0.1:1", 5, LONG_MS);
	is_told(3, 5, 0, "/elsewhere: No such file");
	close(first);
	close(second);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = { TEST(test_order_and_idle), TEST(test_time_limits), TEST(test_no_greeting),
		TEST(test_closed), TEST(test_bounds), TEST(test_forget_and_reload) };

	return cmocka_run_group_tests_name("client/cluster/peer", tests, NULL, NULL);
}
