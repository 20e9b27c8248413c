/*
 * copy.c - copy a database while others write (see lmdb.h). Never makes a file.
 *
 * mdb_env_copyfd() holds the writer's lock while it writes its first pages, and a snapshot until its end. So it writes to
 * a socket, whose buffer has room for the first pages, and another thread carries the bytes on: a destination that hangs
 * stops no change, and after STALL_S the copy and its snapshot are given up.
 */
#include "service/lmdb/internal.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#define STALL_S 30
#define CHUNK (64U << 10)

struct source {
	struct lmdb *db;
	int fd; /* the copier's end */
	int rc; /* of LMDB, once the thread has ended */
	pthread_t thread;
};

static void *
copier(void *arg)
{
	struct source *s = arg;

	s->rc = mdb_env_copyfd(s->db->env, s->fd);
	shutdown(s->fd, SHUT_WR);
	return NULL;
}

/* The thread has all signals blocked, SIGPIPE among them. Returns 0 or an errno value. */
static int
start(struct source *s)
{
	sigset_t all, before;
	int rc;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	rc = pthread_create(&s->thread, NULL, copier, s);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return rc;
}

/* Returns 0 or an errno value. */
static int
write_all(int fd, const uint8_t *p, size_t len)
{
	ssize_t n;

	for (; len > 0; p += n, len -= (size_t)n)
		if ((n = write(fd, p, len)) < 0) {
			if (errno != EINTR)
				return errno;
			n = 0;
		} else if (n == 0) {
			return EIO;
		}
	return 0;
}

/* From the socket ${from} to ${to}, until its end. Returns 0 or an errno value. */
static int
carry(int from, int to, const _Atomic bool *stop)
{
	uint8_t *chunk = malloc(CHUNK);
	ssize_t n = 0;
	int rc = 0;

	if (chunk == NULL)
		return ENOMEM;
	while (rc == 0) {
		if (stop != NULL && atomic_load(stop))
			rc = ECANCELED;
		else if ((n = read(from, chunk, CHUNK)) == 0)
			break;
		else if (n > 0)
			rc = write_all(to, chunk, (size_t)n);
		else if (errno != EINTR)
			rc = errno;
	}
	free(chunk);
	return rc;
}

static int
fault_of(int carried, int copied)
{
	if (carried == ECANCELED)
		return -FAULT_CANCELLED;
	if (carried != 0)
		return lmdb_fault_of(carried);
	/* The socket was full for STALL_S. */
	return copied == EAGAIN || copied == EWOULDBLOCK ? -FAULT_DEADLINE_EXCEEDED : lmdb_fault_of(copied);
}

int
lmdb_copy(struct lmdb *db, int fd, const _Atomic bool *stop)
{
	const struct timeval stall = { .tv_sec = STALL_S };
	struct source s = { .db = db };
	int ends[2], rc;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0)
		return lmdb_fault_of(errno);
	s.fd = ends[0];
	if (setsockopt(s.fd, SOL_SOCKET, SO_SNDTIMEO, &stall, sizeof(stall)) != 0)
		rc = errno;
	else
		rc = start(&s);
	if (rc == 0) {
		rc = carry(ends[1], fd, stop);
		/* If the copier is not done yet, its next write fails. */
		close(ends[1]);
		pthread_join(s.thread, NULL);
	} else {
		close(ends[1]);
	}
	close(s.fd);
	return fault_of(rc, s.rc);
}
