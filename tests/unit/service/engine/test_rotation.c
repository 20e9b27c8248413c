/*
 * test_rotation.c - a pepper rotation under requests: it begins or ends during a read, a batch, a commit, and while
 * changes are queued; a key is used while it is moved; pepper files are refused; threads. The test replaces LMDB's
 * functions, so that it can stop at any of these points.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dlfcn.h>
#include <lmdb.h>
#include <sys/stat.h>
#include <time.h>

#include "tests/unit/service/harness.h"

#define INTERPOSED __attribute__((visibility("default"), used))
#define ACCOUNTS 60

struct fixture {
	struct harness *h;
	struct harness_call *admin;
	struct harness_call *verify;
	struct harness_secrets keys[ACCOUNTS];
};

/* ---- between LMDB and its callers ---- */

/* What this thread does in the middle of its next call; once. */
static _Thread_local void (*in_renew)(struct fixture *);
static _Thread_local void (*in_digest)(struct fixture *);
static _Thread_local struct fixture *fixture;

static void
once(void (**what)(struct fixture *))
{
	void (*now)(struct fixture *) = *what;

	*what = NULL;
	if (now != NULL)
		now(fixture);
}

INTERPOSED int
mdb_txn_renew(MDB_txn *txn)
{
	static int (*next)(MDB_txn *);

	if (next == NULL)
		*(void **)&next = dlsym(RTLD_NEXT, "mdb_txn_renew");
	once(&in_renew);
	return next(txn);
}

/* The digest of a secret is made after the snapshot was taken, and before its key is looked up. */
/* A digest's last step, after the snapshot was taken and before the key is looked up. */
INTERPOSED int
crypto_generichash_blake2b_final(crypto_generichash_blake2b_state *state, unsigned char *out, const size_t out_len)
{
	static int (*next)(crypto_generichash_blake2b_state *, unsigned char *, size_t);

	if (next == NULL)
		*(void **)&next = dlsym(RTLD_NEXT, "crypto_generichash_blake2b_final");
	once(&in_digest);
	return next(state, out, out_len);
}

/* Commits that may still be made: -1: any. The next one waits, until they are allowed again. */
static struct {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	int left;
	bool waiting;
} gate = { PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, -1, false };

INTERPOSED int
fdatasync(int fd)
{
	static int (*next)(int);

	if (next == NULL)
		*(void **)&next = dlsym(RTLD_NEXT, "fdatasync");
	pthread_mutex_lock(&gate.lock);
	while (gate.left == 0) {
		gate.waiting = true;
		pthread_cond_broadcast(&gate.changed);
		pthread_cond_wait(&gate.changed, &gate.lock);
	}
	gate.waiting = false;
	if (gate.left > 0)
		gate.left--;
	pthread_mutex_unlock(&gate.lock);
	return next(fd);
}

static void
allow_commits(int n)
{
	pthread_mutex_lock(&gate.lock);
	gate.left = n;
	pthread_cond_broadcast(&gate.changed);
	pthread_mutex_unlock(&gate.lock);
}

static void
await_commit(void)
{
	pthread_mutex_lock(&gate.lock);
	while (gate.left != 0 || !gate.waiting)
		pthread_cond_wait(&gate.changed, &gate.lock);
	pthread_mutex_unlock(&gate.lock);
}

/* ---- rotations ---- */

static struct engine *
live(const struct fixture *f)
{
	return f->h->service.engines[ENVIRONMENT_LIVE];
}

static void
add_line(const struct fixture *f)
{
	char why[512] = "";

	if (pepper_append(f->h->paths[ENVIRONMENT_LIVE][1], why, sizeof(why)) != 0)
		fail_msg("%s", why);
}

/* What SIGHUP comes to. */
static void
reread(const struct fixture *f)
{
	struct pepper *pepper;
	char why[512] = "";

	if (pepper_load(f->h->paths[ENVIRONMENT_LIVE][1], &pepper, why, sizeof(why)) != 0)
		fail_msg("%s", why);
	writer_offer_pepper(live(f)->writer, pepper);
}

static bool
is_at(const struct fixture *f, unsigned lines, bool moving)
{
	const struct pepper *pepper = store_pepper(live(f)->store);

	return pepper_newest(pepper) == lines && pepper_has_old(pepper) == moving;
}

static void
await(const struct fixture *f, unsigned lines, bool moving)
{
	const struct timespec nap = { .tv_nsec = 200000 };

	while (!is_at(f, lines, moving))
		nanosleep(&nap, NULL);
}

static void
rotate(struct fixture *f)
{
	unsigned lines = pepper_newest(store_pepper(live(f)->store));

	add_line(f);
	reread(f);
	await(f, lines + 1, false);
}

/* Its beginning and the first commit that moves records; the second one waits. */
static void
begin_to_rotate(struct fixture *f)
{
	unsigned lines = pepper_newest(store_pepper(live(f)->store));

	add_line(f);
	/* Each syncs once. */
	allow_commits(2);
	reread(f);
	await_commit();
	assert_true(is_at(f, lines + 1, true));
}

static void
end_it(struct fixture *f)
{
	unsigned lines = pepper_newest(store_pepper(live(f)->store));

	allow_commits(-1);
	await(f, lines, false);
}

/* ---- before and after each test ---- */

static int
setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	char account[16];

	assert_non_null(f);
	fixture = f;
	f->h = harness_new();
	f->admin = harness_call_new(f->h, ROLE_ADMIN);
	f->verify = harness_call_new(f->h, ROLE_VERIFY);
	for (int i = 0; i < ACCOUNTS; i++) {
		snprintf(account, sizeof(account), "a%d", i);
		assert_non_null(harness_create(f->admin, ENVIRONMENT_LIVE, account, &f->keys[i]));
	}
	/* A transaction is begun once, and renewed from then on. */
	assert_int_equal(harness_verdict(f->verify, f->keys[0].publishable), FOB__V1__VERDICT__VALID);
	*state = f;
	return 0;
}

static int
teardown(void **state)
{
	struct fixture *f = *state;

	allow_commits(-1);
	harness_call_free(f->admin);
	harness_call_free(f->verify);
	harness_free(f->h);
	free(f);
	return 0;
}

static void
check_keys(struct fixture *f)
{
	for (int i = 0; i < ACCOUNTS; i++) {
		assert_int_equal(harness_verdict(f->verify, f->keys[i].secret), FOB__V1__VERDICT__VALID);
		assert_int_equal(harness_verdict(f->verify, f->keys[i].publishable), FOB__V1__VERDICT__VALID);
	}
	assert_int_equal(store_corrupt_records(live(f)->store), 0);
}

/* 0: never. */
static int64_t
last_used(struct fixture *f, const char *account)
{
	Fob__V1__ListKeysRequest in = FOB__V1__LIST_KEYS_REQUEST__INIT;
	Fob__V1__ListKeysResponse *out;

	in.environment = HARNESS_ENVIRONMENT(ENVIRONMENT_LIVE);
	in.account = harness_text(account);
	assert_int_equal(harness_ask(f->admin, "fob.v1.Admin/ListKeys", &in.base), 0);
	out = harness_body(f->admin, &fob__v1__list_keys_response__descriptor);
	assert_int_equal(out->n_keys, 2);
	return out->keys[0]->last_used_ms;
}

/* ---- readers ---- */

/* Between the read of the pepper and the snapshot the whole rotation happens; or only its beginning; or only its end. */
static void
test_a_read_in_the_middle_of_which_it_happens(void **state)
{
	struct fixture *f = *state;

	in_renew = rotate;
	assert_int_equal(harness_verdict(f->verify, f->keys[1].secret), FOB__V1__VERDICT__VALID);
	assert_true(is_at(f, 2, false));
	in_renew = begin_to_rotate;
	assert_int_equal(harness_verdict(f->verify, f->keys[2].secret), FOB__V1__VERDICT__VALID);
	assert_int_equal(harness_verdict(f->verify, f->keys[ACCOUNTS - 1].secret), FOB__V1__VERDICT__VALID);
	in_renew = end_it;
	assert_int_equal(harness_verdict(f->verify, f->keys[3].secret), FOB__V1__VERDICT__VALID);
	assert_true(is_at(f, 3, false));
	check_keys(f);
}

static void
ask_batch(struct fixture *f)
{
	Fob__V1__VerifyKeysRequest in = FOB__V1__VERIFY_KEYS_REQUEST__INIT;
	Fob__V1__VerifyKeyRequest items[ACCOUNTS], *pointers[ACCOUNTS];
	Fob__V1__VerifyKeysResponse *out;

	for (int i = 0; i < ACCOUNTS; i++) {
		fob__v1__verify_key_request__init(&items[i]);
		items[i].credential_case = FOB__V1__VERIFY_KEY_REQUEST__CREDENTIAL_SECRET;
		items[i].secret = harness_text(f->keys[i].secret);
		pointers[i] = &items[i];
	}
	in.n_items = ACCOUNTS;
	in.items = pointers;
	assert_int_equal(harness_ask(f->verify, "fob.v1.Keys/VerifyKeys", &in.base), 0);
	out = harness_body(f->verify, &fob__v1__verify_keys_response__descriptor);
	assert_int_equal(out->n_items, ACCOUNTS);
	for (int i = 0; i < ACCOUNTS; i++) {
		assert_int_equal(out->items[i]->code, 0);
		assert_int_equal(out->items[i]->result->verdict, FOB__V1__VERDICT__VALID);
	}
}

/* A batch is one snapshot, which outlives a beginning, an end, and both. */
static void
test_a_batch_in_the_middle_of_which_it_happens(void **state)
{
	struct fixture *f = *state;

	in_digest = rotate;
	ask_batch(f);
	in_digest = begin_to_rotate;
	ask_batch(f);
	in_digest = end_it;
	ask_batch(f);
	assert_true(is_at(f, 3, false));
	check_keys(f);
}

/* It is noted under the pepper that the verify began with, when the key's cell has been moved already. */
static void
test_a_use_in_the_middle_of_which_it_happens(void **state)
{
	struct fixture *f = *state;
	static void (*const moments[])(struct fixture *) = { rotate, begin_to_rotate, end_it, NULL };
	char account[16];

	for (int i = 0; i < 4; i++) {
		snprintf(account, sizeof(account), "a%d", i);
		assert_int_equal(last_used(f, account), 0);
		in_digest = moments[i];
		assert_int_equal(harness_verdict(f->verify, f->keys[i].secret), FOB__V1__VERDICT__VALID);
		assert_true(last_used(f, account) > 0);
	}
	rotate(f);
	for (int i = 0; i < 5; i++) {
		snprintf(account, sizeof(account), "a%d", i);
		assert_int_equal(last_used(f, account) > 0, i < 4);
	}
}

/* ---- Stats ---- */

static Fob__V1__EnvironmentStats *
stats(struct fixture *f)
{
	Fob__V1__StatsRequest in = FOB__V1__STATS_REQUEST__INIT;
	Fob__V1__StatsResponse *out;

	assert_int_equal(harness_ask(f->verify, "fob.v1.Health/Stats", &in.base), 0);
	out = harness_body(f->verify, &fob__v1__stats_response__descriptor);
	assert_int_equal(out->n_environments, 2);
	assert_true(out->environments[1]->pepper_lines == 1 && !out->environments[1]->rotating);
	return out->environments[0];
}

/* One account and its two keys, an event, a token and its age: four records of which each is walked. */
static void
test_how_far_it_has_come(void **state)
{
	struct fixture *f = *state;
	Fob__V1__EnvironmentStats *s;
	uint64_t keys = 0, records = 0;

	s = stats(f);
	assert_true(s->pepper_lines == 1 && !s->rotating && s->rotation_of_records == 0);
	begin_to_rotate(f);
	for (int i = 0; i < 4; i++) {
		s = stats(f);
		assert_int_equal(s->pepper_lines, 2);
		assert_true(s->rotating);
		assert_int_equal(s->rotation_of_records, 4 * ACCOUNTS);
		assert_true(s->rotation_records > 0 && s->rotation_records >= records);
		assert_true(s->rotation_records < s->rotation_of_records);
		assert_true(s->rotation_keys >= keys && s->rotation_keys <= 2 * ACCOUNTS);
		keys = s->rotation_keys;
		records = s->rotation_records;
		allow_commits(1);
		await_commit();
	}
	assert_int_equal(keys, 2 * ACCOUNTS);
	end_it(f);
	s = stats(f);
	assert_true(s->pepper_lines == 2 && !s->rotating && s->rotation_keys == 0 && s->rotation_of_records == 0);
}

/* ---- mutations ---- */

#define QUEUED 12

struct rolling {
	struct harness_call *call;
	Fob__V1__RollKeyRequest in;
	struct harness_token token;
	char account[16];
	uint8_t reply[HARNESS_REPLY_MAX];
	size_t len;
};

static void
roll_start(struct fixture *f, struct rolling *r, int i)
{
	r->call = harness_call_new(f->h, ROLE_ADMIN);
	r->token = harness_token();
	snprintf(r->account, sizeof(r->account), "a%d", i);
	fob__v1__roll_key_request__init(&r->in);
	r->in.request_token = harness_bytes(r->token.bytes, LIMIT_TOKEN);
	r->in.environment = HARNESS_ENVIRONMENT(ENVIRONMENT_LIVE);
	r->in.account = harness_text(r->account);
	r->in.authorizing_secret = harness_text(f->keys[i].secret);
	harness_start(r->call, "fob.v1.Admin/RollKey", &r->in.base);
}

/* Done; the new secret and the old one are valid; and asked for again, it is the same. */
static void
roll_check(struct fixture *f, struct rolling *r, int i)
{
	char secret[SECRET_LEN + 1];

	if (r->len == 0) {
		assert_int_equal(harness_wait(r->call), 0);
		memcpy(r->reply, r->call->bytes, r->len = r->call->len);
	}
	assert_int_equal(harness_ask(r->call, "fob.v1.Admin/RollKey", &r->in.base), 0);
	assert_int_equal(r->call->len, r->len);
	assert_memory_equal(r->call->bytes, r->reply, r->len);
	harness_take_secret(
	    ((Fob__V1__RollKeyResponse *)harness_body(r->call, &fob__v1__roll_key_response__descriptor))->new_key,
	    secret);
	assert_int_equal(harness_verdict(f->verify, secret), FOB__V1__VERDICT__VALID);
	assert_int_equal(harness_verdict(f->verify, f->keys[i].secret), FOB__V1__VERDICT__VALID);
	assert_int_equal(harness_revoke(f->admin, ENVIRONMENT_LIVE, r->account, FOB__V1__KEY_KIND__SECRET, 1), 0);
	assert_int_equal(harness_verdict(f->verify, f->keys[i].secret), FOB__V1__VERDICT__REVOKED);
	sodium_memzero(secret, sizeof(secret));
}

/* Queued before the line came, between it and the beginning, and after that, whose first step waits for the disk. */
static void
test_what_is_queued(void **state)
{
	struct fixture *f = *state;
	struct rolling *rolls = calloc(QUEUED, sizeof(*rolls));

	assert_non_null(rolls);
	allow_commits(0);
	roll_start(f, &rolls[0], 0);
	await_commit();
	for (int i = 1; i < QUEUED; i++) {
		if (i == QUEUED / 3) {
			add_line(f);
			reread(f);
		}
		if (i == 2 * QUEUED / 3) {
			/* The first roll; the others of that time; the beginning. */
			allow_commits(3);
			await_commit();
			assert_true(is_at(f, 2, true));
		}
		roll_start(f, &rolls[i], i * 5);
	}
	allow_commits(-1);
	for (int i = 0; i < QUEUED; i++)
		roll_check(f, &rolls[i], i * 5);
	await(f, 2, false);
	for (int i = 0; i < QUEUED; i++) {
		assert_int_equal(harness_ask(rolls[i].call, "fob.v1.Admin/RollKey", &rolls[i].in.base), 0);
		assert_memory_equal(rolls[i].call->bytes, rolls[i].reply, rolls[i].len);
		harness_call_free(rolls[i].call);
	}
	sodium_memzero(rolls, QUEUED * sizeof(*rolls));
	free(rolls);
}

/* ---- the file ---- */

/* A line that is added during a rotation waits until that has ended, and needs no restart. */
static void
test_a_line_while_another_is_under_way(void **state)
{
	struct fixture *f = *state;

	begin_to_rotate(f);
	add_line(f);
	reread(f);
	add_line(f);
	reread(f);
	reread(f);
	assert_true(is_at(f, 2, true));
	allow_commits(-1);
	await(f, 4, false);
	check_keys(f);
	/* A restart finds it so. */
	harness_call_free(f->verify);
	harness_call_free(f->admin);
	harness_close(f->h);
	harness_open(f->h);
	f->admin = harness_call_new(f->h, ROLE_ADMIN);
	f->verify = harness_call_new(f->h, ROLE_VERIFY);
	assert_true(is_at(f, 4, false));
	check_keys(f);
}

/* Make a change: when it is committed the writer has also seen what it was given before. */
static void
let_it_look(struct fixture *f)
{
	for (int i = 0; i < 2; i++)
		assert_int_equal(harness_suspend(f->admin, ENVIRONMENT_LIVE, "a0", i == 0), 0);
}

static void
test_files_that_are_refused(void **state)
{
	struct fixture *f = *state;
	const char *path = f->h->paths[ENVIRONMENT_LIVE][1];
	char good[400] = "", bad[400];
	size_t len;
	FILE *file;

	rotate(f);
	assert_non_null(file = fopen(path, "r"));
	len = fread(good, 1, sizeof(good), file);
	fclose(file);
	for (int way = 0; way < 4; way++) {
		memcpy(bad, good, len);
		if (way == 1) /* another first line */
			bad[20] = (char)(bad[20] == 'a' ? 'b' : 'a');
		else if (way == 2) /* in another order */
			memcpy(bad, good + len / 2, len / 2), memcpy(bad + len / 2, good, len / 2);
		else if (way == 3) /* a new one, and not at the end */
			bad[len / 2 + 20] = (char)(bad[len / 2 + 20] == 'a' ? 'b' : 'a');
		assert_non_null(file = fopen(path, "w"));
		assert_int_equal(fwrite(bad, 1, way == 0 ? len / 2 : len, file), way == 0 ? len / 2 : len);
		if (way == 3)
			assert_int_equal(fwrite(good + len / 2, 1, len / 2, file), len / 2);
		fclose(file);
		reread(f);
		let_it_look(f);
		assert_true(is_at(f, 2, false));
	}
	/* When the old file is put back, it is accepted. */
	assert_non_null(file = fopen(path, "w"));
	assert_int_equal(fwrite(good, 1, len, file), len);
	fclose(file);
	sodium_memzero(good, sizeof(good));
	sodium_memzero(bad, sizeof(bad));
	reread(f);
	let_it_look(f);
	assert_true(is_at(f, 2, false));
	check_keys(f);
	rotate(f);
	check_keys(f);
}

/* ---- threads ---- */

struct reader {
	pthread_t thread;
	struct fixture *f;
	struct harness_call *call;
	unsigned first;
	_Atomic bool stop;
	_Atomic unsigned asked, wrong;
};

static void *
read_on(void *arg)
{
	struct reader *r = arg;
	Fob__V1__VerifyKeyResponse *v;

	for (unsigned i = r->first; !atomic_load(&r->stop); i++) {
		v = harness_verify(
		    r->call, r->f->keys[i % ACCOUNTS].publishable, "", FOB__V1__ENVIRONMENT__ENVIRONMENT_UNSPECIFIED);
		if (v == NULL || v->verdict != FOB__V1__VERDICT__VALID)
			atomic_fetch_add(&r->wrong, 1);
		atomic_fetch_add(&r->asked, 1);
	}
	return NULL;
}

#define READERS 3

static void
test_threads(void **state)
{
	struct fixture *f = *state;
	struct reader readers[READERS] = { 0 };
	unsigned asked = 0, rolls = 0;
	char account[16];

	for (unsigned i = 0; i < READERS; i++) {
		readers[i].f = f;
		readers[i].first = i * 17;
		readers[i].call = harness_call_new(f->h, ROLE_VERIFY);
		assert_int_equal(pthread_create(&readers[i].thread, NULL, read_on, &readers[i]), 0);
	}
	for (unsigned lines = 2; lines <= 4; lines++) {
		add_line(f);
		reread(f);
		do {
			snprintf(account, sizeof(account), "a%u", rolls % ACCOUNTS);
			assert_non_null(
			    harness_roll(f->admin, ENVIRONMENT_LIVE, account, 0, f->keys[rolls % ACCOUNTS].secret));
			rolls++;
			/* Minutes pass, so that each use is noted. */
			harness_advance(f->h, 60000);
		} while (!is_at(f, lines, false));
	}
	for (unsigned i = 0; i < READERS; i++) {
		atomic_store(&readers[i].stop, true);
		pthread_join(readers[i].thread, NULL);
		asked += readers[i].asked;
		assert_int_equal(readers[i].wrong, 0);
		harness_call_free(readers[i].call);
	}
	check_keys(f);
	assert_true(asked > 0 && rolls > 2);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_a_read_in_the_middle_of_which_it_happens),
		TEST(test_a_batch_in_the_middle_of_which_it_happens),
		TEST(test_a_use_in_the_middle_of_which_it_happens),
		TEST(test_how_far_it_has_come),
		TEST(test_what_is_queued),
		TEST(test_a_line_while_another_is_under_way),
		TEST(test_files_that_are_refused),
		TEST(test_threads),
	};

	return cmocka_run_group_tests_name("rotation", tests, NULL, NULL);
}
