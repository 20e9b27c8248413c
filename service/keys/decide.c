/*
 * decide.c - turn a request into a change, or refuse it with a reason (see decide.h). Writes nothing, reads no clock, makes
 * no secret.
 */
#include "service/keys/decide.h"

#include <assert.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "service/base/names.h"
#include "service/store/size.h"

/* The last generation, so that the next one can always be represented. */
#define GENERATION_MAX (UINT32_MAX - 1)

static int refuse(why_text why, int fault, const char *format, ...) __attribute__((format(printf, 3, 4)));

static int
refuse(why_text why, int fault, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(why, sizeof(why_text), format, args);
	va_end(args);
	return -fault;
}

/* Pass on a fault of the store. */
static int
failed(why_text why, int fault)
{
	return refuse(why, -fault, "the database could not be read");
}

static void
begin(const struct view *view, struct change *change)
{
	memset(change, 0, sizeof(*change));
	change->time_ms = view->now_ms;
}

static int
find_account(const struct view *view, const char *account, struct record_account *out, why_text why)
{
	int fault;

	if ((fault = store_account(view->txn, account, out)) == 0)
		return 0;
	if (fault == -FAULT_NOT_FOUND)
		return refuse(why, FAULT_NOT_FOUND, "no account %s in this environment", account);
	return failed(why, fault);
}

/* The key of a slot's generation. */
static int
find_key(const struct view *view, const char *account, enum kind kind, uint32_t generation, struct change_key *out)
{
	int fault;

	memset(out, 0, sizeof(*out));
	if ((fault = store_slot(view->txn, account, kind, generation, out->digest)) != 0)
		return fault;
	if ((fault = store_key(view->txn, out->digest, &out->key)) != 0)
		return fault == -FAULT_NOT_FOUND ? -FAULT_CORRUPT : fault;
	if (out->key.state == KEY_GRACE)
		out->old_expires_ms = out->key.expires_ms;
	return 0;
}

static int
check_room(const struct view *view, uint32_t keys, why_text why)
{
	if (view->state->next_serial > UINT32_MAX - keys)
		return refuse(why, FAULT_RESOURCE_EXHAUSTED, "this database has used up its 2^32 serials");
	if (store_room(view->txn) == 0)
		return 0;
	return refuse(why, FAULT_RESOURCE_EXHAUSTED,
	    "no room for new keys: the database is at 90 %% of its ceiling, or the disk is full. Keys can still be revoked");
}

static struct change_key *
add_key(struct change *change)
{
	assert(change->n_keys < CHANGE_KEYS);
	return &change->keys[change->n_keys++];
}

static void
add_new_key(const struct view *view, struct change *change, const struct new_secret *secret, enum kind kind,
    uint32_t generation)
{
	uint32_t serial = view->state->next_serial + change->n_keys;
	struct change_key *c = add_key(change);

	c->is_new = true;
	memcpy(c->digest, secret->digest, sizeof(c->digest));
	c->key = (struct record_key){
		.kind = kind,
		.state = KEY_CURRENT,
		.suspended = change->account.suspended_ms != 0,
		.generation = generation,
		.serial = serial,
		.created_ms = view->now_ms,
	};
	memcpy(c->key.last4, secret->last4, sizeof(c->key.last4));
	memcpy(c->key.account, change->account.account, sizeof(c->key.account));
}

static void
set_event(struct change *change, enum event_type type, const struct record_key *key)
{
	change->event = (struct record_event){ .type = type, .time_ms = change->time_ms };
	memcpy(change->event.account, change->account.account, sizeof(change->event.account));
	if (key != NULL) {
		change->event.kind = key->kind;
		change->event.generation = key->generation;
		change->event.expires_ms = key->expires_ms;
		memcpy(change->event.last4, key->last4, sizeof(change->event.last4));
	}
}

/* ---- the list of an account's keys in grace ---- */

static void
grace_add(struct record_account *account, const struct record_key *key)
{
	assert(account->n_grace < LIMIT_IN_GRACE);
	account->grace[account->n_grace].generation = key->generation;
	account->grace[account->n_grace].expires_ms = key->expires_ms;
	account->n_grace++;
}

static void
grace_remove(struct record_account *account, uint32_t generation)
{
	unsigned n = 0;

	for (unsigned i = 0; i < account->n_grace; i++)
		if (account->grace[i].generation != generation)
			account->grace[n++] = account->grace[i];
	account->n_grace = (uint8_t)n;
}

/* Of an account with a key in grace: the entry whose grace ends first. */
static const struct record_grace *
grace_first_end(const struct record_account *account)
{
	const struct record_grace *first = &account->grace[0];

	assert(account->n_grace > 0);
	for (unsigned i = 1; i < account->n_grace; i++)
		if (account->grace[i].expires_ms < first->expires_ms)
			first = &account->grace[i];
	return first;
}

/* ---- create ---- */

int
decide_create(const struct view *view, const char *account, const struct new_secret *secret,
    const struct new_secret *publishable, struct change *change, why_text why)
{
	int fault;

	begin(view, change);
	if ((fault = store_account(view->txn, account, &change->account)) == 0)
		return refuse(why, FAULT_ALREADY_EXISTS, "the account %s exists already in this environment", account);
	if (fault != -FAULT_NOT_FOUND)
		return failed(why, fault);
	if ((fault = check_room(view, 2, why)) != 0)
		return fault;

	change->account = (struct record_account){
		.created_ms = view->now_ms,
		.secret_generation = 1,
		.publishable_generation = 1,
	};
	snprintf(change->account.account, sizeof(change->account.account), "%s", account);
	change->touches_account = true;
	add_new_key(view, change, secret, KIND_SECRET, 1);
	add_new_key(view, change, publishable, KIND_PUBLISHABLE, 1);
	set_event(change, EVENT_ACCOUNT_CREATED, NULL);
	return 0;
}

/* ---- import ---- */

int
decide_import_room(const struct view *view, unsigned n, why_text why)
{
	return check_room(view, 2 * n, why);
}

void
decide_nothing(const struct view *view, struct change *change)
{
	begin(view, change);
}

/*
 * Compare a key that is to be imported with an account, whose generation of that kind is ${generation}. Returns:
 * IMPORT_DONE: it has to be added; IMPORT_UNCHANGED: it is there, or there is none to import; a conflict; or a negative
 * fault.
 */
static int
compare_import(
    const struct view *view, const char *account, enum kind kind, uint32_t generation, const struct new_secret *secret)
{
	struct record_key key;
	int fault;

	if (secret == NULL)
		return IMPORT_UNCHANGED;
	if ((fault = store_key(view->txn, secret->digest, &key)) == -FAULT_NOT_FOUND && secret->has_old &&
	    store_txn_is_rotating(view->txn))
		fault = store_key(view->txn, secret->old, &key);
	if (fault == -FAULT_NOT_FOUND)
		return generation == 0 ? IMPORT_DONE : IMPORT_ACCOUNT_CONFLICT;
	if (fault != 0)
		return fault;
	/* The kind is part of the digest, so this is damage. */
	if (key.kind != kind)
		return -FAULT_CORRUPT;
	return strcmp(key.account, account) == 0 ? IMPORT_UNCHANGED : IMPORT_KEY_CONFLICT;
}

static void
add_imported_key(const struct view *view, struct change *change, const struct new_secret *secret, enum kind kind)
{
	struct record_account *a = &change->account;

	add_new_key(view, change, secret, kind, 1);
	change->keys[change->n_keys - 1].key.created_ms = a->created_ms;
	change->imports = true;
	if (kind == KIND_SECRET)
		a->secret_generation = 1;
	else
		a->publishable_generation = 1;
}

int
decide_import(const struct view *view, const struct import *import, enum import_outcome *outcome, struct change *change,
    why_text why)
{
	struct record_account *a = &change->account;
	int fault, secret, publishable;
	bool is_new;

	begin(view, change);
	if ((fault = store_account(view->txn, import->account, a)) != 0 && fault != -FAULT_NOT_FOUND)
		return failed(why, fault);
	if ((is_new = fault == -FAULT_NOT_FOUND)) {
		*a = (struct record_account){ .created_ms =
						  import->created_ms != 0 ? import->created_ms : view->now_ms };
		snprintf(a->account, sizeof(a->account), "%s", import->account);
	}
	secret = compare_import(view, a->account, KIND_SECRET, a->secret_generation, import->secret);
	publishable =
	    compare_import(view, a->account, KIND_PUBLISHABLE, a->publishable_generation, import->publishable);
	if (secret < 0 || publishable < 0)
		return failed(why, secret < 0 ? secret : publishable);
	/* An account is imported as a whole or not at all, so a conflict of either key is the item's. */
	*outcome = (enum import_outcome)(secret > publishable ? secret : publishable);
	if (*outcome > IMPORT_UNCHANGED)
		return 0;
	*outcome = is_new || secret == IMPORT_DONE || publishable == IMPORT_DONE ? IMPORT_DONE : IMPORT_UNCHANGED;
	if (*outcome == IMPORT_UNCHANGED)
		return 0;

	change->touches_account = true;
	if (secret == IMPORT_DONE)
		add_imported_key(view, change, import->secret, KIND_SECRET);
	if (publishable == IMPORT_DONE)
		add_imported_key(view, change, import->publishable, KIND_PUBLISHABLE);
	/* For an account that existed, the event names the key that was added; if there are two, the secret key. */
	set_event(change, EVENT_ACCOUNT_IMPORTED, is_new ? NULL : &change->keys[0].key);
	return 0;
}

/* ---- roll ---- */

/* Only the current secret key of the account may authorise a roll: not one in grace, and not another account's. */
static int
check_authority(const struct roll *roll, const struct change_key *current, why_text why)
{
	if (roll->authorizing == NULL)
		return 0;
	if (sodium_memcmp(roll->authorizing, current->digest, sizeof(current->digest)) != 0 ||
	    current->key.state != KEY_CURRENT || current->key.suspended)
		return refuse(why, FAULT_PERMISSION_DENIED,
		    "authorizing_secret is not the current secret key of this account, or the account is suspended");
	return 0;
}

/*
 * At the limit of keys in grace, the refusal says when the next roll will be possible. Keys whose grace has ended are
 * none of them, also while the sweeper has not ended them yet.
 */
static int
check_grace(const struct view *view, const struct record_account *account, why_text why)
{
	time_t free_s;
	struct tm tm;
	char at[32];

	if (account->n_grace < LIMIT_IN_GRACE || grace_first_end(account)->expires_ms <= view->now_ms)
		return 0;
	/* Rounded up to a second at which the roll is possible. */
	free_s = (time_t)((grace_first_end(account)->expires_ms + 999) / 1000);
	gmtime_r(&free_s, &tm);
	strftime(at, sizeof(at), "%Y-%m-%dT%H:%M:%SZ", &tm);
	return refuse(why, FAULT_RESOURCE_EXHAUSTED,
	    "%d secret keys of %s are in grace, which is the limit: roll again from %s, or revoke one, or roll with a grace of 0",
	    LIMIT_IN_GRACE, account->account, at);
}

/* End the key that is superseded, now or after a grace. */
static void
supersede(const struct view *view, int64_t grace_ms, struct change *change, struct record_key *old)
{
	if (old->state != KEY_CURRENT)
		return;
	old->expires_ms = view->now_ms + grace_ms;
	if (grace_ms > 0) {
		old->state = KEY_GRACE;
		grace_add(&change->account, old);
	} else {
		old->state = KEY_REVOKED;
		old->ended_ms = view->now_ms;
	}
}

/* The account's list of keys in grace is full, and the first of them has ended: end that one, so that it makes room. */
static int
expire_first(const struct view *view, const struct record_account *account, struct change *change, why_text why)
{
	struct change_key key;
	int fault;

	fault = find_key(view, account->account, KIND_SECRET, grace_first_end(account)->generation, &key);
	if (fault == 0)
		fault = decide_expire(view, key.digest, change);
	if (fault != 0)
		return failed(why, fault == -FAULT_NOT_FOUND ? -FAULT_CORRUPT : fault);
	snprintf(why, sizeof(why_text), "%d secret keys of %s are in grace, and one of them has to be ended first",
	    LIMIT_IN_GRACE, change->account.account);
	return DECIDE_EXPIRY_FIRST;
}

int
decide_roll(const struct view *view, const struct roll *roll, struct change *change, why_text why)
{
	struct change_key old;
	bool needs_place;
	uint32_t generation;
	int fault;

	begin(view, change);
	if ((fault = find_account(view, roll->account, &change->account, why)) != 0)
		return fault;
	generation = change->account.secret_generation;
	memset(&old, 0, sizeof(old));
	if (generation > 0 && (fault = find_key(view, roll->account, KIND_SECRET, generation, &old)) != 0)
		return failed(why, fault == -FAULT_NOT_FOUND ? -FAULT_CORRUPT : fault);
	if ((fault = check_authority(roll, &old, why)) != 0)
		return fault;
	if (roll->expected_generation != 0 && roll->expected_generation != generation)
		return refuse(why, FAULT_ABORTED, "expected_generation is %u, but the current generation is %u",
		    roll->expected_generation, generation);
	if (generation >= GENERATION_MAX)
		return refuse(why, FAULT_FAILED_PRECONDITION, "this slot has used up its generations");
	needs_place = roll->grace_ms > 0 && old.key.state == KEY_CURRENT;
	if (needs_place && (fault = check_grace(view, &change->account, why)) != 0)
		return fault;
	if ((fault = check_room(view, 2, why)) != 0)
		return fault;
	if (needs_place && change->account.n_grace == LIMIT_IN_GRACE)
		return expire_first(view, &change->account, change, why);

	change->account.secret_generation = generation + 1;
	change->touches_account = true;
	add_new_key(view, change, &roll->secret, KIND_SECRET, generation + 1);
	if (generation > 0) {
		supersede(view, roll->grace_ms, change, &old.key);
		old.superseded = true;
		*add_key(change) = old;
	}
	set_event(change, EVENT_KEY_ROLLED, &change->keys[0].key);
	change->event.expires_ms = old.key.expires_ms;
	return 0;
}

/* ---- revoke ---- */

int
decide_revoke(const struct view *view, const char *account, enum kind kind, uint32_t generation, struct change *change,
    why_text why)
{
	struct change_key c;
	int fault;

	begin(view, change);
	if ((fault = find_account(view, account, &change->account, why)) != 0)
		return fault;
	if ((fault = find_key(view, account, kind, generation, &c)) == -FAULT_NOT_FOUND)
		return refuse(why, FAULT_NOT_FOUND, "%s has no %s key of generation %u in this environment", account,
		    kind_name(kind), generation);
	if (fault != 0)
		return failed(why, fault);

	if (c.key.state == KEY_CURRENT || c.key.state == KEY_GRACE) {
		if (c.key.state == KEY_GRACE) {
			grace_remove(&change->account, generation);
			change->touches_account = true;
		}
		c.key.state = KEY_REVOKED;
		c.key.ended_ms = view->now_ms;
		set_event(change, EVENT_KEY_REVOKED, &c.key);
	}
	*add_key(change) = c;
	return 0;
}

/* ---- suspend and resume ---- */

static int
mark_key(const struct view *view, enum kind kind, uint32_t generation, struct change *change, why_text why)
{
	struct change_key c;
	int fault;

	/* An imported account may lack a key of this kind. */
	if (generation == 0)
		return 0;
	if ((fault = find_key(view, change->account.account, kind, generation, &c)) != 0)
		return failed(why, fault == -FAULT_NOT_FOUND ? -FAULT_CORRUPT : fault);
	c.key.suspended = change->account.suspended_ms != 0;
	*add_key(change) = c;
	return 0;
}

int
decide_suspend(const struct view *view, const char *account, bool suspend, struct change *change, why_text why)
{
	struct record_account *a = &change->account;
	int fault;

	begin(view, change);
	if ((fault = find_account(view, account, a, why)) != 0)
		return fault;
	if ((a->suspended_ms != 0) == suspend)
		return 0;

	a->suspended_ms = suspend ? view->now_ms : 0;
	change->touches_account = true;
	if ((fault = mark_key(view, KIND_SECRET, a->secret_generation, change, why)) != 0 ||
	    (fault = mark_key(view, KIND_PUBLISHABLE, a->publishable_generation, change, why)) != 0)
		return fault;
	for (unsigned i = 0; i < a->n_grace; i++)
		if ((fault = mark_key(view, KIND_SECRET, a->grace[i].generation, change, why)) != 0)
			return fault;
	set_event(change, suspend ? EVENT_ACCOUNT_SUSPENDED : EVENT_ACCOUNT_RESUMED, NULL);
	return 0;
}

/* ---- expire ---- */

int
decide_expire(const struct view *view, const uint8_t digest[RECORD_DIGEST_LEN], struct change *change)
{
	struct change_key *c;
	int fault;

	begin(view, change);
	c = add_key(change);
	memcpy(c->digest, digest, sizeof(c->digest));
	if ((fault = store_key(view->txn, digest, &c->key)) != 0 ||
	    (fault = store_account(view->txn, c->key.account, &change->account)) != 0)
		return fault == -FAULT_NOT_FOUND ? -FAULT_CORRUPT : fault;
	/* The index of deadlines says that it is due, so one of the two is damaged. */
	if (c->key.state != KEY_GRACE || c->key.expires_ms > view->now_ms)
		return -FAULT_CORRUPT;

	c->old_expires_ms = c->key.expires_ms;
	c->key.state = KEY_EXPIRED;
	c->key.ended_ms = c->key.expires_ms;
	grace_remove(&change->account, c->key.generation);
	change->touches_account = true;
	set_event(change, EVENT_KEY_EXPIRED, &c->key);
	return 0;
}
