/*
 * new_folder.c - make, publish or remove a folder that appears whole (see new_folder.h). Never replaces one.
 */
#include "proto/c/new_folder.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define DEST_MAX (PATH_MAX - 64) /* what stands behind it fits, too */

static int
fail(const char *path, const char *what, char *why, size_t why_len)
{
	snprintf(why, why_len, "%s: %s: %s", path, what, strerror(errno));
	return -1;
}

int
new_folder_make(struct new_folder *f, const char *dest, char *why, size_t why_len)
{
	size_t len = strlen(dest);
	struct stat st;

	f->folder[0] = '\0';
	while (len > 1 && dest[len - 1] == '/')
		len--;
	if (len == 0 || len > DEST_MAX) {
		snprintf(why, why_len, "the name of the folder is empty, or too long");
		return -1;
	}
	snprintf(f->dest, sizeof(f->dest), "%.*s", (int)len, dest);
	if (lstat(f->dest, &st) == 0) {
		snprintf(why, why_len, "%s: exists already; name a new folder", f->dest);
		return -1;
	}
	snprintf(f->folder, sizeof(f->folder), "%.*s.partial.XXXXXX", DEST_MAX, f->dest);
	if (mkdtemp(f->folder) == NULL) {
		f->folder[0] = '\0';
		return fail(f->dest, "cannot make a folder next to it", why, why_len);
	}
	snprintf(f->unfinished, sizeof(f->unfinished), "%.*s/unfinished", PATH_MAX - 16, f->folder);
	snprintf(f->data, sizeof(f->data), "%.*s/data.mdb", PATH_MAX - 16, f->folder);
	return 0;
}

/* Returns 0; -1 with errno. */
static int
sync_folder(const char *path)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), rc;

	if (fd < 0)
		return -1;
	rc = fsync(fd);
	close(fd);
	return rc;
}

int
new_folder_publish(struct new_folder *f, char *why, size_t why_len)
{
	char parent[PATH_MAX];

	if (rename(f->unfinished, f->data) != 0)
		return fail(f->unfinished, "cannot rename this file", why, why_len);
	if (sync_folder(f->folder) != 0)
		return fail(f->folder, "cannot sync this folder", why, why_len);
	if (renameat2(AT_FDCWD, f->folder, AT_FDCWD, f->dest, RENAME_NOREPLACE) != 0)
		return fail(f->dest, "cannot give the copy this name", why, why_len);
	f->folder[0] = '\0';
	snprintf(parent, sizeof(parent), "%s", f->dest);
	if (sync_folder(dirname(parent)) != 0)
		return fail(f->dest, "cannot sync the folder that it is in", why, why_len);
	return 0;
}

void
new_folder_remove(struct new_folder *f)
{
	if (f->folder[0] == '\0')
		return;
	unlink(f->unfinished);
	unlink(f->data);
	rmdir(f->folder);
}
