/*
 * health.c - fob health and fob stats: is it serving, and how is it doing? Shows fobd's counters as they are.
 */
#include "client/cli/cli.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "client/cli/out.h"

const char health_help[] = "Usage: fob health [SERVICE]\n"
			   "\n"
			   "Is it serving? Exit code 0 for SERVING, 2 for NOT_SERVING or no answer, 3 for a\n"
			   "service that fobd does not know.\n"
			   "\n"
			   "  SERVICE                 fob.v1.Keys, fob.v1.Admin, live or test; all of them\n"
			   "                          by default\n"
			   "\n"
			   "Examples:\n"
			   "  fob health\n"
			   "  fob health live --address tcp://127.0.0.1:7400 --timeout 1s\n";

const char stats_help[] = "Usage: fob stats\n"
			  "\n"
			  "What fobd has counted since it started, and how large things are now. Zeroes\n"
			  "are left out of the table, not of --output json.\n"
			  "\n"
			  "Examples:\n"
			  "  fob stats\n"
			  "  fob stats --output json | jq '.environments[] | {environment, verdicts, commits}'\n";

int
cli_health(struct cli *cli)
{
	const struct fob_health_request request = { FOB_HEALTH_REQUEST_INIT, .service = cli->args[0] };
	enum fob_health_status status;
	struct fob_error error;
	int rc;

	if ((rc = cli_connect(cli)) != CLI_OK)
		return rc;
	if ((rc = fob_health(cli->client, &request, &status, &error)) != 0)
		return cli_fault(cli, cli->args[0], rc, &error);
	if (out_is_json())
		out_json(json_pack("{s:s, s:s}", "service", cli->args[0] != NULL ? cli->args[0] : "", "status",
		    fob_health_status_name(status)));
	else
		out_pair(status == FOB_HEALTH_STATUS_SERVING ? OUT_GOOD : OUT_BAD,
		    cli->args[0] != NULL ? cli->args[0] : "all", "%s", fob_health_status_name(status));
	return status == FOB_HEALTH_STATUS_SERVING ? CLI_OK : CLI_FAULT;
}

/* ---- stats ---- */

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
environment_figures(const struct fob_environment_stats *e, struct figure f[18])
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

static json_t *
named_json(const struct figure *figures, size_t n)
{
	json_t *o = json_object();

	figures_json(o, figures, n);
	return o;
}

static void
stats_json(const struct fob_stats *s)
{
	json_t *o = json_pack("{s:s}", "version", s->version), *environments = json_array();
	struct figure f[18];

	out_json_time(o, "start", s->start_ms);
	figures_json(o, f, daemon_figures(s, f));
	json_object_set_new(o, "codes", named_json(f, code_figures(s, f)));
	for (size_t i = 0; i < s->n_environments; i++) {
		const struct fob_environment_stats *e = s->environments[i];
		json_t *env = json_pack("{s:s, s:b, s:b}", "environment", fob_environment_name(e->environment),
		    "serving", (int)e->serving, "rotating", (int)e->rotating);

		figures_json(env, f, environment_figures(e, f));
		json_object_set_new(env, "verdicts", named_json(f, verdict_figures(e, f)));
		json_array_append_new(environments, env);
	}
	json_object_set_new(o, "environments", environments);
	out_json(o);
}

static void
stats_table(const struct fob_stats *s)
{
	struct figure f[18];

	out_pair(OUT_PLAIN, "version", "%s", s->version);
	out_pair_time("started", s->start_ms);
	figures_table("", f, daemon_figures(s, f));
	figures_table("replies", f, code_figures(s, f));
	for (size_t i = 0; i < s->n_environments; i++) {
		const struct fob_environment_stats *e = s->environments[i];

		out_gap();
		out_pair(OUT_PLAIN, "environment", "%s", fob_environment_name(e->environment));
		out_pair(e->serving ? OUT_GOOD : OUT_BAD, "serving", "%s", e->serving ? "true" : "false");
		if (e->rotating)
			out_pair(OUT_PLAIN, "rotating", "true");
		figures_table("", f, environment_figures(e, f));
		figures_table("verdicts", f, verdict_figures(e, f));
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
