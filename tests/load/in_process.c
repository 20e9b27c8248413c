/*
 * in_process.c - the program in-process: how long fobd's own code takes for a VerifyKey, from the request's bytes to the
 * reply's, on one core and without a socket. It opens the databases of a configuration that no fobd serves.
 *
 * --pass N: the requests of so many keys are there at once, as when one read of a socket brought them; with --batch they are
 * the items of one VerifyKeys. Their lookups are interleaved; with 1 none is. To count instructions, run it under
 * `valgrind --tool=callgrind --toggle-collect=run_pass`.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <sodium.h>

#include "fob/rpc/v1/rpc.pb-c.h"
#include "fob/v1/keys.pb-c.h"
#include "service/base/clock.h"
#include "service/base/log.h"
#include "service/rpc/dispatch.h"
#include "tests/load/flags.h"
#include "tests/load/keys.h"
#include "tests/load/rng.h"
#include "tests/load/verify_bytes.h"

#define PASS_MAX 256
#define READERS 4
#define BATCH_METHOD "fob.v1.Keys/VerifyKeys"
#define METHOD_END (2 + sizeof("fob.v1.Keys/VerifyKey") - 1) /* in what verify_encode() writes */
#define CHUNK 4096                                           /* requests between two readings of the clock */

static const char usage[] = "Usage: in-process --config FILE --keys FILE [--pass N] [--batch] [--count N]\n"
			    "\n"
			    "      --config FILE   fobd's, whose databases are used\n"
			    "      --keys FILE     secrets, one a line, as fob-load --setup writes them\n"
			    "      --pass N        requests at once, a power of two, at most 256 (16)\n"
			    "      --batch         ask for them in one VerifyKeys\n"
			    "      --count N       keys in all (1000000)\n";

struct flags {
	const char *config, *keys;
	size_t pass, count;
	bool batch;
};

struct request {
	uint8_t bytes[VERIFY_BYTES_MAX];
	size_t len;
};

static size_t valid, replies;
static uint8_t last[64 * 1024]; /* reply */
static size_t last_len;

static _Noreturn void
fail(const char *why)
{
	fprintf(stderr, "in-process: %s\n", why);
	exit(1);
}

static void
take_reply(const struct origin *origin, const uint8_t *bytes, size_t len, bool admitted)
{
	unsigned verdict;

	(void)origin;
	(void)admitted;
	replies++;
	if (verify_decode(bytes, len, &verdict) == 0 && verdict == 1)
		valid++;
	if (len > sizeof(last))
		fail("a reply is too long");
	memcpy(last, bytes, len);
	last_len = len;
}

static const struct transport_ops transport = { .reply = take_reply };

static void
open_service(const char *path, struct service *service)
{
	static struct config config;
	char why[512] = "";

	if (sodium_init() < 0 || config_load(path, &config, why, sizeof(why)) != 0)
		fail(why);
	pthread_mutex_init(&service->mutex, NULL);
	service->config = &config;
	service->transport = &transport;
	for (int e = 0; e < ENVIRONMENTS; e++) {
		struct engine *engine = NULL;

		if (config.environments[e].configured &&
		    engine_open(&config, (enum environment)e, READERS, &engine, why, sizeof(why)) != 0)
			fail(why);
		service->engines[e] = engine;
	}
}

static const struct peer peer;
static const struct origin from = { .role = ROLE_VERIFY, .peer = &peer };

__attribute__((noinline, noclone)) static void
run_pass(struct worker *worker, const struct request *requests, size_t n)
{
	int64_t now_ns = clock_boot_ns();

	for (size_t i = 0; i < n; i++)
		dispatch(worker, &from, requests[i].bytes, requests[i].len, now_ns);
	dispatch_end(worker);
}

__attribute__((noinline, noclone)) static void
run_batch(struct worker *worker, const uint8_t *bytes, size_t len)
{
	dispatch(worker, &from, bytes, len, clock_boot_ns());
}

/* One VerifyKeys of the ${n} keys of ${requests}, whose bodies are its items. */
static void
make_batch(const struct request *requests, size_t n, uint8_t **bytes, size_t *len)
{
	static uint8_t body[PASS_MAX * VERIFY_BYTES_MAX], envelope[sizeof(body) + VERIFY_BYTES_MAX];
	Fob__Rpc__V1__Request request = FOB__RPC__V1__REQUEST__INIT;
	size_t at = 0;

	for (size_t i = 0; i < n; i++) {
		size_t item = requests[i].bytes[METHOD_END + 1];

		body[at++] = 0x0a;
		memcpy(body + at, requests[i].bytes + METHOD_END + 1, 1 + item);
		at += 1 + item;
	}
	request.method = (ProtobufCBinaryData){ .data = (uint8_t *)BATCH_METHOD, .len = strlen(BATCH_METHOD) };
	request.body = (ProtobufCBinaryData){ .data = body, .len = at };
	*len = fob__rpc__v1__request__pack(&request, envelope);
	*bytes = envelope;
}

static void
check_batch(size_t n)
{
	Fob__Rpc__V1__Response *response = fob__rpc__v1__response__unpack(NULL, last_len, last);
	Fob__V1__VerifyKeysResponse *batch =
	    fob__v1__verify_keys_response__unpack(NULL, response->body.len, response->body.data);

	for (size_t i = 0; i < batch->n_items && batch->n_items == n; i++)
		valid += batch->items[i]->result != NULL && batch->items[i]->result->verdict == FOB__V1__VERDICT__VALID;
	replies += n - 1;
	fob__v1__verify_keys_response__free_unpacked(batch, NULL);
	fob__rpc__v1__response__free_unpacked(response, NULL);
}

static int64_t
processor_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
	return ts.tv_sec * INT64_C(1000000000) + ts.tv_nsec;
}

static void
run(const struct flags *f, struct worker *worker, const struct keys *keys)
{
	static struct request requests[CHUNK];
	int64_t from_ns, spent_ns = 0;
	struct keys_choice choice;
	uint8_t *batch;
	size_t len;

	/* The first time that a page of the database is used it is mapped, which takes longer than a verify. */
	for (size_t i = 0; i < keys->n; i++) {
		requests[0].len = verify_encode(keys->secrets[i], requests[0].bytes);
		dispatch(worker, &from, requests[0].bytes, requests[0].len, clock_boot_ns());
		dispatch_end(worker);
	}
	valid = replies = 0;
	keys_choose(&choice, keys, 0, 1);
	while (replies < f->count) {
		for (size_t i = 0; i < CHUNK; i++)
			requests[i].len = verify_encode(keys_next(&choice), requests[i].bytes);
		for (size_t i = 0; i < CHUNK && f->batch; i += f->pass) {
			make_batch(requests + i, f->pass, &batch, &len);
			from_ns = processor_ns();
			run_batch(worker, batch, len);
			spent_ns += processor_ns() - from_ns;
			check_batch(f->pass);
		}
		from_ns = processor_ns();
		for (size_t i = 0; i < CHUNK && !f->batch; i += f->pass)
			run_pass(worker, requests + i, f->pass);
		spent_ns += processor_ns() - from_ns;
	}
	printf("pass=%zu keys=%zu replies=%zu valid=%zu ns=%.0f\n", f->pass, keys->n, replies, valid,
	    (double)spent_ns / (double)replies);
}

enum { FLAG_CONFIG = FLAGS_OWN, FLAG_KEYS, FLAG_PASS, FLAG_COUNT, FLAG_BATCH };

static const struct option options[] = { { "config", required_argument, NULL, FLAG_CONFIG },
	{ "keys", required_argument, NULL, FLAG_KEYS }, { "pass", required_argument, NULL, FLAG_PASS },
	{ "count", required_argument, NULL, FLAG_COUNT }, { "batch", no_argument, NULL, FLAG_BATCH },
	{ NULL, 0, NULL, 0 } };

static void
flag(int c, struct flags *f)
{
	switch (c) {
	case FLAG_CONFIG:
		f->config = optarg;
		break;
	case FLAG_KEYS:
		f->keys = optarg;
		break;
	case FLAG_PASS:
		f->pass = flags_number("pass", optarg, 1, PASS_MAX);
		break;
	case FLAG_COUNT:
		f->count = flags_number("count", optarg, 1, UINT32_MAX);
		break;
	case FLAG_BATCH:
		f->batch = true;
		break;
	default:
		fputs(usage, stderr);
		exit(1);
	}
}

int
main(int argc, char *argv[])
{
	struct flags f = { .pass = 16, .count = 1000000 };
	struct service service = { 0 };
	struct keys keys = { 0 };
	struct worker worker;
	char why[512];
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1)
		flag(c, &f);
	if (f.config == NULL || f.keys == NULL)
		fail("give --config and --keys");
	if (CHUNK % f.pass != 0)
		fail("--pass: a power of two");
	if (keys_load(f.keys, &keys, why, sizeof(why)) != 0)
		fail(why);
	open_service(f.config, &service);
	if (worker_init(&worker, &service) != 0)
		fail("out of memory");
	run(&f, &worker, &keys);
	worker_fini(&worker);
	for (int e = 0; e < ENVIRONMENTS; e++)
		engine_close(service.engines[e]);
	keys_fini(&keys);
	return valid == replies ? 0 : 1;
}
