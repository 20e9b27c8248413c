/*
 * open.h - open one environment's database, and refuse one that is not what it should be.
 */
#ifndef OPEN_H
#define OPEN_H

#include "service/store/store.h"

/* What the database is opened for. */
enum store_use {
	STORE_SERVE,   /* to read and write it, alone. A database that is marked as a copy is refused */
	STORE_CHECK,   /* to read it while no fobd serves it; also a copy */
	STORE_COPY,    /* to copy it while a fobd may serve it */
	STORE_MARK,    /* to mark a copy as one: ${path} is the file that was just made */
	STORE_RESTORE, /* to make a marked copy one that is served; any other is refused */
	STORE_JOIN,    /* the same of a file: ${path} was just received */
};

struct store_options {
	enum environment environment;
	enum store_use use;
	const char *path;
	const char *pepper; /* file */
	uint64_t ceiling_bytes;
	uint64_t events_kept;
	unsigned readers;
	bool to_replace; /* store_init(): the database is made to be replaced by a copy */
};

/*
 * store_open(options, store, why, why_len):
 * Open an existing database and check that it is whole, of this environment, of no newer schema, and belongs to this
 * pepper. A database of an older schema is raised to this one by a commit of its identity alone, which is logged.
 * Returns: 0, *${store} to be closed with store_close(); -FAULT_CORRUPT for damage; -FAULT_FULL; -FAULT_DISK for
 *          storage that fails or is read-only; -FAULT_NOT_FOUND: no database; another negative fault for what an
 *          operator has set wrongly (another's pepper, a backup, ...). One line at ${why}.
 */
int store_open(const struct store_options *options, struct store **store, char *why, size_t why_len);
void store_close(struct store *store);

/*
 * store_settle(store, why, why_len):
 * Make a commit that changes nothing, before anything else is done with a database that has failed in this process: after
 * a write that failed the system may show a commit that the disk does not have. When this one succeeds, the disk has both.
 * Returns: as store_open(). If it fails, close the store when this thread has ended: see lmdb_close().
 */
int store_settle(struct store *store, char *why, size_t why_len);

#endif
