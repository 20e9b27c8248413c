/*
 * metrics.c - fobd's counters as Prometheus text (see metrics.h). All names and labels are written here.
 */
#include "client/http/metrics.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define CODES 17
#define GROUPS 10 /* fobd's commits have 512 changes at most */

/* ---- the format ---- */

static void
begin(FILE *out, const char *name, const char *type, const char *help)
{
	fprintf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

/* A label's value: what the format has a meaning for is escaped. */
static void
put_label(FILE *out, const char *name, const char *value)
{
	fprintf(out, "%s=\"", name);
	for (; *value != '\0'; value++) {
		if (*value == '\n')
			fputs("\\n", out);
		else if (*value == '"' || *value == '\\')
			fprintf(out, "\\%c", *value);
		else
			fputc(*value, out);
	}
	fputc('"', out);
}

struct label {
	const char *name, *value; /* a NULL name ends the list */
};

/* "NAME{a="b"} ": what stands before a sample's value. */
static void
put_series(FILE *out, const char *name, const char *suffix, const struct label *labels)
{
	fprintf(out, "%s%s", name, suffix);
	for (size_t i = 0; labels[i].name != NULL; i++) {
		fputc(i == 0 ? '{' : ',', out);
		put_label(out, labels[i].name, labels[i].value);
	}
	fputs(labels[0].name != NULL ? "} " : " ", out);
}

static void
sample(FILE *out, const char *name, const struct label *labels, uint64_t value)
{
	put_series(out, name, "", labels);
	fprintf(out, "%" PRIu64 "\n", value);
}

static const struct label none[] = { { NULL, NULL } };

/* A metric without labels. */
static void
single(FILE *out, const char *name, const char *type, const char *help, uint64_t value)
{
	begin(out, name, type, help);
	sample(out, name, none, value);
}

/* Milliseconds as seconds, without rounding. */
static void
put_seconds(FILE *out, const char *name, const struct label *labels, int64_t ms)
{
	put_series(out, name, "", labels);
	fprintf(out, "%" PRId64 ".%03d\n", ms / 1000, (int)(ms % 1000));
}

/*
 * One histogram. Bucket i of ${buckets} counts what is at most 2^i ${unit}s; the last of ${n} has no bound if ${open}.
 * ${key} and ${value} are its label.
 */
struct histogram {
	const char *name, *key, *value;
	const uint64_t *buckets;
	size_t n;
	bool open;
	double unit, sum;
};

static void
put_histogram(FILE *out, const struct histogram *h)
{
	struct label labels[] = { { h->key, h->value }, { "le", "" }, { NULL, NULL } };
	size_t bounded = h->open ? h->n - 1 : h->n;
	uint64_t count = 0;
	char le[32];

	labels[1].value = le;
	for (size_t i = 0; i < bounded; i++) {
		count += h->buckets[i];
		snprintf(le, sizeof(le), "%.9g", (double)(UINT64_C(1) << i) * h->unit);
		put_series(out, h->name, "_bucket", labels);
		fprintf(out, "%" PRIu64 "\n", count);
	}
	count += h->open ? h->buckets[bounded] : 0;
	labels[1].value = "+Inf";
	put_series(out, h->name, "_bucket", labels);
	fprintf(out, "%" PRIu64 "\n", count);
	labels[1].name = NULL;
	put_series(out, h->name, "_sum", labels);
	fprintf(out, "%.15g\n", h->sum);
	put_series(out, h->name, "_count", labels);
	fprintf(out, "%" PRIu64 "\n", count);
}

/* ---- requests ---- */

static const char *
environment(enum fob_environment e)
{
	return e == FOB_ENVIRONMENT_ANY ? "none" : fob_environment_name(e);
}

/* Series that have not occurred are left out, but for OK: a rate needs a 0 to begin with. */
static void
requests(FILE *out, const struct fob_stats *s)
{
	static const char name[] = "fob_requests_total";

	begin(out, name, "counter",
	    "Requests that fobd has answered, by environment (none: it names none, or several), class of operation and "
	    "code.");
	for (int c = FOB_OPERATION_CLASS_OTHER; c <= FOB_OPERATION_CLASS_CLUSTER; c++)
		for (int e = FOB_ENVIRONMENT_ANY; e <= FOB_ENVIRONMENT_TEST; e++)
			for (int code = 0; code < CODES; code++) {
				const struct label labels[] = { { "environment", environment((enum fob_environment)e) },
					{ "class", fob_operation_class_name((enum fob_operation_class)c) },
					{ "code", fob_fault_name(-code) }, { NULL, NULL } };

				if (code == 0 || s->answered[c][e][code] > 0)
					sample(out, name, labels, s->answered[c][e][code]);
			}
}

static void
durations(FILE *out, const struct fob_stats *s)
{
	struct histogram h = { .name = "fob_request_duration_seconds",
		.key = "class",
		.n = FOB_DURATION_BUCKETS,
		.open = true,
		.unit = 1e-6 };

	begin(out, h.name, "histogram",
	    "How long fobd took, from a request's bytes to its reply, by class of operation.");
	for (int c = FOB_OPERATION_CLASS_VERIFY; c <= FOB_OPERATION_CLASS_LIST; c++) {
		h.value = fob_operation_class_name((enum fob_operation_class)c);
		h.buckets = s->durations[c];
		h.sum = (double)s->durations_ns[c] / 1e9;
		put_histogram(out, &h);
	}
}

static void
verdicts(FILE *out, const struct fob_stats *s)
{
	static const char name[] = "fob_verdicts_total";
	const struct label unrecognised[] = { { "environment", "none" },
		{ "verdict", fob_verdict_name(FOB_VERDICT_MALFORMED) }, { NULL, NULL } };

	begin(out, name, "counter",
	    "Verdicts on keys, those of batches included, by environment (none: the key's form tells none).");
	for (size_t i = 0; i < s->n_environments; i++)
		for (int v = FOB_VERDICT_DENIED; v <= FOB_VERDICT_FORBIDDEN; v++) {
			const struct label labels[] = { { "environment", environment(s->environments[i]->environment) },
				{ "verdict", fob_verdict_name((enum fob_verdict)v) }, { NULL, NULL } };

			if (v != FOB_VERDICT_DENIED || s->environments[i]->verdicts[v] > 0)
				sample(out, name, labels, s->environments[i]->verdicts[v]);
		}
	sample(out, name, unrecognised, s->unrecognised);
}

/* ---- environments ---- */

/* What is one number of an environment. */
struct figure {
	const char *name, *type, *help;
	uint64_t (*value)(const struct fob_environment_stats *e);
};

#define FIGURE(member) \
	static uint64_t figure_##member(const struct fob_environment_stats *e) \
	{ \
		return e->member; \
	}
FIGURE(serving)
FIGURE(commits)
FIGURE(keys_expired)
FIGURE(corrupt_records)
FIGURE(failures)
FIGURE(queue_depth)
FIGURE(accounts)
FIGURE(superseded_in_use)
FIGURE(used_bytes)
FIGURE(ceiling_bytes)
FIGURE(revision)
FIGURE(event_sequence)
FIGURE(pepper_lines)
FIGURE(rotating)
FIGURE(rotation_records)
FIGURE(rotation_of_records)

static const struct figure figures[] = {
	{ "fob_environment_serving", "gauge", "1 while the environment answers, 0 while it is UNAVAILABLE.",
	    figure_serving },
	{ "fob_commits_total", "counter", "Durable commits, the sweeper's included.", figure_commits },
	{ "fob_keys_expired_total", "counter", "Superseded keys whose end was committed.", figure_keys_expired },
	{ "fob_corrupt_records_total", "counter", "Reads of a record whose tag was wrong.", figure_corrupt_records },
	{ "fob_database_failures_total", "counter", "Times that the database has failed.", figure_failures },
	{ "fob_queue_depth", "gauge", "Changes that wait for the writer; the limit is 4096.", figure_queue_depth },
	{ "fob_accounts", "gauge", "Accounts.", figure_accounts },
	{ "fob_superseded_keys_in_use", "gauge",
	    "Keys in grace that were valid in a later minute than that of their roll.", figure_superseded_in_use },
	{ "fob_database_used_bytes", "gauge", "Bytes of the database that are used.", figure_used_bytes },
	{ "fob_database_ceiling_bytes", "gauge", "The setting ceiling; at 90 % of it new keys are refused.",
	    figure_ceiling_bytes },
	{ "fob_database_revision", "gauge", "Changes applied to the database since it was made.", figure_revision },
	{ "fob_event_sequence", "gauge", "Number of the newest event.", figure_event_sequence },
	{ "fob_pepper_lines", "gauge", "Lines of the pepper's file that are in use.", figure_pepper_lines },
	{ "fob_rotation_active", "gauge", "1 while records are moved to a new pepper.", figure_rotating },
	{ "fob_rotation_records", "gauge", "Records that the rotation has done.", figure_rotation_records },
	{ "fob_rotation_expected_records", "gauge", "About how many records the rotation has to do.",
	    figure_rotation_of_records },
};

static bool
is_any(const struct fob_environment_stats *e)
{
	(void)e;
	return true;
}

static bool
is_in_cluster(const struct fob_environment_stats *e)
{
	return e->in_cluster;
}

static void
put_figure(FILE *out, const struct fob_stats *s, const struct figure *f,
    bool (*has)(const struct fob_environment_stats *e))
{
	begin(out, f->name, f->type, f->help);
	for (size_t i = 0; i < s->n_environments; i++) {
		const struct label labels[] = { { "environment", environment(s->environments[i]->environment) },
			{ NULL, NULL } };

		if (has(s->environments[i]))
			sample(out, f->name, labels, f->value(s->environments[i]));
	}
}

static void
put_changes(FILE *out, const char *name, const struct fob_environment_stats *e, const char *outcome, uint64_t n)
{
	const struct label labels[] = { { "environment", environment(e->environment) }, { "outcome", outcome },
		{ NULL, NULL } };

	sample(out, name, labels, n);
}

static void
changes(FILE *out, const struct fob_stats *s)
{
	static const char name[] = "fob_changes_total";

	begin(out, name, "counter",
	    "Changes that the writer has answered: applied, replayed by their token, or refused.");
	for (size_t i = 0; i < s->n_environments; i++) {
		put_changes(out, name, s->environments[i], "applied", s->environments[i]->mutations);
		put_changes(out, name, s->environments[i], "replayed", s->environments[i]->replays);
		put_changes(out, name, s->environments[i], "refused", s->environments[i]->refused);
	}
}

static void
groups(FILE *out, const struct fob_stats *s)
{
	struct histogram h = { .name = "fob_commit_changes", .key = "environment", .n = GROUPS, .unit = 1 };

	begin(out, h.name, "histogram", "Changes that share a commit.");
	for (size_t i = 0; i < s->n_environments; i++) {
		h.value = environment(s->environments[i]->environment);
		h.buckets = s->environments[i]->group_sizes;
		h.sum = (double)s->environments[i]->mutations;
		put_histogram(out, &h);
	}
}

/* Nothing is said of keys that are not counted yet. */
static void
keys(FILE *out, const struct fob_stats *s)
{
	static const char name[] = "fob_keys";

	begin(out, name, "gauge", "Keys by state. Absent until fobd has counted them after its start.");
	for (size_t i = 0; i < s->n_environments; i++)
		for (int state = FOB_KEY_STATE_CURRENT;
		     state <= FOB_KEY_STATE_REVOKED && s->environments[i]->keys_counted; state++) {
			const struct label labels[] = { { "environment", environment(s->environments[i]->environment) },
				{ "state", fob_key_state_name((enum fob_key_state)state) }, { NULL, NULL } };

			sample(out, name, labels, s->environments[i]->keys_by_state[state]);
		}
}

static void
superseded_end(FILE *out, const struct fob_stats *s)
{
	static const char name[] = "fob_superseded_keys_in_use_end_timestamp_seconds";

	begin(out, name, "gauge", "When the first of the superseded keys in use ends. Absent when there is none.");
	for (size_t i = 0; i < s->n_environments; i++) {
		const struct label labels[] = { { "environment", environment(s->environments[i]->environment) },
			{ NULL, NULL } };

		if (s->environments[i]->superseded_in_use > 0)
			put_seconds(out, name, labels, s->environments[i]->superseded_in_use_end_ms);
	}
}

/* ---- clusters ---- */

FIGURE(cluster_agent_connected)
FIGURE(cluster_applied)
FIGURE(cluster_closed)
FIGURE(cluster_head)
FIGURE(cluster_nodes)

static const struct figure cluster_figures[] = {
	{ "fob_cluster_applied", "gauge", "The newest entry of the cluster's log that this node's database has.",
	    figure_cluster_applied },
	{ "fob_cluster_head", "gauge", "The newest entry of the cluster's log that this node has heard of.",
	    figure_cluster_head },
	{ "fob_cluster_agent_connected", "gauge", "1 while fob-cluster is connected to fobd.",
	    figure_cluster_agent_connected },
	{ "fob_cluster_nodes", "gauge", "Nodes of the cluster that this node knows of, itself included.",
	    figure_cluster_nodes },
	{ "fob_cluster_closed", "gauge", "1 when this node cannot serve again without being made anew.",
	    figure_cluster_closed },
};

/* Of an environment that is in no cluster nothing is said. */
static void
clusters(FILE *out, const struct fob_stats *s)
{
	static const char fresh[] = "fob_cluster_fresh_seconds";

	for (size_t f = 0; f < sizeof(cluster_figures) / sizeof(cluster_figures[0]); f++)
		put_figure(out, s, &cluster_figures[f], is_in_cluster);
	begin(out, fresh, "gauge",
	    "For how long the environment may answer without hearing of its cluster; 0 while it is UNAVAILABLE.");
	for (size_t i = 0; i < s->n_environments; i++) {
		const struct label labels[] = { { "environment", environment(s->environments[i]->environment) },
			{ NULL, NULL } };

		if (is_in_cluster(s->environments[i]))
			put_seconds(out, fresh, labels, s->environments[i]->cluster_fresh_ms);
	}
}

/* ---- all of it ---- */

static void
daemon_figures(FILE *out, const struct fob_stats *s)
{
	const struct label build[] = { { "version", s->version }, { NULL, NULL } };

	begin(out, "fob_build_info", "gauge", "The version of fobd.");
	sample(out, "fob_build_info", build, 1);
	begin(out, "fob_start_time_seconds", "gauge", "When fobd was started.");
	put_seconds(out, "fob_start_time_seconds", none, s->start_ms);
	single(out, "fob_connections", "gauge", "Connections to fobd that are open.", s->connections);
	single(out, "fob_connections_refused_total", "counter", "Connections that were closed as there were too many.",
	    s->connections_refused);
	single(out, "fob_connections_dropped_total", "counter",
	    "Connections that were closed as the peer took no replies.", s->connections_dropped);
	single(out, "fob_open_descriptors", "gauge", "File descriptors that fobd has open.", s->open_descriptors);
	single(out, "fob_changes_in_flight", "gauge", "Changes that were taken up and are not answered.", s->in_flight);
}

static void
all(FILE *out, const struct fob_stats *s)
{
	daemon_figures(out, s);
	requests(out, s);
	durations(out, s);
	verdicts(out, s);
	changes(out, s);
	groups(out, s);
	keys(out, s);
	for (size_t i = 0; i < sizeof(figures) / sizeof(figures[0]); i++)
		put_figure(out, s, &figures[i], is_any);
	superseded_end(out, s);
	clusters(out, s);
}

char *
metrics_text(const struct fob_stats *stats, size_t *len)
{
	char *text = NULL;
	FILE *out = open_memstream(&text, len);
	bool whole;

	if (out == NULL)
		return NULL;
	single(out, "fob_up", "gauge", "1 when fobd has answered, 0 when it has not.", stats != NULL);
	if (stats != NULL)
		all(out, stats);
	whole = ferror(out) == 0;
	if (fclose(out) == 0 && whole)
		return text;
	free(text);
	return NULL;
}
