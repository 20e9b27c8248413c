/*
 * admin.c - CreateAccount, RollKey, RevokeKey, SuspendAccount, ResumeAccount: check the request, and in the writer's
 * transaction make the secrets, have keys/decide.c decide, and write the reply. The rules are not here. A new secret is
 * in the reply and nowhere else.
 */
#include "service/rpc/handlers.h"

#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "fob/v1/admin.pb-c.h"
#include "service/keys/lookup.h"
#include "service/keys/secret.h"
#include "service/rpc/message.h"
#include "service/rpc/mutation.h"

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
		mutation_reply(m, change, &out.base);
	}
	sodium_memzero(secret, sizeof(secret));
	sodium_memzero(publishable, sizeof(publishable));
	return fault;
}

int
admin_create_account(struct call *call, const ProtobufCMessage *request, ProtobufCMessage *response)
{
	static const struct mutation_plan plan = {
		.method = "CreateAccount", .decide = decide_create_account, .weight = 1
	};
	Fob__V1__CreateAccountRequest *in = (Fob__V1__CreateAccountRequest *)(uintptr_t)request;
	char account[LIMIT_ACCOUNT + 1];
	int fault;

	(void)response;
	if ((fault = message_take_account(call, &in->account, account)) != 0)
		return fault;
	return mutation_submit(call, request, (int)in->environment, &in->request_token, &plan);
}

/* ---- RollKey ---- */

static int
decide_roll_key(struct mutation *m, const struct view *view, struct change *change)
{
	struct call *call = m->arg;
	const Fob__V1__RollKeyRequest *in = (const Fob__V1__RollKeyRequest *)call->request;
	Fob__V1__RollKeyResponse out = FOB__V1__ROLL_KEY_RESPONSE__INIT;
	struct lookup authorizing = { .kind = KIND_SECRET, .own = true };
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
		authorizing.secret = in->authorizing_secret.data;
		authorizing.len = in->authorizing_secret.len;
		fault = lookup_key(view->txn, &authorizing);
		if (fault != 0 && fault != -FAULT_NOT_FOUND) {
			snprintf(m->why, sizeof(m->why), "the database could not be read");
			return fault;
		}
		roll.authorizing = authorizing.stored;
	}
	make_secret(call->engine, KIND_SECRET, secret, &roll.secret);
	if ((fault = decide_roll(view, &roll, change, m->why)) == 0) {
		fill_new_key(m, change, 0, secret, &keys[0], &new_key);
		out.new_key = &new_key;
		if (change->n_keys > 1) {
			fill_key(m, change, 1, &keys[1]);
			out.old_key = &keys[1];
		}
		mutation_reply(m, change, &out.base);
	}
	sodium_memzero(secret, sizeof(secret));
	return fault;
}

int
admin_roll_key(struct call *call, const ProtobufCMessage *request, ProtobufCMessage *response)
{
	static const struct mutation_plan plan = { .method = "RollKey", .decide = decide_roll_key, .weight = 1 };
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
	return mutation_submit(call, request, (int)in->environment, &in->request_token, &plan);
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
	mutation_reply(m, change, &out.base);
	return 0;
}

int
admin_revoke_key(struct call *call, const ProtobufCMessage *request, ProtobufCMessage *response)
{
	static const struct mutation_plan plan = { .method = "RevokeKey", .decide = decide_revoke_key, .weight = 1 };
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
	return mutation_submit(call, request, (int)in->environment, &in->request_token, &plan);
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
	mutation_reply(m, change, &out.base);
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
	mutation_reply(m, change, &out.base);
	return 0;
}

int
admin_suspend_account(struct call *call, const ProtobufCMessage *request, ProtobufCMessage *response)
{
	static const struct mutation_plan plan = {
		.method = "SuspendAccount", .decide = decide_suspend_account, .weight = 1
	};
	Fob__V1__SuspendAccountRequest *in = (Fob__V1__SuspendAccountRequest *)(uintptr_t)request;
	char account[LIMIT_ACCOUNT + 1];
	int fault;

	(void)response;
	if ((fault = message_take_account(call, &in->account, account)) != 0)
		return fault;
	return mutation_submit(call, request, (int)in->environment, &in->request_token, &plan);
}

int
admin_resume_account(struct call *call, const ProtobufCMessage *request, ProtobufCMessage *response)
{
	static const struct mutation_plan plan = {
		.method = "ResumeAccount", .decide = decide_resume_account, .weight = 1
	};
	Fob__V1__ResumeAccountRequest *in = (Fob__V1__ResumeAccountRequest *)(uintptr_t)request;
	char account[LIMIT_ACCOUNT + 1];
	int fault;

	(void)response;
	if ((fault = message_take_account(call, &in->account, account)) != 0)
		return fault;
	return mutation_submit(call, request, (int)in->environment, &in->request_token, &plan);
}
