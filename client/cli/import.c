/*
 * import.c - fob account import: accounts, and digests of their keys, from another system's export into fobd.
 * Lines are read one at a time, and the memory of a batch is reused: memory does not grow with the file.
 *
 * There is no state file. What was imported is "unchanged" the next time, so a run that was cut off is simply run
 * again.
 */
#include "client/cli/cli.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "client/cli/import_line.h"
#include "client/cli/import_seen.h"
#include "client/cli/out.h"
#include "client/cli/text.h"
#include "proto/c/monotonic.h"

#define BATCHES 16 /* on their way at once */
#define PROGRESS_MS 250

const char account_import_help[] = "Usage: fob account import [FILE] --environment live|test [--format ndjson|csv]\n"
				   "                          [--start-line N] [--continue-on-error] [--dry-run]\n"
				   "\n"
				   "Move here from another system: bring its accounts, and digests of the keys that\n"
				   "its users have, which go on working as they are. A key's digest is the SHA-256\n"
				   "of the whole key, prefix included, in hex; a file with a key itself in it is\n"
				   "refused. The first `fob key roll` turns an imported secret key into an ordinary\n"
				   "one. FILE is standard input if it is - or not given.\n"
				   "\n"
				   "NDJSON is one object a line; CSV starts with a line that names its columns, and\n"
				   "has commas, semicolons or tabs between them. A line is one account, or one key\n"
				   "of it; another line may bring its other key:\n"
				   "  account              1 to 64 characters of A-Z, a-z, 0-9, '.', '_' and '-'\n"
				   "  created_ms           milliseconds since 1970, UTC (default: now)\n"
				   "  secret_sha256, secret_last4\n"
				   "  publishable_sha256, publishable_last4\n"
				   "                       64 hex digits, and the 4 letters or digits by which people\n"
				   "                       are to call the key; or, with a key a line:\n"
				   "  kind, sha256, last4  kind is secret or publishable\n"
				   "\n"
				   "  --environment live|test  required: keys of one environment a file\n"
				   "  --format ndjson|csv      default: csv if FILE ends in .csv, else ndjson\n"
				   "  --start-line N           pass over the lines before N\n"
				   "  --continue-on-error      go on after a line that is refused, and tell of each\n"
				   "  --dry-run                send nothing, check every line by itself and against\n"
				   "                           those before it, and tell of each that would be\n"
				   "                           refused. What fobd has already is not looked at\n"
				   "\n"
				   "To go on after a failure run the same command again: what is there already is\n"
				   "left as it is. Exit code 1: a line was refused; 4: an account or a key is there\n"
				   "already, and not the same.\n"
				   "\n"
				   "Examples:\n"
				   "  fob account import --environment live accounts.ndjson\n"
				   "  zcat export.csv.gz | fob account import --environment test --format csv\n";

struct batch {
	struct import *import;
	bool busy; /* under the lock, until its callback has returned */
	uint64_t first_line;
	size_t n;
	struct import_line lines[FOB_IMPORT_MAX];
	uint64_t numbers[FOB_IMPORT_MAX];
	/* the callback's */
	bool answered;
	int fault;
	struct fob_error error;
	enum fob_import_outcome outcomes[FOB_IMPORT_MAX];
};

struct import {
	struct cli *cli;
	enum fob_environment env;
	const char *name; /* of the file, for messages */
	struct import_reader reader;
	struct import_seen seen; /* by a dry run */
	bool go_on, dry_run;
	uint64_t start_line;
	uint64_t size; /* of a file that has one; 0: unknown */

	uint64_t imported, unchanged, conflicts, refused;
	uint64_t failed_line; /* the first line of the first batch that got no answer; 0: none */
	int worst;            /* exit code */
	bool stop;
	bool stopped_at_line; /* because of a line that was refused */

	int64_t start_ms, shown_ms;
	bool show;

	pthread_mutex_t lock;
	pthread_cond_t wake;
	struct batch *batches;
};

/* ---- progress ---- */

static void
duration(int64_t s, char out[TEXT_TIME_SIZE])
{
	if (s >= 3600)
		snprintf(out, TEXT_TIME_SIZE, "%lldh%02lldm", (long long)(s / 3600), (long long)(s % 3600 / 60));
	else
		snprintf(out, TEXT_TIME_SIZE, "%lld:%02lld", (long long)(s / 60), (long long)(s % 60));
}

static void
progress(struct import *im)
{
	uint64_t done = im->imported + im->unchanged + im->conflicts + im->refused;
	int64_t at_ms = monotonic_ms(), spent_ms = at_ms - im->start_ms;
	double share = im->size > 0 ? (double)im->reader.offset / (double)im->size : 0;
	char left[TEXT_TIME_SIZE];

	if (!im->show || at_ms - im->shown_ms < PROGRESS_MS)
		return;
	im->shown_ms = at_ms;
	if (share > 0 && share <= 1) {
		duration((int64_t)((double)spent_ms / share * (1 - share)) / 1000, left);
		out_progress("%llu lines, %llu a second, %.0f%%, %s left", (unsigned long long)done,
		    (unsigned long long)(done * 1000 / (uint64_t)(spent_ms > 0 ? spent_ms : 1)), 100 * share, left);
	} else {
		out_progress("%llu lines, %llu a second", (unsigned long long)done,
		    (unsigned long long)(done * 1000 / (uint64_t)(spent_ms > 0 ? spent_ms : 1)));
	}
}

/* ---- what becomes of lines ---- */

static void
line_refused(struct import *im, uint64_t line, int code, const char *why)
{
	out_progress_clear();
	out_say("%s:%llu: %s", im->name, (unsigned long long)line, why);
	im->worst = cli_worse(im->worst, code);
	if (code == CLI_CONFLICT)
		im->conflicts++;
	else
		im->refused++;
	if (!im->go_on)
		im->stop = im->stopped_at_line = true;
}

static void
line_judged(struct import *im, uint64_t line, enum fob_import_outcome outcome)
{
	switch (outcome) {
	case FOB_IMPORT_OUTCOME_IMPORTED:
		im->imported++;
		break;
	case FOB_IMPORT_OUTCOME_UNCHANGED:
		im->unchanged++;
		break;
	case FOB_IMPORT_OUTCOME_ACCOUNT_CONFLICT:
		line_refused(im, line, CLI_CONFLICT,
		    im->dry_run ? "an earlier line gives the account another key of that kind" :
				  "the account is there already, with another key of that kind");
		break;
	case FOB_IMPORT_OUTCOME_KEY_CONFLICT:
		line_refused(im, line, CLI_CONFLICT,
		    im->dry_run ? "an earlier line gives the key to another account" :
				  "the key is there already, as another account's");
		break;
	case FOB_IMPORT_OUTCOME_BAD_TIME:
		line_refused(im, line, CLI_LOCAL, "created_ms is in the future");
		break;
	default:
		line_refused(im, line, CLI_LOCAL, "fobd refused it, for a reason that is not known here");
	}
}

/* Take what a batch brought, on the command's own thread; the batch is free afterwards. */
static void
batch_finish(struct import *im, struct batch *b)
{
	b->answered = false;
	if (b->fault != 0) {
		if (im->failed_line == 0) {
			out_progress_clear();
			im->worst = cli_worse(im->worst, cli_fault(im->cli, NULL, b->fault, &b->error));
		}
		if (im->failed_line == 0 || b->first_line < im->failed_line)
			im->failed_line = b->first_line;
		im->stop = true;
	}
	for (size_t i = 0; b->fault == 0 && i < b->n; i++)
		line_judged(im, b->numbers[i], b->outcomes[i]);
	b->n = 0;
}

static void
batch_answered(void *arg, int fault, const enum fob_import_outcome *outcomes, size_t n, const struct fob_error *error)
{
	struct batch *b = arg;
	struct import *im = b->import;

	pthread_mutex_lock(&im->lock);
	b->fault = fault;
	b->error = *error;
	memcpy(b->outcomes, outcomes, n * sizeof(*outcomes));
	b->busy = false;
	b->answered = true;
	pthread_cond_signal(&im->wake);
	pthread_mutex_unlock(&im->lock);
}

/* ---- batches ---- */

/* A batch that was answered, or none that is busy; NULL when all are. Under the lock. */
static struct batch *
batch_at_rest(struct import *im, bool answered)
{
	for (size_t i = 0; i < BATCHES; i++) {
		struct batch *b = &im->batches[i];

		if (!b->busy && b->answered == answered)
			return b;
	}
	return NULL;
}

static bool
any_busy(const struct import *im)
{
	for (size_t i = 0; i < BATCHES; i++)
		if (im->batches[i].busy)
			return true;
	return false;
}

/* Finish what was answered; wait for one to be if none is free, or, with ${all}, for every one. Returns a free one. */
static struct batch *
batch_free(struct import *im, bool all)
{
	struct batch *b, *rest;

	for (;;) {
		pthread_mutex_lock(&im->lock);
		while ((b = batch_at_rest(im, true)) == NULL && any_busy(im) &&
		    (all || batch_at_rest(im, false) == NULL)) {
			struct timespec until;

			clock_gettime(CLOCK_REALTIME, &until);
			until.tv_sec++;
			(void)pthread_cond_timedwait(&im->wake, &im->lock, &until);
		}
		rest = batch_at_rest(im, false);
		pthread_mutex_unlock(&im->lock);
		progress(im);
		if (b == NULL)
			return rest;
		batch_finish(im, b);
	}
}

static void
batch_send(struct import *im, struct batch *b)
{
	struct fob_import_account accounts[FOB_IMPORT_MAX];
	struct fob_error error;
	const struct fob_import_request request = { FOB_IMPORT_REQUEST_INIT, .environment = im->env,
		.accounts = accounts, .n = b->n };
	int rc;

	if (b->n == 0)
		return;
	for (size_t i = 0; i < b->n; i++)
		import_line_account(&b->lines[i], &accounts[i]);
	b->busy = true;
	/* Once it is taken, it may have been answered: the batch is the callback's. */
	rc = fob_import_accounts_async(im->cli->client, &request, batch_answered, b, NULL, &error);
	if (rc != 0) {
		b->busy = false;
		b->fault = rc;
		b->error = error;
		batch_finish(im, b);
	}
}

/* ---- all of it ---- */

/* What a dry run does with a line: what fobd would answer, as far as the file tells. Returns false to end it. */
static bool
line_try(struct import *im, const struct import_line *line)
{
	enum fob_import_outcome outcome = FOB_IMPORT_OUTCOME_BAD_TIME;
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	if (line->created_ms <= (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000 &&
	    import_seen_judge(&im->seen, line, &outcome) != 0) {
		out_progress_clear();
		out_say("out of memory");
		im->worst = CLI_LOCAL;
		im->stop = true;
		return false;
	}
	line_judged(im, im->reader.line, outcome);
	progress(im);
	return true;
}

/* Read a line into ${b}. Returns false at the end of the file, or when it cannot be read. */
static bool
take_line(struct import *im, struct batch *b)
{
	enum import_result rc;
	const char *why;

	rc = import_reader_next(&im->reader, &b->lines[b->n], &why);
	if (rc == IMPORT_END)
		return false;
	if (rc == IMPORT_FAILED) {
		out_progress_clear();
		out_say("%s: %s", im->name, why);
		im->worst = CLI_LOCAL;
		im->stop = true;
		return false;
	}
	if (im->reader.line < im->start_line || rc == IMPORT_NOTHING)
		return true;
	if (rc == IMPORT_REFUSED) {
		line_refused(im, im->reader.line, CLI_LOCAL, why);
	} else if (im->dry_run) {
		return line_try(im, &b->lines[b->n]);
	} else {
		if (b->n == 0)
			b->first_line = im->reader.line;
		b->numbers[b->n++] = im->reader.line;
	}
	return true;
}

static void
import_all(struct import *im)
{
	bool more = true;
	struct batch *b;

	while (more && !im->stop) {
		b = batch_free(im, false);
		while (b->n < FOB_IMPORT_MAX && !im->stop && (more = take_line(im, b)))
			;
		batch_send(im, b);
	}
	(void)batch_free(im, true);
	out_progress_clear();
}

static void
tell(const struct import *im)
{
	double seconds = (double)(monotonic_ms() - im->start_ms) / 1000;

	if (out_is_json()) {
		out_json(json_pack("{s:s, s:b, s:I, s:I, s:I, s:I, s:f}", "environment", fob_environment_name(im->env),
		    "dry_run", (int)im->dry_run, im->dry_run ? "sound" : "imported", (json_int_t)im->imported,
		    "unchanged", (json_int_t)im->unchanged, "conflicts", (json_int_t)im->conflicts, "refused",
		    (json_int_t)im->refused, "seconds", seconds));
	} else {
		out_pair(OUT_PLAIN, "environment", "%s%s", fob_environment_name(im->env),
		    im->dry_run ? " (dry run: nothing was sent)" : "");
		out_pair(OUT_GOOD, im->dry_run ? "sound lines" : "imported", "%llu", (unsigned long long)im->imported);
		out_pair(
		    OUT_PLAIN, im->dry_run ? "repeated lines" : "unchanged", "%llu", (unsigned long long)im->unchanged);
		out_pair(
		    im->conflicts > 0 ? OUT_BAD : OUT_PLAIN, "conflicts", "%llu", (unsigned long long)im->conflicts);
		out_pair(im->refused > 0 ? OUT_BAD : OUT_PLAIN, "refused", "%llu", (unsigned long long)im->refused);
		out_pair(OUT_DIM, "seconds", "%.1f", seconds);
	}
	if (im->failed_line != 0)
		out_say(
		    "to go on, run the same command again: what is there is left as it is. All before line %llu is; "
		    "--start-line %llu passes over it",
		    (unsigned long long)im->failed_line, (unsigned long long)im->failed_line);
	else if (im->stopped_at_line)
		out_say("it stopped there. Run it again when the file is mended, or with --continue-on-error");
}

/* Options into ${im}, and the file opened. */
static int
begin(struct import *im)
{
	const struct cli *cli = im->cli;
	const char *format = cli->options[OPT_FORMAT], *start = cli->options[OPT_START_LINE], *path = cli->args[0];
	uint32_t line = 1;
	struct stat st;
	FILE *file;

	if (cli_environment(cli, OPT_ENVIRONMENT, &im->env) != CLI_OK)
		return CLI_LOCAL;
	if (format != NULL && strcmp(format, "ndjson") != 0 && strcmp(format, "csv") != 0) {
		out_say("--format is ndjson or csv");
		return CLI_LOCAL;
	}
	if (start != NULL && text_number(start, 1, UINT32_MAX, &line) != 0) {
		out_say("--start-line is a line's number, from 1");
		return CLI_LOCAL;
	}
	im->start_line = line;
	im->dry_run = cli->options[OPT_DRY_RUN] != NULL;
	im->go_on = im->dry_run || cli->options[OPT_CONTINUE_ON_ERROR] != NULL;
	if (path != NULL && strcmp(path, "-") == 0)
		path = NULL;
	im->name = path != NULL ? path : "standard input";
	if ((file = path != NULL ? fopen(path, "re") : stdin) == NULL) {
		out_say("%s: %s", path, strerror(errno));
		return CLI_LOCAL;
	}
	if (fstat(fileno(file), &st) == 0 && S_ISREG(st.st_mode) && st.st_size > 0)
		im->size = (uint64_t)st.st_size;
	import_reader_init(&im->reader, file, format != NULL ? strcmp(format, "csv") == 0 : import_is_csv(im->name));
	return CLI_OK;
}

int
cli_account_import(struct cli *cli)
{
	struct import im = { .cli = cli };
	int rc;

	if ((rc = begin(&im)) != CLI_OK || (!im.dry_run && (rc = cli_connect(cli)) != CLI_OK))
		goto out;
	if ((im.batches = calloc(BATCHES, sizeof(*im.batches))) == NULL) {
		out_say("out of memory");
		rc = CLI_LOCAL;
		goto out;
	}
	for (size_t i = 0; i < BATCHES; i++)
		im.batches[i].import = &im;
	pthread_mutex_init(&im.lock, NULL);
	pthread_cond_init(&im.wake, NULL);
	im.start_ms = monotonic_ms();
	im.show = isatty(STDERR_FILENO) == 1;
	import_all(&im);
	tell(&im);
	rc = im.worst;
	/* No call is under way any more; but the last callback may be about to leave the lock. */
	fob_client_free(cli->client);
	cli->client = NULL;
	pthread_cond_destroy(&im.wake);
	pthread_mutex_destroy(&im.lock);
	free(im.batches);
out:
	import_seen_fini(&im.seen);
	import_reader_fini(&im.reader);
	return rc;
}
