/*
 * lmdb.h - LMDB as Fob uses it. lmdb.c is the only file that knows <lmdb.h>; its codes become faults there.
 *
 * A write transaction carries a sticky fault: after a put or delete has failed, later ones do nothing and the commit
 * aborts and returns the fault, so callers check once. (The idea is Knot DNS's knot_lmdb.)
 *
 * A database fails for good, in this process, when a commit fails in any way other than for want of space: after a
 * failed fdatasync LMDB's next commit would succeed on pages that the disk never got (measured on 0.9.24). It fails for
 * good, too, when LMDB has followed a damaged page out of its map (see trap.h). From then on every call returns -FAULT_IO;
 * a restart decides from what is on disk.
 */
#ifndef LMDB_WRAP_H
#define LMDB_WRAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "service/base/types.h"

struct lmdb;
struct lmdb_txn;

/* Longer keys and values than these are damage. */
#define LMDB_KEY_MAX 511
#define LMDB_VALUE_MAX 1536

/* A copy, out of the map: valid until the next call with the same transaction, or the same cursor. */
struct lmdb_value {
	const void *data;
	size_t len;
};

/* Who else may have the database open. */
enum lmdb_access {
	LMDB_SERVE,   /* nobody: the folder is locked for this process */
	LMDB_OFFLINE, /* nobody who writes: read-only, no file is made, a folder that is served is refused */
	LMDB_BESIDE,  /* a fobd that serves it: read-only, through LMDB's own lock */
	LMDB_FILE /* nobody, as nobody else knows of it: ${path} is the file itself, just copied and to be written to */
};

struct lmdb_options {
	const char *path; /* a folder */
	enum lmdb_access access;
	const char *const *names; /* of the tables; they outlive the database */
	unsigned n_tables;
	uint64_t map_bytes; /* fixed for the process: growing it under readers ends in SIGBUS */
	unsigned readers;   /* read transactions at once */
	bool create;        /* make the database when there is none; otherwise that is an error */
};

/*
 * lmdb_open(options, db, why, why_len):
 * Lock the folder for this process, check that the file is whole, open it and its tables.
 * Returns: 0, or a negative fault with one line at ${why}; -FAULT_DISK when the system cannot read it (EIO).
 */
int lmdb_open(const struct lmdb_options *options, struct lmdb **db, char *why, size_t why_len);
/* No transaction may be left but by lmdb_txn_free() before. NULL is fine. */
void lmdb_close(struct lmdb *db);
/* True once the database has failed for good. Threads: any. */
bool lmdb_failed(const struct lmdb *db);

/*
 * lmdb_adopt(from, path, why, why_len):
 * Give the closed database in the folder ${from} its place in ${path}, unless there is one, and make that durable.
 * lmdb_clear(from): remove the folder ${from} with what is left in it of a database that never got its place. Both on the
 * same file system. Returns: 0, or a negative fault with one line at ${why}.
 */
int lmdb_adopt(const char *from, const char *path, char *why, size_t why_len);
void lmdb_clear(const char *from);

/*
 * A transaction object is made once and used again and again, by one thread at a time.
 * lmdb_read/lmdb_read_end: take the newest snapshot (a renew, no allocation after the first), and let go of it at once:
 * a pinned reader makes the file grow without bound.
 * lmdb_write/lmdb_commit/lmdb_abort: one writer at a time; commit is durable when it returns 0. lmdb_write is -FAULT_CORRUPT,
 * and begins nothing, when what every commit needs is damaged: the lists of tables and of free pages.
 */
struct lmdb_txn *lmdb_txn_new(struct lmdb *db);
void lmdb_txn_free(struct lmdb_txn *txn);
int lmdb_read(struct lmdb_txn *txn);
void lmdb_read_end(struct lmdb_txn *txn);
int lmdb_write(struct lmdb_txn *txn);
int lmdb_commit(struct lmdb_txn *txn);
void lmdb_abort(struct lmdb_txn *txn);
/* The sticky fault of a write transaction: 0 or negative. */
int lmdb_fault(const struct lmdb_txn *txn);

/*
 * Returns: 0; -FAULT_NOT_FOUND, which a damaged page can make LMDB say: see lmdb_prove_absent(); another negative fault.
 */
int lmdb_get(struct lmdb_txn *txn, unsigned table, const void *key, size_t key_len, struct lmdb_value *value);

/* An entry, copied out. key_len 0: there is none. */
struct lmdb_entry {
	size_t key_len;
	size_t len;
	uint8_t key[LMDB_KEY_MAX];
	uint8_t value[LMDB_VALUE_MAX];
};

/* What lies before and behind a key that is not there. */
struct lmdb_gap {
	struct lmdb_entry before;
	struct lmdb_entry behind;
};

/*
 * lmdb_prove_absent(txn, table, key, key_len, gap):
 * Prove that ${key}, which lmdb_get() has not found, is not there: each page that leads to its place, and that place,
 * is as it can only be when it was written so (see descent.h). Whether the neighbours at ${gap} are what was written is for
 * the caller to judge. In a write transaction they are those of the last commit; a key that it has deleted has none.
 * Returns: -FAULT_NOT_FOUND; -FAULT_CORRUPT; another negative fault.
 */
int lmdb_prove_absent(struct lmdb_txn *txn, unsigned table, const void *key, size_t key_len, struct lmdb_gap *gap);

/*
 * Each proves the pages that it is about to change, as lmdb_write() does those that every commit changes: on a damaged one the
 * transaction's fault is -FAULT_CORRUPT, and LMDB is not called.
 */
void lmdb_put(struct lmdb_txn *txn, unsigned table, const void *key, size_t key_len, const void *value, size_t len);
/* Deleting what is not there is a fault: the caller keeps indexes that must agree. */
void lmdb_del(struct lmdb_txn *txn, unsigned table, const void *key, size_t key_len);

/* A walk in key order. */
struct lmdb_cursor {
	struct lmdb_txn *txn;
	void *cursor;
	unsigned table;
	struct lmdb_value key;
	struct lmdb_value value;
	uint8_t key_bytes[LMDB_KEY_MAX];
	uint8_t value_bytes[LMDB_VALUE_MAX];
};
/* To the first entry whose key is not below ${key}. Always followed by lmdb_cursor_end(). Returns as lmdb_get. */
int lmdb_seek(struct lmdb_txn *txn, unsigned table, const void *key, size_t key_len, struct lmdb_cursor *cursor);
int lmdb_next(struct lmdb_cursor *cursor);
int lmdb_prev(struct lmdb_cursor *cursor);
int lmdb_last(struct lmdb_cursor *cursor);
void lmdb_cursor_end(struct lmdb_cursor *cursor);

/* Pages in use by all tables, in bytes; entries of one table. 0 when they cannot be had. */
uint64_t lmdb_used_bytes(struct lmdb_txn *txn);
uint64_t lmdb_entries(struct lmdb_txn *txn, unsigned table);
/*
 * lmdb_reserve(db, bytes):
 * Have the file system set aside ${bytes} behind what the database uses, so that a commit still fits when the disk is
 * full. Cheap when nothing changed. Returns: 0; -FAULT_FULL. A file system that cannot is no fault.
 */
int lmdb_reserve(struct lmdb *db, uint64_t bytes);

/*
 * lmdb_copy(db, fd):
 * Write a consistent copy of the newest snapshot to ${fd}, an empty file, while others write. Not synced. Pins that
 * snapshot until it is done. Returns: 0; -FAULT_FULL; -FAULT_IO.
 */
int lmdb_copy(struct lmdb *db, int fd);

/* Free the slots of readers whose process died. */
void lmdb_reader_check(struct lmdb *db);

#endif
