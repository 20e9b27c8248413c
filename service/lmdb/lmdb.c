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
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "service/lmdb/trap.h"

#define ROOT_TRIES 8
#define CHECK_NS 1000000
#define CHECK_PART 20 /* a twentieth */

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
	case EFBIG:
	case EDQUOT:
		return -FAULT_FULL;
	case MDB_CORRUPTED:
	case MDB_PAGE_NOTFOUND:
	case MDB_INVALID:
	case MDB_VERSION_MISMATCH:
	case MDB_INCOMPATIBLE:
		return -FAULT_CORRUPT;
	case MDB_READERS_FULL:
		return -FAULT_READERS;
	case ENOMEM:
		return -FAULT_INTERNAL;
	default:
		return -FAULT_IO;
	}
}

void
lmdb_fail(struct lmdb *db, const char *why)
{
	const char *none = NULL;

	atomic_compare_exchange_strong(&db->failure, &none, why);
}

int
lmdb_sprung(struct lmdb *db)
{
	lmdb_fail(db, "LMDB met a page that is damaged, missing or unreadable");
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

int
lmdb_left_by_trap(struct lmdb_txn *txn)
{
	if (txn->write) {
		txn->left = true;
		txn->fault = -FAULT_CORRUPT;
		atomic_store(&txn->db->left_by, gettid());
	}
	return lmdb_sprung(txn->db);
}

bool
lmdb_failed(const struct lmdb *db)
{
	return lmdb_failure(db) != NULL;
}

const char *
lmdb_failure(const struct lmdb *db)
{
	return atomic_load_explicit(&db->failure, memory_order_relaxed);
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
	for (unsigned i = 0; i < LMDB_TABLES_MAX; i++)
		descent_walk_free(txn->spare[i]);
	if (!txn->left && txn->txn != NULL)
		mdb_txn_abort(txn->txn);
	free(txn);
}

/* LMDB reads the two meta pages here. They too may be missing or unreadable, so a trap is set. */
static int
try_begin(struct lmdb_txn *txn, unsigned flags)
{
	sigjmp_buf trap;
	int rc;

	if (sigsetjmp(trap, 0) != 0) {
		/* It may have the writer's lock. */
		if ((flags & MDB_RDONLY) == 0)
			atomic_store(&txn->db->left_by, gettid());
		return lmdb_sprung(txn->db);
	}
	trap_set(&trap);
	rc = txn->begun ? mdb_txn_renew(txn->txn) : mdb_txn_begin(txn->db->env, NULL, flags, &txn->txn);
	trap_clear();
	return lmdb_fault_of(rc);
}

static int
begin_read(struct lmdb_txn *txn)
{
	int fault;

	if ((fault = try_begin(txn, MDB_RDONLY)) == -FAULT_READERS) {
		/* Processes that were killed have left their slots. */
		lmdb_reader_check(txn->db);
		fault = try_begin(txn, MDB_RDONLY);
	}
	if (fault == 0)
		txn->begun = true;
	else if (fault == -FAULT_READERS)
		atomic_store(&txn->db->readers_full, true);
	return fault;
}

int
lmdb_read(struct lmdb_txn *txn)
{
	int fault;

	if (lmdb_failed(txn->db))
		return -FAULT_IO;
	/* Of a snapshot whose meta page is a later commit's already the root is not known. */
	for (unsigned tries = 0; tries < ROOT_TRIES; tries++) {
		if ((fault = begin_read(txn)) != 0 || (fault = lmdb_take_root(txn)) == 0)
			return fault;
		mdb_txn_reset(txn->txn);
		if (fault != -FAULT_NOT_FOUND)
			return fault;
	}
	/* Then LMDB is asked for it. */
	return begin_read(txn);
}

void
lmdb_read_end(struct lmdb_txn *txn)
{
	mdb_txn_reset(txn->txn);
}

uint64_t
lmdb_snapshot(const struct lmdb_txn *txn)
{
	return mdb_txn_id(txn->txn);
}

/* Record a failure from which the database recovers only by being opened anew. */
static int
judge(struct lmdb *db, int fault)
{
	if (fault == -FAULT_IO)
		lmdb_fail(db, "a write or a sync failed");
	else if (fault == -FAULT_CORRUPT)
		lmdb_fail(db, "LMDB met a damaged page in a write");
	return fault;
}

static int64_t
clock_ns(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

/*
 * Validate the pages that every commit changes. LMDB is not called here, so a trap that springs does
 * not leave it half-way.
 */
static int
check_pages(struct lmdb_txn *txn)
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

/*
 * The list of free pages is validated as a whole, as one wrong number in it may overwrite a page in use. That takes 0.3 ms
 * for each GiB of free pages. So that it does not slow down every commit, a list that takes more than CHECK_NS is not
 * validated before each of them, but as often as takes CHECK_PART of the time. Processor time is measured: in that of the
 * wall, a check that had to wait would count as a long one.
 */
static int
check_writable(struct lmdb_txn *txn)
{
	struct lmdb *db = txn->db;
	int64_t took_ns;
	int fault;

	if (db->next_check_ns != 0 && clock_ns(CLOCK_BOOTTIME) < db->next_check_ns)
		return 0;
	took_ns = -clock_ns(CLOCK_THREAD_CPUTIME_ID);
	fault = check_pages(txn);
	took_ns += clock_ns(CLOCK_THREAD_CPUTIME_ID);
	db->next_check_ns = fault == 0 && took_ns > CHECK_NS ? clock_ns(CLOCK_BOOTTIME) + took_ns * CHECK_PART : 0;
	return fault;
}

int
lmdb_write(struct lmdb_txn *txn)
{
	int fault;

	assert(txn->txn == NULL);
	if (lmdb_failed(txn->db) || !lmdb_in_place(txn->db))
		return -FAULT_IO;
	fault = try_begin(txn, 0);
	txn->write = fault == 0;
	txn->fault = 0;
	txn->changes = 0;
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
		lmdb_left_by_trap(txn);
		return EIO;
	}
	trap_set(&trap);
	rc = mdb_txn_commit(txn->txn);
	trap_clear();
	return rc;
}

/*
 * Must this write transaction not go on? A call with it may have failed whose fault the caller does not look at, or a
 * trap may have sprung in another thread.
 */
static bool
is_spoilt(struct lmdb_txn *txn)
{
	if (txn->fault == 0 && lmdb_failed(txn->db))
		txn->fault = -FAULT_IO;
	return txn->fault != 0;
}

int
lmdb_commit(struct lmdb_txn *txn)
{
	int rc;

	assert(txn->write);
	if (is_spoilt(txn)) {
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
	if (!txn->left)
		mdb_txn_abort(txn->txn);
	txn->txn = NULL;
	txn->write = false;
}

int
lmdb_fault(const struct lmdb_txn *txn)
{
	return txn->fault;
}

/* ---- writing ---- */

/*
 * Before LMDB writes: validate the pages that it will change. A deletion may merge a page with its
 * neighbour, so those are validated, too. Pages that this transaction has already changed are not in
 * the file; they are copies of pages that were validated.
 */
static int
check_before_write(struct lmdb_txn *txn, unsigned table, const void *key, size_t key_len, bool deletes)
{
	int fault = lmdb_descend(txn, table, key, key_len, deletes, NULL);

	txn->written[table] = true;
	return fault == -FAULT_NOT_FOUND ? 0 : fault;
}

static int
try_put(struct lmdb_txn *txn, unsigned table, MDB_val *k, MDB_val *v)
{
	sigjmp_buf trap;
	int rc;

	if (sigsetjmp(trap, 0) != 0)
		return lmdb_left_by_trap(txn);
	trap_set(&trap);
	rc = mdb_put(txn->txn, txn->db->tables[table], k, v, 0);
	trap_clear();
	return lmdb_fault_of(rc);
}

void
lmdb_put(struct lmdb_txn *txn, unsigned table, const void *key, size_t key_len, const void *value, size_t len)
{
	MDB_val k = lmdb_val(key, key_len), v = lmdb_val(value, len);

	assert(key_len <= LMDB_KEY_MAX && len <= LMDB_VALUE_MAX);
	if (!is_spoilt(txn) && (txn->fault = check_before_write(txn, table, key, key_len, false)) == 0)
		txn->fault = judge(txn->db, try_put(txn, table, &k, &v));
	txn->changes++;
}

static int
try_del(struct lmdb_txn *txn, unsigned table, MDB_val *k)
{
	sigjmp_buf trap;
	int rc;

	if (sigsetjmp(trap, 0) != 0)
		return lmdb_left_by_trap(txn);
	trap_set(&trap);
	rc = mdb_del(txn->txn, txn->db->tables[table], k, NULL);
	trap_clear();
	return lmdb_fault_of(rc);
}

void
lmdb_del(struct lmdb_txn *txn, unsigned table, const void *key, size_t key_len)
{
	MDB_val k = lmdb_val(key, key_len);
	int fault;

	if (is_spoilt(txn) || (txn->fault = check_before_write(txn, table, key, key_len, true)) != 0)
		return;
	txn->changes++;
	/* A missing entry means that two indexes disagree. This change fails; the database does not. */
	fault = try_del(txn, table, &k);
	txn->fault = fault == -FAULT_NOT_FOUND ? -FAULT_CORRUPT : judge(txn->db, fault);
}

/* ---- space ---- */

static int
allocate(int fd, uint64_t from, uint64_t to)
{
	return fallocate(fd, FALLOC_FL_KEEP_SIZE, (off_t)from, (off_t)(to - from));
}

/* Reserve ${bytes}; if there is room also ${more}, so that the next few commits need no system call. */
static int
reserve(struct lmdb *db, uint64_t bytes, uint64_t more)
{
	uint64_t end = lmdb_counted_bytes(db) + bytes;
	mdb_filehandle_t fd;
	struct rlimit limit;

	/* A write that crosses the limit is cut short, which LMDB takes for an I/O error. */
	if (getrlimit(RLIMIT_FSIZE, &limit) == 0 && end > limit.rlim_cur)
		return -FAULT_FULL;
	if (end <= db->reserved_to)
		return 0;
	mdb_env_get_fd(db->env, &fd);
	/* KEEP_SIZE: LMDB manages the file's size itself. */
	if (allocate(fd, db->reserved_to, end + more) == 0)
		db->reserved_to = end + more;
	else if ((errno == ENOSPC || errno == EFBIG || errno == EDQUOT) && allocate(fd, db->reserved_to, end) != 0)
		return -FAULT_FULL;
	else
		db->reserved_to = end;
	return 0;
}

int
lmdb_reserve(struct lmdb *db, uint64_t bytes)
{
	return reserve(db, bytes, bytes);
}

int
lmdb_reserve_commit(struct lmdb_txn *txn, uint64_t small)
{
	/* A change rewrites a leaf, and may split it. But no page is rewritten twice, and two records fit a page. */
	uint64_t page = txn->db->page_bytes, most = txn->changes * 2 * page, other;

	if (most <= small || is_spoilt(txn))
		return 0;
	other = lmdb_used_bytes(txn) + txn->changes * page / 2;
	return reserve(txn->db, small + (most < other ? most : other), 0);
}
