/*
 * upkeep.c - what must be looked at while a database is open: whether its path still names the open file, and whether
 * LMDB's table of readers has room (see lmdb.h). Never reads a record.
 */
#include "service/lmdb/internal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "service/lmdb/trap.h"

/* ---- the file and its name ---- */

int
lmdb_file_at(const char *folder, struct lmdb_file *file)
{
	char name[4096];
	struct stat st;

	snprintf(name, sizeof(name), "%s/data.mdb", folder);
	if (stat(name, &st) != 0)
		return errno == ENOENT || errno == ENOTDIR ? -FAULT_NOT_FOUND : -FAULT_IO;
	*file = (struct lmdb_file){ .device = st.st_dev, .inode = st.st_ino };
	return 0;
}

int
lmdb_file(const struct lmdb *db, struct lmdb_file *file)
{
	mdb_filehandle_t fd;
	struct stat st;

	mdb_env_get_fd(db->env, &fd);
	if (fstat(fd, &st) != 0)
		return -FAULT_IO;
	*file = (struct lmdb_file){ .device = st.st_dev, .inode = st.st_ino };
	return 0;
}

bool
lmdb_same_file(const struct lmdb_file *a, const struct lmdb_file *b)
{
	return a->device == b->device && a->inode == b->inode;
}

bool
lmdb_in_place(struct lmdb *db)
{
	struct lmdb_file named;
	int fault;

	if (db->path == NULL)
		return true;
	/* A stat() that fails for another reason says nothing about the file. */
	if ((fault = lmdb_file_at(db->path, &named)) == -FAULT_NOT_FOUND ||
	    (fault == 0 && !lmdb_same_file(&named, &db->file)))
		lmdb_fail(db, "data.mdb was removed, or another file has its name now");
	return !lmdb_failed(db);
}

/* ---- readers ---- */

void
lmdb_reader_check(struct lmdb *db)
{
	mdb_reader_check(db->env, NULL);
}

bool
lmdb_readers_full(const struct lmdb *db)
{
	return atomic_load_explicit(&db->readers_full, memory_order_relaxed);
}

/* Is a reader's slot free? */
static bool
has_slot(struct lmdb *db)
{
	sigjmp_buf trap;
	MDB_txn *txn;
	int rc;

	if (sigsetjmp(trap, 0) != 0) {
		lmdb_sprung(db);
		return false;
	}
	trap_set(&trap);
	if ((rc = mdb_txn_begin(db->env, NULL, MDB_RDONLY, &txn)) == 0)
		mdb_txn_abort(txn);
	trap_clear();
	return rc == 0;
}

/* ---- both ---- */

void
lmdb_look(struct lmdb *db)
{
	if (lmdb_failed(db) || !lmdb_in_place(db) || !lmdb_readers_full(db))
		return;
	lmdb_reader_check(db);
	if (has_slot(db))
		atomic_store(&db->readers_full, false);
}
