/*
 * lmdb.h - LMDB as Fob uses it. Only this room's files include LMDB's own <lmdb.h>, and translate its codes
 * into faults.
 *
 * A write transaction carries a sticky fault: after a put or delete has failed, later ones do nothing,
 * and the commit aborts and returns the fault. So callers check once. (The idea is Knot DNS's knot_lmdb.)
 *
 * A database fails for good, in this process, when
 *   - a commit fails for another reason than lack of space: after a failed fdatasync the next commit of
 *     LMDB 0.9.24 succeeds on pages that never reached the disk (measured);
 *   - LMDB followed a damaged page out of its map (see trap.h);
 *   - its data.mdb was removed or renamed, or another file was put in its place (LMDB_SERVE).
 * From then on every call returns -FAULT_IO, and an open write transaction cannot be committed. Closed and opened
 * anew, the database is what is on the disk.
 */
#ifndef LMDB_WRAP_H
#define LMDB_WRAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "service/base/types.h"

struct lmdb;
struct lmdb_txn;
struct descent_walk;

/* Fob writes no longer keys and values; a longer one that is read is -FAULT_CORRUPT. */
#define LMDB_KEY_MAX 511
#define LMDB_VALUE_MAX 1536

/* A copy, not in the map: valid until the next call with the same transaction or cursor. */
struct lmdb_value {
	const void *data;
	size_t len;
};

enum lmdb_access {
	LMDB_SERVE,   /* read and write; the folder is locked for this process */
	LMDB_OFFLINE, /* read only; makes no file; refused while a fobd serves the folder */
	LMDB_BESIDE,  /* read only, while a fobd serves the folder, under LMDB's own lock */
	LMDB_FILE     /* read and write without a lock: ${path} is a new copy that no other process knows */
};

struct lmdb_options {
	const char *path; /* a folder; with LMDB_FILE the file */
	enum lmdb_access access;
	const char *const *names; /* of the tables; borrowed until lmdb_close() */
	unsigned n_tables;
	uint64_t map_bytes; /* fixed for the process: to grow the map under readers ends in SIGBUS */
	unsigned readers;   /* how many read transactions at once */
	bool create;        /* make the database if there is none */
};

/*
 * lmdb_open(options, db, why, why_len):
 * Lock the folder, check that the file is complete, open it and its tables.
 * Returns: 0; a negative fault with one line at ${why}, among them -FAULT_NOT_FOUND: there is no database;
 *          -FAULT_CORRUPT: it is damaged, cut short or empty; -FAULT_DISK: its storage fails or is read-only.
 */
int lmdb_open(const struct lmdb_options *options, struct lmdb **db, char *why, size_t why_len);
/*
 * Free every transaction before. NULL is allowed. If the database has failed, the thread that wrote must have ended, as a
 * trap may have left it with LMDB's lock. (If it is the caller itself, what LMDB has open stays open.)
 */
void lmdb_close(struct lmdb *db);
/* True once the database has failed for good; and why, in a sentence that is never freed, else NULL. Threads: any. */
bool lmdb_failed(const struct lmdb *db);
const char *lmdb_failure(const struct lmdb *db);
/* It has failed for good from here on. The first reason counts; ${why} is never freed. Threads: any. */
void lmdb_fail(struct lmdb *db, const char *why);

/*
 * lmdb_look(db):
 * To be called once a second. Fails the database if its path does not name the open file any more: what is written
 * to a file without a name is lost. When all slots of readers were taken, frees those of processes that have died.
 * Threads: any.
 */
void lmdb_look(struct lmdb *db);

/* A file, whatever its name. */
struct lmdb_file {
	dev_t device;
	ino_t inode;
};
/* The file that is open. Returns: 0; -FAULT_IO. */
int lmdb_file(const struct lmdb *db, struct lmdb_file *file);
/* The file that is named ${folder}/data.mdb. Returns: 0; -FAULT_NOT_FOUND: there is none; -FAULT_IO: cannot tell. */
int lmdb_file_at(const char *folder, struct lmdb_file *file);
bool lmdb_same_file(const struct lmdb_file *a, const struct lmdb_file *b);

/*
 * lmdb_adopt(from, path, why, why_len):
 * Link the closed database of the folder ${from} into ${path}, on the same file system, and sync. A
 * database that is there already is left as it is.
 * Returns: 0, or a negative fault with one line at ${why}.
 *
 * lmdb_clear(from):
 * Remove the folder ${from} and the database files in it.
 */
int lmdb_adopt(const char *from, const char *path, char *why, size_t why_len);
void lmdb_clear(const char *from);

/*
 * A transaction object is made once and used many times, by one thread at a time.
 *
 * lmdb_read/lmdb_read_end: take the newest snapshot, and release it soon: while a snapshot is held LMDB
 * reuses no page, and the file grows without bound. Only the first lmdb_read() allocates. -FAULT_READERS: every
 * reader's slot is taken, by processes that live.
 *
 * lmdb_write/lmdb_commit/lmdb_abort: one writer at a time. The commit is durable when it returns 0.
 * lmdb_write() returns -FAULT_CORRUPT, and begins nothing, when the list of tables or of free pages is
 * damaged: every commit changes those. A list of free pages that takes more than a millisecond to
 * validate is looked at only as often as takes a twentieth of the time.
 */
struct lmdb_txn *lmdb_txn_new(struct lmdb *db);
void lmdb_txn_free(struct lmdb_txn *txn);
int lmdb_read(struct lmdb_txn *txn);
void lmdb_read_end(struct lmdb_txn *txn);
/* Of a read transaction: the number of its snapshot's commit. Two snapshots with one number are the same. */
uint64_t lmdb_snapshot(const struct lmdb_txn *txn);
int lmdb_write(struct lmdb_txn *txn);
int lmdb_commit(struct lmdb_txn *txn);
void lmdb_abort(struct lmdb_txn *txn);
/* The sticky fault of a write transaction: 0 or negative. */
int lmdb_fault(const struct lmdb_txn *txn);

/*
 * Returns: 0; -FAULT_NOT_FOUND, which may also be the effect of a damaged page (see lmdb_prove_absent());
 *          another negative fault.
 */
int lmdb_get(struct lmdb_txn *txn, unsigned table, const void *key, size_t key_len, struct lmdb_value *value);

/* One of several keys that are looked up at once. */
struct lmdb_query {
	const void *key;
	size_t key_len;
	void *to; /* gets the value */
	size_t room;
	size_t len;    /* of the value */
	uint64_t page; /* that it is on */
	int fault;     /* as lmdb_get() returns */
};

/* At most LMDB_PASS keys, in a read transaction. Their lookups are interleaved (see reader.h). */
#define LMDB_PASS 64
void lmdb_gets(struct lmdb_txn *txn, unsigned table, struct lmdb_query *queries, size_t n);

/* Log that ${page} is damaged, once for each page. lmdb_prove_absent() does it itself. Threads: any. */
void lmdb_tell_damage(struct lmdb_txn *txn, uint64_t page);

/* A copy of an entry. key_len 0: there is no entry. */
struct lmdb_entry {
	size_t key_len;
	size_t len;
	uint8_t key[LMDB_KEY_MAX];
	uint8_t value[LMDB_VALUE_MAX];
};

/* The neighbours of a key that is absent. */
struct lmdb_gap {
	struct lmdb_entry before;
	struct lmdb_entry behind;
};

/*
 * lmdb_prove_absent(txn, table, key, key_len, gap):
 * Validate that ${key}, which lmdb_get() did not find, is really absent: every page that leads to its
 * place is valid (see descent.h). *${gap} gets its neighbours; the caller checks their tags. In a write
 * transaction they are the last commit's, and a key that the transaction deleted has none.
 * Returns: -FAULT_NOT_FOUND: absent; -FAULT_CORRUPT; another negative fault.
 */
int lmdb_prove_absent(struct lmdb_txn *txn, unsigned table, const void *key, size_t key_len, struct lmdb_gap *gap);

/*
 * lmdb_put and lmdb_del validate the pages that LMDB will change. If one is damaged the transaction's
 * fault is -FAULT_CORRUPT, and LMDB is not called: a write into a damaged page may corrupt memory.
 */
void lmdb_put(struct lmdb_txn *txn, unsigned table, const void *key, size_t key_len, const void *value, size_t len);
/* Deleting a key that is absent is a fault: the caller's indexes must agree with each other. */
void lmdb_del(struct lmdb_txn *txn, unsigned table, const void *key, size_t key_len);

/* A walk in key order. */
struct lmdb_cursor {
	struct lmdb_txn *txn;
	struct descent_walk *walk; /* of a read transaction */
	void *cursor;              /* of a write transaction: LMDB's */
	unsigned table;
	struct lmdb_value key;
	struct lmdb_value value;
	uint8_t key_bytes[LMDB_KEY_MAX];
	uint8_t value_bytes[LMDB_VALUE_MAX];
};
/* To the first entry whose key is not below ${key}. Always call lmdb_cursor_end() after it, also after a
 * fault. All return as lmdb_get(). */
int lmdb_seek(struct lmdb_txn *txn, unsigned table, const void *key, size_t key_len, struct lmdb_cursor *cursor);
int lmdb_next(struct lmdb_cursor *cursor);
void lmdb_cursor_end(struct lmdb_cursor *cursor);

/* The bytes of all tables' pages; the entries of one table. 0 if a page cannot be read. */
uint64_t lmdb_used_bytes(struct lmdb_txn *txn);
uint64_t lmdb_entries(struct lmdb_txn *txn, unsigned table);
/*
 * lmdb_reserve(db, bytes):
 * Have the file system allocate ${bytes} behind what the database uses, so that a commit still fits when
 * the disk is full. Makes no system call when enough is allocated already. A file system that cannot
 * allocate is no fault.
 * Returns: 0; -FAULT_FULL.
 */
int lmdb_reserve(struct lmdb *db, uint64_t bytes);

/*
 * lmdb_reserve_commit(txn, small):
 * The same for what ${txn} has changed until now, and ${small} bytes more, if it may write more than ${small} bytes. A
 * disk that takes only a part of a write fails the database, as LMDB calls that an I/O error.
 * Returns: 0; -FAULT_FULL: abort ${txn}.
 */
int lmdb_reserve_commit(struct lmdb_txn *txn, uint64_t small);

/*
 * lmdb_copy(db, fd, stop):
 * Write a copy of the newest snapshot to ${fd}, an empty file, while others may write. Holds the snapshot
 * until it is done, or until ${fd} has taken nothing for 30 s. It then still waits for ${fd}, but stops no
 * change and holds nothing of the database. Not synced. ${stop}: given up soon after it is true; may be NULL.
 * Threads: any; makes one of its own meanwhile.
 * Returns: 0; -FAULT_FULL; -FAULT_IO; -FAULT_DEADLINE_EXCEEDED; -FAULT_CANCELLED.
 */
int lmdb_copy(struct lmdb *db, int fd, const _Atomic bool *stop);

/* Free the reader slots of processes that have died. */
void lmdb_reader_check(struct lmdb *db);
/* Was the last reader that asked for a slot refused? Threads: any. */
bool lmdb_readers_full(const struct lmdb *db);

#endif
