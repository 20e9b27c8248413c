/*
 * folder.c - syncing a folder, and errors of the file system (see folder.h). Never makes or changes a file.
 */
#include "service/base/folder.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <unistd.h>

#include "service/base/types.h"

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
	char copy[PATH_MAX];

	if (snprintf(copy, sizeof(copy), "%s", path) >= (int)sizeof(copy))
		return ENAMETOOLONG;
	return folder_sync(dirname(copy));
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
