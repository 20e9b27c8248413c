/*
 * made.c - record a secret (see made.h). Makes its system calls directly: a crash test counts the C library's
 * functions and makes them fail.
 */
#include "tests/lib/made.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

void
made_secret(const char *secret)
{
	const char *folder = getenv("FOB_TEST_LEAKS");
	char path[512], line[2 + MADE_SECRET_LEN + 1] = "s ";
	long fd;

	if (folder == NULL)
		return;
	snprintf(path, sizeof(path), "%s/made", folder);
	memcpy(line + 2, secret, MADE_SECRET_LEN);
	line[sizeof(line) - 1] = '\n';
	if ((fd = syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_APPEND | O_CLOEXEC)) < 0)
		return; /* this process became another user */
	/* One write for the line, so that lines of parallel programs do not mix. */
	if (syscall(SYS_write, (int)fd, line, sizeof(line)) != (long)sizeof(line))
		abort();
	syscall(SYS_close, (int)fd);
}
