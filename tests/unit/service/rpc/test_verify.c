/*
 * test_verify.c - verify.c: every kind of key with every kind of request, compared with the test's own rules; deadlines to
 * the millisecond; damaged records; batches; and the cost of a verify: one read transaction, no malloc, lock or write.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dlfcn.h>
#include <fcntl.h>
#include <lmdb.h>
#include <sys/stat.h>

#include "tests/unit/service/harness.h"

/* ---- what a verify costs: counted where the program calls out ---- */

#define INTERPOSED __attribute__((visibility("default"), used))

static _Thread_local unsigned n_reads, n_gets, n_mallocs, n_locks;

INTERPOSED int
mdb_txn_renew(MDB_txn *txn)
{
	static int (*next)(MDB_txn *);

	if (next == NULL)
		*(void **)&next = dlsym(RTLD_NEXT, "mdb_txn_renew");
	n_reads++;
	return next(txn);
}

INTERPOSED int
mdb_txn_begin(MDB_env *env, MDB_txn *parent, unsigned flags, MDB_txn **txn)
{
	static int (*next)(MDB_env *, MDB_txn *, unsigned, MDB_txn **);

	if (next == NULL)
		*(void **)&next = dlsym(RTLD_NEXT, "mdb_txn_begin");
	n_reads++;
	return next(env, parent, flags, txn);
}

INTERPOSED int
mdb_get(MDB_txn *txn, MDB_dbi dbi, MDB_val *key, MDB_val *value)
{
	static int (*next)(MDB_txn *, MDB_dbi, MDB_val *, MDB_val *);

	if (next == NULL)
		*(void **)&next = dlsym(RTLD_NEXT, "mdb_get");
	n_gets++;
	return next(txn, dbi, key, value);
}

#if !HARNESS_SANITIZED
/* glibc's own names for them; a sanitizer has its own malloc, and counts elsewhere. */
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t size);

INTERPOSED void *
malloc(size_t size)
{
	n_mallocs++;
	return __libc_malloc(size);
}

INTERPOSED void *
calloc(size_t n, size_t size)
{
	n_mallocs++;
	return __libc_calloc(n, size);
}

INTERPOSED void *
realloc(void *p, size_t size)
{
	n_mallocs++;
	return __libc_realloc(p, size);
}

INTERPOSED int
pthread_mutex_lock(pthread_mutex_t *lock)
{
	static int (*next)(pthread_mutex_t *);

	if (next == NULL)
		*(void **)&next = dlsym(RTLD_NEXT, "pthread_mutex_lock");
	n_locks++;
	return next(lock);
}
#endif

/* ---- the keys ---- */

enum { ANY = 0, LIVE = 1, TEST_ENVIRONMENT = 2 };

/* The state of a key by the documented rules, not by the code under test. */
enum fate { IS_CURRENT, IS_IN_GRACE, HAS_ENDED, WAS_REVOKED };

struct subject {
	char name[32]; /* the account's */
	char secret[SECRET_LEN + 1];
	enum environment environment;
	bool publishable;
	bool suspended;
	enum fate fate;
	uint32_t generation, current_generation;
	int64_t expires_ms; /* 0: none; -1: not looked at */
};

struct fixture {
	struct harness *h;
	struct harness_call *admin, *verify;
	struct subject subjects[128];
	size_t n;
};

static int
setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	f->h = harness_new();
	f->admin = harness_call_new(f->h, ROLE_ADMIN);
	f->verify = harness_call_new(f->h, ROLE_VERIFY);
	*state = f;
	return 0;
}

static void
free_calls(struct fixture *f)
{
	if (f->admin != NULL)
		harness_call_free(f->admin);
	if (f->verify != NULL)
		harness_call_free(f->verify);
	f->admin = f->verify = NULL;
}

static int
teardown(void **state)
{
	struct fixture *f = *state;

	free_calls(f);
	harness_free(f->h);
	free(f);
	return 0;
}

static struct subject *
add(struct fixture *f, enum environment e, const char *account, bool suspended, bool publishable, enum fate fate,
    const char *secret, uint32_t generation, uint32_t current, int64_t expires_ms)
{
	struct subject *s = &f->subjects[f->n++];

	assert_true(f->n <= 128);
	*s = (struct subject){ .environment = e,
		.publishable = publishable,
		.suspended = suspended,
		.fate = fate,
		.generation = generation,
		.current_generation = current,
		.expires_ms = expires_ms };
	snprintf(s->name, sizeof(s->name), "%s", account);
	snprintf(s->secret, sizeof(s->secret), "%s", secret);
	return s;
}

/* One account of each history. Before the day moves on. */
static void
make_histories(struct fixture *f, enum environment e, bool suspended)
{
	static const char *const names[] = { "current", "graced", "ended", "expired", "revoked", "revgrace", "leaked" };
	char account[7][32], next[SECRET_LEN + 1];
	struct harness_secrets s[7];

	for (int i = 0; i < 7; i++) {
		snprintf(account[i], sizeof(account[i]), "%s%s", names[i], suspended ? ".susp" : "");
		assert_non_null(harness_create(f->admin, e, account[i], &s[i]));
	}
	add(f, e, account[0], suspended, false, IS_CURRENT, s[0].secret, 1, 1, 0);
	add(f, e, account[0], suspended, true, IS_CURRENT, s[0].publishable, 1, 1, 0);

	assert_non_null(harness_roll(f->admin, e, account[1], 86400, next));
	add(f, e, account[1], suspended, false, IS_IN_GRACE, s[1].secret, 1, 2, HARNESS_START_MS + HARNESS_DAY_MS);
	add(f, e, account[1], suspended, false, IS_CURRENT, next, 2, 2, 0);
	add(f, e, account[1], suspended, true, IS_CURRENT, s[1].publishable, 1, 1, 0);

	/* This key ends first, and is swept; the other ends after the sweeper was stopped. */
	assert_non_null(harness_roll(f->admin, e, account[3], 10, next));
	add(f, e, account[3], suspended, false, HAS_ENDED, s[3].secret, 1, 2, HARNESS_START_MS + 10000);
	assert_non_null(harness_roll(f->admin, e, account[2], 20, next));
	add(f, e, account[2], suspended, false, HAS_ENDED, s[2].secret, 1, 2, HARNESS_START_MS + 20000);

	assert_int_equal(harness_revoke(f->admin, e, account[4], FOB__V1__KEY_KIND__SECRET, 1), 0);
	assert_int_equal(harness_revoke(f->admin, e, account[4], FOB__V1__KEY_KIND__PUBLISHABLE, 1), 0);
	add(f, e, account[4], suspended, false, WAS_REVOKED, s[4].secret, 1, 1, -1);
	add(f, e, account[4], suspended, true, WAS_REVOKED, s[4].publishable, 1, 1, -1);

	assert_non_null(harness_roll(f->admin, e, account[5], 86400, next));
	assert_int_equal(harness_revoke(f->admin, e, account[5], FOB__V1__KEY_KIND__SECRET, 1), 0);
	add(f, e, account[5], suspended, false, WAS_REVOKED, s[5].secret, 1, 2, -1);

	assert_non_null(harness_roll(f->admin, e, account[6], 0, next));
	add(f, e, account[6], suspended, false, WAS_REVOKED, s[6].secret, 1, 2, -1);
	add(f, e, account[6], suspended, false, IS_CURRENT, next, 2, 2, 0);

	if (suspended)
		for (int i = 0; i < 7; i++)
			assert_int_equal(harness_suspend(f->admin, e, account[i], true), 0);
}

/* The rules as the documentation has them. */
static int
oracle(const struct subject *s, const char *operation, int require, const bool served[ENVIRONMENTS])
{
	bool listed = strcmp(operation, "tokenize") == 0 || strcmp(operation, "tokens.create") == 0;

	if ((require == LIVE && s->environment != ENVIRONMENT_LIVE) ||
	    (require == TEST_ENVIRONMENT && s->environment != ENVIRONMENT_TEST) || !served[s->environment])
		return FOB__V1__VERDICT__WRONG_ENVIRONMENT;
	if (s->fate == HAS_ENDED)
		return FOB__V1__VERDICT__EXPIRED;
	if (s->fate == WAS_REVOKED)
		return FOB__V1__VERDICT__REVOKED;
	if (s->suspended)
		return FOB__V1__VERDICT__SUSPENDED;
	if (s->publishable && operation[0] != '\0' && !listed)
		return FOB__V1__VERDICT__FORBIDDEN;
	if (s->fate == IS_IN_GRACE && strcmp(operation, "keys.roll") == 0)
		return FOB__V1__VERDICT__FORBIDDEN;
	return FOB__V1__VERDICT__VALID;
}

static void
check_answer(const struct subject *s, int expected, const Fob__V1__VerifyKeyResponse *v)
{
	assert_int_equal(v->verdict, expected);
	assert_int_equal(v->detail.len == 0, expected == FOB__V1__VERDICT__VALID);
	assert_int_equal(v->environment, s->environment + 1);
	assert_int_equal(v->livemode, s->environment == ENVIRONMENT_LIVE);
	assert_int_equal(v->kind, s->publishable ? FOB__V1__KEY_KIND__PUBLISHABLE : FOB__V1__KEY_KIND__SECRET);
	/* Another environment's key was not looked up. */
	if (expected == FOB__V1__VERDICT__WRONG_ENVIRONMENT) {
		assert_int_equal(v->account.len + v->last4.len, 0);
		assert_int_equal(v->generation, 0);
		assert_int_equal(v->created_ms, 0);
		return;
	}
	assert_true(harness_is(&v->account, s->name));
	assert_true(harness_is(&v->last4, s->secret + SECRET_LEN - 4));
	assert_int_equal(v->generation, s->generation);
	assert_int_equal(v->current_generation, s->current_generation);
	assert_int_equal(v->superseded, s->fate == IS_IN_GRACE);
	assert_int_equal(v->created_ms, HARNESS_START_MS);
	if (s->expires_ms >= 0)
		assert_int_equal(v->expires_ms, s->expires_ms);
}

static void
the_matrix(void **state)
{
	static const char *const operations[] = { "", "tokenize", "tokens.create", "charges.create", "keys.roll",
		"Tokenize", "tokeniz", "tokenize2" };
	struct fixture *f = *state;
	unsigned n = 0, seen[VERDICTS] = { 0 };

	for (int e = 0; e < ENVIRONMENTS; e++) {
		make_histories(f, (enum environment)e, false);
		make_histories(f, (enum environment)e, true);
	}
	harness_advance(f->h, 10000);
	for (int e = 0; e < ENVIRONMENTS; e++)
		assert_non_null(harness_create(f->admin, (enum environment)e, "wakes-the-sweeper", NULL));
	for (int e = 0; e < ENVIRONMENTS; e++) {
		writer_stop(f->h->service.engines[e]->writer);
		f->h->service.engines[e]->writer = NULL;
	}
	harness_advance(f->h, 10000);

	for (int mask = 0; mask < 4; mask++) {
		bool served[ENVIRONMENTS] = { mask & 1, mask & 2 };
		struct engine *engines[ENVIRONMENTS];

		memcpy(engines, f->h->service.engines, sizeof(engines));
		for (int e = 0; e < ENVIRONMENTS; e++)
			if (!served[e])
				f->h->service.engines[e] = NULL;
		for (size_t i = 0; i < f->n; i++) {
			for (size_t o = 0; o < sizeof(operations) / sizeof(operations[0]); o++) {
				for (int require = 0; require < 3; require++) {
					struct subject *s = &f->subjects[i];
					int expected = oracle(s, operations[o], require, served);
					Fob__V1__VerifyKeyResponse *v = harness_verify(
					    f->verify, s->secret, operations[o], (Fob__V1__Environment)require);

					assert_non_null(v);
					check_answer(s, expected, v);
					seen[expected]++;
					n++;
				}
			}
		}
		memcpy(f->h->service.engines, engines, sizeof(engines));
	}
	assert_int_equal(n, 4 * f->n * 8 * 3);
	assert_true(seen[FOB__V1__VERDICT__VALID] > 100 && seen[FOB__V1__VERDICT__FORBIDDEN] > 50 &&
	    seen[FOB__V1__VERDICT__SUSPENDED] > 100 && seen[FOB__V1__VERDICT__EXPIRED] > 50 &&
	    seen[FOB__V1__VERDICT__REVOKED] > 50);
	for (int v = 0; v < VERDICTS; v++)
		assert_int_equal(
		    f->verify->worker.tally.verdicts[0][v] + f->verify->worker.tally.verdicts[1][v], seen[v]);
}

/* ---- time ---- */

static void
the_last_millisecond(void **state)
{
	static const struct {
		int64_t advance_ms;
		int verdict;
	} steps[] = { { 0, FOB__V1__VERDICT__VALID }, { 86400000 - 1000, FOB__V1__VERDICT__VALID },
		{ 999, FOB__V1__VERDICT__VALID }, { 1, FOB__V1__VERDICT__EXPIRED }, { 1, FOB__V1__VERDICT__EXPIRED },
		{ 999, FOB__V1__VERDICT__EXPIRED }, { 86400000, FOB__V1__VERDICT__EXPIRED } };
	struct fixture *f = *state;

	/* With the sweeper, and without it. */
	for (int e = 0; e < ENVIRONMENTS; e++) {
		struct harness_secrets s;
		char next[SECRET_LEN + 1];

		assert_non_null(harness_create(f->admin, (enum environment)e, "acme", &s));
		assert_non_null(harness_roll(f->admin, (enum environment)e, "acme", 86400, next));
		if (e == 1) {
			writer_stop(f->h->service.engines[e]->writer);
			f->h->service.engines[e]->writer = NULL;
		}
		for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
			harness_advance(f->h, steps[i].advance_ms);
			assert_int_equal(harness_verdict(f->verify, s.secret), steps[i].verdict);
			assert_int_equal(harness_verdict(f->verify, next), FOB__V1__VERDICT__VALID);
		}
		/* A wall clock set back changes nothing. */
		f->h->clock.wall_ns -= 2 * HARNESS_DAY_MS * 1000000;
		assert_int_equal(harness_verdict(f->verify, s.secret), FOB__V1__VERDICT__EXPIRED);
		f->h->clock.wall_ns += 2 * HARNESS_DAY_MS * 1000000;
	}
}

/* Less than a millisecond before the end is before the end. */
static void
the_last_nanosecond(void **state)
{
	struct fixture *f = *state;
	struct harness_secrets s;

	assert_non_null(harness_create(f->admin, ENVIRONMENT_LIVE, "acme", &s));
	assert_non_null(harness_roll(f->admin, ENVIRONMENT_LIVE, "acme", 60, NULL));
	f->h->clock.boot_ns += INT64_C(60000000000) - 1;
	f->h->clock.wall_ns += INT64_C(60000000000) - 1;
	assert_int_equal(harness_verdict(f->verify, s.secret), FOB__V1__VERDICT__VALID);
	f->h->clock.boot_ns += 1;
	f->h->clock.wall_ns += 1;
	assert_int_equal(harness_verdict(f->verify, s.secret), FOB__V1__VERDICT__EXPIRED);
}

static void
at_once(void **state)
{
	struct fixture *f = *state;
	struct harness_secrets s;
	char next[SECRET_LEN + 1];

	assert_non_null(harness_create(f->admin, ENVIRONMENT_TEST, "acme", &s));
	for (int i = 0; i < 20; i++) {
		assert_int_equal(harness_suspend(f->admin, ENVIRONMENT_TEST, "acme", true), 0);
		assert_int_equal(harness_verdict(f->verify, s.secret), FOB__V1__VERDICT__SUSPENDED);
		assert_int_equal(harness_suspend(f->admin, ENVIRONMENT_TEST, "acme", false), 0);
		assert_int_equal(harness_verdict(f->verify, s.secret), FOB__V1__VERDICT__VALID);
		assert_non_null(harness_roll(f->admin, ENVIRONMENT_TEST, "acme", 0, next));
		assert_int_equal(harness_verdict(f->verify, s.secret), FOB__V1__VERDICT__REVOKED);
		assert_int_equal(harness_verdict(f->verify, next), FOB__V1__VERDICT__VALID);
		memcpy(s.secret, next, sizeof(next));
	}
}

static void
last_used(void **state)
{
	struct fixture *f = *state;
	struct engine *engine = f->h->service.engines[ENVIRONMENT_LIVE];
	uint8_t digest[RECORD_DIGEST_LEN];
	struct harness_secrets s;

	assert_non_null(harness_create(f->admin, ENVIRONMENT_LIVE, "acme", &s));
	pepper_digest(store_pepper(engine->store), s.publishable, SECRET_LEN, digest);
	assert_non_null(harness_verify(f->verify, s.publishable, "charges.create", 0));
	assert_int_equal(lastused_get(engine->lastused, store_pepper(engine->store), 1, digest), 0);
	harness_advance(f->h, 61234);
	assert_non_null(harness_verify(f->verify, s.publishable, "tokenize", 0));
	assert_int_equal(
	    lastused_get(engine->lastused, store_pepper(engine->store), 1, digest), HARNESS_START_MS + 60000);
}

/* ---- what is asked ---- */

static int
ask(struct harness_call *hc, Fob__V1__VerifyKeyRequest__CredentialCase how, const char *bytes, size_t len,
    Fob__V1__VerifyKeyResponse **v)
{
	Fob__V1__VerifyKeyRequest in = FOB__V1__VERIFY_KEY_REQUEST__INIT;

	in.credential_case = how;
	in.secret = harness_bytes(bytes, len);
	*v = NULL;
	if (harness_ask(hc, "fob.v1.Keys/VerifyKey", &in.base) == 0)
		*v = harness_body(hc, &fob__v1__verify_key_response__descriptor);
	return hc->code;
}

#define SECRET_FIELD FOB__V1__VERIFY_KEY_REQUEST__CREDENTIAL_SECRET
#define AUTHORIZATION_FIELD FOB__V1__VERIFY_KEY_REQUEST__CREDENTIAL_AUTHORIZATION
#define HEADER_FIELD FOB__V1__VERIFY_KEY_REQUEST__CREDENTIAL_AUTHORIZATION

static void
malformed_secrets(void **state)
{
	struct fixture *f = *state;
	Fob__V1__VerifyKeyResponse *v;
	struct harness_secrets s;
	char *text = malloc(10240);

	assert_non_null(harness_create(f->admin, ENVIRONMENT_TEST, "acme", &s));
	assert_int_equal(ask(f->verify, SECRET_FIELD, "", 0, &v), 0);
	assert_int_equal(v->verdict, FOB__V1__VERDICT__MALFORMED);
	assert_int_equal(v->environment, 0);
	memset(text, 'a', 10240);
	assert_int_equal(ask(f->verify, SECRET_FIELD, text, 10240, &v), 0);
	assert_int_equal(v->verdict, FOB__V1__VERDICT__MALFORMED);
	assert_int_equal(f->verify->worker.tally.unrecognised, 2);

	/* Each byte wrong, one missing, one too many: no database is asked. */
	for (size_t i = 0; i <= SECRET_LEN; i++) {
		snprintf(text, 100, "%s", s.secret);
		if (i < SECRET_LEN)
			text[i] = text[i] == 'x' ? 'y' : 'x';
		n_gets = 0;
		assert_int_equal(ask(f->verify, SECRET_FIELD, text, SECRET_LEN - (i == SECRET_LEN), &v), 0);
		assert_int_equal(v->verdict, FOB__V1__VERDICT__MALFORMED);
		assert_int_equal(v->account.len, 0);
		assert_int_not_equal(v->detail.len, 0);
		assert_int_equal(n_gets, 0);
		/* The prefix tells, where there is one. */
		assert_int_equal(v->environment, i < SECRET_PREFIX_LEN ? 0 : FOB__V1__ENVIRONMENT__TEST);
		assert_null(memmem(f->verify->bytes, f->verify->len, text + 8, 30));
	}
	snprintf(text, 100, "%sa", s.secret);
	assert_int_equal(ask(f->verify, SECRET_FIELD, text, SECRET_LEN + 1, &v), 0);
	assert_int_equal(v->verdict, FOB__V1__VERDICT__MALFORMED);
	memcpy(text, s.secret, SECRET_LEN + 1);
	assert_int_equal(ask(f->verify, SECRET_FIELD, text, SECRET_LEN + 1, &v), 0);
	assert_int_equal(v->verdict, FOB__V1__VERDICT__MALFORMED);

	/* The form is right, but there is no such key. */
	secret_generate(ENVIRONMENT_TEST, KIND_SECRET, text);
	assert_int_equal(ask(f->verify, SECRET_FIELD, text, SECRET_LEN, &v), 0);
	assert_int_equal(v->verdict, FOB__V1__VERDICT__NOT_FOUND);
	assert_int_equal(v->environment, FOB__V1__ENVIRONMENT__TEST);
	assert_int_equal(v->account.len + v->last4.len, 0);
	free(text);
}

static void
basic(const char *user_and_password, char out[512])
{
	char base64[480];

	sodium_bin2base64(base64, sizeof(base64), (const uint8_t *)user_and_password, strlen(user_and_password),
	    sodium_base64_VARIANT_ORIGINAL);
	snprintf(out, 512, "Basic %s", base64);
}

static void
basic_headers(void **state)
{
	struct fixture *f = *state;
	char plain[256], header[512];
	Fob__V1__VerifyKeyResponse *v;
	struct harness_secrets s;

	assert_non_null(harness_create(f->admin, ENVIRONMENT_LIVE, "acme", &s));
	snprintf(plain, sizeof(plain), "%s:", s.secret);
	basic(plain, header);
	assert_int_equal(ask(f->verify, HEADER_FIELD, header, strlen(header), &v), 0);
	assert_int_equal(v->verdict, FOB__V1__VERDICT__VALID);
	assert_true(harness_is(&v->account, "acme"));

	for (int i = 0; i < 7; i++) {
		static const struct {
			const char *before, *after;
			bool with;
		} wrong[] = { { "", ":password", true }, { "", "", true }, { ":", "", true }, { "", "::", true },
			{ "", "", false }, { ":", "", false }, { "x", ":", true } };

		snprintf(
		    plain, sizeof(plain), "%s%s%s", wrong[i].before, wrong[i].with ? s.secret : "", wrong[i].after);
		basic(plain, header);
		assert_int_equal(ask(f->verify, HEADER_FIELD, header, strlen(header), &v), 0);
		assert_int_equal(v->verdict, FOB__V1__VERDICT__MALFORMED);
		assert_int_not_equal(v->detail.len, 0);
		assert_null(memmem(f->verify->bytes, f->verify->len, s.secret, SECRET_LEN));
	}
	assert_int_equal(ask(f->verify, HEADER_FIELD, "", 0, &v), 0);
	assert_int_equal(v->verdict, FOB__V1__VERDICT__MALFORMED);
	assert_int_equal(ask(f->verify, HEADER_FIELD, "Basic !!!", 9, &v), 0);
	assert_int_equal(v->verdict, FOB__V1__VERDICT__MALFORMED);
	snprintf(header, sizeof(header), "Bearer %s", s.secret);
	assert_int_equal(ask(f->verify, HEADER_FIELD, header, strlen(header), &v), 0);
	assert_int_equal(v->verdict, FOB__V1__VERDICT__MALFORMED);
}

static void
wrong_requests(void **state)
{
	static const char *const operations[] = { "white space", "a\nb", "a\xc3\xa4", "a*b", "a\x7f" };
	struct fixture *f = *state;
	char operation[LIMIT_OPERATION + 2];
	Fob__V1__VerifyKeyRequest in = FOB__V1__VERIFY_KEY_REQUEST__INIT;
	Fob__V1__VerifyKeyResponse *v;
	struct harness_secrets s;

	assert_non_null(harness_create(f->admin, ENVIRONMENT_LIVE, "acme", &s));
	assert_int_equal(
	    ask(f->verify, FOB__V1__VERIFY_KEY_REQUEST__CREDENTIAL__NOT_SET, "", 0, &v), FAULT_INVALID_ARGUMENT);
	for (size_t i = 0; i < sizeof(operations) / sizeof(operations[0]); i++) {
		assert_null(harness_verify(f->verify, s.secret, operations[i], 0));
		assert_int_equal(f->verify->code, FAULT_INVALID_ARGUMENT);
	}
	memset(operation, 'o', sizeof(operation));
	operation[LIMIT_OPERATION] = '\0';
	assert_non_null(harness_verify(f->verify, s.secret, operation, 0));
	operation[LIMIT_OPERATION] = 'o';
	operation[LIMIT_OPERATION + 1] = '\0';
	assert_null(harness_verify(f->verify, s.secret, operation, 0));
	assert_int_equal(f->verify->code, FAULT_INVALID_ARGUMENT);
	assert_non_null(harness_verify(f->verify, s.secret, "Az09._:/-", 0));
	for (int require = -1; require < 6; require++) {
		v = harness_verify(f->verify, s.secret, "", (Fob__V1__Environment)require);
		assert_int_equal(v != NULL, require >= 0 && require <= 2);
	}

	/* An operation with a NUL inside is not its first part. */
	in.credential_case = SECRET_FIELD;
	in.secret = harness_text(s.publishable);
	in.operation = harness_bytes("tokenize\0charges.create", 23);
	assert_int_equal(harness_ask(f->verify, "fob.v1.Keys/VerifyKey", &in.base), FAULT_INVALID_ARGUMENT);
}

/* ---- damage ---- */

/* Every bit of a key's record, one after the other: a fault, never a verdict; and the other environment answers. */
static void
every_bit_of_a_record(void **state)
{
	struct fixture *f = *state;
	struct engine *engine = f->h->service.engines[ENVIRONMENT_LIVE];
	const char account[] = "flipped-account";
	uint8_t digest[RECORD_DIGEST_LEN];
	struct harness_secrets s, t;
	struct record_bytes bytes;
	struct record_key key;
	struct store_txn *txn;
	uint64_t corrupt;
	unsigned n = 0;

	assert_non_null(harness_create(f->admin, ENVIRONMENT_LIVE, account, &s));
	assert_non_null(harness_create(f->admin, ENVIRONMENT_TEST, account, &t));
	pepper_digest(store_pepper(engine->store), s.secret, SECRET_LEN, digest);
	txn = store_txn_new(engine->store);
	assert_int_equal(store_read(txn), 0);
	assert_int_equal(store_key(txn, digest, &key), 0);
	store_txn_free(txn);
	record_put_key(store_pepper(engine->store), digest, sizeof(digest), &key, &bytes);

	corrupt = store_corrupt_records(engine->store);
	for (size_t at = 0; at < bytes.len; at++) {
		for (unsigned bit = 0; bit < 8; bit++, n++) {
			assert_true(harness_flip(f->h->paths[0][0], digest, at, bit) > 0);
			assert_null(harness_verify(f->verify, s.secret, "", 0));
			assert_int_equal(f->verify->code, FAULT_UNAVAILABLE);
			assert_true(harness_flip(f->h->paths[0][0], digest, at, bit) > 0);
		}
		assert_int_equal(harness_verdict(f->verify, t.secret), FOB__V1__VERDICT__VALID);
	}
	assert_int_equal(store_corrupt_records(engine->store) - corrupt, n);
	assert_int_equal(harness_verdict(f->verify, s.secret), FOB__V1__VERDICT__VALID);
	assert_int_equal(harness_answered(f->verify, FAULT_UNAVAILABLE), n);
}

/* ---- batches ---- */

struct batch {
	Fob__V1__VerifyKeysRequest in;
	Fob__V1__VerifyKeyRequest items[LIMIT_BATCH + 1], *pointers[LIMIT_BATCH + 1];
};

static struct batch *
batch_new(size_t n)
{
	struct batch *b = calloc(1, sizeof(*b));

	fob__v1__verify_keys_request__init(&b->in);
	b->in.items = b->pointers;
	b->in.n_items = n;
	for (size_t i = 0; i < n; i++) {
		fob__v1__verify_key_request__init(&b->items[i]);
		b->items[i].credential_case = SECRET_FIELD;
		b->pointers[i] = &b->items[i];
	}
	return b;
}

static Fob__V1__VerifyKeysResponse *
ask_batch(struct fixture *f, struct batch *b)
{
	if (harness_ask(f->verify, "fob.v1.Keys/VerifyKeys", &b->in.base) != 0)
		return NULL;
	return harness_body(f->verify, &fob__v1__verify_keys_response__descriptor);
}

static void
a_batch_keeps_order(void **state)
{
	struct fixture *f = *state;
	struct harness_secrets s[8];
	struct batch *b = batch_new(LIMIT_BATCH);
	Fob__V1__VerifyKeysResponse *out;
	char account[32];

	for (int i = 0; i < 8; i++) {
		snprintf(account, sizeof(account), "account%d", i);
		assert_non_null(harness_create(f->admin, (enum environment)(i % 2), account, &s[i]));
	}
	for (size_t i = 0; i < LIMIT_BATCH; i++) {
		b->items[i].secret = harness_text(i % 7 == 6 ? "nonsense" : s[i % 8].secret);
		if (i % 11 == 10)
			b->items[i].operation = harness_text("not an operation");
	}
	n_reads = 0;
	assert_non_null(out = ask_batch(f, b));
	/* One read of each environment, however many items there are. */
	assert_int_equal(n_reads, 2);
	assert_int_equal(out->n_items, LIMIT_BATCH);
	for (size_t i = 0; i < LIMIT_BATCH; i++) {
		Fob__V1__VerifyKeysItem *item = out->items[i];

		if (i % 11 == 10) {
			assert_int_equal(item->code, FAULT_INVALID_ARGUMENT);
			assert_null(item->result);
			assert_int_not_equal(item->message.len, 0);
			continue;
		}
		assert_int_equal(item->code, 0);
		assert_int_equal(item->message.len, 0);
		assert_non_null(item->result);
		if (i % 7 == 6) {
			assert_int_equal(item->result->verdict, FOB__V1__VERDICT__MALFORMED);
			continue;
		}
		snprintf(account, sizeof(account), "account%zu", i % 8);
		assert_int_equal(item->result->verdict, FOB__V1__VERDICT__VALID);
		assert_true(harness_is(&item->result->account, account));
		assert_int_equal(item->result->livemode, i % 2 == 0);
	}
	free(b);
}

static void
a_batch_is_bounded(void **state)
{
	struct fixture *f = *state;
	struct batch *b = batch_new(LIMIT_BATCH + 1);
	struct harness_secrets s;
	Fob__V1__VerifyKeysResponse *out;
	char longest[LIMIT_ACCOUNT + 1], operation[LIMIT_OPERATION + 1];

	memset(longest, 'a', LIMIT_ACCOUNT);
	longest[LIMIT_ACCOUNT] = '\0';
	memset(operation, 'o', LIMIT_OPERATION);
	operation[LIMIT_OPERATION] = '\0';
	assert_non_null(harness_create(f->admin, ENVIRONMENT_LIVE, longest, &s));
	for (size_t i = 0; i <= LIMIT_BATCH; i++) {
		b->items[i].secret = harness_text(s.secret);
		b->items[i].operation = harness_text(operation);
		b->items[i].require_environment = FOB__V1__ENVIRONMENT__LIVE;
	}
	assert_null(ask_batch(f, b));
	assert_int_equal(f->verify->code, FAULT_INVALID_ARGUMENT);
	b->in.n_items = LIMIT_BATCH;
	assert_non_null(out = ask_batch(f, b));
	for (size_t i = 0; i < LIMIT_BATCH; i++)
		assert_int_equal(out->items[i]->result->verdict, FOB__V1__VERDICT__VALID);
	b->in.n_items = 0;
	assert_non_null(out = ask_batch(f, b));
	assert_int_equal(out->n_items, 0);
	free(b);
}

static void
one_environments_fault_is_not_the_others(void **state)
{
	struct fixture *f = *state;
	struct batch *b = batch_new(20);
	uint8_t digest[RECORD_DIGEST_LEN];
	struct harness_secrets s[2], fine;
	Fob__V1__VerifyKeysResponse *out;

	for (int e = 0; e < ENVIRONMENTS; e++)
		assert_non_null(harness_create(f->admin, (enum environment)e, "acme", &s[e]));
	assert_non_null(harness_create(f->admin, ENVIRONMENT_LIVE, "fine", &fine));
	pepper_digest(store_pepper(f->h->service.engines[0]->store), s[0].secret, SECRET_LEN, digest);
	assert_true(harness_flip(f->h->paths[0][0], digest, 2, 0) > 0);
	for (size_t i = 0; i < 20; i++)
		b->items[i].secret = harness_text(i % 3 == 2 ? fine.secret : s[i % 3].secret);
	assert_non_null(out = ask_batch(f, b));
	for (size_t i = 0; i < 20; i++) {
		if (i % 3 == 0) {
			assert_int_equal(out->items[i]->code, FAULT_UNAVAILABLE);
			assert_null(out->items[i]->result);
			assert_int_not_equal(out->items[i]->message.len, 0);
		} else {
			assert_int_equal(out->items[i]->code, 0);
			assert_int_equal(out->items[i]->result->verdict, FOB__V1__VERDICT__VALID);
		}
	}
	harness_flip(f->h->paths[0][0], digest, 2, 0);
	free(b);
}

/* ---- what it costs ---- */

static uint8_t *
read_file(const char *folder, size_t *len)
{
	char path[700];
	struct stat st;
	uint8_t *data;
	int fd;

	snprintf(path, sizeof(path), "%s/data.mdb", folder);
	fd = open(path, O_RDONLY);
	assert_true(fd >= 0 && fstat(fd, &st) == 0);
	data = malloc((size_t)st.st_size);
	assert_int_equal(read(fd, data, (size_t)st.st_size), st.st_size);
	close(fd);
	*len = (size_t)st.st_size;
	return data;
}

/* The reply that is measured takes no lock of ours. */
static void
bare_reply(const struct origin *origin, const uint8_t *bytes, size_t len, bool admitted)
{
	unsigned *n = origin->connection;

	(void)bytes;
	(void)admitted;
	assert_int_not_equal(len, 0);
	++*n;
}

/* ---- many at once ---- */

#define MANY (2 * VERIFY_PASS + 10)

static struct {
	unsigned replies;
	size_t len[MANY];
	uint8_t bytes[MANY][300];
} answers[2];

static void
note_answer(const struct origin *origin, const uint8_t *bytes, size_t len, bool admitted)
{
	unsigned round = origin->connection == NULL ? 0 : 1;

	(void)admitted;
	assert_true(len <= sizeof(answers[0].bytes[0]));
	answers[round].replies++;
	answers[round].len[origin->id] = len;
	memcpy(answers[round].bytes[origin->id], bytes, len);
}

/* Verifies that are looked up together get the answers that they get alone, each under its own id. */
static void
many_at_once(void **state)
{
	struct fixture *f = *state;
	struct harness_secrets s[ENVIRONMENTS], suspended;
	struct peer peer = { 0 };
	struct origin origin = { .role = ROLE_VERIFY, .peer = &peer };
	struct worker worker;
	uint8_t *request[MANY];
	size_t len[MANY];

	for (int e = 0; e < ENVIRONMENTS; e++)
		assert_non_null(harness_create(f->admin, (enum environment)e, "acme", &s[e]));
	assert_non_null(harness_create(f->admin, ENVIRONMENT_LIVE, "gone", &suspended));
	harness_suspend(f->admin, ENVIRONMENT_LIVE, "gone", true);
	assert_non_null(harness_roll(f->admin, ENVIRONMENT_TEST, "acme", 100, NULL));
	for (unsigned i = 0; i < MANY; i++) {
		Fob__V1__VerifyKeyRequest in = FOB__V1__VERIFY_KEY_REQUEST__INIT;
		char nobody[SECRET_LEN + 1] = "";
		const char *secrets[] = { s[0].secret, s[1].secret, s[0].publishable, s[1].publishable,
			suspended.secret, nobody, "sk_live_typo", "" };

		secret_generate(ENVIRONMENT_TEST, KIND_SECRET, nobody);
		in.credential_case = i % 9 == 8 ? AUTHORIZATION_FIELD : SECRET_FIELD;
		if (i % 9 == 8)
			in.authorization = harness_text("Basic c2tfbGl2ZV86"); /* "sk_live_:" */
		else
			in.secret = harness_text(secrets[i % 8]);
		in.operation = harness_text(i % 5 == 0 ? "not an operation" : i % 3 == 0 ? "charges.create" : "");
		if (i % 7 == 0)
			in.require_environment = FOB__V1__ENVIRONMENT__LIVE;
		request[i] = harness_request("fob.v1.Keys/VerifyKey", &in.base, i % 11 == 0 ? 60001 : 0, &len[i]);
	}
	memset(answers, 0, sizeof(answers));
	f->h->transport.reply = note_answer;
	assert_int_equal(worker_init(&worker, &f->h->service), 0);
	for (origin.id = 0; origin.id < MANY; origin.id++) {
		dispatch(&worker, &origin, request[origin.id], len[origin.id], clock_boot_ns());
		dispatch_end(&worker);
	}
	origin.connection = answers;
	for (origin.id = 0; origin.id < MANY; origin.id++)
		dispatch(&worker, &origin, request[origin.id], len[origin.id], clock_boot_ns());
	assert_in_range(MANY - answers[1].replies, 1, VERIFY_PASS);
	dispatch_end(&worker);
	for (unsigned round = 0; round < 2; round++)
		assert_int_equal(answers[round].replies, MANY);
	for (unsigned i = 0; i < MANY; i++) {
		assert_int_equal(answers[0].len[i], answers[1].len[i]);
		assert_memory_equal(answers[0].bytes[i], answers[1].bytes[i], answers[0].len[i]);
		free(request[i]);
	}
	worker_fini(&worker);
}

static void
one_read_and_nothing_else(void **state)
{
	struct fixture *f = *state;
	size_t before_len, after_len, len[3];
	uint8_t *before, *after, *request[3];
	struct harness_secrets s;
	unsigned replies = 0;
	struct peer peer = { 0 };
	const struct origin origin = { .connection = &replies, .role = ROLE_VERIFY, .peer = &peer };
	struct worker worker;

	assert_non_null(harness_create(f->admin, ENVIRONMENT_LIVE, "acme", &s));
	assert_non_null(harness_roll(f->admin, ENVIRONMENT_LIVE, "acme", 100, NULL));
	for (int i = 0; i < 3; i++) {
		Fob__V1__VerifyKeyRequest in = FOB__V1__VERIFY_KEY_REQUEST__INIT;
		char nobody[SECRET_LEN + 1] = "";

		secret_generate(ENVIRONMENT_LIVE, KIND_SECRET, nobody);
		in.credential_case = SECRET_FIELD;
		in.operation = harness_text("tokenize");
		in.secret = harness_text(i == 0 ? s.secret : i == 1 ? s.publishable : nobody);
		request[i] = harness_request("fob.v1.Keys/VerifyKey", &in.base, 0, &len[i]);
	}
	f->h->transport.reply = bare_reply;
	assert_int_equal(worker_init(&worker, &f->h->service), 0);
	for (int i = 0; i < 3; i++) {
		dispatch(&worker, &origin, request[i], len[i], clock_boot_ns());
		dispatch_end(&worker);
	}

	before = read_file(f->h->paths[0][0], &before_len);
	n_reads = n_mallocs = n_locks = n_gets = 0;
	for (unsigned i = 0; i < 3000; i++) {
		dispatch(&worker, &origin, request[i % 3], len[i % 3], clock_boot_ns());
		dispatch_end(&worker);
	}
	assert_int_equal(n_mallocs, 0);
	assert_int_equal(n_locks, 0);
	assert_int_equal(n_reads, 3000);
	assert_int_equal(n_gets, 0);
	assert_int_equal(replies, 3003);
	/* Together they need one snapshot for as many as are looked up at once. */
	n_reads = 0;
	for (unsigned i = 0; i < 10 * VERIFY_PASS; i++)
		dispatch(&worker, &origin, request[i % 3], len[i % 3], clock_boot_ns());
	dispatch_end(&worker);
	assert_int_equal(n_reads, 10);
	assert_int_equal(replies, 3003 + 10 * VERIFY_PASS);
	after = read_file(f->h->paths[0][0], &after_len);
	assert_int_equal(after_len, before_len);
	assert_memory_equal(before, after, after_len);
	worker_fini(&worker);
	free(before);
	free(after);
	for (int i = 0; i < 3; i++)
		free(request[i]);
}

/* Nothing of the secret is left behind in the worker's memory. */
static void
secrets_are_wiped(void **state)
{
	struct fixture *f = *state;
	struct harness_secrets s;
	char plain[256], header[512];
	Fob__V1__VerifyKeyResponse *v;

	assert_non_null(harness_create(f->admin, ENVIRONMENT_LIVE, "acme", &s));
	assert_int_equal(harness_verdict(f->verify, s.secret), FOB__V1__VERDICT__VALID);
	assert_null(memmem(f->verify->worker.call.scratch.bytes, LIMIT_ARENA, s.secret + 8, 30));
	snprintf(plain, sizeof(plain), "%s:", s.secret);
	basic(plain, header);
	assert_int_equal(ask(f->verify, HEADER_FIELD, header, strlen(header), &v), 0);
	assert_null(memmem(f->verify->worker.call.scratch.bytes, LIMIT_ARENA, header + 20, 30));
	assert_null(memmem(&f->verify->worker, sizeof(f->verify->worker), s.secret + 8, 30));
}

/* ---- many at once, while keys change ---- */

struct reader {
	struct harness *h;
	const char *revoked, *fine;
	_Atomic bool *stop;
	unsigned wrong, n;
};

static void *
verify_on(void *arg)
{
	struct reader *r = arg;
	struct harness_call *hc = harness_call_new(r->h, ROLE_VERIFY);
	bool revoked = false;

	/* At least once, however late this thread starts. */
	do {
		int verdict = harness_verdict(hc, r->revoked);

		/* Once revoked, always revoked. */
		r->wrong += (revoked && verdict != FOB__V1__VERDICT__REVOKED) ||
		    (verdict != FOB__V1__VERDICT__REVOKED && verdict != FOB__V1__VERDICT__VALID);
		revoked = verdict == FOB__V1__VERDICT__REVOKED;
		r->wrong += harness_verdict(hc, r->fine) != FOB__V1__VERDICT__VALID;
		r->n++;
	} while (!*r->stop);
	harness_call_free(hc);
	return NULL;
}

static void
while_keys_change(void **state)
{
	struct fixture *f = *state;
	struct harness_secrets s, fine;
	_Atomic bool stop = false;
	struct reader readers[4];
	pthread_t threads[4];

	assert_non_null(harness_create(f->admin, ENVIRONMENT_LIVE, "acme", &s));
	assert_non_null(harness_create(f->admin, ENVIRONMENT_LIVE, "fine", &fine));
	for (int i = 0; i < 4; i++) {
		readers[i] = (struct reader){ .h = f->h, .revoked = s.secret, .fine = fine.secret, .stop = &stop };
		assert_int_equal(pthread_create(&threads[i], NULL, verify_on, &readers[i]), 0);
	}
	for (int i = 0; i < 100; i++) {
		char account[32];

		snprintf(account, sizeof(account), "other%d", i);
		assert_non_null(harness_create(f->admin, ENVIRONMENT_LIVE, account, NULL));
		if (i == 50)
			assert_non_null(harness_roll(f->admin, ENVIRONMENT_LIVE, "acme", 0, NULL));
	}
	stop = true;
	for (int i = 0; i < 4; i++) {
		pthread_join(threads[i], NULL);
		assert_int_equal(readers[i].wrong, 0);
		assert_int_not_equal(readers[i].n, 0);
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(the_matrix),
		TEST(the_last_millisecond),
		TEST(the_last_nanosecond),
		TEST(at_once),
		TEST(last_used),
		TEST(malformed_secrets),
		TEST(basic_headers),
		TEST(wrong_requests),
		TEST(every_bit_of_a_record),
		TEST(a_batch_keeps_order),
		TEST(a_batch_is_bounded),
		TEST(one_environments_fault_is_not_the_others),
		TEST(many_at_once),
		TEST(one_read_and_nothing_else),
		TEST(secrets_are_wiped),
		TEST(while_keys_change),
	};

	return cmocka_run_group_tests_name("verify", tests, NULL, NULL);
}
