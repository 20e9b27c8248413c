/*
 * copy.c - copy a database to a file, and mark a copy as one (see copy.h). Knows no folder: whoever asks for a copy
 * gives it its name once it has its mark.
 */
#include "service/store/copy.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "service/base/clock.h"
#include "service/base/folder.h"
#include "service/store/internal.h"

/* The copy is mapped while it is marked, with some room to write the mark. */
#define MARK_BYTES (16U << 20)

static const char *
reason_of(int fault)
{
	switch (fault) {
	case -FAULT_FULL:
		return "the disk is full";
	case -FAULT_DEADLINE_EXCEEDED:
		return "the disk took nothing for 30 s";
	case -FAULT_CANCELLED:
		return "it was given up";
	default:
		return "the database cannot be read, or the file not written";
	}
}

/* Returns 0, or a negative fault with one line at ${why}. */
static int
write_copy(struct store *store, const char *path, const _Atomic bool *stop, char *why, size_t why_len)
{
	int fd, fault;

	if ((fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600)) < 0) {
		fault = folder_fault(errno);
		snprintf(why, why_len, "%s: cannot make this file: %s", path, strerror(errno));
		return fault;
	}
	if ((fault = lmdb_copy(store->lmdb, fd, stop)) != 0)
		snprintf(why, why_len, "%s: cannot write the copy: %s", path, reason_of(fault));
	else if (fsync(fd) != 0) {
		fault = folder_fault(errno);
		snprintf(why, why_len, "%s: cannot sync the copy: %s", path, strerror(errno));
	}
	if (close(fd) != 0 && fault == 0) {
		fault = folder_fault(errno);
		snprintf(why, why_len, "%s: cannot close the copy: %s", path, strerror(errno));
	}
	return fault;
}

static void
put_mark(struct store_txn *txn, const struct record_copy *copy)
{
	struct record_bytes value;

	record_put_copy(txn->pepper, COPY, strlen(COPY), copy, &value);
	lmdb_put(txn->txn, TABLE_META, COPY, strlen(COPY), value.bytes, value.len);
}

/* Mark the file as a copy, so that fobd refuses to serve it. The same returns. */
static int
mark(const struct store_options *options, const char *path, struct record_copy *copied, char *why, size_t why_len)
{
	struct store_options of_copy = *options;
	struct store_txn *txn = NULL;
	struct record_state state;
	struct store *store;
	struct stat st;
	int fault;

	of_copy.use = STORE_MARK;
	of_copy.path = path;
	if (stat(path, &st) == 0)
		of_copy.ceiling_bytes = (uint64_t)st.st_size + MARK_BYTES;
	if ((fault = store_open(&of_copy, &store, why, why_len)) != 0)
		return fault;
	fault = -FAULT_INTERNAL;
	if ((txn = store_txn_new(store)) != NULL && (fault = store_write(txn)) == 0) {
		if ((fault = store_state(txn, &state)) == 0) {
			copied->revision = state.revision;
			copied->event_sequence = state.event_sequence;
			put_mark(txn, copied);
			fault = store_commit(txn);
		} else {
			store_abort(txn);
		}
	}
	store_txn_free(txn);
	store_close(store);
	if (fault != 0)
		snprintf(why, why_len, "%s: cannot mark this file as a copy: %s", path,
		    fault == -FAULT_FULL ? "the disk is full" : "it cannot be written, or is damaged");
	return fault;
}

int
store_copy(struct store *store, const struct store_options *options, const char *path, const _Atomic bool *stop,
    struct record_copy *copied, char *why, size_t why_len)
{
	int fault;

	*copied = (struct record_copy){ .taken_ms = clock_wall_ms() };
	if ((fault = write_copy(store, path, stop, why, why_len)) != 0)
		return fault;
	return mark(options, path, copied, why, why_len);
}

int
store_copy_mark(struct store_txn *txn, struct record_copy *copy)
{
	struct lmdb_value value;
	int fault;

	if ((fault = store_get(txn, TABLE_META, COPY, strlen(COPY), &value)) != 0)
		return store_count_damage(txn->store, fault);
	return store_count_damage(
	    txn->store, record_get_copy(txn->pepper, COPY, strlen(COPY), value.data, value.len, copy));
}

void
store_unmark(struct store_txn *txn)
{
	lmdb_del(txn->txn, TABLE_META, COPY, strlen(COPY));
}
