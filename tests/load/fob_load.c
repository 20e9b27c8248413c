/*
 * fob_load.c - the program fob-load: flags, keys, one run, its report. No secret is ever an argument or printed.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "proto/c/program.h"
#include "tests/load/flags.h"
#include "tests/load/keys.h"
#include "tests/load/load.h"
#include "tests/load/report.h"

#define WHY_LEN 512

static const char usage[] =
    "Usage: fob-load --address URL --keys FILE [OPTION...]\n"
    "       fob-load --admin-address URL --setup N --keys FILE [--address URL] [OPTION...]\n"
    "\n"
    "Put load on a running fobd, through libfob, and report how fast it answers.\n"
    "\n"
    "Where and with what:\n"
    "  -a, --address URL        ipc://PATH, tcp://HOST:PORT or tls+tcp://HOST:PORT of a verify listener\n"
    "      --admin-address URL  of an admin listener: for rolls and --setup\n"
    "  -k, --keys FILE          secrets, one a line; brought up to date when keys were rolled\n"
    "      --setup N            first make N accounts and put their 2 N secrets into the new file of --keys (0600)\n"
    "      --environment E      of those accounts: live (default) or test\n"
    "      --tls-ca FILE, --tls-cert FILE, --tls-key FILE   PEM files for tls+tcp://\n"
    "\n"
    "Closed loop (each caller waits for its answer before it asks again):\n"
    "  -c, --callers N          N asynchronous calls in flight; default 16\n"
    "  -t, --threads N          instead: N threads with a synchronous call each\n"
    "Open loop (calls begin at a rate; latency counts from when a call should have begun):\n"
    "  -r, --rate R             R calls a second; --callers N is then the most outstanding, default 1024\n"
    "\n"
    "What kind of load:\n"
    "  -m, --mix MIX            such as verify=90,roll=5,bad=5; default verify\n"
    "  -o, --operation NAME     ask for this operation; by default a key is only authenticated\n"
    "  -b, --batch N            N keys to a message (VerifyKeys), 1 to 256; default 1. Each key counts as a call\n"
    "  -s, --sockets N          clients of libfob to spread the calls over; default 1\n"
    "      --in-flight N        calls on the wire per client, 1 to 64; default: its share of the callers\n"
    "      --roll-keys N        so many of the keys are rolled, and not verified; default 1024, at most half of them\n"
    "      --roll-grace S       for rolled keys, 0 to 86400 seconds; default 0. At most 8 of a slot can be in grace\n"
    "      --timeout MS         of each call; default 5000\n"
    "\n"
    "How long, and what to report:\n" FLAGS_RUN_USAGE("1",
	"10; 0: none, with --setup") "      --count-switches PID  count thread switches to a call, of this process and of the fobd with this PID\n"
				     "      --version, -h, --help\n"
				     "\n"
				     "Exit status: 0 all went as expected; 1 usage or a local fault; 2 some calls failed; 3 some verdicts were not what\n"
				     "these keys should get; 4 the rate was not met. Ctrl-C ends the measuring and reports what there is.\n";

struct flags {
	struct load_config load;
	const char *keys;
	size_t setup;
	enum fob_environment environment;
	unsigned callers, threads;
};

enum {
	FLAG_ADMIN = FLAGS_OWN,
	FLAG_SETUP,
	FLAG_ENVIRONMENT,
	FLAG_TLS_CA,
	FLAG_TLS_CERT,
	FLAG_TLS_KEY,
	FLAG_IN_FLIGHT,
	FLAG_ROLL_KEYS,
	FLAG_ROLL_GRACE,
	FLAG_TIMEOUT,
	FLAG_SWITCHES,
	FLAG_VERSION
};

static const struct option options[] = { { "address", required_argument, NULL, 'a' },
	{ "admin-address", required_argument, NULL, FLAG_ADMIN }, { "keys", required_argument, NULL, 'k' },
	{ "setup", required_argument, NULL, FLAG_SETUP }, { "environment", required_argument, NULL, FLAG_ENVIRONMENT },
	{ "tls-ca", required_argument, NULL, FLAG_TLS_CA }, { "tls-cert", required_argument, NULL, FLAG_TLS_CERT },
	{ "tls-key", required_argument, NULL, FLAG_TLS_KEY }, { "callers", required_argument, NULL, 'c' },
	{ "threads", required_argument, NULL, 't' }, { "rate", required_argument, NULL, 'r' },
	{ "mix", required_argument, NULL, 'm' }, { "operation", required_argument, NULL, 'o' },
	{ "batch", required_argument, NULL, 'b' }, { "sockets", required_argument, NULL, 's' },
	{ "in-flight", required_argument, NULL, FLAG_IN_FLIGHT },
	{ "roll-keys", required_argument, NULL, FLAG_ROLL_KEYS },
	{ "roll-grace", required_argument, NULL, FLAG_ROLL_GRACE },
	{ "timeout", required_argument, NULL, FLAG_TIMEOUT },
	{ "count-switches", required_argument, NULL, FLAG_SWITCHES }, { "version", no_argument, NULL, FLAG_VERSION },
	FLAGS_RUN_LONG, { NULL, 0, NULL, 0 } };

/* ---- flags ---- */

static enum fob_environment
environment(const char *text)
{
	if (strcmp(text, "live") == 0)
		return FOB_ENVIRONMENT_LIVE;
	if (strcmp(text, "test") == 0)
		return FOB_ENVIRONMENT_TEST;
	flags_fail("--environment %s: live or test", text);
}

static void
flag_mix(struct mix *mix)
{
	char why[WHY_LEN];

	if (mix_parse(optarg, mix, why, sizeof(why)) != 0)
		flags_fail("--mix: %s", why);
}

static void
flag_where(int c, struct flags *f)
{
	switch (c) {
	case 'a':
		f->load.address = optarg;
		break;
	case FLAG_ADMIN:
		f->load.admin_address = optarg;
		break;
	case 'k':
		f->keys = optarg;
		break;
	case FLAG_SETUP:
		f->setup = flags_number("setup", optarg, 1, KEYS_MAX / 2);
		break;
	case FLAG_ENVIRONMENT:
		f->environment = environment(optarg);
		break;
	case FLAG_TLS_CA:
		f->load.tls_ca = optarg;
		break;
	case FLAG_TLS_CERT:
		f->load.tls_cert = optarg;
		break;
	case FLAG_TLS_KEY:
		f->load.tls_key = optarg;
		break;
	case FLAG_VERSION:
		printf("fob-load %s\n", fob_version());
		exit(0);
	default:
		flags_run(c, &f->load.run, usage);
	}
}

static void
flag(int c, struct flags *f)
{
	switch (c) {
	case 'c':
		f->callers = flags_number("callers", optarg, 1, LOAD_CALLERS_MAX);
		break;
	case 't':
		f->threads = flags_number("threads", optarg, 1, 4096);
		break;
	case 'r':
		f->load.rate = flags_real("rate", optarg, 0.1, 1e8);
		break;
	case 'm':
		flag_mix(&f->load.mix);
		break;
	case 'o':
		f->load.operation = optarg;
		break;
	case 'b':
		f->load.batch = flags_number("batch", optarg, 1, FOB_BATCH_MAX);
		break;
	case 's':
		f->load.sockets = flags_number("sockets", optarg, 1, LOAD_SOCKETS_MAX);
		break;
	case FLAG_IN_FLIGHT:
		f->load.in_flight = flags_number("in-flight", optarg, 1, 64);
		break;
	case FLAG_ROLL_KEYS:
		f->load.roll_keys = flags_number("roll-keys", optarg, 1, 1000000);
		break;
	case FLAG_ROLL_GRACE:
		f->load.roll_grace_s = flags_number("roll-grace", optarg, 0, FOB_GRACE_MAX_S);
		break;
	case FLAG_TIMEOUT:
		f->load.timeout_ms = flags_number("timeout", optarg, 1, FOB_TIMEOUT_MAX_MS);
		break;
	case FLAG_SWITCHES:
		f->load.server = (pid_t)flags_number("count-switches", optarg, 1, INT32_MAX);
		break;
	default:
		flag_where(c, f);
	}
}

static void
check_address(const char *name, const char *address)
{
	struct fob_options *o;

	if (address == NULL)
		return;
	if ((o = fob_options_new()) == NULL)
		flags_fail("out of memory");
	if (fob_options_set_address(o, address) != 0)
		flags_fail(
		    "--%s %s: ipc://PATH of at most 107 bytes, tcp://HOST:PORT or tls+tcp://HOST:PORT", name, address);
	fob_options_free(o);
}

/* What fits together, once all is known. */
static void
flags_check(struct flags *f)
{
	const struct mix *mix = &f->load.mix;

	if (f->keys == NULL)
		flags_fail("--keys FILE: which keys? See fob-load --help");
	if (f->threads > 0 && f->callers > 0)
		flags_fail("--callers and --threads exclude each other: asynchronous calls, or threads that wait");
	f->load.synchronous = f->threads > 0;
	f->load.callers = f->threads > 0 ? f->threads : f->callers > 0 ? f->callers : f->load.rate > 0 ? 1024 : 16;
	if (f->load.sockets > f->load.callers)
		flags_fail("--sockets %u: more than there are callers", f->load.sockets);
	check_address("address", f->load.address);
	check_address("admin-address", f->load.admin_address);
	if (f->load.admin_address == NULL && (f->setup > 0 || mix->weights[OP_ROLL] > 0))
		flags_fail("--admin-address URL: needed for %s", f->setup > 0 ? "--setup" : "rolls");
	if (f->load.address == NULL)
		f->load.address = f->load.admin_address;
	if (f->load.address == NULL)
		flags_fail("--address URL: where does fobd listen?");
	if ((f->load.tls_cert == NULL) != (f->load.tls_key == NULL))
		flags_fail("--tls-cert and --tls-key go together");
	if (f->load.run.duration_s <= 0 && f->setup == 0)
		flags_fail("--duration 0: nothing to do without --setup");
}

static void
flags_parse(int argc, char *argv[], struct flags *f)
{
	int c;

	*f = (struct flags){ .load = { .timeout_ms = 5000,
				 .sockets = 1,
				 .batch = 1,
				 .roll_keys = 1024,
				 .run = { .warmup_s = 1, .duration_s = 10 },
				 .mix = { .weights = { [OP_VERIFY] = 1 }, .sum = 1 } },
		.environment = FOB_ENVIRONMENT_LIVE };
	while ((c = getopt_long(argc, argv, "a:k:c:t:r:m:o:b:s:" FLAGS_RUN_SHORT, options, NULL)) != -1)
		flag(c, f);
	/* Not repeated in the message: somebody may have given a secret. */
	if (optind < argc)
		flags_fail("an argument that is no flag: see fob-load --help");
	flags_check(f);
}

/* ---- the run ---- */

static void
get_keys(const struct flags *f, struct keys *keys)
{
	char why[WHY_LEN], why_not_saved[WHY_LEN];
	struct stat st;
	int rc;

	if (f->setup == 0) {
		if (keys_load(f->keys, keys, why, sizeof(why)) != 0)
			flags_fail("%s", why);
		if (stat(f->keys, &st) == 0 && (st.st_mode & 077) != 0)
			fprintf(stderr, "fob-load: %s: others can read these secrets; chmod 600 it\n", f->keys);
		return;
	}
	if (lstat(f->keys, &st) == 0)
		flags_fail("%s: there already; --setup makes a new file", f->keys);
	rc = setup_accounts(&f->load, f->environment, f->setup, keys, why, sizeof(why));
	/* Those that were made cannot be shown again, so they are kept in any case. */
	if (keys->n > 0 && keys_save(f->keys, keys, why_not_saved, sizeof(why_not_saved)) != 0) {
		fprintf(stderr, "fob-load: %s\n", why_not_saved);
		rc = -1;
	} else if (rc != 0) {
		fprintf(stderr, "fob-load: %s\n", why);
	}
	if (rc == 0)
		return;
	keys_fini(keys);
	exit(2);
}

static int
report(const struct flags *f, const struct load_outcome *outcome, const struct keys *keys)
{
	struct report r = { .tool = "fob-load",
		.address = f->load.address,
		.synchronous = f->load.synchronous,
		.callers = f->load.callers,
		.sockets = f->load.sockets,
		.batch = f->load.batch,
		.keys = keys->n,
		.rate = f->load.rate,
		.rate_met = outcome->rate_met,
		.not_sent = outcome->not_sent };
	unsigned op;

	for (op = 0; op < OPS; op++)
		r.unit[op] = f->load.mix.weights[op] > 0 ? op_name((enum op)op) : NULL;
	return report_finish(&r, &f->load.run, &outcome->measure);
}

static int
measure(const struct flags *f, struct keys *keys)
{
	struct load_outcome outcome;
	char why[WHY_LEN];
	int rc;

	if (load_run(&f->load, keys, &outcome, why, sizeof(why)) != 0) {
		fprintf(stderr, "fob-load: %s\n", why);
		return 2;
	}
	rc = report(f, &outcome, keys);
	if (outcome.rolled && keys_save(f->keys, keys, why, sizeof(why)) != 0) {
		fprintf(stderr, "fob-load: rolled keys are lost: %s\n", why);
		rc = 1;
	}
	return rc == 0 && f->load.rate > 0 && !outcome.rate_met ? 4 : rc;
}

int
main(int argc, char *argv[])
{
	struct keys keys = { 0 };
	struct flags f;
	int rc = 0;

	if (program_begin() != 0)
		return 1;
	flags_parse(argc, argv, &f);
	measure_block_signals();
	get_keys(&f, &keys);
	if (f.load.run.duration_s > 0)
		rc = measure(&f, &keys);
	keys_fini(&keys);
	return rc;
}
