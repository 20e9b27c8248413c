/*
 * folder.c - sync or lock a folder, explain a name in it that cannot be opened, and errors of the file system (see
 * folder.h). Never makes or changes a file.
 */
#include "service/base/folder.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#include "service/base/types.h"

#define TRY_MS 10

/* The folder that ${path} is in, at ${folder}. Returns 0, or an errno value. */
static int
folder_of(const char *path, char folder[PATH_MAX])
{
	char copy[PATH_MAX];

	if (snprintf(copy, sizeof(copy), "%s", path) >= (int)sizeof(copy))
		return ENAMETOOLONG;
	snprintf(folder, PATH_MAX, "%s", dirname(copy));
	return 0;
}

int
folder_sync(const char *path)
{
	int fd, rc;

	if ((fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0)
		return errno;
	rc = fsync(fd) == 0 ? 0 : errno;
	close(fd);
	return rc;
}

int
folder_sync_around(const char *path)
{
	char folder[PATH_MAX];
	int fault = folder_of(path, folder);

	return fault != 0 ? fault : folder_sync(folder);
}

int
folder_lock_around(const char *path, int wait_ms)
{
	static const struct timespec pause = { .tv_nsec = TRY_MS * 1000000L };
	char folder[PATH_MAX];
	int fd, fault;

	if ((fault = folder_of(path, folder)) != 0) {
		errno = fault;
		return -1;
	}
	if ((fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0)
		return -1;
	for (; flock(fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK; wait_ms -= TRY_MS) {
		if (wait_ms <= 0) {
			close(fd);
			errno = EWOULDBLOCK;
			return -1;
		}
		nanosleep(&pause, NULL);
	}
	return fd;
}

/* access(2) asks for the mode and the folders on the way, but not Landlock. */
void
folder_explain(const char *path, int error, char *text, size_t len)
{
	bool confined = error == EACCES && access(path, R_OK) == 0;

	snprintf(text, len, "%s%s", strerror(error),
	    confined ? ". fobd may only read in the folders in which its files were when it started: restart it" : "");
	errno = error;
}

int
folder_fault(int error)
{
	switch (error) {
	case 0:
		return 0;
	case ENOSPC:
	case EDQUOT:
	case EFBIG:
		return -FAULT_FULL;
	case EIO:
	case EROFS: /* ext4 remounts itself read-only after an error */
	case ESTALE:
	case ENODEV:
	case ENXIO:
	case ENOTCONN:
	case ETIMEDOUT:
	case EREMOTEIO:
		return -FAULT_DISK;
	default:
		return -FAULT_IO;
	}
}
