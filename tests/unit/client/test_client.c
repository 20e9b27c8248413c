/* The calls of fob.h, end to end over a socket: what is asked arrives, what is answered comes back, exactly once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "client/fob.h"
#include "fob/v1/admin.pb-c.h"
#include "fob/v1/health.pb-c.h"
#include "fob/v1/keys.pb-c.h"
#include "tests/lib/fake_server.h"

#define TEXT(s) ((ProtobufCBinaryData){ .len = sizeof(s) - 1, .data = (uint8_t *)(uintptr_t)(s) })
#define SECRET "sk_live_0123456789012345678901234567890abcde"

/* What the server is to do, and what it has seen. */
struct script {
	pthread_mutex_t mutex;
	int code; /* of every reply */
	int verdict;
	unsigned hang_ups; /* first, before any answer */
	bool valid;        /* every item of a batch; otherwise every second one is a fault */
	bool silent;
	unsigned n;
	uint8_t tokens[8][FOB_TOKEN_LEN];
	char account[8][FOB_ACCOUNT_SIZE];
	char method[64];
};

static struct script script;
static struct fake fake;

static bool
reply(struct fake_request *q, const ProtobufCMessage *m)
{
	return fake_reply(q->connection, q->id, script.code, "the reason", m);
}

static Fob__V1__Key
key(void)
{
	Fob__V1__Key k = FOB__V1__KEY__INIT;

	k.account = TEXT("acct_1");
	k.environment = FOB__V1__ENVIRONMENT__LIVE;
	k.kind = FOB__V1__KEY_KIND__SECRET;
	k.state = FOB__V1__KEY_STATE__KEY_STATE_REVOKED;
	k.generation = 2;
	k.last4 = TEXT("bcde");
	return k;
}

static bool
serve_verify(struct fake_request *q)
{
	Fob__V1__VerifyKeyResponse m = FOB__V1__VERIFY_KEY_RESPONSE__INIT;
	Fob__V1__VerifyKeyRequest *r = fob__v1__verify_key_request__unpack(NULL, q->body_len, q->body);

	m.verdict = (Fob__V1__Verdict)script.verdict;
	m.account = TEXT("acct_1");
	m.environment = FOB__V1__ENVIRONMENT__LIVE;
	m.livemode = 1;
	m.generation = (uint32_t)r->secret.len;
	fob__v1__verify_key_request__free_unpacked(r, NULL);
	return reply(q, &m.base);
}

static bool
serve_verify_batch(struct fake_request *q)
{
	Fob__V1__VerifyKeysResponse m = FOB__V1__VERIFY_KEYS_RESPONSE__INIT;
	Fob__V1__VerifyKeyResponse v = FOB__V1__VERIFY_KEY_RESPONSE__INIT;
	Fob__V1__VerifyKeysItem items[FOB_BATCH_MAX], *pointers[FOB_BATCH_MAX];
	Fob__V1__VerifyKeysRequest *r = fob__v1__verify_keys_request__unpack(NULL, q->body_len, q->body);
	size_t i;

	v.verdict = script.valid ? FOB__V1__VERDICT__VALID : FOB__V1__VERDICT__REVOKED;
	v.account = TEXT("acct_1");
	v.environment = FOB__V1__ENVIRONMENT__LIVE;
	v.livemode = 1;
	m.n_items = r->n_items;
	m.items = pointers;
	for (i = 0; i < r->n_items; i++) {
		fob__v1__verify_keys_item__init(&items[i]);
		items[i].code = script.valid || i % 2 == 0 ? FOB__RPC__V1__CODE__OK : FOB__RPC__V1__CODE__UNAVAILABLE;
		items[i].result = script.valid || i % 2 == 0 ? &v : NULL;
		pointers[i] = &items[i];
	}
	fob__v1__verify_keys_request__free_unpacked(r, NULL);
	return reply(q, &m.base);
}

static bool
serve_mutation(struct fake_request *q, const char *name)
{
	Fob__V1__CreateAccountResponse created = FOB__V1__CREATE_ACCOUNT_RESPONSE__INIT;
	Fob__V1__RollKeyResponse rolled = FOB__V1__ROLL_KEY_RESPONSE__INIT;
	Fob__V1__RevokeKeyResponse revoked = FOB__V1__REVOKE_KEY_RESPONSE__INIT;
	Fob__V1__SuspendAccountResponse suspended = FOB__V1__SUSPEND_ACCOUNT_RESPONSE__INIT;
	Fob__V1__Account account = FOB__V1__ACCOUNT__INIT;
	Fob__V1__NewKey new_key = FOB__V1__NEW_KEY__INIT;
	Fob__V1__Key k = key();
	/* Token, environment and account have the same numbers in every mutation; the rest is unknown fields here. */
	Fob__V1__SuspendAccountRequest *r = fob__v1__suspend_account_request__unpack(NULL, q->body_len, q->body);

	assert(r->request_token.len == FOB_TOKEN_LEN && script.n < 8);
	memcpy(script.tokens[script.n], r->request_token.data, FOB_TOKEN_LEN);
	memcpy(script.account[script.n], r->account.data, r->account.len);
	script.n++;
	fob__v1__suspend_account_request__free_unpacked(r, NULL);
	if (script.hang_ups > 0) {
		script.hang_ups--;
		return false;
	}
	account.account = TEXT("acct_1");
	account.environment = FOB__V1__ENVIRONMENT__LIVE;
	account.suspended = 1;
	new_key.key = &k;
	new_key.secret = TEXT(SECRET);
	created.account = suspended.account = &account;
	created.secret_key = created.publishable_key = rolled.new_key = &new_key;
	rolled.old_key = revoked.key = &k;
	if (strcmp(name, "CreateAccount") == 0)
		return reply(q, &created.base);
	if (strcmp(name, "RollKey") == 0)
		return reply(q, &rolled.base);
	if (strcmp(name, "RevokeKey") == 0)
		return reply(q, &revoked.base);
	/* ResumeAccount's reply has the same bytes. */
	return reply(q, &suspended.base);
}

/* Three pages: the cursor counts them. */
static bool
serve_list(struct fake_request *q)
{
	Fob__V1__ListAccountsResponse m = FOB__V1__LIST_ACCOUNTS_RESPONSE__INIT;
	Fob__V1__Account account = FOB__V1__ACCOUNT__INIT, *accounts[2] = { &account, &account };
	Fob__V1__ListAccountsRequest *r = fob__v1__list_accounts_request__unpack(NULL, q->body_len, q->body);
	uint8_t next = r->page_token.len == 0 ? 'a' : (uint8_t)(r->page_token.data[0] + 1);

	account.account = TEXT("acct_1");
	m.accounts = accounts;
	m.n_accounts = 2;
	m.next_page_token.data = &next;
	m.next_page_token.len = next == 'c' ? 0 : 1;
	fob__v1__list_accounts_request__free_unpacked(r, NULL);
	return reply(q, &m.base);
}

static bool
serve(void *arg, struct fake_request *q)
{
	Fob__V1__CheckResponse check = FOB__V1__CHECK_RESPONSE__INIT;
	Fob__V1__StatsResponse stats = FOB__V1__STATS_RESPONSE__INIT;
	const char *name = strchr(q->method, '/') + 1;
	bool stay = true;

	(void)arg;
	pthread_mutex_lock(&script.mutex);
	memcpy(script.method, q->method, sizeof(q->method));
	check.status = FOB__V1__CHECK_RESPONSE__SERVING_STATUS__NOT_SERVING;
	stats.requests = 42;
	if (script.silent)
		;
	else if (strcmp(name, "VerifyKey") == 0)
		stay = serve_verify(q);
	else if (strcmp(name, "VerifyKeys") == 0)
		stay = serve_verify_batch(q);
	else if (strcmp(name, "Check") == 0)
		stay = reply(q, &check.base);
	else if (strcmp(name, "Stats") == 0)
		stay = reply(q, &stats.base);
	else if (strncmp(name, "List", 4) == 0)
		stay = serve_list(q);
	else
		stay = serve_mutation(q, name);
	pthread_mutex_unlock(&script.mutex);
	return stay;
}

static struct fob_client *
client_new(void)
{
	struct fob_options *o = fob_options_new();
	struct fob_client *c;
	struct fob_error e;

	assert_int_equal(fob_options_set_address(o, fake.address), 0);
	assert_int_equal(fob_options_set_timeout_ms(o, 20000), 0);
	assert_int_equal(fob_options_set_in_flight(o, 4), 0);
	assert_int_equal(fob_client_new(o, &c, &e), 0);
	assert_int_equal(e.fault, 0);
	fob_options_free(o);
	return c;
}

static int
setup(void **state)
{
	memset(&script, 0, sizeof(script));
	pthread_mutex_init(&script.mutex, NULL);
	script.verdict = 1;
	fake_init(&fake, serve, NULL);
	fake_start(&fake);
	*state = client_new();
	return 0;
}

static int
teardown(void **state)
{
	fob_client_free(*state);
	fake_stop(&fake);
	fake_fini(&fake);
	pthread_mutex_destroy(&script.mutex);
	return 0;
}

static void
test_verify(void **state)
{
	struct fob_verify_request r = {
		.secret = SECRET, .secret_len = sizeof(SECRET) - 1, .require_environment = FOB_ENVIRONMENT_LIVE
	};
	static const struct fob_verification zero;
	struct fob_verification v;
	struct fob_error e;
	int i;

	assert_int_equal(fob_verify(*state, &r, &v, &e), 0);
	assert_true(fob_allows(&v));
	assert_string_equal(v.account, "acct_1");
	assert_int_equal(v.generation, sizeof(SECRET) - 1);
	assert_string_equal(script.method, "fob.v1.Keys/VerifyKey");
	assert_int_equal(fob_verify(*state, &r, &v, NULL), 0);

	for (i = 2; i < 12; i++) {
		script.verdict = i;
		assert_int_equal(fob_verify(*state, &r, &v, &e), 0);
		assert_false(fob_allows(&v));
		assert_int_equal(v.verdict, i <= 8 ? i : FOB_VERDICT_DENIED);
	}
	script.verdict = 1;
	for (i = 1; i < 19; i++) {
		script.code = i;
		/* 14 is asked again for two seconds, within the deadline. */
		memset(&v, 0xaa, sizeof(v));
		assert_int_equal(fob_verify(*state, &r, &v, &e), i < 17 ? -i : FOB_EUNKNOWN);
		assert_memory_equal(&v, &zero, sizeof(v));
		assert_int_equal(e.fault, i < 17 ? -i : FOB_EUNKNOWN);
		assert_non_null(strstr(e.message, "the reason"));
	}
	/* A success empties the error. */
	script.code = 0;
	assert_int_equal(fob_verify(*state, &r, &v, &e), 0);
	assert_int_equal(e.fault, 0);
	assert_string_equal(e.message, "");
}

static void
test_bad_arguments(void **state)
{
	struct fob_verify_request r = { 0 };
	struct fob_verification v;
	struct fob_error e;
	int faults[2];

	memset(&v, 0xaa, sizeof(v));
	assert_int_equal(fob_verify(*state, &r, &v, &e), FOB_EINVALID_ARGUMENT);
	assert_int_equal(v.verdict, FOB_VERDICT_DENIED);
	r.secret = "x";
	r.timeout_ms = FOB_TIMEOUT_MAX_MS + 1;
	assert_int_equal(fob_verify(*state, &r, &v, &e), FOB_EINVALID_ARGUMENT);
	assert_int_equal(e.fault, FOB_EINVALID_ARGUMENT);
	assert_int_equal(fob_verify_batch(*state, &r, 0, 0, &v, faults, &e), FOB_EINVALID_ARGUMENT);
	r.secret = NULL;
	assert_int_equal(fob_verify_batch(*state, &r, 1, 0, &v, faults, &e), FOB_EINVALID_ARGUMENT);
	assert_int_equal(faults[0], FOB_EINVALID_ARGUMENT);
	assert_int_equal(fake_received(&fake), 0);
}

static void
test_batch(void **state)
{
	struct fob_verify_request r[FOB_BATCH_MAX];
	struct fob_verification v[FOB_BATCH_MAX];
	int faults[FOB_BATCH_MAX], i;
	struct fob_error e;

	for (i = 0; i < FOB_BATCH_MAX; i++)
		r[i] = (struct fob_verify_request){ .authorization = "", .authorization_len = 0 };
	assert_int_equal(fob_verify_batch(*state, r, FOB_BATCH_MAX, 0, v, faults, &e), 0);
	for (i = 0; i < FOB_BATCH_MAX; i++) {
		assert_int_equal(faults[i], i % 2 == 0 ? 0 : FOB_EUNAVAILABLE);
		assert_int_equal(v[i].verdict, i % 2 == 0 ? FOB_VERDICT_REVOKED : FOB_VERDICT_DENIED);
	}
	script.code = 8;
	assert_int_equal(fob_verify_batch(*state, r, 3, 0, v, faults, &e), FOB_ERESOURCE_EXHAUSTED);
	for (i = 0; i < 3; i++)
		assert_int_equal(faults[i], FOB_ERESOURCE_EXHAUSTED);
}

static void
test_mutations(void **state)
{
	struct fob_mutation m = { .environment = FOB_ENVIRONMENT_LIVE, .account = "acct_1" };
	struct fob_roll roll = { .mutation = m, .grace_s = FOB_GRACE_DEFAULT_S };
	struct fob_revoke revoke = { .mutation = m, .kind = FOB_KIND_SECRET, .generation = 2 };
	static const struct fob_rolled_key zero;
	static const char token[] = "an own token of thirty-two bytes";
	struct fob_created_account created;
	struct fob_rolled_key rolled;
	struct fob_account account;
	struct fob_error e;
	struct fob_key k;

	assert_int_equal(fob_create_account(*state, &m, &created, &e), 0);
	assert_string_equal(created.secret_key.secret, SECRET);
	assert_string_equal(created.account.account, "acct_1");
	assert_string_equal(script.account[0], "acct_1");
	assert_int_equal(fob_roll_key(*state, &roll, &rolled, &e), 0);
	assert_string_equal(rolled.new_key.secret, SECRET);
	assert_int_equal(rolled.old_key.generation, 2);
	assert_int_equal(fob_revoke_key(*state, &revoke, &k, &e), 0);
	assert_int_equal(k.state, FOB_KEY_STATE_REVOKED);
	assert_int_equal(fob_suspend_account(*state, &m, &account, &e), 0);
	assert_true(account.suspended);
	assert_string_equal(script.method, "fob.v1.Admin/SuspendAccount");
	assert_int_equal(fob_resume_account(*state, &m, &account, &e), 0);
	assert_string_equal(script.method, "fob.v1.Admin/ResumeAccount");
	/* A new token for each. */
	assert_memory_not_equal(script.tokens[0], script.tokens[1], FOB_TOKEN_LEN);
	assert_memory_not_equal(script.tokens[1], script.tokens[2], FOB_TOKEN_LEN);

	roll.mutation.token = token;
	assert_int_equal(fob_roll_key(*state, &roll, &rolled, &e), 0);
	assert_memory_equal(script.tokens[5], token, FOB_TOKEN_LEN);
	script.code = 10;
	assert_int_equal(fob_roll_key(*state, &roll, &rolled, &e), FOB_EABORTED);
	assert_memory_equal(&rolled, &zero, sizeof(rolled));
}

/* The promise that a lost connection never rolls twice: every resend carries the token of the first. */
static void
test_lost_connection_keeps_the_token(void **state)
{
	struct fob_roll roll = { .mutation = { .environment = FOB_ENVIRONMENT_LIVE, .account = "acct_1" } };
	struct fob_rolled_key rolled;
	struct fob_error e;

	script.hang_ups = 3;
	assert_int_equal(fob_roll_key(*state, &roll, &rolled, &e), 0);
	assert_int_equal(script.n, 4);
	assert_memory_equal(script.tokens[0], script.tokens[1], FOB_TOKEN_LEN);
	assert_memory_equal(script.tokens[0], script.tokens[2], FOB_TOKEN_LEN);
	assert_memory_equal(script.tokens[0], script.tokens[3], FOB_TOKEN_LEN);
}

/*
 * The reply to the first attempt was lost, and the second is refused unseen: whether the first was applied is not
 * known, and must not be told as "not applied". A refusal by the rules, under the same token, is final; so is one of a
 * first attempt.
 */
static void
test_refused_after_a_lost_reply(void **state)
{
	struct fob_roll roll = { .mutation = { .environment = FOB_ENVIRONMENT_LIVE, .account = "acct_1" } };
	struct fob_import import = { .environment = FOB_ENVIRONMENT_LIVE,
		.accounts = &(struct fob_import_account){ .account = "acct_1" },
		.n = 1 };
	enum fob_import_outcome outcome;
	struct fob_rolled_key rolled;
	struct fob_error e;

	script.code = 8;
	assert_int_equal(fob_roll_key(*state, &roll, &rolled, &e), FOB_ERESOURCE_EXHAUSTED);
	script.hang_ups = 1;
	assert_int_equal(fob_roll_key(*state, &roll, &rolled, &e), FOB_EDEADLINE_EXCEEDED);
	assert_non_null(strstr(e.message, "not known whether it was applied"));
	assert_non_null(strstr(e.message, "the reason"));
	/* An import is a change, too. */
	script.hang_ups = 1;
	assert_int_equal(fob_import_accounts(*state, &import, &outcome, &e), FOB_EDEADLINE_EXCEEDED);
	assert_non_null(strstr(e.message, "not known whether it was applied"));
	script.hang_ups = 1;
	script.code = 10;
	assert_int_equal(fob_roll_key(*state, &roll, &rolled, &e), FOB_EABORTED);
}

static void
test_lists(void **state)
{
	struct fob_cursor cur = { 0 }, before;
	struct fob_account_page *page;
	struct fob_error e;
	unsigned pages = 0;

	do {
		assert_int_equal(fob_list_accounts(*state, FOB_ENVIRONMENT_LIVE, 2, &cur, &page, &e), 0);
		assert_int_equal(page->n, 2);
		assert_string_equal(page->accounts[1].account, "acct_1");
		fob_account_page_free(page);
		pages++;
	} while (!cur.done);
	assert_int_equal(pages, 3);

	cur = (struct fob_cursor){ .len = 1, .bytes = "a" };
	before = cur;
	script.code = 3;
	assert_int_equal(fob_list_accounts(*state, FOB_ENVIRONMENT_LIVE, 2, &cur, &page, &e), FOB_EINVALID_ARGUMENT);
	assert_null(page);
	assert_memory_equal(&cur, &before, sizeof(cur));
	assert_int_equal(
	    fob_list_keys(*state, FOB_ENVIRONMENT_LIVE, NULL, 2, &cur, &(struct fob_key_page *){ NULL }, &e),
	    FOB_EINVALID_ARGUMENT);
	fob_key_page_free(NULL);
	fob_account_page_free(NULL);
	fob_event_page_free(NULL);
}

static void
test_health(void **state)
{
	enum fob_health_status serving;
	struct fob_stats stats;
	struct fob_error e;

	assert_int_equal(fob_check(*state, NULL, 0, &serving, &e), 0);
	assert_int_equal(serving, FOB_HEALTH_STATUS_NOT_SERVING);
	assert_int_equal(fob_stats(*state, 0, &stats, &e), 0);
	assert_int_equal(stats.requests, 42);
	script.code = 5;
	assert_int_equal(fob_check(*state, "x", 0, &serving, &e), FOB_ENOT_FOUND);
	assert_int_equal(serving, FOB_HEALTH_STATUS_UNKNOWN);
}

/* ---- asynchronous ---- */

struct seen {
	pthread_mutex_t mutex;
	pthread_cond_t changed;
	struct fob_client *client;
	unsigned calls, wrong;
	int fault;
	char secret[FOB_SECRET_SIZE];
	unsigned more; /* to start from within callbacks */
};

static void
seen_init(struct seen *s)
{
	memset(s, 0, sizeof(*s));
	pthread_mutex_init(&s->mutex, NULL);
	pthread_cond_init(&s->changed, NULL);
}

static void
seen_add(struct seen *s, int fault, bool wrong)
{
	pthread_mutex_lock(&s->mutex);
	s->calls++;
	s->wrong += wrong;
	s->fault = fault;
	pthread_cond_broadcast(&s->changed);
	pthread_mutex_unlock(&s->mutex);
}

static void
seen_wait(struct seen *s, unsigned calls)
{
	pthread_mutex_lock(&s->mutex);
	while (s->calls < calls)
		pthread_cond_wait(&s->changed, &s->mutex);
	pthread_mutex_unlock(&s->mutex);
}

static void
verified(void *arg, int fault, const struct fob_verification *v, const struct fob_error *error)
{
	struct fob_verify_request r = { .secret = "x", .secret_len = 1 };
	struct seen *s = arg;
	bool again;

	pthread_mutex_lock(&s->mutex);
	again = s->more > 0;
	s->more -= again;
	pthread_mutex_unlock(&s->mutex);
	if (again)
		assert(fob_verify_async(s->client, &r, verified, s) == 0);
	seen_add(s, fault, error == NULL || v == NULL || fob_allows(v) != (fault == 0) || error->fault != fault);
}

static void
rolled_cb(void *arg, int fault, const struct fob_rolled_key *r, const struct fob_error *error)
{
	struct seen *s = arg;

	memcpy(s->secret, r->new_key.secret, sizeof(s->secret));
	seen_add(s, fault, error->fault != fault);
}

static void
account_cb(void *arg, int fault, const struct fob_account *a, const struct fob_error *error)
{
	seen_add(arg, fault, error->fault != fault || (fault == 0 && strcmp(a->account, "acct_1") != 0));
}

static void
created_cb(void *arg, int fault, const struct fob_created_account *a, const struct fob_error *error)
{
	seen_add(arg, fault, error->fault != fault || (fault == 0 && strcmp(a->secret_key.secret, SECRET) != 0));
}

static void
key_cb(void *arg, int fault, const struct fob_key *k, const struct fob_error *error)
{
	seen_add(arg, fault, error->fault != fault || (fault == 0 && k->generation != 2));
}

static void
batch_cb(
    void *arg, int fault, const struct fob_verification *v, const int *faults, size_t n, const struct fob_error *error)
{
	bool ok = n == 2 && error->fault == fault && !fob_allows(&v[0]) &&
	    faults[1] == (fault == 0 ? FOB_EUNAVAILABLE : fault);

	seen_add(arg, fault, !ok);
}

static void
test_async(void **state)
{
	char secret[] = "x";
	struct fob_verify_request r[2] = { { .secret = secret, .secret_len = 1 },
		{ .secret = secret, .secret_len = 1 } },
				  none = { 0 };
	struct fob_mutation m = { .environment = FOB_ENVIRONMENT_LIVE, .account = "acct_1" };
	struct fob_roll roll = { .mutation = m };
	struct fob_revoke revoke = { .mutation = m, .kind = FOB_KIND_SECRET };
	struct seen s;

	seen_init(&s);
	s.client = *state;
	s.more = 50;
	assert_int_equal(fob_verify_async(*state, &r[0], verified, &s), 0);
	memset(secret, 0, sizeof(secret)); /* it was copied */
	seen_wait(&s, 51);
	assert_int_equal(fob_verify_batch_async(*state, r, 2, 0, batch_cb, &s), 0);
	assert_int_equal(fob_create_account_async(*state, &m, created_cb, &s), 0);
	assert_int_equal(fob_revoke_key_async(*state, &revoke, key_cb, &s), 0);
	assert_int_equal(fob_suspend_account_async(*state, &m, account_cb, &s), 0);
	assert_int_equal(fob_resume_account_async(*state, &m, account_cb, &s), 0);
	assert_int_equal(fob_roll_key_async(*state, &roll, rolled_cb, &s), 0);
	seen_wait(&s, 57);
	assert_string_equal(s.secret, SECRET);
	/* Refused at once: no callback. */
	assert_int_equal(fob_verify_async(*state, &none, verified, &s), FOB_EINVALID_ARGUMENT);
	m.account = NULL;
	assert_int_equal(fob_suspend_account_async(*state, &m, account_cb, &s), FOB_EINVALID_ARGUMENT);
	fob_client_free(*state);
	*state = NULL;
	assert_int_equal(s.calls, 57);
	assert_int_equal(s.wrong, 0);
}

static void
test_free_with_calls_under_way(void **state)
{
	struct fob_verify_request r = { .secret = "x", .secret_len = 1 };
	struct fob_roll roll = { .mutation = { .environment = FOB_ENVIRONMENT_LIVE, .account = "a" } };
	struct seen s;
	int i;

	seen_init(&s);
	script.silent = true;
	for (i = 0; i < 20; i++)
		assert_int_equal(fob_verify_async(*state, &r, verified, &s), 0);
	assert_int_equal(fob_roll_key_async(*state, &roll, rolled_cb, &s), 0);
	assert_int_equal(fob_verify_batch_async(*state, (struct fob_verify_request[]){ r, r }, 2, 0, batch_cb, &s), 0);
	fake_wait_received(&fake, 4);
	fob_client_free(*state);
	*state = NULL;
	assert_int_equal(s.calls, 22);
	assert_int_equal(s.wrong, 0);
	assert_int_equal(s.fault, FOB_ECANCELLED);
}

static void
test_deadline(void **state)
{
	struct fob_verify_request r = { .secret = "x", .secret_len = 1, .timeout_ms = 50 };
	struct fob_verification v;
	struct fob_error e;

	script.silent = true;
	memset(&v, 0xaa, sizeof(v));
	assert_int_equal(fob_verify(*state, &r, &v, &e), FOB_EDEADLINE_EXCEEDED);
	assert_int_equal(v.verdict, FOB_VERDICT_DENIED);
	assert_int_equal(fob_http_status(FOB_EDEADLINE_EXCEEDED, v.verdict), 503);
}

static void *
verify_often(void *client)
{
	struct fob_verify_request r = { .secret = "x", .secret_len = 1 };
	struct fob_verification v;
	uintptr_t ok = 0;
	int i;

	for (i = 0; i < 100; i++)
		ok += fob_verify(client, &r, &v, NULL) == 0 && fob_allows(&v);
	return (void *)ok;
}

static void
test_many_threads(void **state)
{
	pthread_t threads[16];
	void *ok;
	int i;

	script.valid = true;
	for (i = 0; i < 16; i++)
		pthread_create(&threads[i], NULL, verify_often, *state);
	for (i = 0; i < 16; i++) {
		pthread_join(threads[i], &ok);
		assert_int_equal((uintptr_t)ok, 100);
	}
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	/* A hang is a failure too. */
	const unsigned whole_s = 120;
	const struct CMUnitTest tests[] = { TEST(test_verify), TEST(test_bad_arguments), TEST(test_batch),
		TEST(test_mutations), TEST(test_lost_connection_keeps_the_token), TEST(test_refused_after_a_lost_reply),
		TEST(test_lists), TEST(test_health), TEST(test_async), TEST(test_free_with_calls_under_way),
		TEST(test_deadline), TEST(test_many_threads) };

	alarm(whole_s);
	return cmocka_run_group_tests_name("client/client", tests, NULL, NULL);
}
