/*
 * cluster_status.c - fob cluster status and wait: what a node knows of its cluster.
 */
#include "client/cli/cluster.h"

#include <inttypes.h>
#include <stdio.h>

#include "client/cli/out.h"
#include "proto/c/monotonic.h"

#define POLL_MS 100

const char cluster_status_help[] =
    "Usage: fob cluster status [--environment live|test]\n"
    "\n"
    "What the fobd that is asked knows of its cluster: the newest entry of the log\n"
    "that it has applied and that it has heard of, whether it serves and for how long\n"
    "without hearing of the cluster again, and all nodes. BEHIND is how many entries a\n"
    "node has not acknowledged yet; WRITTEN is the time by that node's clock when it\n"
    "last wrote its row, which it does after each change.\n"
    "\n"
    "  --environment live|test only there\n"
    "\n"
    "Examples:\n"
    "  fob cluster status\n"
    "  fob cluster status --output json | jq '.clusters[].nodes[] | {replica, behind, address}'\n";

const char cluster_wait_help[] = "Usage: fob cluster wait [--environment live|test] [--timeout TIME]\n"
				 "\n"
				 "Wait until the fobd that is asked serves, and has applied all entries of the log\n"
				 "that it knew of when the wait began. Ends at once, with exit code 2, when it can\n"
				 "serve no more before an operator has acted.\n"
				 "\n"
				 "  --environment live|test only there\n"
				 "  --timeout TIME          how long to wait in all: 500ms, 10m, up to 24h (default:\n"
				 "                          60s)\n"
				 "\n"
				 "Example:\n"
				 "  fob cluster wait --timeout 5m && echo serving\n";

static uint64_t
behind(const struct fob_cluster_status *s, uint64_t applied)
{
	return s->head > applied ? s->head - applied : 0;
}

static bool
serves(const struct fob_cluster_status *s)
{
	return s->fresh_ms > 0 && s->closed[0] == '\0';
}

/* Why it does not serve. */
static const char *
why_not(const struct fob_cluster_status *s)
{
	if (s->closed[0] != '\0')
		return s->closed;
	if (!s->agent_connected)
		return "fob-cluster, the agent beside it, is not connected";
	if (behind(s, s->applied) > 0)
		return "it has not applied all entries yet";
	return "it has not heard of the cluster for too long";
}

/* ---- status ---- */

static json_t *
node_json(const struct fob_cluster_status *s, const struct fob_cluster_node *n)
{
	char replica[CLUSTER_ID_HEX_SIZE];
	json_t *o;

	cluster_id_hex(n->replica, replica);
	o = json_pack("{s:s, s:b, s:b, s:b, s:I, s:I, s:s, s:I, s:I}", "replica", replica, "self", (int)n->self,
	    "marked", (int)n->marked, "valid", (int)n->valid, "applied", (json_int_t)n->applied, "behind",
	    (json_int_t)behind(s, n->applied), "address", n->address, "max_staleness_ms",
	    (json_int_t)n->max_staleness_ms, "pepper_lines", (json_int_t)n->pepper_lines);
	out_json_time(o, "written", n->wall_ms);
	return o;
}

static json_t *
status_json(enum fob_environment env, const struct fob_cluster_status *s)
{
	char cluster[CLUSTER_ID_HEX_SIZE], replica[CLUSTER_ID_HEX_SIZE];
	json_t *nodes = json_array();

	cluster_id_hex(s->cluster, cluster);
	cluster_id_hex(s->replica, replica);
	for (size_t i = 0; i < s->n_nodes; i++)
		json_array_append_new(nodes, node_json(s, s->nodes[i]));
	return json_pack("{s:s, s:s, s:s, s:I, s:I, s:b, s:I, s:b, s:s?, s:o}", "environment",
	    fob_environment_name(env), "cluster", cluster, "replica", replica, "applied", (json_int_t)s->applied,
	    "head", (json_int_t)s->head, "serving", (int)serves(s), "fresh_ms", (json_int_t)s->fresh_ms,
	    "agent_connected", (int)s->agent_connected, "why_not", serves(s) ? NULL : why_not(s), "nodes", nodes);
}

static const char *
node_state(const struct fob_cluster_node *n)
{
	return !n->valid ? "not of this cluster" : n->marked ? "marked" : n->self ? "this node" : "";
}

static void
nodes_table(const struct fob_cluster_status *s)
{
	static const char *const titles[] = { "REPLICA", "BEHIND", "ADDRESS", "WRITTEN", "STATE" };

	out_table(titles, sizeof(titles) / sizeof(titles[0]));
	for (size_t i = 0; i < s->n_nodes; i++) {
		const struct fob_cluster_node *n = s->nodes[i];
		char replica[CLUSTER_ID_HEX_SIZE];

		cluster_id_hex(n->replica, replica);
		out_cell(OUT_PLAIN, "%.*s", CLUSTER_ID_SHORT, replica);
		out_cell(behind(s, n->applied) > 0 ? OUT_WARN : OUT_PLAIN, "%" PRIu64, behind(s, n->applied));
		out_cell(OUT_PLAIN, "%s", n->address[0] != '\0' ? n->address : "-");
		out_cell_time(n->wall_ms);
		out_cell(!n->valid ? OUT_BAD : n->marked ? OUT_WARN : OUT_PLAIN, "%s", node_state(n));
	}
	out_rows();
}

static void
status_table(enum fob_environment env, const struct fob_cluster_status *s)
{
	char id[CLUSTER_ID_HEX_SIZE];

	out_pair(OUT_PLAIN, "environment", "%s", fob_environment_name(env));
	cluster_id_hex(s->cluster, id);
	out_pair(OUT_PLAIN, "cluster", "%s", id);
	cluster_id_hex(s->replica, id);
	out_pair(OUT_PLAIN, "this replica", "%s", id);
	out_pair(
	    behind(s, s->applied) > 0 ? OUT_WARN : OUT_PLAIN, "entry", "%" PRIu64 " of %" PRIu64, s->applied, s->head);
	if (serves(s))
		out_pair(OUT_GOOD, "serving", "for %" PRId64 " ms more without hearing of the cluster", s->fresh_ms);
	else
		out_pair(OUT_BAD, "not serving", "%s", why_not(s));
	out_pair(
	    s->agent_connected ? OUT_GOOD : OUT_BAD, "agent", "%s", s->agent_connected ? "connected" : "not connected");
	if (s->n_nodes > 0)
		nodes_table(s);
}

/* ---- the list of both commands ---- */

static int
list_begin(struct cli *cli, enum fob_environment envs[2], size_t *n)
{
	int rc = cluster_begin(cli, envs, n);

	if (rc == CLI_OK && out_is_json()) {
		out_open();
		out_array("clusters");
	}
	return rc;
}

/* After a failure it stays open: half a list must not read as a whole one. */
static void
list_end(int rc)
{
	if (!out_is_json() || rc != CLI_OK)
		return;
	out_array_end();
	out_close();
}

int
cli_cluster_status(struct cli *cli)
{
	struct fob_cluster_status *status;
	size_t n, absent = 0, shown = 0;
	enum fob_environment envs[2];
	int rc = CLI_OK;

	if ((rc = list_begin(cli, envs, &n)) != CLI_OK)
		return rc;
	for (size_t i = 0; i < n; i++) {
		rc = cli_worse(rc, cluster_status_of(cli, envs[i], &status, &absent));
		if (status != NULL && out_is_json()) {
			out_item(status_json(envs[i], status));
		} else if (status != NULL) {
			if (shown++ > 0)
				out_gap();
			status_table(envs[i], status);
		}
		fob_cluster_status_free(status);
	}
	list_end(rc);
	return cluster_all_absent(cli, envs, n, absent, rc);
}

/* ---- wait ---- */

/* One environment that is waited for, as far as it has been looked at. */
struct waited {
	enum fob_environment env;
	bool known;    /* ${head} is */
	uint64_t head; /* when it was asked first */
	struct fob_error error;
	char why[FOB_CLUSTER_CLOSED_SIZE];
};

/*
 * Ask once. *${done}: it serves, or is not to be waited for; then the exit code is returned. fobd itself may be down for
 * a moment, so that is waited for, too.
 */
static int
look(struct cli *cli, struct waited *w, int64_t left_ms, size_t *absent, bool *done)
{
	const struct fob_cluster_status_request request = { FOB_CLUSTER_STATUS_REQUEST_INIT, .environment = w->env,
		.timeout_ms = (uint32_t)(left_ms < 1 ? 1 :
			left_ms < cli->timeout_ms    ? left_ms :
						       cli->timeout_ms) };
	struct fob_cluster_status *s;
	int rc = fob_cluster_status(cli->client, &request, &s, &w->error), code = CLI_OK;

	*done = rc != 0 && rc != FOB_EUNAVAILABLE && rc != FOB_EDEADLINE_EXCEEDED;
	if (rc == FOB_EFAILED_PRECONDITION && cli->options[OPT_ENVIRONMENT] == NULL)
		++*absent;
	else if (*done)
		code = cli_fault(cli, fob_environment_name(w->env), rc, &w->error);
	if (rc != 0) {
		snprintf(w->why, sizeof(w->why), "%s", w->error.message);
		return code;
	}
	if (!w->known)
		w->head = s->head;
	w->known = true;
	*done = s->closed[0] != '\0' || (serves(s) && s->applied >= w->head);
	snprintf(w->why, sizeof(w->why), "%s", serves(s) ? "it has not applied all entries yet" : why_not(s));
	if (*done && !serves(s)) {
		out_say("%s: %s: it can serve no more before an operator has acted: %s", cli->name,
		    fob_environment_name(w->env), w->why);
		code = CLI_FAULT;
	} else if (*done && out_is_json()) {
		out_item(status_json(w->env, s));
	} else if (*done) {
		out_pair(OUT_GOOD, fob_environment_name(w->env), "serving, at entry %" PRIu64, s->applied);
	}
	fob_cluster_status_free(s);
	return code;
}

static int
wait_in(struct cli *cli, enum fob_environment env, int64_t until_ms, size_t *absent)
{
	const struct timespec pause = { .tv_nsec = POLL_MS * 1000000L };
	struct waited w = { .env = env };
	bool done = false;
	int rc;

	for (;;) {
		if ((rc = look(cli, &w, until_ms - monotonic_ms(), absent, &done)) != CLI_OK || done)
			return rc;
		if (monotonic_ms() + POLL_MS >= until_ms)
			break;
		nanosleep(&pause, NULL);
	}
	out_say("%s: %s: it does not serve after %.1f s: %s", cli->name, fob_environment_name(env),
	    (double)cli->wait_ms / 1000, w.why);
	return CLI_FAULT;
}

int
cli_cluster_wait(struct cli *cli)
{
	const int64_t until_ms = monotonic_ms() + cli->wait_ms;
	enum fob_environment envs[2];
	size_t n, absent = 0;
	int rc = CLI_OK;

	if ((rc = list_begin(cli, envs, &n)) != CLI_OK)
		return rc;
	for (size_t i = 0; i < n; i++)
		rc = cli_worse(rc, wait_in(cli, envs[i], until_ms, &absent));
	list_end(rc);
	return cluster_all_absent(cli, envs, n, absent, rc);
}
