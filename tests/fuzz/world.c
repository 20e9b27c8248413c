/*
 * world.c - the service under fuzz_dispatch, and a record of its replies (see world.h). Calls the service without a
 * socket. Its random numbers are the same in every process, so that an input meets the same secrets again.
 */
#include <errno.h>
#include <ftw.h>
#include <pthread.h>
#include <sodium.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "fob/v1/admin.pb-c.h"
#include "fob/v1/keys.pb-c.h"
#include "service/store/init.h"
#include "service/store/open.h"
#include "tests/fuzz/fuzz.h"
#include "service/base/names.h"
#include "tests/fuzz/world.h"

#define START_MS INT64_C(1800000000000)
#define INPUTS_MAX 1000
#define KNOWN_MAX 8192
#define IMPORTED_MAX 16384
#define TOKENS_MAX 16384
#define REPLY_MAX (2U << 20)
#define ANSWER_S 60

_Static_assert(sizeof(WORLD_MARK) - 1 == WORLD_MARK_LEN && WORLD_MARK_LEN + 2 == SECRET_LEN, "a mark is a secret long");

struct known {
	char secret[SECRET_LEN];
	enum environment environment;
	enum kind kind;
	uint32_t generation;
	char account[LIMIT_ACCOUNT + 1];
	bool ended;
	bool suspended;
	int64_t expires_ms; /* 0: no end is known */
};

struct imported {
	enum environment environment;
	enum kind kind;
	uint8_t sha256[crypto_hash_sha256_BYTES];
};

static struct {
	struct world world;
	bool founded;
	char folder[512];
	char paths[ENVIRONMENTS][2][600];
	unsigned inputs;
	_Atomic int64_t passed_ms;
	struct known known[KNOWN_MAX];
	size_t n_known;
	struct imported imported[IMPORTED_MAX];
	size_t n_imported;
	uint8_t tokens[TOKENS_MAX][LIMIT_TOKEN]; /* of suspensions that were answered with OK */
	size_t n_tokens;
	char canaries[ENVIRONMENTS][SECRET_LEN];
} w;

/* ---- randomness: a stream that starts again with each world ---- */

static pthread_mutex_t random_lock = PTHREAD_MUTEX_INITIALIZER;
static struct fuzz_random randomness;

static const char *
random_name(void)
{
	return "the same every time";
}

static uint32_t
random_number(void)
{
	uint32_t n;

	pthread_mutex_lock(&random_lock);
	n = fuzz_below(&randomness, UINT32_MAX);
	pthread_mutex_unlock(&random_lock);
	return n;
}

static void
random_buf(void *buf, size_t len)
{
	uint8_t *p = buf;

	for (size_t i = 0; i < len; i++)
		p[i] = (uint8_t)random_number();
}

static void
set_randomness(void)
{
	static struct randombytes_implementation same = {
		.implementation_name = random_name, .random = random_number, .buf = random_buf
	};

	randombytes_set_implementation(&same);
	FUZZ_CHECK(sodium_init() >= 0, "no libsodium");
}

/* ---- the clock ---- */

static int64_t
boot_ns(void *arg)
{
	(void)arg;
	return w.passed_ms * 1000000;
}

static int64_t
wall_ns(void *arg)
{
	(void)arg;
	return (START_MS + w.passed_ms) * 1000000;
}

void
world_advance(int64_t ms)
{
	w.passed_ms += ms;
}

/* ---- no line of the log holds a secret ---- */

ssize_t __real_write(int fd, const void *buf, size_t len);
ssize_t __wrap_write(int fd, const void *buf, size_t len);

ssize_t
__wrap_write(int fd, const void *buf, size_t len)
{
	/* libFuzzer writes to stderr, too. */
	if (fd != STDERR_FILENO || len < 5 || memcmp(buf, "time=", 5) != 0)
		return __real_write(fd, buf, len);
	world_check_text(buf, len);
	return (ssize_t)len;
}

/* ---- requests ---- */

struct line {
	struct worker worker;
	struct peer peer;
	pthread_mutex_t lock;
	pthread_cond_t answered;
	unsigned replies;
	size_t len;
	uint8_t bytes[REPLY_MAX];
};

static bool
admit(const struct origin *origin)
{
	(void)origin;
	return true;
}

static void
take_reply(const struct origin *origin, const uint8_t *bytes, size_t len, bool admitted)
{
	struct line *l = origin->connection;

	(void)admitted;
	pthread_mutex_lock(&l->lock);
	FUZZ_CHECK(len <= sizeof(l->bytes), "a reply of %zu bytes", len);
	memcpy(l->bytes, bytes, len);
	l->len = len;
	l->replies++;
	pthread_cond_signal(&l->answered);
	pthread_mutex_unlock(&l->lock);
}

static void
wait_for_reply(struct line *l)
{
	struct timespec at;
	int rc = 0;

	clock_gettime(CLOCK_REALTIME, &at);
	at.tv_sec += ANSWER_S;
	pthread_mutex_lock(&l->lock);
	while (l->replies == 0 && rc == 0)
		rc = pthread_cond_timedwait(&l->answered, &l->lock, &at);
	FUZZ_CHECK(l->replies == 1, "%u replies", l->replies);
	pthread_mutex_unlock(&l->lock);
}

void
world_ask(enum role role, const uint8_t *bytes, size_t len, unsigned nth, uint8_t **reply, size_t *reply_len)
{
	static struct line line = { .lock = PTHREAD_MUTEX_INITIALIZER, .answered = PTHREAD_COND_INITIALIZER };
	static const struct transport_ops transport = { .admit = admit, .reply = take_reply };
	const struct origin origin = { .connection = &line, .role = role, .peer = &line.peer };
	uint8_t *copy = fuzz_copy(bytes, len);

	w.world.service.transport = &transport;
	FUZZ_CHECK(worker_init(&line.worker, &w.world.service) == 0, "no memory for a worker");
	line.replies = 0;
	fault_arm(nth);
	dispatch(&line.worker, &origin, copy, len, clock_boot_ns());
	dispatch_end(&line.worker);
	wait_for_reply(&line);
	fault_disarm();
	while (atomic_load(&w.world.service.changes) > 0)
		sched_yield();
	worker_fini(&line.worker);
	call_free_spares(&w.world.service);
	free(copy);
	*reply = fuzz_copy(line.bytes, line.len);
	*reply_len = line.len;
}

/* ---- making the world ---- */

static ProtobufCBinaryData
borrow(const void *p, size_t len)
{
	return (ProtobufCBinaryData){ .data = (uint8_t *)(uintptr_t)p, .len = len };
}

static ProtobufCBinaryData
text(const char *s)
{
	return borrow(s, strlen(s));
}

/* An admin request that must succeed. Its reply is recorded. */
static void
found(const char *method, const ProtobufCMessage *in, const ProtobufCMessageDescriptor *out)
{
	Fob__Rpc__V1__Request envelope = FOB__RPC__V1__REQUEST__INIT;
	Fob__Rpc__V1__Response *response;
	uint8_t body[1024], bytes[2048], *reply;
	ProtobufCMessage *inner;
	size_t len;

	FUZZ_CHECK(protobuf_c_message_get_packed_size(in) <= sizeof(body), "too long");
	envelope.method = text(method);
	envelope.body = borrow(body, protobuf_c_message_pack(in, body));
	len = fob__rpc__v1__request__pack(&envelope, bytes);
	world_ask(ROLE_ADMIN, bytes, len, 0, &reply, &len);
	FUZZ_CHECK((response = fob__rpc__v1__response__unpack(NULL, len, reply)) != NULL, "no reply");
	FUZZ_CHECK(response->code == 0, "%s: %d %.*s", method, (int)response->code, (int)response->message.len,
	    (const char *)response->message.data);
	inner = protobuf_c_message_unpack(out, NULL, response->body.len, response->body.data);
	FUZZ_CHECK(inner != NULL, "no message");
	world_learn(method, in, 0, inner);
	protobuf_c_message_free_unpacked(inner, NULL);
	fob__rpc__v1__response__free_unpacked(response, NULL);
	free(reply);
}

static ProtobufCBinaryData
new_token(void)
{
	static uint8_t token[LIMIT_TOKEN];

	randombytes_buf(token, sizeof(token));
	return borrow(token, sizeof(token));
}

static void
found_account(enum environment e, const char *account)
{
	Fob__V1__CreateAccountRequest in = FOB__V1__CREATE_ACCOUNT_REQUEST__INIT;

	in.request_token = new_token();
	in.environment = (Fob__V1__Environment)(e + 1);
	in.account = text(account);
	found("fob.v1.Admin/CreateAccount", &in.base, &fob__v1__create_account_response__descriptor);
}

static void
found_roll(enum environment e, const char *account, uint32_t grace_s)
{
	Fob__V1__RollKeyRequest in = FOB__V1__ROLL_KEY_REQUEST__INIT;
	Fob__V1__Grace grace = FOB__V1__GRACE__INIT;

	in.request_token = new_token();
	in.environment = (Fob__V1__Environment)(e + 1);
	in.account = text(account);
	grace.seconds = grace_s;
	in.grace = &grace;
	found("fob.v1.Admin/RollKey", &in.base, &fob__v1__roll_key_response__descriptor);
}

static void
found_suspension(enum environment e, const char *account)
{
	Fob__V1__SuspendAccountRequest in = FOB__V1__SUSPEND_ACCOUNT_REQUEST__INIT;

	in.request_token = new_token();
	in.environment = (Fob__V1__Environment)(e + 1);
	in.account = text(account);
	found("fob.v1.Admin/SuspendAccount", &in.base, &fob__v1__suspend_account_response__descriptor);
}

/* An imported account, whose secret key is its prefix and the account's name. */
static void
found_import(enum environment e, const char *account)
{
	Fob__V1__ImportAccountsRequest in = FOB__V1__IMPORT_ACCOUNTS_REQUEST__INIT;
	Fob__V1__ImportItem item = FOB__V1__IMPORT_ITEM__INIT, *items[] = { &item };
	uint8_t sha256[crypto_hash_sha256_BYTES];
	char secret[128];
	int len = snprintf(secret, sizeof(secret), "sk_%s_%s", environment_name(e), account);

	crypto_hash_sha256(sha256, (const unsigned char *)secret, (unsigned long long)len);
	item.account = text(account);
	item.secret_sha256 = borrow(sha256, sizeof(sha256));
	item.secret_last4 = text(secret + len - 4);
	in.request_token = new_token();
	in.environment = (Fob__V1__Environment)(e + 1);
	in.n_items = 1;
	in.items = items;
	found("fob.v1.Admin/ImportAccounts", &in.base, &fob__v1__import_accounts_response__descriptor);
}

/* Keys in every state. tests/fuzz/seeds names the accounts and numbers the secrets in this order. */
static void
found_environment(enum environment e)
{
	char name[LIMIT_ACCOUNT + 1];

	found_account(e, "acme"); /* 0, 1: superseded, publishable */
	found_roll(e, "acme", LIMIT_GRACE_S);
	found_account(e, "frozen"); /* 3, 4: suspended */
	found_suspension(e, "frozen");
	found_account(e, "leaked"); /* 5, 6: 5 is revoked, 7 is current */
	found_roll(e, "leaked", 0);
	found_account(e, "late"); /* 8: expired, 10 is current */
	found_roll(e, "late", 1);
	world_advance(1000);
	found_import(e, "moved");
	/* A name that no input uses. */
	snprintf(name, sizeof(name), "canary-%08x%08x%08x", random_number(), random_number(), random_number());
	found_account(e, name);
	memcpy(w.canaries[e], w.known[w.n_known - 2].secret, SECRET_LEN);
}

static void
prepare(void)
{
	static char operations[3][16] = { "tokenize", "tokens.create", "keys.roll" };
	struct config *c = &w.world.config;
	const char *tmp = getenv("TMPDIR");

	snprintf(w.folder, sizeof(w.folder), "%s/fob-fuzz-XXXXXX", tmp != NULL && tmp[0] != '\0' ? tmp : "/tmp");
	FUZZ_CHECK(mkdtemp(w.folder) != NULL, "%s: %s", w.folder, strerror(errno));
	for (int e = 0; e < ENVIRONMENTS; e++) {
		const char *name = environment_name((enum environment)e);

		snprintf(w.paths[e][0], sizeof(w.paths[e][0]), "%s/%s", w.folder, name);
		snprintf(w.paths[e][1], sizeof(w.paths[e][1]), "%s/%s.pepper", w.folder, name);
		c->environments[e] = (struct config_environment){ .configured = true,
			.path = w.paths[e][0],
			.pepper = w.paths[e][1],
			.ceiling_bytes = 64U << 20,
			.events_kept = 1000 };
	}
	c->publishable_operations[0] = operations[0];
	c->publishable_operations[1] = operations[1];
	c->n_publishable_operations = 2;
	c->roll_operations[0] = operations[2];
	c->n_roll_operations = 1;
	/* Long, so that no request's deadline passes on a slow machine. */
	c->timeout_ms = LIMIT_TIMEOUT_MS;
	w.world.service.config = c;
	w.world.service.start_ms = START_MS;
}

/* Like engine_open(), but with the world's clock. */
static struct engine *
open_engine(enum environment e)
{
	const struct config_environment *c = &w.world.config.environments[e];
	struct store_options options = { .environment = e,
		.path = c->path,
		.pepper = c->pepper,
		.ceiling_bytes = c->ceiling_bytes,
		.events_kept = c->events_kept,
		.readers = 16 };
	struct engine *engine = calloc(1, sizeof(*engine));
	char why[512] = "out of memory";

	FUZZ_CHECK(engine != NULL, "%s", why);
	engine->environment = e;
	clock_init_with(&engine->clock, wall_ns, boot_ns, NULL);
	FUZZ_CHECK(store_init(&options, why, sizeof(why)) == 0 &&
		store_open(&options, &engine->store, why, sizeof(why)) == 0 &&
		lastused_open(c->path, 0, &engine->lastused, why, sizeof(why)) == 0 &&
		writer_start(engine->store, &engine->clock, engine->lastused,
		    &(struct order_options){ .fresh_until_ms = &engine->fresh_until_ms }, &engine->writer, why,
		    sizeof(why)) == 0,
	    "%s", why);
	return engine;
}

static int
remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

static void
end_world(void)
{
	if (!w.founded)
		return;
	w.founded = false;
	for (int e = 0; e < ENVIRONMENTS; e++) {
		engine_close(w.world.service.engines[e]);
		w.world.service.engines[e] = NULL;
	}
	nftw(w.folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static void
found_world(void)
{
	randomness.state = 1;
	w.passed_ms = 0;
	w.n_known = w.n_imported = w.n_tokens = 0;
	w.inputs = 0;
	prepare();
	for (int e = 0; e < ENVIRONMENTS; e++)
		w.world.service.engines[e] = open_engine((enum environment)e);
	w.founded = true;
	for (int e = 0; e < ENVIRONMENTS; e++)
		found_environment((enum environment)e);
}

struct world *
world_get(void)
{
	static bool before;

	if (!before) {
		before = true;
		set_randomness();
		dispatch_check();
		log_setup(LOG_DEBUG, false);
		atexit(end_world);
	}
	/* Half full: one input adds less than the other half. */
	if (w.inputs++ >= INPUTS_MAX || w.n_known > KNOWN_MAX / 2 || w.n_imported > IMPORTED_MAX / 2 ||
	    w.n_tokens > TOKENS_MAX / 2)
		end_world();
	if (!w.founded)
		found_world();
	return &w.world;
}

/* ---- secrets in requests ---- */

/* "00" to "49" from the first one on, "50" to "99" back from the newest. */
static const char *
secret_of(const uint8_t number[2])
{
	unsigned n = (number[0] - '0') % 10U * 10 + (number[1] - '0') % 10U;

	n = n < 50 ? n % (unsigned)w.n_known : (unsigned)w.n_known - 1 - (n - 50) % (unsigned)w.n_known;
	return w.known[n].secret;
}

static void
insert_basic(uint8_t *at)
{
	unsigned char plain[SECRET_LEN + 1], number[3] = "00";
	char encoded[64];

	if (sodium_base642bin(number, sizeof(number), (const char *)at + WORLD_MARK_LEN / 3 * 4, 4, NULL, NULL, NULL,
		sodium_base64_VARIANT_ORIGINAL) != 0)
		memcpy(number, "00", 2);
	memcpy(plain, secret_of(number), SECRET_LEN);
	plain[SECRET_LEN] = ':';
	sodium_bin2base64(encoded, sizeof(encoded), plain, sizeof(plain), sodium_base64_VARIANT_ORIGINAL);
	memcpy(at, encoded, sizeof(plain) / 3 * 4);
}

void
world_insert_secrets(uint8_t *bytes, size_t len)
{
	char mark[WORLD_MARK_LEN / 3 * 4 + 1];

	sodium_bin2base64(
	    mark, sizeof(mark), (const unsigned char *)WORLD_MARK, WORLD_MARK_LEN, sodium_base64_VARIANT_ORIGINAL);
	for (size_t i = 0; i + SECRET_LEN <= len; i++) {
		if (memcmp(bytes + i, WORLD_MARK, WORLD_MARK_LEN) == 0)
			memcpy(bytes + i, secret_of(bytes + i + WORLD_MARK_LEN), SECRET_LEN);
		else if (i + sizeof(mark) - 1 + 4 <= len && memcmp(bytes + i, mark, sizeof(mark) - 1) == 0)
			insert_basic(bytes + i);
	}
}

/*
 * Not instrumented, and without memcmp: libFuzzer learns bytes from instrumented comparisons. It would put parts of
 * secrets into inputs, and those would look like leaks.
 */
#ifdef __clang__
#define UNSEEN __attribute__((noinline, no_sanitize("coverage")))
#else
#define UNSEEN
#endif

UNSEEN static bool
same(const void *a, const void *b, size_t len)
{
	const uint8_t *p = a, *q = b;
	unsigned differ = 0;

	for (size_t i = 0; i < len && differ == 0; i++)
		differ = p[i] ^ q[i];
	return differ == 0;
}

/* ---- the record of replies ---- */

static bool
is(const ProtobufCBinaryData *field, const char *s)
{
	return field->len == strlen(s) && (field->len == 0 || memcmp(field->data, s, field->len) == 0);
}

static struct known *
find_secret(const void *secret, size_t len)
{
	for (size_t i = w.n_known; len == SECRET_LEN && i > 0; i--)
		if (same(w.known[i - 1].secret, secret, SECRET_LEN))
			return &w.known[i - 1];
	return NULL;
}

/* ${suspended}: NULL where it does not matter. Returns how many keys of it are known. */
static bool
suspend_known(enum environment e, const ProtobufCBinaryData *account, const bool *suspended)
{
	bool was = false;

	for (size_t i = 0; i < w.n_known; i++) {
		if (w.known[i].environment != e || !is(account, w.known[i].account))
			continue;
		was = w.known[i].suspended;
		if (suspended != NULL)
			w.known[i].suspended = *suspended;
	}
	return was;
}

/* Returns false for a secret that is recorded already: the reply is a resend's. */
static bool
learn_secret(const Fob__V1__NewKey *key)
{
	struct known *k;

	FUZZ_CHECK(key != NULL && key->key != NULL && key->secret.len == SECRET_LEN, "a new key without its secret");
	if (find_secret(key->secret.data, key->secret.len) != NULL)
		return false;
	FUZZ_CHECK(w.n_known < KNOWN_MAX && key->key->account.len <= LIMIT_ACCOUNT, "more than can be known");
	k = &w.known[w.n_known];
	*k = (struct known){ .environment = (enum environment)(key->key->environment - 1),
		.kind = (enum kind)key->key->kind,
		.generation = key->key->generation };
	memcpy(k->secret, key->secret.data, SECRET_LEN);
	memcpy(k->account, key->key->account.data, key->key->account.len);
	k->suspended = suspend_known(k->environment, &key->key->account, NULL);
	w.n_known++;
	return true;
}

static void
learn_end(const Fob__V1__Key *key)
{
	struct known *k;

	for (k = w.known; k < w.known + w.n_known; k++) {
		if ((int)k->environment + 1 != (int)key->environment || (int)k->kind != (int)key->kind ||
		    k->generation != key->generation || !is(&key->account, k->account))
			continue;
		if (key->state == FOB__V1__KEY_STATE__KEY_STATE_REVOKED ||
		    key->state == FOB__V1__KEY_STATE__KEY_STATE_EXPIRED)
			k->ended = true;
		else if (key->expires_ms != 0 && (k->expires_ms == 0 || key->expires_ms < k->expires_ms))
			k->expires_ms = key->expires_ms;
	}
}

/* A suspension whose reply was resent may have been lifted since. */
static bool
is_new_token(const ProtobufCBinaryData *token)
{
	for (size_t i = 0; i < w.n_tokens; i++)
		if (memcmp(w.tokens[i], token->data, LIMIT_TOKEN) == 0)
			return false;
	FUZZ_CHECK(w.n_tokens < TOKENS_MAX, "more than can be known");
	memcpy(w.tokens[w.n_tokens++], token->data, LIMIT_TOKEN);
	return true;
}

static void
learn_suspension(const Fob__V1__SuspendAccountRequest *in)
{
	bool suspended = is_new_token(&in->request_token);

	suspend_known((enum environment)(in->environment - 1), &in->account, &suspended);
}

static void
learn_import(const Fob__V1__ImportAccountsRequest *in)
{
	if (in->n_items > LIMIT_IMPORT)
		return;
	for (size_t i = 0; i < in->n_items; i++) {
		const ProtobufCBinaryData *sha256[] = { &in->items[i]->secret_sha256,
			&in->items[i]->publishable_sha256 };

		for (int k = 0; k < 2; k++) {
			if (sha256[k]->len != crypto_hash_sha256_BYTES)
				continue;
			FUZZ_CHECK(w.n_imported < IMPORTED_MAX, "more than can be known");
			w.imported[w.n_imported].environment = (enum environment)(in->environment - 1);
			w.imported[w.n_imported].kind = (enum kind)(k + 1);
			memcpy(w.imported[w.n_imported++].sha256, sha256[k]->data, crypto_hash_sha256_BYTES);
		}
	}
}

void
world_learn(const char *method, const ProtobufCMessage *request, int code, const ProtobufCMessage *response)
{
	const bool no = false;

	/* The change may have been made although its reply failed for lack of memory. */
	if (strcmp(method, "fob.v1.Admin/ImportAccounts") == 0)
		learn_import((const Fob__V1__ImportAccountsRequest *)request);
	if (strcmp(method, "fob.v1.Admin/ResumeAccount") == 0) {
		const Fob__V1__ResumeAccountRequest *in = (const Fob__V1__ResumeAccountRequest *)request;

		suspend_known((enum environment)(in->environment - 1), &in->account, &no);
	}
	if (code != 0)
		return;
	if (strcmp(method, "fob.v1.Admin/CreateAccount") == 0) {
		learn_secret(((const Fob__V1__CreateAccountResponse *)response)->secret_key);
		learn_secret(((const Fob__V1__CreateAccountResponse *)response)->publishable_key);
	} else if (strcmp(method, "fob.v1.Admin/RollKey") == 0) {
		const Fob__V1__RollKeyResponse *out = (const Fob__V1__RollKeyResponse *)response;

		if (learn_secret(out->new_key) && out->old_key != NULL)
			learn_end(out->old_key);
	} else if (strcmp(method, "fob.v1.Admin/RevokeKey") == 0) {
		FUZZ_CHECK(((const Fob__V1__RevokeKeyResponse *)response)->key != NULL, "no key");
		learn_end(((const Fob__V1__RevokeKeyResponse *)response)->key);
	} else if (strcmp(method, "fob.v1.Admin/SuspendAccount") == 0) {
		learn_suspension((const Fob__V1__SuspendAccountRequest *)request);
	}
}

/* ---- checks ---- */

static bool
was_imported(const void *secret, size_t len, enum environment e, enum kind kind)
{
	uint8_t sha256[crypto_hash_sha256_BYTES];

	crypto_hash_sha256(sha256, secret, len);
	for (size_t i = 0; i < w.n_imported; i++)
		if (w.imported[i].environment == e && w.imported[i].kind == kind &&
		    memcmp(w.imported[i].sha256, sha256, sizeof(sha256)) == 0)
			return true;
	return false;
}

void
world_check_valid(const void *secret, size_t len, const ProtobufCMessage *response)
{
	const Fob__V1__VerifyKeyResponse *out = (const Fob__V1__VerifyKeyResponse *)response;
	const struct known *k = find_secret(secret, len);

	FUZZ_CHECK(out->livemode == (out->environment == FOB__V1__ENVIRONMENT__LIVE), "livemode is wrong");
	if (k == NULL) {
		FUZZ_CHECK(was_imported(secret, len, (enum environment)(out->environment - 1), (enum kind)out->kind),
		    "VALID for a secret that was never given out");
		return;
	}
	FUZZ_CHECK(!k->ended, "VALID for a key that has ended");
	FUZZ_CHECK(!k->suspended, "VALID for a suspended account");
	FUZZ_CHECK(k->expires_ms == 0 || START_MS + w.passed_ms < k->expires_ms, "VALID at its deadline or after");
	FUZZ_CHECK((int)k->environment + 1 == (int)out->environment && (int)k->kind == (int)out->kind &&
		k->generation == out->generation && is(&out->account, k->account),
	    "VALID as another key");
}

static bool
is_digit(uint8_t c)
{
	return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

#define PART 16 /* so many characters of a secret are no accident */

static void
check_part(const uint8_t *p, const struct known *k)
{
	for (size_t i = SECRET_PREFIX_LEN; i + PART <= SECRET_LEN; i++)
		FUZZ_CHECK(!same(p, k->secret + i, PART), "the text holds a secret");
}

void
world_check_text(const void *t, size_t len)
{
	const uint8_t *p = t;
	size_t run = 0;

	for (size_t i = 0; i < len; i++) {
		run = is_digit(p[i]) ? run + 1 : 0;
		if (run < PART)
			continue;
		/* The first and the newest secrets: those that an input can have used. */
		for (size_t k = 0; k < w.n_known; k++)
			if (k < 50 || k + 50 >= w.n_known)
				check_part(p + i + 1 - PART, &w.known[k]);
	}
}

static void
check_canary(enum environment e)
{
	Fob__Rpc__V1__Request envelope = FOB__RPC__V1__REQUEST__INIT;
	Fob__V1__VerifyKeyRequest in = FOB__V1__VERIFY_KEY_REQUEST__INIT;
	Fob__Rpc__V1__Response *response;
	Fob__V1__VerifyKeyResponse *out;
	uint8_t body[128], bytes[256], *reply;
	size_t len;

	in.credential_case = FOB__V1__VERIFY_KEY_REQUEST__CREDENTIAL_SECRET;
	in.secret = borrow(w.canaries[e], SECRET_LEN);
	envelope.method = text("fob.v1.Keys/VerifyKey");
	envelope.body = borrow(body, fob__v1__verify_key_request__pack(&in, body));
	len = fob__rpc__v1__request__pack(&envelope, bytes);
	world_ask(ROLE_VERIFY, bytes, len, 0, &reply, &len);
	response = fob__rpc__v1__response__unpack(NULL, len, reply);
	FUZZ_CHECK(response != NULL && response->code == 0, "the canary is not answered");
	out = fob__v1__verify_key_response__unpack(NULL, response->body.len, response->body.data);
	FUZZ_CHECK(out != NULL && out->verdict == FOB__V1__VERDICT__VALID, "the canary is not VALID");
	fob__v1__verify_key_response__free_unpacked(out, NULL);
	fob__rpc__v1__response__free_unpacked(response, NULL);
	free(reply);
}

void
world_check_health(void)
{
	for (int e = 0; e < ENVIRONMENTS; e++) {
		struct engine *engine = w.world.service.engines[e];

		FUZZ_CHECK(!store_failed(engine->store), "a store has failed");
		FUZZ_CHECK(store_corrupt_records(engine->store) == 0, "a store has found damage");
		check_canary((enum environment)e);
	}
}
