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

static void
apply_token(struct store_txn *txn, const struct change *change)
{
	struct record_token token = {
		.created_ms = change->time_ms, .sealed = change->sealed, .sealed_len = change->sealed_len
	};
	struct record_bytes value;

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

int
store_put_state(struct store_txn *txn, const struct record_state *state)
{
	struct record_bytes value;

	record_put_state(txn->pepper, STATE, strlen(STATE), state, &value);
	lmdb_put(txn->txn, TABLE_META, STATE, strlen(STATE), value.bytes, value.len);
	return lmdb_fault(txn->txn);
}
