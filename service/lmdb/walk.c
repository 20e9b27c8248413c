/*
 * walk.c - walks through a table, and how large it is (see lmdb.h). A read transaction walks the pages themselves, which
 * descent.c validates; a write transaction's changes are known to LMDB alone.
 */
#include "service/lmdb/internal.h"

#include <string.h>

#include "service/lmdb/trap.h"

/* ---- in a read transaction ---- */

/* What a step of the walk came to, ${fault} and ${entry}. Damage fails this walk, and nothing else. */
static int
take(struct lmdb_cursor *cursor, int fault, const struct descent_entry *entry)
{
	if (fault == -FAULT_CORRUPT)
		lmdb_tell_damage(cursor->txn, descent_damaged(cursor->walk));
	if (fault != 0)
		return fault;
	if (entry->key_len > sizeof(cursor->key_bytes) || entry->len > sizeof(cursor->value_bytes))
		return -FAULT_CORRUPT;
	memcpy(cursor->key_bytes, entry->key, entry->key_len);
	memcpy(cursor->value_bytes, entry->value, entry->len);
	cursor->key = (struct lmdb_value){ cursor->key_bytes, entry->key_len };
	cursor->value = (struct lmdb_value){ cursor->value_bytes, entry->len };
	return 0;
}

static int
seek_pages(struct lmdb_cursor *cursor, const void *key, size_t key_len)
{
	struct lmdb_txn *txn = cursor->txn;
	struct descent_entry entry;
	struct descent_tree tree;
	sigjmp_buf trap;
	int fault;

	cursor->walk = txn->spare[cursor->table];
	txn->spare[cursor->table] = NULL;
	if (cursor->walk == NULL && (cursor->walk = descent_walk_new()) == NULL)
		return -FAULT_INTERNAL;
	if (sigsetjmp(trap, 0) != 0)
		return -FAULT_CORRUPT;
	trap_set(&trap);
	if ((fault = lmdb_find_tree(txn, cursor->table, &tree)) == 0)
		fault = take(cursor, descent_seek(cursor->walk, &txn->pages, &tree, key, key_len, &entry), &entry);
	trap_clear();
	return fault;
}

static int
next_in_pages(struct lmdb_cursor *cursor)
{
	struct descent_entry entry;
	sigjmp_buf trap;
	int fault;

	if (sigsetjmp(trap, 0) != 0)
		return -FAULT_CORRUPT;
	trap_set(&trap);
	fault = take(cursor, descent_next(cursor->walk, &entry), &entry);
	trap_clear();
	return fault;
}

/* ---- in a write transaction ---- */

static int
move(struct lmdb_cursor *cursor, MDB_val *k, MDB_cursor_op op)
{
	sigjmp_buf trap;
	MDB_val v;
	int rc;

	if (sigsetjmp(trap, 0) != 0)
		return lmdb_left_by_trap(cursor->txn);
	trap_set(&trap);
	if ((rc = mdb_cursor_get(cursor->cursor, k, &v, op)) == 0 &&
	    (rc = lmdb_copy_out(k, cursor->key_bytes, sizeof(cursor->key_bytes), &cursor->key)) == 0)
		rc = lmdb_copy_out(&v, cursor->value_bytes, sizeof(cursor->value_bytes), &cursor->value);
	trap_clear();
	return lmdb_fault_of(rc);
}

static int
open_cursor(struct lmdb_cursor *cursor)
{
	struct lmdb_txn *txn = cursor->txn;
	MDB_cursor *c = NULL;
	sigjmp_buf trap;
	int rc;

	if (sigsetjmp(trap, 0) != 0)
		return lmdb_left_by_trap(txn);
	trap_set(&trap);
	rc = mdb_cursor_open(txn->txn, txn->db->tables[cursor->table], &c);
	trap_clear();
	if (rc == 0)
		cursor->cursor = c;
	return lmdb_fault_of(rc);
}

/* ---- both ---- */

int
lmdb_seek(struct lmdb_txn *txn, unsigned table, const void *key, size_t key_len, struct lmdb_cursor *cursor)
{
	MDB_val k = lmdb_val(key, key_len);
	int fault;

	cursor->txn = txn;
	cursor->table = table;
	cursor->cursor = NULL;
	cursor->walk = NULL;
	if (!txn->write)
		return seek_pages(cursor, key, key_len);
	if ((fault = open_cursor(cursor)) != 0)
		return fault;
	return move(cursor, &k, key_len > 0 ? MDB_SET_RANGE : MDB_FIRST);
}

int
lmdb_next(struct lmdb_cursor *cursor)
{
	MDB_val k;

	return cursor->walk != NULL ? next_in_pages(cursor) : move(cursor, &k, MDB_NEXT);
}

void
lmdb_cursor_end(struct lmdb_cursor *cursor)
{
	struct lmdb_txn *txn = cursor->txn;

	if (cursor->cursor != NULL && !txn->left)
		mdb_cursor_close(cursor->cursor);
	cursor->cursor = NULL;
	if (cursor->walk != NULL && txn->spare[cursor->table] == NULL)
		txn->spare[cursor->table] = cursor->walk;
	else
		descent_walk_free(cursor->walk);
	cursor->walk = NULL;
}

/* ---- how large a table is ---- */

/* What LMDB counts of a table in this transaction, in the form of the table's record. */
static bool
ask_counts(struct lmdb_txn *txn, unsigned table, struct descent_tree *tree)
{
	sigjmp_buf trap;
	MDB_stat stat;
	int rc;

	if (sigsetjmp(trap, 0) != 0) {
		lmdb_left_by_trap(txn);
		return false;
	}
	trap_set(&trap);
	rc = mdb_stat(txn->txn, txn->db->tables[table], &stat);
	trap_clear();
	if (rc != 0)
		return false;
	*tree = (struct descent_tree){
		.branch_pages = stat.ms_branch_pages,
		.leaf_pages = stat.ms_leaf_pages,
		.overflow_pages = stat.ms_overflow_pages,
		.entries = stat.ms_entries,
	};
	return true;
}

static bool
counts(struct lmdb_txn *txn, unsigned table, struct descent_tree *tree)
{
	sigjmp_buf trap;
	int fault;

	if (txn->write)
		return ask_counts(txn, table, tree);
	if (sigsetjmp(trap, 0) != 0)
		return false;
	trap_set(&trap);
	fault = lmdb_find_tree(txn, table, tree);
	trap_clear();
	return fault == 0;
}

uint64_t
lmdb_used_bytes(struct lmdb_txn *txn)
{
	struct descent_tree tree;
	uint64_t pages = 0;

	for (unsigned i = 0; i < txn->db->n_tables; i++)
		if (counts(txn, i, &tree))
			pages += tree.branch_pages + tree.leaf_pages + tree.overflow_pages;
	return pages * txn->db->page_bytes;
}

uint64_t
lmdb_entries(struct lmdb_txn *txn, unsigned table)
{
	struct descent_tree tree;

	return counts(txn, table, &tree) ? tree.entries : 0;
}
