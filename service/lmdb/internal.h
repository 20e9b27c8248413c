/*
 * internal.h - what this room's files that include <lmdb.h> share: open.c, lmdb.c, get.c, copy.c and upkeep.c.
 */
#ifndef LMDB_INTERNAL_H
#define LMDB_INTERNAL_H

#include <lmdb.h>
#include <stdatomic.h>
#include <sys/types.h>

#include "service/lmdb/descent.h"
#include "service/lmdb/lmdb.h"

#define LMDB_TABLES_MAX 16
#define DAMAGED_TOLD 64

/* LMDB's own two tables: the list of free pages, and the table that lists all tables. */
enum { LMDB_FREE_PAGES = 0, LMDB_ALL_TABLES = 1 };

struct lmdb {
	MDB_env *env;
	MDB_dbi tables[LMDB_TABLES_MAX];
	unsigned n_tables;
	const char *const *names;
	int lock_fd;
	uint64_t page_bytes;
	struct descent_map map; /* a mapping of our own: LMDB does not tell where it mapped the file */
	uint64_t reserved_to;   /* the file is allocated up to here; only the writer uses it */
	MDB_cursor *walks[2];   /* of lmdb_open(), here so that they can be closed after a trap */
	char *path;             /* to look whether its data.mdb is still this file; NULL: not looked at */
	struct lmdb_file file;
	int64_t next_check_ns; /* of the free pages, by CLOCK_BOOTTIME; only the writer uses it */
	_Atomic bool readers_full;
	_Atomic uint64_t damaged[DAMAGED_TOLD]; /* pages of which the log was told */
	const char *_Atomic failure;            /* NULL: it has not failed */
	_Atomic pid_t left_by; /* the thread that a trap left with a write transaction, and LMDB's lock; 0: none */
};

struct lmdb_txn {
	struct lmdb *db;
	MDB_txn *txn;
	int fault;
	bool begun; /* a read transaction that can be renewed */
	bool write;
	bool left;                     /* a trap has left this write transaction half-way: nothing of it is freed */
	bool written[LMDB_TABLES_MAX]; /* tables that this write transaction has changed */
	uint64_t changes;              /* records that it has put or deleted */
	struct descent_walk *spare[LMDB_TABLES_MAX]; /* a read transaction's walks, used again instead of allocated */
	uint8_t value[LMDB_VALUE_MAX];
	/* The snapshot of a read transaction, as get.c reads it; kept as long as no commit is made. */
	bool rooted; /* ${root} is that of the commit ${root_txnid} */
	uint64_t root_txnid;
	struct descent_root root;
	struct descent_map pages; /* up to the snapshot's last page */
	bool known[LMDB_TABLES_MAX];
	struct descent_tree trees[LMDB_TABLES_MAX];
};

/* Every LMDB or system error becomes a fault here. */
int lmdb_fault_of(int rc);

/* Does the path still name the open file? If not, the database has failed. */
bool lmdb_in_place(struct lmdb *db);

/* A trap has sprung inside LMDB: this database has failed. Returns -FAULT_CORRUPT. */
int lmdb_sprung(struct lmdb *db);
/* The same for a call with ${txn}. A write transaction that was left half-way can neither go on nor be aborted. */
int lmdb_left_by_trap(struct lmdb_txn *txn);

/* How long the file must be by LMDB's own count of pages; 0 if that cannot be read. */
uint64_t lmdb_counted_bytes(struct lmdb *db);

/* LMDB's interface takes keys and values as void *, but does not write to them. */
MDB_val lmdb_val(const void *data, size_t len);
/*
 * Copy what LMDB found to ${to}, which has ${size} bytes. Called with the trap set: in a damaged page the value's address
 * and its length may both be wrong. Returns 0 or MDB_CORRUPTED.
 */
int lmdb_copy_out(const MDB_val *from, uint8_t *to, size_t size, struct lmdb_value *value);

/*
 * After a read transaction has begun: find the root of its snapshot.
 * Returns: 0; -FAULT_NOT_FOUND: its meta page is a later commit's by now; -FAULT_CORRUPT.
 */
int lmdb_take_root(struct lmdb_txn *txn);
/* A table's record as of a transaction's snapshot (see get.c). Called with a trap set. */
int lmdb_find_tree(struct lmdb_txn *txn, unsigned table, struct descent_tree *tree);

/*
 * Validate the pages that lead to ${key}; with ${beside}, also the pages next to them. When ${key} is absent and ${gap} is
 * not NULL, *${gap} gets its neighbours.
 * Returns: 0: it is there; -FAULT_NOT_FOUND; another fault.
 */
int
lmdb_descend(struct lmdb_txn *txn, unsigned table, const void *key, size_t key_len, bool beside, struct lmdb_gap *gap);

#endif
