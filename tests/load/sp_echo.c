/*
 * sp_echo.c - the program sp-echo: how fast SP request/reply is without nng's REQ and REP sockets.
 *
 * The server, in a child process, speaks SP over nng's byte streams as fobd does, and answers requests of a verify's
 * size with replies of a verify's size. The client has plain sockets: one blocking thread for each connection, which
 * keeps a number of calls in flight and writes all that it can at once. With --verify the same client asks a running
 * fobd: single VerifyKeys, pipelined. Frames are made and read by proto/c/sp.c at both ends.
 */
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <nng/nng.h>

#include "proto/c/program.h"
#include "proto/c/sp.h"
#include "tests/load/flags.h"
#include "tests/load/keys.h"
#include "tests/load/measure.h"
#include "tests/load/report.h"
#include "tests/load/server.h"
#include "tests/load/verify_bytes.h"

#define BUFFER 65536
#define MESSAGE_MAX 4096
#define FRAME_MAX (SP_HEADER_MAX + MESSAGE_MAX)
#define DEPTH_MAX 256
#define TIMEOUT_S 5

static const char usage[] =
    "Usage: sp-echo --address URL [OPTION...]\n"
    "\n"
    "How fast SP request/reply is here over nng's byte streams, without its REP socket: a server in a child process, and\n"
    "a client with plain blocking sockets in this one.\n"
    "\n"
    "  -a, --address URL      where the server is to listen: ipc://PATH or tcp://HOST:PORT\n"
    "      --verify KEYS      no server of its own: send VerifyKey of the secrets in this file to the fobd at --address\n"
    "      --connections N    of the client, with a thread each; default 1\n"
    "      --depth N          calls in flight on each connection, 1 to 256; default 1\n"
    "      --request-bytes N  default 80\n"
    "      --reply-bytes N    default 90\n" FLAGS_RUN_USAGE(
	"1", "10") "\n"
		   "Exit status: 0, 1 usage or a local fault, 2 a call failed, 3 a verdict was not VALID.\n";

struct flags {
	struct flags_run run;
	const char *address, *keys;
	unsigned connections, depth;
	size_t request_bytes, reply_bytes;
};

struct buffer {
	size_t len;
	uint8_t bytes[BUFFER];
};

static enum sp_framing
framing_of(const char *address)
{
	return strncmp(address, "ipc://", 6) == 0 ? SP_IPC : SP_TCP;
}

static void
add_message(struct buffer *b, enum sp_framing framing, uint32_t id, const void *body, size_t len)
{
	b->len += sp_header(framing, id, len, b->bytes + b->len);
	memcpy(b->bytes + b->len, body, len);
	b->len += len;
}

static void
drop_front(struct buffer *b, size_t n)
{
	b->len -= n;
	memmove(b->bytes, b->bytes + n, b->len);
}

/* ---- the server ---- */

struct peer {
	const struct flags *flags;
	nng_stream *stream;
	nng_aio *aio; /* it receives or sends, never both: what is not read yet waits in the socket */
	bool greeted, sending;
	struct buffer in, out;
};

struct listener {
	const struct flags *flags;
	nng_stream_listener *listener;
	nng_aio *aio;
};

static void
check(int rv, const char *what)
{
	if (rv != 0)
		flags_fail("%s: %s", what, nng_strerror(rv));
}

static void
peer_receive(struct peer *p)
{
	nng_iov iov = { .iov_buf = p->in.bytes + p->in.len, .iov_len = sizeof(p->in.bytes) - p->in.len };

	p->sending = false;
	check(nng_aio_set_iov(p->aio, 1, &iov), "a buffer");
	nng_stream_recv(p->stream, p->aio);
}

static void
peer_send(struct peer *p)
{
	nng_iov iov = { .iov_buf = p->out.bytes, .iov_len = p->out.len };

	p->sending = true;
	check(nng_aio_set_iov(p->aio, 1, &iov), "a buffer");
	nng_stream_send(p->stream, p->aio);
}

static void
peer_greet(struct peer *p)
{
	if (!sp_greeting_ok(p->in.bytes, SP_GREETING_LEN, SP_REQ))
		flags_fail("a peer that is no REQ socket");
	drop_front(&p->in, SP_GREETING_LEN);
	p->greeted = true;
}

/* Answer each whole request, as far as there is room for the replies. */
static void
peer_answer(struct peer *p)
{
	enum sp_framing framing = framing_of(p->flags->address);
	uint8_t reply[MESSAGE_MAX];
	enum sp_result result;
	struct sp_frame frame;
	size_t at = 0;

	memset(reply, 'r', p->flags->reply_bytes);
	while (p->out.len + FRAME_MAX <= sizeof(p->out.bytes)) {
		result = sp_parse(framing, FRAME_MAX, p->in.bytes + at, p->in.len - at, &frame);
		if (result == SP_INCOMPLETE)
			break;
		if (result != SP_MESSAGE)
			flags_fail("a peer that does not speak SP");
		add_message(&p->out, framing, frame.id, reply, p->flags->reply_bytes);
		at += frame.size;
	}
	drop_front(&p->in, at);
}

static void
peer_step(void *arg)
{
	struct peer *p = arg;
	size_t n = nng_aio_count(p->aio);

	if (nng_aio_result(p->aio) != 0) {
		/* The client is done. The process ends soon, and takes this peer's memory along. */
		nng_stream_close(p->stream);
		return;
	}
	if (p->sending)
		drop_front(&p->out, n);
	else
		p->in.len += n;
	if (!p->greeted && p->in.len >= SP_GREETING_LEN)
		peer_greet(p);
	if (p->greeted)
		peer_answer(p);
	if (p->out.len > 0)
		peer_send(p);
	else
		peer_receive(p);
}

static void
accepted(void *arg)
{
	struct listener *l = arg;
	struct peer *p = calloc(1, sizeof(*p));

	check(nng_aio_result(l->aio), "accepting");
	if (p == NULL)
		flags_fail("out of memory");
	p->flags = l->flags;
	p->stream = nng_aio_get_output(l->aio, 0);
	check(nng_aio_alloc(&p->aio, peer_step, p), "an aio");
	sp_greeting(SP_REP, p->out.bytes);
	p->out.len = SP_GREETING_LEN;
	peer_send(p);
	nng_stream_listener_accept(l->listener, l->aio);
}

static void
serve(const void *arg, int ready)
{
	struct listener l = { .flags = arg };

	check(nng_stream_listener_alloc(&l.listener, l.flags->address), l.flags->address);
	check(nng_stream_listener_listen(l.listener), l.flags->address);
	check(nng_aio_alloc(&l.aio, accepted, &l), "an aio");
	nng_stream_listener_accept(l.listener, l.aio);
	server_is_ready(ready);
	for (;;)
		pause();
}

/* ---- the client ---- */

struct client {
	const struct flags *flags;
	struct keys keys;
	struct measure measure;
	_Atomic bool stopped;
	_Atomic unsigned active;
};

struct call {
	uint32_t id;
	int64_t from_ns;
};

struct connection {
	struct client *client;
	pthread_t thread;
	int fd;
	uint32_t turn; /* makes the id of a call unlike that of the one before */
	unsigned in_flight;
	struct call calls[DEPTH_MAX];
	struct keys_choice choice;
	struct buffer in, out;
};

static int
connect_unix(const char *path)
{
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	int fd;

	if (strlen(path) >= sizeof(to.sun_path))
		flags_fail("%s: too long for a socket", path);
	strcpy(to.sun_path, path);
	if ((fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) < 0 ||
	    connect(fd, (const struct sockaddr *)&to, sizeof(to)) != 0)
		flags_fail("%s: %s", path, strerror(errno));
	return fd;
}

static int
connect_tcp(const char *address)
{
	const struct addrinfo hints = { .ai_socktype = SOCK_STREAM };
	const char *colon = strrchr(address, ':');
	struct addrinfo *found;
	char host[256];
	int fd, one = 1;

	if (colon == NULL || (size_t)(colon - address) >= sizeof(host))
		flags_fail("%s: not HOST:PORT", address);
	snprintf(host, sizeof(host), "%.*s", (int)(colon - address), address);
	if (getaddrinfo(host, colon + 1, &hints, &found) != 0)
		flags_fail("%s: no such address", address);
	if ((fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0)) < 0 ||
	    connect(fd, found->ai_addr, found->ai_addrlen) != 0 ||
	    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) != 0)
		flags_fail("%s: %s", address, strerror(errno));
	freeaddrinfo(found);
	return fd;
}

static int
connect_to(const char *address)
{
	if (strncmp(address, "ipc://", 6) == 0)
		return connect_unix(address + 6);
	if (strncmp(address, "tcp://", 6) == 0)
		return connect_tcp(address + 6);
	flags_fail("%s: not ipc://PATH or tcp://HOST:PORT", address);
}

/* Returns: 0; -1 when the connection has failed. */
static int
send_all(int fd, struct buffer *out)
{
	size_t at;
	ssize_t n;

	for (at = 0; at < out->len; at += (size_t)n) {
		if ((n = send(fd, out->bytes + at, out->len - at, MSG_NOSIGNAL)) <= 0)
			return -1;
	}
	out->len = 0;
	return 0;
}

/* Waits for at least one byte. Returns: 0; -1 when none has come in time or the connection has failed. */
static int
receive_some(int fd, struct buffer *in)
{
	ssize_t n = recv(fd, in->bytes + in->len, sizeof(in->bytes) - in->len, 0);

	if (n <= 0)
		return -1;
	in->len += (size_t)n;
	return 0;
}

static void
greet(struct connection *c)
{
	const struct timeval timeout = { .tv_sec = TIMEOUT_S };

	setsockopt(c->fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
	setsockopt(c->fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout));
	sp_greeting(SP_REQ, c->out.bytes);
	c->out.len = SP_GREETING_LEN;
	if (send_all(c->fd, &c->out) != 0)
		flags_fail("the greeting: %s", strerror(errno));
	while (c->in.len < SP_GREETING_LEN) {
		if (receive_some(c->fd, &c->in) != 0)
			flags_fail("no greeting from %s", c->client->flags->address);
	}
	if (!sp_greeting_ok(c->in.bytes, SP_GREETING_LEN, SP_REP))
		flags_fail("%s is no REP socket", c->client->flags->address);
	drop_front(&c->in, SP_GREETING_LEN);
}

/* The call's number is in the id's low bits. */
static void
call_begin(struct connection *c, unsigned number, int64_t now_ns)
{
	const struct flags *f = c->client->flags;
	uint8_t request[MESSAGE_MAX];
	size_t len = f->request_bytes;

	if (c->client->keys.n > 0)
		len = verify_encode(keys_next(&c->choice), request);
	else
		memset(request, 'q', len);
	c->calls[number] =
	    (struct call){ .from_ns = now_ns, .id = SP_ID_BIT | (c->turn++ % 65536 * DEPTH_MAX + number) };
	add_message(&c->out, framing_of(f->address), c->calls[number].id, request, len);
	c->in_flight++;
}

static void
call_record(struct connection *c, const struct call *call, const struct sp_frame *frame, int64_t now_ns)
{
	const struct client *client = c->client;
	unsigned verdict = FOB_VERDICT_DENIED;
	int fault;

	if (client->keys.n > 0)
		fault = verify_decode(frame->body, frame->body_len, &verdict);
	else
		fault = frame->body_len == client->flags->reply_bytes ? 0 : FOB_EINTERNAL;
	if (fault != 0 || client->keys.n == 0)
		measure_fault(&client->measure, recorder_mine(), OP_VERIFY, call->from_ns, now_ns, fault, 1);
	else
		measure_verdict(&client->measure, recorder_mine(), OP_VERIFY, call->from_ns, now_ns, verdict,
		    verdict == FOB_VERDICT_VALID);
}

/* Read the replies that have come; each call that was answered begins anew until the end. -1: an answer to no call. */
static int
take_replies(struct connection *c)
{
	enum sp_framing framing = framing_of(c->client->flags->address);
	int64_t now_ns = measure_now_ns();
	bool over = measure_is_over(&c->client->measure, now_ns);
	enum sp_result result;
	struct sp_frame frame;
	unsigned number;
	size_t at = 0;

	while ((result = sp_parse(framing, FRAME_MAX, c->in.bytes + at, c->in.len - at, &frame)) == SP_MESSAGE) {
		number = frame.id % DEPTH_MAX;
		if (number >= c->client->flags->depth || c->calls[number].id != frame.id)
			return -1;
		call_record(c, &c->calls[number], &frame, now_ns);
		c->calls[number].id = 0;
		c->in_flight--;
		if (!over)
			call_begin(c, number, now_ns);
		at += frame.size;
	}
	drop_front(&c->in, at);
	return result == SP_INCOMPLETE ? 0 : -1;
}

/* The connection has failed: so has each call that is under way on it. */
static void
fail_rest(struct connection *c)
{
	unsigned i;

	for (i = 0; i < c->client->flags->depth; i++) {
		if (c->calls[i].id != 0)
			measure_fault(&c->client->measure, recorder_mine(), OP_VERIFY, c->calls[i].from_ns,
			    measure_now_ns(), FOB_EUNAVAILABLE, 1);
	}
}

static void *
connection_main(void *arg)
{
	struct connection *c = arg;
	unsigned i;

	for (i = 0; i < c->client->flags->depth; i++)
		call_begin(c, i, measure_now_ns());
	while (c->in_flight > 0) {
		if (send_all(c->fd, &c->out) != 0 || receive_some(c->fd, &c->in) != 0 || take_replies(c) != 0) {
			fail_rest(c);
			break;
		}
	}
	if (--c->client->active == 0)
		c->client->stopped = true;
	return NULL;
}

static int
run(const struct flags *f, pid_t server)
{
	struct client client = { .flags = f, .active = f->connections };
	struct connection *connections = calloc(f->connections, sizeof(connections[0])), *c;
	struct report r = { .tool = f->keys != NULL ? "sp-verify" : "sp-echo",
		.address = f->address,
		.callers = f->connections * f->depth,
		.sockets = f->connections,
		.batch = 1,
		.unit = { [OP_VERIFY] = f->keys != NULL ? "verify" : "echo" } };
	char why[512];
	unsigned i;

	if (connections == NULL)
		flags_fail("out of memory");
	if (f->keys != NULL && keys_load(f->keys, &client.keys, why, sizeof(why)) != 0)
		flags_fail("%s", why);
	r.keys = client.keys.n;
	for (i = 0; i < f->connections; i++) {
		c = &connections[i];
		c->client = &client;
		c->fd = connect_to(f->address);
		if (client.keys.n > 0)
			keys_choose(&c->choice, &client.keys, 0, (uint64_t)measure_now_ns() + i);
		greet(c);
	}
	measure_start(&client.measure, f->run.warmup_s, f->run.duration_s, f->run.quiet);
	if (r.callers == 1)
		measure_count_switches(&client.measure, server);
	for (i = 0; i < f->connections; i++) {
		if (pthread_create(&connections[i].thread, NULL, connection_main, &connections[i]) != 0)
			flags_fail("no thread for connection %u", i + 1);
	}
	measure_watch(&client.measure, &client.stopped);
	for (i = 0; i < f->connections; i++) {
		pthread_join(connections[i].thread, NULL);
		close(connections[i].fd);
		fob_wipe(&connections[i].out, sizeof(connections[i].out));
	}
	free(connections);
	keys_fini(&client.keys);
	return report_finish(&r, &f->run, &client.measure);
}

/* ---- flags ---- */

enum { FLAG_VERIFY = FLAGS_OWN, FLAG_CONNECTIONS, FLAG_DEPTH, FLAG_REQUEST, FLAG_REPLY };

static const struct option options[] = { { "address", required_argument, NULL, 'a' },
	{ "verify", required_argument, NULL, FLAG_VERIFY },
	{ "connections", required_argument, NULL, FLAG_CONNECTIONS }, { "depth", required_argument, NULL, FLAG_DEPTH },
	{ "request-bytes", required_argument, NULL, FLAG_REQUEST },
	{ "reply-bytes", required_argument, NULL, FLAG_REPLY }, FLAGS_RUN_LONG, { NULL, 0, NULL, 0 } };

static void
flag(int c, struct flags *f)
{
	switch (c) {
	case 'a':
		f->address = optarg;
		break;
	case FLAG_VERIFY:
		f->keys = optarg;
		break;
	case FLAG_CONNECTIONS:
		f->connections = flags_number("connections", optarg, 1, 1024);
		break;
	case FLAG_DEPTH:
		f->depth = flags_number("depth", optarg, 1, DEPTH_MAX);
		break;
	case FLAG_REQUEST:
		f->request_bytes = flags_number("request-bytes", optarg, 1, 200);
		break;
	case FLAG_REPLY:
		f->reply_bytes = flags_number("reply-bytes", optarg, 1, 200);
		break;
	default:
		flags_run(c, &f->run, usage);
	}
}

int
main(int argc, char *argv[])
{
	struct flags f = { .run = { .warmup_s = 1, .duration_s = 10 },
		.connections = 1,
		.depth = 1,
		.request_bytes = 80,
		.reply_bytes = 90 };
	pid_t server = 0;
	int c, rc;

	if (program_begin() != 0)
		return 1;
	while ((c = getopt_long(argc, argv, "a:" FLAGS_RUN_SHORT, options, NULL)) != -1)
		flag(c, &f);
	if (f.address == NULL || optind < argc)
		flags_fail("see sp-echo --help");
	measure_block_signals();
	if (f.keys == NULL)
		server = server_start(serve, &f);
	rc = run(&f, server);
	if (server > 0) {
		server_stop(server);
		if (strncmp(f.address, "ipc://", 6) == 0)
			unlink(f.address + 6);
	}
	return rc;
}
