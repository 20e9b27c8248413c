/*
 * rotate.c - the rotation of a pepper (see rotate.h). A damaged record stays damaged: it never gets a new tag.
 */
#include "service/store/rotate.h"

#include <assert.h>
#include <string.h>

#include "service/store/internal.h"

/* ---- one key, and what names it ---- */

/*
 * Write a key that is under its old digest under the new one, with its entry in the expiry table. The key's tag says which
 * of the two it is under. *${digest} becomes the new digest. Returns: 1: done; 0: it was new already; a negative fault.
 */
static int
rotate_key(struct store_txn *txn, const struct record_key *key, uint8_t digest[RECORD_DIGEST_LEN])
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
	pepper_rotate(txn->pepper, c.digest, digest);
	lmdb_del(txn->txn, TABLE_KEYS, c.digest, sizeof(c.digest));
	record_put_key(txn->pepper, digest, RECORD_DIGEST_LEN, key, &out);
	lmdb_put(txn->txn, TABLE_KEYS, digest, RECORD_DIGEST_LEN, out.bytes, out.len);
	if (key->state == KEY_GRACE) {
		store_del_expiry(txn, &c);
		store_put_time(txn, TABLE_EXPIRY, key->expires_ms, digest);
	}
	if (txn->store->on_rotated_key != NULL)
		txn->store->on_rotated_key(txn->store->on_rotated_key_arg, txn->pepper, key->serial, c.digest, digest);
	txn->store->next_rotation.keys++;
	return 1;
}

static int
rotate_current(
    struct store_txn *txn, const struct place *place, struct record_account *account, uint8_t digest[RECORD_DIGEST_LEN])
{
	size_t len = strlen(account->account);
	struct record_bytes value;
	struct record_key key;
	int done;

	if ((done = store_key_of_ref(txn, place, account->ref[place->kind - 1], digest, &key)) != 0 ||
	    (done = rotate_key(txn, &key, digest)) <= 0)
		return done;
	memcpy(account->ref[place->kind - 1], digest, RECORD_REF_LEN);
	record_put_account(txn->pepper, account->account, len, account, &value);
	lmdb_put(txn->txn, TABLE_ACCOUNTS, account->account, len, value.bytes, value.len);
	return lmdb_fault(txn->txn);
}

static int
rotate_superseded(struct store_txn *txn, const struct place *place, uint8_t digest[RECORD_DIGEST_LEN])
{
	uint8_t ref[RECORD_REF_LEN];
	struct record_bytes slot, out;
	struct lmdb_value value;
	struct record_key key;
	int done;

	record_slot_key(place->account, place->kind, place->generation, &slot);
	if ((done = lmdb_get(txn->txn, TABLE_SLOTS, slot.bytes, slot.len, &value)) != 0 ||
	    (done = record_get_slot(txn->pepper, slot.bytes, slot.len, value.data, value.len, ref)) != 0 ||
	    (done = store_key_of_ref(txn, place, ref, digest, &key)) != 0 ||
	    (done = rotate_key(txn, &key, digest)) <= 0)
		return done;
	record_put_slot(txn->pepper, slot.bytes, slot.len, digest, &out);
	store_put(txn, TABLE_SLOTS, &slot, &out);
	return lmdb_fault(txn->txn);
}

/* The key at ${place}, and what names it. *${digest}: its digest afterwards. */
static int
rotate_place(struct store_txn *txn, const struct place *place, uint8_t digest[RECORD_DIGEST_LEN])
{
	struct record_account account;
	int fault;

	if ((fault = store_get_account(txn, place->account, &account)) == 0)
		fault = store_in_account(&account, place) ? rotate_current(txn, place, &account, digest) :
							    rotate_superseded(txn, place, digest);
	return fault == -FAULT_NOT_FOUND ? -FAULT_CORRUPT : fault;
}

int
store_rotate_key(struct store_txn *txn, struct change_key *c)
{
	const struct place place = { c->key.account, c->key.kind, c->key.generation };

	if (!store_txn_is_rotating(txn) || c->is_new)
		return 0;
	return store_count_damage(txn->store, rotate_place(txn, &place, c->digest));
}

/* ---- one entry of any table ---- */

/* Give an entry a tag of the newest line. A damaged one is counted and passed over, so that the rest can be done. */
static int
rotate_tag(struct store_txn *txn, enum table table, const struct record_bytes *key)
{
	struct lmdb_value value;
	struct record_bytes out;
	int fault;

	if ((fault = lmdb_get(txn->txn, table, key->bytes, key->len, &value)) != 0)
		return fault;
	if (record_is_newest(txn->pepper, table, key->bytes, key->len, value.data, value.len))
		return 0;
	if (store_count_damage(
		txn->store, record_sound(txn->pepper, table, key->bytes, key->len, value.data, value.len)) != 0)
		return 0;
	record_tag_anew(txn->pepper, table, key->bytes, key->len, value.data, value.len, &out);
	store_put(txn, table, key, &out);
	return lmdb_fault(txn->txn);
}

static int
rotate_account(struct store_txn *txn, const struct record_bytes *key)
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
		if (store_in_account(&account, &place) && (fault = rotate_current(txn, &place, &account, digest)) != 0)
			return fault;
	}
	return rotate_tag(txn, TABLE_ACCOUNTS, key);
}

static int
rotate_slot(struct store_txn *txn, const struct record_bytes *key)
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
	fault = rotate_superseded(txn, &place, digest);
	return fault == 0 ? rotate_tag(txn, TABLE_SLOTS, key) : fault;
}

static int
rotate_entry(struct store_txn *txn, enum table table, const struct record_bytes *key)
{
	int fault;

	if (table == TABLE_ACCOUNTS)
		fault = rotate_account(txn, key);
	else if (table == TABLE_SLOTS)
		fault = rotate_slot(txn, key);
	else
		fault = rotate_tag(txn, table, key);
	return fault == -FAULT_NOT_FOUND ? -FAULT_CORRUPT : fault;
}

/* ---- the beginning ---- */

void
store_on_rotated_key(struct store *store, store_rotated_key_cb rotated, void *arg)
{
	store->on_rotated_key = rotated;
	store->on_rotated_key_arg = arg;
}

bool
store_is_rotating(const struct store *store)
{
	return pepper_has_old(store->pepper);
}

const struct record_rotation *
store_rotation(const struct store *store)
{
	return &store->rotation;
}

int
store_offer_pepper(struct store *store, struct pepper *file)
{
	int added = pepper_added(file, store->file);

	if (added > 0)
		store->file = store_keep_pepper(store, file);
	else
		pepper_free(file);
	return added;
}

bool
store_may_rotate(const struct store *store)
{
	return !store_is_rotating(store) && pepper_newest(store->pepper) < pepper_lines(store->file);
}

unsigned
store_file_lines(const struct store *store)
{
	return pepper_lines(store->file);
}

void
store_next_fingerprint(const struct store *store, uint8_t fingerprint[PEPPER_DIGEST_LEN])
{
	pepper_fingerprint(store->file, store->identity.id, store->identity.environment, fingerprint);
}

/* Make the two peppers of the rotation that is to begin. Returns 0, or a negative fault. */
static int
make_peppers(struct store *store)
{
	struct beginning *b = &store->beginning;
	unsigned lines = pepper_lines(store->file);

	b->rotating = pepper_using(store->file, pepper_newest(store->pepper), lines);
	b->rotated = pepper_using(store->file, 0, lines);
	return b->rotating != NULL && b->rotated != NULL ? 0 : -FAULT_INTERNAL;
}

static void
put_beginning(struct store *store, struct lmdb_txn *txn)
{
	struct beginning *b = &store->beginning;
	struct record_bytes value;

	b->identity = store->identity;
	b->rotation = (struct record_rotation){ .table = TABLE_ACCOUNTS };
	memcpy(b->rotation.old_fingerprint, b->identity.fingerprint, sizeof(b->rotation.old_fingerprint));
	pepper_fingerprint(b->rotating, b->identity.id, b->identity.environment, b->identity.fingerprint);
	record_put_identity(b->rotating, IDENTITY, strlen(IDENTITY), &b->identity, &value);
	lmdb_put(txn, TABLE_META, IDENTITY, strlen(IDENTITY), value.bytes, value.len);
	record_put_rotation(b->rotating, ROTATION, strlen(ROTATION), &b->rotation, &value);
	lmdb_put(txn, TABLE_META, ROTATION, strlen(ROTATION), value.bytes, value.len);
}

void
store_publish_rotation(struct store *store)
{
	struct beginning *b = &store->beginning;

	store->identity = b->identity;
	store->rotation = store->next_rotation = b->rotation;
	store->rotated = store_keep_pepper(store, b->rotated);
	store->pepper = store_keep_pepper(store, b->rotating);
	*b = (struct beginning){ 0 };
}

bool
store_rotation_is_prepared(const struct store *store)
{
	return store->beginning.rotating != NULL;
}

void
store_drop_rotation(struct store *store)
{
	pepper_free(store->beginning.rotating);
	pepper_free(store->beginning.rotated);
	store->beginning = (struct beginning){ 0 };
}

int
store_prepare_rotation(struct store_txn *txn, unsigned lines, const uint8_t fingerprint[PEPPER_DIGEST_LEN])
{
	struct store *store = txn->store;
	uint8_t own[PEPPER_DIGEST_LEN];
	int fault;

	store_next_fingerprint(store, own);
	if (!store_may_rotate(store) || store_file_lines(store) != lines || memcmp(own, fingerprint, sizeof(own)) != 0)
		return -FAULT_FAILED_PRECONDITION;
	if ((fault = make_peppers(store)) != 0) {
		store_drop_rotation(store);
		return fault;
	}
	put_beginning(store, txn->txn);
	return lmdb_fault(txn->txn);
}

int
store_begin_rotation(struct store_txn *txn)
{
	struct store *store = txn->store;
	int fault;

	assert(store_may_rotate(store));
	if ((fault = make_peppers(store)) == 0 && (fault = lmdb_reserve(store->lmdb, RESERVE_BYTES)) == 0 &&
	    (fault = lmdb_write(txn->txn)) == 0) {
		put_beginning(store, txn->txn);
		fault = lmdb_commit(txn->txn);
	}
	if (fault == 0)
		store_publish_rotation(store);
	else
		store_drop_rotation(store);
	return fault;
}

/* ---- all of them, some at a time ---- */

static int
compare(const struct lmdb_value *a, const void *key, size_t len)
{
	int order = memcmp(a->data, key, a->len < len ? a->len : len);

	return order != 0 ? order : (a->len > len) - (a->len < len);
}

/* Copy the table keys of up to ${most} entries behind ${r}'s position. Returns how many, or a negative fault. */
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

/* The order of the tables. Keys are done with the accounts and slots that name them, expiries with their keys. */
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
store_rotate(struct store_txn *txn)
{
	struct record_rotation *r = &txn->store->next_rotation;
	struct record_bytes value;
	int fault, n;

	assert(store_txn_is_rotating(txn));
	/* A rotation can wait and a revocation cannot, so the disk space that is reserved for revocations is left alone. */
	if ((fault = lmdb_reserve(txn->store->lmdb, RESERVE_BYTES)) != 0)
		return fault;
	if ((n = next_entries(txn, r, ROTATE_ENTRIES, txn->store->rotate_keys)) < 0)
		return store_count_damage(txn->store, n);
	for (int i = 0; i < n; i++) {
		const struct record_bytes *key = &txn->store->rotate_keys[i];

		memcpy(r->at, key->bytes, key->len);
		r->at_len = (uint8_t)key->len;
		if ((fault = rotate_entry(txn, r->table, key)) != 0)
			return store_count_damage(txn->store, fault);
		r->records++;
	}
	if (n < ROTATE_ENTRIES) {
		r->table = table_after(r->table);
		r->at_len = 0;
	}
	if ((txn->store->last_step = r->table == TABLE_META)) {
		lmdb_del(txn->txn, TABLE_META, ROTATION, strlen(ROTATION));
	} else {
		record_put_rotation(txn->pepper, ROTATION, strlen(ROTATION), r, &value);
		lmdb_put(txn->txn, TABLE_META, ROTATION, strlen(ROTATION), value.bytes, value.len);
	}
	return lmdb_fault(txn->txn);
}

bool
store_rotated(struct store *store)
{
	store->rotation = store->next_rotation;
	if (store->last_step)
		store->pepper = store->rotated;
	return store->last_step;
}

bool
store_rotation_progress(struct store_txn *txn, struct store_rotation_progress *progress)
{
	struct record_rotation r;
	struct lmdb_value value;

	memset(progress, 0, sizeof(*progress));
	if (!store_txn_is_rotating(txn) || lmdb_get(txn->txn, TABLE_META, ROTATION, strlen(ROTATION), &value) != 0 ||
	    store_count_damage(txn->store,
		record_get_rotation(txn->pepper, ROTATION, strlen(ROTATION), value.data, value.len, &r)) != 0)
		return false;
	progress->keys = r.keys;
	progress->records = r.records;
	for (enum table t = TABLE_ACCOUNTS; t != TABLE_META; t = table_after(t))
		progress->of_records += lmdb_entries(txn->txn, t);
	return true;
}
