/*
 * lmdb.c - transactions, entries, walks and space of an open database (see lmdb.h). Every call into LMDB that follows
 * pages is made with a trap set (see trap.h).
 */
#include "service/lmdb/internal.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "service/lmdb/trap.h"

struct lmdb_txn {
	struct lmdb *db;
	MDB_txn *txn;
	int fault;
	bool begun; /* a read transaction that can be renewed */
	bool write;
	bool written[LMDB_TABLES_MAX];      /* tables that this write transaction has changed */
	MDB_cursor *spare[LMDB_TABLES_MAX]; /* a read transaction's cursors, renewed instead of allocated */
	uint8_t value[LMDB_VALUE_MAX];
};

int
lmdb_fault_of(int rc)
{
	switch (rc) {
	case MDB_SUCCESS:
		return 0;
	case MDB_NOTFOUND:
		return -FAULT_NOT_FOUND;
	case MDB_MAP_FULL:
	case MDB_TXN_FULL:
	case ENOSPC:
	case EDQUOT:
		return -FAULT_FULL;
	case MDB_CORRUPTED:
	case MDB_PAGE_NOTFOUND:
	case MDB_INVALID:
	case MDB_VERSION_MISMATCH:
	case MDB_INCOMPATIBLE:
		return -FAULT_CORRUPT;
	case ENOMEM:
		return -FAULT_INTERNAL;
	default:
		return -FAULT_IO;
	}
}

int
lmdb_sprung(struct lmdb *db)
{
	atomic_store(&db->sprung, true);
	atomic_store(&db->failed, true);
	return -FAULT_CORRUPT;
}

uint64_t
lmdb_counted_bytes(struct lmdb *db)
{
	MDB_envinfo info;
	sigjmp_buf trap;

	if (sigsetjmp(trap, 0) != 0) {
		lmdb_sprung(db);
		return 0;
	}
	trap_set(&trap);
	mdb_env_info(db->env, &info);
	trap_clear();
	return ((uint64_t)info.me_last_pgno + 1) * db->page_bytes;
}
bool
lmdb_failed(const struct lmdb *db)
{
	return atomic_load_explicit(&db->failed, memory_order_relaxed);
}

/* ---- transactions ---- */

struct lmdb_txn *
lmdb_txn_new(struct lmdb *db)
{
	struct lmdb_txn *txn;

	if ((txn = calloc(1, sizeof(*txn))) != NULL)
		txn->db = db;
	return txn;
}

void
lmdb_txn_free(struct lmdb_txn *txn)
{
	if (txn == NULL)
		return;
	if (!atomic_load(&txn->db->sprung)) {
		for (unsigned i = 0; i < LMDB_TABLES_MAX; i++)
			if (txn->spare[i] != NULL)
				mdb_cursor_close(txn->spare[i]);
		if (txn->txn != NULL)
			mdb_txn_abort(txn->txn);
	}
	free(txn);
}

/* LMDB reads the two meta pages here. They too may be missing or unreadable, so a trap is set. */
static int
try_begin(struct lmdb_txn *txn, unsigned flags)
{
	sigjmp_buf trap;
	int rc;

	if (sigsetjmp(trap, 0) != 0)
		return lmdb_sprung(txn->db);
	trap_set(&trap);
	rc = txn->begun ? mdb_txn_renew(txn->txn) : mdb_txn_begin(txn->db->env, NULL, flags, &txn->txn);
	trap_clear();
	return lmdb_fault_of(rc);
}

int
lmdb_read(struct lmdb_txn *txn)
{
	int fault;

	if (lmdb_failed(txn->db))
		return -FAULT_IO;
	if ((fault = try_begin(txn, MDB_RDONLY)) == 0)
		txn->begun = true;
	return fault;
}

void
lmdb_read_end(struct lmdb_txn *txn)
{
	mdb_txn_reset(txn->txn);
}

/* Record a failure from which only a restart recovers. */
static int
judge(struct lmdb *db, int fault)
{
	if (fault == -FAULT_IO || fault == -FAULT_CORRUPT)
		atomic_store(&db->failed, true);
	return fault;
}

/*
 * Validate the pages that every commit changes. LMDB is not called here, so a trap that springs does
 * not leave it half-way.
 */
static int
check_writable(struct lmdb_txn *txn)
{
	sigjmp_buf trap;
	int fault;

	if (sigsetjmp(trap, 0) != 0)
		return -FAULT_CORRUPT;
	trap_set(&trap);
	fault = descent_writable(&txn->db->map, mdb_txn_id(txn->txn) - 1);
	trap_clear();
	return fault;
}

int
lmdb_write(struct lmdb_txn *txn)
{
	int fault;

	assert(txn->txn == NULL);
	if (lmdb_failed(txn->db))
		return -FAULT_IO;
	fault = try_begin(txn, 0);
	txn->write = fault == 0;
	txn->fault = 0;
	memset(txn->written, 0, sizeof(txn->written));
	if (fault != 0)
		return judge(txn->db, fault);
	/* This does not fail the database: what is there can still be read. */
	if ((fault = check_writable(txn)) != 0)
		lmdb_abort(txn);
	return fault;
}

/*
 * A transaction may take pages at the end of the file and free them again. LMDB 0.9.24 then counts
 * them but does not write them (in one of a thousand transactions that empty a table). No data is
 * missing, but at the next start check_whole() would find the file too short. If this fails, the next
 * commit tries again.
 */
static void
make_whole(struct lmdb *db)
{
	uint64_t needed = lmdb_counted_bytes(db);
	mdb_filehandle_t fd;
	struct stat st;

	mdb_env_get_fd(db->env, &fd);
	if (fstat(fd, &st) == 0 && (uint64_t)st.st_size < needed && ftruncate(fd, (off_t)needed) == 0)
		(void)fdatasync(fd);
}

static int
try_commit(struct lmdb_txn *txn)
{
	sigjmp_buf trap;
	int rc;

	if (sigsetjmp(trap, 0) != 0) {
		lmdb_sprung(txn->db);
		return EIO;
	}
	trap_set(&trap);
	rc = mdb_txn_commit(txn->txn);
	trap_clear();
	return rc;
}

int
lmdb_commit(struct lmdb_txn *txn)
{
	int rc;

	assert(txn->write);
	if (txn->fault != 0) {
		rc = txn->fault;
		lmdb_abort(txn);
		return rc;
	}
	rc = try_commit(txn);
	txn->txn = NULL;
	txn->write = false;
	if (rc == 0)
		make_whole(txn->db);
	return judge(txn->db, lmdb_fault_of(rc));
}

void
lmdb_abort(struct lmdb_txn *txn)
{
	assert(txn->write);
	if (!atomic_load(&txn->db->sprung))
		mdb_txn_abort(txn->txn);
	txn->txn = NULL;
	txn->write = false;
}

int
lmdb_fault(const struct lmdb_txn *txn)
{
	return txn->fault;
}

/* ---- entries ---- */

/* LMDB's interface takes keys and values as void *, but does not write to them. */
static MDB_val
val(const void *data, size_t len)
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
static int
copy_out(const MDB_val *from, uint8_t *to, size_t size, struct lmdb_value *value)
{
	if (from->mv_size > size)
		return MDB_CORRUPTED;
	memcpy(to, from->mv_data, from->mv_size);
	*value = (struct lmdb_value){ .data = to, .len = from->mv_size };
	return 0;
}

int
lmdb_get(struct lmdb_txn *txn, unsigned table, const void *key, size_t key_len, struct lmdb_value *value)
{
	MDB_val k = val(key, key_len), v;
	sigjmp_buf trap;
	int rc;

	if (sigsetjmp(trap, 0) != 0)
		return lmdb_sprung(txn->db);
	trap_set(&trap);
	if ((rc = mdb_get(txn->txn, txn->db->tables[table], &k, &v)) == 0)
		rc = copy_out(&v, txn->value, sizeof(txn->value), value);
	trap_clear();
	/* LMDB reports damage that it met on the way to a table's root page as MDB_BAD_TXN. */
	if (rc == MDB_BAD_TXN && !txn->write)
		rc = MDB_CORRUPTED;
	return lmdb_fault_of(rc);
}

/* A table's record, from LMDB itself. The page that it is read from is not validated. */
static int
ask_tree(struct lmdb_txn *txn, const char *name, struct descent_tree *tree)
{
	MDB_val k = val(name, strlen(name)), v;
	int rc;

	if ((rc = mdb_get(txn->txn, LMDB_ALL_TABLES, &k, &v)) == 0 && v.mv_size != sizeof(*tree))
		rc = MDB_CORRUPTED;
	if (rc == 0)
		memcpy(tree, v.mv_data, sizeof(*tree));
	return rc == MDB_NOTFOUND ? -FAULT_CORRUPT : lmdb_fault_of(rc);
}

/*
 * A table's record as of this transaction's snapshot, from validated pages. A write transaction gets
 * the last commit's record, as its own changes are not in the file yet. LMDB is asked only when two
 * commits have been made since the snapshot, as its meta page is overwritten then.
 * Called with a trap set.
 */
static int
find_tree(struct lmdb_txn *txn, unsigned table, struct descent_tree *tree)
{
	uint64_t txnid = mdb_txn_id(txn->txn);
	const char *name = txn->db->names[table];
	int fault;

	fault = descent_table(&txn->db->map, txn->write ? txnid - 1 : txnid, name, tree);
	return fault == -FAULT_NOT_FOUND ? ask_tree(txn, name, tree) : fault;
}

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
static int
descend(struct lmdb_txn *txn, unsigned table, const void *key, size_t key_len, bool beside, struct lmdb_gap *gap)
{
	struct descent_tree tree;
	struct descent_gap found;
	sigjmp_buf trap;
	int fault;

	if (sigsetjmp(trap, 0) != 0)
		return -FAULT_CORRUPT;
	trap_set(&trap);
	if ((fault = find_tree(txn, table, &tree)) == 0)
		fault = beside ? descent_beside(&txn->db->map, &tree, key, key_len) :
				 descent_find(&txn->db->map, &tree, key, key_len, &found);
	if (fault == -FAULT_NOT_FOUND && gap != NULL &&
	    (copy_entry(&found.before, &gap->before) != 0 || copy_entry(&found.behind, &gap->behind) != 0))
		fault = -FAULT_CORRUPT;
	trap_clear();
	return fault;
}

int
lmdb_prove_absent(struct lmdb_txn *txn, unsigned table, const void *key, size_t key_len, struct lmdb_gap *gap)
{
	int fault;

	if ((fault = descend(txn, table, key, key_len, false, gap)) != 0)
		return fault;
	/* The file has the key and LMDB does not find it: correct only if this transaction deleted it. */
	gap->before.key_len = gap->behind.key_len = 0;
	return txn->write && txn->written[table] ? -FAULT_NOT_FOUND : -FAULT_CORRUPT;
}

/*
 * Before LMDB writes: validate the pages that it will change. A deletion may merge a page with its
 * neighbour, so those are validated, too. Pages that this transaction has already changed are not in
 * the file; they are copies of pages that were validated.
 */
static int
check_before_write(struct lmdb_txn *txn, unsigned table, const void *key, size_t key_len, bool deletes)
{
	int fault = descend(txn, table, key, key_len, deletes, NULL);

	txn->written[table] = true;
	return fault == -FAULT_NOT_FOUND ? 0 : fault;
}

static int
try_put(struct lmdb_txn *txn, unsigned table, MDB_val *k, MDB_val *v)
{
	sigjmp_buf trap;
	int rc;

	if (sigsetjmp(trap, 0) != 0)
		return lmdb_sprung(txn->db);
	trap_set(&trap);
	rc = mdb_put(txn->txn, txn->db->tables[table], k, v, 0);
	trap_clear();
	return lmdb_fault_of(rc);
}

void
lmdb_put(struct lmdb_txn *txn, unsigned table, const void *key, size_t key_len, const void *value, size_t len)
{
	MDB_val k = val(key, key_len), v = val(value, len);

	assert(key_len <= LMDB_KEY_MAX && len <= LMDB_VALUE_MAX);
	if (txn->fault == 0 && (txn->fault = check_before_write(txn, table, key, key_len, false)) == 0)
		txn->fault = judge(txn->db, try_put(txn, table, &k, &v));
}

static int
try_del(struct lmdb_txn *txn, unsigned table, MDB_val *k)
{
	sigjmp_buf trap;
	int rc;

	if (sigsetjmp(trap, 0) != 0)
		return lmdb_sprung(txn->db);
	trap_set(&trap);
	rc = mdb_del(txn->txn, txn->db->tables[table], k, NULL);
	trap_clear();
	return lmdb_fault_of(rc);
}

void
lmdb_del(struct lmdb_txn *txn, unsigned table, const void *key, size_t key_len)
{
	MDB_val k = val(key, key_len);
	int fault;

	if (txn->fault != 0 || (txn->fault = check_before_write(txn, table, key, key_len, true)) != 0)
		return;
	/* A missing entry means that two indexes disagree. This change fails; the database does not. */
	fault = try_del(txn, table, &k);
	txn->fault = fault == -FAULT_NOT_FOUND ? -FAULT_CORRUPT : judge(txn->db, fault);
}

/* ---- walks ---- */

static int
move(struct lmdb_cursor *cursor, MDB_val *k, MDB_cursor_op op)
{
	sigjmp_buf trap;
	MDB_val v;
	int rc;

	if (sigsetjmp(trap, 0) != 0)
		return lmdb_sprung(cursor->txn->db);
	trap_set(&trap);
	if ((rc = mdb_cursor_get(cursor->cursor, k, &v, op)) == 0 &&
	    (rc = copy_out(k, cursor->key_bytes, sizeof(cursor->key_bytes), &cursor->key)) == 0)
		rc = copy_out(&v, cursor->value_bytes, sizeof(cursor->value_bytes), &cursor->value);
	trap_clear();
	return lmdb_fault_of(rc);
}

static int
try_open_cursor(struct lmdb_cursor *cursor, MDB_cursor **c)
{
	struct lmdb_txn *txn = cursor->txn;
	sigjmp_buf trap;
	int rc;

	if (sigsetjmp(trap, 0) != 0)
		return lmdb_sprung(txn->db);
	trap_set(&trap);
	rc = *c == NULL ? mdb_cursor_open(txn->txn, txn->db->tables[cursor->table], c) : mdb_cursor_renew(txn->txn, *c);
	trap_clear();
	return lmdb_fault_of(rc);
}

/* A read transaction keeps its cursors, so that a walk allocates nothing. */
static int
open_cursor(struct lmdb_cursor *cursor)
{
	struct lmdb_txn *txn = cursor->txn;
	MDB_cursor *c = NULL;
	int fault;

	if (!txn->write) {
		c = txn->spare[cursor->table];
		txn->spare[cursor->table] = NULL;
	}
	fault = try_open_cursor(cursor, &c);
	cursor->cursor = fault == 0 ? c : NULL;
	/* A cursor that could not be renewed is kept, so that lmdb_txn_free() closes it. */
	if (fault != 0 && !txn->write)
		txn->spare[cursor->table] = c;
	return fault;
}

int
lmdb_seek(struct lmdb_txn *txn, unsigned table, const void *key, size_t key_len, struct lmdb_cursor *cursor)
{
	MDB_val k = val(key, key_len);
	int fault;

	cursor->txn = txn;
	cursor->table = table;
	if ((fault = open_cursor(cursor)) != 0)
		return fault;
	return move(cursor, &k, key_len > 0 ? MDB_SET_RANGE : MDB_FIRST);
}

int
lmdb_next(struct lmdb_cursor *cursor)
{
	MDB_val k;

	return move(cursor, &k, MDB_NEXT);
}

void
lmdb_cursor_end(struct lmdb_cursor *cursor)
{
	struct lmdb_txn *txn = cursor->txn;

	if (cursor->cursor != NULL && !atomic_load(&txn->db->sprung)) {
		if (!txn->write && txn->spare[cursor->table] == NULL)
			txn->spare[cursor->table] = cursor->cursor;
		else
			mdb_cursor_close(cursor->cursor);
	}
	cursor->cursor = NULL;
}

/* ---- space ---- */

static bool
table_stat(struct lmdb_txn *txn, unsigned table, MDB_stat *stat)
{
	sigjmp_buf trap;
	int rc;

	if (sigsetjmp(trap, 0) != 0) {
		lmdb_sprung(txn->db);
		return false;
	}
	trap_set(&trap);
	rc = mdb_stat(txn->txn, txn->db->tables[table], stat);
	trap_clear();
	return rc == 0;
}

uint64_t
lmdb_used_bytes(struct lmdb_txn *txn)
{
	uint64_t pages = 0;
	MDB_stat stat;

	for (unsigned i = 0; i < txn->db->n_tables; i++)
		if (table_stat(txn, i, &stat))
			pages += stat.ms_branch_pages + stat.ms_leaf_pages + stat.ms_overflow_pages;
	return pages * txn->db->page_bytes;
}

uint64_t
lmdb_entries(struct lmdb_txn *txn, unsigned table)
{
	MDB_stat stat;

	return table_stat(txn, table, &stat) ? stat.ms_entries : 0;
}

static int
allocate(int fd, uint64_t from, uint64_t to)
{
	return fallocate(fd, FALLOC_FL_KEEP_SIZE, (off_t)from, (off_t)(to - from));
}

int
lmdb_reserve(struct lmdb *db, uint64_t bytes)
{
	uint64_t end = lmdb_counted_bytes(db) + bytes;
	mdb_filehandle_t fd;

	if (end <= db->reserved_to)
		return 0;
	mdb_env_get_fd(db->env, &fd);
	/* Allocate more than is asked for, so that the next few commits need no system call. KEEP_SIZE:
	 * LMDB manages the file's size itself. */
	if (allocate(fd, db->reserved_to, end + bytes) == 0)
		db->reserved_to = end + bytes;
	else if ((errno == ENOSPC || errno == EDQUOT) && allocate(fd, db->reserved_to, end) != 0)
		return -FAULT_FULL;
	else
		db->reserved_to = end;
	return 0;
}

void
lmdb_reader_check(struct lmdb *db)
{
	mdb_reader_check(db->env, NULL);
}
