/*
 * backup.c - copy a database while a fobd serves it (see backup.h). Never leaves a copy that fobd would serve:
 * the folder and the file in it have temporary names until the copy is marked as one.
 */
#include "service/offline/backup.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "service/base/clock.h"
#include "service/base/folder.h"
#include "service/base/names.h"
#include "service/store/copy.h"

#define PATH_LEN 4096

struct backup {
	char dest[PATH_LEN];       /* without slashes at its end */
	char folder[PATH_LEN];     /* DEST.partial.XXXXXX, until publish() renames it */
	char unfinished[PATH_LEN]; /* in ${folder}: the copy until it is marked */
	char data[PATH_LEN];       /* in ${folder}: the copy from then on */
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

	if (b->dest[0] == '\0') {
		snprintf(b->why, b->why_len, "the folder's name is empty or too long");
		return -1;
	}
	if (lstat(b->dest, &st) == 0) {
		snprintf(b->why, b->why_len, "%s: exists already; name a new folder", b->dest);
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
		return fail(b, "cannot make a folder next to it", b->dest);
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
		return fail(b, "cannot make this file", b->unfinished);
	}
	fault = store_copy(store, fd);
	store_close(store);
	if (fault != 0)
		snprintf(b->why, b->why_len, "%s: cannot write the copy: %s", b->unfinished,
		    fault == -FAULT_FULL ? "the disk is full" : "the database cannot be read, or the file not written");
	else if (fsync(fd) != 0)
		fault = fail(b, "cannot sync the copy", b->unfinished);
	if (close(fd) != 0 && fault == 0)
		fault = fail(b, "cannot close the copy", b->unfinished);
	return fault == 0 ? 0 : -1;
}

/* Mark the copy as one, so that fobd refuses to serve it. */
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
		snprintf(b->why, b->why_len, "%s: cannot mark this file as a copy: %s", b->unfinished,
		    fault == -FAULT_FULL ? "the disk is full" : "it cannot be written, or is damaged");
	return fault == 0 ? 0 : -1;
}

/* Give the marked copy its file name, then the folder its name. */
static int
publish(struct backup *b)
{
	if (rename(b->unfinished, b->data) != 0)
		return fail(b, "cannot rename this file", b->unfinished);
	if ((errno = folder_sync(b->folder)) != 0)
		return fail(b, "cannot sync this folder", b->folder);
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
	    ", %lld bytes. The copy opens only with the pepper (%s), which is not in it: keep a copy of the pepper "
	    "elsewhere\n",
	    environment_name(options->environment), b->dest, state->revision, state->event_sequence,
	    (long long)st.st_size, options->pepper);
}

/* "DIR/" is the folder DIR. Leaves the name empty when it does not fit. */
static void
name_folder(struct backup *b, const char *dest)
{
	size_t len = strlen(dest);

	while (len > 1 && dest[len - 1] == '/')
		len--;
	if (len < sizeof(b->dest))
		memcpy(b->dest, dest, len);
}

int
backup_make(const struct store_options *options, const char *dest, FILE *out, char *why, size_t why_len)
{
	struct backup b = { .why = why, .why_len = why_len };
	struct record_state state;
	int64_t now_ms = clock_wall_ms();

	name_folder(&b, dest);
	if (make_folder(&b) != 0)
		return -1;
	if (copy(&b, options) != 0 || mark(&b, options, now_ms, &state) != 0 || publish(&b) != 0) {
		remove_partial(&b);
		return -1;
	}
	tell(&b, options, &state, out);
	return 0;
}
