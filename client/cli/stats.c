/*
 * stats.c - fob stats: fobd's counters and sizes, shown as they are.
 */
#include "client/cli/cli.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "client/cli/out.h"

const char stats_help[] = "Usage: fob stats\n"
			  "\n"
			  "What fobd has counted since it started, and how large things are now. Zeroes\n"
			  "are left out of the table, not of --output json.\n"
			  "\n"
			  "Examples:\n"
			  "  fob stats\n"
			  "  fob stats --output json | jq '.environments[] | {environment, verdicts, commits}'\n";

struct figure {
	const char *name; /* as in JSON; in the table '_' is ' ', except after a heading: there it is an enum's */
	uint64_t value;
};

/* What both of a daemon's and an environment's figures go through, so that table and JSON cannot differ. */
static void
figures_json(json_t *o, const struct figure *figures, size_t n)
{
	for (size_t i = 0; i < n; i++)
		json_object_set_new(o, figures[i].name, json_integer((json_int_t)figures[i].value));
}

static void
figures_table(const char *heading, const struct figure *figures, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		char name[64];

		if (figures[i].value == 0)
			continue;
		snprintf(name, sizeof(name), "%s%s%s", heading, heading[0] == '\0' ? "" : " ", figures[i].name);
		for (char *p = name; heading[0] == '\0' && *p != '\0'; p++)
			*p = *p == '_' ? ' ' : *p;
		out_pair(OUT_PLAIN, name, "%" PRIu64, figures[i].value);
	}
}

static size_t
daemon_figures(const struct fob_stats *s, struct figure f[7])
{
	size_t n = 0;

	f[n++] = (struct figure){ "requests", s->requests };
	f[n++] = (struct figure){ "in_flight", s->in_flight };
	f[n++] = (struct figure){ "connections", s->connections };
	f[n++] = (struct figure){ "connections_refused", s->connections_refused };
	f[n++] = (struct figure){ "connections_dropped", s->connections_dropped };
	f[n++] = (struct figure){ "open_descriptors", s->open_descriptors };
	f[n++] = (struct figure){ "unrecognised", s->unrecognised };
	return n;
}

static size_t
environment_figures(const struct fob_environment_stats *e, struct figure f[19])
{
	size_t n = 0;

	f[n++] = (struct figure){ "accounts", e->accounts };
	f[n++] = (struct figure){ "keys", e->keys };
	f[n++] = (struct figure){ "mutations", e->mutations };
	f[n++] = (struct figure){ "replays", e->replays };
	f[n++] = (struct figure){ "refused", e->refused };
	f[n++] = (struct figure){ "commits", e->commits };
	f[n++] = (struct figure){ "queue_depth", e->queue_depth };
	f[n++] = (struct figure){ "keys_expired", e->keys_expired };
	f[n++] = (struct figure){ "corrupt_records", e->corrupt_records };
	f[n++] = (struct figure){ "used_bytes", e->used_bytes };
	f[n++] = (struct figure){ "ceiling_bytes", e->ceiling_bytes };
	f[n++] = (struct figure){ "revision", e->revision };
	f[n++] = (struct figure){ "event_sequence", e->event_sequence };
	f[n++] = (struct figure){ "pepper_lines", e->pepper_lines };
	f[n++] = (struct figure){ "rotation_keys", e->rotation_keys };
	f[n++] = (struct figure){ "rotation_records", e->rotation_records };
	f[n++] = (struct figure){ "rotation_of_records", e->rotation_of_records };
	f[n++] = (struct figure){ "failures", e->failures };
	f[n++] = (struct figure){ "superseded_in_use", e->superseded_in_use };
	return n;
}

static size_t
cluster_figures(const struct fob_environment_stats *e, struct figure f[4])
{
	size_t n = 0;

	f[n++] = (struct figure){ "applied", e->cluster_applied };
	f[n++] = (struct figure){ "head", e->cluster_head };
	f[n++] = (struct figure){ "fresh_ms", (uint64_t)e->cluster_fresh_ms };
	f[n++] = (struct figure){ "nodes", e->cluster_nodes };
	return n;
}

/* DENIED, the zero, is where libfob counts what it has no name for. */
static size_t
verdict_figures(const struct fob_environment_stats *e, struct figure f[16])
{
	size_t n = 0;

	for (int v = FOB_VERDICT_DENIED; v <= FOB_VERDICT_FORBIDDEN; v++)
		f[n++] = (struct figure){ fob_verdict_name((enum fob_verdict)v), e->verdicts[v] };
	return n;
}

static size_t
code_figures(const struct fob_stats *s, struct figure f[17])
{
	size_t n = 0;

	f[n++] = (struct figure){ "OK", s->codes[0] };
	for (int code = 1; code <= 16; code++)
		f[n++] = (struct figure){ fob_fault_name(-code), s->codes[code] };
	return n;
}

static size_t
state_figures(const struct fob_environment_stats *e, struct figure f[4])
{
	size_t n = 0;

	for (int s = FOB_KEY_STATE_CURRENT; s <= FOB_KEY_STATE_REVOKED; s++)
		f[n++] = (struct figure){ fob_key_state_name((enum fob_key_state)s), e->keys_by_state[s] };
	return n;
}

/* ---- durations ---- */

static uint64_t
count_of(const uint64_t *buckets, size_t n)
{
	uint64_t count = 0;

	for (size_t i = 0; i < n; i++)
		count += buckets[i];
	return count;
}

/* Within how many microseconds ${percent} of 100 are; 0: it is not known, as some of them are in the last bucket. */
static uint64_t
within_us(const uint64_t buckets[FOB_DURATION_BUCKETS], unsigned percent)
{
	uint64_t count = count_of(buckets, FOB_DURATION_BUCKETS), n = 0;

	for (size_t i = 0; i < FOB_DURATION_BUCKETS - 1; i++) {
		n += buckets[i];
		if ((double)n * 100 >= (double)count * percent)
			return UINT64_C(1) << i;
	}
	return 0;
}

static void
within_text(const uint64_t buckets[FOB_DURATION_BUCKETS], unsigned percent, char text[32])
{
	uint64_t us = within_us(buckets, percent);

	if (us == 0)
		snprintf(text, 32, "longer than 8 s");
	else if (us < 1000)
		snprintf(text, 32, "%" PRIu64 " us", us);
	else
		snprintf(text, 32, "%.3g ms", (double)us / 1000);
}

static void
durations_table(const struct fob_stats *s)
{
	char name[64], half[32], most[32];

	for (int c = FOB_OPERATION_CLASS_VERIFY; c <= FOB_OPERATION_CLASS_LIST; c++) {
		if (count_of(s->durations[c], FOB_DURATION_BUCKETS) == 0)
			continue;
		snprintf(name, sizeof(name), "%s took", fob_operation_class_name((enum fob_operation_class)c));
		within_text(s->durations[c], 50, half);
		within_text(s->durations[c], 99, most);
		out_pair(OUT_PLAIN, name, "half within %s, 99 %% within %s", half, most);
	}
}

static json_t *
array_json(const uint64_t *numbers, size_t n)
{
	json_t *array = json_array();

	for (size_t i = 0; i < n; i++)
		json_array_append_new(array, json_integer((json_int_t)numbers[i]));
	return array;
}

static json_t *
durations_json(const struct fob_stats *s)
{
	json_t *o = json_object();

	for (int c = FOB_OPERATION_CLASS_VERIFY; c <= FOB_OPERATION_CLASS_LIST; c++)
		json_object_set_new(o, fob_operation_class_name((enum fob_operation_class)c),
		    json_pack("{s:I, s:f, s:o}", "count", (json_int_t)count_of(s->durations[c], FOB_DURATION_BUCKETS),
			"sum_seconds", (double)s->durations_ns[c] / 1e9, "buckets",
			array_json(s->durations[c], FOB_DURATION_BUCKETS)));
	return o;
}

/* ---- replies, in detail ---- */

static const char *
code_name(int code)
{
	return code == 0 ? "OK" : fob_fault_name(-code);
}

static json_t *
answered_json(const struct fob_stats *s)
{
	json_t *array = json_array();

	for (int c = FOB_OPERATION_CLASS_OTHER; c <= FOB_OPERATION_CLASS_CLUSTER; c++)
		for (int e = FOB_ENVIRONMENT_ANY; e <= FOB_ENVIRONMENT_TEST; e++)
			for (int code = 0; code <= 16; code++)
				if (s->answered[c][e][code] > 0)
					json_array_append_new(array,
					    json_pack("{s:s, s:s, s:s, s:I}", "class",
						fob_operation_class_name((enum fob_operation_class)c), "environment",
						fob_environment_name((enum fob_environment)e), "code", code_name(code),
						"count", (json_int_t)s->answered[c][e][code]));
	return array;
}

/* ---- all of it ---- */

static json_t *
named_json(const struct figure *figures, size_t n)
{
	json_t *o = json_object();

	figures_json(o, figures, n);
	return o;
}

/* null: in no cluster. */
static json_t *
cluster_json(const struct fob_environment_stats *e)
{
	struct figure f[4];
	json_t *o;

	if (!e->in_cluster)
		return json_null();
	o = json_pack("{s:b, s:b}", "agent_connected", (int)e->cluster_agent_connected, "closed", (int)e->cluster_closed);
	figures_json(o, f, cluster_figures(e, f));
	return o;
}

static void
cluster_table(const struct fob_environment_stats *e)
{
	struct figure f[4];

	if (!e->in_cluster)
		return;
	figures_table("cluster", f, cluster_figures(e, f));
	out_pair(e->cluster_agent_connected ? OUT_GOOD : OUT_BAD, "cluster agent", "%s",
	    e->cluster_agent_connected ? "connected" : "not connected");
	if (e->cluster_closed)
		out_pair(OUT_BAD, "cluster closed", "true");
}

static void
stats_json(const struct fob_stats *s)
{
	json_t *o = json_pack("{s:s}", "version", s->version), *environments = json_array();
	struct figure f[19];

	out_json_time(o, "start", s->start_ms);
	figures_json(o, f, daemon_figures(s, f));
	json_object_set_new(o, "codes", named_json(f, code_figures(s, f)));
	json_object_set_new(o, "answered", answered_json(s));
	json_object_set_new(o, "durations", durations_json(s));
	for (size_t i = 0; i < s->n_environments; i++) {
		const struct fob_environment_stats *e = s->environments[i];
		json_t *env = json_pack("{s:s, s:b, s:b}", "environment", fob_environment_name(e->environment),
		    "serving", (int)e->serving, "rotating", (int)e->rotating);

		figures_json(env, f, environment_figures(e, f));
		out_json_time(env, "superseded_in_use_end", e->superseded_in_use_end_ms);
		json_object_set_new(env, "verdicts", named_json(f, verdict_figures(e, f)));
		json_object_set_new(
		    env, "key_states", e->keys_counted ? named_json(f, state_figures(e, f)) : json_null());
		json_object_set_new(
		    env, "group_sizes", array_json(e->group_sizes, sizeof(e->group_sizes) / sizeof(e->group_sizes[0])));
		json_object_set_new(env, "cluster", cluster_json(e));
		json_array_append_new(environments, env);
	}
	json_object_set_new(o, "environments", environments);
	out_json(o);
}

static void
stats_table(const struct fob_stats *s)
{
	struct figure f[19];

	out_pair(OUT_PLAIN, "version", "%s", s->version);
	out_pair_time("started", s->start_ms);
	figures_table("", f, daemon_figures(s, f));
	figures_table("replies", f, code_figures(s, f));
	durations_table(s);
	for (size_t i = 0; i < s->n_environments; i++) {
		const struct fob_environment_stats *e = s->environments[i];

		out_gap();
		out_pair(OUT_PLAIN, "environment", "%s", fob_environment_name(e->environment));
		out_pair(e->serving ? OUT_GOOD : OUT_BAD, "serving", "%s", e->serving ? "true" : "false");
		if (e->rotating)
			out_pair(OUT_PLAIN, "rotating", "true");
		figures_table("", f, environment_figures(e, f));
		if (e->superseded_in_use > 0)
			out_pair_time("the soonest ends", e->superseded_in_use_end_ms);
		figures_table("keys", f, e->keys_counted ? state_figures(e, f) : 0);
		figures_table("verdicts", f, verdict_figures(e, f));
		cluster_table(e);
	}
}

int
cli_stats(struct cli *cli)
{
	const struct fob_stats_request request = { FOB_STATS_REQUEST_INIT };
	struct fob_error error;
	struct fob_stats *stats;
	int rc;

	if ((rc = cli_connect(cli)) != CLI_OK)
		return rc;
	if ((rc = fob_stats(cli->client, &request, &stats, &error)) != 0)
		return cli_fault(cli, NULL, rc, &error);
	if (out_is_json())
		stats_json(stats);
	else
		stats_table(stats);
	fob_stats_free(stats);
	return CLI_OK;
}
