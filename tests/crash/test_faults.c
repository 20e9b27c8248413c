/*
 * test_faults.c - the nth allocation, LMDB call or system call fails, for every n until a run needs fewer. Each run
 * is a process that opens both environments of a prepared service, makes changes and verifies keys. Its replies are
 * checked here: no wrong verdict; nothing acknowledged is missing after a restart; only the environment whose disk
 * failed stops; no descriptor and (under AddressSanitizer) no memory leaks. TORTURE=1: every n; otherwise a sample.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <lmdb.h>
#include <sys/wait.h>

#include "tests/crash/shim.h"
#include "service/base/names.h"
#include "service/base/sanitizer.h"
#include "tests/unit/service/harness.h"

#if SANITIZER_ADDRESS
#include <sanitizer/lsan_interface.h>
#else
#define __lsan_do_recoverable_leak_check() 0
#endif

#define ACCOUNTS 6
#define REQUESTS_MAX 64
#define REPLY_MAX 8192
#define FOREVER UINT64_MAX
#define NOT_ASKED (-1)

static const char *const names[ACCOUNTS] = { "roll", "leak", "revoke", "suspend", "still", "grace" };
enum { ROLL, LEAK, REVOKE, SUSPEND, STILL, IN_GRACE };

/* ---- the requests ---- */

enum question { CHANGE, VERDICT, LIST };

struct request {
	enum question question;
	enum environment environment;
	uint8_t *bytes;
	size_t len;
	int expected;   /* a verdict's, before the change at ${changed_by}, and */
	int after;      /* behind it */
	int changed_by; /* the index of a request; -1: nothing changes it */
};

static struct request requests[REQUESTS_MAX];
static unsigned n_requests, n_changes[ENVIRONMENTS];
static char secret_of[ENVIRONMENTS][ACCOUNTS][SECRET_LEN + 1];
static char older_of[ENVIRONMENTS][SECRET_LEN + 1];
static uint64_t base_revision[ENVIRONMENTS];

/* What a run writes down for the check. */
struct outcome {
	int opened[ENVIRONMENTS]; /* 1, or a fault */
	int code[REQUESTS_MAX];
	size_t len[REQUESTS_MAX];
	uint8_t reply[REQUESTS_MAX][REPLY_MAX];
	uint64_t fired, what, count;
	char problem[600];
};
static struct outcome *outcome;

static unsigned
add(enum question question, enum environment e, const char *method, const ProtobufCMessage *in)
{
	struct request *r = &requests[n_requests];

	assert_true(n_requests < REQUESTS_MAX);
	*r = (struct request){ .question = question, .environment = e, .changed_by = -1 };
	r->bytes = harness_request(method, in, 0, &r->len);
	if (question == CHANGE)
		n_changes[e]++;
	return n_requests++;
}

#define BASICS(in, e, name) \
	struct harness_token token = harness_token(); \
	(in).request_token = harness_bytes(token.bytes, LIMIT_TOKEN); \
	(in).environment = HARNESS_ENVIRONMENT(e); \
	(in).account = harness_text(name)

static int
add_create(enum environment e)
{
	Fob__V1__CreateAccountRequest in = FOB__V1__CREATE_ACCOUNT_REQUEST__INIT;

	BASICS(in, e, "created");
	return (int)add(CHANGE, e, "fob.v1.Admin/CreateAccount", &in.base);
}

static int
add_roll(enum environment e, const char *name, uint32_t grace_s)
{
	Fob__V1__RollKeyRequest in = FOB__V1__ROLL_KEY_REQUEST__INIT;
	Fob__V1__Grace grace = FOB__V1__GRACE__INIT;

	BASICS(in, e, name);
	grace.seconds = grace_s;
	in.grace = &grace;
	return (int)add(CHANGE, e, "fob.v1.Admin/RollKey", &in.base);
}

static int
add_revoke(enum environment e, const char *name)
{
	Fob__V1__RevokeKeyRequest in = FOB__V1__REVOKE_KEY_REQUEST__INIT;

	BASICS(in, e, name);
	in.kind = FOB__V1__KEY_KIND__SECRET;
	in.generation = 1;
	return (int)add(CHANGE, e, "fob.v1.Admin/RevokeKey", &in.base);
}

static int
add_suspend(enum environment e, const char *name)
{
	Fob__V1__SuspendAccountRequest in = FOB__V1__SUSPEND_ACCOUNT_REQUEST__INIT;

	BASICS(in, e, name);
	return (int)add(CHANGE, e, "fob.v1.Admin/SuspendAccount", &in.base);
}

static void
add_verdict(enum environment e, const char *secret, int expected, int changed_by, int after)
{
	Fob__V1__VerifyKeyRequest in = FOB__V1__VERIFY_KEY_REQUEST__INIT;
	struct request *r;

	in.credential_case = FOB__V1__VERIFY_KEY_REQUEST__CREDENTIAL_SECRET;
	in.secret = harness_text(secret);
	r = &requests[add(VERDICT, e, "fob.v1.Keys/VerifyKey", &in.base)];
	r->expected = expected;
	r->after = after;
	r->changed_by = changed_by;
}

static void
add_lists(enum environment e)
{
	Fob__V1__ListAccountsRequest accounts = FOB__V1__LIST_ACCOUNTS_REQUEST__INIT;
	Fob__V1__ListEventsRequest events = FOB__V1__LIST_EVENTS_REQUEST__INIT;
	Fob__V1__ListKeysRequest keys = FOB__V1__LIST_KEYS_REQUEST__INIT;

	accounts.environment = events.environment = keys.environment = HARNESS_ENVIRONMENT(e);
	keys.account = harness_text(names[STILL]);
	add(LIST, e, "fob.v1.Admin/ListAccounts", &accounts.base);
	add(LIST, e, "fob.v1.Admin/ListEvents", &events.base);
	add(LIST, e, "fob.v1.Admin/ListKeys", &keys.base);
}

static void
plan(enum environment e)
{
	char unknown[SECRET_LEN + 1] = "";
	int roll, leak, revoke, suspend;

	add_verdict(e, secret_of[e][STILL], VERDICT_VALID, -1, 0);
	add_create(e);
	roll = add_roll(e, names[ROLL], 3600);
	leak = add_roll(e, names[LEAK], 0);
	add_verdict(e, secret_of[e][ROLL], VERDICT_VALID, roll, VERDICT_VALID);
	add_verdict(e, secret_of[e][LEAK], VERDICT_VALID, leak, VERDICT_REVOKED);
	revoke = add_revoke(e, names[REVOKE]);
	suspend = add_suspend(e, names[SUSPEND]);
	add_verdict(e, secret_of[e][REVOKE], VERDICT_VALID, revoke, VERDICT_REVOKED);
	add_verdict(e, secret_of[e][SUSPEND], VERDICT_VALID, suspend, VERDICT_SUSPENDED);
	add_verdict(e, secret_of[e][STILL], VERDICT_VALID, -1, 0);
	add_verdict(e, older_of[e], VERDICT_VALID, -1, 0);
	secret_generate(e, KIND_SECRET, unknown);
	add_verdict(e, unknown, VERDICT_NOT_FOUND, -1, 0);
	add_lists(e);
}

/* ---- the prepared service, and a copy of it for each run ---- */

static struct harness *h;
static char base[512]; /* a folder */

static void
copy_file(const char *from, const char *to)
{
	static uint8_t bytes[4 << 20];
	int in = open(from, O_RDONLY), out = open(to, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	ssize_t len;

	assert_true(in >= 0 && out >= 0);
	len = read(in, bytes, sizeof(bytes));
	assert_true(len > 0 && len < (ssize_t)sizeof(bytes));
	assert_int_equal(write(out, bytes, (size_t)len), len);
	close(in);
	close(out);
}

static void
copy_data(const char *from, const char *to)
{
	char a[700], b[700];

	for (int e = 0; e < ENVIRONMENTS; e++) {
		snprintf(a, sizeof(a), "%s/%s", from, environment_name((enum environment)e));
		snprintf(b, sizeof(b), "%s/%s", to, environment_name((enum environment)e));
		if (mkdir(b, 0700) != 0)
			assert_int_equal(errno, EEXIST);
		snprintf(a, sizeof(a), "%s/%s/data.mdb", from, environment_name((enum environment)e));
		snprintf(b, sizeof(b), "%s/%s/data.mdb", to, environment_name((enum environment)e));
		copy_file(a, b);
	}
}

static uint64_t
revision_of(enum environment e)
{
	struct store_txn *txn = store_txn_new(h->service.engines[e]->store);
	struct record_state state;

	assert_non_null(txn);
	assert_int_equal(store_read(txn), 0);
	assert_int_equal(store_state(txn, &state), 0);
	store_txn_free(txn);
	return state.revision;
}

static int
prepare(void **state)
{
	const char *given = getenv("TEST_SEED");
	unsigned seed = given != NULL ? (unsigned)strtoul(given, NULL, 10) : randombytes_random() >> 1;
	struct harness_secrets made;
	struct harness_call *hc;

	(void)state;
	printf("# TEST_SEED=%u\n", seed);
	srandom(seed);
	shim_sync_not = true;
	h = harness_new();
	hc = harness_call_new(h, ROLE_ADMIN);
	for (int e = 0; e < ENVIRONMENTS; e++) {
		for (int i = 0; i < ACCOUNTS; i++) {
			assert_non_null(harness_create(hc, (enum environment)e, names[i], &made));
			memcpy(secret_of[e][i], made.secret, sizeof(made.secret));
		}
		memcpy(older_of[e], secret_of[e][IN_GRACE], sizeof(older_of[e]));
		assert_non_null(harness_roll(hc, (enum environment)e, names[IN_GRACE], 86400, secret_of[e][IN_GRACE]));
		base_revision[e] = revision_of((enum environment)e);
		plan((enum environment)e);
	}
	harness_call_free(hc);
	harness_close(h);
	fixture_folder(base);
	copy_data(h->folder, base);
	outcome = mmap(NULL, sizeof(*outcome), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	return outcome == MAP_FAILED ? -1 : 0;
}

static int
tidy(void **state)
{
	(void)state;
	for (unsigned i = 0; i < n_requests; i++)
		free(requests[i].bytes);
	munmap(outcome, sizeof(*outcome));
	fixture_remove(base);
	harness_free(h);
	return 0;
}

/* ---- one run, in its own process ---- */

struct fault_plan {
	const char *name;
	uint64_t kinds;
	enum shim_action action;
	int error;
	bool for_good; /* not only the nth, but all behind it */
};

static void
problem(const char *what)
{
	if (outcome->problem[0] == '\0')
		snprintf(outcome->problem, sizeof(outcome->problem), "%s", what);
}

/* The reply is not decoded here, as that would allocate. */
static bool
ask(struct harness_call *hc, unsigned i)
{
	hc->sent++;
	dispatch(&hc->worker, &hc->origin, requests[i].bytes, requests[i].len, clock_boot_ns());
	dispatch_end(&hc->worker);
	if (!harness_await(hc, 30) || hc->len > REPLY_MAX) {
		problem("a request without a reply");
		return false;
	}
	outcome->len[i] = hc->len;
	memcpy(outcome->reply[i], hc->bytes, hc->len);
	return true;
}

static void
serve(const struct fault_plan *p, struct harness_call *hc)
{
	static char why[512];
	struct engine *engine;

	for (int e = 0; e < ENVIRONMENTS; e++) {
		why[0] = '\0';
		outcome->opened[e] = 1;
		outcome->opened[e] = engine_open(&h->config, (enum environment)e, 4, &engine, why, sizeof(why));
		if (outcome->opened[e] == 0) {
			h->service.engines[e] = engine;
			continue;
		}
		h->service.engines[e] = NULL;
		h->service.broken[e] = true;
		if (why[0] == '\0')
			problem("refused at the start without a reason");
		/* The reason must be the true one; above all, it must not be a damaged database. */
		if (p->error == ENOMEM && strstr(why, "memory") == NULL)
			problem(why);
	}
	hc->origin = (struct origin){ .connection = hc, .role = ROLE_ADMIN, .peer = &hc->peer };
	if (worker_init(&hc->worker, &h->service) == 0) {
		for (unsigned i = 0; i < n_requests; i++)
			if (!ask(hc, i))
				break;
		worker_fini(&hc->worker);
	}
	harness_close(h);
}

static _Noreturn void
run(const struct fault_plan *p, uint64_t n)
{
	struct harness_call *hc = calloc(1, sizeof(*hc));
	unsigned before = fixture_descriptors();
	char path[700];
	int fd;

	snprintf(path, sizeof(path), "%s/stderr", base);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	dup2(fd, STDERR_FILENO);
	close(fd);
	pthread_mutex_init(&hc->lock, NULL);
	pthread_cond_init(&hc->answered, NULL);
	shim_arm(p->kinds, n, p->for_good ? FOREVER : n, p->action, p->error);
	serve(p, hc);
	outcome->count = shim->count;
	outcome->what = shim->what;
	outcome->fired = shim_disarm();
	free(hc);
	if (fixture_descriptors() != before)
		problem("a descriptor is lost");
	if (__lsan_do_recoverable_leak_check() != 0)
		problem("memory is lost");
	_exit(0);
}

/* ---- the check of a run ---- */

static uint64_t n_runs, n_acked, n_unknown, n_refused, n_closed;

static Fob__Rpc__V1__Response *
unpack(unsigned i)
{
	Fob__Rpc__V1__Response *r = fob__rpc__v1__response__unpack(NULL, outcome->len[i], outcome->reply[i]);

	if (r == NULL)
		problem("a reply that is none");
	return r;
}

static int
verdict_in(const Fob__Rpc__V1__Response *r)
{
	Fob__V1__VerifyKeyResponse *v = fob__v1__verify_key_response__unpack(NULL, r->body.len, r->body.data);
	int verdict = v != NULL ? (int)v->verdict : -1;

	if (v != NULL)
		fob__v1__verify_key_response__free_unpacked(v, NULL);
	return verdict;
}

/* Is this verdict one of those that are right at its place? */
static bool
is_right(const struct request *q, int verdict)
{
	int changed = q->changed_by < 0 ? NOT_ASKED : outcome->code[q->changed_by];

	if (changed == 0)
		return verdict == q->after;
	/* A commit that failed has said that it does not know; this process goes on with what was before. */
	return verdict == q->expected || (changed == FAULT_INTERNAL && verdict == q->after);
}

/* Is this a fault of the service, which says nothing about keys and accounts? */
static bool
is_a_fault(int code)
{
	return code == FAULT_UNAVAILABLE || code == FAULT_INTERNAL || code == FAULT_RESOURCE_EXHAUSTED;
}

static void
judge_replies(const struct fault_plan *p)
{
	bool stopped[ENVIRONMENTS] = { false }, failed[ENVIRONMENTS] = { false };

	for (unsigned i = 0; i < n_requests; i++) {
		const struct request *q = &requests[i];
		Fob__Rpc__V1__Response *r;

		outcome->code[i] = NOT_ASKED;
		if (outcome->len[i] == 0 || (r = unpack(i)) == NULL)
			continue;
		outcome->code[i] = (int)r->code;
		failed[q->environment] = failed[q->environment] || r->code != 0;
		if (r->code != 0 && !is_a_fault((int)r->code))
			problem("an answer in place of a fault");
		if (r->code == 0 && q->question == VERDICT && !is_right(q, verdict_in(r)))
			problem("a wrong verdict");
		if (r->code == 0 && stopped[q->environment])
			problem("an environment whose disk has failed goes on");
		if (q->question == CHANGE && (int)r->code == FAULT_INTERNAL && p->error == EIO &&
		    (outcome->what & (SHIM_WRITE | SHIM_SYNC)) != 0)
			stopped[q->environment] = true;
		fob__rpc__v1__response__free_unpacked(r, NULL);
	}
	if (!p->for_good && failed[ENVIRONMENT_LIVE] && failed[ENVIRONMENT_TEST])
		problem("one fault in both environments");
}

/* After the restart: an acknowledged change is there, and a resend with its token applies each change exactly once. */
static void
judge_recovery(void)
{
	unsigned acked[ENVIRONMENTS] = { 0 }, unknown[ENVIRONMENTS] = { 0 };
	struct harness_call *hc;
	char why[512];

	for (unsigned i = 0; i < n_requests; i++) {
		if (requests[i].question != CHANGE || outcome->code[i] == NOT_ASKED)
			continue;
		acked[requests[i].environment] += outcome->code[i] == 0;
		unknown[requests[i].environment] += outcome->code[i] == FAULT_INTERNAL;
		n_refused += outcome->code[i] != 0 && outcome->code[i] != FAULT_INTERNAL;
	}
	for (int e = 0; e < ENVIRONMENTS; e++) {
		struct engine *engine;
		uint64_t revision;

		if (engine_open(&h->config, (enum environment)e, 4, &engine, why, sizeof(why)) != 0) {
			problem(why);
			return;
		}
		h->service.engines[e] = engine;
		revision = revision_of((enum environment)e) - base_revision[e];
		if (revision < acked[e])
			problem("what was acknowledged is lost");
		if (revision > acked[e] + unknown[e])
			problem("what was refused was done");
		n_acked += acked[e];
		n_unknown += unknown[e];
	}
	hc = harness_call_new(h, ROLE_ADMIN);
	for (unsigned i = 0; i < n_requests; i++) {
		const struct request *q = &requests[i];

		if (q->question != CHANGE)
			continue;
		harness_send_bytes(hc, q->bytes, q->len);
		if (harness_wait(hc) != 0)
			problem(hc->message);
		else if (outcome->code[i] == 0 &&
		    (hc->len != outcome->len[i] || memcmp(hc->bytes, outcome->reply[i], hc->len) != 0))
			problem("a token that was acknowledged gets another reply");
	}
	for (unsigned i = 0; i < n_requests; i++) {
		const struct request *q = &requests[i];

		if (q->question != VERDICT)
			continue;
		harness_send_bytes(hc, q->bytes, q->len);
		if (harness_wait(hc) != 0 || verdict_in(hc->response) != (q->changed_by < 0 ? q->expected : q->after))
			problem("a wrong verdict after the restart");
	}
	for (int e = 0; e < ENVIRONMENTS; e++)
		if (revision_of((enum environment)e) != base_revision[e] + n_changes[e])
			problem("a token was applied twice, or never");
	harness_call_free(hc);
}

static void
show_stderr(void)
{
	char path[700], line[600];
	FILE *f;

	snprintf(path, sizeof(path), "%s/stderr", base);
	if ((f = fopen(path, "r")) == NULL)
		return;
	while (fgets(line, sizeof(line), f) != NULL)
		print_message("#   %s", line);
	fclose(f);
}

/* A run in which the ${n}th call fails. Returns false when the run made fewer calls. */
static bool
try_one(const struct fault_plan *p, uint64_t n)
{
	int status;
	pid_t pid;

	copy_data(base, h->folder);
	memset(outcome, 0, sizeof(*outcome));
	fflush(stdout);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		run(p, n);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	n_runs++;
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
		problem("the process ended");
	judge_replies(p);
	judge_recovery();
	harness_close(h);
	n_closed += outcome->opened[0] != 0 || outcome->opened[1] != 0;
	if (outcome->problem[0] != '\0') {
		print_message("# %s, the %lluth (of kind %llu): %s; status %x\n", p->name, (unsigned long long)n,
		    (unsigned long long)outcome->what, outcome->problem, (unsigned)status);
		show_stderr();
	}
	return outcome->fired > 0;
}

/* Runs for every n, or with ${sample} for about so many, until a run makes fewer than n calls. */
static void
try_all(const struct fault_plan *p, unsigned sample)
{
	uint64_t n = 1, step, problems = 0, total;

	/* First a run in which no call fails: all must be well, and it counts the calls. */
	n_runs = n_acked = n_unknown = n_refused = n_closed = 0;
	assert_false(try_one(p, FOREVER));
	assert_int_equal(outcome->problem[0], '\0');
	for (unsigned i = 0; i < n_requests; i++)
		assert_int_equal(outcome->code[i], 0);
	total = outcome->count;
	step = getenv("TORTURE") != NULL || total < sample ? 1 : total / sample;
	n += step > 1 ? (uint64_t)random() % step : 0;
	while (try_one(p, n)) {
		problems += outcome->problem[0] != '\0';
		n += step > 1 ? 1 + (uint64_t)random() % (2 * step - 1) : 1;
	}
	problems += outcome->problem[0] != '\0';
	printf(
	    "# count: %s: %llu runs up to the %lluth; %llu starts refused; changes: %llu acknowledged, %llu undecided, %llu "
	    "refused; %llu runs with a problem\n",
	    p->name, (unsigned long long)n_runs, (unsigned long long)n, (unsigned long long)n_closed,
	    (unsigned long long)n_acked, (unsigned long long)n_unknown, (unsigned long long)n_refused,
	    (unsigned long long)problems);
	fflush(stdout);
	assert_int_equal(problems, 0);
}

/* ---- the tests ---- */

static void
the_nth_allocation(void **state)
{
	const struct fault_plan once = { "allocation", SHIM_MEMORY, SHIM_FAIL, ENOMEM, false };
	const struct fault_plan all = { "allocation and all after it", SHIM_MEMORY, SHIM_FAIL, ENOMEM, true };

	(void)state;
	try_all(&once, 25);
	try_all(&all, 8);
}

static void
the_nth_call_to_lmdb(void **state)
{
	static const struct fault_plan plans[] = {
		{ "LMDB: EIO", SHIM_LMDB, SHIM_FAIL, EIO, false },
		{ "LMDB: ENOMEM", SHIM_LMDB, SHIM_FAIL, ENOMEM, false },
		{ "LMDB: MDB_MAP_FULL", SHIM_LMDB, SHIM_FAIL, MDB_MAP_FULL, false },
		{ "LMDB: MDB_CORRUPTED", SHIM_LMDB, SHIM_FAIL, MDB_CORRUPTED, false },
		{ "LMDB: MDB_PANIC", SHIM_LMDB, SHIM_FAIL, MDB_PANIC, true },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(plans) / sizeof(plans[0]); i++)
		try_all(&plans[i], 8);
}

static void
the_nth_call_to_the_system(void **state)
{
	static const struct fault_plan plans[] = {
		{ "system: EIO", SHIM_SYSTEM, SHIM_FAIL, EIO, false },
		{ "system: EIO for good", SHIM_SYSTEM, SHIM_FAIL, EIO, true },
		{ "system: ENOSPC", SHIM_WRITE | SHIM_ALLOCATE | SHIM_TRUNCATE | SHIM_SYNC, SHIM_FAIL, ENOSPC, false },
		{ "system: ENOSPC for good", SHIM_WRITE | SHIM_ALLOCATE | SHIM_TRUNCATE, SHIM_FAIL, ENOSPC, true },
		{ "system: short writes and reads", SHIM_WRITE | SHIM_READ, SHIM_SHORT, EIO, false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(plans) / sizeof(plans[0]); i++)
		try_all(&plans[i], 8);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_nth_allocation),
		cmocka_unit_test(the_nth_call_to_lmdb),
		cmocka_unit_test(the_nth_call_to_the_system),
	};

	return cmocka_run_group_tests_name("faults", tests, prepare, tidy);
}
