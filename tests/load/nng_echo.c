/*
 * nng_echo.c - the program nng-echo: the transport's own speed, which no verify can pass that has a message to itself.
 *
 * A bare nng REP server, in a child process, answers requests of a verify's size with replies of a verify's size; a
 * bare REQ client keeps calls in flight and measures as fob-load does. With --verify the same client asks a running
 * fobd instead: what the daemon costs, without libfob. Knows the wire as proto/PROTOCOL.md has it; uses libfob only for
 * names and wiping.
 */
#include <assert.h>
#include <errno.h>
#include <getopt.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <nng/nng.h>
#include <nng/protocol/reqrep0/rep.h>
#include <nng/protocol/reqrep0/req.h>

#include "tests/load/flags.h"
#include "tests/load/keys.h"
#include "tests/load/measure.h"
#include "tests/load/report.h"
#include "tests/load/rng.h"

#define MESSAGE_MAX 65536
#define SERVER_CONTEXTS 256 /* fobd's default for a verify listener */
#define METHOD "fob.v1.Keys/VerifyKey"

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
    "      --reply-bytes N    default 90\n"
    "      --contexts N       of the server; default 256, as fobd\n"
    "  -w, --warmup S         default 1\n"
    "  -d, --duration S       default 10\n"
    "  -l, --label TEXT       a name for this run\n"
    "      --json FILE        write the results; -: to standard output, in place of the table\n"
    "  -q, --quiet            no progress on standard error\n"
    "\n"
    "Exit status: 0, 1 usage or a local fault, 2 a call failed, 3 a verdict other than VALID.\n";

struct flags {
	const char *address, *keys, *label, *json;
	unsigned sockets, callers, contexts;
	size_t request_bytes, reply_bytes;
	double warmup_s, duration_s;
	bool quiet;
};

static void
check(int rv, const char *what)
{
	if (rv == 0)
		return;
	fprintf(stderr, "nng-echo: %s: %s\n", what, nng_strerror(rv));
	exit(1);
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

__attribute__((noreturn)) static void
serve(const struct flags *f, int ready)
{
	struct echo *echoes = calloc(f->contexts, sizeof(*echoes));
	nng_socket socket;
	unsigned i;

	if (echoes == NULL)
		abort();
	check(nng_rep0_open(&socket), "the server's socket");
	for (i = 0; i < f->contexts; i++) {
		echoes[i].reply_bytes = f->reply_bytes;
		check(nng_ctx_open(&echoes[i].ctx, socket), "a context");
		check(nng_aio_alloc(&echoes[i].aio, echo_step, &echoes[i]), "an aio");
		nng_ctx_recv(echoes[i].ctx, echoes[i].aio);
	}
	check(nng_listen(socket, f->address, NULL, 0), f->address);
	if (write(ready, "", 1) != 1)
		abort();
	close(ready);
	for (;;)
		pause();
}

/* The server in a process of its own, as fobd is; it ends with this one. Returns when it listens. */
static pid_t
start_server(const struct flags *f)
{
	int fds[2];
	pid_t pid;
	char byte;

	if (pipe(fds) != 0 || (pid = fork()) < 0) {
		perror("nng-echo");
		exit(1);
	}
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL, 0UL, 0UL, 0UL);
		close(fds[0]);
		serve(f, fds[1]);
	}
	close(fds[1]);
	if (read(fds[0], &byte, 1) != 1) /* it has said why */
		exit(1);
	close(fds[0]);
	return pid;
}

/* ---- the client ---- */

struct client;

struct caller {
	struct client *client;
	nng_ctx ctx;
	nng_aio *aio;
	nng_msg *msg; /* reused for every call */
	bool sending;
	struct rng rng;
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

/* fob.rpc.v1.Request { method, body: VerifyKeyRequest { secret } }: lengths are below 128, so a byte each. */
static size_t
encode_verify(const char *secret, uint8_t *to)
{
	size_t method_len = strlen(METHOD), len = strlen(secret);
	uint8_t *p = to;

	*p++ = 0x0a;
	*p++ = (uint8_t)method_len;
	memcpy(p, METHOD, method_len);
	p += method_len;
	*p++ = 0x12;
	*p++ = (uint8_t)(len + 2);
	*p++ = 0x0a;
	*p++ = (uint8_t)len;
	memcpy(p, secret, len);
	return (size_t)(p + len - to);
}

/*
 * Response { code absent: OK, body: VerifyKeyResponse { verdict first } }, or { code first }. Returns the code, 0 with
 * the verdict in *${verdict}.
 */
static unsigned
decode_verify(nng_msg *msg, unsigned *verdict)
{
	const uint8_t *p = nng_msg_body(msg);
	size_t len = nng_msg_len(msg);

	*verdict = 0;
	if (len >= 2 && p[0] == 0x08)
		return p[1];
	if (len >= 4 && p[0] == 0x1a && p[2] == 0x08)
		*verdict = p[3];
	return 0;
}

static void
caller_begin(struct caller *c, int64_t now_ns)
{
	const struct keys *keys = &c->client->keys;
	uint8_t bytes[256];
	size_t len = c->client->flags->request_bytes;
	const void *from = NULL;

	c->from_ns = now_ns;
	c->sending = true;
	if (keys->n > 0) {
		len = encode_verify(keys->secrets[rng_below(&c->rng, keys->n)], bytes);
		from = bytes;
	}
	nng_msg_clear(c->msg);
	if (nng_msg_realloc(c->msg, len) != 0)
		abort();
	if (from != NULL)
		memcpy(nng_msg_body(c->msg), from, len);
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
caller_ended(struct caller *c, int rv)
{
	struct client *client = c->client;
	struct recorder *r = recorder_mine();
	int64_t now_ns = measure_now_ns();
	unsigned code = rv != 0 ? -FOB_EUNAVAILABLE : 0, verdict = 0;

	if (rv == 0 && client->keys.n > 0)
		code = decode_verify(c->msg, &verdict);
	measure_record(&client->measure, r, OP_VERIFY, c->from_ns, now_ns, code != 0, 1);
	if (measure_covers(&client->measure, c->from_ns)) {
		if (code != 0)
			recorder_count(&r->faults[code < RECORDER_FAULTS ? code : -FOB_EUNKNOWN], 1);
		else if (client->keys.n > 0)
			recorder_count(&r->verdicts[verdict < RECORDER_VERDICTS ? verdict : 0], 1);
	}
	if (code == 0 && client->keys.n > 0 && verdict != FOB_VERDICT_VALID)
		recorder_count(&r->unexpected, 1);
	if (rv != 0 || measure_is_over(&client->measure, now_ns))
		caller_retire(client);
	else
		caller_begin(c, now_ns);
}

static void
caller_step(void *arg)
{
	struct caller *c = arg;
	int rv = nng_aio_result(c->aio);

	if (rv == 0 && c->sending) {
		c->sending = false;
		nng_ctx_recv(c->ctx, c->aio);
		return;
	}
	if (rv == 0)
		c->msg = nng_aio_get_msg(c->aio);
	caller_ended(c, rv);
}

static void
open_client(struct client *client)
{
	const struct flags *f = client->flags;
	nng_socket *sockets = calloc(f->sockets, sizeof(*sockets));
	unsigned i;

	if (sockets == NULL || (client->callers = calloc(f->callers, sizeof(client->callers[0]))) == NULL)
		check(NNG_ENOMEM, "the client");
	for (i = 0; i < f->sockets; i++) {
		check(nng_req0_open(&sockets[i]), "a socket");
		check(nng_socket_set_ms(sockets[i], NNG_OPT_REQ_RESENDTIME, NNG_DURATION_INFINITE), "a socket");
		check(nng_dial(sockets[i], f->address, NULL, 0), f->address);
	}
	for (i = 0; i < f->callers; i++) {
		client->callers[i].client = client;
		client->callers[i].rng = rng_new((uint64_t)measure_now_ns() + i);
		check(nng_ctx_open(&client->callers[i].ctx, sockets[i % f->sockets]), "a context");
		check(nng_aio_alloc(&client->callers[i].aio, caller_step, &client->callers[i]), "an aio");
		nng_aio_set_timeout(client->callers[i].aio, 5000);
		check(nng_msg_alloc(&client->callers[i].msg, 256), "a message");
	}
	free(sockets);
}

static int
write_report(const struct client *client)
{
	const struct flags *f = client->flags;
	struct recorder *sum = calloc(1, sizeof(*sum));
	struct report r = { .tool = f->keys != NULL ? "nng-verify" : "nng-echo",
		.label = f->label,
		.address = f->address,
		.callers = f->callers,
		.sockets = f->sockets,
		.batch = 1,
		.keys = client->keys.n,
		.warmup_s = f->warmup_s,
		.duration_s = measure_duration_s(&client->measure),
		.interrupted = client->measure.interrupted,
		.unit = { [OP_VERIFY] = f->keys != NULL ? "verify" : "echo" },
		.sum = sum };

	if (sum == NULL)
		check(NNG_ENOMEM, "the report");
	recorder_sum(sum);
	if (report_write(&r, f->json, NULL) != 0)
		return 1;
	return sum->unexpected > 0 ? 3 : sum->failed > 0 ? 2 : 0;
}

static int
run(const struct flags *f)
{
	struct client client = { .flags = f, .mutex = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER };
	char why[512];
	unsigned i;

	if (f->keys != NULL && keys_load(f->keys, &client.keys, why, sizeof(why)) != 0) {
		fprintf(stderr, "nng-echo: %s\n", why);
		return 1;
	}
	open_client(&client);
	measure_start(&client.measure, f->warmup_s, f->duration_s, f->quiet);
	client.active = f->callers;
	for (i = 0; i < f->callers; i++)
		caller_begin(&client.callers[i], measure_now_ns());
	measure_watch(&client.measure, &client.stopped);
	pthread_mutex_lock(&client.mutex);
	while (client.active > 0)
		pthread_cond_wait(&client.changed, &client.mutex);
	pthread_mutex_unlock(&client.mutex);
	keys_fini(&client.keys);
	return write_report(&client);
}

/* ---- flags ---- */

enum { FLAG_VERIFY = 256, FLAG_REQUEST, FLAG_REPLY, FLAG_CONTEXTS, FLAG_JSON };

static const struct option options[] = { { "address", required_argument, NULL, 'a' },
	{ "verify", required_argument, NULL, FLAG_VERIFY }, { "sockets", required_argument, NULL, 's' },
	{ "callers", required_argument, NULL, 'c' }, { "request-bytes", required_argument, NULL, FLAG_REQUEST },
	{ "reply-bytes", required_argument, NULL, FLAG_REPLY }, { "contexts", required_argument, NULL, FLAG_CONTEXTS },
	{ "warmup", required_argument, NULL, 'w' }, { "duration", required_argument, NULL, 'd' },
	{ "label", required_argument, NULL, 'l' }, { "json", required_argument, NULL, FLAG_JSON },
	{ "quiet", no_argument, NULL, 'q' }, { "help", no_argument, NULL, 'h' }, { NULL, 0, NULL, 0 } };

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
	case FLAG_CONTEXTS:
		f->contexts = flags_number("contexts", optarg, 1, 4096);
		break;
	case 'w':
		f->warmup_s = flags_real("warmup", optarg, 0, 86400);
		break;
	case 'd':
		f->duration_s = flags_real("duration", optarg, 0.01, 86400);
		break;
	case 'l':
		f->label = optarg;
		break;
	case FLAG_JSON:
		f->json = optarg;
		break;
	case 'q':
		f->quiet = true;
		break;
	case 'h':
		fputs(usage, stdout);
		exit(0);
	default:
		flags_fail("see nng-echo --help");
	}
}

int
main(int argc, char *argv[])
{
	struct flags f = { .sockets = 1,
		.callers = 16,
		.contexts = SERVER_CONTEXTS,
		.request_bytes = 80,
		.reply_bytes = 90,
		.warmup_s = 1,
		.duration_s = 10 };
	pid_t server = 0;
	int c, rc;

	while ((c = getopt_long(argc, argv, "a:s:c:w:d:l:qh", options, NULL)) != -1)
		flag(c, &f);
	if (f.address == NULL || optind < argc)
		flags_fail("see nng-echo --help");
	measure_block_signals();
	if (f.keys == NULL)
		server = start_server(&f);
	rc = run(&f);
	if (server > 0) {
		kill(server, SIGKILL);
		waitpid(server, NULL, 0);
		if (strncmp(f.address, "ipc://", 6) == 0)
			unlink(f.address + 6);
	}
	/* Past nng's own end, which may wait for ever on 1.5.2: the process and its sockets end here anyway. */
	fflush(stdout);
	_exit(rc);
}
