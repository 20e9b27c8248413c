/*
 * report.c - a run's table, JSON and CSV (see report.h). Only adds and divides what the recorders hold.
 */
#include "tests/load/report.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <jansson.h>

#include "client/fob.h"

#define BILLION UINT64_C(1000000000)

static const struct {
	const char *name;
	uint64_t ppb;
} quantiles[] = {
	{ "p50", 500000000 },
	{ "p90", 900000000 },
	{ "p99", 990000000 },
	{ "p99.9", 999000000 },
	{ "p99.99", 999900000 },
	{ "max", BILLION },
};
#define QUANTILES (sizeof(quantiles) / sizeof(quantiles[0]))

/* ---- numbers ---- */

double
report_throughput(const struct report *r, unsigned op)
{
	uint64_t n = 0;
	unsigned i;

	for (i = 0; i < OPS; i++)
		n += op == OPS || op == i ? r->sum->done_within[i] : 0;
	return r->duration_s > 0 ? (double)n / r->duration_s : 0;
}

/* All operations' latencies in one. The caller frees it; NULL when out of memory. */
static struct hist *
all_latencies(const struct report *r)
{
	struct hist *h = calloc(1, sizeof(*h));
	unsigned op;

	for (op = 0; h != NULL && op < OPS; op++)
		hist_merge(h, &r->sum->latency[op]);
	return h;
}

static double
us(uint64_t ns)
{
	return (double)ns / 1000;
}

/* ---- the table ---- */

/* Digits in groups of three, in one of a few buffers, so that a line may show several. */
static const char *
grouped(double number)
{
	static char buffers[8][32];
	static unsigned turn;
	char digits[32], *out = buffers[turn++ % 8], *to = out;
	size_t i, len;

	snprintf(digits, sizeof(digits), "%.0f", number);
	len = strlen(digits);
	for (i = 0; i < len && to < out + 30; i++) {
		if (i > 0 && (len - i) % 3 == 0)
			*to++ = ',';
		*to++ = digits[i];
	}
	*to = '\0';
	return out;
}

static void
print_time(FILE *to, uint64_t ns)
{
	if (ns < 10000000)
		fprintf(to, "  %7.1f us", us(ns));
	else if (ns < UINT64_C(100000000000))
		fprintf(to, "  %7.1f ms", us(ns) / 1000);
	else
		fprintf(to, "  %7.1f s ", us(ns) / 1000000);
}

static void
print_row(FILE *to, const char *name, const struct hist *h, double throughput)
{
	size_t i;

	fprintf(to, "  %-9s %13s %11s", name, grouped((double)h->n), grouped(throughput));
	for (i = 0; i < QUANTILES; i++) {
		if (h->n > 0)
			print_time(to, hist_quantile(h, quantiles[i].ppb));
		else
			fprintf(to, "  %10s", "-");
	}
	fputc('\n', to);
}

static void
print_head(const struct report *r, FILE *to)
{
	fprintf(to, "%s%s%s%s%s: ", r->tool, r->label != NULL ? " " : "", r->label != NULL ? r->label : "",
	    r->address != NULL ? " " : "", r->address != NULL ? r->address : "");
	if (r->rate > 0)
		fprintf(to, "open loop, %s/s, at most %u at once", grouped(r->rate), r->callers);
	else
		fprintf(to, "closed loop, %u %s", r->callers, r->synchronous ? "threads" : "in flight");
	if (r->sockets > 0)
		fprintf(to, ", %u socket%s", r->sockets, r->sockets == 1 ? "" : "s");
	if (r->batch > 1)
		fprintf(to, ", %u to a message", r->batch);
	if (r->keys > 0)
		fprintf(to, ", %s keys", grouped((double)r->keys));
	fprintf(to, "; %.1f s after %.1f s of warm-up%s\n", r->duration_s, r->warmup_s,
	    r->interrupted ? ", interrupted" : "");
}

static void
print_counts(const char *title, const _Atomic uint64_t *counts, unsigned n, const char *(*name)(unsigned), FILE *to)
{
	const char *comma = "";
	unsigned i;

	for (i = 0; i < n && counts[i] == 0; i++)
		continue;
	if (i == n)
		return;
	fprintf(to, "  %s:", title);
	for (i = 0; i < n; i++) {
		if (counts[i] == 0)
			continue;
		fprintf(to, "%s %s %s", comma, name(i), grouped((double)counts[i]));
		comma = ",";
	}
	fputc('\n', to);
}

static const char *
name_of_fault(unsigned code)
{
	return fob_fault_name(-(int)code);
}

static const char *
name_of_verdict(unsigned verdict)
{
	return fob_verdict_name((enum fob_verdict)verdict);
}

static void
print_rate(const struct report *r, FILE *to)
{
	if (r->rate_met) {
		fprintf(to, "  The rate was met: %s/s of %s/s; sent late by at most %.1f us in 99 of 100 calls.\n",
		    grouped(report_throughput(r, OPS)), grouped(r->rate), us(hist_quantile(&r->sum->lag, 990000000)));
		return;
	}
	fprintf(to, "  THE RATE WAS NOT MET: %s/s of %s/s; sent late by up to %.1f ms; %s calls were never sent.\n",
	    grouped(report_throughput(r, OPS)), grouped(r->rate), us(r->sum->lag.max_ns) / 1000,
	    grouped((double)r->not_sent));
	if (r->not_sent > 0)
		fputs("  Latencies are those of the calls that were sent: the true ones are higher.\n", to);
}

static uint64_t
failed_outside(const struct recorder *sum)
{
	uint64_t failed = sum->failed;
	unsigned i;

	for (i = 0; i < RECORDER_FAULTS; i++)
		failed -= sum->faults[i];
	return failed;
}

static void
write_table(const struct report *r, FILE *to)
{
	struct hist *all;
	unsigned op, shown = 0;
	uint64_t failed;
	size_t i;

	print_head(r, to);
	fprintf(to, "  %-9s %13s %11s", "", "calls", "per second");
	for (i = 0; i < QUANTILES; i++)
		fprintf(to, "  %10s", quantiles[i].name);
	fputc('\n', to);
	for (op = 0; op < OPS; op++) {
		if (r->unit[op] == NULL)
			continue;
		print_row(to, r->unit[op], &r->sum->latency[op], report_throughput(r, op));
		shown++;
	}
	if (shown > 1 && (all = all_latencies(r)) != NULL) {
		print_row(to, "all", all, report_throughput(r, OPS));
		free(all);
	}
	if (r->rate > 0)
		print_rate(r, to);
	if (r->switches > 0)
		fprintf(to, "  thread switches to a call, client and server: %.2f\n", r->switches);
	print_counts("verdicts", r->sum->verdicts, RECORDER_VERDICTS, name_of_verdict, to);
	print_counts("faults", r->sum->faults, RECORDER_FAULTS, name_of_fault, to);
	if (r->sum->failed == 0)
		fputs("  faults: none\n", to);
	if ((failed = failed_outside(r->sum)) > 0)
		fprintf(to, "  faults outside of the measured time: %s\n", grouped((double)failed));
	if (recorder_reason() != NULL)
		fprintf(to, "  the first fault: %s\n", recorder_reason());
	if (r->sum->unexpected > 0)
		fprintf(to, "  UNEXPECTED VERDICTS: %s: are these keys of another server, or rolled since?\n",
		    grouped((double)r->sum->unexpected));
}

/* ---- JSON ---- */

/* Points for a plot: ten to each factor of ten of 1 / (1 - p), as far as there are values to tell them apart. */
static json_t *
json_curve(const struct hist *h)
{
	static const double steps[] = { 1, 0.794328235, 0.630957344, 0.501187234, 0.398107171, 0.316227766, 0.251188643,
		0.199526231, 0.158489319, 0.125892541 };
	json_t *curve = json_array();
	double tail = 1e9;
	uint64_t ppb;
	size_t i;

	for (; tail >= 1 && tail * (double)h->n >= 1e9; tail /= 10) {
		for (i = 0; i < 10 && tail * steps[i] * (double)h->n >= 1e9; i++) {
			ppb = BILLION - (uint64_t)(tail * steps[i]);
			json_array_append_new(curve, json_pack("[f, f]", (double)ppb / 1e9, us(hist_quantile(h, ppb))));
		}
	}
	return curve;
}

static json_t *
json_latency(const struct hist *h)
{
	json_t *o = json_object();
	size_t i;

	for (i = 0; i < QUANTILES; i++)
		json_object_set_new(o, quantiles[i].name, json_real(us(hist_quantile(h, quantiles[i].ppb))));
	json_object_set_new(o, "mean", json_real(us(hist_mean(h))));
	return o;
}

static json_t *
json_row(const struct hist *h, double throughput)
{
	return json_pack("{s:I, s:f, s:o, s:o}", "calls", (json_int_t)h->n, "throughput", throughput, "latency_us",
	    json_latency(h), "curve", json_curve(h));
}

static json_t *
json_counts(const _Atomic uint64_t *counts, unsigned n, const char *(*name)(unsigned))
{
	json_t *o = json_object();
	unsigned i;

	for (i = 0; i < n; i++) {
		if (counts[i] > 0)
			json_object_set_new(o, name(i), json_integer((json_int_t)counts[i]));
	}
	return o;
}

static json_t *
json_report(const struct report *r)
{
	json_t *o, *ops = json_object(), *all;
	struct hist *h = all_latencies(r);
	unsigned op;

	if (h == NULL) {
		json_decref(ops);
		errno = ENOMEM;
		return NULL;
	}
	for (op = 0; op < OPS; op++) {
		if (r->unit[op] != NULL)
			json_object_set_new(ops, r->unit[op], json_row(&r->sum->latency[op], report_throughput(r, op)));
	}
	all = json_row(h, report_throughput(r, OPS));
	free(h);
	o = json_pack("{s:s, s:s, s:s?, s:s?, s:s, s:b, s:i, s:i, s:i, s:I, s:f, s:f, s:b}", "tool", r->tool, "version",
	    fob_version(), "label", r->label, "address", r->address, "loop", r->rate > 0 ? "open" : "closed",
	    "synchronous", r->synchronous, "callers", (int)r->callers, "sockets", (int)r->sockets, "batch",
	    (int)r->batch, "keys", (json_int_t)r->keys, "warmup_s", r->warmup_s, "duration_s", r->duration_s,
	    "interrupted", r->interrupted);
	json_object_update(o, all);
	json_decref(all);
	json_object_set_new(o, "operations", ops);
	json_object_set_new(o, "verdicts", json_counts(r->sum->verdicts, RECORDER_VERDICTS, name_of_verdict));
	json_object_set_new(o, "faults", json_counts(r->sum->faults, RECORDER_FAULTS, name_of_fault));
	json_object_set_new(o, "unexpected_verdicts", json_integer((json_int_t)r->sum->unexpected));
	if (r->switches > 0)
		json_object_set_new(o, "thread_switches_per_call", json_real(r->switches));
	if (r->rate > 0)
		json_object_set_new(o, "open_loop",
		    json_pack("{s:f, s:b, s:I, s:o}", "rate", r->rate, "met", r->rate_met, "not_sent",
			(json_int_t)r->not_sent, "lag_us", json_latency(&r->sum->lag)));
	return o;
}

/* ---- files ---- */

static FILE *
open_out(const char *path, const char *mode)
{
	return strcmp(path, "-") == 0 ? stdout : fopen(path, mode);
}

static int
close_out(FILE *f, int rc)
{
	if (f == stdout)
		return fflush(f) != 0 ? -1 : rc;
	return fclose(f) != 0 ? -1 : rc;
}

static int
write_json(const struct report *r, const char *path)
{
	json_t *o;
	FILE *f;
	int rc;

	if ((o = json_report(r)) == NULL)
		return -1;
	if ((f = open_out(path, "we")) == NULL) {
		json_decref(o);
		return -1;
	}
	rc = json_dumpf(o, f, JSON_INDENT(1) | JSON_REAL_PRECISION(12));
	fputc('\n', f);
	json_decref(o);
	return close_out(f, rc);
}

static void
csv_row(const struct report *r, FILE *f, const char *name, const struct hist *h, double throughput)
{
	size_t i;

	fprintf(f, "%s,%s,%s,%s,%u,%u,%u,%zu,%.0f,%.3f,%s,%ju,%.1f", r->tool, r->label != NULL ? r->label : "",
	    r->address != NULL ? r->address : "", r->rate > 0 ? "open" : "closed", r->callers, r->sockets, r->batch,
	    r->keys, r->rate, r->duration_s, name, (uintmax_t)h->n, throughput);
	for (i = 0; i < QUANTILES; i++)
		fprintf(f, ",%.3f", us(hist_quantile(h, quantiles[i].ppb)));
	fprintf(f, ",%ju,%ju\n", (uintmax_t)r->sum->failed, (uintmax_t)r->sum->unexpected);
}

static int
write_csv(const struct report *r, const char *path)
{
	struct hist *h = all_latencies(r);
	struct stat st;
	unsigned op;
	size_t i;
	FILE *f;

	if (h == NULL || (f = open_out(path, "ae")) == NULL) {
		free(h);
		return -1;
	}
	if (f == stdout || (fstat(fileno(f), &st) == 0 && st.st_size == 0)) {
		fputs(
		    "tool,label,address,loop,callers,sockets,batch,keys,rate,duration_s,operation,calls,throughput", f);
		for (i = 0; i < QUANTILES; i++)
			fprintf(f, ",%s_us", quantiles[i].name);
		fputs(",failed_in_run,unexpected_in_run\n", f);
	}
	for (op = 0; op < OPS; op++) {
		if (r->unit[op] != NULL)
			csv_row(r, f, r->unit[op], &r->sum->latency[op], report_throughput(r, op));
	}
	csv_row(r, f, "all", h, report_throughput(r, OPS));
	free(h);
	return close_out(f, ferror(f) ? -1 : 0);
}

static int
complain(const char *path)
{
	fprintf(stderr, "%s: %s: %s\n", program_invocation_short_name, path, strerror(errno));
	return -1;
}

static bool
is_stdout(const char *path)
{
	return path != NULL && strcmp(path, "-") == 0;
}

int
report_write(const struct report *r, const char *json, const char *csv)
{
	int rc = 0;

	write_table(r, is_stdout(json) || is_stdout(csv) ? stderr : stdout);
	if (json != NULL && write_json(r, json) != 0)
		rc = complain(json);
	if (csv != NULL && write_csv(r, csv) != 0)
		rc = complain(csv);
	return rc;
}

int
report_finish(struct report *r, const struct flags_run *run, const struct measure *measure)
{
	struct recorder *sum = calloc(1, sizeof(*sum));
	int rc;

	if (sum == NULL)
		flags_fail("out of memory");
	recorder_sum(sum);
	r->label = run->label;
	r->warmup_s = run->warmup_s;
	r->duration_s = measure_duration_s(measure);
	r->interrupted = measure->interrupted;
	r->sum = sum;
	if (measure->switch_calls > 0)
		r->switches = (double)measure->switches / (double)measure->switch_calls;
	rc = report_write(r, run->json, run->csv);
	r->sum = NULL;
	if (rc != 0)
		rc = 1;
	else
		rc = sum->unexpected > 0 ? 3 : sum->failed > 0 ? 2 : 0;
	free(sum);
	return rc;
}
