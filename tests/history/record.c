/*
 * record.c - record a history: threads verify, roll, revoke, suspend, resume and list the keys of a few accounts
 * concurrently, and write down for each call when it was made, when it was answered, by which node, and the answer. It
 * checks nothing; check.py does. Never writes a secret or a token.
 *
 * test_history.py starts it with one fobd, and kills that whenever this prints "kill". test_cluster_history.py gives it the
 * nodes of a cluster: each call is made through any of them, and some changes through two at once, under one token. When it
 * prints "settle" all nodes are to serve, before it reads a line and asks each of them for everything once more.
 */
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "client/fob.h"
#include "proto/c/program.h"
#include "tests/lib/made.h"
#include "tests/load/rng.h"

#define ACCOUNTS 6 /* the even ones live, the odd ones test; in a cluster, which has one environment, all live */
#define NODES 8    /* at most */
#define MUTATORS 6
#define VERIFIERS 12
#define KEYS 512 /* of one slot: more than a run can roll */
#define IN_FLIGHT 3
#define AHEAD 24          /* how far verifies may be ahead of their share */
#define KILLS 64          /* at most */
#define PATIENCE_MS 10000 /* of whom wants to know */
#define SHORT_GRACE_S 1   /* ends within the run, or just after it */
#define AROUND_MS 3
#define TRIES 3             /* under one token */
#define MARK_LEN 8          /* of a hash by which two secrets are compared */
#define LINE 32768          /* a list of KEYS keys */
#define VERIFIES_OF_10 6    /* calls */
#define LISTS_PER_CENT 10   /* of a mutator's calls */
#define REPLAYS_PER_CENT 15 /* of what was acknowledged: asked again under its token */
#define HOT_PER_CENT 70     /* verifies of the account that is being changed */
#define TWICE_PER_CENT 20   /* changes through two nodes at once */

struct account {
	char name[FOB_ACCOUNT_SIZE];
	enum fob_environment environment;
	pthread_mutex_t lock;
	char secrets[KEYS][FOB_SECRET_SIZE]; /* [generation]; "": never seen */
	uint32_t newest;                     /* the highest generation seen */
	uint32_t short_generation;           /* the last that was given SHORT_GRACE_S */
	int64_t short_end_ms;
};

/* A recorded call. Its times are CLOCK_MONOTONIC's, for the order, and the wall clock's, for deadlines. */
struct call {
	const char *op;
	struct account *account;
	unsigned node;
	uint64_t token; /* the same number: the same request token */
	int64_t inv_ns, ret_ns, inv_ms, ret_ms;
	uint32_t arg; /* a generation, or a roll's grace in seconds */
	uint32_t expected, authorizing;
};

static struct account accounts[ACCOUNTS];
static struct node {
	struct fob_client *verify, *admin;
} nodes[NODES];
static unsigned n_nodes;
static FILE *history;
static unsigned seed;
static unsigned mutations, verifies; /* of the run */
static unsigned kill_at[KILLS], kills;
static _Atomic unsigned hot;
static _Atomic uint64_t tokens;

/* Verifies keep a share of the mutations that began and ended, so that they run while changes are made. */
static pthread_mutex_t pace_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t pace_moved = PTHREAD_COND_INITIALIZER;
static unsigned mutations_taken, mutations_seen, verifies_taken;

static void die(const char *what, const char *why) __attribute__((noreturn));

static void
die(const char *what, const char *why)
{
	fprintf(stderr, "record: %s: %s\n", what, why);
	exit(1);
}

/* ---- the log ---- */

static int64_t
read_ns(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

static void
invoked(struct call *call)
{
	call->inv_ms = read_ns(CLOCK_REALTIME) / 1000000;
	call->inv_ns = read_ns(CLOCK_MONOTONIC);
}

static void
returned(struct call *call)
{
	call->ret_ns = read_ns(CLOCK_MONOTONIC);
	call->ret_ms = read_ns(CLOCK_REALTIME) / 1000000;
}

static void
write_call(const struct call *call, int fault, const char *answer, ...) __attribute__((format(printf, 3, 4)));

/* ${answer}: more members of the line's object, each with a comma before it. */
static void
write_call(const struct call *call, int fault, const char *answer, ...)
{
	char line[LINE];
	va_list args;

	va_start(args, answer);
	if ((size_t)vsnprintf(line, sizeof(line), answer, args) >= sizeof(line))
		die("log", "a line is too long");
	va_end(args);
	if (fprintf(history,
		"{\"op\":\"%s\",\"account\":\"%s/%s\",\"node\":%u,\"token\":%" PRIu64 ",\"inv\":%" PRId64 ",\"ret\":%" PRId64
		",\"inv_ms\":%" PRId64 ",\"ret_ms\":%" PRId64 ",\"arg\":%" PRIu32 ",\"expected\":%" PRIu32
		",\"authorizing\":%" PRIu32 ",\"fault\":\"%s\"%s}\n",
		call->op, fob_environment_name(call->account->environment), call->account->name, call->node, call->token,
		call->inv_ns, call->ret_ns, call->inv_ms, call->ret_ms, call->arg, call->expected, call->authorizing,
		fault == 0 ? "" : fob_fault_name(fault), line) < 0)
		die("log", strerror(errno));
}

/* ---- what is known of the keys ---- */

static void
learn(struct account *a, const struct fob_new_key *new)
{
	uint32_t generation = new->key->generation;

	if (generation >= KEYS)
		die(a->name, "a generation beyond what this run can have made");
	pthread_mutex_lock(&a->lock);
	memcpy(a->secrets[generation], new->secret, FOB_SECRET_SIZE);
	made_secret(new->secret);
	if (generation > a->newest)
		a->newest = generation;
	pthread_mutex_unlock(&a->lock);
}

static void
learn_end(struct account *a, const struct fob_key *old)
{
	pthread_mutex_lock(&a->lock);
	a->short_generation = old->generation;
	a->short_end_ms = old->expires_ms;
	pthread_mutex_unlock(&a->lock);
}

/* Choose a key among the ${among} newest whose secret is known. Returns its generation; the first is always known. */
static uint32_t
pick_key(struct account *a, struct rng *rng, uint32_t among, char secret[FOB_SECRET_SIZE])
{
	uint32_t generation;

	pthread_mutex_lock(&a->lock);
	generation = a->newest - (uint32_t)rng_below(rng, among < a->newest ? among : a->newest);
	while (a->secrets[generation][0] == '\0')
		generation--;
	memcpy(secret, a->secrets[generation], FOB_SECRET_SIZE);
	pthread_mutex_unlock(&a->lock);
	return generation;
}

/* ---- calls ---- */

static unsigned
any_node(struct rng *rng)
{
	return (unsigned)rng_below(rng, n_nodes);
}

static void
verify_key(unsigned node, struct account *a, uint32_t generation, const char *secret)
{
	struct call call = { .op = "verify", .account = a, .node = node, .arg = generation };
	struct fob_verification v = { FOB_VERIFICATION_INIT };
	int fault;

	invoked(&call);
	fault = fob_verify(nodes[node].verify,
	    &(struct fob_verify_request){ FOB_VERIFY_REQUEST_INIT, .secret = secret, .secret_len = strlen(secret) }, &v,
	    NULL);
	returned(&call);
	write_call(&call, fault,
	    ",\"verdict\":\"%s\",\"generation\":%" PRIu32 ",\"current\":%" PRIu32
	    ",\"superseded\":%s,\"expires\":%" PRId64 ",\"of\":\"%s/%s\"",
	    fob_verdict_name(v.verdict), v.generation, v.current_generation, v.superseded ? "true" : "false",
	    v.expires_ms, fob_environment_name(v.environment), v.account);
}

static void
list_keys(unsigned node, struct account *a)
{
	const struct fob_list_request request = { FOB_LIST_REQUEST_INIT, .environment = a->environment,
		.account = a->name, .page_size = FOB_PAGE_MAX };
	struct call call = { .op = "list", .account = a, .node = node };
	struct fob_cursor cursor = { 0 };
	struct fob_key_page *page = NULL;
	char keys[LINE - 1024] = "";
	size_t at = 0;
	int fault;

	invoked(&call);
	fault = fob_list_keys(nodes[node].admin, &request, &cursor, &page, NULL);
	returned(&call);
	for (size_t i = 0; fault == 0 && i < page->n; i++) {
		const struct fob_key *k = page->keys[i];

		if (k->kind != FOB_KIND_SECRET)
			continue;
		at += (size_t)snprintf(keys + at, sizeof(keys) - at, "%s[%" PRIu32 ",\"%s\",%" PRId64 "]",
		    at == 0 ? "" : ",", k->generation, fob_key_state_name(k->state), k->expires_ms);
		if (at >= sizeof(keys))
			die("log", "a list is too long");
	}
	write_call(&call, fault, ",\"keys\":[%s]", keys);
	if (fault == 0)
		fob_key_page_free(page);
}

/* A mutation that can be sent again with its token. */
struct wish {
	struct call call;
	uint8_t token[FOB_TOKEN_LEN];
	char authorizing[FOB_SECRET_SIZE];
};

static int
roll(struct wish *w, uint32_t timeout_ms)
{
	struct fob_roll_request request = { FOB_ROLL_REQUEST_INIT, .environment = w->call.account->environment,
		.account = w->call.account->name, .grace_s = w->call.arg == 0 ? FOB_GRACE_NONE_S : w->call.arg,
		.expected_generation = w->call.expected, .token = w->token, .timeout_ms = timeout_ms };
	const struct fob_key none = { FOB_KEY_INIT }, *new_key = &none, *old_key = &none;
	char hex[2 * MARK_LEN + 1] = "";
	struct fob_rolled_key *out;
	uint8_t mark[MARK_LEN];
	int fault;

	if (w->call.authorizing != 0) {
		request.authorizing_secret = w->authorizing;
		request.authorizing_secret_len = strlen(w->authorizing);
	}
	invoked(&w->call);
	fault = fob_roll_key(nodes[w->call.node].admin, &request, &out, NULL);
	returned(&w->call);
	if (fault == 0) {
		const char *secret = out->new_key->secret;

		crypto_generichash(mark, sizeof(mark), (const uint8_t *)secret, strlen(secret), NULL, 0);
		sodium_bin2hex(hex, sizeof(hex), mark, sizeof(mark));
		new_key = out->new_key->key;
		old_key = out->old_key != NULL ? out->old_key : &none;
		learn(w->call.account, out->new_key);
		if (w->call.arg == SHORT_GRACE_S && old_key->state == FOB_KEY_STATE_GRACE)
			learn_end(w->call.account, old_key);
	}
	write_call(&w->call, fault,
	    ",\"generation\":%" PRIu32 ",\"old\":%" PRIu32 ",\"state\":\"%s\",\"expires\":%" PRId64 ",\"mark\":\"%s\"",
	    new_key->generation, old_key->generation, fob_key_state_name(old_key->state), old_key->expires_ms, hex);
	fob_rolled_key_free(out);
	return fault;
}

static int
revoke_key(struct wish *w, uint32_t timeout_ms)
{
	const struct fob_revoke_request request = { FOB_REVOKE_REQUEST_INIT,
		.environment = w->call.account->environment, .account = w->call.account->name, .kind = FOB_KIND_SECRET,
		.generation = w->call.arg, .token = w->token, .timeout_ms = timeout_ms };
	struct fob_key out = { FOB_KEY_INIT };
	int fault;

	invoked(&w->call);
	fault = fob_revoke_key(nodes[w->call.node].admin, &request, &out, NULL);
	returned(&w->call);
	write_call(&w->call, fault, ",\"generation\":%" PRIu32 ",\"state\":\"%s\",\"expires\":%" PRId64, out.generation,
	    fob_key_state_name(out.state), out.expires_ms);
	return fault;
}

static int
suspend_or_resume(struct wish *w, uint32_t timeout_ms)
{
	const struct fob_account_request request = { FOB_ACCOUNT_REQUEST_INIT,
		.environment = w->call.account->environment, .account = w->call.account->name, .token = w->token,
		.timeout_ms = timeout_ms };
	struct fob_account out = { FOB_ACCOUNT_INIT };
	int fault;

	invoked(&w->call);
	fault = (strcmp(w->call.op, "suspend") == 0 ? fob_suspend_account : fob_resume_account)(
	    nodes[w->call.node].admin, &request, &out, NULL);
	returned(&w->call);
	write_call(&w->call, fault, ",\"suspended\":%s,\"generation\":%" PRIu32, out.suspended ? "true" : "false",
	    out.secret_generation);
	return fault;
}

static int
try_once(struct wish *w, uint32_t timeout_ms)
{
	if (strcmp(w->call.op, "roll") == 0)
		return roll(w, timeout_ms);
	return strcmp(w->call.op, "revoke") == 0 ? revoke_key(w, timeout_ms) : suspend_or_resume(w, timeout_ms);
}

/* Is it unknown whether the change was made? After a refusal it is known. */
static bool
is_unanswered(int fault)
{
	return fault == FOB_EDEADLINE_EXCEEDED || fault == FOB_EUNAVAILABLE || fault == FOB_ECANCELLED ||
	    fault == FOB_EINTERNAL || fault == FOB_EUNKNOWN;
}

static void
choose_wish(struct wish *w, struct account *a, struct rng *rng)
{
	static const uint32_t graces[] = { 0, 0, SHORT_GRACE_S, FOB_GRACE_MAX_S, FOB_GRACE_MAX_S };
	uint64_t dice = rng_below(rng, 100);

	*w = (struct wish){ .call = { .account = a } };
	w->call.token = atomic_fetch_add(&tokens, 1) + 1;
	randombytes_buf(w->token, sizeof(w->token));
	if (dice < 50) {
		w->call.op = "roll";
		w->call.arg = graces[rng_below(rng, sizeof(graces) / sizeof(graces[0]))];
		if (rng_below(rng, 4) == 0)
			w->call.expected = pick_key(a, rng, 1, w->authorizing);
		if (rng_below(rng, 6) == 0)
			w->call.authorizing = pick_key(a, rng, 2, w->authorizing);
	} else if (dice < 75) {
		w->call.op = "revoke";
		w->call.arg = pick_key(a, rng, rng_below(rng, 2) == 0 ? 1 : 6, w->authorizing);
	} else {
		w->call.op = dice < 83 ? "suspend" : "resume";
	}
}

/* Some deadlines are too short on purpose. Then it is unknown whether the change was made, until it is sent again. */
static uint32_t
choose_timeout(struct rng *rng)
{
	uint64_t dice = rng_below(rng, 100);

	return dice < 4 ? 2 : dice < 15 ? 20 : dice < 35 ? 80 : PATIENCE_MS;
}

static void *
run_second(void *arg)
{
	(void)try_once(arg, PATIENCE_MS);
	return NULL;
}

/* Through another node at the same time, under the same token. */
static int
try_twice(struct wish *w, uint32_t timeout_ms, struct rng *rng)
{
	struct wish second = *w;
	pthread_t thread;
	int fault;

	second.call.node = (w->call.node + 1 + (unsigned)rng_below(rng, n_nodes - 1)) % n_nodes;
	if (pthread_create(&thread, NULL, run_second, &second) != 0)
		die("threads", "none left");
	fault = try_once(w, timeout_ms);
	pthread_join(thread, NULL);
	fob_wipe(&second, sizeof(second));
	return fault;
}

static void
mutate(struct account *a, struct rng *rng)
{
	uint32_t timeout_ms = choose_timeout(rng);
	struct wish w;
	int fault;

	choose_wish(&w, a, rng);
	for (int i = 0; i < TRIES; i++) {
		w.call.node = any_node(rng);
		fault = n_nodes > 1 && i == 0 && rng_below(rng, 100) < TWICE_PER_CENT ? try_twice(&w, timeout_ms, rng) :
										       try_once(&w, timeout_ms);
		/* Some unknown ones are never sent again, and some answered ones are. */
		if (is_unanswered(fault) ? rng_below(rng, 100) < 40 :
					   fault != 0 || rng_below(rng, 100) >= REPLAYS_PER_CENT)
			break;
		timeout_ms = PATIENCE_MS;
	}
	fob_wipe(&w, sizeof(w));
}

/* ---- threads ---- */

/* Returns the number of the next mutation, from 0 on; ${mutations} when there is none. */
static unsigned
take_mutation(void)
{
	unsigned n;

	pthread_mutex_lock(&pace_lock);
	n = mutations_taken < mutations ? mutations_taken++ : mutations;
	mutations_seen++;
	pthread_cond_broadcast(&pace_moved);
	pthread_mutex_unlock(&pace_lock);
	return n;
}

/* Verifies keep their share; the rest are made when the mutators have ended. */
static bool
take_verify(void)
{
	bool taken;

	pthread_mutex_lock(&pace_lock);
	while (verifies_taken < verifies && mutations_seen < mutations + MUTATORS &&
	    verifies_taken * (uint64_t)mutations > mutations_seen * (uint64_t)verifies + AHEAD * (uint64_t)mutations)
		pthread_cond_wait(&pace_moved, &pace_lock);
	if ((taken = verifies_taken < verifies))
		verifies_taken++;
	pthread_mutex_unlock(&pace_lock);
	return taken;
}

static void *
run_mutator(void *arg)
{
	struct rng rng = rng_new((uint64_t)seed * 1000 + (uint64_t)(uintptr_t)arg);
	unsigned n, account;

	while ((n = take_mutation()) < mutations) {
		for (unsigned i = 0; i < kills; i++)
			if (kill_at[i] == n && (puts("kill") == EOF || fflush(stdout) != 0))
				die("standard output", strerror(errno));
		account = (unsigned)rng_below(&rng, ACCOUNTS);
		atomic_store(&hot, account);
		if (rng_below(&rng, 100) < LISTS_PER_CENT)
			list_keys(any_node(&rng), &accounts[account]);
		else
			mutate(&accounts[account], &rng);
	}
	return NULL;
}

static void *
run_verifier(void *arg)
{
	struct rng rng = rng_new((uint64_t)seed * 1000 + 500 + (uint64_t)(uintptr_t)arg);
	char secret[FOB_SECRET_SIZE];
	struct account *a;
	uint32_t generation;

	while (take_verify()) {
		a = &accounts[rng_below(&rng, 100) < HOT_PER_CENT ? atomic_load(&hot) : rng_below(&rng, ACCOUNTS)];
		generation = pick_key(a, &rng, rng_below(&rng, 4) == 0 ? KEYS : 3, secret);
		verify_key(any_node(&rng), a, generation, secret);
	}
	fob_wipe(secret, sizeof(secret));
	return NULL;
}

static void
run_threads(void)
{
	pthread_t threads[MUTATORS + VERIFIERS];

	for (uintptr_t i = 0; i < MUTATORS + VERIFIERS; i++)
		if (pthread_create(&threads[i], NULL, i < MUTATORS ? run_mutator : run_verifier, (void *)i) != 0)
			die("threads", "none left");
	for (int i = 0; i < MUTATORS + VERIFIERS; i++)
		pthread_join(threads[i], NULL);
}

/* ---- from start to end ---- */

static struct fob_client *
connect_to(const char *address, unsigned in_flight)
{
	struct fob_options *o = fob_options_new();
	struct fob_client *client = NULL;
	struct fob_error error;

	if (o == NULL || fob_options_set_address(o, address) != 0 || fob_options_set_timeout_ms(o, PATIENCE_MS) != 0 ||
	    fob_options_set_in_flight(o, in_flight) != 0)
		die(address, "is no address");
	if (fob_client_new(o, &client, &error) != 0)
		die(address, error.message);
	fob_options_free(o);
	return client;
}

static void
create_account(struct account *a, const char *prefix, unsigned number)
{
	struct fob_created_account *out;
	struct fob_error error;

	pthread_mutex_init(&a->lock, NULL);
	snprintf(a->name, sizeof(a->name), "%s.%u", prefix, number);
	a->environment = n_nodes > 1 || number % 2 == 0 ? FOB_ENVIRONMENT_LIVE : FOB_ENVIRONMENT_TEST;
	if (fob_create_account(nodes[0].admin,
		&(struct fob_account_request){
		    FOB_ACCOUNT_REQUEST_INIT, .environment = a->environment, .account = a->name },
		&out, &error) != 0)
		die(a->name, error.message);
	learn(a, out->secret_key);
	fob_created_account_free(out);
}

static void
ask_everything(unsigned node)
{
	for (struct account *a = accounts; a < accounts + ACCOUNTS; a++) {
		for (uint32_t generation = 1; generation <= a->newest; generation++)
			if (a->secrets[generation][0] != '\0')
				verify_key(node, a, generation, a->secrets[generation]);
		list_keys(node, a);
	}
}

static void
ask_all_nodes(void)
{
	for (unsigned node = 0; node < n_nodes; node++)
		ask_everything(node);
}

/* Until the test says that all nodes serve. */
static void
settle(void)
{
	if (n_nodes > 1 && (puts("settle") == EOF || fflush(stdout) != 0 || getchar() != '\n'))
		die("settle", "the test has ended");
}

/* Verify a key just before and just after the end of its grace, by the wall clock that both processes share. */
static void
ask_around_its_end(unsigned node, struct account *a)
{
	int64_t before_ms = a->short_end_ms - AROUND_MS;
	struct timespec until = { .tv_sec = before_ms / 1000, .tv_nsec = before_ms % 1000 * 1000000 };

	if (a->short_end_ms == 0 || a->secrets[a->short_generation][0] == '\0')
		return;
	while (clock_nanosleep(CLOCK_REALTIME, TIMER_ABSTIME, &until, NULL) == EINTR)
		;
	while (read_ns(CLOCK_REALTIME) / 1000000 <= a->short_end_ms + AROUND_MS)
		verify_key(node, a, a->short_generation, a->secrets[a->short_generation]);
}

static void
ask_around_the_last_end(unsigned node)
{
	struct account *last = accounts;

	for (struct account *a = accounts; a < accounts + ACCOUNTS; a++)
		if (a->short_end_ms > last->short_end_ms)
			last = a;
	ask_around_its_end(node, last);
	ask_everything(node);
}

static unsigned
number(const char *text, unsigned most)
{
	char *end;
	unsigned long n = strtoul(text, &end, 10);

	if (*text == '\0' || *end != '\0' || n > most)
		die(text, "is no number that goes here");
	return (unsigned)n;
}

int
main(int argc, char **argv)
{
	struct rng rng;
	unsigned calls;

	if (program_begin() != 0)
		return 1;
	if (argc < 8 || argc % 2 != 0 || argc > 6 + 2 * NODES) {
		fputs("usage: record HISTORY SEED CALLS KILLS ACCOUNT-PREFIX {VERIFY-ADDRESS ADMIN-ADDRESS}...\n", stderr);
		return 1;
	}
	seed = number(argv[2], UINT32_MAX);
	calls = number(argv[3], 1000000);
	kills = number(argv[4], KILLS);
	verifies = calls * VERIFIES_OF_10 / 10;
	mutations = calls - verifies;
	rng = rng_new(seed);
	for (unsigned i = 0; i < kills; i++)
		kill_at[i] = (unsigned)rng_below(&rng, mutations > 0 ? mutations : 1);
	if (sodium_init() < 0 || (history = fopen(argv[1], "we")) == NULL)
		die(argv[1], strerror(errno));
	for (int i = 6; i < argc; i += 2) {
		/* Fewer messages at once make larger batches. */
		nodes[n_nodes].verify = connect_to(argv[i], 1 + seed % IN_FLIGHT);
		nodes[n_nodes++].admin = connect_to(argv[i + 1], 64);
	}
	for (unsigned i = 0; i < ACCOUNTS; i++)
		create_account(&accounts[i], argv[5], i);
	run_threads();
	settle();
	ask_all_nodes();
	if (rng_below(&rng, 2) == 0)
		ask_around_the_last_end(any_node(&rng));
	for (unsigned i = 0; i < n_nodes; i++) {
		fob_client_free(nodes[i].verify);
		fob_client_free(nodes[i].admin);
	}
	fob_wipe(accounts, sizeof(accounts));
	if (fclose(history) != 0)
		die(argv[1], strerror(errno));
	return 0;
}
