/*
 * server.c - starts and stops a baseline's server (see server.h).
 */
#include "tests/load/server.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

pid_t
server_start(server_main main, const void *arg)
{
	int fds[2];
	pid_t pid;
	char byte;

	if (pipe2(fds, O_CLOEXEC) != 0 || (pid = fork()) < 0) {
		perror("a server process");
		exit(1);
	}
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL, 0UL, 0UL, 0UL);
		close(fds[0]);
		main(arg, fds[1]);
		_exit(1);
	}
	close(fds[1]);
	if (read(fds[0], &byte, 1) != 1) /* the server has said why */
		exit(1);
	close(fds[0]);
	return pid;
}

void
server_is_ready(int ready)
{
	if (write(ready, "", 1) != 1)
		_exit(1);
	close(ready);
}

void
server_stop(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}
