/*
 * verify.c - VerifyKey and VerifyKeys, from the request to the verdict, top to bottom. Called by dispatch.c; calls
 * secret.c (form), pepper.c (digest), store.c (one record, in a read transaction that is renewed and let go), clock.c.
 * Takes no lock, allocates nothing but scratch, writes nothing to the database.
 *
 * A verdict is an answer; a fault (a database that fails, a damaged record) is none, and never becomes one.
 */
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "fob/v1/keys.pb-c.h"
#include "proto/c/basic.h"
#include "service/rpc/handlers.h"
#include "service/rpc/message.h"
#include "service/rpc/worker.h"
#include "service/keys/secret.h"

/* What a batch holds on to: one read transaction per environment, however many items it has. */
struct verification {
	struct call *call;
	bool reading[ENVIRONMENTS];
};

static const char *const verdict_details[VERDICTS] = {
	[VERDICT_NOT_FOUND] = "there is no such key",
	[VERDICT_EXPIRED] = "the key was rolled and its grace has ended: use the new one",
	[VERDICT_REVOKED] = "the key was revoked",
	[VERDICT_SUSPENDED] = "the account is suspended",
	[VERDICT_FORBIDDEN] = "this key may not do this operation",
};

static void
deny(Fob__V1__VerifyKeyResponse *out, enum verdict verdict, const char *detail)
{
	out->verdict = (Fob__V1__Verdict)verdict;
	message_text(&out->detail, detail);
}

/* ---- 1. the request: a fault here is the caller's mistake, not the key's ---- */

static int
check_request(struct call *call, const Fob__V1__VerifyKeyRequest *in)
{
	if (in->credential_case == FOB__V1__VERIFY_KEY_REQUEST__CREDENTIAL__NOT_SET)
		return call_fault(call, FAULT_INVALID_ARGUMENT, "credential: set secret or authorization");
	if (in->operation.len > 0 && !operation_name_ok(in->operation.data, in->operation.len))
		return call_fault(
		    call, FAULT_INVALID_ARGUMENT, "operation: at most %d bytes of [A-Za-z0-9._:/-]", LIMIT_OPERATION);
	if (in->require_environment != FOB__V1__ENVIRONMENT__ENVIRONMENT_UNSPECIFIED &&
	    in->require_environment != FOB__V1__ENVIRONMENT__LIVE &&
	    in->require_environment != FOB__V1__ENVIRONMENT__TEST)
		return call_fault(
		    call, FAULT_INVALID_ARGUMENT, "require_environment: LIVE (1), TEST (2), or 0 for either");
	return 0;
}

/* ---- 2. the credential: the secret itself, or the user name of a Basic header ---- */

struct credential {
	const void *secret;
	size_t len;
	char basic[BASIC_MAX]; /* decoded; wiped by the caller */
};

/* Returns 0, or -1 with a reason at *${why}: the key is malformed. */
static int
read_credential(const Fob__V1__VerifyKeyRequest *in, struct credential *credential, const char **why)
{
	if (in->credential_case == FOB__V1__VERIFY_KEY_REQUEST__CREDENTIAL_SECRET) {
		credential->secret = in->secret.data;
		credential->len = in->secret.len;
		return 0;
	}
	credential->secret = credential->basic;
	return basic_parse(
	    (const char *)in->authorization.data, in->authorization.len, credential->basic, &credential->len, why);
}

/* ---- 3. the form: a typo or a probe goes no further ---- */

static void
tell_prefix(const struct secret_form *form, Fob__V1__VerifyKeyResponse *out)
{
	out->environment = (Fob__V1__Environment)(form->environment + 1);
	out->livemode = form->environment == ENVIRONMENT_LIVE;
	out->kind = (Fob__V1__KeyKind)form->kind;
}

/*
 * A key of another system's form can only be an imported one. Where nothing was imported it goes no further, and nobody
 * pays for those who did; the prefix has told the environment, and no other's import matters.
 */
static bool
may_be_imported(const struct call *call, const struct credential *credential, const struct secret_form *form)
{
	const struct engine *engine = call->service->engines[form->environment];

	return engine != NULL && credential->len <= LIMIT_IMPORTED_SECRET && writer_imported(engine->writer);
}

/*
 * Returns true when the key is of a form that can be here and of an environment that is wanted and served: *${engine}
 * is its own, or NULL when its database could not be opened, which is no verdict. *${why} is then NULL, or why it is no
 * key unless it was imported.
 */
static bool
choose_engine(struct call *call, const Fob__V1__VerifyKeyRequest *in, const struct credential *credential,
    struct secret_form *form, struct engine **engine, const char **why, Fob__V1__VerifyKeyResponse *out)
{
	int rc;

	if ((rc = secret_parse(credential->secret, credential->len, form, why)) >= 0)
		tell_prefix(form, out);
	if (rc < 0 || (rc > 0 && !may_be_imported(call, credential, form))) {
		deny(out, VERDICT_MALFORMED, *why);
		return false;
	}
	if (rc == 0)
		*why = NULL;
	if (in->require_environment != FOB__V1__ENVIRONMENT__ENVIRONMENT_UNSPECIFIED &&
	    in->require_environment != out->environment) {
		deny(out, VERDICT_WRONG_ENVIRONMENT,
		    out->livemode ? "a live key where a test key is required" :
				    "a test key where a live key is required");
		return false;
	}
	/* From here on only this environment's engine is in reach. */
	*engine = call->service->engines[form->environment];
	if (*engine == NULL && !call->service->broken[form->environment]) {
		deny(out, VERDICT_WRONG_ENVIRONMENT, "this server does not serve the key's environment");
		return false;
	}
	return true;
}

/* ---- 4. the record ---- */

static int
begin_read(struct verification *v, struct engine *engine, struct store_txn **txn)
{
	int fault;

	if ((*txn = worker_reader(v->call->worker, engine)) == NULL)
		return call_fault(v->call, FAULT_INTERNAL, "out of memory");
	if (v->reading[engine->environment])
		return 0;
	if ((fault = store_read(*txn)) != 0)
		return fault;
	v->reading[engine->environment] = true;
	return 0;
}

static void
end_reads(struct verification *v)
{
	for (int i = 0; i < ENVIRONMENTS; i++)
		if (v->reading[i])
			store_read_end(v->call->worker->readers[i]);
}

/* ---- 5. the verdict ---- */

static bool
listed(char *const *names, size_t n, const ProtobufCBinaryData *operation)
{
	for (size_t i = 0; i < n; i++)
		if (strlen(names[i]) == operation->len && memcmp(names[i], operation->data, operation->len) == 0)
			return true;
	return false;
}

/*
 * A secret key may do anything, but a superseded one can no longer authorise a roll. A publishable key may do what is
 * listed, and nothing else: an unknown operation is a forbidden one.
 */
static bool
allowed(const struct config *config, const struct record_key *key, const ProtobufCBinaryData *operation)
{
	if (operation->len == 0)
		return true;
	if (key->kind == KIND_PUBLISHABLE)
		return listed(config->publishable_operations, config->n_publishable_operations, operation);
	return key->state != KEY_GRACE || !listed(config->roll_operations, config->n_roll_operations, operation);
}

/* Valid strictly before its deadline: by this comparison, whatever the sweeper has got to. */
static enum verdict
judge(const struct config *config, const struct record_key *key, const ProtobufCBinaryData *operation, int64_t now_ms)
{
	switch (key->state) {
	case KEY_CURRENT:
		break;
	case KEY_GRACE:
		if (now_ms >= key->expires_ms)
			return VERDICT_EXPIRED;
		break;
	case KEY_EXPIRED:
		return VERDICT_EXPIRED;
	default:
		return VERDICT_REVOKED;
	}
	if (key->suspended)
		return VERDICT_SUSPENDED;
	return allowed(config, key, operation) ? VERDICT_VALID : VERDICT_FORBIDDEN;
}

static bool
tell_key(struct call *call, const struct record_key *key, Fob__V1__VerifyKeyResponse *out)
{
	out->generation = key->generation;
	out->current_generation = key->generation;
	out->created_ms = key->created_ms;
	out->expires_ms = key->expires_ms;
	return message_copy(call, &out->account, key->account, strlen(key->account)) &&
	    message_copy(call, &out->last4, key->last4, sizeof(key->last4));
}

/* While records are moved to a new pepper a key may still be under its old digest. */
static bool
try_old(const struct store_txn *txn, int fault)
{
	return fault == -FAULT_NOT_FOUND && store_moving(txn);
}

/*
 * Find the key's record by the digest under which it is stored, or will be: *${digest} is that of the newest pepper.
 * One of Fob's own form may still be an imported one (one in 2^32 of those that look like it), and is looked for among
 * them when it is none of ours.
 */
static int
find_record(struct store_txn *txn, const struct engine *engine, const struct credential *credential,
    const struct secret_form *form, bool ours, uint8_t digest[RECORD_DIGEST_LEN], struct record_key *key)
{
	const struct pepper *pepper = store_txn_pepper(txn);
	uint8_t sha256[crypto_hash_sha256_BYTES], old[RECORD_DIGEST_LEN];
	int fault;

	if (ours) {
		pepper_digest(pepper, credential->secret, credential->len, digest);
		if (try_old(txn, fault = store_key(txn, digest, key))) {
			pepper_digest_old(pepper, credential->secret, credential->len, old);
			fault = store_key(txn, old, key);
		}
		if (fault != -FAULT_NOT_FOUND || !writer_imported(engine->writer))
			return fault;
	}
	crypto_hash_sha256(sha256, credential->secret, credential->len);
	pepper_imported(pepper, form->kind, sha256, digest);
	if (try_old(txn, fault = store_key(txn, digest, key))) {
		pepper_imported_old(pepper, form->kind, sha256, old);
		fault = store_key(txn, old, key);
	}
	sodium_memzero(sha256, sizeof(sha256));
	return fault;
}

/*
 * A rotation may begin while a verify is under way, and the key be moved before its use is noted: then it is noted once
 * more, for the pepper that is in use now. The writer publishes that one first and moves the cell later; here the cell
 * is stored first and the pepper looked at later; so one of the two sees the other.
 */
static void
note_use(struct engine *engine, const struct pepper *pepper, uint32_t serial, uint8_t digest[RECORD_DIGEST_LEN],
    int64_t now_ms)
{
	const struct pepper *now;

	if (!lastused_touch(engine->lastused, pepper, serial, digest, now_ms))
		return;
	for (; (now = store_pepper(engine->store)) != pepper; pepper = now) {
		pepper_advance(now, pepper, digest);
		lastused_put(engine->lastused, now, serial, digest, now_ms);
	}
}

/* ${why}: as choose_engine() left it. */
static int
look_up(struct verification *v, struct engine *engine, const struct credential *credential,
    const struct secret_form *form, const char *why, const ProtobufCBinaryData *operation,
    Fob__V1__VerifyKeyResponse *out)
{
	uint8_t digest[RECORD_DIGEST_LEN];
	struct record_account account;
	struct record_key key;
	struct store_txn *txn;
	enum verdict verdict;
	int64_t now_ms;
	int fault;

	if ((fault = begin_read(v, engine, &txn)) != 0)
		return fault;
	if ((fault = find_record(txn, engine, credential, form, why == NULL, digest, &key)) == -FAULT_NOT_FOUND) {
		/* An import changes the answer for the imported keys, and for no other. */
		if (why != NULL)
			deny(out, VERDICT_MALFORMED, why);
		else
			deny(out, VERDICT_NOT_FOUND, verdict_details[VERDICT_NOT_FOUND]);
		return 0;
	}
	if (fault != 0)
		return fault;
	lastused_prefetch(engine->lastused, key.serial);
	if (key.kind != form->kind)
		return -FAULT_CORRUPT;
	if (!tell_key(v->call, &key, out))
		return call_fault(
		    v->call, FAULT_RESOURCE_EXHAUSTED, "the batch needs more memory than a request may have");
	if (key.state != KEY_CURRENT) {
		if ((fault = store_account(txn, key.account, &account)) != 0)
			return fault == -FAULT_NOT_FOUND ? -FAULT_CORRUPT : fault;
		out->current_generation =
		    key.kind == KIND_SECRET ? account.secret_generation : account.publishable_generation;
	}

	now_ms = clock_now_ms(&engine->clock);
	verdict = judge(atomic_load(&v->call->service->config), &key, operation, now_ms);
	/* A grace that has ended is no grace, whether or not the sweeper has got to it. */
	out->superseded = key.state == KEY_GRACE && verdict != VERDICT_EXPIRED;
	if (verdict == VERDICT_VALID) {
		out->verdict = FOB__V1__VERDICT__VALID;
		note_use(engine, store_txn_pepper(txn), key.serial, digest, now_ms);
	} else {
		deny(out, verdict, verdict_details[verdict]);
	}
	return 0;
}

/* ---- all of it ---- */

static int
verify(struct verification *v, const Fob__V1__VerifyKeyRequest *in, Fob__V1__VerifyKeyResponse *out)
{
	struct credential credential;
	struct secret_form form;
	struct engine *engine;
	const char *why;
	int fault;

	memset(&form, 0, sizeof(form));
	if ((fault = check_request(v->call, in)) != 0)
		return fault;
	if (read_credential(in, &credential, &why) != 0)
		deny(out, VERDICT_MALFORMED, why);
	else if (choose_engine(v->call, in, &credential, &form, &engine, &why, out))
		fault = engine != NULL ?
		    look_up(v, engine, &credential, &form, why, &in->operation, out) :
		    call_fault(v->call, FAULT_UNAVAILABLE, "the database of this environment could not be opened");
	if (credential.secret == credential.basic)
		sodium_memzero(credential.basic, sizeof(credential.basic));
	if (fault == 0 && out->environment == FOB__V1__ENVIRONMENT__ENVIRONMENT_UNSPECIFIED)
		tally_add(&v->call->worker->tally.unrecognised);
	else if (fault == 0)
		tally_add(&v->call->worker->tally.verdicts[form.environment][out->verdict]);
	return fault;
}

int
verify_key(struct call *call, const ProtobufCMessage *request, ProtobufCMessage *response)
{
	struct verification v = { .call = call };
	int fault;

	fault = verify(&v, (const Fob__V1__VerifyKeyRequest *)request, (Fob__V1__VerifyKeyResponse *)response);
	end_reads(&v);
	return fault;
}

/* One item's answer; its fault is its own. */
static bool
verify_item(struct verification *v, const Fob__V1__VerifyKeyRequest *in, Fob__V1__VerifyKeysItem *out)
{
	int fault;

	if ((out->result = scratch_alloc(&v->call->scratch, sizeof(*out->result))) == NULL)
		return false;
	fob__v1__verify_key_response__init(out->result);
	v->call->message[0] = '\0';
	if ((fault = verify(v, in, out->result)) == 0)
		return true;
	if (fault == -FAULT_RESOURCE_EXHAUSTED)
		return false;
	out->result = NULL;
	out->code = (Fob__Rpc__V1__Code)call_code(fault);
	return message_copy(
	    v->call, &out->message, call_message(v->call, fault), strlen(call_message(v->call, fault)));
}

int
verify_keys(struct call *call, const ProtobufCMessage *request, ProtobufCMessage *response)
{
	const Fob__V1__VerifyKeysRequest *in = (const Fob__V1__VerifyKeysRequest *)request;
	Fob__V1__VerifyKeysResponse *out = (Fob__V1__VerifyKeysResponse *)response;
	struct verification v = { .call = call };
	Fob__V1__VerifyKeysItem *items;
	bool fits = true;

	if (in->n_items > LIMIT_BATCH)
		return call_fault(call, FAULT_INVALID_ARGUMENT, "items: at most %d in one batch, here are %zu",
		    LIMIT_BATCH, in->n_items);
	if ((items = scratch_alloc(&call->scratch, in->n_items * sizeof(*items))) == NULL ||
	    (out->items = scratch_alloc(&call->scratch, in->n_items * sizeof(*out->items))) == NULL)
		return call_fault(
		    call, FAULT_RESOURCE_EXHAUSTED, "the batch needs more memory than a request may have");
	out->n_items = in->n_items;
	for (size_t i = 0; i < in->n_items && fits; i++) {
		fob__v1__verify_keys_item__init(&items[i]);
		out->items[i] = &items[i];
		fits = verify_item(&v, in->items[i], &items[i]);
	}
	end_reads(&v);
	call->message[0] = '\0';
	if (!fits)
		return call_fault(
		    call, FAULT_RESOURCE_EXHAUSTED, "the batch needs more memory than a request may have");
	return 0;
}
