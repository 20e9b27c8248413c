/*
 * nng_echo.c - the program nng-echo: how fast nng's own REQ and REP sockets are.
 *
 * An nng REP server, in a child process, answers requests of a verify's size with replies of a verify's size. An nng
 * REQ client keeps calls in flight and measures as fob-load does. With --verify the same client asks a running fobd
 * instead. Uses libfob only for names and wiping.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <nng/nng.h>
#include <nng/protocol/reqrep0/rep.h>
#include <nng/protocol/reqrep0/req.h>

#include "proto/c/program.h"
#include "tests/load/flags.h"
#include "tests/load/keys.h"
#include "tests/load/measure.h"
#include "tests/load/report.h"
#include "tests/load/server.h"
#include "tests/load/verify_bytes.h"

#define MESSAGE_MAX 65536
#define SERVER_CONTEXTS 256 /* each answers one request at a time */
#define TIMEOUT_MS 5000

static const char usage[] =
    "Usage: nng-echo --address URL [OPTION...]\n"
    "\n"
    "How fast bare nng REQ/REP is here: a server in a child process, and a client in this one.\n"
    "\n"
    "  -a, --address URL      where the server is to listen: ipc://PATH or tcp://HOST:PORT\n"
    "      --verify KEYS      no server of its own: send VerifyKey of the secrets in this file to the fobd at --address\n"
    "  -s, --sockets N        REQ sockets of the client; default 1\n"
    "  -c, --callers N        contexts over all sockets, with a call in flight each; default 16\n"
    "      --request-bytes N  default 80\n"
    "      --reply-bytes N    default 90\n" FLAGS_RUN_USAGE("1",
	"10") "\n"
	      "Exit status: 0, 1 usage or a local fault, 2 a call failed, 3 a verdict or an echo was not the expected one.\n";

struct flags {
	struct flags_run run;
	const char *address, *keys;
	unsigned sockets, callers;
	size_t request_bytes, reply_bytes;
};

static void
check(int rv, const char *what)
{
	if (rv != 0)
		flags_fail("%s: %s", what, nng_strerror(rv));
}

/* ---- the server ---- */

struct echo {
	nng_ctx ctx;
	nng_aio *aio;
	bool sending;
	size_t reply_bytes;
};

static void
echo_step(void *arg)
{
	struct echo *e = arg;
	int rv = nng_aio_result(e->aio);
	nng_msg *msg;

	if (rv != 0) {
		if (e->sending && rv != NNG_ECLOSED)
			nng_msg_free(nng_aio_get_msg(e->aio));
		e->sending = true; /* receive again */
	}
	if (e->sending) {
		e->sending = false;
		nng_ctx_recv(e->ctx, e->aio);
		return;
	}
	msg = nng_aio_get_msg(e->aio);
	nng_msg_clear(msg);
	if (nng_msg_realloc(msg, e->reply_bytes) != 0)
		abort();
	memset(nng_msg_body(msg), 'r', e->reply_bytes);
	e->sending = true;
	nng_aio_set_msg(e->aio, msg);
	nng_ctx_send(e->ctx, e->aio);
}

static void
serve(const void *arg, int ready)
{
	struct echo *echoes = calloc(SERVER_CONTEXTS, sizeof(*echoes));
	const struct flags *f = arg;
	nng_socket socket;
	unsigned i;

	if (echoes == NULL)
		abort();
	check(nng_rep0_open(&socket), "the server's socket");
	for (i = 0; i < SERVER_CONTEXTS; i++) {
		echoes[i].reply_bytes = f->reply_bytes;
		check(nng_ctx_open(&echoes[i].ctx, socket), "a context");
		check(nng_aio_alloc(&echoes[i].aio, echo_step, &echoes[i]), "an aio");
		nng_ctx_recv(echoes[i].ctx, echoes[i].aio);
	}
	check(nng_listen(socket, f->address, NULL, 0), f->address);
	server_is_ready(ready);
	for (;;)
		pause();
}

/* ---- the client ---- */

struct client;

struct caller {
	struct client *client;
	nng_ctx ctx;
	nng_aio *aio;
	nng_msg *msg; /* reused for every call */
	bool sending;
	struct keys_choice choice;
	int64_t from_ns;
};

struct client {
	const struct flags *flags;
	struct keys keys;
	struct measure measure;
	struct caller *callers;
	_Atomic bool stopped;
	pthread_mutex_t mutex;
	pthread_cond_t changed;
	unsigned active;
};

static bool
is_verifying(const struct client *client)
{
	return client->keys.n > 0;
}

static void
caller_begin(struct caller *c, int64_t now_ns)
{
	size_t len = c->client->flags->request_bytes;
	uint8_t request[VERIFY_BYTES_MAX];

	c->from_ns = now_ns;
	c->sending = true;
	if (is_verifying(c->client))
		len = verify_encode(keys_next(&c->choice), request);
	nng_msg_clear(c->msg);
	if (nng_msg_realloc(c->msg, len) != 0)
		abort();
	if (is_verifying(c->client))
		memcpy(nng_msg_body(c->msg), request, len);
	else
		memset(nng_msg_body(c->msg), 'q', len);
	nng_aio_set_msg(c->aio, c->msg);
	nng_ctx_send(c->ctx, c->aio);
}

static void
caller_retire(struct client *client)
{
	pthread_mutex_lock(&client->mutex);
	if (--client->active == 0)
		client->stopped = true;
	pthread_cond_signal(&client->changed);
	pthread_mutex_unlock(&client->mutex);
}

static void
caller_record(const struct caller *c, int rv, int64_t now_ns)
{
	const struct client *client = c->client;
	struct recorder *r = recorder_mine();
	unsigned verdict = FOB_VERDICT_DENIED;
	int fault = FOB_EUNAVAILABLE;

	if (rv == 0 && is_verifying(client))
		fault = verify_decode(nng_msg_body(c->msg), nng_msg_len(c->msg), &verdict);
	else if (rv == 0)
		fault = nng_msg_len(c->msg) == client->flags->reply_bytes ? 0 : FOB_EINTERNAL;
	if (fault != 0 || !is_verifying(client))
		measure_fault(&client->measure, r, OP_VERIFY, c->from_ns, now_ns, fault, 1);
	else
		measure_verdict(
		    &client->measure, r, OP_VERIFY, c->from_ns, now_ns, verdict, verdict == FOB_VERDICT_VALID);
}

static void
caller_step(void *arg)
{
	struct caller *c = arg;
	int rv = nng_aio_result(c->aio);
	int64_t now_ns;

	if (rv == 0 && c->sending) {
		c->sending = false;
		nng_ctx_recv(c->ctx, c->aio);
		return;
	}
	now_ns = measure_now_ns();
	if (rv == 0)
		c->msg = nng_aio_get_msg(c->aio);
	caller_record(c, rv, now_ns);
	if (rv != 0 || measure_is_over(&c->client->measure, now_ns))
		caller_retire(c->client);
	else
		caller_begin(c, now_ns);
}

static void
open_client(struct client *client)
{
	const struct flags *f = client->flags;
	nng_socket *sockets = calloc(f->sockets, sizeof(*sockets));
	struct caller *c;
	unsigned i;

	if (sockets == NULL || (client->callers = calloc(f->callers, sizeof(client->callers[0]))) == NULL)
		flags_fail("out of memory");
	for (i = 0; i < f->sockets; i++) {
		check(nng_req0_open(&sockets[i]), "a socket");
		check(nng_socket_set_ms(sockets[i], NNG_OPT_REQ_RESENDTIME, NNG_DURATION_INFINITE), "a socket");
		check(nng_dial(sockets[i], f->address, NULL, 0), f->address);
	}
	for (i = 0; i < f->callers; i++) {
		c = &client->callers[i];
		c->client = client;
		if (is_verifying(client))
			keys_choose(&c->choice, &client->keys, 0, (uint64_t)measure_now_ns() + i);
		check(nng_ctx_open(&c->ctx, sockets[i % f->sockets]), "a context");
		check(nng_aio_alloc(&c->aio, caller_step, c), "an aio");
		nng_aio_set_timeout(c->aio, TIMEOUT_MS);
		check(nng_msg_alloc(&c->msg, 256), "a message");
	}
	free(sockets);
}

static int
run(const struct flags *f, pid_t server)
{
	struct client client = { .flags = f, .mutex = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER };
	struct report r = { .tool = f->keys != NULL ? "nng-verify" : "nng-echo",
		.address = f->address,
		.callers = f->callers,
		.sockets = f->sockets,
		.batch = 1,
		.unit = { [OP_VERIFY] = f->keys != NULL ? "verify" : "echo" } };
	char why[512];
	unsigned i;

	if (f->keys != NULL && keys_load(f->keys, &client.keys, why, sizeof(why)) != 0)
		flags_fail("%s", why);
	r.keys = client.keys.n;
	open_client(&client);
	measure_start(&client.measure, f->run.warmup_s, f->run.duration_s, f->run.quiet);
	if (f->callers == 1)
		measure_count_switches(&client.measure, server);
	client.active = f->callers;
	for (i = 0; i < f->callers; i++)
		caller_begin(&client.callers[i], measure_now_ns());
	measure_watch(&client.measure, &client.stopped);
	pthread_mutex_lock(&client.mutex);
	while (client.active > 0)
		pthread_cond_wait(&client.changed, &client.mutex);
	pthread_mutex_unlock(&client.mutex);
	keys_fini(&client.keys);
	return report_finish(&r, &f->run, &client.measure);
}

/* ---- flags ---- */

enum { FLAG_VERIFY = FLAGS_OWN, FLAG_REQUEST, FLAG_REPLY };

static const struct option options[] = { { "address", required_argument, NULL, 'a' },
	{ "verify", required_argument, NULL, FLAG_VERIFY }, { "sockets", required_argument, NULL, 's' },
	{ "callers", required_argument, NULL, 'c' }, { "request-bytes", required_argument, NULL, FLAG_REQUEST },
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
	case 's':
		f->sockets = flags_number("sockets", optarg, 1, 1024);
		break;
	case 'c':
		f->callers = flags_number("callers", optarg, 1, 65536);
		break;
	case FLAG_REQUEST:
		f->request_bytes = flags_number("request-bytes", optarg, 1, MESSAGE_MAX);
		break;
	case FLAG_REPLY:
		f->reply_bytes = flags_number("reply-bytes", optarg, 1, MESSAGE_MAX);
		break;
	default:
		flags_run(c, &f->run, usage);
	}
}

int
main(int argc, char *argv[])
{
	struct flags f = { .run = { .warmup_s = 1, .duration_s = 10 },
		.sockets = 1,
		.callers = 16,
		.request_bytes = 80,
		.reply_bytes = 90 };
	pid_t server = 0;
	int c, rc;

	if (program_begin() != 0)
		return 1;
	while ((c = getopt_long(argc, argv, "a:s:c:" FLAGS_RUN_SHORT, options, NULL)) != -1)
		flag(c, &f);
	if (f.address == NULL || optind < argc)
		flags_fail("see nng-echo --help");
	measure_block_signals();
	if (f.keys == NULL)
		server = server_start(serve, &f);
	rc = run(&f, server);
	if (server > 0) {
		server_stop(server);
		if (strncmp(f.address, "ipc://", 6) == 0)
			unlink(f.address + 6);
	}
	/* Past nng's own end, which may wait for ever on 1.5.2: the process and its sockets end here anyway. */
	fflush(stdout);
	_exit(rc);
}
