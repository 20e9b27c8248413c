/*
 * open.c - open and close a database: its lock, its file checked before LMDB trusts it, its tables (see lmdb.h).
 * Never changes a record.
 */
#include "service/lmdb/internal.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "service/base/folder.h"
#include "service/lmdb/trap.h"

#define LOCK_BYTES_PER_READER 64 /* a cache line, in LMDB 0.9 */
#define LOCK_HEAD_BYTES 4096

/* In place of a descriptor. */
#define LOCK_NONE (-1)

/* The fault of a failed open. That of the storage is kept apart: no change of the settings would help. */
static int
opening_fault(int rc)
{
	return folder_fault(rc) == -FAULT_DISK ? -FAULT_DISK : lmdb_fault_of(rc);
}

/* An assertion of LMDB failed on what it read: handled like a memory fault. */
static void
on_assert(MDB_env *env, const char *text)
{
	(void)env;
	(void)text;
	trap_spring();
}

/*
 * Only one process may serve a database, and it may open it only once: a second open in one process
 * succeeds, and then breaks LMDB's own locks.
 * Returns: 0, *${lock} is the descriptor; a negative fault with a reason at ${why}.
 */
static int
lock_folder(const char *path, int *lock, char *why, size_t why_len)
{
	char name[4096];
	int fd, error;

	snprintf(name, sizeof(name), "%s/fobd.lock", path);
	if ((fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600)) < 0) {
		error = errno;
		snprintf(why, why_len, "%s: cannot use the data folder: %s", path, strerror(error));
		return folder_fault(error) == -FAULT_IO ? -FAULT_FAILED_PRECONDITION : folder_fault(error);
	}
	if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
		snprintf(why, why_len,
		    errno == EWOULDBLOCK ? "%s: the data folder is in use by another fobd" :
					   "%s: cannot lock the data folder",
		    path);
		close(fd);
		return -FAULT_FAILED_PRECONDITION;
	}
	*lock = fd;
	return 0;
}

/*
 * Makes no file, as a copy may be on a read-only medium. A folder that no fobd has served has no lock
 * file and needs no lock.
 * Returns: 0, *${lock} is the descriptor or LOCK_NONE; a negative fault with a reason at ${why}.
 */
static int
lock_offline(const char *path, int *lock, char *why, size_t why_len)
{
	char name[4096];
	int fd;

	snprintf(name, sizeof(name), "%s/fobd.lock", path);
	if ((fd = open(name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW)) < 0) {
		if (errno == ENOENT)
			return 0;
		snprintf(why, why_len, "%s: cannot open: %s", name, strerror(errno));
		return -FAULT_FAILED_PRECONDITION;
	}
	if (flock(fd, LOCK_SH | LOCK_NB) == 0) {
		*lock = fd;
		return 0;
	}
	snprintf(why, why_len,
	    "%s: a fobd serves this folder; stop it first, or make a copy with fob backup and check that", path);
	close(fd);
	return -FAULT_FAILED_PRECONDITION;
}

static int
lock_for(struct lmdb *db, const struct lmdb_options *options, char *why, size_t why_len)
{
	db->lock_fd = LOCK_NONE;
	if (options->access == LMDB_SERVE)
		return lock_folder(options->path, &db->lock_fd, why, why_len);
	if (options->access == LMDB_OFFLINE)
		return lock_offline(options->path, &db->lock_fd, why, why_len);
	return 0;
}

static void
unlock(struct lmdb *db)
{
	if (db->lock_fd >= 0)
		close(db->lock_fd);
	db->lock_fd = LOCK_NONE;
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

static void
end_walk(MDB_cursor **cursor)
{
	if (*cursor != NULL)
		mdb_cursor_close(*cursor);
	*cursor = NULL;
}

/* Read every page of ${dbi}. */
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

/* Read every page of LMDB's own two tables, and of all tables. */
static int
touch_all(struct lmdb *db, MDB_txn *txn)
{
	char name[LMDB_KEY_MAX + 1];
	MDB_val k;
	MDB_dbi dbi;
	int rc;

	if ((rc = touch_table(db, txn, LMDB_FREE_PAGES)) != 0 || (rc = touch_table(db, txn, LMDB_ALL_TABLES)) != 0 ||
	    (rc = mdb_cursor_open(txn, LMDB_ALL_TABLES, &db->walks[0])) != 0)
		return rc;
	while ((rc = mdb_cursor_get(db->walks[0], &k, NULL, MDB_NEXT)) == 0) {
		snprintf(name, sizeof(name), "%.*s", (int)k.mv_size, (const char *)k.mv_data);
		if ((rc = mdb_dbi_open(txn, name, 0, &dbi)) != 0 || (rc = touch_table(db, txn, dbi)) != 0)
			break;
	}
	return rc == MDB_NOTFOUND ? 0 : rc;
}

/*
 * Is every page that a table uses within the file? It is, although the file is too short, when the
 * process ended between a commit and its make_whole(). A missing page springs the trap. A read walk
 * holds no lock at that moment, only its cursors and its transaction, and those are closed.
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

/* LMDB opens a truncated file without an error. The first access behind its end is then a SIGBUS. */
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
	needed = lmdb_counted_bytes(db);
	if (fstat(fd, &st) != 0) {
		snprintf(why, why_len, "%s/data.mdb: %s", options->path, strerror(errno));
		return -FAULT_DISK;
	}
	if (needed != 0 && (uint64_t)st.st_size >= needed)
		return 0;
	if (needed != 0 && (uint64_t)st.st_size % db->page_bytes == 0 && all_is_there(db) &&
	    ((flags_of(options->access) & MDB_RDONLY) != 0 || ftruncate(fd, (off_t)needed) == 0))
		return 0;
	snprintf(why, why_len,
	    "%s/data.mdb: the file is cut short: it has %llu bytes and needs %llu. Restore it from a backup",
	    options->path, (unsigned long long)st.st_size, (unsigned long long)needed);
	return -FAULT_CORRUPT;
}

/* reader.c and descent.c know the pages of LMDB 0.9. */
static int
check_library(char *why, size_t why_len)
{
	int major, minor;
	const char *version = mdb_version(&major, &minor, NULL);

	if (major == 0 && minor == 9)
		return 0;
	snprintf(why, why_len, "the library is %s, but fobd knows the page format of LMDB 0.9 only: install that one",
	    version);
	return -FAULT_INTERNAL;
}

/*
 * Map the file a second time, read-only, for reader.c and descent.c.
 * Returns: 0; an error of the system or of LMDB.
 */
static int
map_pages(struct lmdb *db)
{
	mdb_filehandle_t fd;
	MDB_envinfo info;
	void *bytes;

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

/*
 * Close what LMDB has open. A write transaction that a trap has left half-way keeps LMDB's lock. The kernel frees that
 * lock when the thread that took it ends, and needs the lock file's mapping for it, so as long as that thread lives
 * nothing is closed. Of LMDB's memory only the pages and cursors of that transaction are lost.
 */
static void
close_env(struct lmdb *db)
{
	if (atomic_load(&db->left_by) != gettid())
		mdb_env_close(db->env);
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
		lmdb_sprung(db);
		if (options->create)
			atomic_store(&db->left_by, gettid());
		return MDB_CORRUPTED;
	}
	trap_set(&trap);
	rc = open_tables(db, options);
	trap_clear();
	return rc;
}

/*
 * LMDB maps its lock file, which is sparse. On a full disk the first use of a reader's slot would be a
 * SIGBUS. So its blocks are allocated, and before LMDB opens it: closing a second descriptor of the
 * file afterwards would drop LMDB's fcntl locks.
 */
static int
allocate_lock_file(const struct lmdb_options *options, char *why, size_t why_len)
{
	/* At least what LMDB asks for, so that it uses the file as it is. More bytes mean more readers. */
	off_t bytes = (off_t)(options->readers + 1) * LOCK_BYTES_PER_READER + LOCK_HEAD_BYTES;
	char name[4096];
	int fd, rc;

	snprintf(name, sizeof(name), "%s/lock.mdb", options->path);
	if ((fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600)) < 0) {
		rc = errno;
		snprintf(why, why_len, "%s: cannot open: %s", name, strerror(rc));
		return folder_fault(rc);
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
	int error;

	snprintf(name, sizeof(name), "%s%s", path, options->access == LMDB_FILE ? "" : "/data.mdb");
	if (stat(name, &st) == 0) {
		if (st.st_size > 0)
			return 0;
		snprintf(why, why_len, "%s: the file is empty: it was cut short. Restore it from a backup", name);
		return -FAULT_CORRUPT;
	}
	if ((error = errno) != ENOENT) {
		snprintf(why, why_len, "%s: cannot be read: %s", name, strerror(error));
		return folder_fault(error);
	}
	snprintf(why, why_len,
	    "%s: there is no database here. If there was one, look whether its disk is mounted, or restore a backup. For "
	    "a new service, fobd --init makes one",
	    path);
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
 * Called before LMDB opens the file: LMDB divides by the page size that a meta page claims, and
 * descent.c has room for the largest valid one only. A file that is missing, or is not LMDB's, is left
 * for LMDB to report.
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
		    "%s: the file is damaged: it claims a page size of %u bytes. Restore it from a backup", name,
		    second);
	else if (fault == -FAULT_DISK)
		snprintf(why, why_len, "%s: cannot be read: %s", name, strerror(EIO));
	return fault == -FAULT_NOT_FOUND ? 0 : fault;
}

/* A database that is served is watched: see lmdb_in_place(). */
static int
know_file(struct lmdb *db, const struct lmdb_options *options)
{
	if (options->access != LMDB_SERVE)
		return 0;
	if ((db->path = strdup(options->path)) == NULL)
		return ENOMEM;
	return lmdb_file(db, &db->file) == 0 ? 0 : EIO;
}

/* LMDB locks a byte of its lock file by the process's id, so two processes of one id shut each other out. */
static const char *
reason_of(const struct lmdb_options *options, int rc)
{
	if (options->access == LMDB_BESIDE && (rc == EAGAIN || rc == EACCES))
		return "the fobd that serves it has this process's id, in another PID namespace (container). Have it make the "
		       "backup itself: fob backup without --config";
	return mdb_strerror(rc);
}

/* Returns the fault. */
static int
cannot_open(const struct lmdb_options *options, int rc, char *why, size_t why_len)
{
	if (rc == ENOMEM)
		snprintf(why, why_len,
		    "%s: cannot open the database: no memory, or no address space to map it: fobd maps twice the setting "
		    "ceiling, two times over, which is %llu MiB. Lower ceiling, or raise the limit (ulimit -v)",
		    options->path, (unsigned long long)(options->map_bytes >> 19));
	else
		snprintf(why, why_len, "%s: cannot open the database: %s", options->path, reason_of(options, rc));
	return opening_fault(rc);
}

int
lmdb_open(const struct lmdb_options *options, struct lmdb **out, char *why, size_t why_len)
{
	struct lmdb *db;
	int rc, fault;

	assert(options->n_tables <= LMDB_TABLES_MAX);
	trap_install();
	if ((fault = check_library(why, why_len)) != 0)
		return fault;
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
	if (options->access == LMDB_SERVE && (fault = allocate_lock_file(options, why, why_len)) != 0)
		goto err0;
	if ((fault = check_page_bytes(options, why, why_len)) != 0)
		goto err0;
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
	if ((rc = know_file(db, options)) != 0 || (rc = map_pages(db)) != 0 || (rc = try_open_tables(db, options)) != 0)
		goto err2;
	if (options->create && (rc = folder_sync(options->path)) != 0)
		goto err2;
	*out = db;
	return 0;

err3:
	mdb_env_close(db->env);
	goto err0;
err2:
	unmap_pages(db);
	close_env(db);
err1:
	fault = cannot_open(options, rc, why, why_len);
err0:
	unlock(db);
	free(db->path);
	free(db);
	return fault;
}

void
lmdb_close(struct lmdb *db)
{
	if (db == NULL)
		return;
	unmap_pages(db);
	close_env(db);
	unlock(db);
	free(db->path);
	free(db);
}

int
lmdb_adopt(const char *from, const char *path, char *why, size_t why_len)
{
	char old[4096], new[4096];
	int rc;

	snprintf(old, sizeof(old), "%s/data.mdb", from);
	snprintf(new, sizeof(new), "%s/data.mdb", path);
	/* link() never replaces a file. Of two processes that make the same database the first wins. */
	rc = link(old, new) == 0 || errno == EEXIST ? folder_sync(path) : errno;
	if (rc == 0)
		return 0;
	snprintf(why, why_len, "%s: cannot be linked as %s: %s", old, new, strerror(rc));
	return lmdb_fault_of(rc);
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
