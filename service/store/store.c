/*
 * store.c - a transaction on one environment's database, and the records that are read in it (see store.h). Writes nothing.
 */
#include "service/store/store.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "service/base/bytes.h"
#include "service/store/internal.h"

/* ---- transactions ---- */

struct store_txn *
store_txn_new(struct store *store)
{
	struct store_txn *txn;

	if ((txn = malloc(sizeof(*txn))) == NULL)
		return NULL;
	txn->store = store;
	txn->positioned = UINT64_MAX;
	if ((txn->txn = lmdb_txn_new(store->lmdb)) == NULL) {
		free(txn);
		return NULL;
	}
	return txn;
}

void
store_txn_free(struct store_txn *txn)
{
	if (txn == NULL)
		return;
	lmdb_txn_free(txn->txn);
	free(txn);
}

/*
 * store->pepper always fits what is committed: a rotation's new pepper is published before the first commit of records
 * under it, and the old lines are dropped after the commit of the last record that needed them. So a pepper that is the
 * same before and after the snapshot was taken fits the snapshot. It changes a few times in the life of a process.
 */
int
store_read(struct store_txn *txn)
{
	int fault;

	for (;;) {
		txn->pepper = txn->store->pepper;
		if ((fault = lmdb_read(txn->txn)) != 0)
			return fault;
/* GCC's thread sanitizer warns of fences, which it does not support. This one orders loads inside LMDB anyway. */
#ifndef __SANITIZE_THREAD__
		atomic_thread_fence(memory_order_acquire);
#endif
		if (txn->store->pepper == txn->pepper)
			return 0;
		lmdb_read_end(txn->txn);
	}
}

void
store_read_end(struct store_txn *txn)
{
	lmdb_read_end(txn->txn);
}

const struct pepper *
store_txn_pepper(const struct store_txn *txn)
{
	return txn->pepper;
}

bool
store_txn_is_rotating(const struct store_txn *txn)
{
	return pepper_has_old(txn->pepper);
}

int
store_write(struct store_txn *txn)
{
	txn->pepper = txn->store->pepper;
	txn->store->next_rotation = txn->store->rotation;
	txn->store->last_step = false;
	txn->store->next_schema = txn->store->identity.schema;
	return store_count_damage(txn->store, lmdb_write(txn->txn));
}

int
store_commit(struct store_txn *txn)
{
	int fault;

	if ((fault = lmdb_commit(txn->txn)) == 0)
		txn->store->identity.schema = txn->store->next_schema;
	return fault;
}

void
store_abort(struct store_txn *txn)
{
	lmdb_abort(txn->txn);
}

/* ---- an entry, or the certainty that there is none ---- */

/* The neighbour at the end of a table does not exist, and that is sound. */
static int
check_neighbour(struct store_txn *txn, enum table table, const struct lmdb_entry *entry)
{
	if (entry->key_len == 0)
		return 0;
	return record_sound(txn->pepper, table, entry->key, entry->key_len, entry->value, entry->len);
}

/*
 * A flipped bit in a key, or in a branch page, makes LMDB miss an entry that exists. So -FAULT_NOT_FOUND is returned only
 * after every page on the lookup path was validated, and the entries before and behind the key's place have sound tags,
 * or the table is empty. Any damage is another fault.
 */
static int
prove_absent(struct store_txn *txn, enum table table, const void *key, size_t len)
{
	struct lmdb_gap gap;
	int fault, damage;

	if ((fault = lmdb_prove_absent(txn->txn, table, key, len, &gap)) != -FAULT_NOT_FOUND)
		return fault;
	if ((damage = check_neighbour(txn, table, &gap.before)) != 0 ||
	    (damage = check_neighbour(txn, table, &gap.behind)) != 0)
		return damage;
	return -FAULT_NOT_FOUND;
}

int
store_get(struct store_txn *txn, enum table table, const void *key, size_t len, struct lmdb_value *value)
{
	int fault;

	if ((fault = lmdb_get(txn->txn, table, key, len, value)) == -FAULT_NOT_FOUND)
		return prove_absent(txn, table, key, len);
	return fault;
}

/* ---- the record that is asked for ---- */

static int
get_key(struct store_txn *txn, const uint8_t digest[RECORD_DIGEST_LEN], struct record_key *key)
{
	struct lmdb_value value;
	int fault;

	if ((fault = store_get(txn, TABLE_KEYS, digest, RECORD_DIGEST_LEN, &value)) != 0)
		return fault;
	return record_get_key(txn->pepper, digest, RECORD_DIGEST_LEN, value.data, value.len, key);
}

int
store_key(struct store_txn *txn, const uint8_t digest[RECORD_DIGEST_LEN], struct record_key *key)
{
	return store_count_damage(txn->store, get_key(txn, digest, key));
}

static int
take_key(struct store_txn *txn, const struct lmdb_query *q, struct store_search *s)
{
	int fault;

	fault = record_get_key(txn->pepper, s->digest, RECORD_DIGEST_LEN, q->to, q->len, s->key);
	if (fault == -FAULT_CORRUPT)
		lmdb_tell_damage(txn->txn, q->page);
	return fault;
}

void
store_keys(struct store_txn *txn, struct store_search *searches, size_t n)
{
	uint8_t values[STORE_PASS][RECORD_KEY_VALUE_MAX];
	struct lmdb_query queries[STORE_PASS];
	struct store_search *s;
	struct lmdb_query *q;

	assert(n <= STORE_PASS);
	for (size_t i = 0; i < n; i++) {
		queries[i].key = searches[i].digest;
		queries[i].key_len = RECORD_DIGEST_LEN;
		queries[i].to = values[i];
		queries[i].room = sizeof(values[i]);
	}
	lmdb_gets(txn->txn, TABLE_KEYS, queries, n);
	for (size_t i = 0; i < n; i++) {
		s = &searches[i];
		q = &queries[i];
		if (q->fault == 0)
			s->fault = take_key(txn, q, s);
		else if (q->fault == -FAULT_NOT_FOUND)
			s->fault = prove_absent(txn, TABLE_KEYS, s->digest, RECORD_DIGEST_LEN);
		else
			s->fault = q->fault;
		store_count_damage(txn->store, s->fault);
	}
}

int
store_get_account(struct store_txn *txn, const char *account, struct record_account *out)
{
	size_t len = strlen(account);
	struct lmdb_value value;
	int fault;

	if ((fault = store_get(txn, TABLE_ACCOUNTS, account, len, &value)) != 0)
		return fault;
	return record_get_account(txn->pepper, account, len, value.data, value.len, out);
}

int
store_account(struct store_txn *txn, const char *account, struct record_account *out)
{
	return store_count_damage(txn->store, store_get_account(txn, account, out));
}

int
store_state(struct store_txn *txn, struct record_state *state)
{
	struct lmdb_value value;
	int fault;

	/* store_init() writes this record, so a database without it is damaged. */
	if ((fault = lmdb_get(txn->txn, TABLE_META, STATE, strlen(STATE), &value)) != 0)
		return store_count_damage(txn->store, fault == -FAULT_NOT_FOUND ? -FAULT_CORRUPT : fault);
	return store_count_damage(
	    txn->store, record_get_state(txn->pepper, STATE, strlen(STATE), value.data, value.len, state));
}

int
store_token(struct store_txn *txn, const uint8_t index[PEPPER_DIGEST_LEN], struct record_token *token)
{
	struct lmdb_value value;
	int fault;

	if ((fault = store_get(txn, TABLE_TOKENS, index, PEPPER_DIGEST_LEN, &value)) != 0)
		return store_count_damage(txn->store, fault);
	return store_count_damage(
	    txn->store, record_get_token(txn->pepper, index, PEPPER_DIGEST_LEN, value.data, value.len, token));
}

int
store_has(struct store_txn *txn, enum table table, const void *key, size_t len)
{
	struct lmdb_value value;
	int fault;

	if ((fault = store_get(txn, table, key, len, &value)) == 0)
		fault = record_sound(txn->pepper, table, key, len, value.data, value.len);
	return store_count_damage(txn->store, fault);
}

/* ---- a key, by its place among those of its account ---- */

int
store_key_of_ref(struct store_txn *txn, const struct place *place, const uint8_t ref[RECORD_REF_LEN],
    uint8_t digest[RECORD_DIGEST_LEN], struct record_key *key)
{
	struct lmdb_cursor c;
	int fault;

	for (fault = lmdb_seek(txn->txn, TABLE_KEYS, ref, RECORD_REF_LEN, &c); fault == 0; fault = lmdb_next(&c)) {
		if (c.key.len != RECORD_DIGEST_LEN || memcmp(c.key.data, ref, RECORD_REF_LEN) != 0)
			fault = -FAULT_CORRUPT;
		else
			fault = record_get_key(txn->pepper, c.key.data, c.key.len, c.value.data, c.value.len, key);
		if (fault != 0)
			break;
		if (key->kind == place->kind && key->generation == place->generation &&
		    strcmp(key->account, place->account) == 0) {
			memcpy(digest, c.key.data, RECORD_DIGEST_LEN);
			break;
		}
	}
	lmdb_cursor_end(&c);
	return fault == -FAULT_NOT_FOUND ? -FAULT_CORRUPT : fault;
}

bool
store_in_account(const struct record_account *account, const struct place *place)
{
	return account->has_ref[place->kind - 1] && record_generation(account, place->kind) == place->generation;
}

bool
store_slot_of(const struct lmdb_value *key, struct place *place)
{
	size_t len = strlen(place->account);
	const uint8_t *bytes = key->data;

	if (key->len != len + 6 || memcmp(bytes, place->account, len) != 0 || bytes[len] != 0)
		return false;
	place->kind = bytes[len + 1];
	place->generation = bytes_get32(bytes + len + 2);
	return true;
}

static int
key_of_place(
    struct store_txn *txn, const struct place *place, uint8_t digest[RECORD_DIGEST_LEN], struct record_key *key)
{
	uint8_t ref[RECORD_REF_LEN];
	struct record_account account;
	struct record_bytes slot;
	struct lmdb_value value;
	int fault;

	if ((fault = store_get_account(txn, place->account, &account)) != 0)
		return fault;
	if (store_in_account(&account, place))
		return store_key_of_ref(txn, place, account.ref[place->kind - 1], digest, key);
	record_slot_key(place->account, place->kind, place->generation, &slot);
	if ((fault = store_get(txn, TABLE_SLOTS, slot.bytes, slot.len, &value)) != 0 ||
	    (fault = record_get_slot(txn->pepper, slot.bytes, slot.len, value.data, value.len, ref)) != 0)
		return fault;
	return store_key_of_ref(txn, place, ref, digest, key);
}

int
store_slot(
    struct store_txn *txn, const char *account, enum kind kind, uint32_t generation, uint8_t digest[RECORD_DIGEST_LEN])
{
	const struct place place = { account, kind, generation };
	struct record_key key;

	return store_count_damage(txn->store, key_of_place(txn, &place, digest, &key));
}

/* ---- the store as a whole ---- */

const struct pepper *
store_pepper(const struct store *store)
{
	return store->pepper;
}

enum environment
store_environment(const struct store *store)
{
	return store->environment;
}

const char *
store_path(const struct store *store)
{
	return store->path;
}

bool
store_failed(const struct store *store)
{
	return lmdb_failed(store->lmdb);
}

const char *
store_failure(const struct store *store)
{
	return lmdb_failure(store->lmdb);
}

void
store_give_up(struct store *store, const char *why)
{
	lmdb_fail(store->lmdb, why);
}

int
store_file(const struct store *store, struct lmdb_file *file)
{
	return lmdb_file(store->lmdb, file);
}

bool
store_readers_full(const struct store *store)
{
	return lmdb_readers_full(store->lmdb);
}

uint64_t
store_corrupt_records(const struct store *store)
{
	return atomic_load_explicit(&store->corrupt_records, memory_order_relaxed);
}

bool
store_has_imported(const struct store *store)
{
	return atomic_load_explicit(&store->has_imported, memory_order_acquire);
}

bool
store_txn_has_imported(const struct store_txn *txn)
{
	return store_has_imported(txn->store);
}

uint64_t
store_entries(struct store_txn *txn, enum table table)
{
	return lmdb_entries(txn->txn, table);
}

void
store_upkeep(struct store *store)
{
	lmdb_reader_check(store->lmdb);
}

void
store_look(struct store *store)
{
	lmdb_look(store->lmdb);
}
