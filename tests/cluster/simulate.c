/*
 * simulate.c - runs a cluster of service/cluster/fleet.c in virtual time, under faults, and checks what must hold:
 *
 *  - no verify that begins after a change was acknowledged is answered without that change;
 *  - all nodes apply the same log, which is etcd's, and each acknowledged change is in it, once for its token;
 *  - a refusal knows all that was acknowledged when it was asked for;
 *  - a change waits no longer than W for nodes that are gone;
 *  - when the faults are over, all nodes serve again, and changes are acknowledged.
 *
 * A run depends on its seed and the options only. Prints each seed whose run failed, and how to repeat it.
 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/cluster/world.h"

#define SETTLE_US(w) ((int64_t)(w)->options.staleness_ms * 4000 + 16000000)
#define LATE_US INT64_C(4000000) /* no change may be older than that without an answer, in the end */

void
world_trace(const struct world *w, const char *format, ...)
{
	va_list args;

	fprintf(stderr, "%12.6f ", (double)world_now_us(w) / 1e6);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
}

/* ---- one run ---- */

static void
check_end(struct world *w)
{
	struct checker *c = &w->checker;
	int64_t now_us = world_now_us(w);
	size_t members = 0, rows = etcd_count(&w->etcd, "nodes/");

	for (unsigned i = 0; i < w->n_nodes; i++) {
		struct node *n = &w->nodes[i];

		if (!n->is_member)
			continue;
		members++;
		if (!node_is_fresh(n))
			checker_violation(c, now_us, "node %u does not serve, though all faults are over (closed: %d)", i,
			    n->fleet == NULL ? -1 : (int)fleet_closed(n->fleet));
	}
	if (rows != members)
		checker_violation(c, now_us, "etcd has %zu rows, of %zu nodes", rows, members);
	for (uint32_t i = 0; i < w->clients.n; i++)
		if (!w->clients.all[i].done && w->clients.all[i].since_us < now_us - LATE_US)
			checker_violation(c, now_us, "token %u is without an answer since %.3f s, though all faults are over",
			    w->clients.all[i].token, (double)w->clients.all[i].since_us / 1e6);
	checker_compare(c, now_us, &w->etcd);
}

static void
world_fini(struct world *w)
{
	for (unsigned i = 0; i < NODES_MAX; i++)
		node_kill(&w->nodes[i]);
	events_fini(&w->events);
	etcd_fini(&w->etcd);
	clients_fini(&w->clients);
}

static bool
has_failed_enough(const struct world *w)
{
	return w->options.stop && w->checker.violations > 0;
}

static void
run_until(struct world *w, int64_t until_us)
{
	int64_t at_us;

	while ((at_us = world_now_us(w) + 100000) < until_us && !has_failed_enough(w))
		events_run(&w->events, w, at_us);
	if (!has_failed_enough(w))
		events_run(&w->events, w, until_us);
}

/* ${checker}: the caller's, to be ended with checker_fini(). */
static void
run(const struct options *options, uint64_t seed, struct checker *checker, uint64_t *events)
{
	struct world *w = calloc(1, sizeof(*w));

	if (w == NULL)
		abort();
	w->options = *options;
	w->rng = rng_new(seed);
	checker_init(&w->checker);
	etcd_init(&w->etcd);
	/* Calm and wild runs find different things. */
	w->weather.mean_us = world_between(w, 20000, 800000) * 8 / (options->nodes < 8 ? 8 : options->nodes);
	if (options->mean_us != 0)
		w->weather.mean_us = options->mean_us;
	w->n_nodes = options->nodes;
	for (unsigned i = 0; i < NODES_MAX; i++)
		node_init(&w->nodes[i], w, i);
	for (unsigned i = w->n_nodes; i < NODES_MAX; i++)
		w->nodes[i].is_member = false;
	for (unsigned i = 0; i < w->n_nodes; i++)
		node_start(&w->nodes[i]);
	events_run(&w->events, w, 1000000);
	clients_begin(w);
	faults_begin(w);
	run_until(w, options->seconds * 1000000);
	faults_end(w);
	run_until(w, options->seconds * 1000000 + SETTLE_US(w));
	if (!has_failed_enough(w))
		check_end(w);
	*events += w->events.happened;
	world_fini(w);
	*checker = w->checker;
	free(w);
}

/* ---- all runs ---- */

struct total {
	uint64_t runs, failed, events, verifies, answered, stale, unavailable, changes, refusals, replays, entries;
	uint64_t bounded, long_waits, crowded;
	int64_t *took_us;
	size_t n_took;
};

static void
add(struct total *t, const struct checker *c)
{
	t->runs++;
	t->failed += c->violations > 0;
	t->verifies += c->verifies;
	t->answered += c->answered;
	t->stale += c->stale;
	t->unavailable += c->unavailable;
	t->changes += c->changes;
	t->refusals += c->refusals;
	t->replays += c->replays;
	t->entries += c->n;
	t->bounded += c->bounded;
	t->long_waits += c->long_waits;
	t->crowded += c->crowded;
	t->took_us = sim_realloc(t->took_us, (t->n_took + c->n_took + 1) * sizeof(*t->took_us));
	if (c->n_took > 0)
		memcpy(t->took_us + t->n_took, c->took_us, c->n_took * sizeof(*t->took_us));
	t->n_took += c->n_took;
}

static int
compare_times(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return x < y ? -1 : x > y;
}

static double
percentile_ms(const struct total *t, unsigned percent)
{
	return t->n_took == 0 ? 0 : (double)t->took_us[t->n_took * percent / 100] / 1000;
}

static void
report(struct total *t)
{
	if (t->n_took > 0)
		qsort(t->took_us, t->n_took, sizeof(*t->took_us), compare_times);
	printf("runs=%" PRIu64 " failed=%" PRIu64 " events=%" PRIu64 " verifies=%" PRIu64 " answered=%" PRIu64 " stale=%" PRIu64
	       " unavailable=%" PRIu64 " changes=%" PRIu64 " refusals=%" PRIu64 " replays=%" PRIu64 " entries=%" PRIu64
	       " bounded=%" PRIu64 " long_waits=%" PRIu64 " crowded=%" PRIu64 " p50_ms=%.1f p99_ms=%.1f\n",
	    t->runs, t->failed, t->events, t->verifies, t->answered, t->stale, t->unavailable, t->changes, t->refusals,
	    t->replays, t->entries, t->bounded, t->long_waits, t->crowded, percentile_ms(t, 50), percentile_ms(t, 99));
	free(t->took_us);
}

/* ---- the command line ---- */

static void
usage(void)
{
	fprintf(stderr, "usage: simulate --nodes N --seeds FROM-TO --seconds S --staleness MS [--faults LIST|all|none]\n"
			"                [--changes N] [--verifies N] [--mean MS] [--stop] [--trace]\n"
			"--changes: a second, of all clients; --verifies: a second, of each node\n"
			"--mean: between two faults; else the seed says\n"
			"--stop: when a run has failed. Faults:");
	for (int i = 0; i < FAULTS; i++)
		fprintf(stderr, " %s", fault_names[i]);
	fputc('\n', stderr);
	exit(2);
}

static unsigned
read_faults(const char *list)
{
	unsigned faults = 0, before;
	size_t len;

	if (strcmp(list, "all") == 0)
		return (1U << FAULTS) - 1;
	for (; strcmp(list, "none") != 0 && *list != '\0'; list += len + (list[len] == ',')) {
		len = strcspn(list, ",");
		before = faults;
		for (int i = 0; i < FAULTS; i++)
			if (strlen(fault_names[i]) == len && strncmp(list, fault_names[i], len) == 0)
				faults |= 1U << i;
		if (faults == before)
			usage();
	}
	return faults;
}

static uint64_t
read_number(const char *text, uint64_t low, uint64_t high)
{
	char *end;
	unsigned long long n = strtoull(text, &end, 10);

	if (*text < '0' || *text > '9' || *end != '\0' || n < low || n > high)
		usage();
	return n;
}

static void
read_seeds(char *text, uint64_t *from, uint64_t *to)
{
	char *dash = strchr(text, '-');

	if (dash != NULL)
		*dash = '\0';
	*from = read_number(text, 0, UINT32_MAX);
	*to = dash != NULL ? read_number(dash + 1, *from, UINT32_MAX) : *from;
}

int
main(int argc, char **argv)
{
	struct options o = { .nodes = 8, .staleness_ms = 2000, .seconds = 20, .changes_per_s = 20, .verifies_per_s = 20 };
	const char *faults = "all";
	uint64_t from = 1, to = 1;
	struct total total = { 0 };
	struct checker checker;

	for (int i = 1; i < argc; i++) {
		const char *flag = argv[i], *value = i + 1 < argc ? argv[i + 1] : "";

		if (strcmp(flag, "--stop") == 0) {
			o.stop = true;
			continue;
		}
		if (strcmp(flag, "--trace") == 0) {
			o.trace = true;
			continue;
		}
		i++;
		if (strcmp(flag, "--nodes") == 0)
			o.nodes = (unsigned)read_number(value, 1, 100);
		else if (strcmp(flag, "--seconds") == 0)
			o.seconds = (int64_t)read_number(value, 2, 100000);
		else if (strcmp(flag, "--staleness") == 0)
			o.staleness_ms = (uint32_t)read_number(value, 500, 60000);
		else if (strcmp(flag, "--changes") == 0)
			o.changes_per_s = (unsigned)read_number(value, 1, 100000);
		else if (strcmp(flag, "--verifies") == 0)
			o.verifies_per_s = (unsigned)read_number(value, 0, 100000);
		else if (strcmp(flag, "--mean") == 0)
			o.mean_us = (int64_t)read_number(value, 0, 100000) * 1000;
		else if (strcmp(flag, "--faults") == 0)
			o.faults = read_faults(faults = value);
		else if (strcmp(flag, "--seeds") == 0 && i < argc)
			read_seeds(argv[i], &from, &to);
		else
			usage();
	}
	if (faults[0] == 'a')
		o.faults = read_faults("all");
	for (uint64_t seed = from; seed <= to && !(o.stop && total.failed > 0); seed++) {
		run(&o, seed, &checker, &total.events);
		add(&total, &checker);
		if (checker.violations > 0)
			printf("seed %" PRIu64 ": %s (and %u more)\n  again: simulate --nodes %u --seeds %" PRIu64
			       " --seconds %lld --staleness %u --faults %s --changes %u --verifies %u --mean %lld --trace\n",
			    seed, checker.first, checker.violations - 1, o.nodes, seed, (long long)o.seconds, o.staleness_ms,
			    faults, o.changes_per_s, o.verifies_per_s, (long long)o.mean_us / 1000);
		checker_fini(&checker);
		fflush(stdout);
	}
	report(&total);
	return total.failed > 0;
}
