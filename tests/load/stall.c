/*
 * stall.c - a disk that stops answering on demand, preloaded into fobd by bench.
 *
 * FOB_STALL names a FIFO that holds one byte while the disk answers. fdatasync() and fsync() take the byte, sync, and
 * put it back. Whoever takes the byte away stalls every sync until it is put back.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#define INTERPOSED __attribute__((visibility("default"), used))

static int gate = -1;

__attribute__((constructor)) static void
begin(void)
{
	const char *path = getenv("FOB_STALL");

	if (path != NULL && (gate = open(path, O_RDWR | O_CLOEXEC)) < 0)
		abort();
}

static int
sync_through_gate(const char *name, int fd)
{
	int (*next)(int);
	char byte;
	int rc;

	*(void **)&next = dlsym(RTLD_NEXT, name);
	if (next == NULL)
		abort();
	if (gate < 0)
		return next(fd);
	while (read(gate, &byte, 1) != 1) {
		if (errno != EINTR)
			abort();
	}
	rc = next(fd);
	if (write(gate, &byte, 1) != 1)
		abort();
	return rc;
}

INTERPOSED int
fdatasync(int fd)
{
	return sync_through_gate("fdatasync", fd);
}

INTERPOSED int
fsync(int fd)
{
	return sync_through_gate("fsync", fd);
}
