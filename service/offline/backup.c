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

#include "service/base/folder.h"
#include "service/base/names.h"
#include "service/store/copy.h"

#define PATH_LEN 4096

struct backup {
	char dest[PATH_LEN];
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

/* ${dest} may end in slashes, as shells complete it. */
static int
make_folder(struct backup *b, const char *dest)
{
	size_t len = strlen(dest);
	struct stat st;
	int n;

	while (len > 1 && dest[len - 1] == '/')
		len--;
	n = snprintf(b->dest, sizeof(b->dest), "%.*s", (int)len, dest);
	if (n < 0 || n > PATH_LEN - 64) {
		snprintf(b->why, b->why_len, "%.200s...: the path is too long", dest);
		return -1;
	}
	if (lstat(b->dest, &st) == 0) {
		snprintf(b->why, b->why_len, "%s: exists already; name a new folder", b->dest);
		return -1;
	}
	snprintf(b->folder, sizeof(b->folder), "%.*s.partial.XXXXXX", PATH_LEN - 64, b->dest);
	if (mkdtemp(b->folder) == NULL) {
		b->folder[0] = '\0';
		return fail(b, "cannot make a folder next to it", b->dest);
	}
	snprintf(b->unfinished, sizeof(b->unfinished), "%.*s/unfinished", PATH_LEN - 16, b->folder);
	snprintf(b->data, sizeof(b->data), "%.*s/data.mdb", PATH_LEN - 16, b->folder);
	return 0;
}

static int
copy(struct backup *b, const struct store_options *options, struct record_copy *copied)
{
	struct store *store;
	int fault;

	if (store_open(options, &store, b->why, b->why_len) != 0)
		return -1;
	fault = store_copy(store, options, b->unfinished, NULL, copied, b->why, b->why_len);
	store_close(store);
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
tell(const struct backup *b, const struct store_options *options, const struct record_copy *copied, FILE *out)
{
	char name[PATH_LEN + 16];
	struct stat st = { 0 };

	snprintf(name, sizeof(name), "%s/data.mdb", b->dest);
	(void)stat(name, &st);
	fprintf(out,
	    "%s: copied to %s: revision %" PRIu64 ", events to %" PRIu64
	    ", %lld bytes. The copy opens only with the pepper (%s), which is not in it: keep a copy of the pepper "
	    "elsewhere\n",
	    environment_name(options->environment), b->dest, copied->revision, copied->event_sequence,
	    (long long)st.st_size, options->pepper);
}

int
backup_make(const struct store_options *options, const char *dest, FILE *out, char *why, size_t why_len)
{
	struct backup b = { .why = why, .why_len = why_len };
	struct record_copy copied;

	if (make_folder(&b, dest) != 0)
		return -1;
	if (copy(&b, options, &copied) != 0 || publish(&b) != 0) {
		remove_partial(&b);
		return -1;
	}
	tell(&b, options, &copied, out);
	return 0;
}
