/*
 * apply.c - write a change: keys, their account, the event, the token (see apply.h). Decides nothing: the rules are in
 * keys/decide.c, and every time and digest comes with the change.
 */
#include "service/store/apply.h"

#include <assert.h>
#include <string.h>

#include "service/base/bytes.h"
#include "service/store/internal.h"

static void
apply_key(struct store_txn *txn, const struct change_key *c)
{
	const struct pepper *pepper = txn->pepper;
	struct record_bytes key, value;

	record_put_key(pepper, c->digest, sizeof(c->digest), &c->key, &value);
	lmdb_put(txn->txn, TABLE_KEYS, c->digest, sizeof(c->digest), value.bytes, value.len);
	if (c->superseded) {
		record_slot_key(c->key.account, c->key.kind, c->key.generation, &key);
		record_put_slot(pepper, key.bytes, key.len, c->digest, &value);
		store_put(txn, TABLE_SLOTS, &key, &value);
	}
	if (c->old_expires_ms != 0 && (c->key.state != KEY_GRACE || c->key.expires_ms != c->old_expires_ms))
		store_del_expiry(txn, c);
	if (c->key.state == KEY_GRACE && c->key.expires_ms != c->old_expires_ms)
		store_put_time(txn, TABLE_EXPIRY, c->key.expires_ms, c->digest);
}

/* The account, with the names of those of its current keys that are new. */
static void
apply_account(struct store_txn *txn, const struct change *change)
{
	struct record_account account = change->account, now;
	size_t len = strlen(account.account);
	struct record_bytes value;
	unsigned kind;

	/* Since the change was decided, store_rotate_key() may have given its keys other digests. */
	if (store_txn_is_rotating(txn) && store_get_account(txn, account.account, &now) == 0)
		memcpy(account.ref, now.ref, sizeof(account.ref));
	for (unsigned i = 0; i < change->n_keys; i++) {
		if (!change->keys[i].is_new)
			continue;
		kind = change->keys[i].key.kind - 1U;
		account.has_ref[kind] = true;
		memcpy(account.ref[kind], change->keys[i].digest, RECORD_REF_LEN);
	}
	record_put_account(txn->pepper, account.account, len, &account, &value);
	lmdb_put(txn->txn, TABLE_ACCOUNTS, account.account, len, value.bytes, value.len);
}

/* Two are deleted for each one added, so that a lowered events_kept takes effect. */
static void
forget_events(struct store_txn *txn, uint64_t newest)
{
	struct lmdb_cursor cursor;
	uint8_t oldest[8];
	bool found;

	if (newest <= txn->store->events_kept)
		return;
	for (int i = 0; i < 2; i++) {
		found = lmdb_seek(txn->txn, TABLE_EVENTS, NULL, 0, &cursor) == 0 && cursor.key.len == sizeof(oldest);
		if (found)
			memcpy(oldest, cursor.key.data, sizeof(oldest));
		lmdb_cursor_end(&cursor);
		if (!found || bytes_get64(oldest) > newest - txn->store->events_kept)
			return;
		lmdb_del(txn->txn, TABLE_EVENTS, oldest, sizeof(oldest));
	}
}

static void
apply_event(struct store_txn *txn, const struct record_event *event, uint64_t sequence)
{
	struct record_bytes key, value;

	record_sequence_key(sequence, &key);
	record_put_event(txn->pepper, key.bytes, key.len, event, &value);
	store_put(txn, TABLE_EVENTS, &key, &value);
	forget_events(txn, sequence);
}

/* Its entry in the index by age would later take the new token away. */
static void
forget_token_before(struct store_txn *txn, const struct change *change)
{
	struct record_bytes age;

	record_time_key(change->token_before_ms, change->token_index, &age);
	lmdb_del(txn->txn, TABLE_TOKEN_AGE, age.bytes, age.len);
}

static void
apply_token(struct store_txn *txn, const struct change *change)
{
	struct record_token token = {
		.created_ms = change->time_ms, .sealed = change->sealed, .sealed_len = change->sealed_len
	};
	struct record_bytes value;

	if (change->token_before_ms != 0)
		forget_token_before(txn, change);
	memcpy(token.request, change->token_request, sizeof(token.request));
	record_put_token(txn->pepper, change->token_index, PEPPER_DIGEST_LEN, &token, &value);
	lmdb_put(txn->txn, TABLE_TOKENS, change->token_index, PEPPER_DIGEST_LEN, value.bytes, value.len);
	store_put_time(txn, TABLE_TOKEN_AGE, change->time_ms, change->token_index);
}

int
store_apply(struct store_txn *txn, const struct change *change, struct record_state *next)
{
	struct change_key key;
	int fault;

	for (unsigned i = 0; i < change->n_keys; i++) {
		assert(change->touches_account || !change->keys[i].is_new);
		key = change->keys[i];
		if ((fault = store_rotate_key(txn, &key)) != 0)
			return fault;
		apply_key(txn, &key);
		if (change->keys[i].is_new && change->keys[i].key.serial >= next->next_serial)
			next->next_serial = change->keys[i].key.serial + 1;
	}
	if (change->touches_account)
		apply_account(txn, change);
	if (change->event.type != EVENT_NONE)
		apply_event(txn, &change->event, ++next->event_sequence);
	if (change->has_token)
		apply_token(txn, change);
	if (change->imports) {
		next->imported = true;
		atomic_store_explicit(&txn->store->has_imported, true, memory_order_release);
	}
	next->revision++;
	if (change->time_ms > next->newest_ms)
		next->newest_ms = change->time_ms;
	return store_count_damage(txn->store, lmdb_fault(txn->txn));
}

/* ---- a change of another node ---- */

static int
resolve_key(struct store_txn *txn, struct change_key *c)
{
	struct record_key now;
	int fault;

	if (c->is_new)
		return 0;
	if ((fault = store_slot(txn, c->key.account, c->key.kind, c->key.generation, c->digest)) != 0 ||
	    (fault = store_key(txn, c->digest, &now)) != 0)
		return fault == -FAULT_NOT_FOUND ? -FAULT_CORRUPT : fault;
	c->old_expires_ms = now.state == KEY_GRACE ? now.expires_ms : 0;
	return 0;
}

static int
resolve_account(struct store_txn *txn, struct record_account *account)
{
	struct record_account now;
	int fault;

	if ((fault = store_get_account(txn, account->account, &now)) != 0)
		return fault == -FAULT_NOT_FOUND ? 0 : fault;
	memcpy(account->has_ref, now.has_ref, sizeof(account->has_ref));
	memcpy(account->ref, now.ref, sizeof(account->ref));
	return 0;
}

/* Another node may have forgotten a token that is older than 24 hours, and this one not yet. */
static int
resolve_token(struct store_txn *txn, struct change *change)
{
	struct record_token token;
	int fault;

	if ((fault = store_token(txn, change->token_index, &token)) == 0)
		change->token_before_ms = token.created_ms;
	return fault == -FAULT_NOT_FOUND ? 0 : fault;
}

int
store_resolve(struct store_txn *txn, struct change *change)
{
	int fault = 0;

	for (unsigned i = 0; i < change->n_keys && fault == 0; i++)
		fault = resolve_key(txn, &change->keys[i]);
	if (fault == 0 && change->touches_account)
		fault = resolve_account(txn, &change->account);
	if (fault == 0 && change->has_token)
		fault = resolve_token(txn, change);
	return fault;
}

/* ---- the state ---- */

int
store_put_state(struct store_txn *txn, const struct record_state *state)
{
	struct record_bytes value;

	record_put_state(txn->pepper, STATE, strlen(STATE), state, &value);
	lmdb_put(txn->txn, TABLE_META, STATE, strlen(STATE), value.bytes, value.len);
	return lmdb_fault(txn->txn);
}
