/*
 * open.c - open a database, and refuse one that is not what it should be: of this environment, schema and pepper, and not
 * a copy where none is meant (see open.h). Writes nothing but the identity of a database that it raises to a newer schema.
 */
#include "service/store/open.h"

#include <assert.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "service/base/log.h"
#include "service/base/names.h"
#include "service/store/copy.h"
#include "service/store/internal.h"

static const char *const table_names[TABLES] = {
	[TABLE_META] = "meta",
	[TABLE_KEYS] = "keys",
	[TABLE_ACCOUNTS] = "accounts",
	[TABLE_SLOTS] = "slots",
	[TABLE_EXPIRY] = "expiry",
	[TABLE_TOKENS] = "tokens",
	[TABLE_TOKEN_AGE] = "token_age",
	[TABLE_EVENTS] = "events",
};

static enum lmdb_access
access_of(enum store_use use)
{
	switch (use) {
	case STORE_CHECK:
		return LMDB_OFFLINE;
	case STORE_COPY:
		return LMDB_BESIDE;
	case STORE_MARK:
	case STORE_JOIN:
		return LMDB_FILE;
	default:
		return LMDB_SERVE;
	}
}

struct lmdb_options
store_lmdb_options(const struct store_options *options, bool create)
{
	return (struct lmdb_options){
		.path = options->path,
		.names = table_names,
		.n_tables = TABLES,
		/* Twice the ceiling, so that changes that end keys still fit when the ceiling is reached. */
		.map_bytes = options->ceiling_bytes * 2,
		.readers = options->readers,
		.create = create,
		.access = access_of(options->use),
	};
}

/* After LMDB has opened the file, a fault to read is the disk's, and not a wrong setting. */
static int
opening_fault(int fault)
{
	return fault == -FAULT_IO ? -FAULT_DISK : fault;
}

/* A read that failed does not mean that the database is damaged. Returns the fault of store_open(). */
static int
cannot_read(const struct store *store, int fault, char *why, size_t why_len)
{
	snprintf(why, why_len, "%s: the database cannot be read%s", store->path,
	    fault == -FAULT_INTERNAL ? ": out of memory" : "");
	return opening_fault(fault);
}

/* Use as many of the pepper's lines as make this fingerprint. Returns how many; 0: no number of them does. */
static unsigned
fit_pepper(struct pepper *pepper, const struct record_identity *identity, const uint8_t wanted[PEPPER_DIGEST_LEN])
{
	uint8_t fingerprint[PEPPER_DIGEST_LEN];

	for (unsigned n = pepper_lines(pepper); n > 0; n--) {
		pepper_use(pepper, 0, n);
		pepper_fingerprint(pepper, identity->id, identity->environment, fingerprint);
		if (sodium_memcmp(fingerprint, wanted, sizeof(fingerprint)) == 0)
			return n;
	}
	return 0;
}

/*
 * Does the pepper fit another record of the database, but not the identity? Then the identity is damaged, and what it says
 * of schema, environment and pepper is not believed: only this environment must fail. During a rotation other records may
 * fit a pepper that lacks the new line, so they show nothing.
 */
static bool
identity_is_damaged(struct store *store, struct lmdb_txn *txn, const struct lmdb_value *identity)
{
	struct pepper *pepper = store->pepper;
	struct lmdb_value state;
	bool fits = false;

	if (lmdb_get(txn, TABLE_META, ROTATION, strlen(ROTATION), &state) != -FAULT_NOT_FOUND ||
	    lmdb_get(txn, TABLE_META, STATE, strlen(STATE), &state) != 0)
		return false;
	for (unsigned n = pepper_lines(pepper); n > 0; n--) {
		pepper_use(pepper, 0, n);
		if (record_sound(pepper, TABLE_META, IDENTITY, strlen(IDENTITY), identity->data, identity->len) == 0)
			return false;
		fits = fits || record_sound(pepper, TABLE_META, STATE, strlen(STATE), state.data, state.len) == 0;
	}
	return fits;
}

/* Is this database of this environment, schema and pepper? */
static int
check_identity(struct store *store, struct lmdb_txn *txn, const char *pepper_path, struct record_identity *out,
    char *why, size_t why_len)
{
	uint8_t bytes[LMDB_VALUE_MAX];
	struct record_identity identity;
	struct lmdb_value value;
	int fault;

	fault = lmdb_get(txn, TABLE_META, IDENTITY, strlen(IDENTITY), &value);
	if (fault == -FAULT_IO || fault == -FAULT_INTERNAL)
		return cannot_read(store, fault, why, why_len);
	if (fault == 0) {
		memcpy(bytes, value.data, value.len);
		value.data = bytes;
	}
	if (fault != 0 ||
	    record_get_identity(NULL, IDENTITY, strlen(IDENTITY), value.data, value.len, &identity) != 0) {
		snprintf(why, why_len, "%s: the database was not made by fobd, or it is damaged", store->path);
		return -FAULT_CORRUPT;
	}
	if (identity_is_damaged(store, txn, &value)) {
		snprintf(why, why_len, "%s: the database's identity is damaged: restore it from a backup", store->path);
		return -FAULT_CORRUPT;
	}
	if (identity.schema > RECORD_SCHEMA_CLUSTER) {
		snprintf(why, why_len, "%s: made by a newer fobd (schema %u, this one knows %u)", store->path,
		    identity.schema, RECORD_SCHEMA_CLUSTER);
		return -FAULT_FAILED_PRECONDITION;
	}
	if (identity.environment != store->environment) {
		snprintf(why, why_len, "%s: this is a %s database, configured as %s", store->path,
		    environment_name(identity.environment), environment_name(store->environment));
		return -FAULT_FAILED_PRECONDITION;
	}
	if (fit_pepper(store->pepper, &identity, identity.fingerprint) == 0) {
		snprintf(why, why_len,
		    "%s: this pepper does not belong to the database %s: use the file that it was made with, including the "
		    "line of each rotation since",
		    pepper_path, store->path);
		return -FAULT_FAILED_PRECONDITION;
	}
	if (record_get_identity(store->pepper, IDENTITY, strlen(IDENTITY), value.data, value.len, &identity) != 0) {
		snprintf(why, why_len, "%s: the database's identity is damaged: restore it from a backup", store->path);
		return -FAULT_CORRUPT;
	}
	*out = identity;
	return 0;
}

static int
commit_identity(struct store *store, const struct record_identity *identity)
{
	struct record_bytes value;
	struct lmdb_txn *txn;
	int fault = -FAULT_INTERNAL;

	record_put_identity(store->pepper, IDENTITY, strlen(IDENTITY), identity, &value);
	if ((txn = lmdb_txn_new(store->lmdb)) != NULL && (fault = lmdb_write(txn)) == 0) {
		lmdb_put(txn, TABLE_META, IDENTITY, strlen(IDENTITY), value.bytes, value.len);
		fault = lmdb_commit(txn);
	}
	lmdb_txn_free(txn);
	return fault;
}

int
store_settle(struct store *store, char *why, size_t why_len)
{
	int fault;

	if ((fault = commit_identity(store, &store->identity)) != 0)
		snprintf(why, why_len, "%s: the database cannot be written%s", store->path,
		    fault == -FAULT_FULL ? ": the disk is full" : "");
	return opening_fault(fault);
}

/*
 * Records will be written in this fobd's schema from now on, and an older fobd would take them for damaged ones; with the
 * new schema in the identity it refuses the database. Records that are there stay as they are: each is read in its own
 * version, and is written in the newest.
 */
static int
raise_schema(struct store *store, struct record_identity *identity, char *why, size_t why_len)
{
	uint32_t from = identity->schema;
	int fault;

	if (from >= RECORD_SCHEMA)
		return 0;
	identity->schema = RECORD_SCHEMA;
	if ((fault = commit_identity(store, identity)) != 0)
		snprintf(why, why_len, "%s: the database is of schema %u and cannot be raised to %u: %s", store->path,
		    from, RECORD_SCHEMA, fault == -FAULT_FULL ? "the disk is full: make room" : "it cannot be written");
	else
		LOG(LOG_INFO, "database raised to a newer schema: an older fobd will refuse it",
		    LOG_S("environment", environment_name(store->environment)), LOG_S("path", store->path),
		    LOG_I("from", from), LOG_I("to", RECORD_SCHEMA));
	return opening_fault(fault);
}

/* Is the database a copy, and may it be one for this use? A copy lacks what ended after it was taken. */
static int
check_use(struct store *store, struct lmdb_txn *lmdb_txn, enum store_use use, char *why, size_t why_len)
{
	struct store_txn txn = { .store = store, .txn = lmdb_txn, .pepper = store->pepper };
	struct record_copy copy;
	char at[32] = "";
	time_t taken_s;
	struct tm tm;
	int fault;

	if ((fault = store_copy_mark(&txn, &copy)) == -FAULT_IO || fault == -FAULT_INTERNAL)
		return cannot_read(store, fault, why, why_len);
	if (fault != 0 && fault != -FAULT_NOT_FOUND) {
		snprintf(why, why_len, "%s: the record that says whether this is a backup is damaged", store->path);
		return fault;
	}
	if ((use == STORE_RESTORE || use == STORE_JOIN) && fault != 0) {
		snprintf(why, why_len, "%s: this is not a backup: there is nothing to restore", store->path);
		return -FAULT_FAILED_PRECONDITION;
	}
	if (fault != 0 || (use != STORE_SERVE && use != STORE_COPY))
		return 0;
	taken_s = (time_t)(copy.taken_ms / 1000);
	if (gmtime_r(&taken_s, &tm) != NULL)
		strftime(at, sizeof(at), "%Y-%m-%dT%H:%M:%SZ", &tm);
	snprintf(why, why_len,
	    "%s: this is a backup, taken %s at revision %llu: keys that have ended since would be valid again. "
	    "fob restore --help says how to end them",
	    store->path, at, (unsigned long long)copy.revision);
	return -FAULT_FAILED_PRECONDITION;
}

/* Go on with a rotation that is under way. Returns: 0: there is none; 1: there is; a negative fault. */
static int
resume_rotation(
    struct store *store, struct lmdb_txn *lmdb_txn, const struct record_identity *identity, char *why, size_t why_len)
{
	struct store_txn txn = { .store = store, .txn = lmdb_txn, .pepper = store->pepper };
	struct record_rotation *rotation = &store->rotation;
	struct lmdb_value value;
	unsigned old, newest;
	int fault;

	/* If this record were missed, keys that are not rotated yet would not be found. */
	if ((fault = store_get(&txn, TABLE_META, ROTATION, strlen(ROTATION), &value)) == -FAULT_NOT_FOUND)
		return 0;
	if (fault == -FAULT_IO || fault == -FAULT_INTERNAL)
		return cannot_read(store, fault, why, why_len);
	if (fault != 0) {
		snprintf(why, why_len,
		    "%s: the record that says whether the pepper is being rotated is damaged: restore the database from a "
		    "backup",
		    store->path);
		return fault;
	}
	newest = fit_pepper(store->pepper, identity, identity->fingerprint);
	fault = record_get_rotation(store->pepper, ROTATION, strlen(ROTATION), value.data, value.len, rotation);
	if (fault == 0 && (old = fit_pepper(store->pepper, identity, rotation->old_fingerprint)) != 0 && old < newest) {
		pepper_use(store->pepper, old, newest);
		return 1;
	}
	snprintf(why, why_len, "%s: the record of the pepper's rotation is damaged: restore the database from a backup",
	    store->path);
	return -FAULT_CORRUPT;
}

struct pepper *
store_keep_pepper(struct store *store, struct pepper *pepper)
{
	assert(store->n_kept < PEPPERS_MAX);
	return store->kept[store->n_kept++] = pepper;
}

/* Set which lines of the pepper are in use, and whether a rotation is under way. */
static int
start_pepper(struct store *store, struct lmdb_txn *txn, bool serves, char *why, size_t why_len)
{
	struct pepper *rotated;
	int resumed;

	if ((resumed = resume_rotation(store, txn, &store->identity, why, why_len)) < 0)
		return resumed;
	if ((rotated = pepper_using(store->pepper, 0, pepper_newest(store->pepper))) == NULL) {
		snprintf(why, why_len, "out of memory");
		return -FAULT_INTERNAL;
	}
	store->rotated = store_keep_pepper(store, rotated);
	store->next_rotation = store->rotation;
	if (resumed > 0 && serves)
		LOG(LOG_INFO, "pepper rotation goes on", LOG_S("environment", environment_name(store->environment)),
		    LOG_I("keys_rotated", store->rotation.keys), LOG_I("records_rotated", store->rotation.records));
	return 0;
}

/* A state that cannot be read is reported by writer_start(), which needs it; other users do not. */
static void
look_for_imports(struct store *store, struct lmdb_txn *txn)
{
	struct record_state state;
	struct lmdb_value value;

	if (lmdb_get(txn, TABLE_META, STATE, strlen(STATE), &value) == 0 &&
	    record_get_state(store->pepper, STATE, strlen(STATE), value.data, value.len, &state) == 0)
		store->has_imported = state.imported;
}

static int
load_pepper(struct store *store, const char *path, char *why, size_t why_len)
{
	struct pepper *pepper;

	if (pepper_load(path, &pepper, why, why_len) != 0)
		return -FAULT_FAILED_PRECONDITION;
	store->pepper = store->file = store_keep_pepper(store, pepper);
	return 0;
}

int
store_open(const struct store_options *options, struct store **out, char *why, size_t why_len)
{
	struct lmdb_options lmdb_options = store_lmdb_options(options, false);
	struct lmdb_txn *txn = NULL;
	struct store *store;
	int fault = -FAULT_INTERNAL;

	if ((store = calloc(1, sizeof(*store))) == NULL || (store->path = strdup(options->path)) == NULL) {
		snprintf(why, why_len, "out of memory");
		goto out;
	}
	store->environment = options->environment;
	store->ceiling_bytes = options->ceiling_bytes;
	store->events_kept = options->events_kept;
	if ((fault = load_pepper(store, options->pepper, why, why_len)) != 0 ||
	    (fault = lmdb_open(&lmdb_options, &store->lmdb, why, why_len)) != 0)
		goto out;
	fault = -FAULT_INTERNAL;
	if ((txn = lmdb_txn_new(store->lmdb)) == NULL || (fault = lmdb_read(txn)) != 0) {
		fault = cannot_read(store, fault, why, why_len);
		goto out;
	}
	if ((fault = check_identity(store, txn, options->pepper, &store->identity, why, why_len)) != 0 ||
	    (fault = check_use(store, txn, options->use, why, why_len)) != 0)
		goto out;
	if (options->use == STORE_SERVE || options->use == STORE_RESTORE) {
		lmdb_read_end(txn);
		if ((fault = raise_schema(store, &store->identity, why, why_len)) != 0)
			goto out;
		if ((fault = lmdb_read(txn)) != 0) {
			fault = cannot_read(store, fault, why, why_len);
			goto out;
		}
	}
	if ((fault = start_pepper(store, txn, options->use == STORE_SERVE, why, why_len)) == 0)
		look_for_imports(store, txn);
out:
	lmdb_txn_free(txn);
	if (fault == 0)
		*out = store;
	else
		store_close(store);
	return fault;
}

void
store_close(struct store *store)
{
	if (store == NULL)
		return;
	lmdb_close(store->lmdb);
	/* The newest first: pepper_using() made it of lines that an older one holds. */
	while (store->n_kept > 0)
		pepper_free(store->kept[--store->n_kept]);
	free(store->path);
	free(store);
}
