/*
 * verify.c - VerifyKey and VerifyKeys, from the request to the verdict, top to bottom. Takes no lock, allocates nothing
 * but scratch memory, and writes nothing to the database.
 *
 * A verdict is an answer. A fault (a database that fails, a damaged record) is not an answer, and never becomes one.
 */
#include "service/rpc/handlers.h"

#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "fob/v1/keys.pb-c.h"
#include "proto/c/basic.h"
#include "service/base/names.h"
#include "service/rpc/message.h"
#include "service/keys/lookup.h"
#include "service/rpc/worker.h"
#include "service/keys/secret.h"
#include "service/keys/verdict.h"

/* A batch of any size uses one read transaction per environment. */
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

/* ---- 1. the request: here a fault is the caller's mistake and says nothing of the key ---- */

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

/* ---- 3. the form: a typo or a random probe is refused before the database is read ---- */

static void
tell_prefix(const struct secret_form *form, Fob__V1__VerifyKeyResponse *out)
{
	out->environment = (Fob__V1__Environment)(form->environment + 1);
	out->livemode = form->environment == ENVIRONMENT_LIVE;
	out->kind = (Fob__V1__KeyKind)form->kind;
}

/*
 * A key of another system's form can only be an imported one. Where nothing was imported, it is refused without a read.
 * The prefix decides the environment, so the other environment's imports do not matter.
 */
static bool
may_be_imported(const struct call *call, const struct credential *credential, const struct secret_form *form)
{
	const struct engine *engine = call->service->engines[form->environment];

	return engine != NULL && credential->len <= LIMIT_IMPORTED_SECRET && store_has_imported(engine->store);
}

/*
 * Returns false when the form or the environment decides the verdict, which is then in ${out}. Else *${engine} is the
 * environment's, or NULL when its database could not be opened; and *${why} is NULL, or a sentence on the form of a key
 * that is valid only if it was imported.
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
tell_key(struct call *call, const struct record_key *key, Fob__V1__VerifyKeyResponse *out)
{
	out->generation = key->generation;
	out->current_generation = key->generation;
	out->created_ms = key->created_ms;
	out->expires_ms = key->expires_ms;
	return message_copy(call, &out->account, key->account, strlen(key->account)) &&
	    message_copy(call, &out->last4, key->last4, sizeof(key->last4));
}

/*
 * A rotation may begin during a verify, and rotate the key's cell before the use is noted under the old pepper. The use
 * would be lost, so it is then noted once more under the pepper that is in use now. The writer publishes the pepper and
 * then rotates the cell; here the cell is stored and then the pepper is read; so at least one side sees the other.
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
tell_verdict(struct verification *v, struct engine *engine, const struct credential *credential,
    const struct secret_form *form, const char *why, const ProtobufCBinaryData *operation,
    Fob__V1__VerifyKeyResponse *out)
{
	const struct record_key *key;
	struct record_account account;
	struct store_txn *txn;
	struct lookup found;
	enum verdict verdict;
	int64_t now_ms;
	int fault;

	if ((fault = begin_read(v, engine, &txn)) != 0)
		return fault;
	fault = lookup_key(txn, credential->secret, credential->len, form->kind, why == NULL, &found);
	if (fault == -FAULT_NOT_FOUND) {
		/* A key of another form stays MALFORMED, whether the database has imported keys or not. */
		if (why != NULL)
			deny(out, VERDICT_MALFORMED, why);
		else
			deny(out, VERDICT_NOT_FOUND, verdict_details[VERDICT_NOT_FOUND]);
		return 0;
	}
	if (fault != 0)
		return fault;
	key = &found.key;
	lastused_prefetch(engine->lastused, key->serial);
	if (key->kind != form->kind)
		return -FAULT_CORRUPT;
	if (!tell_key(v->call, key, out))
		return call_fault(
		    v->call, FAULT_RESOURCE_EXHAUSTED, "the batch needs more memory than a request may have");
	if (key->state != KEY_CURRENT) {
		if ((fault = store_account(txn, key->account, &account)) != 0)
			return fault == -FAULT_NOT_FOUND ? -FAULT_CORRUPT : fault;
		out->current_generation =
		    key->kind == KIND_SECRET ? account.secret_generation : account.publishable_generation;
	}

	now_ms = clock_now_ms(&engine->clock);
	verdict = verdict_of(atomic_load(&v->call->service->config), key, operation->data, operation->len, now_ms);
	/* EXPIRED is irrevocable once it is committed. */
	if (verdict == VERDICT_EXPIRED && key->state == KEY_GRACE)
		writer_expire_soon(engine->writer);
	/* A key whose grace has ended is not superseded any more, even if the sweeper has not ended it yet. */
	out->superseded = key->state == KEY_GRACE && verdict != VERDICT_EXPIRED;
	if (verdict == VERDICT_VALID) {
		out->verdict = FOB__V1__VERDICT__VALID;
		note_use(engine, store_txn_pepper(txn), key->serial, found.digest, now_ms);
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
		    tell_verdict(v, engine, &credential, &form, why, &in->operation, out) :
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

/* One item. Its fault is its own, and does not end the batch. Returns false when the scratch memory is used up. */
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
	return message_copy(v->call, &out->message, call_message(v->call, fault), strlen(call_message(v->call, fault)));
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
		return call_fault(call, FAULT_INVALID_ARGUMENT, "items: at most %d in one batch, but there are %zu",
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
