/*
 * init.c - make a database, its folder and its pepper (see init.h). Never changes a database that has records.
 */
#include "service/store/init.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "service/base/folder.h"
#include "service/base/log.h"
#include "service/store/internal.h"

static int
make_folder(const char *path, char *why, size_t why_len)
{
	struct stat st;

	if (mkdir(path, 0700) == 0)
		return 0;
	if (errno == EEXIST && stat(path, &st) == 0 && S_ISDIR(st.st_mode))
		return 0;
	snprintf(why, why_len, "%s: cannot make the data folder: %s", path, strerror(errno));
	return -1;
}

static bool
database_exists(const char *path)
{
	char name[4096];
	struct stat st;

	snprintf(name, sizeof(name), "%s/data.mdb", path);
	return stat(name, &st) == 0 && st.st_size > 0;
}

/* ---- was there a database before? ---- */

/* What only a database leaves in its folder; data.mdb itself if it has been emptied. */
static const char *const left_behind[] = { "data.mdb", "lastused", "fobd.lock", "lock.mdb" };

/* The file beside the pepper that notes that there is a database: it is elsewhere than the folder, which may be lost. */
static int
note_path(const struct store_options *options, char path[PATH_MAX])
{
	int n = snprintf(path, PATH_MAX, "%s.used", options->pepper);

	return n > 0 && n < PATH_MAX ? 0 : -1;
}

/* Returns whether something shows that there was a database, and writes its path to ${trace}. */
static bool
find_trace(const struct store_options *options, char trace[PATH_MAX])
{
	struct stat st;

	for (size_t i = 0; i < sizeof(left_behind) / sizeof(left_behind[0]); i++)
		if (snprintf(trace, PATH_MAX, "%s/%s", options->path, left_behind[i]) < PATH_MAX &&
		    lstat(trace, &st) == 0)
			return true;
	return note_path(options, trace) == 0 && lstat(trace, &st) == 0;
}

static int
refuse_anew(const char *trace, char *why, size_t why_len)
{
	snprintf(why, why_len,
	    "%s shows that there was a database, which is missing or empty: look whether its disk is mounted, or restore a "
	    "backup. A new database would know none of the old keys. If that is what you want, move this file away first",
	    trace);
	return -1;
}

void
store_note(const struct store_options *options)
{
	char path[PATH_MAX];
	int fd, error = ENAMETOOLONG;

	if (note_path(options, path) == 0) {
		if ((fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600)) < 0 && errno == EEXIST)
			return;
		error = fd < 0 ? errno : 0;
		if (fd >= 0 && (dprintf(fd, "There is a database of this pepper: %s\n", options->path) < 0 || fsync(fd) != 0))
			error = errno;
		if (fd >= 0 && close(fd) != 0)
			error = errno;
		if (error == 0)
			error = folder_sync_around(path);
	}
	if (error != 0)
		LOG(LOG_WARN, "cannot note beside the pepper that it has a database", LOG_S("path", path),
		    LOG_S("reason", strerror(error)));
}

/* ---- a new database ---- */

/* Write the two meta records of a new database. */
static int
found(struct store *store)
{
	struct record_identity identity = { .schema = RECORD_SCHEMA, .environment = store->environment };
	struct record_state state = { 0 };
	struct record_bytes value;
	struct lmdb_txn *txn;
	int fault;

	randombytes_buf(identity.id, sizeof(identity.id));
	pepper_fingerprint(store->pepper, identity.id, identity.environment, identity.fingerprint);
	if ((txn = lmdb_txn_new(store->lmdb)) == NULL)
		return -FAULT_INTERNAL;
	if ((fault = lmdb_write(txn)) == 0) {
		record_put_identity(store->pepper, IDENTITY, strlen(IDENTITY), &identity, &value);
		lmdb_put(txn, TABLE_META, IDENTITY, strlen(IDENTITY), value.bytes, value.len);
		record_put_state(store->pepper, STATE, strlen(STATE), &state, &value);
		lmdb_put(txn, TABLE_META, STATE, strlen(STATE), value.bytes, value.len);
		fault = lmdb_commit(txn);
	}
	lmdb_txn_free(txn);
	return fault;
}

/*
 * Has the database its identity? Returns: 1; 0 when it has nothing but empty tables; a negative fault. A database with
 * records and without an identity is damaged: if it were initialised again, every serial would be given out twice.
 */
static int
is_founded(struct store *store)
{
	struct lmdb_txn *txn;
	struct lmdb_value value;
	uint64_t records = 0;
	int fault;

	if ((txn = lmdb_txn_new(store->lmdb)) == NULL)
		return -FAULT_INTERNAL;
	if ((fault = lmdb_read(txn)) == 0) {
		fault = lmdb_get(txn, TABLE_META, IDENTITY, strlen(IDENTITY), &value);
		for (unsigned i = 0; i < TABLES; i++)
			records += lmdb_entries(txn, i);
		lmdb_read_end(txn);
	}
	lmdb_txn_free(txn);
	if (fault == -FAULT_NOT_FOUND)
		return records == 0 ? 0 : -FAULT_CORRUPT;
	return fault == 0 ? 1 : fault;
}

/*
 * A new database is made in a folder of its own, and its file is moved to its place when it is complete. A power cut may
 * leave LMDB's first pages half written, and every later start, --init included, would refuse them as damaged.
 */
static int
make_new(struct store *store, const struct store_options *options, char *why, size_t why_len)
{
	struct store_options aside = *options;
	struct lmdb_options lmdb_options;
	char folder[4096];
	int rc = -1;

	snprintf(folder, sizeof(folder), "%s/new", options->path);
	aside.path = folder;
	lmdb_options = store_lmdb_options(&aside, true);
	lmdb_clear(folder);
	if (make_folder(folder, why, why_len) != 0)
		return -1;
	if (lmdb_open(&lmdb_options, &store->lmdb, why, why_len) != 0)
		goto out;
	if (found(store) != 0)
		snprintf(why, why_len, "%s: cannot write the new database", options->path);
	else
		rc = 0;
	lmdb_close(store->lmdb);
	store->lmdb = NULL;
	if (rc == 0)
		rc = lmdb_adopt(folder, options->path, why, why_len) == 0 ? 0 : -1;
out:
	lmdb_clear(folder);
	return rc;
}

int
store_init(const struct store_options *options, char *why, size_t why_len)
{
	struct store store = { .environment = options->environment };
	struct lmdb_options lmdb_options = store_lmdb_options(options, true);
	char trace[PATH_MAX];
	struct pepper *pepper;
	bool is_new, is_lost, joins = options->to_replace;
	int founded, rc = -1;

	if (make_folder(options->path, why, why_len) != 0)
		return -1;
	/* In this order, so that a database that another process makes meanwhile is not taken for a lost one. */
	is_lost = find_trace(options, trace);
	is_new = !database_exists(options->path);
	if (is_new && is_lost && !joins)
		return refuse_anew(trace, why, why_len);
	if (is_new && !joins && pepper_create(options->pepper, why, why_len) < 0)
		return -1;
	if (pepper_load(options->pepper, &pepper, why, why_len) != 0)
		return -1;
	store.pepper = pepper;
	/* A pepper gets a second line only for a database. */
	if (is_new && !joins && pepper_lines(pepper) > 1) {
		refuse_anew(options->pepper, why, why_len);
		goto err0;
	}
	if (is_new && make_new(&store, options, why, why_len) != 0)
		goto err0;
	/* An older fobd whose first start was cut off left a database without an identity. It is completed here. */
	if (lmdb_open(&lmdb_options, &store.lmdb, why, why_len) != 0)
		goto err0;
	if ((founded = is_founded(&store)) < 0)
		snprintf(why, why_len, "%s: the database has no identity: it was not made by fobd, or it is damaged",
		    options->path);
	else if (founded == 0 && found(&store) != 0)
		snprintf(why, why_len, "%s: cannot write the new database", options->path);
	else
		rc = 0;
	lmdb_close(store.lmdb);
	if (rc == 0)
		store_note(options);
err0:
	pepper_free(pepper);
	return rc;
}
