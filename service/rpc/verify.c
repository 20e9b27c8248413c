/*
 * verify.c - Keys/VerifyKey and Keys/VerifyKeys: from the credential to the verdict, top to bottom. Takes no lock, allocates
 * nothing but scratch memory, and writes nothing to the database.
 *
 * A verify has two halves, before and after its key is looked up: the lookups of all verifies that are at hand wait for
 * memory together. These are the items of a batch; and all single VerifyKeys that one read of a socket brought, which the
 * worker keeps until verify_kept().
 *
 * A verdict is an answer. A fault (a database that fails, a damaged record) is not an answer, and never becomes one.
 */
#include "service/rpc/verify.h"

#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "fob/v1/keys.pb-c.h"
#include "proto/c/basic.h"
#include "service/base/names.h"
#include "service/rpc/handlers.h"
#include "service/rpc/message.h"
#include "service/rpc/reply.h"
#include "service/rpc/worker.h"
#include "service/keys/secret.h"
#include "service/keys/verdict.h"

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
};

/* Returns 0; -1 with a reason at *${why}: the key is malformed; or a fault. */
static int
read_credential(struct call *call, const Fob__V1__VerifyKeyRequest *in, struct credential *credential, const char **why)
{
	char *decoded;

	if (in->credential_case == FOB__V1__VERIFY_KEY_REQUEST__CREDENTIAL_SECRET) {
		*credential = (struct credential){ in->secret.data, in->secret.len };
		return 0;
	}
	if ((decoded = scratch_alloc(&call->scratch, BASIC_MAX)) == NULL)
		return call_fault(
		    call, FAULT_RESOURCE_EXHAUSTED, "the request needs more memory than a request may have");
	credential->secret = decoded;
	return basic_parse((const char *)in->authorization.data, in->authorization.len, decoded, &credential->len, why);
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
 * The prefix decides the environment, so the other environment's imports do not matter. A node of a cluster always reads: it
 * may have lost touch, or may be behind, while another node has imported the first key.
 */
static bool
may_be_imported(const struct call *call, const struct credential *credential, const struct secret_form *form)
{
	const struct engine *engine = call->service->engines[form->environment];

	return engine != NULL && credential->len <= LIMIT_IMPORTED_SECRET &&
	    (store_has_imported(engine->store) || atomic_load(&engine->fresh_until_ms) != 0);
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

/* ---- 4. the first half ---- */

/* What begin() returns beside 0 (v->out is the answer) and negated faults. */
#define LOOKUP 1

static int
begin(struct call *call, const Fob__V1__VerifyKeyRequest *in, struct verification *v)
{
	Fob__V1__VerifyKeyResponse *out = &v->out;
	struct credential credential;
	struct secret_form form = { 0 };
	const char *why;
	int rc;

	fob__v1__verify_key_response__init(out);
	if ((rc = check_request(call, in)) != 0)
		return rc;
	if ((rc = read_credential(call, in, &credential, &why)) < -1)
		return rc;
	if (rc != 0) {
		deny(out, VERDICT_MALFORMED, why);
		return 0;
	}
	if (!choose_engine(call, in, &credential, &form, &v->engine, &v->why, out))
		return 0;
	if (v->engine == NULL)
		return call_fault(call, FAULT_UNAVAILABLE,
		    "the database of this environment is not open: it has failed, and fobd opens it as soon as it can");
	v->in = in;
	v->found.secret = credential.secret;
	v->found.len = credential.len;
	v->found.kind = form.kind;
	v->found.own = v->why == NULL;
	v->min = call->min[form.environment];
	return LOOKUP;
}

static inline void
count(struct call *call, const Fob__V1__VerifyKeyResponse *out)
{
	struct tally *tally = &call->worker->tally;

	if (out->environment == FOB__V1__ENVIRONMENT__ENVIRONMENT_UNSPECIFIED)
		tally_add(&tally->unrecognised, 1, false);
	else
		tally_add(&tally->verdicts[out->environment - 1][out->verdict], 1, false);
}

/* ---- 5. the lookups, in one read transaction per environment ---- */

/* Which environments are being read, and their time when all keys of the pass had been looked up. */
struct reading {
	struct worker *worker;
	bool begun[ENVIRONMENTS];
	int64_t fresh_until_ms[ENVIRONMENTS]; /* as it was before the snapshot: see order.h */
	int64_t now_ms[ENVIRONMENTS];
};

/* Sets *${txn}, whose snapshot is kept until end_reads(). Returns 0 or a negated fault. */
static int
begin_read(struct reading *r, struct engine *engine, struct store_txn **txn)
{
	int fault;

	if ((*txn = worker_reader(r->worker, engine)) == NULL)
		return -FAULT_INTERNAL;
	if (r->begun[engine->environment])
		return 0;
	r->fresh_until_ms[engine->environment] = atomic_load(&engine->fresh_until_ms);
	if ((fault = store_read(*txn)) != 0)
		return fault;
	if ((fault = call_position(&r->worker->call, engine, r->fresh_until_ms[engine->environment], *txn)) == 0)
		r->begun[engine->environment] = true;
	else
		store_read_end(*txn);
	return fault;
}

static void
end_reads(struct reading *r)
{
	for (int e = 0; e < ENVIRONMENTS; e++)
		if (r->begun[e])
			store_read_end(r->worker->readers[e]);
}

/* Those whose client has seen more than this snapshot has are not answered from it. */
static void
refuse_behind(const struct reading *r, struct verification *const *vs, size_t n, struct engine *engine)
{
	const struct position *at = &r->worker->call.at[engine->environment];
	bool some = false;

	for (size_t i = 0; i < n; i++)
		if (vs[i]->engine->environment == engine->environment && position_is_behind(at, &vs[i]->min)) {
			vs[i]->found.fault = -FAULT_BEHIND;
			some = true;
		}
	if (some)
		order_look(writer_order(engine->writer));
}

static void
look_up(struct reading *r, struct verification *const *vs, size_t n, enum environment environment)
{
	struct lookup *lookups[VERIFY_PASS];
	struct engine *engine = NULL;
	struct store_txn *txn;
	size_t found = 0;
	int fault;

	for (size_t i = 0; i < n; i++)
		if (vs[i]->engine->environment == environment) {
			engine = vs[i]->engine;
			lookups[found++] = &vs[i]->found;
		}
	if (found == 0)
		return;
	if ((fault = begin_read(r, engine, &txn)) == 0)
		lookup_keys(txn, lookups, found);
	if (fault == 0 && r->fresh_until_ms[environment] != 0 &&
	    order_is_stale(r->fresh_until_ms[environment], clock_boot_ms()))
		fault = -FAULT_STALE;
	r->now_ms[environment] = clock_now_ms(&engine->clock);
	for (size_t i = 0; i < found && fault != 0; i++)
		lookups[i]->fault = fault;
	if (fault == 0 && r->fresh_until_ms[environment] != 0)
		refuse_behind(r, vs, n, engine);
}

/* ---- 6. the second half: the verdict ---- */

/* ${out} borrows from ${key}. */
static void
tell_key(const struct record_key *key, Fob__V1__VerifyKeyResponse *out)
{
	out->generation = key->generation;
	out->current_generation = key->generation;
	out->created_ms = key->created_ms;
	out->expires_ms = key->expires_ms;
	message_text(&out->account, key->account);
	message_bytes(&out->last4, key->last4, sizeof(key->last4));
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

/* Fills v->out from what was found. */
static int
finish(struct call *call, const struct reading *r, struct verification *v)
{
	struct store_txn *txn = call->worker->readers[v->engine->environment];
	const struct record_key *key = &v->found.key;
	Fob__V1__VerifyKeyResponse *out = &v->out;
	struct record_account account;
	enum verdict verdict;
	int64_t now_ms = r->now_ms[v->engine->environment];
	int fault;

	call_tell_position(call, v->engine->environment);
	if (v->found.fault == -FAULT_NOT_FOUND) {
		/* A key of another form stays MALFORMED, whether the database has imported keys or not. */
		if (v->why != NULL)
			deny(out, VERDICT_MALFORMED, v->why);
		else
			deny(out, VERDICT_NOT_FOUND, verdict_details[VERDICT_NOT_FOUND]);
		return 0;
	}
	if (v->found.fault != 0)
		return v->found.fault;
	if (key->kind != v->found.kind)
		return -FAULT_CORRUPT;
	tell_key(key, out);
	if (key->state != KEY_CURRENT) {
		if ((fault = store_account(txn, key->account, &account)) != 0)
			return fault == -FAULT_NOT_FOUND ? -FAULT_CORRUPT : fault;
		out->current_generation =
		    key->kind == KIND_SECRET ? account.secret_generation : account.publishable_generation;
	}
	verdict =
	    verdict_of(atomic_load(&call->service->config), key, v->in->operation.data, v->in->operation.len, now_ms);
	/* EXPIRED is irrevocable once it is committed. */
	if (verdict == VERDICT_EXPIRED && key->state == KEY_GRACE)
		writer_expire_soon(v->engine->writer);
	/* A key whose grace has ended is not superseded any more, even if the sweeper has not ended it yet. */
	out->superseded = key->state == KEY_GRACE && verdict != VERDICT_EXPIRED;
	if (verdict == VERDICT_VALID) {
		out->verdict = FOB__V1__VERDICT__VALID;
		note_use(v->engine, store_txn_pepper(txn), key->serial, v->found.digest, now_ms);
	} else {
		deny(out, verdict, verdict_details[verdict]);
	}
	return 0;
}

/* Between begin() and finish() of ${n} verifies. The read transactions are open until end_reads(). */
static void
look_up_all(struct reading *r, struct verification *const *vs, size_t n)
{
	for (int e = 0; e < ENVIRONMENTS; e++)
		look_up(r, vs, n, (enum environment)e);
	for (size_t i = 0; i < n; i++)
		if (vs[i]->found.fault == 0)
			lastused_prefetch(vs[i]->engine->lastused, vs[i]->found.key.serial);
}

/* ---- VerifyKey ---- */

static void
answer(struct call *call, struct verification *v, int fault)
{
	call->environment = (unsigned)v->out.environment;
	if (fault != 0) {
		reply_fault(call, fault);
		return;
	}
	count(call, &v->out);
	reply_message(call, &v->out.base);
}

/* The verifies of a pass are answered together, and share one reading of the clock. */
static void
time_verifies(struct worker *worker, size_t n)
{
	tally_time(&worker->tally.durations[CLASS_VERIFY], clock_boot_ns() - worker->began_ns, n, false);
}

/* Most requests have none. */
static inline void
keep_traceparent(char to[LIMIT_TRACEPARENT + 1], const char from[LIMIT_TRACEPARENT + 1])
{
	to[0] = '\0';
	if (from[0] != '\0')
		memcpy(to, from, LIMIT_TRACEPARENT + 1);
}

int
verify_key(struct call *call, const ProtobufCMessage *request, ProtobufCMessage *response)
{
	struct kept *kept = &call->worker->kept;
	struct verification *v = &kept->verifications[kept->n];
	int rc;

	(void)response;
	if ((rc = begin(call, (const Fob__V1__VerifyKeyRequest *)request, v)) != LOOKUP) {
		answer(call, v, rc);
		time_verifies(call->worker, 1);
		return CALL_TAKEN;
	}
	v->origin = call->origin;
	v->method = call->method;
	keep_traceparent(v->traceparent, call->traceparent);
	kept->n++;
	call_reset(call);
	return CALL_TAKEN;
}

void
verify_kept(struct worker *worker)
{
	struct reading reading = { .worker = worker };
	struct kept *kept = &worker->kept;
	struct verification *vs[VERIFY_PASS];
	struct call *call = &worker->call;

	if (kept->n == 0)
		return;
	for (size_t i = 0; i < kept->n; i++)
		vs[i] = &kept->verifications[i];
	look_up_all(&reading, vs, kept->n);
	for (size_t i = 0; i < kept->n; i++) {
		struct verification *v = &kept->verifications[i];

		call->origin = v->origin;
		call->method = v->method;
		keep_traceparent(call->traceparent, v->traceparent);
		answer(call, v, finish(call, &reading, v));
	}
	end_reads(&reading);
	time_verifies(worker, kept->n);
	kept->n = 0;
	/* The rest of the call is as the last reply has left it. */
	scratch_reset(&call->scratch);
}

/* ---- VerifyKeys ---- */

static int
tell_no_memory(struct call *call)
{
	return call_fault(call, FAULT_RESOURCE_EXHAUSTED, "the batch needs more memory than a request may have");
}

/* The fault of one item is its own, and does not end the batch. Returns false when the scratch memory is used up. */
static bool
tell_item(struct call *call, int fault, struct verification *v)
{
	Fob__V1__VerifyKeysItem *item = &v->item;
	const char *message;

	*item = (Fob__V1__VerifyKeysItem)FOB__V1__VERIFY_KEYS_ITEM__INIT;
	if (fault == 0) {
		item->result = &v->out;
		count(call, item->result);
		return true;
	}
	if (fault == -FAULT_RESOURCE_EXHAUSTED)
		return false;
	message = call_message(call, fault);
	item->code = (Fob__Rpc__V1__Code)call_code(fault);
	if (!message_copy(call, &item->message, message, strlen(message)))
		return false;
	call->message[0] = '\0';
	return true;
}

/* At most VERIFY_PASS items. What they are answered points into ${vs} until the reply is encoded. */
static bool
verify_items(struct call *call, struct reading *reading, Fob__V1__VerifyKeyRequest *const *in, size_t n,
    struct verification *vs)
{
	struct verification *waiting[VERIFY_PASS];
	size_t n_waiting = 0;
	int rc[VERIFY_PASS];

	for (size_t i = 0; i < n; i++) {
		if ((rc[i] = begin(call, in[i], &vs[i])) == LOOKUP)
			waiting[n_waiting++] = &vs[i];
		else if (!tell_item(call, rc[i], &vs[i]))
			return false;
	}
	look_up_all(reading, waiting, n_waiting);
	for (size_t i = 0; i < n; i++)
		if (rc[i] == LOOKUP && !tell_item(call, finish(call, reading, &vs[i]), &vs[i]))
			return false;
	return true;
}

int
verify_keys(struct call *call, const ProtobufCMessage *request, ProtobufCMessage *response)
{
	const Fob__V1__VerifyKeysRequest *in = (const Fob__V1__VerifyKeysRequest *)request;
	Fob__V1__VerifyKeysResponse *out = (Fob__V1__VerifyKeysResponse *)response;
	struct reading reading = { .worker = call->worker };
	struct verification *vs = call->worker->batch;
	bool fits = true;
	size_t n;

	if (in->n_items > LIMIT_BATCH)
		return call_fault(call, FAULT_INVALID_ARGUMENT, "items: at most %d in one batch, but there are %zu",
		    LIMIT_BATCH, in->n_items);
	if ((out->items = scratch_alloc(&call->scratch, in->n_items * sizeof(*out->items))) == NULL)
		return tell_no_memory(call);
	out->n_items = in->n_items;
	for (size_t i = 0; i < in->n_items; i++)
		out->items[i] = &vs[i].item;
	for (size_t i = 0; i < in->n_items && fits; i += n) {
		n = in->n_items - i < VERIFY_PASS ? in->n_items - i : VERIFY_PASS;
		fits = verify_items(call, &reading, in->items + i, n, vs + i);
	}
	end_reads(&reading);
	call->message[0] = '\0';
	return fits ? 0 : tell_no_memory(call);
}
