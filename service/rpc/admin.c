/*
 * admin.c - the mutations: check the request, hand it to its environment's writer, and there, within the transaction,
 * make the secret, have decide.c decide, and write the reply. Called by dispatch.c and by writer.c; calls decide.c.
 * The rules are not here; the secrets are in nobody's hands but the reply's.
 */
#include <assert.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "fob/v1/admin.pb-c.h"
#include "service/rpc/handlers.h"
#include "service/base/log.h"
#include "service/rpc/message.h"
#include "service/rpc/reply.h"
#include "service/keys/secret.h"

/* ---- the way in ---- */

/*
 * A resent request is recognised by its method and all its fields but the token, as they decode: two clients may encode
 * one message in two ways.
 */
static int
digest_request(struct call *call, const char *method, const ProtobufCMessage *request, ProtobufCBinaryData *token)
{
	ProtobufCBinaryData kept = *token;
	size_t method_len = strlen(method) + 1, len;
	uint8_t *bytes;

	token->len = 0;
	len = protobuf_c_message_get_packed_size(request);
	if ((bytes = scratch_alloc(&call->scratch, method_len + len)) == NULL)
		return call_fault(call, FAULT_RESOURCE_EXHAUSTED, "the request needs more memory than it may have");
	memcpy(bytes, method, method_len);
	protobuf_c_message_pack(request, bytes + method_len);
	pepper_request(store_pepper(call->engine->store), bytes, method_len + len, call->mutation.request);
	*token = kept;
	return 0;
}

struct import_work;
static void done(struct mutation *mutation, int fault);

/*
 * Give the mutation to the writer of its environment; ${weight} is its share of a commit. Returns CALL_PENDING, or a
 * negated fault.
 */
static int
submit_heavy(struct call *call, const char *method, const ProtobufCMessage *request, int environment,
    ProtobufCBinaryData *token, mutation_decide_cb decide, struct import_work *import, unsigned weight)
{
	struct mutation *m = &call->mutation;
	int fault;

	if (token->len != LIMIT_TOKEN)
		return call_fault(call, FAULT_INVALID_ARGUMENT,
		    "request_token: must be exactly %d random bytes, here are %zu", LIMIT_TOKEN, token->len);
	if ((call->engine = call_engine(call, environment, &fault)) == NULL)
		return fault;
	m->decide = decide;
	m->done = done;
	m->arg = call;
	m->deadline_ms = call->deadline_ms;
	m->weight = weight;
	memcpy(m->token, token->data, LIMIT_TOKEN);
	call->request = request;
	call->import = import;
	if ((fault = digest_request(call, method, request, token)) != 0)
		return fault;
	if ((fault = writer_submit(call->engine->writer, m)) != 0)
		return call_fault(call, FAULT_RESOURCE_EXHAUSTED,
		    "%d mutations are waiting, which is the most: try again later", LIMIT_QUEUE);
	return CALL_PENDING;
}

static int
submit(struct call *call, const char *method, const ProtobufCMessage *request, int environment,
    ProtobufCBinaryData *token, mutation_decide_cb decide)
{
	return submit_heavy(call, method, request, environment, token, decide, NULL, 1);
}

/* ---- the way out ---- */

/* What becomes of an import's items. */
struct import_work {
	unsigned next; /* the item at hand */
	unsigned done, unchanged;
	Fob__V1__ImportOutcome outcomes[LIMIT_IMPORT];
};

/* One line for all of them: each account is an event of the database's anyway. */
static void
log_import(const struct call *call)
{
	const struct import_work *work = call->import;

	LOG(LOG_INFO, "accounts imported", LOG_S("environment", environment_name(call->engine->environment)),
	    LOG_I("imported", work->done), LOG_I("unchanged", work->unchanged),
	    LOG_I("refused", work->next - work->done - work->unchanged),
	    LOG_PEER(call->origin.peer),
	    LOG_S("traceparent", call->traceparent[0] != '\0' ? call->traceparent : NULL));
}

static void
log_event(const struct call *call)
{
	static const char *const names[] = {
		[EVENT_ACCOUNT_CREATED] = "account created",
		[EVENT_KEY_ROLLED] = "key rolled",
		[EVENT_KEY_REVOKED] = "key revoked",
		[EVENT_ACCOUNT_SUSPENDED] = "account suspended",
		[EVENT_ACCOUNT_RESUMED] = "account resumed",
	};
	const struct record_event *e = &call->event;
	const char *environment = environment_name(call->engine->environment);
	const char *trace = call->traceparent[0] != '\0' ? call->traceparent : NULL;

	if (e->type == EVENT_NONE)
		return;
	if (e->kind == 0)
		LOG(LOG_INFO, names[e->type], LOG_S("environment", environment), LOG_S("account", e->account),
		    LOG_PEER(call->origin.peer), LOG_S("traceparent", trace));
	else
		LOG(LOG_INFO, names[e->type], LOG_S("environment", environment), LOG_S("account", e->account),
		    LOG_S("kind", kind_name(e->kind)), LOG_I("generation", e->generation), LOG_B("last4", e->last4, 4),
		    LOG_I("expires_ms", e->expires_ms), LOG_PEER(call->origin.peer), LOG_S("traceparent", trace));
}

/* The writer's last word on a mutation. */
static void
done(struct mutation *m, int fault)
{
	struct call *call = m->arg;

	if (fault == 0 && !m->replayed && call->import != NULL)
		log_import(call);
	else if (fault == 0 && !m->replayed)
		log_event(call);
	if (fault != 0)
		snprintf(call->message, sizeof(call->message), "%s", m->why);
	reply_change(call, fault, m->reply, m->reply_len);
}

/* Encode the response into the mutation, where its token keeps it, and note the event for the log. */
static void
set_reply(struct mutation *m, const struct change *change, const ProtobufCMessage *response)
{
	struct call *call = m->arg;

	m->reply_len = protobuf_c_message_get_packed_size(response);
	/* Every response is bounded by the length of an account id: see the table of sizes in tests/unit. */
	assert(m->reply_len <= sizeof(m->reply));
	protobuf_c_message_pack(response, m->reply);
	call->event = change->event;
}

/* ---- secrets ---- */

static void
make_secret(const struct engine *engine, enum kind kind, char secret[SECRET_LEN], struct new_secret *out)
{
	secret_generate(engine->environment, kind, secret);
	pepper_digest(store_pepper(engine->store), secret, SECRET_LEN, out->digest);
	memcpy(out->last4, secret + SECRET_LEN - SECRET_LAST4, sizeof(out->last4));
}

static void
fill_key(const struct mutation *m, const struct change *change, unsigned i, Fob__V1__Key *out)
{
	const struct call *call = m->arg;

	message_key(call->engine, change->keys[i].digest, &change->keys[i].key, change->time_ms, out);
}

static void
fill_new_key(const struct mutation *m, const struct change *change, unsigned i, const char secret[SECRET_LEN],
    Fob__V1__Key *key, Fob__V1__NewKey *out)
{
	fill_key(m, change, i, key);
	fob__v1__new_key__init(out);
	out->key = key;
	message_bytes(&out->secret, secret, SECRET_LEN);
}

/* ---- CreateAccount ---- */

static int
decide_create_account(struct mutation *m, const struct view *view, struct change *change)
{
	struct call *call = m->arg;
	const Fob__V1__CreateAccountRequest *in = (const Fob__V1__CreateAccountRequest *)call->request;
	Fob__V1__CreateAccountResponse out = FOB__V1__CREATE_ACCOUNT_RESPONSE__INIT;
	char secret[SECRET_LEN], publishable[SECRET_LEN], account[LIMIT_ACCOUNT + 1];
	struct new_secret new_secret, new_publishable;
	Fob__V1__NewKey secret_key, publishable_key;
	Fob__V1__Key keys[2];
	Fob__V1__Account out_account;
	int fault;

	if ((fault = message_take_account(call, &in->account, account)) != 0)
		return fault;
	make_secret(call->engine, KIND_SECRET, secret, &new_secret);
	make_secret(call->engine, KIND_PUBLISHABLE, publishable, &new_publishable);
	if ((fault = decide_create(view, account, &new_secret, &new_publishable, change, m->why)) == 0) {
		message_account(call->engine, &change->account, &out_account);
		fill_new_key(m, change, 0, secret, &keys[0], &secret_key);
		fill_new_key(m, change, 1, publishable, &keys[1], &publishable_key);
		out.account = &out_account;
		out.secret_key = &secret_key;
		out.publishable_key = &publishable_key;
		set_reply(m, change, &out.base);
	}
	sodium_memzero(secret, sizeof(secret));
	sodium_memzero(publishable, sizeof(publishable));
	return fault;
}

int
admin_create_account(struct call *call, const ProtobufCMessage *request, ProtobufCMessage *response)
{
	Fob__V1__CreateAccountRequest *in = (Fob__V1__CreateAccountRequest *)(uintptr_t)request;
	char account[LIMIT_ACCOUNT + 1];
	int fault;

	(void)response;
	if ((fault = message_take_account(call, &in->account, account)) != 0)
		return fault;
	return submit(call, "CreateAccount", request, (int)in->environment, &in->request_token, decide_create_account);
}

/* ---- ImportAccounts ---- */

/* Four accounts of an import are as much work in a commit as one ordinary mutation, whose token they do without. */
#define IMPORT_PER_WEIGHT 4

/* The key of an item: absent with both fields empty. Returns false when it is none. */
static bool
take_imported_key(const struct engine *engine, enum kind kind, const ProtobufCBinaryData *sha256,
    const ProtobufCBinaryData *last4, struct new_secret *secret, const struct new_secret **out)
{
	*out = NULL;
	if (sha256->len == 0 && last4->len == 0)
		return true;
	if (sha256->len != crypto_hash_sha256_BYTES || last4->len != sizeof(secret->last4))
		return false;
	for (size_t i = 0; i < last4->len; i++)
		if (!((last4->data[i] >= '0' && last4->data[i] <= '9') ||
			(last4->data[i] >= 'A' && last4->data[i] <= 'Z') ||
			(last4->data[i] >= 'a' && last4->data[i] <= 'z')))
			return false;
	pepper_imported(store_pepper(engine->store), kind, sha256->data, secret->digest);
	if ((secret->has_old = pepper_has_old(store_pepper(engine->store))))
		pepper_imported_old(store_pepper(engine->store), kind, sha256->data, secret->old);
	memcpy(secret->last4, last4->data, sizeof(secret->last4));
	*out = secret;
	return true;
}

static int
import_item(struct call *call, const struct view *view, const Fob__V1__ImportItem *in, enum import_outcome *outcome,
    struct change *change)
{
	struct new_secret secret, publishable;
	char account[LIMIT_ACCOUNT + 1];
	struct import import = { .account = account, .created_ms = in->created_ms };

	if (!record_account_ok(in->account.data, in->account.len) || secret_is_in(in->account.data, in->account.len)) {
		*outcome = IMPORT_BAD_ACCOUNT;
		return 0;
	}
	if (!take_imported_key(
		call->engine, KIND_SECRET, &in->secret_sha256, &in->secret_last4, &secret, &import.secret) ||
	    !take_imported_key(call->engine, KIND_PUBLISHABLE, &in->publishable_sha256, &in->publishable_last4,
		&publishable, &import.publishable)) {
		*outcome = IMPORT_BAD_KEY;
		return 0;
	}
	if (in->created_ms < 0 || in->created_ms > view->now_ms) {
		*outcome = IMPORT_BAD_TIME;
		return 0;
	}
	memcpy(account, in->account.data, in->account.len);
	account[in->account.len] = '\0';
	return decide_import(view, &import, outcome, change, call->mutation.why);
}

/* Each account that is imported is a change; the last one alters nothing but keeps the token. */
static int
decide_import_accounts(struct mutation *m, const struct view *view, struct change *change)
{
	struct call *call = m->arg;
	const Fob__V1__ImportAccountsRequest *in = (const Fob__V1__ImportAccountsRequest *)call->request;
	Fob__V1__ImportAccountsResponse out = FOB__V1__IMPORT_ACCOUNTS_RESPONSE__INIT;
	struct import_work *work = call->import;
	enum import_outcome outcome;
	int fault;

	if (m->step == 0) {
		work->next = work->done = work->unchanged = 0;
		if ((fault = decide_import_room(view, (unsigned)in->n_items, m->why)) != 0)
			return fault;
	}
	while (work->next < in->n_items) {
		if ((fault = import_item(call, view, in->items[work->next], &outcome, change)) != 0)
			return fault;
		work->outcomes[work->next++] = (Fob__V1__ImportOutcome)outcome;
		work->unchanged += outcome == IMPORT_UNCHANGED;
		if (outcome == IMPORT_DONE) {
			work->done++;
			return MUTATION_MORE;
		}
	}
	decide_nothing(view, change);
	out.n_outcomes = in->n_items;
	out.outcomes = work->outcomes;
	set_reply(m, change, &out.base);
	return 0;
}

int
admin_import_accounts(struct call *call, const ProtobufCMessage *request, ProtobufCMessage *response)
{
	Fob__V1__ImportAccountsRequest *in = (Fob__V1__ImportAccountsRequest *)(uintptr_t)request;
	struct import_work *work;
	int fault;

	(void)response;
	if (call_engine(call, (int)in->environment, &fault) == NULL)
		return fault;
	if (in->n_items < 1 || in->n_items > LIMIT_IMPORT)
		return call_fault(call, FAULT_INVALID_ARGUMENT, "items: 1 to %d in one import, here are %zu",
		    LIMIT_IMPORT, in->n_items);
	if ((work = scratch_alloc(&call->scratch, sizeof(*work))) == NULL)
		return call_fault(call, FAULT_RESOURCE_EXHAUSTED, "the request needs more memory than it may have");
	return submit_heavy(call, "ImportAccounts", request, (int)in->environment, &in->request_token,
	    decide_import_accounts, work, (unsigned)(in->n_items / IMPORT_PER_WEIGHT));
}

/* ---- RollKey ---- */

/*
 * The digest of the secret that asks for a roll, as it would be stored: an imported one is looked for where there may
 * be one, as a verify does.
 */
static int
digest_authorizing(
    const struct engine *engine, const struct view *view, const ProtobufCBinaryData *secret, uint8_t digest[32])
{
	const struct pepper *pepper = store_pepper(engine->store);
	const bool moving = store_moving(view->txn);
	uint8_t sha256[crypto_hash_sha256_BYTES];
	struct record_key key;
	int fault;

	pepper_digest(pepper, secret->data, secret->len, digest);
	if ((!view->state->imported && !moving) || (fault = store_key(view->txn, digest, &key)) == 0)
		return 0;
	if (fault == -FAULT_NOT_FOUND && moving) {
		pepper_digest_old(pepper, secret->data, secret->len, digest);
		fault = store_key(view->txn, digest, &key);
	}
	if (fault != -FAULT_NOT_FOUND || !view->state->imported)
		return fault == -FAULT_NOT_FOUND ? 0 : fault;
	crypto_hash_sha256(sha256, secret->data, secret->len);
	pepper_imported(pepper, KIND_SECRET, sha256, digest);
	if (moving && (fault = store_key(view->txn, digest, &key)) == -FAULT_NOT_FOUND) {
		pepper_imported_old(pepper, KIND_SECRET, sha256, digest);
		fault = 0;
	} else if (!moving) {
		fault = 0;
	}
	sodium_memzero(sha256, sizeof(sha256));
	return fault;
}

static int
decide_roll_key(struct mutation *m, const struct view *view, struct change *change)
{
	struct call *call = m->arg;
	const Fob__V1__RollKeyRequest *in = (const Fob__V1__RollKeyRequest *)call->request;
	Fob__V1__RollKeyResponse out = FOB__V1__ROLL_KEY_RESPONSE__INIT;
	uint8_t authorizing[RECORD_DIGEST_LEN];
	char secret[SECRET_LEN], account[LIMIT_ACCOUNT + 1];
	struct roll roll = {
		.account = account,
		.grace_ms = (in->grace != NULL ? in->grace->seconds : LIMIT_GRACE_S) * INT64_C(1000),
		.expected_generation = in->expected_generation,
	};
	Fob__V1__NewKey new_key;
	Fob__V1__Key keys[2];
	int fault;

	if ((fault = message_take_account(call, &in->account, account)) != 0)
		return fault;
	if (in->authorizing_secret.len > 0) {
		if ((fault = digest_authorizing(call->engine, view, &in->authorizing_secret, authorizing)) != 0) {
			snprintf(m->why, sizeof(m->why), "the database could not be read");
			return fault;
		}
		roll.authorizing = authorizing;
	}
	make_secret(call->engine, KIND_SECRET, secret, &roll.secret);
	if ((fault = decide_roll(view, &roll, change, m->why)) == 0) {
		fill_new_key(m, change, 0, secret, &keys[0], &new_key);
		out.new_key = &new_key;
		if (change->n_keys > 1) {
			fill_key(m, change, 1, &keys[1]);
			out.old_key = &keys[1];
		}
		set_reply(m, change, &out.base);
	}
	sodium_memzero(secret, sizeof(secret));
	return fault;
}

int
admin_roll_key(struct call *call, const ProtobufCMessage *request, ProtobufCMessage *response)
{
	Fob__V1__RollKeyRequest *in = (Fob__V1__RollKeyRequest *)(uintptr_t)request;
	char account[LIMIT_ACCOUNT + 1];
	int fault;

	(void)response;
	if ((fault = message_take_account(call, &in->account, account)) != 0)
		return fault;
	if (in->kind == FOB__V1__KEY_KIND__PUBLISHABLE)
		return call_fault(call, FAULT_FAILED_PRECONDITION, "kind: only secret keys roll");
	if (in->kind != FOB__V1__KEY_KIND__SECRET && in->kind != FOB__V1__KEY_KIND__KEY_KIND_UNSPECIFIED)
		return call_fault(call, FAULT_INVALID_ARGUMENT, "kind: must be SECRET (1), or 0, which means the same");
	if (in->grace != NULL && in->grace->seconds > LIMIT_GRACE_S)
		return call_fault(call, FAULT_INVALID_ARGUMENT, "grace: at most %d seconds (24 hours)", LIMIT_GRACE_S);
	return submit(call, "RollKey", request, (int)in->environment, &in->request_token, decide_roll_key);
}

/* ---- RevokeKey ---- */

static int
decide_revoke_key(struct mutation *m, const struct view *view, struct change *change)
{
	struct call *call = m->arg;
	const Fob__V1__RevokeKeyRequest *in = (const Fob__V1__RevokeKeyRequest *)call->request;
	Fob__V1__RevokeKeyResponse out = FOB__V1__REVOKE_KEY_RESPONSE__INIT;
	char account[LIMIT_ACCOUNT + 1];
	Fob__V1__Key key;
	int fault;

	if ((fault = message_take_account(call, &in->account, account)) != 0 ||
	    (fault = decide_revoke(view, account, (enum kind)in->kind, in->generation, change, m->why)) != 0)
		return fault;
	fill_key(m, change, 0, &key);
	out.key = &key;
	set_reply(m, change, &out.base);
	return 0;
}

int
admin_revoke_key(struct call *call, const ProtobufCMessage *request, ProtobufCMessage *response)
{
	Fob__V1__RevokeKeyRequest *in = (Fob__V1__RevokeKeyRequest *)(uintptr_t)request;
	char account[LIMIT_ACCOUNT + 1];
	int fault;

	(void)response;
	if ((fault = message_take_account(call, &in->account, account)) != 0)
		return fault;
	if (in->kind != FOB__V1__KEY_KIND__SECRET && in->kind != FOB__V1__KEY_KIND__PUBLISHABLE)
		return call_fault(call, FAULT_INVALID_ARGUMENT, "kind: must be SECRET (1) or PUBLISHABLE (2)");
	if (in->generation == 0)
		return call_fault(
		    call, FAULT_INVALID_ARGUMENT, "generation: must be given; generations count up from 1");
	return submit(call, "RevokeKey", request, (int)in->environment, &in->request_token, decide_revoke_key);
}

/* ---- SuspendAccount, ResumeAccount: two messages of one shape ---- */

static int
decide_suspension(struct mutation *m, const struct view *view, struct change *change, const ProtobufCBinaryData *name,
    bool suspend, Fob__V1__Account *out)
{
	struct call *call = m->arg;
	char account[LIMIT_ACCOUNT + 1];
	int fault;

	if ((fault = message_take_account(call, name, account)) != 0 ||
	    (fault = decide_suspend(view, account, suspend, change, m->why)) != 0)
		return fault;
	message_account(call->engine, &change->account, out);
	return 0;
}

static int
decide_suspend_account(struct mutation *m, const struct view *view, struct change *change)
{
	const struct call *call = m->arg;
	const Fob__V1__SuspendAccountRequest *in = (const Fob__V1__SuspendAccountRequest *)call->request;
	Fob__V1__SuspendAccountResponse out = FOB__V1__SUSPEND_ACCOUNT_RESPONSE__INIT;
	Fob__V1__Account account;
	int fault;

	if ((fault = decide_suspension(m, view, change, &in->account, true, &account)) != 0)
		return fault;
	out.account = &account;
	set_reply(m, change, &out.base);
	return 0;
}

static int
decide_resume_account(struct mutation *m, const struct view *view, struct change *change)
{
	const struct call *call = m->arg;
	const Fob__V1__ResumeAccountRequest *in = (const Fob__V1__ResumeAccountRequest *)call->request;
	Fob__V1__ResumeAccountResponse out = FOB__V1__RESUME_ACCOUNT_RESPONSE__INIT;
	Fob__V1__Account account;
	int fault;

	if ((fault = decide_suspension(m, view, change, &in->account, false, &account)) != 0)
		return fault;
	out.account = &account;
	set_reply(m, change, &out.base);
	return 0;
}

int
admin_suspend_account(struct call *call, const ProtobufCMessage *request, ProtobufCMessage *response)
{
	Fob__V1__SuspendAccountRequest *in = (Fob__V1__SuspendAccountRequest *)(uintptr_t)request;
	char account[LIMIT_ACCOUNT + 1];
	int fault;

	(void)response;
	if ((fault = message_take_account(call, &in->account, account)) != 0)
		return fault;
	return submit(
	    call, "SuspendAccount", request, (int)in->environment, &in->request_token, decide_suspend_account);
}

int
admin_resume_account(struct call *call, const ProtobufCMessage *request, ProtobufCMessage *response)
{
	Fob__V1__ResumeAccountRequest *in = (Fob__V1__ResumeAccountRequest *)(uintptr_t)request;
	char account[LIMIT_ACCOUNT + 1];
	int fault;

	(void)response;
	if ((fault = message_take_account(call, &in->account, account)) != 0)
		return fault;
	return submit(call, "ResumeAccount", request, (int)in->environment, &in->request_token, decide_resume_account);
}
