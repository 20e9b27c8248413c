/* The calls of fob.h, end to end over a socket: what is asked arrives, what is answered comes back, exactly once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <poll.h>
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
	_Atomic bool silent;
	unsigned n;
	uint8_t tokens[8][FOB_TOKEN_LEN];
	char account[8][FOB_ACCOUNT_SIZE];
	char method[64];
	char traceparent[64], on_behalf_of[FOB_ON_BEHALF_OF_SIZE];
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

/* Three pages: the cursor counts them. The token, and a page token in the request, have one number in all lists. */
static bool
serve_list(struct fake_request *q, const char *name)
{
	Fob__V1__ListAccountsResponse accounts = FOB__V1__LIST_ACCOUNTS_RESPONSE__INIT;
	Fob__V1__ListKeysResponse keys = FOB__V1__LIST_KEYS_RESPONSE__INIT;
	Fob__V1__ListEventsResponse events = FOB__V1__LIST_EVENTS_RESPONSE__INIT;
	Fob__V1__Account account = FOB__V1__ACCOUNT__INIT, *account_list[2] = { &account, &account };
	Fob__V1__Event event = FOB__V1__EVENT__INIT, *event_list[2] = { &event, &event };
	Fob__V1__Key k = key(), *key_list[2] = { &k, &k };
	Fob__V1__ListAccountsRequest *r = fob__v1__list_accounts_request__unpack(NULL, q->body_len, q->body);
	uint8_t next = 'a';

	if (strcmp(name, "ListAccounts") == 0 && r->page_token.len > 0)
		next = (uint8_t)(r->page_token.data[0] + 1);
	fob__v1__list_accounts_request__free_unpacked(r, NULL);
	account.account = event.account = TEXT("acct_1");
	accounts.n_accounts = keys.n_keys = events.n_events = 2;
	accounts.accounts = account_list;
	keys.keys = key_list;
	events.events = event_list;
	accounts.next_page_token.data = events.next_page_token.data = &next;
	accounts.next_page_token.len = next == 'c' ? 0 : 1;
	events.next_page_token.len = 1;
	if (strcmp(name, "ListKeys") == 0)
		return reply(q, &keys.base);
	return reply(q, strcmp(name, "ListEvents") == 0 ? &events.base : &accounts.base);
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
	memcpy(script.traceparent, q->traceparent, sizeof(q->traceparent));
	memcpy(script.on_behalf_of, q->on_behalf_of, sizeof(q->on_behalf_of));
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
		stay = serve_list(q, name);
	else
		stay = serve_mutation(q, name);
	pthread_mutex_unlock(&script.mutex);
	return stay;
}

static struct fob_options *
options_new(void)
{
	struct fob_options *o = fob_options_new();

	assert_int_equal(fob_options_set_address(o, fake.address), 0);
	assert_int_equal(fob_options_set_timeout_ms(o, 20000), 0);
	assert_int_equal(fob_options_set_in_flight(o, 4), 0);
	return o;
}

/* Frees ${o}. */
static struct fob_client *
client_new(struct fob_options *o)
{
	struct fob_client *c;
	struct fob_error e;

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
	*state = client_new(options_new());
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

static const struct fob_verify_request x = { FOB_VERIFY_REQUEST_INIT, .secret = "x", .secret_len = 1 };
static const struct fob_account_request acct_1 = { FOB_ACCOUNT_REQUEST_INIT, .environment = FOB_ENVIRONMENT_LIVE,
	.account = "acct_1" };
static const struct fob_roll_request roll_acct_1 = { FOB_ROLL_REQUEST_INIT, .environment = FOB_ENVIRONMENT_LIVE,
	.account = "acct_1" };
static const struct fob_revoke_request revoke_acct_1 = { FOB_REVOKE_REQUEST_INIT, .environment = FOB_ENVIRONMENT_LIVE,
	.account = "acct_1", .kind = FOB_KIND_SECRET, .generation = 2 };
static const struct fob_list_request list_live = { FOB_LIST_REQUEST_INIT, .environment = FOB_ENVIRONMENT_LIVE,
	.account = "acct_1", .page_size = 2 };

static void
test_verify(void **state)
{
	const struct fob_verify_request r = { FOB_VERIFY_REQUEST_INIT, .secret = SECRET,
		.secret_len = sizeof(SECRET) - 1, .require_environment = FOB_ENVIRONMENT_LIVE };
	const struct fob_verification zero = { FOB_VERIFICATION_INIT };
	struct fob_verification v = { FOB_VERIFICATION_INIT };
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
		v.size = sizeof(v);
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

/* Larger than what a caller's stack has room for. */
static void
test_large_verify(void **state)
{
	static char secret[4000];
	const struct fob_verify_request r = { FOB_VERIFY_REQUEST_INIT, .secret = secret, .secret_len = sizeof(secret) };
	struct fob_verification v = { FOB_VERIFICATION_INIT };

	memset(secret, 'x', sizeof(secret));
	assert_int_equal(fob_verify(*state, &r, &v, NULL), 0);
	assert_int_equal(v.generation, sizeof(secret));
}

static void
test_traceparent(void **state)
{
	static const char *const bad[] = { "", "00", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01x",
		"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-\xff\xff",
		"00 0af7651916cd43dd8448eb211c80319c b7ad6b7169203331 01" };
	static const char good[] = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
	struct fob_verification v = { FOB_VERIFICATION_INIT };
	struct fob_account account = { FOB_ACCOUNT_INIT };
	struct fob_account_request a = acct_1;
	struct fob_verify_request r = x;

	r.traceparent = a.traceparent = good;
	assert_int_equal(fob_verify(*state, &r, &v, NULL), 0);
	assert_string_equal(script.traceparent, good);
	assert_int_equal(fob_verify(*state, &x, &v, NULL), 0);
	assert_string_equal(script.traceparent, "");
	assert_int_equal(fob_suspend_account(*state, &a, &account, NULL), 0);
	assert_string_equal(script.traceparent, good);
	/* It comes from somebody else, and must not keep a key from being verified. */
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		r.traceparent = bad[i];
		assert_int_equal(fob_verify(*state, &r, &v, NULL), 0);
		assert_string_equal(script.traceparent, "");
	}
}

/* Each change may name its person; one without a name has none, whatever came before it. */
static void
test_on_behalf_of(void **state)
{
	static const char longest[] = "1234567890123456789012345678901234567890123456789012345678901234";
	char name[] = "ada", too_long[FOB_ON_BEHALF_OF_SIZE + 1];
	const struct fob_import_account imported = { FOB_IMPORT_ACCOUNT_INIT, .account = "acct_1" };
	struct fob_account_request a = acct_1;
	struct fob_roll_request roll = roll_acct_1;
	struct fob_revoke_request revoke = revoke_acct_1;
	struct fob_import_request import = { FOB_IMPORT_REQUEST_INIT, .environment = FOB_ENVIRONMENT_LIVE,
		.accounts = &imported, .n = 1 };
	struct fob_created_account *created;
	struct fob_rolled_key *rolled;
	struct fob_account account = { FOB_ACCOUNT_INIT };
	struct fob_key revoked = { FOB_KEY_INIT };
	enum fob_import_outcome outcome;
	struct fob_error e;

	a.on_behalf_of = revoke.on_behalf_of = name;
	assert_int_equal(fob_create_account(*state, &a, &created, NULL), 0);
	fob_created_account_free(created);
	assert_string_equal(script.on_behalf_of, name);
	roll.on_behalf_of = longest;
	assert_int_equal(fob_roll_key(*state, &roll, &rolled, NULL), 0);
	fob_rolled_key_free(rolled);
	assert_string_equal(script.on_behalf_of, longest);
	assert_int_equal(fob_suspend_account(*state, &acct_1, &account, NULL), 0);
	assert_string_equal(script.on_behalf_of, "");
	assert_int_equal(fob_revoke_key(*state, &revoke, &revoked, NULL), 0);
	assert_string_equal(script.on_behalf_of, name);
	import.on_behalf_of = "";
	/* To which the server here has no reply that fits. */
	fob_import_accounts(*state, &import, &outcome, NULL);
	assert_string_equal(script.on_behalf_of, "");
	import.on_behalf_of = longest;
	fob_import_accounts(*state, &import, &outcome, NULL);
	assert_string_equal(script.on_behalf_of, longest);

	memset(too_long, 'x', sizeof(too_long));
	too_long[sizeof(too_long) - 1] = '\0';
	a.on_behalf_of = too_long;
	assert_int_equal(fob_resume_account(*state, &a, &account, &e), FOB_EINVALID_ARGUMENT);
	assert_string_equal(e.message, "on_behalf_of is longer than 64 characters");
}

static void
test_bad_arguments(void **state)
{
	struct fob_verify_request r = { FOB_VERIFY_REQUEST_INIT };
	struct fob_verify_batch_request batch = { FOB_VERIFY_BATCH_REQUEST_INIT, .requests = &r };
	struct fob_verification v;
	struct fob_error e;
	int faults[2] = { 0, 0 };

	memset(&v, 0xaa, sizeof(v));
	v.size = sizeof(v);
	assert_int_equal(fob_verify(*state, &r, &v, &e), FOB_EINVALID_ARGUMENT);
	assert_int_equal(v.verdict, FOB_VERDICT_DENIED);
	r.secret = "x";
	r.timeout_ms = FOB_TIMEOUT_MAX_MS + 1;
	assert_int_equal(fob_verify(*state, &r, &v, &e), FOB_EINVALID_ARGUMENT);
	assert_int_equal(e.fault, FOB_EINVALID_ARGUMENT);
	assert_int_equal(fob_verify_batch(*state, &batch, &v, faults, &e), FOB_EINVALID_ARGUMENT);
	batch.n = 1;
	r.secret = NULL;
	v.verdict = FOB_VERDICT_VALID;
	assert_int_equal(fob_verify_batch(*state, &batch, &v, faults, &e), FOB_EINVALID_ARGUMENT);
	assert_int_equal(faults[0], FOB_EINVALID_ARGUMENT);
	assert_int_equal(v.verdict, FOB_VERDICT_DENIED);
	assert_int_equal(fake_received(&fake), 0);
}

/* What was not initialised is refused, and a result denies. */
static void
test_structs_without_a_size(void **state)
{
	const struct fob_verify_request r = { .secret = "x", .secret_len = 1 };
	const struct fob_account_request a = { .environment = FOB_ENVIRONMENT_LIVE, .account = "acct_1" };
	struct fob_verification v = { .verdict = FOB_VERDICT_VALID };
	struct fob_created_account *created;
	struct fob_account account;
	struct fob_error e;

	assert_int_equal(fob_verify(*state, &x, &v, &e), FOB_EINVALID_ARGUMENT);
	assert_non_null(strstr(e.message, "struct fob_verification has size 0"));
	assert_false(fob_allows(&v));
	v = (struct fob_verification){ FOB_VERIFICATION_INIT };
	assert_int_equal(fob_verify(*state, &r, &v, &e), FOB_EINVALID_ARGUMENT);
	assert_non_null(strstr(e.message, "struct fob_verify_request has size 0"));
	assert_int_equal(fob_create_account(*state, &a, &created, &e), FOB_EINVALID_ARGUMENT);
	assert_null(created);
	/* Nothing is changed when its result could not be told. */
	memset(&account, 0xff, sizeof(account));
	assert_int_equal(fob_suspend_account(*state, &acct_1, &account, &e), FOB_EINVALID_ARGUMENT);
	assert_int_equal(fake_received(&fake), 0);
}

/* A program that was built with another fob.h than the library: its structs are shorter or longer. */
static void
test_structs_of_other_versions(void **state)
{
	struct {
		size_t size;
		const void *secret;
		size_t secret_len;
	} old_request = { .size = sizeof(old_request), .secret = "x", .secret_len = 1 };
	struct {
		size_t size;
		enum fob_verdict verdict;
		enum fob_environment environment;
		uint64_t beyond;
	} old_result = { .size = 16, .beyond = 0x5555555555555555 };
	struct {
		struct fob_verify_request known;
		uint64_t more;
	} new_request = { .known = x };
	struct {
		struct fob_verification known;
		uint64_t more;
	} new_result = { .more = 7 };
	struct fob_error e;

	assert_int_equal(fob_verify(*state, (void *)&old_request, (void *)&old_result, &e), 0);
	assert_int_equal(old_result.size, 16);
	assert_int_equal(old_result.verdict, FOB_VERDICT_VALID);
	assert_int_equal(old_result.environment, FOB_ENVIRONMENT_LIVE);
	assert_true(old_result.beyond == 0x5555555555555555);

	new_request.known.size = sizeof(new_request);
	new_result.known.size = sizeof(new_result);
	assert_int_equal(fob_verify(*state, &new_request.known, &new_result.known, &e), 0);
	assert_true(fob_allows(&new_result.known));
	assert_int_equal(new_result.known.size, sizeof(new_result));
	assert_int_equal(new_result.more, 7);
	new_request.more = 1;
	assert_int_equal(fob_verify(*state, &new_request.known, &new_result.known, &e), FOB_EINVALID_ARGUMENT);
	assert_non_null(strstr(e.message, "does not know"));
	assert_false(fob_allows(&new_result.known));
}

static void
test_batch(void **state)
{
	struct fob_verify_request r[FOB_BATCH_MAX];
	struct fob_verify_batch_request batch = { FOB_VERIFY_BATCH_REQUEST_INIT, .requests = r, .n = FOB_BATCH_MAX };
	struct fob_verification v[FOB_BATCH_MAX];
	int faults[FOB_BATCH_MAX], i;
	struct fob_error e;

	for (i = 0; i < FOB_BATCH_MAX; i++)
		r[i] = (struct fob_verify_request){ FOB_VERIFY_REQUEST_INIT, .authorization = "" };
	assert_int_equal(fob_verify_batch(*state, &batch, v, faults, &e), 0);
	for (i = 0; i < FOB_BATCH_MAX; i++) {
		assert_int_equal(faults[i], i % 2 == 0 ? 0 : FOB_EUNAVAILABLE);
		assert_int_equal(v[i].verdict, i % 2 == 0 ? FOB_VERDICT_REVOKED : FOB_VERDICT_DENIED);
		assert_int_equal(v[i].size, sizeof(v[i]));
	}
	script.code = 8;
	batch.n = 3;
	assert_int_equal(fob_verify_batch(*state, &batch, v, faults, &e), FOB_ERESOURCE_EXHAUSTED);
	assert_int_equal(e.fault, FOB_ERESOURCE_EXHAUSTED);
	for (i = 0; i < 3; i++)
		assert_int_equal(faults[i], FOB_ERESOURCE_EXHAUSTED);
}

/* The same with the arrays of a program whose structs are shorter, and of one whose structs are longer. */
static void
test_batch_of_other_versions(void **state)
{
	struct {
		size_t size;
		const void *secret;
		size_t secret_len;
	} old_requests[3];
	struct {
		size_t size;
		enum fob_verdict verdict;
		enum fob_environment environment;
	} old_results[4];
	struct {
		struct fob_verify_request known;
		uint64_t more;
	} new_requests[3];
	struct {
		struct fob_verification known;
		uint64_t more;
	} new_results[3];
	struct fob_verify_batch_request batch = { FOB_VERIFY_BATCH_REQUEST_INIT, .n = 3 };
	int faults[3], i;
	struct fob_error e;

	script.valid = true;
	for (i = 0; i < 3; i++) {
		old_requests[i].size = sizeof(old_requests[i]);
		old_requests[i].secret = "x";
		old_requests[i].secret_len = 1;
		new_requests[i].known = x;
		new_requests[i].known.size = sizeof(new_requests[i]);
		new_requests[i].more = 0;
	}
	memset(old_results, 0x55, sizeof(old_results));
	batch.requests = (const void *)old_requests;
	batch.request_size = sizeof(old_requests[0]);
	batch.result_size = sizeof(old_results[0]);
	assert_int_equal(fob_verify_batch(*state, &batch, (void *)old_results, faults, &e), 0);
	for (i = 0; i < 3; i++) {
		assert_int_equal(faults[i], 0);
		assert_int_equal(old_results[i].size, sizeof(old_results[0]));
		assert_int_equal(old_results[i].verdict, FOB_VERDICT_VALID);
		assert_int_equal(old_results[i].environment, FOB_ENVIRONMENT_LIVE);
	}
	assert_int_equal(old_results[3].verdict, 0x55555555);

	batch.requests = &new_requests[0].known;
	batch.request_size = sizeof(new_requests[0]);
	batch.result_size = sizeof(new_results[0]);
	assert_int_equal(fob_verify_batch(*state, &batch, &new_results[0].known, faults, &e), 0);
	for (i = 0; i < 3; i++) {
		assert_int_equal(new_results[i].known.size, sizeof(new_results[0]));
		assert_true(fob_allows(&new_results[i].known));
		assert_int_equal(new_results[i].more, 0);
	}
	new_requests[2].more = 1;
	assert_int_equal(fob_verify_batch(*state, &batch, &new_results[0].known, faults, &e), FOB_EINVALID_ARGUMENT);
	assert_false(fob_allows(&new_results[0].known));
	new_requests[2].more = 0;
	new_requests[1].known.size = 0;
	assert_int_equal(fob_verify_batch(*state, &batch, &new_results[0].known, faults, &e), FOB_EINVALID_ARGUMENT);
	batch.result_size = 0;
	assert_int_equal(fob_verify_batch(*state, &batch, &new_results[0].known, faults, &e), FOB_EINVALID_ARGUMENT);
}

static void
test_changes(void **state)
{
	static const char token[] = "an own token of thirty-two bytes";
	struct fob_roll_request roll = roll_acct_1;
	struct fob_account account = { FOB_ACCOUNT_INIT };
	struct fob_key k = { FOB_KEY_INIT };
	struct fob_created_account *created;
	struct fob_rolled_key *rolled;
	struct fob_error e;

	assert_int_equal(fob_create_account(*state, &acct_1, &created, &e), 0);
	assert_string_equal(created->secret_key->secret, SECRET);
	assert_string_equal(created->publishable_key->secret, SECRET);
	assert_int_equal(created->secret_key->key->generation, 2);
	assert_string_equal(created->account->account, "acct_1");
	assert_string_equal(script.account[0], "acct_1");
	fob_created_account_free(created);
	fob_created_account_free(NULL);
	assert_int_equal(fob_roll_key(*state, &roll, &rolled, &e), 0);
	assert_string_equal(rolled->new_key->secret, SECRET);
	assert_int_equal(rolled->old_key->generation, 2);
	fob_rolled_key_free(rolled);
	fob_rolled_key_free(NULL);
	assert_int_equal(fob_revoke_key(*state, &revoke_acct_1, &k, &e), 0);
	assert_int_equal(k.state, FOB_KEY_STATE_REVOKED);
	assert_int_equal(fob_suspend_account(*state, &acct_1, &account, &e), 0);
	assert_true(account.suspended);
	assert_string_equal(script.method, "fob.v1.Admin/SuspendAccount");
	assert_int_equal(fob_resume_account(*state, &acct_1, &account, &e), 0);
	assert_string_equal(script.method, "fob.v1.Admin/ResumeAccount");
	/* A new token for each. */
	assert_memory_not_equal(script.tokens[0], script.tokens[1], FOB_TOKEN_LEN);
	assert_memory_not_equal(script.tokens[1], script.tokens[2], FOB_TOKEN_LEN);

	roll.token = token;
	assert_int_equal(fob_roll_key(*state, &roll, &rolled, &e), 0);
	fob_rolled_key_free(rolled);
	assert_memory_equal(script.tokens[5], token, FOB_TOKEN_LEN);
	script.code = 10;
	assert_int_equal(fob_roll_key(*state, &roll, &rolled, &e), FOB_EABORTED);
	assert_null(rolled);
	assert_int_equal(fob_revoke_key(*state, &revoke_acct_1, &k, &e), FOB_EABORTED);
	assert_int_equal(k.state, FOB_KEY_STATE_UNKNOWN);
}

/* The promise that a lost connection never rolls twice: every resend carries the token of the first. */
static void
test_lost_connection_keeps_the_token(void **state)
{
	struct fob_rolled_key *rolled;
	struct fob_error e;

	script.hang_ups = 3;
	assert_int_equal(fob_roll_key(*state, &roll_acct_1, &rolled, &e), 0);
	fob_rolled_key_free(rolled);
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
	const struct fob_import_request import = { FOB_IMPORT_REQUEST_INIT, .environment = FOB_ENVIRONMENT_LIVE,
		.accounts = &(struct fob_import_account){ FOB_IMPORT_ACCOUNT_INIT, .account = "acct_1" }, .n = 1 };
	enum fob_import_outcome outcome;
	struct fob_rolled_key *rolled;
	struct fob_error e;

	script.code = 8;
	assert_int_equal(fob_roll_key(*state, &roll_acct_1, &rolled, &e), FOB_ERESOURCE_EXHAUSTED);
	script.hang_ups = 1;
	assert_int_equal(fob_roll_key(*state, &roll_acct_1, &rolled, &e), FOB_EDEADLINE_EXCEEDED);
	assert_non_null(strstr(e.message, "not known whether it was applied"));
	assert_non_null(strstr(e.message, "the reason"));
	/* An import is a change, too. */
	script.hang_ups = 1;
	assert_int_equal(fob_import_accounts(*state, &import, &outcome, &e), FOB_EDEADLINE_EXCEEDED);
	assert_non_null(strstr(e.message, "not known whether it was applied"));
	script.hang_ups = 1;
	script.code = 10;
	assert_int_equal(fob_roll_key(*state, &roll_acct_1, &rolled, &e), FOB_EABORTED);
}

static void
test_lists(void **state)
{
	struct fob_cursor cur = { 0 }, before;
	struct fob_list_request bad = list_live;
	struct fob_account_page *page;
	struct fob_event_page *events;
	struct fob_key_page *keys;
	struct fob_error e;
	unsigned pages = 0;

	do {
		assert_int_equal(fob_list_accounts(*state, &list_live, &cur, &page, &e), 0);
		assert_int_equal(page->n, 2);
		assert_string_equal(page->accounts[1]->account, "acct_1");
		fob_account_page_free(page);
		pages++;
	} while (!cur.done);
	assert_int_equal(pages, 3);
	cur = (struct fob_cursor){ 0 };
	assert_int_equal(fob_list_keys(*state, &list_live, &cur, &keys, &e), 0);
	assert_string_equal(keys->keys[1]->last4, "bcde");
	assert_true(cur.done);
	fob_key_page_free(keys);
	cur = (struct fob_cursor){ 0 };
	assert_int_equal(fob_list_events(*state, &list_live, &cur, &events, &e), 0);
	assert_string_equal(events->events[1]->account, "acct_1");
	fob_event_page_free(events);

	cur = (struct fob_cursor){ .len = 1, .bytes = "a" };
	before = cur;
	script.code = 3;
	assert_int_equal(fob_list_accounts(*state, &list_live, &cur, &page, &e), FOB_EINVALID_ARGUMENT);
	assert_null(page);
	assert_memory_equal(&cur, &before, sizeof(cur));
	bad.account = NULL;
	assert_int_equal(fob_list_keys(*state, &bad, &cur, &keys, &e), FOB_EINVALID_ARGUMENT);
	assert_null(keys);
	fob_key_page_free(NULL);
	fob_account_page_free(NULL);
	fob_event_page_free(NULL);
}

static void
test_health(void **state)
{
	struct fob_health_request health = { FOB_HEALTH_REQUEST_INIT };
	const struct fob_stats_request request = { FOB_STATS_REQUEST_INIT };
	enum fob_health_status status;
	struct fob_stats *stats;
	struct fob_error e;

	assert_int_equal(fob_health(*state, &health, &status, &e), 0);
	assert_int_equal(status, FOB_HEALTH_STATUS_NOT_SERVING);
	assert_int_equal(fob_stats(*state, &request, &stats, &e), 0);
	assert_int_equal(stats->requests, 42);
	fob_stats_free(stats);
	fob_stats_free(NULL);
	health.environment = (enum fob_environment)3;
	assert_int_equal(fob_health(*state, &health, &status, &e), FOB_EINVALID_ARGUMENT);
	script.code = 5;
	health = (struct fob_health_request){ FOB_HEALTH_REQUEST_INIT, .service = "x" };
	assert_int_equal(fob_health(*state, &health, &status, &e), FOB_ENOT_FOUND);
	assert_int_equal(status, FOB_HEALTH_STATUS_UNKNOWN);
	assert_int_equal(fob_stats(*state, &request, &stats, &e), FOB_ENOT_FOUND);
	assert_null(stats);
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
	struct seen *s = arg;
	bool again;

	pthread_mutex_lock(&s->mutex);
	again = s->more > 0;
	s->more -= again;
	pthread_mutex_unlock(&s->mutex);
	if (again)
		assert(fob_verify_async(s->client, &x, verified, s, NULL, NULL) == 0);
	seen_add(s, fault, error == NULL || v == NULL || fob_allows(v) != (fault == 0) || error->fault != fault);
}

/* What holds of every callback with a result of its own: a result or a fault, never both. */
static bool
is_whole(int fault, const void *result, const struct fob_error *error)
{
	return (fault == 0) == (result != NULL) && error->fault == fault;
}

static void
rolled_cb(void *arg, int fault, const struct fob_rolled_key *r, const struct fob_error *error)
{
	struct seen *s = arg;

	if (r != NULL)
		memcpy(s->secret, r->new_key->secret, sizeof(SECRET));
	seen_add(s, fault, !is_whole(fault, r, error));
}

static void
account_cb(void *arg, int fault, const struct fob_account *a, const struct fob_error *error)
{
	seen_add(arg, fault, !is_whole(fault, a, error) || (a != NULL && strcmp(a->account, "acct_1") != 0));
}

static void
created_cb(void *arg, int fault, const struct fob_created_account *a, const struct fob_error *error)
{
	seen_add(arg, fault, !is_whole(fault, a, error) || (a != NULL && strcmp(a->secret_key->secret, SECRET) != 0));
}

static void
key_cb(void *arg, int fault, const struct fob_key *k, const struct fob_error *error)
{
	seen_add(arg, fault, !is_whole(fault, k, error) || (k != NULL && k->generation != 2));
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
keys_cb(
    void *arg, int fault, const struct fob_key_page *page, const struct fob_cursor *next, const struct fob_error *error)
{
	seen_add(arg, fault, !is_whole(fault, page, error) || (page != NULL && (page->n != 2 || !next->done)));
}

static void
events_cb(void *arg, int fault, const struct fob_event_page *page, const struct fob_cursor *next,
    const struct fob_error *error)
{
	seen_add(arg, fault, !is_whole(fault, page, error) || (page != NULL && (page->n != 2 || next->len != 1)));
}

/* Asks for the next page itself: three of them. */
static void
accounts_cb(void *arg, int fault, const struct fob_account_page *page, const struct fob_cursor *next,
    const struct fob_error *error)
{
	struct seen *s = arg;

	if (page != NULL && !next->done)
		assert(fob_list_accounts_async(s->client, &list_live, next, accounts_cb, s, NULL, NULL) == 0);
	seen_add(s, fault, !is_whole(fault, page, error) || (page != NULL && page->n != 2));
}

static void
health_cb(void *arg, int fault, enum fob_health_status status, const struct fob_error *error)
{
	seen_add(arg, fault, error->fault != fault || status != FOB_HEALTH_STATUS_NOT_SERVING);
}

static void
stats_cb(void *arg, int fault, const struct fob_stats *stats, const struct fob_error *error)
{
	seen_add(arg, fault, !is_whole(fault, stats, error) || (stats != NULL && stats->requests != 42));
}

static void
test_async(void **state)
{
	const struct fob_verify_request none = { FOB_VERIFY_REQUEST_INIT };
	struct fob_account_request no_account = acct_1;
	struct fob_verify_request r[2] = { x, x };
	const struct fob_verify_batch_request batch = { FOB_VERIFY_BATCH_REQUEST_INIT, .requests = r, .n = 2 };
	struct fob_client *c = *state;
	char secret[] = "x";
	struct fob_error e;
	struct seen s;

	seen_init(&s);
	s.client = c;
	s.more = 50;
	r[0].secret = r[1].secret = secret;
	assert_int_equal(fob_verify_async(c, &r[0], verified, &s, NULL, &e), 0);
	memset(secret, 0, sizeof(secret)); /* it was copied */
	seen_wait(&s, 51);
	assert_int_equal(fob_verify_batch_async(c, &batch, batch_cb, &s, NULL, &e), 0);
	assert_int_equal(fob_create_account_async(c, &acct_1, created_cb, &s, NULL, &e), 0);
	assert_int_equal(fob_revoke_key_async(c, &revoke_acct_1, key_cb, &s, NULL, &e), 0);
	assert_int_equal(fob_suspend_account_async(c, &acct_1, account_cb, &s, NULL, &e), 0);
	assert_int_equal(fob_resume_account_async(c, &acct_1, account_cb, &s, NULL, &e), 0);
	assert_int_equal(fob_roll_key_async(c, &roll_acct_1, rolled_cb, &s, NULL, &e), 0);
	seen_wait(&s, 57);
	assert_string_equal(s.secret, SECRET);
	/* Refused at once: no callback, and the reason. */
	assert_int_equal(fob_verify_async(c, &none, verified, &s, NULL, &e), FOB_EINVALID_ARGUMENT);
	assert_int_equal(e.fault, FOB_EINVALID_ARGUMENT);
	no_account.account = NULL;
	assert_int_equal(fob_suspend_account_async(c, &no_account, account_cb, &s, NULL, &e), FOB_EINVALID_ARGUMENT);
	assert_string_equal(e.message, "no account is given");
	fob_client_free(c);
	*state = NULL;
	assert_int_equal(s.calls, 57);
	assert_int_equal(s.wrong, 0);
}

static void
test_async_lists_and_health(void **state)
{
	const struct fob_health_request health = { FOB_HEALTH_REQUEST_INIT };
	const struct fob_stats_request stats = { FOB_STATS_REQUEST_INIT };
	struct fob_list_request no_account = list_live;
	const struct fob_cursor start = { .done = false };
	struct fob_client *c = *state;
	struct seen s;

	seen_init(&s);
	s.client = c;
	assert_int_equal(fob_list_keys_async(c, &list_live, NULL, keys_cb, &s, NULL, NULL), 0);
	assert_int_equal(fob_list_events_async(c, &list_live, &start, events_cb, &s, NULL, NULL), 0);
	assert_int_equal(fob_list_accounts_async(c, &list_live, &start, accounts_cb, &s, NULL, NULL), 0);
	assert_int_equal(fob_health_async(c, &health, health_cb, &s, NULL, NULL), 0);
	assert_int_equal(fob_stats_async(c, &stats, stats_cb, &s, NULL, NULL), 0);
	seen_wait(&s, 7);
	no_account.account = NULL;
	assert_int_equal(fob_list_keys_async(c, &no_account, NULL, keys_cb, &s, NULL, NULL), FOB_EINVALID_ARGUMENT);
	assert_int_equal(s.calls, 7);
	assert_int_equal(s.wrong, 0);
}

static void
test_free_with_calls_under_way(void **state)
{
	const struct fob_verify_request r[2] = { x, x };
	const struct fob_verify_batch_request batch = { FOB_VERIFY_BATCH_REQUEST_INIT, .requests = r, .n = 2 };
	struct seen s;
	int i;

	seen_init(&s);
	script.silent = true;
	for (i = 0; i < 20; i++)
		assert_int_equal(fob_verify_async(*state, &x, verified, &s, NULL, NULL), 0);
	assert_int_equal(fob_roll_key_async(*state, &roll_acct_1, rolled_cb, &s, NULL, NULL), 0);
	assert_int_equal(fob_verify_batch_async(*state, &batch, batch_cb, &s, NULL, NULL), 0);
	fake_wait_received(&fake, 1);
	fob_client_free(*state);
	*state = NULL;
	assert_int_equal(s.calls, 22);
	assert_int_equal(s.wrong, 0);
	assert_int_equal(s.fault, FOB_ECANCELLED);
}

static void
test_cancel(void **state)
{
	uint64_t on_the_wire = 0, other = 0;
	struct fob_client *c = *state;
	struct seen s;

	seen_init(&s);
	assert_int_equal(fob_cancel(c, 0), FOB_ENOT_FOUND);
	assert_int_equal(fob_cancel(c, 1), FOB_ENOT_FOUND);
	script.silent = true;
	assert_int_equal(fob_roll_key_async(c, &roll_acct_1, rolled_cb, &s, &on_the_wire, NULL), 0);
	assert_int_not_equal(on_the_wire, 0);
	fake_wait_received(&fake, 1);
	assert_int_equal(fob_verify_async(c, &x, verified, &s, &other, NULL), 0);
	assert_int_not_equal(other, on_the_wire);
	assert_int_equal(fob_cancel(c, on_the_wire), 0);
	seen_wait(&s, 1);
	assert_int_equal(s.fault, FOB_ECANCELLED);
	assert_int_equal(fob_cancel(c, on_the_wire), FOB_ENOT_FOUND);
	assert_int_equal(fob_cancel(c, other), 0);
	seen_wait(&s, 2);
	/* A refused call has no number. */
	assert_int_equal(
	    fob_verify_async(c, &(struct fob_verify_request){ 0 }, verified, &s, &other, NULL), FOB_EINVALID_ARGUMENT);
	assert_int_equal(other, 0);
	/* The others go on. */
	script.silent = false;
	assert_int_equal(fob_verify(c, &x, &(struct fob_verification){ FOB_VERIFICATION_INIT }, NULL), 0);
	assert_int_equal(s.calls, 2);
	assert_int_equal(s.wrong, 0);
}

static void
call_synchronously(void *arg, int fault, const struct fob_verification *v, const struct fob_error *error)
{
	struct fob_verification own = { FOB_VERIFICATION_INIT };
	struct fob_rolled_key *rolled;
	struct seen *s = arg;
	struct fob_error e;

	(void)v;
	(void)error;
	seen_add(s, fault,
	    fault != 0 || fob_verify(s->client, &x, &own, &e) != FOB_EFAILED_PRECONDITION || e.message[0] == '\0' ||
		fob_roll_key(s->client, &roll_acct_1, &rolled, NULL) != FOB_EFAILED_PRECONDITION || rolled != NULL);
}

/* It could only wait for itself. */
static void
test_synchronous_call_in_a_callback(void **state)
{
	struct seen s;

	seen_init(&s);
	s.client = *state;
	assert_int_equal(fob_verify_async(*state, &x, call_synchronously, &s, NULL, NULL), 0);
	seen_wait(&s, 1);
	assert_int_equal(s.wrong, 0);
	assert_int_equal(script.n, 0);
}

static void
test_deadline(void **state)
{
	struct fob_verify_request r = x;
	struct fob_verification v;
	struct fob_error e;

	script.silent = true;
	r.timeout_ms = 50;
	memset(&v, 0xaa, sizeof(v));
	v.size = sizeof(v);
	assert_int_equal(fob_verify(*state, &r, &v, &e), FOB_EDEADLINE_EXCEEDED);
	assert_int_equal(v.verdict, FOB_VERDICT_DENIED);
	assert_int_equal(fob_http_status(FOB_EDEADLINE_EXCEEDED, v.verdict), 503);
}

static void *
verify_often(void *client)
{
	struct fob_verification v = { FOB_VERIFICATION_INIT };
	uintptr_t ok = 0;
	int i;

	for (i = 0; i < 100; i++)
		ok += fob_verify(client, &x, &v, NULL) == 0 && fob_allows(&v);
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

/* ---- loop mode ---- */

/* As an event loop does, until ${calls} callbacks have been called. */
static void
loop(struct fob_client *c, const struct seen *s, unsigned calls)
{
	struct pollfd fd = { .fd = fob_client_fd(c), .events = POLLIN };

	assert_true(fd.fd >= 0);
	while (s->calls < calls) {
		unsigned before = s->calls;
		int n;

		assert_int_equal(poll(&fd, 1, -1), 1);
		n = fob_client_dispatch(c);
		assert_int_equal(n, s->calls - before);
	}
}

static void
dispatch_again(void *arg, int fault, const struct fob_verification *v, const struct fob_error *error)
{
	struct seen *s = arg;

	(void)v;
	(void)error;
	seen_add(s, fault, fault != 0 || fob_client_dispatch(s->client) != FOB_EFAILED_PRECONDITION);
}

static void
test_loop(void **state)
{
	struct fob_options *o = options_new();
	struct fob_verify_request late = x;
	struct fob_verification v = { FOB_VERIFICATION_INIT };
	struct fob_client *c;
	struct fob_error e;
	uint64_t number;
	struct seen s;
	int i;

	assert_int_equal(fob_client_fd(*state), FOB_EFAILED_PRECONDITION);
	assert_int_equal(fob_client_dispatch(*state), FOB_EFAILED_PRECONDITION);
	assert_int_equal(fob_options_set_loop(o, true), 0);
	script.valid = true;
	c = client_new(o);
	seen_init(&s);
	s.client = c;
	assert_int_equal(fob_verify(c, &x, &v, &e), FOB_EFAILED_PRECONDITION);
	assert_int_not_equal(e.message[0], '\0');
	s.more = 10;
	script.valid = true;
	for (i = 0; i < 20; i++)
		assert_int_equal(fob_verify_async(c, &x, verified, &s, NULL, NULL), 0);
	assert_int_equal(s.calls, 0);
	loop(c, &s, 30);
	assert_int_equal(fob_verify_async(c, &x, dispatch_again, &s, NULL, NULL), 0);
	loop(c, &s, 31);
	/* Deadlines and cancelled calls make it readable, too. */
	script.silent = true;
	late.timeout_ms = 20;
	assert_int_equal(fob_verify_async(c, &late, verified, &s, NULL, NULL), 0);
	loop(c, &s, 32);
	assert_int_equal(s.fault, FOB_EDEADLINE_EXCEEDED);
	assert_int_equal(fob_verify_async(c, &x, verified, &s, &number, NULL), 0);
	assert_int_equal(fob_cancel(c, number), 0);
	assert_int_equal(s.calls, 32);
	loop(c, &s, 33);
	assert_int_equal(s.fault, FOB_ECANCELLED);
	assert_int_equal(fob_verify_async(c, &x, verified, &s, NULL, NULL), 0);
	fob_client_free(c);
	assert_int_equal(s.calls, 34);
	assert_int_equal(s.wrong, 0);
}

/* ---- several servers ---- */

/* Live and test are two servers. What each has been asked is known by the verdicts: live's are VALID, test's REVOKED. */
static struct fake test_fake;

static bool
serve_test(void *arg, struct fake_request *q)
{
	Fob__V1__VerifyKeysRequest *r = fob__v1__verify_keys_request__unpack(NULL, q->body_len, q->body);
	Fob__V1__VerifyKeyResponse v = FOB__V1__VERIFY_KEY_RESPONSE__INIT;
	Fob__V1__VerifyKeysResponse m = FOB__V1__VERIFY_KEYS_RESPONSE__INIT;
	Fob__V1__VerifyKeysItem items[FOB_BATCH_MAX], *pointers[FOB_BATCH_MAX];
	Fob__V1__SuspendAccountResponse suspended = FOB__V1__SUSPEND_ACCOUNT_RESPONSE__INIT;
	Fob__V1__Account account = FOB__V1__ACCOUNT__INIT;

	(void)arg;
	if (script.silent) {
		fob__v1__verify_keys_request__free_unpacked(r, NULL);
		return true;
	}
	v.verdict = FOB__V1__VERDICT__REVOKED;
	account.account = TEXT("acct_2");
	suspended.account = &account;
	for (size_t i = 0; strcmp(strchr(q->method, '/'), "/VerifyKeys") == 0 && i < r->n_items; i++) {
		fob__v1__verify_keys_item__init(&items[i]);
		items[i].result = &v;
		pointers[i] = &items[i];
		m.n_items = i + 1;
	}
	m.items = pointers;
	if (r != NULL)
		fob__v1__verify_keys_request__free_unpacked(r, NULL);
	if (strcmp(strchr(q->method, '/'), "/VerifyKeys") == 0)
		return fake_reply(q->connection, q->id, 0, NULL, &m.base);
	if (strcmp(strchr(q->method, '/'), "/VerifyKey") == 0)
		return fake_reply(q->connection, q->id, 0, NULL, &v.base);
	return fake_reply(q->connection, q->id, 0, NULL, &suspended.base);
}

static int
setup_split(void **state)
{
	struct fob_options *o = fob_options_new();

	memset(&script, 0, sizeof(script));
	pthread_mutex_init(&script.mutex, NULL);
	script.verdict = 1;
	script.valid = true;
	fake_init(&fake, serve, NULL);
	fake_start(&fake);
	fake_init(&test_fake, serve_test, NULL);
	fake_start(&test_fake);
	assert_int_equal(fob_options_set_environment_address(o, FOB_ENVIRONMENT_LIVE, fake.address), 0);
	assert_int_equal(fob_options_set_environment_address(o, FOB_ENVIRONMENT_TEST, test_fake.address), 0);
	assert_int_equal(fob_options_set_connect_wait_ms(o, 2000), 0);
	*state = client_new(o);
	return 0;
}

static int
teardown_split(void **state)
{
	fob_client_free(*state);
	fake_stop(&test_fake);
	fake_fini(&test_fake);
	fake_stop(&fake);
	fake_fini(&fake);
	pthread_mutex_destroy(&script.mutex);
	return 0;
}

#define TEST_SECRET "sk_test_0123456789012345678901234567890abcde"
#define LIVE_HEADER "Basic c2tfbGl2ZV8wMTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkwYWJjZGU6"
#define TEST_HEADER "Basic cGtfdGVzdF8wMTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkwYWJjZGU6"

#define BY_SECRET(s) \
	{ \
		FOB_VERIFY_REQUEST_INIT, .secret = (s), .secret_len = sizeof(s) - 1 \
	}
#define BY_HEADER(s) \
	{ \
		FOB_VERIFY_REQUEST_INIT, .authorization = (s), .authorization_len = sizeof(s) - 1 \
	}

/* Keys of both environments, as such and in a header, and what names no environment: that is for the first server. */
static const struct fob_verify_request mixed[] = { BY_SECRET(SECRET), BY_SECRET(TEST_SECRET), BY_HEADER(LIVE_HEADER),
	BY_HEADER(TEST_HEADER), BY_SECRET("nothing"), BY_HEADER("Bearer sk_test_"), BY_SECRET("pk_test_") };
static const bool mixed_test[] = { false, true, false, true, false, false, true };
#define MIXED (sizeof(mixed) / sizeof(mixed[0]))

static void
test_routes(void **state)
{
	struct fob_verification v = { FOB_VERIFICATION_INIT };
	struct fob_account_request change = acct_1;
	struct fob_account account = { FOB_ACCOUNT_INIT };

	for (size_t i = 0; i < MIXED; i++) {
		assert_int_equal(fob_verify(*state, &mixed[i], &v, NULL), 0);
		assert_int_equal(v.verdict, mixed_test[i] ? FOB_VERDICT_REVOKED : FOB_VERDICT_VALID);
	}
	assert_int_equal(fob_suspend_account(*state, &change, &account, NULL), 0);
	assert_string_equal(account.account, "acct_1");
	change.environment = FOB_ENVIRONMENT_TEST;
	assert_int_equal(fob_suspend_account(*state, &change, &account, NULL), 0);
	assert_string_equal(account.account, "acct_2");
}

static void
test_split_batch(void **state)
{
	const struct fob_verify_batch_request batch = { FOB_VERIFY_BATCH_REQUEST_INIT, .requests = mixed, .n = MIXED };
	struct fob_verification v[MIXED];
	struct fob_error e;
	int faults[MIXED];

	assert_int_equal(fob_verify_batch(*state, &batch, v, faults, &e), 0);
	for (size_t i = 0; i < MIXED; i++) {
		assert_int_equal(faults[i], 0);
		assert_int_equal(v[i].verdict, mixed_test[i] ? FOB_VERDICT_REVOKED : FOB_VERDICT_VALID);
	}
	assert_int_equal(fake_received(&fake), 1);
	assert_int_equal(fake_received(&test_fake), 1);

	/* One server's fault is not the other's. */
	script.code = 8;
	assert_int_equal(fob_verify_batch(*state, &batch, v, faults, &e), 0);
	assert_int_equal(e.fault, 0);
	for (size_t i = 0; i < MIXED; i++) {
		assert_int_equal(faults[i], mixed_test[i] ? 0 : FOB_ERESOURCE_EXHAUSTED);
		assert_int_equal(v[i].verdict, mixed_test[i] ? FOB_VERDICT_REVOKED : FOB_VERDICT_DENIED);
		assert_int_equal(v[i].size, sizeof(v[i]));
	}
}

static void
mixed_cb(
    void *arg, int fault, const struct fob_verification *v, const int *faults, size_t n, const struct fob_error *error)
{
	bool wrong = n != MIXED || error->fault != fault;

	for (size_t i = 0; !wrong && i < n; i++) {
		wrong = faults[i] != fault ||
		    v[i].verdict !=
			(fault != 0           ? FOB_VERDICT_DENIED :
				mixed_test[i] ? FOB_VERDICT_REVOKED :
						FOB_VERDICT_VALID);
	}
	seen_add(arg, fault, wrong);
}

/* One callback and one number for both halves. */
static void
test_split_batch_async(void **state)
{
	const struct fob_verify_batch_request batch = { FOB_VERIFY_BATCH_REQUEST_INIT, .requests = mixed, .n = MIXED };
	uint64_t number = 0;
	struct seen s;

	seen_init(&s);
	assert_int_equal(fob_verify_batch_async(*state, &batch, mixed_cb, &s, &number, NULL), 0);
	seen_wait(&s, 1);
	assert_int_equal(s.fault, 0);
	assert_int_equal(fob_cancel(*state, number), FOB_ENOT_FOUND);
	script.silent = true;
	assert_int_equal(fob_verify_batch_async(*state, &batch, mixed_cb, &s, &number, NULL), 0);
	fake_wait_received(&fake, 2);
	fake_wait_received(&test_fake, 2);
	assert_int_equal(fob_cancel(*state, number), 0);
	seen_wait(&s, 2);
	assert_int_equal(s.fault, FOB_ECANCELLED);
	assert_int_equal(fob_verify_batch_async(*state, &batch, mixed_cb, &s, NULL, NULL), 0);
	fob_client_free(*state);
	*state = NULL;
	assert_int_equal(s.calls, 3);
	assert_int_equal(s.wrong, 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
#define SPLIT(f) cmocka_unit_test_setup_teardown(f, setup_split, teardown_split)

int
main(void)
{
	/* A hang is a failure too. */
	const unsigned whole_s = 120;
	const struct CMUnitTest tests[] = { TEST(test_verify), TEST(test_large_verify), TEST(test_traceparent),
		TEST(test_on_behalf_of), TEST(test_bad_arguments), TEST(test_structs_without_a_size),
		TEST(test_structs_of_other_versions), TEST(test_batch), TEST(test_batch_of_other_versions),
		TEST(test_changes), TEST(test_lost_connection_keeps_the_token), TEST(test_refused_after_a_lost_reply),
		TEST(test_lists), TEST(test_health), TEST(test_async), TEST(test_async_lists_and_health),
		TEST(test_free_with_calls_under_way), TEST(test_cancel), TEST(test_synchronous_call_in_a_callback),
		TEST(test_deadline), TEST(test_many_threads), TEST(test_loop), SPLIT(test_routes),
		SPLIT(test_split_batch), SPLIT(test_split_batch_async) };

	alarm(whole_s);
	return cmocka_run_group_tests_name("client/client", tests, NULL, NULL);
}
