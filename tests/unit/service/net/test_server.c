/*
 * test_server.c - the room over real sockets in a temporary folder: roles, sizes, limits, peers that misbehave, and the
 * stop. The peers are raw sockets that speak the bytes of proto/PROTOCOL.md, so that they may do what no library would.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "tests/unit/service/harness.h"
#include "service/base/bytes.h"
#include "service/net/server.h"
#include "tests/lib/sp.h"

enum { IN_FLIGHT = 8, CONNECTIONS = 24, PATIENCE_MS = 10000, ROUNDS = 16 };

struct fixture {
	struct harness *h;
	struct server *server;
	char urls[2][1024];
	const char *verify, *admin; /* paths */
	struct harness_secrets live;
};

static void
nap(long ms)
{
	struct timespec ts = { .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000 };

	nanosleep(&ts, NULL);
}

/* ---- somebody who may write in a socket's folder, and is quick ---- */

static void (*swap)(const char *path);

int interposed_bind(int fd, const struct sockaddr *sa, socklen_t len) __asm__("bind")
    __attribute__((visibility("default"), used));

/* What libnng calls; what it does next finds something else at the path. */
int
interposed_bind(int fd, const struct sockaddr *sa, socklen_t len)
{
	int rc = (int)syscall(SYS_bind, fd, sa, len);
	struct sockaddr_un named;

	if (rc == 0 && swap != NULL) {
		memcpy(&named, sa, sizeof(named));
		swap(named.sun_path);
		swap = NULL;
	}
	return rc;
}

/* ---- how often libnng writes ---- */

static _Atomic unsigned writes;

ssize_t interposed_sendmsg(int fd, const struct msghdr *message, int flags) __asm__("sendmsg")
    __attribute__((visibility("default"), used));

ssize_t
interposed_sendmsg(int fd, const struct msghdr *message, int flags)
{
	atomic_fetch_add(&writes, 1);
	return syscall(SYS_sendmsg, fd, message, flags);
}

/* ---- raw peers ---- */

static int
dial(const char *path)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(sa.sun_path, sizeof(sa.sun_path), "%s", path);
	if (connect(fd, (struct sockaddr *)&sa, sizeof(sa)) != 0) {
		close(fd);
		return -1;
	}
	return fd;
}

static bool
greet(int fd)
{
	uint8_t got[sizeof(sp_rep)];

	return sp_write(fd, sp_req, sizeof(sp_req)) && sp_read(fd, got, sizeof(got), PATIENCE_MS) &&
	    memcmp(got, sp_rep, sizeof(sp_rep)) == 0;
}

/* A peer that has greeted. */
static int
peer_new(const char *path)
{
	int fd = dial(path);

	assert_true(fd >= 0);
	assert_true(greet(fd));
	return fd;
}

static bool
peer_send(int fd, uint32_t id, const void *bytes, size_t len)
{
	uint8_t wire[SP_ID];

	bytes_put32(wire, id | 0x80000000);
	return sp_send(fd, wire, bytes, len, len);
}

/* A reply's code; -1: the connection is closed or silent. */
static int
peer_receive(int fd, uint32_t *id, int ms)
{
	Fob__Rpc__V1__Response *response;
	uint8_t wire[SP_ID], *bytes;
	size_t len;
	int code;

	if ((bytes = sp_receive(fd, wire, 4 << 20, &len, ms)) == NULL)
		return -1;
	*id = bytes_get32(wire) & 0x7fffffff;
	response = fob__rpc__v1__response__unpack(NULL, len, bytes);
	assert_non_null(response);
	code = (int)response->code;
	fob__rpc__v1__response__free_unpacked(response, NULL);
	free(bytes);
	return code;
}

static int
peer_ask(int fd, const void *bytes, size_t len)
{
	uint32_t id = 0;
	int code;

	if (!peer_send(fd, 4711, bytes, len))
		return -1;
	code = peer_receive(fd, &id, PATIENCE_MS);
	if (code >= 0)
		assert_int_equal(id, 4711);
	return code;
}

static int
peer_method(int fd, const char *method)
{
	size_t len;
	uint8_t *bytes = harness_envelope(method, strlen(method), NULL, 0, 0, NULL, &len);
	int code = peer_ask(fd, bytes, len);

	free(bytes);
	return code;
}

/* A new client is served: connect, ask, leave. */
static int
serve_one(const char *path)
{
	int fd = dial(path), code = -1;

	if (fd < 0)
		return -1;
	if (greet(fd))
		code = peer_method(fd, "fob.v1.Health/Check");
	close(fd);
	return code;
}

static bool
closed(int fd, int ms)
{
	struct pollfd pfd = { .fd = fd, .events = POLLIN };
	char byte;

	return poll(&pfd, 1, ms) == 1 && recv(fd, &byte, 1, MSG_PEEK) <= 0;
}

static struct transport_counters
counted(struct fixture *f)
{
	struct transport_counters c;

	f->h->service.transport->count(f->h->service.transport->count_arg, &c);
	return c;
}

/* Wait for what will be, without a guess how long it takes. */
#define EVENTUALLY(condition) \
	do { \
		int64_t until_ms_ = clock_boot_ms() + PATIENCE_MS; \
		bool holds_; \
		while (!(holds_ = (condition)) && clock_boot_ms() < until_ms_) \
			nap(1); \
		assert_true(holds_); \
	} while (0)

/*
 * A new client is served within a second: not always at the first try, because connections that are on their way out
 * still count, and there are few places here.
 */
static bool
served(const char *path)
{
	int64_t until_ms = clock_boot_ms() + 1000;

	while (serve_one(path) != 0) {
		if (clock_boot_ms() >= until_ms)
			return false;
		nap(1);
	}
	return true;
}

/* ---- the service ---- */

static void
open_server(struct fixture *f)
{
	char why[512] = "";

	if (server_open(&f->h->service, &f->h->config, &f->server, why, sizeof(why)) != 0)
		fail_msg("%s", why);
}

static int
setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct harness_call *hc;

	f->h = harness_new();
	for (int i = 0; i < 2; i++) {
		snprintf(f->urls[i], sizeof(f->urls[i]), "ipc://%s/%s.sock", f->h->folder, i == 0 ? "verify" : "admin");
		f->h->config.listeners[i] = (struct config_listener){ .url = f->urls[i],
			.role = i == 0 ? ROLE_VERIFY : ROLE_ADMIN,
			.mode = i == 0 ? 0660 : 0600 };
	}
	f->verify = f->urls[0] + 6;
	f->admin = f->urls[1] + 6;
	f->h->config.n_listeners = 2;
	f->h->config.connections = CONNECTIONS;
	f->h->config.in_flight = IN_FLIGHT;
	hc = harness_call_new(f->h, ROLE_ADMIN);
	assert_non_null(harness_create(hc, ENVIRONMENT_LIVE, "acme", &f->live));
	harness_call_free(hc);
	open_server(f);
	*state = f;
	return 0;
}

static int
teardown(void **state)
{
	struct fixture *f = *state;

	if (f->server != NULL) {
		assert_int_equal(server_drain(f->server, 10000), 0);
		harness_close(f->h);
		server_close(f->server);
	}
	harness_free(f->h);
	free(f);
	return 0;
}

static uint8_t *
verify_bytes(struct fixture *f, size_t *len)
{
	Fob__V1__VerifyKeyRequest in = FOB__V1__VERIFY_KEY_REQUEST__INIT;

	in.credential_case = FOB__V1__VERIFY_KEY_REQUEST__CREDENTIAL_SECRET;
	in.secret = harness_text(f->live.secret);
	return harness_request("fob.v1.Keys/VerifyKey", &in.base, 0, len);
}

static uint8_t *
suspend_bytes(size_t *len)
{
	Fob__V1__SuspendAccountRequest in = FOB__V1__SUSPEND_ACCOUNT_REQUEST__INIT;
	struct harness_token token = harness_token();

	in.request_token = harness_bytes(token.bytes, LIMIT_TOKEN);
	in.environment = FOB__V1__ENVIRONMENT__LIVE;
	in.account = harness_text("acme");
	return harness_request("fob.v1.Admin/SuspendAccount", &in.base, 0, len);
}

/* ---- requests ---- */

static void
a_role_per_listener(void **state)
{
	struct fixture *f = *state;
	int verify = peer_new(f->verify), admin = peer_new(f->admin);
	size_t len, verify_len;
	uint8_t *bytes = suspend_bytes(&len), *asks = verify_bytes(f, &verify_len);
	struct stat st;

	assert_int_equal(peer_ask(verify, asks, verify_len), 0);
	assert_int_equal(peer_ask(admin, asks, verify_len), 0);
	assert_int_equal(peer_ask(verify, bytes, len), FAULT_PERMISSION_DENIED);
	assert_int_equal(peer_ask(admin, bytes, len), 0);
	assert_int_equal(stat(f->verify, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0660);
	assert_int_equal(stat(f->admin, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	free(bytes);
	free(asks);
	close(verify);
	close(admin);
}

static void
garbage_is_answered(void **state)
{
	struct fixture *f = *state;
	int fd = peer_new(f->verify);

	assert_int_equal(peer_ask(fd, "", 0), FAULT_UNIMPLEMENTED);
	assert_int_equal(peer_ask(fd, "\xff\xff\xff", 3), FAULT_INVALID_ARGUMENT);
	assert_int_equal(peer_ask(fd, "hello", 5), FAULT_INVALID_ARGUMENT);
	assert_int_equal(peer_method(fd, "fob.v1.Health/Check"), 0);
	close(fd);
}

static void
sizes(void **state)
{
	struct fixture *f = *state;
	uint8_t *bytes = calloc(1, 5 * LIMIT_REQUEST);
	size_t len;
	uint8_t *padded;
	int fd = peer_new(f->verify);

	/* Exactly the limit, with a body that is unknown fields. */
	memset(bytes, 0xff, 5 * LIMIT_REQUEST);
	padded = harness_envelope("x/y", 3, bytes, LIMIT_REQUEST - 9, 0, NULL, &len);
	assert_int_equal(len, LIMIT_REQUEST);
	assert_int_equal(peer_ask(fd, padded, len), FAULT_UNIMPLEMENTED);
	free(padded);
	assert_int_equal(peer_ask(fd, bytes, LIMIT_REQUEST + 1), FAULT_INVALID_ARGUMENT);
	assert_int_equal(peer_ask(fd, bytes, 3 * LIMIT_REQUEST), FAULT_INVALID_ARGUMENT);
	assert_int_equal(peer_method(fd, "fob.v1.Health/Check"), 0);
	/* More than four times: the connection is closed, and only this one. */
	assert_int_equal(peer_ask(fd, bytes, 4 * LIMIT_REQUEST + 1), -1);
	assert_true(closed(fd, PATIENCE_MS));
	close(fd);
	assert_true(served(f->verify));
	free(bytes);
}

/* Eight gigabytes are promised: nobody waits for them, or makes room. */
static void
a_length_that_lies(void **state)
{
	struct fixture *f = *state;
	static const uint8_t head[9] = { 1, 0, 0, 0, 2, 0, 0, 0, 0 };
	int fd = peer_new(f->verify);

	assert_true(sp_write(fd, head, sizeof(head)));
	assert_true(closed(fd, PATIENCE_MS));
	close(fd);
	assert_true(served(f->verify));
}

static void
a_mutation_comes_back(void **state)
{
	struct fixture *f = *state;
	int fd = peer_new(f->admin);

	for (int i = 0; i < 50; i++) {
		size_t len;
		uint8_t *bytes = suspend_bytes(&len);

		assert_int_equal(peer_ask(fd, bytes, len), 0);
		free(bytes);
	}
	close(fd);
}

/* A peer leaves while its mutations are with the writer: their calls come back. */
static void
a_peer_that_does_not_wait(void **state)
{
	struct fixture *f = *state;

	for (int round = 0; round < 20; round++) {
		int fd = peer_new(f->admin);

		for (uint32_t i = 0; i < IN_FLIGHT; i++) {
			size_t len;
			uint8_t *bytes = suspend_bytes(&len);

			assert_true(peer_send(fd, i, bytes, len));
			free(bytes);
		}
		close(fd);
	}
	EVENTUALLY(counted(f).connections == 0);
	EVENTUALLY(counted(f).in_flight == 0);
	for (int i = 0; i < 2 * ROUNDS; i++)
		assert_true(served(f->admin));
}

/* ---- many requests at once ---- */

/* Append a frame with a batch of ${n} verifies to ${to}. Returns its length. */
static size_t
batch_frame(struct fixture *f, uint32_t id, size_t n, uint8_t *to, size_t room)
{
	Fob__V1__VerifyKeysRequest in = FOB__V1__VERIFY_KEYS_REQUEST__INIT;
	Fob__V1__VerifyKeyRequest item = FOB__V1__VERIFY_KEY_REQUEST__INIT, *items[LIMIT_BATCH];
	uint8_t *bytes;
	size_t len;

	item.credential_case = FOB__V1__VERIFY_KEY_REQUEST__CREDENTIAL_SECRET;
	item.secret = harness_text(f->live.secret);
	for (size_t i = 0; i < n; i++)
		items[i] = &item;
	in.n_items = n;
	in.items = items;
	bytes = harness_request("fob.v1.Keys/VerifyKeys", &in.base, 0, &len);
	assert_true(9 + SP_ID + len <= room);
	to[0] = 1;
	bytes_put64(to + 1, SP_ID + len);
	bytes_put32(to + 9, id | 0x80000000);
	memcpy(to + 9 + SP_ID, bytes, len);
	free(bytes);
	return 9 + SP_ID + len;
}

/* The first replies leave while the last requests are at hand, so that the client has something to do meanwhile. */
static void
replies_leave_early(void **state)
{
	enum { BATCHES = 4, ITEMS = 128 }; /* in one read; each reply is longer than what is written at once */
	struct fixture *f = *state;
	uint8_t bytes[1024 + LIMIT_READ];
	int fd = peer_new(f->verify);
	unsigned before;
	size_t len = 0;

	for (uint32_t i = 0; i < BATCHES; i++)
		len += batch_frame(f, i, ITEMS, bytes + len, sizeof(bytes) - len);
	before = atomic_load(&writes);
	assert_true(sp_write(fd, bytes, len));
	for (uint32_t i = 0, id; i < BATCHES; i++) {
		assert_int_equal(peer_receive(fd, &id, PATIENCE_MS), 0);
		assert_int_equal(id, i);
	}
	assert_int_equal(atomic_load(&writes) - before, BATCHES);
	close(fd);
}

/* ---- limits ---- */

/* Lock the writer out, so that mutations stay under way: a write transaction of ours is open. */
static struct store_txn *
hold_writer(struct fixture *f)
{
	struct store_txn *txn = store_txn_new(f->h->service.engines[0]->store);

	assert_int_equal(store_write(txn), 0);
	return txn;
}

static void
release_writer(struct store_txn *txn)
{
	store_abort(txn);
	store_txn_free(txn);
}

/*
 * Send ${bytes} under the ids 7, 8, ... until the writer, which is locked out, has the first and others wait behind it:
 * only then have they all passed what a drain refuses. Returns how many were sent.
 */
static uint32_t
fill_writer(struct fixture *f, int fd, const uint8_t *bytes, size_t len)
{
	struct writer_counters counters = { .queue_depth = 0 };
	uint32_t sent = 0;

	while (counters.queue_depth == 0 && sent < IN_FLIGHT) {
		int64_t until_ms = clock_boot_ms() + 50;

		assert_true(peer_send(fd, 7 + sent, bytes, len));
		sent++;
		EVENTUALLY(counted(f).in_flight == sent);
		/* The writer takes the first within moments; what comes next stays in its queue. */
		do
			writer_count(f->h->service.engines[0]->writer, &counters);
		while (counters.queue_depth == 0 && clock_boot_ms() < until_ms);
		if (sent == 1)
			counters.queue_depth = 0;
	}
	assert_true(counters.queue_depth > 0);
	return sent;
}

static void
too_many_under_way(void **state)
{
	struct fixture *f = *state;
	int fd = peer_new(f->admin), other = peer_new(f->admin);
	struct store_txn *txn = hold_writer(f);
	unsigned ok = 0, refused = 0;
	uint32_t id;

	for (uint32_t i = 0; i < IN_FLIGHT + 3; i++) {
		size_t len;
		uint8_t *bytes = suspend_bytes(&len);

		assert_true(peer_send(fd, i, bytes, len));
		free(bytes);
	}
	for (int i = 0; i < 3; i++) {
		assert_int_equal(peer_receive(fd, &id, PATIENCE_MS), FAULT_RESOURCE_EXHAUSTED);
		refused++;
	}
	/* Another connection has its own count. */
	assert_int_equal(peer_method(other, "fob.v1.Health/Check"), 0);
	EVENTUALLY(counted(f).in_flight == IN_FLIGHT);
	release_writer(txn);
	for (int i = 0; i < IN_FLIGHT; i++)
		ok += peer_receive(fd, &id, PATIENCE_MS) == 0;
	assert_int_equal(ok, IN_FLIGHT);
	assert_int_equal(refused, 3);
	/* And is free again. */
	EVENTUALLY(counted(f).in_flight == 0);
	for (int i = 0; i < 2 * IN_FLIGHT; i++)
		assert_int_equal(peer_method(fd, "fob.v1.Health/Check"), 0);
	close(fd);
	close(other);
}

static void
too_many_connections(void **state)
{
	struct fixture *f = *state;
	int fds[CONNECTIONS], more;

	for (int i = 0; i < CONNECTIONS; i++) {
		fds[i] = peer_new(i % 2 == 0 ? f->verify : f->admin);
		assert_int_equal(peer_method(fds[i], "fob.v1.Health/Check"), 0);
	}
	assert_int_equal(counted(f).connections, CONNECTIONS);
	for (int i = 0; i < 5; i++) {
		more = dial(f->verify);
		assert_true(more >= 0);
		greet(more);
		assert_int_equal(peer_method(more, "fob.v1.Health/Check"), -1);
		close(more);
	}
	EVENTUALLY(counted(f).connections_refused == 5);
	/* Those who were there stay; and when one leaves, one may come. */
	for (int i = 0; i < CONNECTIONS; i++)
		assert_int_equal(peer_method(fds[i], "fob.v1.Health/Check"), 0);
	close(fds[0]);
	EVENTUALLY(counted(f).connections == CONNECTIONS - 1);
	fds[0] = peer_new(f->verify);
	assert_int_equal(peer_method(fds[0], "fob.v1.Health/Check"), 0);
	for (int i = 0; i < CONNECTIONS; i++)
		close(fds[i]);
	EVENTUALLY(counted(f).connections == 0);
}

/* Asks and asks, and never reads: closed after the time that a reply may take. */
static void
a_peer_that_does_not_read(void **state)
{
	enum { REQUESTS = 4096 };
	struct fixture *f = *state;
	size_t len, one, sent = 0;
	uint8_t *bytes, *all;
	int slow = peer_new(f->verify);

	bytes = harness_envelope("fob.v1.Health/Stats", 19, NULL, 0, 0, NULL, &len);
	one = 13 + len;
	assert_non_null(all = calloc(REQUESTS, one));
	for (uint32_t i = 0; i < REQUESTS; i++) {
		uint8_t *p = all + i * one;

		p[0] = 1;
		bytes_put64(p + 1, len + 4);
		bytes_put32(p + 9, i | 0x80000000);
		memcpy(p + 13, bytes, len);
	}
	fcntl(slow, F_SETFL, O_NONBLOCK);
	for (int i = 0; i < PATIENCE_MS && counted(f).connections_dropped == 0; i++) {
		ssize_t n = send(slow, all + sent, REQUESTS * one - sent, MSG_NOSIGNAL);

		sent += n > 0 ? (size_t)n : 0;
		nap(1);
	}
	assert_int_equal(counted(f).connections_dropped, 1);
	EVENTUALLY(counted(f).in_flight == 0);
	EVENTUALLY(counted(f).connections == 0);
	for (int i = 0; i < 3 * ROUNDS; i++)
		assert_true(served(f->verify));
	free(bytes);
	free(all);
	close(slow);
}

/* ---- peers that do not behave ---- */

static void
hostile_connects(void **state)
{
	static const uint8_t wrong[8] = { 0, 'S', 'P', 0, 0, 0x10, 0, 0 }, nonsense[8] = "GET / HT";
	struct fixture *f = *state;
	unsigned base;
	int fd;

	for (int i = 0; i < ROUNDS; i++)
		assert_true(served(f->verify));
	EVENTUALLY(counted(f).connections == 0);
	base = fixture_descriptors();
	for (int i = 0; i < 400; i++) {
		struct linger reset = { .l_onoff = 1, .l_linger = 0 };

		assert_true((fd = dial(f->verify)) >= 0);
		switch (i % 7) {
		case 0:
			break;
		case 1:
			assert_true(sp_write(fd, wrong, 3));
			break;
		case 2:
			sp_write(fd, wrong, 8);
			break;
		case 3:
			sp_write(fd, nonsense, 8);
			break;
		case 4:
			shutdown(fd, SHUT_RDWR);
			break;
		case 5:
			greet(fd);
			sp_write(fd, "\x01\0\0\0", 4);
			break;
		default:
			setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
			greet(fd);
			peer_send(fd, 1, "\xff", 1);
		}
		close(fd);
		/* Those that are on their way out still count, and there are few places. */
		if (i % 16 == 0)
			assert_true(served(f->verify));
	}
	EVENTUALLY(counted(f).connections == 0);
	assert_true(served(f->verify));
	EVENTUALLY(counted(f).connections == 0);
	EVENTUALLY(fixture_descriptors() <= base);
	assert_int_equal(counted(f).in_flight, 0);
}

/* ---- opening ---- */

static void
refused(struct fixture *f, const char *word)
{
	struct server *server = NULL;
	struct service other = { .config = &f->h->config, .mutex = PTHREAD_MUTEX_INITIALIZER };
	char why[512] = "";

	assert_int_equal(server_open(&other, &f->h->config, &server, why, sizeof(why)), -1);
	assert_null(server);
	if (strstr(why, word) == NULL)
		fail_msg("\"%s\" says nothing of \"%s\"", why, word);
}

static void
a_path_that_is_taken(void **state)
{
	struct fixture *f = *state;
	char path[700], longest[201], text[8] = "";
	struct stat st;
	int fd;

	/* By a living server. */
	refused(f, "in use by another program");
	assert_true(served(f->verify));

	/* By a file: it is left alone. */
	snprintf(path, sizeof(path), "%s/file.sock", f->h->folder);
	snprintf(f->urls[0], sizeof(f->urls[0]), "ipc://%s", path);
	assert_true((fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0600)) >= 0);
	assert_int_equal(write(fd, "precious", 8), 8);
	close(fd);
	refused(f, "left alone");
	assert_true((fd = open(path, O_RDONLY)) >= 0);
	assert_int_equal(read(fd, text, 8), 8);
	assert_memory_equal(text, "precious", 8);
	close(fd);
	assert_int_equal(unlink(path), 0);

	/* By a folder, by a link. */
	assert_int_equal(mkdir(path, 0700), 0);
	refused(f, "left alone");
	assert_int_equal(rmdir(path), 0);
	assert_int_equal(symlink("/dev/null", path), 0);
	refused(f, "left alone");
	assert_int_equal(lstat(path, &st), 0);
	assert_int_equal(unlink(path), 0);

	memset(longest, 'a', 200);
	longest[200] = '\0';
	snprintf(f->urls[0], sizeof(f->urls[0]), "ipc:///%s", longest);
	refused(f, "too long");
	snprintf(f->urls[0], sizeof(f->urls[0]), "ipc://%s/verify.sock", f->h->folder);
}

/* A socket that a server left behind when it was killed is no obstacle. */
static void
a_path_that_is_left_over(void **state)
{
	struct fixture *f = *state;
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	struct server *server;
	struct service other = { .config = &f->h->config, .mutex = PTHREAD_MUTEX_INITIALIZER };
	char why[512];
	int fd;

	memcpy(other.engines, f->h->service.engines, sizeof(other.engines));
	snprintf(f->urls[0], sizeof(f->urls[0]), "ipc://%s/left.sock", f->h->folder);
	snprintf(f->urls[1], sizeof(f->urls[1]), "ipc://%s/left-admin.sock", f->h->folder);
	snprintf(sa.sun_path, sizeof(sa.sun_path), "%s", f->urls[0] + 6);
	fd = socket(AF_UNIX, SOCK_STREAM, 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	close(fd);
	if (server_open(&other, &f->h->config, &server, why, sizeof(why)) != 0)
		fail_msg("%s", why);
	assert_true(served(f->urls[0] + 6));
	assert_int_equal(server_drain(server, 10000), 0);
	server_close(server);
	snprintf(f->urls[0], sizeof(f->urls[0]), "ipc://%s/verify.sock", f->h->folder);
	snprintf(f->urls[1], sizeof(f->urls[1]), "ipc://%s/admin.sock", f->h->folder);
}

static char precious[108]; /* a socket's path is no longer */

static void
put_a_link(const char *path)
{
	assert_int_equal(unlink(path), 0);
	assert_int_equal(symlink(precious, path), 0);
}

static void
put_it_itself(const char *path)
{
	assert_int_equal(unlink(path), 0);
	assert_int_equal(link(precious, path), 0);
}

/* Only its owner may open it: another file of ours, or another listener's socket. */
static void
make_precious(const struct fixture *f, bool is_socket)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int fd;

	assert_true((size_t)snprintf(precious, sizeof(precious), "%s/precious", f->h->folder) < sizeof(precious));
	if (is_socket) {
		strcpy(sa.sun_path, precious);
		assert_true((fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) >= 0);
		assert_int_equal(bind(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	} else {
		assert_true((fd = open(precious, O_WRONLY | O_CREAT | O_EXCL, 0600)) >= 0);
	}
	close(fd);
	assert_int_equal(chmod(precious, 0600), 0);
}

/* Between bind and what comes next: nobody is let into what is there then, and it is not taken for our socket. */
static void
a_path_that_is_swapped(void **state)
{
	static void (*const ways[])(const char *) = { put_a_link, put_it_itself };
	struct fixture *f = *state;
	struct stat before, after;

	snprintf(f->urls[0], sizeof(f->urls[0]), "ipc://%s/swapped.sock", f->h->folder);
	for (int i = 0; i < 4; i++) {
		make_precious(f, i / 2 == 1);
		assert_int_equal(stat(precious, &before), 0);
		swap = ways[i % 2];
		refused(f, "is not a socket of ours with mode 0660");
		assert_null(swap);
		assert_int_equal(stat(precious, &after), 0);
		assert_int_equal(after.st_mode, before.st_mode);
		assert_int_equal(after.st_ino, before.st_ino);
		assert_int_equal(after.st_size, before.st_size);
		assert_int_equal(after.st_mtim.tv_nsec, before.st_mtim.tv_nsec);
		assert_int_equal(unlink(precious), 0);
	}
	snprintf(f->urls[0], sizeof(f->urls[0]), "ipc://%s/verify.sock", f->h->folder);
}

/* Whatever the process gives to files that are not said otherwise; which is as before then. */
static void
the_mode_of_a_socket(void **state)
{
	static const mode_t umasks[] = { 0, 022, 077, 0777 };
	struct fixture *f = *state;
	mode_t before = umask(0);
	struct stat st;

	for (size_t i = 0; i < sizeof(umasks) / sizeof(umasks[0]); i++) {
		assert_int_equal(server_drain(f->server, 10000), 0);
		server_close(f->server);
		f->h->service.draining = false;
		umask(umasks[i]);
		open_server(f);
		assert_int_equal(umask(umasks[i]), umasks[i]);
		assert_int_equal(lstat(f->verify, &st), 0);
		assert_int_equal(st.st_mode, S_IFSOCK | 0660);
		assert_int_equal(lstat(f->admin, &st), 0);
		assert_int_equal(st.st_mode, S_IFSOCK | 0600);
	}
	umask(before);
}

static void
opens_and_closes(void **state)
{
	struct fixture *f = *state;
	unsigned base = 0;

	for (int i = 0; i < 12; i++) {
		assert_int_equal(server_drain(f->server, 10000), 0);
		server_close(f->server);
		f->server = NULL;
		/* nng keeps a few of its own, once they are there. */
		if (i == 3)
			base = fixture_descriptors();
		if (i > 3)
			EVENTUALLY(fixture_descriptors() <= base);
		f->h->service.draining = false;
		open_server(f);
		assert_true(served(f->verify));
	}
}

/* ---- the way down ---- */

static void *
drain(void *arg)
{
	struct fixture *f = arg;

	return server_drain(f->server, 10000) == 0 ? NULL : f;
}

static void
draining(void **state)
{
	struct fixture *f = *state;
	int verify = peer_new(f->verify), admin = peer_new(f->admin);
	struct store_txn *txn;
	size_t len, verify_len;
	uint8_t *bytes = suspend_bytes(&len), *asks = verify_bytes(f, &verify_len);
	pthread_t thread;
	uint32_t id = 0, sent;
	void *failed;

	assert_int_equal(peer_ask(verify, asks, verify_len), 0);
	/* A reply that has arrived may still be on its way out here. */
	EVENTUALLY(counted(f).in_flight == 0);
	txn = hold_writer(f);
	sent = fill_writer(f, admin, bytes, len);
	assert_int_equal(pthread_create(&thread, NULL, drain, f), 0);
	EVENTUALLY(f->h->service.draining);
	/* What comes now gets no answer, so that the client asks the next fobd. What was under way is finished, and answered. */
	assert_true(peer_send(verify, 4711, asks, verify_len));
	assert_int_equal(peer_receive(verify, &id, 50), -1);
	assert_int_equal(peer_receive(admin, &id, 50), -1);
	release_writer(txn);
	pthread_join(thread, &failed);
	assert_null(failed);
	for (uint32_t i = 0; i < sent; i++) {
		assert_int_equal(peer_receive(admin, &id, PATIENCE_MS), 0);
		assert_int_equal(id, 7 + i);
	}

	/* The databases can go, while requests still come. */
	harness_close(f->h);
	for (uint32_t i = 0; i < 20; i++) {
		assert_true(peer_send(verify, i, asks, verify_len));
		assert_true(peer_send(admin, i, bytes, len));
	}
	assert_int_equal(peer_receive(verify, &id, 50), -1);
	assert_int_equal(peer_receive(admin, &id, 50), -1);
	server_close(f->server);
	f->server = NULL;
	assert_true(closed(verify, PATIENCE_MS));
	close(verify);
	close(admin);
	free(bytes);
	free(asks);
}

static void
a_drain_that_takes_too_long(void **state)
{
	struct fixture *f = *state;
	int admin = peer_new(f->admin);
	struct store_txn *txn = hold_writer(f);
	int64_t start_ms;
	size_t len;
	uint8_t *bytes = suspend_bytes(&len);
	uint32_t id, sent;

	sent = fill_writer(f, admin, bytes, len);
	start_ms = clock_boot_ms();
	assert_int_equal(server_drain(f->server, 100), -1);
	assert_in_range(clock_boot_ms() - start_ms, 100, 5000);
	release_writer(txn);
	for (uint32_t i = 0; i < sent; i++)
		assert_int_equal(peer_receive(admin, &id, PATIENCE_MS), 0);
	free(bytes);
	close(admin);
}

struct client {
	struct fixture *f;
	unsigned ok, other;
};

static void *
verify_until_closed(void *arg)
{
	struct client *c = arg;
	size_t len;
	uint8_t *bytes = verify_bytes(c->f, &len);
	int fd = dial(c->f->verify), code;
	bool greeted = fd >= 0 && greet(fd);

	while (greeted && (code = peer_ask(fd, bytes, len)) >= 0) {
		c->ok += code == 0;
		c->other += code != 0;
	}
	if (fd >= 0)
		close(fd);
	free(bytes);
	return NULL;
}

/* Under load: a request gets its answer, or the connection closes; none hangs, and none is refused. */
static void
the_end_under_load(void **state)
{
	enum { CLIENTS = 6 };
	struct fixture *f = *state;
	struct client clients[CLIENTS];
	pthread_t threads[CLIENTS];
	unsigned ok = 0; /* of all: on a busy machine one of them may not have had its turn */

	for (int i = 0; i < CLIENTS; i++) {
		clients[i] = (struct client){ .f = f };
		assert_int_equal(pthread_create(&threads[i], NULL, verify_until_closed, &clients[i]), 0);
	}
	nap(100);
	assert_int_equal(server_drain(f->server, 10000), 0);
	harness_close(f->h);
	nap(20);
	server_close(f->server);
	f->server = NULL;
	for (int i = 0; i < CLIENTS; i++) {
		pthread_join(threads[i], NULL);
		ok += clients[i].ok;
		assert_int_equal(clients[i].other, 0);
	}
	assert_int_not_equal(ok, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_role_per_listener),
		TEST(garbage_is_answered),
		TEST(sizes),
		TEST(a_length_that_lies),
		TEST(a_mutation_comes_back),
		TEST(a_peer_that_does_not_wait),
		TEST(replies_leave_early),
		TEST(too_many_under_way),
		TEST(too_many_connections),
		TEST(a_peer_that_does_not_read),
		TEST(hostile_connects),
		TEST(a_path_that_is_taken),
		TEST(a_path_that_is_left_over),
		TEST(a_path_that_is_swapped),
		TEST(the_mode_of_a_socket),
		TEST(opens_and_closes),
		TEST(draining),
		TEST(a_drain_that_takes_too_long),
		TEST(the_end_under_load),
	};

	return cmocka_run_group_tests_name("server", tests, NULL, NULL);
}
