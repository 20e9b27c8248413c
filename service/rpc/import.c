/*
 * import.c - ImportAccounts: a list of accounts with the SHA-256 of their keys, each with an outcome of its own, all in one
 * commit. What an import does to an account is keys/decide.c's.
 */
#include "service/rpc/handlers.h"

#include <sodium.h>
#include <string.h>

#include "fob/v1/admin.pb-c.h"
#include "proto/c/key_form.h"
#include "service/base/log.h"
#include "service/base/names.h"
#include "service/keys/secret.h"
#include "service/rpc/mutation.h"

/* What becomes of an import's items. */
struct import_work {
	unsigned next; /* the item at hand */
	unsigned done, unchanged;
	Fob__V1__ImportOutcome outcomes[LIMIT_IMPORT];
};

/* One line for the whole import, as each account has an event in the database. */
static void
log_import(const struct call *call)
{
	const struct import_work *work = call->import;

	LOG(LOG_INFO, "accounts imported", LOG_S("environment", environment_name(call->engine->environment)),
	    LOG_I("imported", work->done), LOG_I("unchanged", work->unchanged),
	    LOG_I("refused", work->next - work->done - work->unchanged), LOG_ASKED_BY(call));
}

/* In a commit, four accounts of an import are as much work as one ordinary mutation, which has a token of its own. */
#define IMPORT_PER_WEIGHT 4

/* The key of an item. With both fields empty there is none. Returns false when the fields are malformed. */
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

	if (!record_account_ok(in->account.data, in->account.len) || key_form_in(in->account.data, in->account.len)) {
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

/* Each account that is imported is a change of its own. A last change, which alters nothing, holds the token. */
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
	mutation_reply(m, change, &out.base);
	return 0;
}

int
import_accounts(struct call *call, const ProtobufCMessage *request, ProtobufCMessage *response)
{
	struct mutation_plan plan = { .method = "ImportAccounts", .decide = decide_import_accounts, .log = log_import };
	Fob__V1__ImportAccountsRequest *in = (Fob__V1__ImportAccountsRequest *)(uintptr_t)request;
	struct import_work *work;
	int fault;

	(void)response;
	if (call_engine(call, (int)in->environment, &fault) == NULL)
		return fault;
	if (in->n_items < 1 || in->n_items > LIMIT_IMPORT)
		return call_fault(call, FAULT_INVALID_ARGUMENT, "items: 1 to %d in one import, but there are %zu",
		    LIMIT_IMPORT, in->n_items);
	if ((work = scratch_alloc(&call->scratch, sizeof(*work))) == NULL)
		return call_fault(call, FAULT_RESOURCE_EXHAUSTED, "the request needs more memory than it may have");
	plan.weight = (unsigned)(in->n_items / IMPORT_PER_WEIGHT);
	call->import = work;
	return mutation_submit(call, request, (int)in->environment, &in->request_token, &plan);
}
