/*
 * lmdb.c - the only file that knows <lmdb.h>, LMDB's own header. Called by store.c and its parts. Translates every
 * LMDB and system error into a fault, here and nowhere else.
 */
#include "service/lmdb/lmdb.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <lmdb.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "service/lmdb/descent.h"
#include "service/base/folder.h"
#include "service/lmdb/trap.h"

#define TABLES_MAX 16
#define LOCK_BYTES_PER_READER 64 /* a cache line, in LMDB 0.9 */
#define LOCK_HEAD_BYTES 4096

struct lmdb {
	MDB_env *env;
	MDB_dbi tables[TABLES_MAX];
	unsigned n_tables;
	const char *const *names;
	int lock_fd;
	uint64_t page_bytes;
	struct descent_map map; /* of our own, as LMDB tells nobody where it has the file */
	uint64_t reserved_to;   /* the writer's: the file is allocated up to here */
	MDB_cursor *walks[2];   /* while it is opened: where a trap can find them */
	_Atomic bool failed;
	_Atomic bool sprung; /* LMDB was left in the middle of something: it is not to be tidied up */
};

struct lmdb_txn {
	struct lmdb *db;
	MDB_txn *txn;
	int fault;
	bool begun; /* a read transaction that can be renewed */
	bool write;
	bool written[TABLES_MAX];      /* in this write transaction */
	MDB_cursor *spare[TABLES_MAX]; /* of a read transaction, to be renewed instead of allocated */
	uint8_t value[LMDB_VALUE_MAX];
};

static int
fault_of(int rc)
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

/* Of what cannot be opened: a disk that fails is nothing that is set wrongly. */
static int
opening_fault(int rc)
{
	return rc == EIO ? -FAULT_DISK : fault_of(rc);
}

/* A trap has sprung under this database. */
static int
sprung(struct lmdb *db)
{
	atomic_store(&db->sprung, true);
	atomic_store(&db->failed, true);
	return -FAULT_CORRUPT;
}

/* LMDB's own checks of what it reads: the same as a fault. */
static void
on_assert(MDB_env *env, const char *text)
{
	(void)env;
	(void)text;
	trap_spring();
}

/* ---- open and close ---- */

/*
 * One process at a time: a second open in one process would work, and then break LMDB's own locks. Returns a descriptor;
 * -1 with a reason; -3: the same, and the disk fails.
 */
static int
lock_folder(const char *path, char *why, size_t why_len)
{
	char name[4096];
	int fd;

	snprintf(name, sizeof(name), "%s/fobd.lock", path);
	if ((fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600)) < 0) {
		fd = errno == EIO ? -3 : -1;
		snprintf(why, why_len, "%s: cannot use the data folder: %s", path, strerror(errno));
		return fd;
	}
	if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
		snprintf(why, why_len,
		    errno == EWOULDBLOCK ? "%s: the data folder is in use by another fobd" :
					   "%s: cannot lock the data folder",
		    path);
		close(fd);
		return -1;
	}
	return fd;
}

/*
 * Without making a file, which a copy on a read-only medium could not take: where no fobd has been there is no lock file,
 * and nobody to wait for. Returns a descriptor; -1 with a reason; -2: there is none.
 */
static int
lock_offline(const char *path, char *why, size_t why_len)
{
	char name[4096];
	int fd;

	snprintf(name, sizeof(name), "%s/fobd.lock", path);
	if ((fd = open(name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW)) < 0) {
		if (errno == ENOENT)
			return -2;
		snprintf(why, why_len, "%s: cannot open: %s", name, strerror(errno));
		return -1;
	}
	if (flock(fd, LOCK_SH | LOCK_NB) == 0)
		return fd;
	snprintf(why, why_len,
	    "%s: a fobd serves this folder; stop it first, or make a copy with fob backup and look at that", path);
	close(fd);
	return -1;
}

/* As its access asks for. */
static int
lock_for(struct lmdb *db, const struct lmdb_options *options, char *why, size_t why_len)
{
	db->lock_fd = -2;
	if (options->access == LMDB_SERVE)
		db->lock_fd = lock_folder(options->path, why, why_len);
	else if (options->access == LMDB_OFFLINE)
		db->lock_fd = lock_offline(options->path, why, why_len);
	if (db->lock_fd == -3)
		return -FAULT_DISK;
	return db->lock_fd == -1 ? -FAULT_FAILED_PRECONDITION : 0;
}

static void
unlock(struct lmdb *db)
{
	if (db->lock_fd >= 0)
		close(db->lock_fd);
	db->lock_fd = -1;
}

static unsigned
flags_of(enum lmdb_access access)
{
	switch (access) {
	case LMDB_OFFLINE:
		return MDB_NOTLS | MDB_RDONLY | MDB_NOLOCK;
	case LMDB_BESIDE:
		return MDB_NOTLS | MDB_RDONLY;
	case LMDB_FILE:
		return MDB_NOTLS | MDB_NOSUBDIR | MDB_NOLOCK;
	default:
		return MDB_NOTLS;
	}
}

/* How long the file is to be by LMDB's own count; 0 when even that cannot be read. */
static uint64_t
bytes_counted(struct lmdb *db)
{
	MDB_envinfo info;
	sigjmp_buf trap;

	if (sigsetjmp(trap, 0) != 0) {
		sprung(db);
		return 0;
	}
	trap_set(&trap);
	mdb_env_info(db->env, &info);
	trap_clear();
	return ((uint64_t)info.me_last_pgno + 1) * db->page_bytes;
}

static void
end_walk(MDB_cursor **cursor)
{
	if (*cursor != NULL)
		mdb_cursor_close(*cursor);
	*cursor = NULL;
}

/* Every page that ${dbi} refers to. */
static int
touch_table(struct lmdb *db, MDB_txn *txn, MDB_dbi dbi)
{
	const volatile uint8_t *bytes;
	MDB_val k, v;
	int rc;

	if ((rc = mdb_cursor_open(txn, dbi, &db->walks[1])) != 0)
		return rc;
	while ((rc = mdb_cursor_get(db->walks[1], &k, &v, MDB_NEXT)) == 0) {
		bytes = v.mv_data;
		for (size_t i = 0; i < v.mv_size; i++)
			(void)bytes[i];
	}
	end_walk(&db->walks[1]);
	return rc == MDB_NOTFOUND ? 0 : rc;
}

/* The two tables that LMDB itself has, of which one lists free pages and the other all the tables; and those. */
static int
touch_all(struct lmdb *db, MDB_txn *txn)
{
	enum { FREE_PAGES, ALL_TABLES };
	char name[LMDB_KEY_MAX + 1];
	MDB_val k;
	MDB_dbi dbi;
	int rc;

	if ((rc = touch_table(db, txn, FREE_PAGES)) != 0 || (rc = touch_table(db, txn, ALL_TABLES)) != 0 ||
	    (rc = mdb_cursor_open(txn, ALL_TABLES, &db->walks[0])) != 0)
		return rc;
	while ((rc = mdb_cursor_get(db->walks[0], &k, NULL, MDB_NEXT)) == 0) {
		snprintf(name, sizeof(name), "%.*s", (int)k.mv_size, (const char *)k.mv_data);
		if ((rc = mdb_dbi_open(txn, name, 0, &dbi)) != 0 || (rc = touch_table(db, txn, dbi)) != 0)
			break;
	}
	return rc == MDB_NOTFOUND ? 0 : rc;
}

/*
 * Is there nothing of a table behind the end of the file? So it is when the process ended between a commit and its
 * make_whole(). A page that is missing springs the trap: a walk that only reads holds no lock then, and nothing but its
 * cursors and its transaction, which are given back.
 */
static bool
all_is_there(struct lmdb *db)
{
	sigjmp_buf trap;
	volatile bool there = false;
	MDB_txn *txn;

	if (mdb_txn_begin(db->env, NULL, MDB_RDONLY, &txn) != 0)
		return false;
	if (sigsetjmp(trap, 0) == 0) {
		trap_set(&trap);
		there = touch_all(db, txn) == 0;
		trap_clear();
	}
	end_walk(&db->walks[0]);
	end_walk(&db->walks[1]);
	mdb_txn_abort(txn);
	return there;
}

/* A truncated file opens without complaint, and then ends the process with SIGBUS at the first touch behind its end. */
static int
check_whole(struct lmdb *db, const struct lmdb_options *options, char *why, size_t why_len)
{
	MDB_stat stat;
	struct stat st;
	mdb_filehandle_t fd;
	uint64_t needed;

	mdb_env_stat(db->env, &stat);
	mdb_env_get_fd(db->env, &fd);
	db->page_bytes = stat.ms_psize;
	needed = bytes_counted(db);
	if (fstat(fd, &st) == 0 && needed != 0 && (uint64_t)st.st_size >= needed)
		return 0;
	if (needed != 0 && (uint64_t)st.st_size % db->page_bytes == 0 && all_is_there(db) &&
	    ((flags_of(options->access) & MDB_RDONLY) != 0 || ftruncate(fd, (off_t)needed) == 0))
		return 0;
	snprintf(why, why_len, "%s/data.mdb: the file is cut short: %llu bytes of %llu. Restore it from a backup",
	    options->path, (unsigned long long)st.st_size, (unsigned long long)needed);
	return -FAULT_CORRUPT;
}

/*
 * The same pages as LMDB's map has, read-only. Returns 0, or an error of the system's or of LMDB's. Another release than 0.9 may
 * well have other pages.
 */
static int
map_pages(struct lmdb *db)
{
	int major, minor, patch;
	mdb_filehandle_t fd;
	MDB_envinfo info;
	void *bytes;

	mdb_version(&major, &minor, &patch);
	if (major != 0 || minor != 9)
		return MDB_VERSION_MISMATCH;
	mdb_env_info(db->env, &info);
	mdb_env_get_fd(db->env, &fd);
	if ((bytes = mmap(NULL, info.me_mapsize, PROT_READ, MAP_SHARED, fd, 0)) == MAP_FAILED)
		return errno;
	db->map.bytes = bytes;
	db->map.page_bytes = db->page_bytes;
	db->map.n_pages = info.me_mapsize / db->page_bytes;
	return 0;
}

static void
unmap_pages(struct lmdb *db)
{
	const union {
		const void *in;
		void *out;
	} u = { .in = db->map.bytes };

	if (u.out != NULL)
		munmap(u.out, db->map.n_pages * db->map.page_bytes);
}

static int
open_tables(struct lmdb *db, const struct lmdb_options *options)
{
	MDB_txn *txn;
	int rc;

	if ((rc = mdb_txn_begin(db->env, NULL, options->create ? 0 : MDB_RDONLY, &txn)) != 0)
		return rc;
	for (unsigned i = 0; i < options->n_tables; i++) {
		if ((rc = mdb_dbi_open(txn, options->names[i], options->create ? MDB_CREATE : 0, &db->tables[i])) !=
		    0) {
			mdb_txn_abort(txn);
			return rc == MDB_NOTFOUND ? MDB_INVALID : rc;
		}
	}
	return mdb_txn_commit(txn);
}

static int
try_open_tables(struct lmdb *db, const struct lmdb_options *options)
{
	sigjmp_buf trap;
	int rc;

	if (sigsetjmp(trap, 0) != 0) {
		sprung(db);
		return MDB_CORRUPTED;
	}
	trap_set(&trap);
	rc = open_tables(db, options);
	trap_clear();
	return rc;
}

/*
 * LMDB maps its lock file, which is sparse: a reader's first slot on a full disk would end the process with SIGBUS. So
 * have its blocks before LMDB opens it, not after: to close a second descriptor would drop LMDB's fcntl locks.
 */
static int
allocate_lock_file(const struct lmdb_options *options, char *why, size_t why_len)
{
	/* Not less than LMDB asks for, so that it takes the file as it is; more only makes for more readers. */
	off_t bytes = (off_t)(options->readers + 1) * LOCK_BYTES_PER_READER + LOCK_HEAD_BYTES;
	char name[4096];
	int fd, rc;

	snprintf(name, sizeof(name), "%s/lock.mdb", options->path);
	if ((fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600)) < 0) {
		rc = errno;
		snprintf(why, why_len, "%s: cannot open: %s", name, strerror(rc));
		return rc == EIO ? -FAULT_DISK : -FAULT_IO;
	}
	if ((rc = posix_fallocate(fd, 0, bytes)) != 0)
		snprintf(why, why_len, "%s: no room for %lld bytes: %s", name, (long long)bytes, strerror(rc));
	close(fd);
	return opening_fault(rc);
}

static int
check_exists(const struct lmdb_options *options, char *why, size_t why_len)
{
	const char *path = options->path;
	char name[4096];
	struct stat st;

	snprintf(name, sizeof(name), "%s%s", path, options->access == LMDB_FILE ? "" : "/data.mdb");
	errno = 0;
	if (stat(name, &st) == 0 && st.st_size > 0)
		return 0;
	if (errno == EIO) {
		snprintf(why, why_len, "%s: cannot be read: %s", name, strerror(errno));
		return -FAULT_DISK;
	}
	snprintf(why, why_len, "%s: no database here. If it is to be a new one: fobd --init", path);
	return -FAULT_NOT_FOUND;
}

static int
claimed_page_bytes(int fd, off_t at, uint32_t *bytes)
{
	uint8_t head[DESCENT_HEAD];
	ssize_t n = pread(fd, head, sizeof(head), at);

	if (n < 0 && errno == EIO)
		return -FAULT_DISK;
	return n == (ssize_t)sizeof(head) ? descent_page_bytes(head, bytes) : -FAULT_NOT_FOUND;
}

/*
 * Before LMDB opens it: LMDB divides by the size of pages that a meta page claims, and descent.c has room for no larger ones
 * than there are. A file that is not there yet, or is not LMDB's, is for LMDB to judge.
 */
static int
check_page_bytes(const struct lmdb_options *options, char *why, size_t why_len)
{
	uint32_t first = 0, second = 0;
	char name[4096];
	int fd, fault;

	snprintf(name, sizeof(name), "%s%s", options->path, options->access == LMDB_FILE ? "" : "/data.mdb");
	if ((fd = open(name, O_RDONLY | O_CLOEXEC | O_NONBLOCK)) < 0)
		return 0;
	if ((fault = claimed_page_bytes(fd, 0, &first)) == 0)
		fault = claimed_page_bytes(fd, first, &second);
	else
		second = first;
	close(fd);
	if (fault == 0 && second != first)
		fault = -FAULT_CORRUPT;
	if (fault == -FAULT_CORRUPT)
		snprintf(why, why_len,
		    "%s: the file is damaged: it says that its pages have %u bytes. Restore it from a backup", name,
		    second);
	else if (fault == -FAULT_DISK)
		snprintf(why, why_len, "%s: cannot be read: %s", name, strerror(EIO));
	return fault == -FAULT_NOT_FOUND ? 0 : fault;
}

int
lmdb_open(const struct lmdb_options *options, struct lmdb **out, char *why, size_t why_len)
{
	struct lmdb *db;
	int rc, fault;

	assert(options->n_tables <= TABLES_MAX);
	trap_install();
	if (!options->create && (fault = check_exists(options, why, why_len)) != 0)
		return fault;
	if ((db = calloc(1, sizeof(*db))) == NULL) {
		snprintf(why, why_len, "out of memory");
		return -FAULT_INTERNAL;
	}
	db->n_tables = options->n_tables;
	db->names = options->names;
	if ((fault = lock_for(db, options, why, why_len)) != 0)
		goto err0;
	if (options->access == LMDB_SERVE && (fault = allocate_lock_file(options, why, why_len)) != 0) {
		unlock(db);
		goto err0;
	}
	if ((fault = check_page_bytes(options, why, why_len)) != 0) {
		unlock(db);
		goto err0;
	}
	if ((rc = mdb_env_create(&db->env)) != 0)
		goto err1;
	if ((rc = mdb_env_set_mapsize(db->env, options->map_bytes)) != 0 ||
	    (rc = mdb_env_set_maxdbs(db->env, options->n_tables)) != 0 ||
	    (rc = mdb_env_set_maxreaders(db->env, options->readers)) != 0 ||
	    (rc = mdb_env_set_assert(db->env, on_assert)) != 0 ||
	    (rc = mdb_env_open(db->env, options->path, flags_of(options->access), 0600)) != 0)
		goto err2;
	if ((fault = check_whole(db, options, why, why_len)) != 0)
		goto err3;
	mdb_reader_check(db->env, NULL);
	if ((rc = map_pages(db)) != 0 || (rc = try_open_tables(db, options)) != 0)
		goto err2;
	if (options->create && (rc = folder_sync(options->path)) != 0)
		goto err2;
	*out = db;
	return 0;

err3:
	mdb_env_close(db->env);
	unlock(db);
	goto err0;
err2:
	unmap_pages(db);
	if (!atomic_load(&db->sprung))
		mdb_env_close(db->env);
err1:
	snprintf(why, why_len, "%s: cannot open the database: %s", options->path, mdb_strerror(rc));
	fault = opening_fault(rc);
	unlock(db);
err0:
	free(db);
	return fault;
}

void
lmdb_close(struct lmdb *db)
{
	if (db == NULL)
		return;
	unmap_pages(db);
	if (!atomic_load(&db->sprung))
		mdb_env_close(db->env);
	unlock(db);
	free(db);
}

int
lmdb_adopt(const char *from, const char *path, char *why, size_t why_len)
{
	char old[4096], new[4096];
	int rc;

	snprintf(old, sizeof(old), "%s/data.mdb", from);
	snprintf(new, sizeof(new), "%s/data.mdb", path);
	/* Never replaces one: who makes the same database at the same time finds ours, or we his. */
	rc = link(old, new) == 0 || errno == EEXIST ? folder_sync(path) : errno;
	if (rc == 0)
		return 0;
	snprintf(why, why_len, "%s: cannot take its place: %s", old, strerror(rc));
	return fault_of(rc);
}

void
lmdb_clear(const char *from)
{
	static const char *const files[] = { "data.mdb", "lock.mdb", "fobd.lock" };
	char name[4096];

	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		snprintf(name, sizeof(name), "%s/%s", from, files[i]);
		unlink(name);
	}
	rmdir(from);
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
		for (unsigned i = 0; i < TABLES_MAX; i++)
			if (txn->spare[i] != NULL)
				mdb_cursor_close(txn->spare[i]);
		if (txn->txn != NULL)
			mdb_txn_abort(txn->txn);
	}
	free(txn);
}

/* Where all else is, is in the first two pages: those may be missing, too, or not readable. */
static int
try_begin(struct lmdb_txn *txn, unsigned flags)
{
	sigjmp_buf trap;
	int rc;

	if (sigsetjmp(trap, 0) != 0)
		return sprung(txn->db);
	trap_set(&trap);
	rc = txn->begun ? mdb_txn_renew(txn->txn) : mdb_txn_begin(txn->db->env, NULL, flags, &txn->txn);
	trap_clear();
	return fault_of(rc);
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

/* Note a failure from which only a restart recovers. */
static int
judge(struct lmdb *db, int fault)
{
	if (fault == -FAULT_IO || fault == -FAULT_CORRUPT)
		atomic_store(&db->failed, true);
	return fault;
}

/* What every commit builds on. LMDB has nothing in hand here, so a trap that springs costs it nothing. */
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
	/* What is there can still be read. */
	if ((fault = check_writable(txn)) != 0)
		lmdb_abort(txn);
	return fault;
}

/*
 * A transaction that is done with pages that it took at the end of the file leaves them counted and unwritten (once in a
 * thousand that empty a table, on 0.9.24). Nothing is missing, but check_whole() could not tell at the next start. If
 * this fails, the next commit tries again.
 */
static void
make_whole(struct lmdb *db)
{
	uint64_t needed = bytes_counted(db);
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
		sprung(txn->db);
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
	return judge(txn->db, fault_of(rc));
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

/* LMDB takes keys and values as void *, and changes neither. */
static MDB_val
val(const void *data, size_t len)
{
	union {
		const void *in;
		void *out;
	} u = { .in = data };

	return (MDB_val){ .mv_data = u.out, .mv_size = len };
}

/* Copy what LMDB found to ${to}, of ${size} bytes, while the trap is still set: its length may be as wrong as its place. */
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
		return sprung(txn->db);
	trap_set(&trap);
	if ((rc = mdb_get(txn->txn, txn->db->tables[table], &k, &v)) == 0)
		rc = copy_out(&v, txn->value, sizeof(txn->value), value);
	trap_clear();
	/* LMDB has met damage where it tells nobody: when it looked for the table's first page. */
	if (rc == MDB_BAD_TXN && !txn->write)
		rc = MDB_CORRUPTED;
	return fault_of(rc);
}

/* Where a table's pages begin, as LMDB itself has it. Nothing proves the page that this comes from. */
static int
ask_tree(struct lmdb_txn *txn, const char *name, struct descent_tree *tree)
{
	enum { ALL_TABLES = 1 };
	MDB_val k = val(name, strlen(name)), v;
	int rc;

	if ((rc = mdb_get(txn->txn, ALL_TABLES, &k, &v)) == 0 && v.mv_size != sizeof(*tree))
		rc = MDB_CORRUPTED;
	if (rc == 0)
		memcpy(tree, v.mv_data, sizeof(*tree));
	return rc == MDB_NOTFOUND ? -FAULT_CORRUPT : fault_of(rc);
}

/*
 * The same, of this transaction's snapshot; in a write transaction of the last commit, which is what the file has. Only where
 * others have committed twice since this began is LMDB asked. With a trap set.
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

int
lmdb_prove_absent(struct lmdb_txn *txn, unsigned table, const void *key, size_t key_len, struct lmdb_gap *gap)
{
	struct descent_tree tree;
	struct descent_gap found;
	sigjmp_buf trap;
	int fault;

	if (sigsetjmp(trap, 0) != 0)
		return -FAULT_CORRUPT;
	trap_set(&trap);
	if ((fault = find_tree(txn, table, &tree)) == 0)
		fault = descent_find(&txn->db->map, &tree, key, key_len, &found);
	if (fault == -FAULT_NOT_FOUND &&
	    (copy_entry(&found.before, &gap->before) != 0 || copy_entry(&found.behind, &gap->behind) != 0))
		fault = -FAULT_CORRUPT;
	trap_clear();
	if (fault != 0)
		return fault;
	/* It was there, and LMDB says that it is not: right, if this transaction has deleted it. */
	gap->before.key_len = gap->behind.key_len = 0;
	return txn->write && txn->written[table] ? -FAULT_NOT_FOUND : -FAULT_CORRUPT;
}

/*
 * Before LMDB writes. Pages that this transaction has changed already are not in the file, and need no proof: they
 * were made of pages that had it.
 */
static int
check_way(struct lmdb_txn *txn, unsigned table, const void *key, size_t key_len, bool deletes)
{
	struct descent_tree tree;
	struct descent_gap gap;
	sigjmp_buf trap;
	int fault;

	if (sigsetjmp(trap, 0) != 0)
		return -FAULT_CORRUPT;
	trap_set(&trap);
	if ((fault = find_tree(txn, table, &tree)) == 0)
		fault = deletes ? descent_beside(&txn->db->map, &tree, key, key_len) :
				  descent_find(&txn->db->map, &tree, key, key_len, &gap);
	trap_clear();
	txn->written[table] = true;
	return fault == -FAULT_NOT_FOUND ? 0 : fault;
}

static int
try_put(struct lmdb_txn *txn, unsigned table, MDB_val *k, MDB_val *v)
{
	sigjmp_buf trap;
	int rc;

	if (sigsetjmp(trap, 0) != 0)
		return sprung(txn->db);
	trap_set(&trap);
	rc = mdb_put(txn->txn, txn->db->tables[table], k, v, 0);
	trap_clear();
	return fault_of(rc);
}

void
lmdb_put(struct lmdb_txn *txn, unsigned table, const void *key, size_t key_len, const void *value, size_t len)
{
	MDB_val k = val(key, key_len), v = val(value, len);

	assert(key_len <= LMDB_KEY_MAX && len <= LMDB_VALUE_MAX);
	if (txn->fault == 0 && (txn->fault = check_way(txn, table, key, key_len, false)) == 0)
		txn->fault = judge(txn->db, try_put(txn, table, &k, &v));
}

static int
try_del(struct lmdb_txn *txn, unsigned table, MDB_val *k)
{
	sigjmp_buf trap;
	int rc;

	if (sigsetjmp(trap, 0) != 0)
		return sprung(txn->db);
	trap_set(&trap);
	rc = mdb_del(txn->txn, txn->db->tables[table], k, NULL);
	trap_clear();
	return fault_of(rc);
}

void
lmdb_del(struct lmdb_txn *txn, unsigned table, const void *key, size_t key_len)
{
	MDB_val k = val(key, key_len);
	int fault;

	if (txn->fault != 0 || (txn->fault = check_way(txn, table, key, key_len, true)) != 0)
		return;
	/* An index that disagrees is the caller's one change gone wrong, not the database's end. */
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
		return sprung(cursor->txn->db);
	trap_set(&trap);
	if ((rc = mdb_cursor_get(cursor->cursor, k, &v, op)) == 0 &&
	    (rc = copy_out(k, cursor->key_bytes, sizeof(cursor->key_bytes), &cursor->key)) == 0)
		rc = copy_out(&v, cursor->value_bytes, sizeof(cursor->value_bytes), &cursor->value);
	trap_clear();
	return fault_of(rc);
}

static int
try_open_cursor(struct lmdb_cursor *cursor, MDB_cursor **c)
{
	struct lmdb_txn *txn = cursor->txn;
	sigjmp_buf trap;
	int rc;

	if (sigsetjmp(trap, 0) != 0)
		return sprung(txn->db);
	trap_set(&trap);
	rc = *c == NULL ? mdb_cursor_open(txn->txn, txn->db->tables[cursor->table], c) : mdb_cursor_renew(txn->txn, *c);
	trap_clear();
	return fault_of(rc);
}

/* A read transaction keeps its cursors, as it keeps itself: a walk then allocates nothing. */
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
	/* One that could not be renewed is still to be closed. */
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

int
lmdb_prev(struct lmdb_cursor *cursor)
{
	MDB_val k;

	return move(cursor, &k, MDB_PREV);
}

int
lmdb_last(struct lmdb_cursor *cursor)
{
	MDB_val k;

	return move(cursor, &k, MDB_LAST);
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
		sprung(txn->db);
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
	uint64_t end = bytes_counted(db) + bytes;
	mdb_filehandle_t fd;

	if (end <= db->reserved_to)
		return 0;
	mdb_env_get_fd(db->env, &fd);
	/* Beyond what is asked for, so that the next few commits need not ask. The size stays: LMDB goes by its own. */
	if (allocate(fd, db->reserved_to, end + bytes) == 0)
		db->reserved_to = end + bytes;
	else if ((errno == ENOSPC || errno == EDQUOT) && allocate(fd, db->reserved_to, end) != 0)
		return -FAULT_FULL;
	else
		db->reserved_to = end;
	return 0;
}

int
lmdb_copy(struct lmdb *db, int fd)
{
	return fault_of(mdb_env_copyfd(db->env, fd));
}

void
lmdb_reader_check(struct lmdb *db)
{
	mdb_reader_check(db->env, NULL);
}
