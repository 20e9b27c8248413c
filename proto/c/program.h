/*
 * program.h - what each program of ours does first.
 */
#ifndef PROGRAM_H
#define PROGRAM_H

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

/*
 * program_begin():
 * Open /dev/null for each of the descriptors 0, 1 and 2 that is closed, so that no file or socket gets its number and
 * is written to as standard output or standard error. It is opened for reading: a write still fails, and is told of.
 * Ignore SIGPIPE and SIGXFSZ, so that a reader that has left is EPIPE and a limit of the file size is EFBIG.
 * Threads: none yet, and no descriptor has been opened.
 * Returns: 0; -1 with errno.
 */
static inline int
program_begin(void)
{
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
		if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDONLY) != fd)
			return -1;
	}
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN);
	return 0;
}

#endif
