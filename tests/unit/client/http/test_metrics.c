/*
 * test_metrics.c - the text of /metrics, line by line. fob-http's objects are not linked to unit tests, so the file under
 * test is included. tests/integration/test_metrics.py gives the text of a running fobd to promtool.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "client/http/metrics.c"

struct fixture {
	struct fob_environment_stats live, test;
	const struct fob_environment_stats *environments[2];
	struct fob_stats stats;
	char *text;
};

static int
setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	f->live.environment = FOB_ENVIRONMENT_LIVE;
	f->test.environment = FOB_ENVIRONMENT_TEST;
	f->environments[0] = &f->live;
	f->environments[1] = &f->test;
	f->stats.n_environments = 2;
	f->stats.environments = f->environments;
	*state = f;
	return 0;
}

static int
teardown(void **state)
{
	struct fixture *f = *state;

	free(f->text);
	free(f);
	return 0;
}

static void
make(struct fixture *f, const struct fob_stats *stats)
{
	size_t len;

	free(f->text);
	assert_non_null(f->text = metrics_text(stats, &len));
	assert_int_equal(strlen(f->text), len);
}

/* Is ${line} one of the text's? */
static bool
has(const struct fixture *f, const char *line)
{
	size_t len = strlen(line);

	for (const char *p = f->text; (p = strstr(p, line)) != NULL; p++)
		if ((p == f->text || p[-1] == '\n') && p[len] == '\n')
			return true;
	return false;
}

static void
fobd_down(void **state)
{
	struct fixture *f = *state;

	make(f, NULL);
	assert_string_equal(
	    f->text, "# HELP fob_up 1 when fobd has answered, 0 when it has not.\n# TYPE fob_up gauge\nfob_up 0\n");
}

static void
numbers(void **state)
{
	struct fixture *f = *state;

	f->stats.start_ms = INT64_C(1800000000007);
	f->stats.connections = 5;
	f->stats.connections_refused = 6;
	f->stats.connections_dropped = 7;
	f->stats.open_descriptors = 8;
	f->stats.in_flight = 9;
	f->stats.unrecognised = 10;
	f->stats.answered[FOB_OPERATION_CLASS_VERIFY][FOB_ENVIRONMENT_LIVE][0] = UINT64_MAX;
	f->stats.answered[FOB_OPERATION_CLASS_VERIFY][FOB_ENVIRONMENT_ANY][14] = 11;
	f->live.verdicts[FOB_VERDICT_NOT_FOUND] = 12;
	f->test.mutations = 13;
	f->test.replays = 14;
	f->test.refused = 15;
	f->test.serving = true;
	f->test.used_bytes = 16;
	f->test.ceiling_bytes = 17;
	f->live.queue_depth = 18;
	f->live.keys_counted = true;
	f->live.keys_by_state[FOB_KEY_STATE_GRACE] = 19;
	f->live.superseded_in_use = 20;
	f->live.superseded_in_use_end_ms = INT64_C(1800000001999);
	make(f, &f->stats);
	assert_true(has(f, "fob_up 1"));
	assert_true(has(f, "fob_start_time_seconds 1800000000.007"));
	assert_true(has(f, "fob_connections 5"));
	assert_true(has(f, "fob_connections_refused_total 6"));
	assert_true(has(f, "fob_connections_dropped_total 7"));
	assert_true(has(f, "fob_open_descriptors 8"));
	assert_true(has(f, "fob_changes_in_flight 9"));
	assert_true(has(f, "fob_verdicts_total{environment=\"none\",verdict=\"MALFORMED\"} 10"));
	assert_true(
	    has(f, "fob_requests_total{environment=\"live\",class=\"verify\",code=\"OK\"} 18446744073709551615"));
	assert_true(has(f, "fob_requests_total{environment=\"none\",class=\"verify\",code=\"UNAVAILABLE\"} 11"));
	assert_true(has(f, "fob_requests_total{environment=\"test\",class=\"change\",code=\"OK\"} 0"));
	assert_null(strstr(f->text, "code=\"NOT_FOUND\""));
	assert_true(has(f, "fob_verdicts_total{environment=\"live\",verdict=\"NOT_FOUND\"} 12"));
	assert_true(has(f, "fob_verdicts_total{environment=\"live\",verdict=\"VALID\"} 0"));
	assert_null(strstr(f->text, "DENIED"));
	assert_true(has(f, "fob_changes_total{environment=\"test\",outcome=\"applied\"} 13"));
	assert_true(has(f, "fob_changes_total{environment=\"test\",outcome=\"replayed\"} 14"));
	assert_true(has(f, "fob_changes_total{environment=\"test\",outcome=\"refused\"} 15"));
	assert_true(has(f, "fob_environment_serving{environment=\"test\"} 1"));
	assert_true(has(f, "fob_environment_serving{environment=\"live\"} 0"));
	assert_true(has(f, "fob_database_used_bytes{environment=\"test\"} 16"));
	assert_true(has(f, "fob_database_ceiling_bytes{environment=\"test\"} 17"));
	assert_true(has(f, "fob_queue_depth{environment=\"live\"} 18"));
	assert_true(has(f, "fob_keys{environment=\"live\",state=\"grace\"} 19"));
	assert_true(has(f, "fob_keys{environment=\"live\",state=\"current\"} 0"));
	/* Of test nothing is said: its keys are not counted yet, and none is in use. */
	assert_null(strstr(f->text, "fob_keys{environment=\"test\""));
	assert_true(has(f, "fob_superseded_keys_in_use{environment=\"live\"} 20"));
	assert_true(has(f, "fob_superseded_keys_in_use{environment=\"test\"} 0"));
	assert_true(has(f, "fob_superseded_keys_in_use_end_timestamp_seconds{environment=\"live\"} 1800000001.999"));
	assert_null(strstr(f->text, "end_timestamp_seconds{environment=\"test\""));
}

/* Of an environment that is in no cluster nothing is said. */
static void
a_cluster(void **state)
{
	struct fixture *f = *state;

	make(f, &f->stats);
	assert_null(strstr(f->text, "\nfob_cluster_"));
	f->live.in_cluster = true;
	f->live.cluster_agent_connected = true;
	f->live.cluster_nodes = 3;
	f->live.cluster_applied = 41;
	f->live.cluster_head = UINT64_MAX;
	f->live.cluster_fresh_ms = 9087;
	make(f, &f->stats);
	assert_true(has(f, "fob_cluster_applied{environment=\"live\"} 41"));
	assert_true(has(f, "fob_cluster_head{environment=\"live\"} 18446744073709551615"));
	assert_true(has(f, "fob_cluster_fresh_seconds{environment=\"live\"} 9.087"));
	assert_true(has(f, "fob_cluster_agent_connected{environment=\"live\"} 1"));
	assert_true(has(f, "fob_cluster_nodes{environment=\"live\"} 3"));
	assert_true(has(f, "fob_cluster_closed{environment=\"live\"} 0"));
	for (const char *p = f->text; (p = strstr(p, "\nfob_cluster_")) != NULL; p++)
		assert_null(memmem(p, strcspn(p + 1, "\n"), "test", 4));
	f->live.cluster_closed = true;
	f->live.cluster_fresh_ms = 0;
	make(f, &f->stats);
	assert_true(has(f, "fob_cluster_closed{environment=\"live\"} 1"));
	assert_true(has(f, "fob_cluster_fresh_seconds{environment=\"live\"} 0.000"));
}

static void
histograms(void **state)
{
	struct fixture *f = *state;
	uint64_t *took = f->stats.durations[FOB_OPERATION_CLASS_CHANGE];

	took[0] = 1;
	took[1] = 2;
	took[23] = 4;
	took[24] = 8;
	f->stats.durations_ns[FOB_OPERATION_CLASS_CHANGE] = UINT64_C(90000000001);
	f->live.group_sizes[0] = 3;
	f->live.group_sizes[9] = 2;
	f->live.mutations = 700;
	make(f, &f->stats);
#define CHANGE(le) "fob_request_duration_seconds_bucket{class=\"change\",le=\"" le "\"} "
	assert_true(has(f, CHANGE("1e-06") "1"));
	assert_true(has(f, CHANGE("2e-06") "3"));
	assert_true(has(f, CHANGE("0.001024") "3"));
	assert_true(has(f, CHANGE("4.194304") "3"));
	assert_true(has(f, CHANGE("8.388608") "7"));
	assert_true(has(f, CHANGE("+Inf") "15"));
	assert_true(has(f, "fob_request_duration_seconds_sum{class=\"change\"} 90.000000001"));
	assert_true(has(f, "fob_request_duration_seconds_count{class=\"change\"} 15"));
	assert_true(has(f, "fob_request_duration_seconds_count{class=\"verify\"} 0"));
	assert_null(strstr(f->text, "class=\"health\",le"));
#define GROUP(le) "fob_commit_changes_bucket{environment=\"live\",le=\"" le "\"} "
	assert_true(has(f, GROUP("1") "3"));
	assert_true(has(f, GROUP("256") "3"));
	assert_true(has(f, GROUP("512") "5"));
	assert_true(has(f, GROUP("+Inf") "5"));
	assert_true(has(f, "fob_commit_changes_sum{environment=\"live\"} 700"));
	assert_true(has(f, "fob_commit_changes_count{environment=\"live\"} 5"));
}

/* A label's value that would end it, or its line. */
static void
escapes(void **state)
{
	struct fixture *f = *state;

	strcpy(f->stats.version, "1\"2\\3\n4");
	make(f, &f->stats);
	assert_true(has(f, "fob_build_info{version=\"1\\\"2\\\\3\\n4\"} 1"));
}

/* Each metric has its HELP and its TYPE, once, in front of its samples; a fobd with no environment is shown, too. */
static void
each_is_described(void **state)
{
	struct fixture *f = *state;
	char described[64] = "";
	unsigned metrics = 0;

	for (f->stats.n_environments = 0; f->stats.n_environments <= 2; f->stats.n_environments++) {
		make(f, &f->stats);
		for (char *line = strtok(f->text, "\n"); line != NULL; line = strtok(NULL, "\n")) {
			if (sscanf(line, "# HELP %63s", described) == 1) {
				metrics++;
				continue;
			}
			if (strncmp(line, "# TYPE ", 7) == 0)
				line += 7;
			assert_int_equal(strncmp(line, described, strlen(described)), 0);
		}
	}
	assert_int_equal(metrics % 3, 0);
	assert_in_range(metrics, 3 * 25, 3 * 50);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(fobd_down),
		TEST(numbers),
		TEST(a_cluster),
		TEST(histograms),
		TEST(escapes),
		TEST(each_is_described),
	};

	return cmocka_run_group_tests_name("metrics", tests, NULL, NULL);
}
