/*
 * fixture.h - shared by the service's unit tests: a new folder, a pepper, an open store, a clock that the test sets, and
 * damage to a record. The functions are inline, so that a test program need not use all. Include it after <cmocka.h>.
 */
#ifndef FIXTURE_H
#define FIXTURE_H

#include <dirent.h>
#include <errno.h>
#include <ftw.h>
#include <sodium.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "service/base/clock.h"
#include "service/base/names.h"
#include "service/lmdb/lmdb.h"
#include "service/store/apply.h"
#include "service/store/init.h"
#include "service/store/open.h"
#include "service/store/record.h"
#include "service/store/store.h"

#define FIXTURE_PATH 512

/* Some day in 2026, on a full second. */
#define FIXTURE_NOW_MS INT64_C(1790000000000)
#define FIXTURE_HOUR_MS INT64_C(3600000)
#define FIXTURE_DAY_MS (24 * FIXTURE_HOUR_MS)

/* How many descriptors this process has open. */
static inline unsigned
fixture_descriptors(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned n = 0;

	while (readdir(dir) != NULL)
		n++;
	closedir(dir);
	return n;
}

/* A group's setup, for every test program that uses a pepper. */
static inline int
fixture_begin(void **state)
{
	(void)state;
	return sodium_init() < 0 ? -1 : 0;
}

/* ---- a folder ---- */

/* Make a new folder below $TMPDIR; its path goes to ${folder}. */
static inline void
fixture_folder(char folder[FIXTURE_PATH])
{
	const char *tmp = getenv("TMPDIR");

	snprintf(folder, FIXTURE_PATH, "%s/fob-unit-XXXXXX", tmp != NULL && tmp[0] != '\0' ? tmp : "/tmp");
	assert_non_null(mkdtemp(folder));
}

static inline int
fixture_remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

/* Remove ${folder} with all that is in it; links are removed, not followed. */
static inline void
fixture_remove(const char *folder)
{
	assert_int_equal(nftw(folder, fixture_remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
}

/* ${folder}/${name} at ${path}. */
static inline const char *
fixture_path(const char *folder, const char *name, char path[FIXTURE_PATH])
{
	assert_true(snprintf(path, FIXTURE_PATH, "%s/%s", folder, name) < FIXTURE_PATH);
	return path;
}

/* Write a file of ${mode} with these bytes, replacing an old one. */
static inline void
fixture_write_file(const char *path, const void *data, size_t len, mode_t mode)
{
	FILE *f;

	unlink(path);
	assert_non_null(f = fopen(path, "w"));
	assert_int_equal(fwrite(data, 1, len, f), len);
	assert_int_equal(fclose(f), 0);
	assert_int_equal(chmod(path, mode), 0);
}

/* ---- a pepper: one for each ${seed} ---- */

static inline struct pepper *
fixture_pepper(uint8_t seed)
{
	uint8_t bytes[32];
	struct pepper *pepper;

	for (unsigned i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(seed + i);
	assert_non_null(pepper = pepper_from_bytes(bytes));
	return pepper;
}

/* ---- a store ---- */

/* An environment below its own folder. */
struct fixture_store {
	char folder[FIXTURE_PATH];
	char path[FIXTURE_PATH];   /* of the database's folder */
	char pepper[FIXTURE_PATH]; /* the pepper's file */
	struct store_options options;
	struct store *store;
	struct store_txn *reader;
	struct store_txn *writer;
};

static inline void
fixture_store_open(struct fixture_store *f)
{
	char why[512] = "";

	if (store_open(&f->options, &f->store, why, sizeof(why)) != 0)
		fail_msg("store_open: %s", why);
	assert_non_null(f->reader = store_txn_new(f->store));
	assert_non_null(f->writer = store_txn_new(f->store));
}

static inline void
fixture_store_close(struct fixture_store *f)
{
	store_txn_free(f->reader);
	store_txn_free(f->writer);
	store_close(f->store);
	f->reader = f->writer = NULL;
	f->store = NULL;
}

/* Choose the store's paths and options. Only the folder is made. */
static inline void
fixture_store_prepare(struct fixture_store *f, enum environment environment)
{
	memset(f, 0, sizeof(*f));
	fixture_folder(f->folder);
	fixture_path(f->folder, environment_name(environment), f->path);
	fixture_path(f->folder, "pepper", f->pepper);
	f->options = (struct store_options){
		.environment = environment,
		.path = f->path,
		.pepper = f->pepper,
		.ceiling_bytes = 64U << 20,
		.events_kept = 1000,
		.readers = 64,
	};
}

/* Make a store and open it. */
static inline void
fixture_store(struct fixture_store *f, enum environment environment)
{
	char why[512] = "";

	fixture_store_prepare(f, environment);
	if (store_init(&f->options, why, sizeof(why)) != 0)
		fail_msg("store_init: %s", why);
	fixture_store_open(f);
}

/* Close it, if it is open, and remove everything. */
static inline void
fixture_store_end(struct fixture_store *f)
{
	fixture_store_close(f);
	fixture_remove(f->folder);
}

/* Apply one change in its own transaction, as the writer does. */
static inline int
fixture_apply(struct fixture_store *f, const struct change *change)
{
	struct record_state state;
	int fault;

	assert_int_equal(store_write(f->writer), 0);
	if ((fault = store_state(f->writer, &state)) != 0 || (fault = store_apply(f->writer, change, &state)) != 0 ||
	    (fault = store_put_state(f->writer, &state)) != 0) {
		store_abort(f->writer);
		return fault;
	}
	return store_commit(f->writer);
}

/* ---- damage: change the database without the store, which must be closed ---- */

static inline struct lmdb *
fixture_raw_open(const struct fixture_store *f)
{
	static const char *const names[TABLES] = { "meta", "keys", "accounts", "slots", "expiry", "tokens", "token_age",
		"events" };
	struct lmdb_options options = { .path = f->path,
		.names = names,
		.n_tables = TABLES,
		.map_bytes = f->options.ceiling_bytes * 2,
		.readers = 4 };
	struct lmdb *db;
	char why[512] = "";

	assert_null(f->store);
	if (lmdb_open(&options, &db, why, sizeof(why)) != 0)
		fail_msg("lmdb_open: %s", why);
	return db;
}

/* Put a value, or with NULL delete the entry. */
static inline void
fixture_raw_put(
    const struct fixture_store *f, enum table table, const void *key, size_t key_len, const void *value, size_t len)
{
	struct lmdb *db = fixture_raw_open(f);
	struct lmdb_txn *txn = lmdb_txn_new(db);

	assert_non_null(txn);
	assert_int_equal(lmdb_write(txn), 0);
	if (value != NULL)
		lmdb_put(txn, table, key, key_len, value, len);
	else
		lmdb_del(txn, table, key, key_len);
	assert_int_equal(lmdb_commit(txn), 0);
	lmdb_txn_free(txn);
	lmdb_close(db);
}

/*
 * Flip one bit of an entry's value. Bits count from the lowest one of the first byte; -1 is the last bit of the value.
 */
static inline void
fixture_flip(const struct fixture_store *f, enum table table, const void *key, size_t key_len, long bit)
{
	struct lmdb *db = fixture_raw_open(f);
	struct lmdb_txn *txn = lmdb_txn_new(db);
	struct lmdb_value value;
	uint8_t bytes[RECORD_MAX];
	size_t at;

	assert_non_null(txn);
	assert_int_equal(lmdb_write(txn), 0);
	assert_int_equal(lmdb_get(txn, table, key, key_len, &value), 0);
	assert_true(value.len <= sizeof(bytes));
	memcpy(bytes, value.data, value.len);
	at = bit >= 0 ? (size_t)bit : value.len * 8 - (size_t)-bit;
	assert_true(at < value.len * 8);
	bytes[at / 8] ^= (uint8_t)(1U << at % 8);
	lmdb_put(txn, table, key, key_len, bytes, value.len);
	assert_int_equal(lmdb_commit(txn), 0);
	lmdb_txn_free(txn);
	lmdb_close(db);
}

/* ---- a clock that stands still until the test sets it ---- */

struct fixture_clock {
	struct clock clock;
	_Atomic int64_t wall_ns;
	_Atomic int64_t boot_ns;
};

static inline int64_t
fixture_wall_ns(void *arg)
{
	return atomic_load(&((struct fixture_clock *)arg)->wall_ns);
}

static inline int64_t
fixture_boot_ns(void *arg)
{
	return atomic_load(&((struct fixture_clock *)arg)->boot_ns);
}

/* Set the clock to ${now_ms}; the machine has been up for an hour. */
static inline void
fixture_clock(struct fixture_clock *f, int64_t now_ms)
{
	atomic_init(&f->wall_ns, now_ms * 1000000);
	atomic_init(&f->boot_ns, FIXTURE_HOUR_MS * 1000000);
	clock_init_with(&f->clock, fixture_wall_ns, fixture_boot_ns, f);
}

/* Advance both the wall clock and the boot clock. */
static inline void
fixture_clock_pass(struct fixture_clock *f, int64_t ms)
{
	/* The boot clock first: a reading in between then sees the old time, and not twice the step. */
	atomic_fetch_add(&f->boot_ns, ms * 1000000);
	atomic_fetch_add(&f->wall_ns, ms * 1000000);
}

/* Set the wall clock only. */
static inline void
fixture_clock_set(struct fixture_clock *f, int64_t now_ms)
{
	atomic_store(&f->wall_ns, now_ms * 1000000);
}

#endif
