/*
 * in_process.c - the program in-process: how long fobd's own code takes for a VerifyKey, from the request's bytes to the
 * reply's, on one core and without a socket. It opens the databases of a configuration that no fobd serves.
 *
 * --pass N: the requests of so many keys are there at once, as when one read of a socket brought them. Their lookups are
 * interleaved; with 1 none is. Run it under `valgrind --tool=callgrind --toggle-collect=run_pass` to count instructions.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <sodium.h>

#include "service/base/clock.h"
#include "service/base/log.h"
#include "service/rpc/dispatch.h"
#include "tests/load/flags.h"
#include "tests/load/keys.h"
#include "tests/load/rng.h"
#include "tests/load/verify_bytes.h"

#define PASS_MAX 256
#define READERS 4
#define CHUNK 4096 /* requests between two readings of the clock */

static const char usage[] = "Usage: in-process --config FILE --keys FILE [--pass N] [--count N]\n"
			    "\n"
			    "      --config FILE   fobd's, whose databases are used\n"
			    "      --keys FILE     secrets, one a line, as fob-load --setup writes them\n"
			    "      --pass N        requests at once, 1 to 256 (16)\n"
			    "      --count N       requests in all (1000000)\n";

struct flags {
	const char *config, *keys;
	size_t pass, count;
};

struct request {
	uint8_t bytes[VERIFY_BYTES_MAX];
	size_t len;
};

static size_t valid, replies;

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

__attribute__((noinline)) static void
run_pass(struct worker *worker, const struct request *requests, size_t n)
{
	static const struct peer peer;
	struct origin origin = { .role = ROLE_VERIFY, .peer = &peer };
	int64_t now_ms = clock_boot_ms();

	for (size_t i = 0; i < n; i++)
		dispatch(worker, &origin, requests[i].bytes, requests[i].len, now_ms);
	dispatch_end(worker);
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

	/* The first time that a page of the database is used it is mapped, which takes longer than a verify. */
	for (size_t i = 0; i < keys->n; i++) {
		requests[0].len = verify_encode(keys->secrets[i], requests[0].bytes);
		run_pass(worker, requests, 1);
	}
	valid = replies = 0;
	keys_choose(&choice, keys, 0, 1);
	while (replies < f->count) {
		for (size_t i = 0; i < CHUNK; i++)
			requests[i].len = verify_encode(keys_next(&choice), requests[i].bytes);
		from_ns = processor_ns();
		for (size_t i = 0; i < CHUNK; i += f->pass)
			run_pass(worker, requests + i, CHUNK - i < f->pass ? CHUNK - i : f->pass);
		spent_ns += processor_ns() - from_ns;
	}
	printf("pass=%zu keys=%zu replies=%zu valid=%zu ns=%.0f\n", f->pass, keys->n, replies, valid,
	    (double)spent_ns / (double)replies);
}

enum { FLAG_CONFIG = FLAGS_OWN, FLAG_KEYS, FLAG_PASS, FLAG_COUNT };

static const struct option options[] = { { "config", required_argument, NULL, FLAG_CONFIG },
	{ "keys", required_argument, NULL, FLAG_KEYS }, { "pass", required_argument, NULL, FLAG_PASS },
	{ "count", required_argument, NULL, FLAG_COUNT }, { NULL, 0, NULL, 0 } };

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
