/*
 * backup.c - copy a database while a fobd serves it (see backup.h). Called by offline.c; calls store_copy.c and
 * folder.c. The copy is made under a name that nobody takes for a database, in a folder that nobody takes for a
 * backup; it is marked as a copy before either gets its right name. So whatever ends it half-way, there is no copy
 * that could be served unmarked.
 */
#include "service/offline/backup.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "service/base/folder.h"
#include "service/base/names.h"
#include "service/store/copy.h"

#define PATH_LEN 4096

struct backup {
	const char *dest;
	char folder[PATH_LEN];     /* until it is whole: DEST.partial.XXXXXX */
	char unfinished[PATH_LEN]; /* in it */
	char data[PATH_LEN];
	char *why;
	size_t why_len;
};

static int
fail(struct backup *b, const char *what, const char *path)
{
	snprintf(b->why, b->why_len, "%s: %s: %s", path, what, strerror(errno));
	return -1;
}

static int
make_folder(struct backup *b)
{
	struct stat st;
	int n;

	if (lstat(b->dest, &st) == 0) {
		snprintf(b->why, b->why_len, "%s: is there already; name a folder that is not", b->dest);
		return -1;
	}
	n = snprintf(b->folder, sizeof(b->folder), "%s.partial.XXXXXX", b->dest);
	if (n < 0 || n > PATH_LEN - 32) {
		snprintf(b->why, b->why_len, "%.200s...: the path is too long", b->dest);
		b->folder[0] = '\0';
		return -1;
	}
	if (mkdtemp(b->folder) == NULL) {
		b->folder[0] = '\0';
		return fail(b, "cannot make a folder beside it", b->dest);
	}
	snprintf(b->unfinished, sizeof(b->unfinished), "%.*s/unfinished", PATH_LEN - 16, b->folder);
	snprintf(b->data, sizeof(b->data), "%.*s/data.mdb", PATH_LEN - 16, b->folder);
	return 0;
}

static int
copy(struct backup *b, const struct store_options *options)
{
	struct store *store;
	int fd, fault;

	if (store_open(options, &store, b->why, b->why_len) != 0)
		return -1;
	if ((fd = open(b->unfinished, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600)) < 0) {
		store_close(store);
		return fail(b, "cannot make it", b->unfinished);
	}
	fault = store_copy(store, fd);
	store_close(store);
	if (fault != 0)
		snprintf(b->why, b->why_len, "%s: cannot write the copy: %s", b->unfinished,
		    fault == -FAULT_FULL ? "the disk is full" : "it cannot be read, or not be written there");
	else if (fsync(fd) != 0)
		fault = fail(b, "cannot sync it", b->unfinished);
	if (close(fd) != 0 && fault == 0)
		fault = fail(b, "cannot close it", b->unfinished);
	return fault == 0 ? 0 : -1;
}

/* Write into the copy that it is one. */
static int
mark(struct backup *b, const struct store_options *options, int64_t taken_ms, struct record_state *state)
{
	struct store_options of_copy = *options;
	struct store_txn *txn = NULL;
	struct record_copy copied;
	struct store *store;
	int fault = -FAULT_INTERNAL;

	of_copy.use = STORE_MARK;
	of_copy.path = b->unfinished;
	if (store_open(&of_copy, &store, b->why, b->why_len) != 0)
		return -1;
	if ((txn = store_txn_new(store)) != NULL && (fault = store_write(txn)) == 0) {
		if ((fault = store_state(txn, state)) == 0) {
			copied = (struct record_copy){ .taken_ms = taken_ms,
				.revision = state->revision,
				.event_sequence = state->event_sequence };
			store_mark(txn, &copied);
			fault = store_commit(txn);
		} else {
			store_abort(txn);
		}
	}
	store_txn_free(txn);
	store_close(store);
	if (fault != 0)
		snprintf(b->why, b->why_len, "%s: cannot mark it as a copy: %s", b->unfinished,
		    fault == -FAULT_FULL ? "the disk is full" : "it cannot be written, or is damaged");
	return fault == 0 ? 0 : -1;
}

/* From here on it is a backup. */
static int
publish(struct backup *b)
{
	if (rename(b->unfinished, b->data) != 0)
		return fail(b, "cannot rename it", b->unfinished);
	if ((errno = folder_sync(b->folder)) != 0)
		return fail(b, "cannot sync it", b->folder);
	if (renameat2(AT_FDCWD, b->folder, AT_FDCWD, b->dest, RENAME_NOREPLACE) != 0)
		return fail(b, "cannot give the copy this name", b->dest);
	if ((errno = folder_sync_around(b->dest)) != 0)
		return fail(b, "cannot sync the folder that it is in", b->dest);
	return 0;
}

static void
remove_partial(struct backup *b)
{
	if (b->folder[0] == '\0')
		return;
	unlink(b->unfinished);
	unlink(b->data);
	rmdir(b->folder);
}

static void
tell(const struct backup *b, const struct store_options *options, const struct record_state *state, FILE *out)
{
	char name[PATH_LEN + 16];
	struct stat st = { 0 };

	snprintf(name, sizeof(name), "%s/data.mdb", b->dest);
	(void)stat(name, &st);
	fprintf(out,
	    "%s: copied to %s: revision %" PRIu64 ", events to %" PRIu64
	    ", %lld bytes. It opens only with the pepper (%s), which is not in it: keep a copy of that, elsewhere\n",
	    environment_name(options->environment), b->dest, state->revision, state->event_sequence,
	    (long long)st.st_size, options->pepper);
}

int
backup_make(const struct store_options *options, const char *dest, FILE *out, char *why, size_t why_len)
{
	struct backup b = { .dest = dest, .why = why, .why_len = why_len };
	struct record_state state;
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	if (make_folder(&b) != 0)
		return -1;
	if (copy(&b, options) != 0 ||
	    mark(&b, options, (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000, &state) != 0 || publish(&b) != 0) {
		remove_partial(&b);
		return -1;
	}
	tell(&b, options, &state, out);
	return 0;
}
