/*
 * descriptors.c - the descriptors that this process has open (see descriptors.h). Called by listen.c for Stats, by
 * listen_guard.c, orphans.c and arrivals.c; reads /proc/self/fd. Never opens another one that stays, nor closes one of others.
 */
#include "service/net/descriptors.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>

/* As many as there may be: none is left to look with. */
static unsigned
all_descriptors(void)
{
	struct rlimit limit;

	return (errno == EMFILE || errno == ENFILE) && getrlimit(RLIMIT_NOFILE, &limit) == 0 ?
	    (unsigned)limit.rlim_cur :
	    0;
}

unsigned
descriptors_each(void (*visit)(void *arg, int fd), void *arg)
{
	struct dirent *entry;
	unsigned n = 0;
	DIR *dir;

	if ((dir = opendir("/proc/self/fd")) == NULL)
		return all_descriptors();
	while ((entry = readdir(dir)) != NULL) {
		int fd = atoi(entry->d_name);

		if (entry->d_name[0] == '.' || fd == dirfd(dir))
			continue;
		n++;
		if (visit != NULL)
			visit(arg, fd);
	}
	closedir(dir);
	return n;
}

unsigned
descriptors_count(void)
{
	return descriptors_each(NULL, NULL);
}

bool
descriptors_cookie(int fd, uint64_t *cookie)
{
	socklen_t len = sizeof(*cookie);

	return getsockopt(fd, SOL_SOCKET, SO_COOKIE, cookie, &len) == 0;
}
