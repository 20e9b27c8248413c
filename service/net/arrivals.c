/*
 * arrivals.c - knows every TCP connection between accept(2) and its greeting (see arrivals.h). Called by libnng, whose
 * accept and accept4 resolve to those of this executable (as in nng_quirks.c), and by listen.c with its parts; calls
 * the system and descriptors.c only. It never closes a descriptor that it does not own, and never reads or writes a
 * connection.
 *
 * A descriptor's number may be another connection's at any moment. What tells them apart is the number that the kernel
 * gives each socket and never again (SO_COOKIE). It is compared on a copy of the descriptor, which nobody else can
 * close, and the copy is what is shut down. The place for the copy is kept free: it is needed most when there are no
 * descriptors left.
 */
#include "service/net/arrivals.h"

#include <assert.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "service/base/clock.h"
#include "service/net/descriptors.h"

struct arrival {
	int fd;
	uint64_t cookie;
	int64_t since_ms;
	struct arrival_ends ends;
};

static struct {
	pthread_mutex_t lock;
	unsigned users;
	int filler, place; /* two descriptors of one eventfd: what lies in the place, and the place */
	unsigned most, n;
	struct arrival all[LIMIT_ARRIVALS]; /* in the order in which they came */
	struct arrivals_stats stats;
} arrivals = { .lock = PTHREAD_MUTEX_INITIALIZER };

/* ---- one connection ---- */

static bool
is_socket(int fd, uint64_t cookie)
{
	uint64_t now;

	return descriptors_cookie(fd, &now) && now == cookie;
}

/* A system call of our own, as a race detector takes dup3(2) of what another thread may close for a mistake. */
static int
copy(int fd, int to)
{
	return (int)syscall(SYS_dup3, fd, to, O_CLOEXEC);
}

/* Whoever waits for this connection is told that it has ended, if it is still the one that we know. */
static void
end(const struct arrival *a)
{
	if (copy(a->fd, arrivals.place) < 0)
		return; /* closed already */
	if (is_socket(arrivals.place, a->cookie))
		shutdown(arrivals.place, SHUT_RDWR);
	copy(arrivals.filler, arrivals.place);
}

static bool
end_of(const struct sockaddr_storage *ss, uint8_t address[16], uint16_t *port)
{
	static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };

	if (ss->ss_family == AF_INET6) {
		const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)ss;

		memcpy(address, &in6->sin6_addr, 16);
		*port = in6->sin6_port;
		return true;
	}
	if (ss->ss_family == AF_INET) {
		const struct sockaddr_in *in = (const struct sockaddr_in *)ss;

		memcpy(address, mapped, 12);
		memcpy(address + 12, &in->sin_addr, 4);
		*port = in->sin_port;
		return true;
	}
	return false;
}

/* False for a unix socket, which nng times out itself, and for one that its peer has left already. */
static bool
look(int fd, struct arrival *a)
{
	struct sockaddr_storage own, peer;
	socklen_t own_len = sizeof(own), peer_len = sizeof(peer);

	if (getsockname(fd, (struct sockaddr *)&own, &own_len) != 0 || !end_of(&own, a->ends.own, &a->ends.own_port) ||
	    getpeername(fd, (struct sockaddr *)&peer, &peer_len) != 0 ||
	    !end_of(&peer, a->ends.peer, &a->ends.peer_port) || !descriptors_cookie(fd, &a->cookie))
		return false;
	a->fd = fd;
	a->since_ms = clock_boot_ms();
	return true;
}

/* ---- all of them, under the lock ---- */

static void
forget(unsigned i)
{
	arrivals.n--;
	memmove(&arrivals.all[i], &arrivals.all[i + 1], (arrivals.n - i) * sizeof(arrivals.all[0]));
}

/* Those that have been closed, by nng or because their peers have left, and never greeted. */
static void
forget_closed(void)
{
	unsigned kept = 0;

	for (unsigned i = 0; i < arrivals.n; i++)
		if (is_socket(arrivals.all[i].fd, arrivals.all[i].cookie))
			arrivals.all[kept++] = arrivals.all[i];
	arrivals.n = kept;
}

static void
remember(const struct arrival *a)
{
	if (arrivals.n == arrivals.most)
		forget_closed();
	if (arrivals.n == arrivals.most) {
		end(&arrivals.all[0]);
		forget(0);
		arrivals.stats.crowded++;
	}
	arrivals.all[arrivals.n++] = *a;
}

static void
arrived(int fd)
{
	struct arrival a;
	bool watched = look(fd, &a);

	pthread_mutex_lock(&arrivals.lock);
	arrivals.stats.accepted++;
	if (watched && arrivals.users > 0)
		remember(&a);
	pthread_mutex_unlock(&arrivals.lock);
}

/* ---- what libnng calls ---- */

/* Under names of their own, as libc's headers declare the others with types of GNU's. */
#define INTERPOSED(name) __asm__(name) __attribute__((visibility("default"), used))

int interposed_accept(int fd, struct sockaddr *addr, socklen_t *len) INTERPOSED("accept");
int interposed_accept4(int fd, struct sockaddr *addr, socklen_t *len, int flags) INTERPOSED("accept4");

#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define SEEN_BY_SANITIZER 1
#endif
#elif defined(__SANITIZE_THREAD__)
#define SEEN_BY_SANITIZER 1
#endif

/*
 * A system call of our own, for the reason that nng_quirks.c gives. But a ThreadSanitizer that does not see a
 * descriptor begin takes it for the last one of that number.
 */
#ifdef SEEN_BY_SANITIZER
int __interceptor_accept4(int fd, struct sockaddr *addr, socklen_t *len, int flags);
#define real_accept4 __interceptor_accept4
#else
static int
real_accept4(int fd, struct sockaddr *addr, socklen_t *len, int flags)
{
	return (int)syscall(SYS_accept4, fd, addr, len, flags);
}
#endif

int
interposed_accept4(int fd, struct sockaddr *addr, socklen_t *len, int flags)
{
	int conn = real_accept4(fd, addr, len, flags);

	if (conn >= 0)
		arrived(conn);
	return conn;
}

int
interposed_accept(int fd, struct sockaddr *addr, socklen_t *len)
{
	return interposed_accept4(fd, addr, len, 0);
}

/* ---- what listen.c and its parts call ---- */

/* Looked up as the dynamic linker does it for libnng. */
static bool
is_called(void)
{
	int (*here)(int, struct sockaddr *, socklen_t *) = interposed_accept;
	int (*here4)(int, struct sockaddr *, socklen_t *, int) = interposed_accept4;
	void *found = dlsym(RTLD_DEFAULT, "accept"), *found4 = dlsym(RTLD_DEFAULT, "accept4");

	/* ISO C does not compare a function with an object; POSIX has them of one size. */
	return memcmp(&found, &here, sizeof(found)) == 0 && memcmp(&found4, &here4, sizeof(found4)) == 0;
}

int
arrivals_start(unsigned most)
{
	int rc = 0;

	assert(most > 0 && most <= LIMIT_ARRIVALS);
	if (!is_called()) {
		errno = ENOSYS;
		return -1;
	}
	pthread_mutex_lock(&arrivals.lock);
	if (arrivals.users == 0) {
		arrivals.most = most;
		arrivals.n = 0;
		arrivals.stats = (struct arrivals_stats){ 0 };
		arrivals.place = -1;
		if ((arrivals.filler = eventfd(0, EFD_CLOEXEC)) < 0 ||
		    (arrivals.place = fcntl(arrivals.filler, F_DUPFD_CLOEXEC, 0)) < 0) {
			if (arrivals.filler >= 0)
				close(arrivals.filler);
			rc = -1;
		}
	}
	if (rc == 0)
		arrivals.users++;
	pthread_mutex_unlock(&arrivals.lock);
	return rc;
}

void
arrivals_stop(void)
{
	pthread_mutex_lock(&arrivals.lock);
	assert(arrivals.users > 0);
	if (--arrivals.users == 0) {
		close(arrivals.place);
		close(arrivals.filler);
	}
	pthread_mutex_unlock(&arrivals.lock);
}

void
arrivals_greeted(const struct arrival_ends *ends)
{
	pthread_mutex_lock(&arrivals.lock);
	/*
	 * From the newest on: if the port was used before, by a connection that is being closed, this is the later one.
	 */
	for (unsigned i = arrivals.n; i > 0; i--) {
		const struct arrival_ends *a = &arrivals.all[i - 1].ends;

		if (a->peer_port == ends->peer_port && a->own_port == ends->own_port &&
		    memcmp(a->peer, ends->peer, sizeof(a->peer)) == 0 &&
		    memcmp(a->own, ends->own, sizeof(a->own)) == 0) {
			forget(i - 1);
			break;
		}
	}
	pthread_mutex_unlock(&arrivals.lock);
}

void
arrivals_sweep(int64_t now_ms)
{
	pthread_mutex_lock(&arrivals.lock);
	forget_closed();
	while (arrivals.n > 0 && now_ms - arrivals.all[0].since_ms > LIMIT_GREETING_MS) {
		end(&arrivals.all[0]);
		forget(0);
		arrivals.stats.late++;
	}
	pthread_mutex_unlock(&arrivals.lock);
}

void
arrivals_stats(struct arrivals_stats *out)
{
	pthread_mutex_lock(&arrivals.lock);
	*out = arrivals.stats;
	pthread_mutex_unlock(&arrivals.lock);
}
