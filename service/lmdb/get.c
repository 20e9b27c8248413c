/*
 * get.c - entries, and the certainty that there is none (see lmdb.h). A read transaction's keys are found by reader.c in the
 * pages themselves, a write transaction's by LMDB.
 */
#include "service/lmdb/internal.h"

#include <assert.h>
#include <string.h>

#include "service/base/log.h"
#include "service/lmdb/reader.h"
#include "service/lmdb/trap.h"

/* LMDB's interface takes keys and values as void *, but does not write to them. */
MDB_val
lmdb_val(const void *data, size_t len)
{
	union {
		const void *in;
		void *out;
	} u = { .in = data };

	return (MDB_val){ .mv_data = u.out, .mv_size = len };
}

/*
 * Copy what LMDB found to ${to}, which has ${size} bytes. Called with the trap set: in a damaged page
 * the value's address and its length may both be wrong.
 */
int
lmdb_copy_out(const MDB_val *from, uint8_t *to, size_t size, struct lmdb_value *value)
{
	if (from->mv_size > size)
		return MDB_CORRUPTED;
	memcpy(to, from->mv_data, from->mv_size);
	*value = (struct lmdb_value){ .data = to, .len = from->mv_size };
	return 0;
}

/* ---- the snapshot's root, and its tables ---- */

/* Two commits with one number do not exist, so what was read of a commit stays true. */
int
lmdb_take_root(struct lmdb_txn *txn)
{
	uint64_t txnid = mdb_txn_id(txn->txn);
	sigjmp_buf trap;
	int fault;

	if (txn->rooted && txn->root_txnid == txnid)
		return 0;
	txn->rooted = false;
	memset(txn->known, 0, sizeof(txn->known));
	if (sigsetjmp(trap, 0) != 0)
		return -FAULT_CORRUPT;
	trap_set(&trap);
	fault = descent_root(&txn->db->map, txnid, &txn->root);
	trap_clear();
	txn->pages = txn->db->map;
	if (fault == 0) {
		txn->rooted = true;
		txn->root_txnid = txnid;
		txn->pages.n_pages = txn->root.n_pages;
	}
	return fault;
}

/* A table's record, from LMDB itself. The page that it is read from is not validated. */
static int
ask_tree(struct lmdb_txn *txn, const char *name, struct descent_tree *tree)
{
	MDB_val k = lmdb_val(name, strlen(name)), v;
	int rc;

	if ((rc = mdb_get(txn->txn, LMDB_ALL_TABLES, &k, &v)) == 0 && v.mv_size != sizeof(*tree))
		rc = MDB_CORRUPTED;
	if (rc == 0)
		memcpy(tree, v.mv_data, sizeof(*tree));
	return rc == MDB_NOTFOUND ? -FAULT_CORRUPT : lmdb_fault_of(rc);
}

/*
 * A table's record as of this transaction's snapshot. A write transaction gets the last commit's record, as its own changes
 * are not in the file yet. LMDB is asked only when every try to find the root met a newer commit's.
 * Called with a trap set.
 */
int
lmdb_find_tree(struct lmdb_txn *txn, unsigned table, struct descent_tree *tree)
{
	const char *name = txn->db->names[table];
	struct descent_root root;
	int fault;

	if (txn->write) {
		txn->pages = txn->db->map;
		fault = descent_root(&txn->db->map, mdb_txn_id(txn->txn) - 1, &root);
		return fault == 0 ? descent_table(&txn->db->map, &root, name, tree) : fault;
	}
	if (!txn->rooted)
		return ask_tree(txn, name, tree);
	if (!txn->known[table]) {
		if ((fault = descent_table(&txn->pages, &txn->root, name, &txn->trees[table])) != 0)
			return fault;
		txn->known[table] = true;
	}
	*tree = txn->trees[table];
	return 0;
}

/* ---- damage ---- */

/* One line for each page; the first DAMAGED_TOLD of them. */
void
lmdb_tell_damage(struct lmdb_txn *txn, uint64_t page)
{
	struct lmdb *db = txn->db;

	for (unsigned i = 0; i < DAMAGED_TOLD; i++) {
		uint64_t told = 0;

		/* Page 0 is a meta page, so 0 means none. */
		if (atomic_compare_exchange_strong(&db->damaged[i], &told, page)) {
			LOG(LOG_ERROR, "a page of the database is damaged: keys on it or below it cannot be verified",
			    LOG_S("path", db->path), LOG_I("page", page));
			return;
		}
		if (told == page)
			return;
	}
}

/* ---- found ---- */

static void
take(struct lmdb_query *q, const struct reader_search *search)
{
	q->fault = search->value == NULL ? -FAULT_NOT_FOUND : search->len > q->room ? -FAULT_CORRUPT : 0;
	q->len = search->len;
	q->page = search->number;
	if (q->fault == 0)
		memcpy(q->to, search->value, search->len);
}

/* Returns false when a page cannot be read. */
static bool
try_gets(struct lmdb_txn *txn, unsigned table, struct lmdb_query *queries, size_t n)
{
	struct reader_search searches[LMDB_PASS];
	struct descent_tree tree;
	sigjmp_buf trap;
	int fault;

	if (sigsetjmp(trap, 0) != 0)
		return false;
	trap_set(&trap);
	if ((fault = lmdb_find_tree(txn, table, &tree)) == 0) {
		for (size_t i = 0; i < n; i++)
			searches[i].key = (struct page_key){ queries[i].key, queries[i].key_len };
		reader_find(&txn->pages, &tree, searches, n);
	}
	for (size_t i = 0; i < n; i++) {
		if (fault != 0)
			queries[i].fault = fault;
		else
			take(&queries[i], &searches[i]);
	}
	trap_clear();
	return true;
}

void
lmdb_gets(struct lmdb_txn *txn, unsigned table, struct lmdb_query *queries, size_t n)
{
	assert(n <= LMDB_PASS && !txn->write);
	if (try_gets(txn, table, queries, n))
		return;
	/* One of the pages cannot be read. Only the keys whose way leads through it have failed. */
	for (size_t i = 0; i < n; i++)
		if (!try_gets(txn, table, &queries[i], 1))
			queries[i].fault = -FAULT_CORRUPT;
}

static int
get_from_lmdb(struct lmdb_txn *txn, unsigned table, const void *key, size_t key_len, struct lmdb_value *value)
{
	MDB_val k = lmdb_val(key, key_len), v;
	sigjmp_buf trap;
	int rc;

	if (sigsetjmp(trap, 0) != 0)
		return lmdb_left_by_trap(txn);
	trap_set(&trap);
	if ((rc = mdb_get(txn->txn, txn->db->tables[table], &k, &v)) == 0)
		rc = lmdb_copy_out(&v, txn->value, sizeof(txn->value), value);
	trap_clear();
	return lmdb_fault_of(rc);
}

int
lmdb_get(struct lmdb_txn *txn, unsigned table, const void *key, size_t key_len, struct lmdb_value *value)
{
	struct lmdb_query q = { .key = key, .key_len = key_len, .to = txn->value, .room = sizeof(txn->value) };

	if (txn->write)
		return get_from_lmdb(txn, table, key, key_len, value);
	lmdb_gets(txn, table, &q, 1);
	*value = (struct lmdb_value){ .data = txn->value, .len = q.len };
	return q.fault;
}

/* ---- validated ---- */

static int
copy_entry(const struct descent_entry *from, struct lmdb_entry *to)
{
	to->key_len = from->key_len;
	to->len = from->len;
	if (from->key_len == 0)
		return 0;
	if (from->key_len > sizeof(to->key) || from->len > sizeof(to->value))
		return -FAULT_CORRUPT;
	memcpy(to->key, from->key, from->key_len);
	memcpy(to->value, from->value, from->len);
	return 0;
}

/*
 * Validate the pages that lead to ${key}; with ${beside}, also the pages next to them. When ${key} is
 * absent and ${gap} is not NULL, *${gap} gets its neighbours.
 */
int
lmdb_descend(struct lmdb_txn *txn, unsigned table, const void *key, size_t key_len, bool beside, struct lmdb_gap *gap)
{
	struct descent_tree tree;
	struct descent_gap found = { 0 };
	sigjmp_buf trap;
	int fault;

	if (sigsetjmp(trap, 0) != 0)
		return -FAULT_CORRUPT;
	trap_set(&trap);
	if ((fault = lmdb_find_tree(txn, table, &tree)) == 0)
		fault = beside ? descent_beside(&txn->pages, &tree, key, key_len) :
				 descent_find(&txn->pages, &tree, key, key_len, &found);
	if (fault == -FAULT_NOT_FOUND && gap != NULL &&
	    (copy_entry(&found.before, &gap->before) != 0 || copy_entry(&found.behind, &gap->behind) != 0))
		fault = -FAULT_CORRUPT;
	trap_clear();
	if (fault == -FAULT_CORRUPT && !beside)
		lmdb_tell_damage(txn, found.damaged);
	return fault;
}

int
lmdb_prove_absent(struct lmdb_txn *txn, unsigned table, const void *key, size_t key_len, struct lmdb_gap *gap)
{
	int fault;

	if ((fault = lmdb_descend(txn, table, key, key_len, false, gap)) != 0)
		return fault;
	/* The file has the key and LMDB does not find it: correct only if this transaction deleted it. */
	gap->before.key_len = gap->behind.key_len = 0;
	return txn->write && txn->written[table] ? -FAULT_NOT_FOUND : -FAULT_CORRUPT;
}
