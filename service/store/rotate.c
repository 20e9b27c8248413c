/*
 * store_move.c - a pepper's rotation: all records are moved to the newest line of the pepper, some in each commit (see
 * store.h, store_internal.h). Called by writer.c, by store_apply.c for what a change is about to touch, and by main.c
 * and health.c, which tell how far it is; calls lmdb.c, pepper.c and record.c. Never believes a record more than it was
 * believed before: one that is damaged stays so.
 */
#include "service/store/internal.h"

#include <assert.h>
#include <string.h>

/* ---- one key, and what names it ---- */

/*
 * Bring a key that is under the old digest to the new one, with its entry in the expiry table. Its tag says which of
 * the two it is. *${digest} becomes the new one. Returns: 1: moved; 0: it was new already; a negative fault.
 */
static int
move_key(struct store_txn *txn, const struct record_key *key, uint8_t digest[RECORD_DIGEST_LEN])
{
	struct change_key c = { .key = *key, .old_expires_ms = key->expires_ms };
	struct lmdb_value value;
	struct record_bytes out;
	int fault;

	if ((fault = lmdb_get(txn->txn, TABLE_KEYS, digest, RECORD_DIGEST_LEN, &value)) != 0)
		return fault;
	if (record_is_newest(txn->pepper, TABLE_KEYS, digest, RECORD_DIGEST_LEN, value.data, value.len))
		return 0;
	memcpy(c.digest, digest, sizeof(c.digest));
	pepper_move(txn->pepper, c.digest, digest);
	lmdb_del(txn->txn, TABLE_KEYS, c.digest, sizeof(c.digest));
	record_put_key(txn->pepper, digest, RECORD_DIGEST_LEN, key, &out);
	lmdb_put(txn->txn, TABLE_KEYS, digest, RECORD_DIGEST_LEN, out.bytes, out.len);
	if (key->state == KEY_GRACE) {
		store_del_expiry(txn, &c);
		store_put_time(txn, TABLE_EXPIRY, key->expires_ms, digest);
	}
	if (txn->store->on_move != NULL)
		txn->store->on_move(txn->store->on_move_arg, txn->pepper, key->serial, c.digest, digest);
	txn->store->next_rotation.keys++;
	return 1;
}

static int
move_current(
    struct store_txn *txn, const struct place *place, struct record_account *account, uint8_t digest[RECORD_DIGEST_LEN])
{
	size_t len = strlen(account->account);
	struct record_bytes value;
	struct record_key key;
	int moved;

	if ((moved = store_key_of_ref(txn, place, account->ref[place->kind - 1], digest, &key)) != 0 ||
	    (moved = move_key(txn, &key, digest)) <= 0)
		return moved;
	memcpy(account->ref[place->kind - 1], digest, RECORD_REF_LEN);
	record_put_account(txn->pepper, account->account, len, account, &value);
	lmdb_put(txn->txn, TABLE_ACCOUNTS, account->account, len, value.bytes, value.len);
	return lmdb_fault(txn->txn);
}

static int
move_superseded(struct store_txn *txn, const struct place *place, uint8_t digest[RECORD_DIGEST_LEN])
{
	uint8_t ref[RECORD_REF_LEN];
	struct record_bytes slot, out;
	struct lmdb_value value;
	struct record_key key;
	int moved;

	record_slot_key(place->account, place->kind, place->generation, &slot);
	if ((moved = lmdb_get(txn->txn, TABLE_SLOTS, slot.bytes, slot.len, &value)) != 0 ||
	    (moved = record_get_slot(txn->pepper, slot.bytes, slot.len, value.data, value.len, ref)) != 0 ||
	    (moved = store_key_of_ref(txn, place, ref, digest, &key)) != 0 ||
	    (moved = move_key(txn, &key, digest)) <= 0)
		return moved;
	record_put_slot(txn->pepper, slot.bytes, slot.len, digest, &out);
	store_put(txn, TABLE_SLOTS, &slot, &out);
	return lmdb_fault(txn->txn);
}

/* The key at ${place}, and what names it. *${digest}: where it is then. */
static int
move_place(struct store_txn *txn, const struct place *place, uint8_t digest[RECORD_DIGEST_LEN])
{
	struct record_account account;
	int fault;

	if ((fault = store_get_account(txn, place->account, &account)) == 0)
		fault = store_in_account(&account, place) ? move_current(txn, place, &account, digest) :
							    move_superseded(txn, place, digest);
	return fault == -FAULT_NOT_FOUND ? -FAULT_CORRUPT : fault;
}

int
store_settle(struct store_txn *txn, struct change_key *c)
{
	const struct place place = { c->key.account, c->key.kind, c->key.generation };

	if (!store_moving(txn) || c->is_new)
		return 0;
	return store_judged(txn->store, move_place(txn, &place, c->digest));
}

/* ---- one entry of any table ---- */

/* One entry, as it is, under a tag of the newest line. One that is damaged stays so: it must not hold up the rest. */
static int
move_tag(struct store_txn *txn, enum table table, const struct record_bytes *key)
{
	struct lmdb_value value;
	struct record_bytes out;
	int fault;

	if ((fault = lmdb_get(txn->txn, table, key->bytes, key->len, &value)) != 0)
		return fault;
	if (record_is_newest(txn->pepper, table, key->bytes, key->len, value.data, value.len))
		return 0;
	if (store_judged(txn->store, record_sound(txn->pepper, table, key->bytes, key->len, value.data, value.len)) !=
	    0)
		return 0;
	record_tag_anew(txn->pepper, table, key->bytes, key->len, value.data, value.len, &out);
	store_put(txn, table, key, &out);
	return lmdb_fault(txn->txn);
}

static int
move_account(struct store_txn *txn, const struct record_bytes *key)
{
	struct place place = { .kind = KIND_SECRET };
	uint8_t digest[RECORD_DIGEST_LEN];
	struct record_account account;
	char name[LIMIT_ACCOUNT + 1];
	int fault;

	if (!record_account_ok(key->bytes, key->len))
		return -FAULT_CORRUPT;
	memcpy(name, key->bytes, key->len);
	name[key->len] = '\0';
	place.account = name;
	if ((fault = store_get_account(txn, name, &account)) != 0)
		return fault;
	for (; place.kind <= KIND_PUBLISHABLE; place.kind++) {
		place.generation = record_generation(&account, place.kind);
		if (store_in_account(&account, &place) && (fault = move_current(txn, &place, &account, digest)) != 0)
			return fault;
	}
	return move_tag(txn, TABLE_ACCOUNTS, key);
}

static int
move_slot(struct store_txn *txn, const struct record_bytes *key)
{
	uint8_t digest[RECORD_DIGEST_LEN];
	struct place place = { 0 };
	char name[LIMIT_ACCOUNT + 1];
	struct lmdb_value k = { key->bytes, key->len };
	int fault;

	if (key->len < 7 || !record_account_ok(key->bytes, key->len - 6))
		return -FAULT_CORRUPT;
	memcpy(name, key->bytes, key->len - 6);
	name[key->len - 6] = '\0';
	place.account = name;
	if (!store_slot_of(&k, &place))
		return -FAULT_CORRUPT;
	fault = move_superseded(txn, &place, digest);
	return fault == 0 ? move_tag(txn, TABLE_SLOTS, key) : fault;
}

static int
move_entry(struct store_txn *txn, enum table table, const struct record_bytes *key)
{
	int fault;

	if (table == TABLE_ACCOUNTS)
		fault = move_account(txn, key);
	else if (table == TABLE_SLOTS)
		fault = move_slot(txn, key);
	else
		fault = move_tag(txn, table, key);
	return fault == -FAULT_NOT_FOUND ? -FAULT_CORRUPT : fault;
}

/* ---- the beginning of a move ---- */

void
store_on_move(struct store *store, store_moved_cb moved, void *arg)
{
	store->on_move = moved;
	store->on_move_arg = arg;
}

bool
store_is_moving(const struct store *store)
{
	return pepper_has_old(store->pepper);
}

const struct record_rotation *
store_rotation(const struct store *store)
{
	return &store->rotation;
}

int
store_offer(struct store *store, struct pepper *file)
{
	int added = pepper_added(file, store->file);

	if (added > 0)
		store->file = store_keep(store, file);
	else
		pepper_free(file);
	return added;
}

bool
store_may_begin(const struct store *store)
{
	return !store_is_moving(store) && pepper_newest(store->pepper) < pepper_lines(store->file);
}

/* In a transaction. What it writes is read by nobody who serves: until it is committed, no record needs ${pepper}. */
static int
commit_begin(struct store *store, struct lmdb_txn *txn, const struct pepper *pepper)
{
	struct record_rotation rotation = { .table = TABLE_ACCOUNTS };
	struct record_identity identity = store->identity;
	struct record_bytes value;
	int fault;

	memcpy(rotation.old_fingerprint, identity.fingerprint, sizeof(rotation.old_fingerprint));
	pepper_fingerprint(pepper, identity.id, identity.environment, identity.fingerprint);
	record_put_identity(pepper, IDENTITY, strlen(IDENTITY), &identity, &value);
	lmdb_put(txn, TABLE_META, IDENTITY, strlen(IDENTITY), value.bytes, value.len);
	record_put_rotation(pepper, ROTATION, strlen(ROTATION), &rotation, &value);
	lmdb_put(txn, TABLE_META, ROTATION, strlen(ROTATION), value.bytes, value.len);
	if ((fault = lmdb_commit(txn)) != 0)
		return fault;
	store->identity = identity;
	store->rotation = store->next_rotation = rotation;
	return 0;
}

int
store_begin(struct store_txn *txn)
{
	struct store *store = txn->store;
	unsigned old = pepper_newest(store->pepper), lines = pepper_lines(store->file);
	struct pepper *moving = pepper_using(store->file, old, lines), *moved = pepper_using(store->file, 0, lines);
	int fault = -FAULT_INTERNAL;

	assert(store_may_begin(store));
	if (moving != NULL && moved != NULL && (fault = lmdb_reserve(store->lmdb, RESERVE_BYTES)) == 0 &&
	    (fault = lmdb_write(txn->txn)) == 0)
		fault = commit_begin(store, txn->txn, moving);
	if (fault != 0) {
		pepper_free(moving);
		pepper_free(moved);
		return fault;
	}
	store->moved = store_keep(store, moved);
	store->pepper = store_keep(store, moving);
	return 0;
}

/* ---- all of them, some at a time ---- */

static int
compare(const struct lmdb_value *a, const void *key, size_t len)
{
	int order = memcmp(a->data, key, a->len < len ? a->len : len);

	return order != 0 ? order : (a->len > len) - (a->len < len);
}

/* The keys of up to ${most} entries behind ${r}'s position. Returns how many, or a negative fault. */
static int
next_entries(struct store_txn *txn, const struct record_rotation *r, int most, struct record_bytes *keys)
{
	struct lmdb_cursor c;
	int fault, n = 0;

	fault = lmdb_seek(txn->txn, r->table, r->at_len > 0 ? r->at : NULL, r->at_len, &c);
	for (; fault == 0 && n < most; fault = lmdb_next(&c)) {
		if (r->at_len > 0 && compare(&c.key, r->at, r->at_len) == 0)
			continue;
		if (c.key.len > RECORD_KEY_MAX || (r->at_len > 0 && compare(&c.key, r->at, r->at_len) < 0)) {
			fault = -FAULT_CORRUPT;
			break;
		}
		keys[n].len = c.key.len;
		memcpy(keys[n++].bytes, c.key.data, c.key.len);
	}
	lmdb_cursor_end(&c);
	return fault == 0 || fault == -FAULT_NOT_FOUND ? n : fault;
}

/* The tables in the order in which they are moved. Keys go with what names them, expiries with their keys. */
static enum table
table_after(enum table table)
{
	switch (table) {
	case TABLE_ACCOUNTS:
		return TABLE_SLOTS;
	case TABLE_SLOTS:
		return TABLE_EVENTS;
	case TABLE_EVENTS:
		return TABLE_TOKENS;
	case TABLE_TOKENS:
		return TABLE_TOKEN_AGE;
	default:
		return TABLE_META;
	}
}

int
store_move(struct store_txn *txn)
{
	struct record_rotation *r = &txn->store->next_rotation;
	struct record_bytes value;
	int fault, n;

	assert(store_moving(txn));
	/* A move can wait, and a revocation cannot: what is kept for those is not for this. */
	if ((fault = lmdb_reserve(txn->store->lmdb, RESERVE_BYTES)) != 0)
		return fault;
	if ((n = next_entries(txn, r, MOVE_ENTRIES, txn->store->move_keys)) < 0)
		return store_judged(txn->store, n);
	for (int i = 0; i < n; i++) {
		const struct record_bytes *key = &txn->store->move_keys[i];

		memcpy(r->at, key->bytes, key->len);
		r->at_len = (uint8_t)key->len;
		if ((fault = move_entry(txn, r->table, key)) != 0)
			return store_judged(txn->store, fault);
		r->records++;
	}
	if (n < MOVE_ENTRIES) {
		r->table = table_after(r->table);
		r->at_len = 0;
	}
	if ((txn->store->last_move = r->table == TABLE_META)) {
		lmdb_del(txn->txn, TABLE_META, ROTATION, strlen(ROTATION));
	} else {
		record_put_rotation(txn->pepper, ROTATION, strlen(ROTATION), r, &value);
		lmdb_put(txn->txn, TABLE_META, ROTATION, strlen(ROTATION), value.bytes, value.len);
	}
	return lmdb_fault(txn->txn);
}

bool
store_moved(struct store *store)
{
	store->rotation = store->next_rotation;
	if (store->last_move)
		store->pepper = store->moved;
	return store->last_move;
}

bool
store_progress(struct store_txn *txn, struct store_progress *progress)
{
	struct record_rotation r;
	struct lmdb_value value;

	memset(progress, 0, sizeof(*progress));
	if (!store_moving(txn) || lmdb_get(txn->txn, TABLE_META, ROTATION, strlen(ROTATION), &value) != 0 ||
	    store_judged(txn->store,
		record_get_rotation(txn->pepper, ROTATION, strlen(ROTATION), value.data, value.len, &r)) != 0)
		return false;
	progress->keys = r.keys;
	progress->records = r.records;
	for (enum table t = TABLE_ACCOUNTS; t != TABLE_META; t = table_after(t))
		progress->of_records += lmdb_entries(txn->txn, t);
	return true;
}
