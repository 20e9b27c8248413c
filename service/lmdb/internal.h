/*
 * internal.h - what open.c, lmdb.c and copy.c share. They are the only files that include <lmdb.h>.
 */
#ifndef LMDB_INTERNAL_H
#define LMDB_INTERNAL_H

#include <lmdb.h>
#include <stdatomic.h>

#include "service/lmdb/descent.h"
#include "service/lmdb/lmdb.h"

#define LMDB_TABLES_MAX 16

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
	_Atomic bool failed;
	_Atomic bool sprung; /* a trap has sprung inside LMDB: its state is undefined, so nothing of it is freed */
};

/* Every LMDB or system error becomes a fault here. */
int lmdb_fault_of(int rc);

/* A trap has sprung inside LMDB: this database has failed. Returns -FAULT_CORRUPT. */
int lmdb_sprung(struct lmdb *db);

/* How long the file must be by LMDB's own count of pages; 0 if that cannot be read. */
uint64_t lmdb_counted_bytes(struct lmdb *db);

#endif
