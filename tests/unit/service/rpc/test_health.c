/*
 * test_health.c - the names and states of Check, and the counters of Stats, compared with the test's own counts.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dlfcn.h>
#include <errno.h>

#include "client/fob.h"
#include "tests/unit/service/harness.h"

#define INTERPOSED __attribute__((visibility("default"), used))

static _Atomic int fail_sync;

/* LMDB's. A sync that fails ends a store for good. */
INTERPOSED int
fdatasync(int fd)
{
	static int (*next)(int);

	if (next == NULL)
		*(void **)&next = dlsym(RTLD_NEXT, "fdatasync");
	if (fail_sync == 0)
		return next(fd);
	errno = fail_sync;
	return -1;
}

enum {
	SERVING = FOB__V1__CHECK_RESPONSE__SERVING_STATUS__SERVING,
	NOT_SERVING = FOB__V1__CHECK_RESPONSE__SERVING_STATUS__NOT_SERVING
};

struct fixture {
	struct harness *h;
	struct harness_call *calls[3];
};

static int
setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	f->h = harness_new();
	for (int i = 0; i < 3; i++)
		f->calls[i] = harness_call_new(f->h, i == 0 ? ROLE_ADMIN : ROLE_VERIFY);
	*state = f;
	return 0;
}

static int
teardown(void **state)
{
	struct fixture *f = *state;

	fail_sync = 0;
	for (int i = 0; i < 3; i++)
		harness_call_free(f->calls[i]);
	harness_free(f->h);
	free(f);
	return 0;
}

/* The status, or a negated code. */
static int
check(struct fixture *f, const void *name, size_t len)
{
	Fob__V1__CheckRequest in = FOB__V1__CHECK_REQUEST__INIT;
	Fob__V1__CheckResponse *out;

	in.service = harness_bytes(name, len);
	if (harness_ask(f->calls[1], "fob.v1.Health/Check", &in.base) != 0)
		return -f->calls[1]->code;
	out = harness_body(f->calls[1], &fob__v1__check_response__descriptor);
	return (int)out->status;
}

static int
check_name(struct fixture *f, const char *name)
{
	return check(f, name, strlen(name));
}

static Fob__V1__StatsResponse *
stats(struct fixture *f)
{
	Fob__V1__StatsRequest in = FOB__V1__STATS_REQUEST__INIT;

	assert_int_equal(harness_ask(f->calls[2], "fob.v1.Health/Stats", &in.base), 0);
	return harness_body(f->calls[2], &fob__v1__stats_response__descriptor);
}

static void
names(void **state)
{
	static const char *const right[] = { "", "fob.v1.Keys", "fob.v1.Admin", "live", "test" };
	static const char *const wrong[] = { "fob.v1.Key", "fob.v1.Keyss", "Live", "liv", "livee", "tes", "LIVE", " ",
		"fob.v1.Keys/" };
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof(right) / sizeof(right[0]); i++)
		assert_int_equal(check_name(f, right[i]), SERVING);
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		assert_int_equal(check_name(f, wrong[i]), -FAULT_NOT_FOUND);
	assert_int_equal(check(f, "live\0", 5), -FAULT_NOT_FOUND);
	assert_int_equal(check(f, "\0", 1), -FAULT_NOT_FOUND);
}

static void
one_environment_only(void **state)
{
	struct fixture *f = *state;
	struct engine *test = f->h->service.engines[ENVIRONMENT_TEST];
	Fob__V1__StatsResponse *out;

	f->h->service.engines[ENVIRONMENT_TEST] = NULL;
	assert_int_equal(check_name(f, "test"), NOT_SERVING);
	/* All that is configured serves. */
	assert_int_equal(check_name(f, ""), SERVING);
	assert_int_equal(check_name(f, "live"), SERVING);
	out = stats(f);
	assert_int_equal(out->n_environments, 1);
	assert_int_equal(out->environments[0]->environment, FOB__V1__ENVIRONMENT__LIVE);
	f->h->service.engines[ENVIRONMENT_TEST] = test;
}

static void
a_store_that_has_failed(void **state)
{
	struct fixture *f = *state;
	struct harness_secrets s, t;
	Fob__V1__StatsResponse *out;

	assert_non_null(harness_create(f->calls[0], ENVIRONMENT_LIVE, "acme", &s));
	assert_non_null(harness_create(f->calls[0], ENVIRONMENT_TEST, "acme", &t));
	fail_sync = EIO;
	assert_null(harness_create(f->calls[0], ENVIRONMENT_LIVE, "beta", NULL));
	assert_int_equal(f->calls[0]->code, FAULT_INTERNAL);
	fail_sync = 0;
	assert_int_equal(check_name(f, ""), NOT_SERVING);
	assert_int_equal(check_name(f, "fob.v1.Keys"), NOT_SERVING);
	assert_int_equal(check_name(f, "fob.v1.Admin"), NOT_SERVING);
	assert_int_equal(check_name(f, "live"), NOT_SERVING);
	assert_int_equal(check_name(f, "test"), SERVING);
	out = stats(f);
	assert_int_equal(out->n_environments, 2);
	assert_false(out->environments[0]->serving);
	assert_true(out->environments[1]->serving);
	assert_int_equal(out->environments[1]->accounts, 1);

	assert_null(harness_create(f->calls[0], ENVIRONMENT_LIVE, "gamma", NULL));
	assert_int_equal(f->calls[0]->code, FAULT_UNAVAILABLE);
	/* Fail closed, and say which: not a verdict; and the other environment goes on. */
	assert_null(harness_verify(f->calls[1], s.secret, "", 0));
	assert_int_equal(f->calls[1]->code, FAULT_UNAVAILABLE);
	assert_int_equal(harness_verdict(f->calls[1], t.secret), FOB__V1__VERDICT__VALID);
	assert_non_null(harness_create(f->calls[0], ENVIRONMENT_TEST, "beta", NULL));
}

/* Other processes have every slot of LMDB's table of readers: health says so, and so does the fault. */
static void
no_slot_for_a_reader(void **state)
{
	enum { MOST = 256 };
	struct fixture *f = *state;
	struct store *store = f->h->service.engines[ENVIRONMENT_LIVE]->store;
	struct store_txn *txns[MOST];
	struct harness_secrets s;
	int n, fault = 0;

	assert_non_null(harness_create(f->calls[0], ENVIRONMENT_LIVE, "acme", &s));
	for (n = 0; n < MOST && fault == 0; n++) {
		assert_non_null(txns[n] = store_txn_new(store));
		fault = store_read(txns[n]);
	}
	assert_int_equal(fault, -FAULT_READERS);
	assert_int_equal(check_name(f, "live"), NOT_SERVING);
	assert_int_equal(check_name(f, ""), NOT_SERVING);
	assert_int_equal(check_name(f, "test"), SERVING);
	assert_null(harness_verify(f->calls[1], s.secret, "", 0));
	assert_int_equal(f->calls[1]->code, FAULT_UNAVAILABLE);
	assert_non_null(strstr(f->calls[1]->message, "every reader's slot is taken"));
	while (n > 0)
		store_txn_free(txns[--n]);
	store_look(store);
	assert_int_equal(check_name(f, "live"), SERVING);
	assert_int_equal(harness_verdict(f->calls[1], s.secret), FOB__V1__VERDICT__VALID);
}

static uint64_t
count_of_code(const Fob__V1__StatsResponse *out, int code)
{
	for (size_t i = 0; i < out->n_codes; i++)
		if ((int)out->codes[i]->code == code)
			return out->codes[i]->count;
	return 0;
}

static uint64_t
count_of_verdict(const Fob__V1__EnvironmentStats *e, int verdict)
{
	for (size_t i = 0; i < e->n_verdicts; i++)
		if ((int)e->verdicts[i]->verdict == verdict)
			return e->verdicts[i]->count;
	return 0;
}

#define OPERATION(name) FOB__V1__OPERATION_CLASS__OPERATION_CLASS_##name

static uint64_t
answered(const Fob__V1__StatsResponse *out, Fob__V1__OperationClass class, Fob__V1__Environment environment, int code)
{
	for (size_t i = 0; i < out->n_answered; i++)
		if (out->answered[i]->class_ == class && out->answered[i]->environment == environment &&
		    (int)out->answered[i]->code == code)
			return out->answered[i]->count;
	return 0;
}

/* How many requests of a class have a duration. */
static uint64_t
timed(const Fob__V1__StatsResponse *out, Fob__V1__OperationClass class)
{
	uint64_t n = 0;

	for (size_t i = 0; i < out->n_durations; i++)
		for (size_t b = 0; out->durations[i]->class_ == class && b < out->durations[i]->n_buckets; b++)
			n += out->durations[i]->buckets[b];
	return n;
}

/*
 * The time that a request waited on its connection counts; so does the writer's. One that is refused before its method is
 * called has none.
 */
static void
durations(void **state)
{
	static const struct {
		Fob__V1__OperationClass class;
		const char *method;
		size_t body_len;
		const char *body;
	} asked[] = {
		{ OPERATION(VERIFY), "fob.v1.Keys/VerifyKey", 3, "\x0a\x01x" },
		{ OPERATION(VERIFY_BATCH), "fob.v1.Keys/VerifyKeys", 0, "" },
		{ OPERATION(LIST), "fob.v1.Admin/ListAccounts", 0, "" },
		{ OPERATION(CHANGE), "fob.v1.Admin/RollKey", 0, "" },
		{ OPERATION(OTHER), "fob.v1.Admin/Nothing", 0, "" },
		{ OPERATION(BACKUP), "fob.v1.Admin/ReadBackup", 0, "" },
	};
	struct fixture *f = *state;
	struct harness_call *hc = f->calls[0];
	Fob__V1__StatsResponse *out;
	uint8_t *bytes;
	size_t len;

	for (size_t i = 0; i < sizeof(asked) / sizeof(asked[0]); i++) {
		bytes = harness_envelope(
		    asked[i].method, strlen(asked[i].method), asked[i].body, asked[i].body_len, 0, NULL, &len);
		harness_call_forget(hc);
		hc->sent++;
		/* Read 3 s ago. */
		dispatch(&hc->worker, &hc->origin, bytes, len, clock_boot_ns() - INT64_C(3000000000));
		dispatch_end(&hc->worker);
		free(bytes);
		out = stats(f);
		assert_int_equal(timed(out, asked[i].class),
		    asked[i].class >= OPERATION(VERIFY) && asked[i].class <= OPERATION(LIST));
	}
	assert_int_equal(out->n_durations, 4);
	for (size_t i = 0; i < out->n_durations; i++) {
		assert_int_equal(out->durations[i]->n_buckets, DURATION_BUCKETS);
		/* 2.1 to 4.2 s. */
		assert_int_equal(out->durations[i]->buckets[22], 1);
		assert_in_range(out->durations[i]->sum_ns, 3000000000, 4000000000);
	}
	harness_call_forget(hc);
	hc->sent++;
	bytes = harness_envelope("fob.v1.Keys/VerifyKey", 21, "\xff", 1, 0, NULL, &len);
	dispatch(&hc->worker, &hc->origin, bytes, len, clock_boot_ns());
	dispatch_end(&hc->worker);
	free(bytes);
	assert_int_equal(harness_wait(hc), FAULT_INVALID_ARGUMENT);
	out = stats(f);
	assert_int_equal(timed(out, OPERATION(VERIFY)), 1);
	assert_int_equal(answered(out, OPERATION(VERIFY), 0, FAULT_INVALID_ARGUMENT), 1);
}

static void
sums_over_all_workers(void **state)
{
	struct fixture *f = *state;
	const Fob__V1__EnvironmentStats *live, *test;
	Fob__V1__StatsResponse *out;
	struct harness_secrets s, t;
	char nobody[SECRET_LEN + 1] = "";
	uint64_t requests = 0;

	/* 2 creations, 1 refused; 3 workers verify. */
	assert_non_null(harness_create(f->calls[0], ENVIRONMENT_LIVE, "acme", &s));
	assert_non_null(harness_create(f->calls[0], ENVIRONMENT_TEST, "acme", &t));
	assert_null(harness_create(f->calls[0], ENVIRONMENT_TEST, "acme", NULL));
	assert_non_null(harness_roll(f->calls[0], ENVIRONMENT_LIVE, "acme", 10, NULL));
	requests += 4;
	secret_generate(ENVIRONMENT_TEST, KIND_SECRET, nobody);
	for (int i = 0; i < 3; i++) {
		for (int n = 0; n <= i; n++) {
			assert_int_equal(harness_verdict(f->calls[i], s.secret), FOB__V1__VERDICT__VALID);
			assert_int_equal(harness_verdict(f->calls[i], s.publishable), FOB__V1__VERDICT__VALID);
			assert_int_equal(harness_verdict(f->calls[i], t.secret), FOB__V1__VERDICT__VALID);
			assert_int_equal(harness_verdict(f->calls[i], nobody), FOB__V1__VERDICT__NOT_FOUND);
			assert_int_equal(harness_verdict(f->calls[i], "sk_live_x"), FOB__V1__VERDICT__MALFORMED);
			assert_int_equal(harness_verdict(f->calls[i], "x"), FOB__V1__VERDICT__MALFORMED);
			requests += 6;
		}
	}
	assert_int_equal(check_name(f, "nobody"), -FAULT_NOT_FOUND);
	requests++;

	out = stats(f);
	assert_true(harness_is(&out->version, FOBD_VERSION));
	assert_int_equal(out->start_ms, HARNESS_START_MS);
	/* This very request has not been answered yet. */
	assert_int_equal(out->requests, requests);
	assert_int_equal(count_of_code(out, FAULT_ALREADY_EXISTS), 1);
	assert_int_equal(count_of_code(out, FAULT_NOT_FOUND), 1);
	assert_int_equal(count_of_code(out, 0), requests - 2);
	assert_int_equal(out->n_codes, 3);
	assert_int_equal(out->unrecognised, 6);
	assert_int_equal(out->n_environments, 2);
	live = out->environments[0];
	test = out->environments[1];
	assert_int_equal(live->environment, FOB__V1__ENVIRONMENT__LIVE);
	assert_int_equal(test->environment, FOB__V1__ENVIRONMENT__TEST);
	assert_true(live->serving && test->serving);
	assert_int_equal(count_of_verdict(live, FOB__V1__VERDICT__VALID), 12);
	assert_int_equal(count_of_verdict(live, FOB__V1__VERDICT__MALFORMED), 6);
	assert_int_equal(live->n_verdicts, 2);
	assert_int_equal(count_of_verdict(test, FOB__V1__VERDICT__VALID), 6);
	assert_int_equal(count_of_verdict(test, FOB__V1__VERDICT__NOT_FOUND), 6);
	assert_int_equal(live->mutations, 2);
	assert_int_equal(live->refused, 0);
	assert_int_equal(test->mutations, 1);
	assert_int_equal(test->refused, 1);
	assert_int_equal(live->commits, 2);
	assert_int_equal(live->accounts, 1);
	assert_int_equal(live->keys, 3);
	assert_int_equal(test->keys, 2);
	assert_int_equal(live->revision, 2);
	assert_int_equal(live->event_sequence, 2);
	assert_int_equal(test->event_sequence, 1);
	assert_int_equal(live->queue_depth, 0);
	assert_int_equal(live->corrupt_records, 0);
	assert_int_equal(live->ceiling_bytes, 256U << 20);
	assert_in_range(live->used_bytes, 4096, 1U << 20);
	assert_int_equal(live->pepper_lines, 1);
	assert_false(live->rotating || live->rotation_keys || live->rotation_records || live->rotation_of_records);

	assert_int_equal(answered(out, OPERATION(VERIFY), FOB__V1__ENVIRONMENT__LIVE, 0), 18);
	assert_int_equal(answered(out, OPERATION(VERIFY), FOB__V1__ENVIRONMENT__TEST, 0), 12);
	assert_int_equal(answered(out, OPERATION(VERIFY), FOB__V1__ENVIRONMENT__ENVIRONMENT_UNSPECIFIED, 0), 6);
	assert_int_equal(answered(out, OPERATION(CHANGE), FOB__V1__ENVIRONMENT__LIVE, 0), 2);
	assert_int_equal(answered(out, OPERATION(CHANGE), FOB__V1__ENVIRONMENT__TEST, 0), 1);
	assert_int_equal(answered(out, OPERATION(CHANGE), FOB__V1__ENVIRONMENT__TEST, FAULT_ALREADY_EXISTS), 1);
	assert_int_equal(
	    answered(out, OPERATION(HEALTH), FOB__V1__ENVIRONMENT__ENVIRONMENT_UNSPECIFIED, FAULT_NOT_FOUND), 1);
	assert_int_equal(out->n_answered, 7);
	assert_int_equal(timed(out, OPERATION(VERIFY)), 36);
	assert_int_equal(timed(out, OPERATION(CHANGE)), 4);
	assert_int_equal(timed(out, OPERATION(LIST)) + timed(out, OPERATION(VERIFY_BATCH)), 0);
	assert_int_equal(live->n_group_sizes, WRITER_GROUPS);
	assert_int_equal(live->group_sizes[0], 2);

	harness_advance(f->h, 10000);
	assert_non_null(harness_create(f->calls[0], ENVIRONMENT_LIVE, "wakes-the-sweeper", NULL));
	out = stats(f);
	assert_int_equal(out->environments[0]->keys_expired, 1);
	assert_int_equal(out->environments[0]->revision, 4);
}

static void
count(void *arg, struct transport_counters *out)
{
	*out = *(struct transport_counters *)arg;
}

static void
what_the_transport_tells(void **state)
{
	struct transport_counters t = { .connections = 1,
		.open_descriptors = 2,
		.in_flight = 3,
		.connections_refused = 4,
		.connections_dropped = 5 };
	struct fixture *f = *state;
	Fob__V1__StatsResponse *out = stats(f);

	assert_int_equal(out->connections + out->open_descriptors + out->in_flight, 0);
	f->h->transport.count = count;
	f->h->transport.count_arg = &t;
	out = stats(f);
	assert_int_equal(out->connections, 1);
	assert_int_equal(out->open_descriptors, 2);
	assert_int_equal(out->in_flight, 3);
	assert_int_equal(out->connections_refused, 4);
	assert_int_equal(out->connections_dropped, 5);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(names),
		TEST(one_environment_only),
		TEST(a_store_that_has_failed),
		TEST(no_slot_for_a_reader),
		TEST(sums_over_all_workers),
		TEST(what_the_transport_tells),
		TEST(durations),
	};

	return cmocka_run_group_tests_name("health", tests, NULL, NULL);
}
