/*
 * walk.c - walks over a table (see walk.h). Writes nothing.
 */
#include "service/store/walk.h"

#include <string.h>

#include "service/base/bytes.h"
#include "service/store/internal.h"

/* The end of a walk is not a fault. */
static int
walked(struct store_txn *txn, int fault, struct lmdb_cursor *cursor)
{
	lmdb_cursor_end(cursor);
	return fault == -FAULT_NOT_FOUND ? 0 : store_count_damage(txn->store, fault);
}

/* A walk over an account's keys: its slots, with its current keys, which the account itself names, at their places. */
struct key_walk {
	struct store_txn *txn;
	struct record_account account;
	uint64_t at; /* order() of the key that was visited last */
	store_key_cb visit;
	void *arg;
	bool stop; /* the visitor has had enough */
};

static uint64_t
order(enum kind kind, uint32_t generation)
{
	return (uint64_t)kind << 32 | generation;
}

static int
visit_key(struct key_walk *w, const struct place *place, const uint8_t ref[RECORD_REF_LEN])
{
	uint8_t digest[RECORD_DIGEST_LEN];
	struct record_key key;
	int fault;

	if ((fault = store_key_of_ref(w->txn, place, ref, digest, &key)) != 0)
		return fault;
	w->at = order(place->kind, place->generation);
	w->stop = !w->visit(w->arg, digest, &key);
	return 0;
}

/* Visit the current keys between the key that was visited last and ${before}. */
static int
visit_current(struct key_walk *w, uint64_t before)
{
	struct place place = { .account = w->account.account };
	uint64_t at;
	int fault;

	for (place.kind = KIND_SECRET; place.kind <= KIND_PUBLISHABLE && !w->stop; place.kind++) {
		place.generation = record_generation(&w->account, place.kind);
		at = order(place.kind, place.generation);
		if (!store_in_account(&w->account, &place) || at <= w->at || at >= before)
			continue;
		if ((fault = visit_key(w, &place, w->account.ref[place.kind - 1])) != 0)
			return fault;
	}
	return 0;
}

static int
visit_slot(struct key_walk *w, const struct place *place, const struct lmdb_cursor *cursor)
{
	uint8_t ref[RECORD_REF_LEN];
	int fault;

	if ((fault = visit_current(w, order(place->kind, place->generation))) != 0 || w->stop)
		return fault;
	if ((fault = record_get_slot(
		 w->txn->pepper, cursor->key.data, cursor->key.len, cursor->value.data, cursor->value.len, ref)) != 0)
		return fault;
	return visit_key(w, place, ref);
}

static int
walk_keys(struct key_walk *w, const char *account)
{
	struct place place = { .account = account };
	struct lmdb_cursor cursor;
	struct record_bytes from;
	int fault;

	if ((fault = store_get_account(w->txn, account, &w->account)) != 0)
		return fault;
	record_slot_key(account, (w->at + 1) >> 32, (uint32_t)(w->at + 1), &from);
	for (fault = lmdb_seek(w->txn->txn, TABLE_SLOTS, from.bytes, from.len, &cursor); fault == 0;
	     fault = lmdb_next(&cursor))
		if (!store_slot_of(&cursor.key, &place) || (fault = visit_slot(w, &place, &cursor)) != 0 || w->stop)
			break;
	lmdb_cursor_end(&cursor);
	return fault == 0 || fault == -FAULT_NOT_FOUND ? visit_current(w, UINT64_MAX) : fault;
}

int
store_each_key(
    struct store_txn *txn, const char *account, enum kind kind, uint32_t generation, store_key_cb visit, void *arg)
{
	struct key_walk w = { .txn = txn, .at = order(kind, generation), .visit = visit, .arg = arg };
	int fault;

	fault = walk_keys(&w, account);
	return fault == -FAULT_NOT_FOUND ? 0 : store_count_damage(txn->store, fault);
}

int
store_each_account(struct store_txn *txn, const char *after, store_account_cb visit, void *arg)
{
	struct record_account account;
	struct lmdb_cursor cursor;
	size_t len = strlen(after);
	int fault;

	for (fault = lmdb_seek(txn->txn, TABLE_ACCOUNTS, after, len, &cursor); fault == 0; fault = lmdb_next(&cursor)) {
		if (cursor.key.len == len && memcmp(cursor.key.data, after, len) == 0)
			continue;
		if ((fault = record_get_account(txn->pepper, cursor.key.data, cursor.key.len, cursor.value.data,
			 cursor.value.len, &account)) != 0 ||
		    !visit(arg, &account))
			break;
	}
	return walked(txn, fault, &cursor);
}

int
store_each_event(struct store_txn *txn, uint64_t after, store_event_cb visit, void *arg)
{
	struct record_event event;
	struct lmdb_cursor cursor;
	uint8_t from[8];
	int fault;

	bytes_put64(from, after == UINT64_MAX ? after : after + 1);
	for (fault = lmdb_seek(txn->txn, TABLE_EVENTS, from, sizeof(from), &cursor); fault == 0;
	     fault = lmdb_next(&cursor))
		if ((fault = record_get_event(txn->pepper, cursor.key.data, cursor.key.len, cursor.value.data,
			 cursor.value.len, &event)) != 0 ||
		    !visit(arg, &event))
			break;
	return walked(txn, fault, &cursor);
}

int
store_scan_keys(struct store_txn *txn, const uint8_t *after, store_key_cb visit, void *arg)
{
	struct lmdb_cursor c;
	struct record_key key;
	bool sound;
	int fault;

	for (fault = lmdb_seek(txn->txn, TABLE_KEYS, after, after != NULL ? RECORD_DIGEST_LEN : 0, &c); fault == 0;
	     fault = lmdb_next(&c)) {
		if (c.key.len != RECORD_DIGEST_LEN ||
		    (after != NULL && memcmp(c.key.data, after, RECORD_DIGEST_LEN) == 0))
			continue;
		sound = record_get_key(txn->pepper, c.key.data, c.key.len, c.value.data, c.value.len, &key) == 0;
		if (!visit(arg, c.key.data, sound ? &key : NULL))
			break;
	}
	lmdb_cursor_end(&c);
	return fault == -FAULT_NOT_FOUND ? 0 : fault;
}

int
store_each_entry(struct store_txn *txn, enum table table, store_entry_cb visit, void *arg)
{
	struct lmdb_cursor cursor;
	int fault;

	for (fault = lmdb_seek(txn->txn, table, NULL, 0, &cursor); fault == 0; fault = lmdb_next(&cursor))
		if (!visit(arg, &cursor.key, &cursor.value))
			break;
	return walked(txn, fault, &cursor);
}
