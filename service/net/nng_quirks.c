/*
 * nng_quirks.c - corrects two faults of libnng 1, one before 1.6 and one in all, by replacing three functions that
 * libnng calls: sendmsg, nng_stream_send, nng_stream_recv. main.c calls nng_quirks_check() at start, and listen.c reads
 * the counters for Stats; nothing else knows that this file exists. It never blocks, locks or allocates on a message's
 * path, and it is never part of libfob.
 */
#include <dlfcn.h>
#include <errno.h>
#include <poll.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include <nng/nng.h>
#include <nng/protocol/reqrep0/rep.h>

#include "service/net/nng_quirks.h"

#define NNG_BEFORE(major, minor) \
	(NNG_MAJOR_VERSION < (major) || (NNG_MAJOR_VERSION == (major) && NNG_MINOR_VERSION < (minor)))

#if NNG_BEFORE(1, 6)
#define QUIRK_SENDMSG 1
#else
#define QUIRK_SENDMSG 0
#endif

#if NNG_BEFORE(2, 0)
#define QUIRK_STREAM 1
#else
#define QUIRK_STREAM 0
#endif

/*
 * Visible whatever -fvisibility says, and kept by the optimiser: the only
 * caller is a shared library that the compiler does not see.
 */
#define INTERPOSED __attribute__((visibility("default"), used))

enum { PROBE_TIMEOUT_MS = 2000, PROBE_TRIES = 3 };
enum { PROBE_URL_SIZE = sizeof("abstract://") + sizeof(struct sockaddr_un) };

void
nng_quirks_needed(const char *version, bool *need_sendmsg, bool *need_stream)
{
	unsigned major = 0;
	unsigned minor = 0;

	*need_sendmsg = true;
	*need_stream = true;
	if (version == NULL || sscanf(version, "%u.%u", &major, &minor) != 2)
		return;
	*need_sendmsg = major < 1 || (major == 1 && minor < 6);
	*need_stream = major < 2;
}

#if !QUIRK_STREAM

/* Every correction that exists is for an older library than this one. */
int
nng_quirks_check(const char **why)
{
	bool need_sendmsg;
	bool need_stream;

	nng_quirks_needed(nng_version(), &need_sendmsg, &need_stream);
	if (need_sendmsg || need_stream) {
		if (why != NULL)
			*why = "libnng is older than the headers this was "
			       "built with and needs corrections: rebuild";
		return -ENOSYS;
	}
	if (why != NULL)
		*why = "not needed by this libnng";
	return 0;
}

void
nng_quirks_stats(struct nng_quirks_stats *out)
{
	memset(out, 0, sizeof(*out));
}

#else

typedef void stream_fn(nng_stream *, nng_aio *);

/* Set before main() and before any thread; only read from then on. */
static stream_fn *real_send;
static stream_fn *real_recv;

/* On from the start, so that no message goes uncorrected while we find out. */
static atomic_bool stream_on = true;

static atomic_uint_least64_t n_refused_send;
static atomic_uint_least64_t n_refused_recv;

/* Set at the first call and then only read, so that they cost no cache miss. */
static atomic_bool seen_send;
static atomic_bool seen_recv;

#if QUIRK_SENDMSG
static atomic_bool sendmsg_on = true;
static atomic_bool seen_sendmsg;
static atomic_uint_least64_t n_epipe;
#endif

static void
seen(atomic_bool *flag)
{
	if (!atomic_load_explicit(flag, memory_order_relaxed))
		atomic_store_explicit(flag, true, memory_order_relaxed);
}

/*
 * Resolved in a constructor: dlsym may allocate and lock, which the first
 * message, on one of nng's threads and under nng's locks, had better not.
 */
__attribute__((constructor)) static void
resolve(void)
{
	void *sym;

	/* ISO C has no cast from void * to a function; POSIX wants this copy. */
	if ((sym = dlsym(RTLD_NEXT, "nng_stream_send")) != NULL)
		memcpy(&real_send, &sym, sizeof(sym));
	if ((sym = dlsym(RTLD_NEXT, "nng_stream_recv")) != NULL)
		memcpy(&real_recv, &sym, sizeof(sym));
}

/*
 * Pass the operation on, and complete it if nng dropped it.
 *
 * An aio that was closed is refused by nng_aio_begin(), which stores
 * NNG_ECANCELED and runs no callback.  A transport that submits the rest of a
 * message to a pipe that is just being closed thus waits for a completion that
 * never comes, and nng's only reaper thread waits with it, for good.  The
 * callback is what the transport lacks, so give it one.
 *
 * Why the result tells: nng_aio_begin() sets it to 0 or to NNG_ECANCELED each
 * time, so it cannot be left over from an earlier operation.  An operation
 * under way can end as NNG_ECANCELED too, by nng_aio_cancel() or by
 * nng_aio_stop() on an aio that was not closed first.  No SP transport does
 * either to the aios it hands to a stream (they are closed, which gives
 * NNG_ECLOSED, and stopped afterwards), and the daemon uses no stream itself.
 *
 * Why NNG_ECONNRESET and not NNG_ECLOSED, which is the truth: a TLS connection
 * that breaks between two steps of its negotiation has its inner aios closed,
 * and hands the error of the next step to the listener, which takes
 * NNG_ECLOSED for its own end and never accepts again.  To a pipe that is being
 * closed one error is as good as another.
 *
 * Why reading and finishing here is safe: every caller holds the lock that the
 * aio's callback takes, so the callback of an operation under way cannot
 * finish, nor the aio be freed, before we return; the aio of one that was
 * refused is kept by the caller, which is its own callback or holds its pipe's
 * protocol lock.  nng_aio_finish() only queues the callback for a task thread, so those
 * locks are no deadlock.  (A race detector that sees into libnng reports the
 * read: the result may be written at that moment.  It is an int, and either
 * value is right.)
 */
static void
submit(stream_fn *real, nng_stream *s, nng_aio *aio, atomic_uint_least64_t *n)
{
	if (real == NULL)
		abort(); /* linked without libnng.so: see nng_quirks_check */
	real(s, aio);
	if (nng_aio_result(aio) != NNG_ECANCELED)
		return;
	if (!atomic_load_explicit(&stream_on, memory_order_relaxed))
		return;
	atomic_fetch_add_explicit(n, 1, memory_order_relaxed);
	nng_aio_finish(aio, NNG_ECONNRESET);
}

INTERPOSED void
nng_stream_send(nng_stream *s, nng_aio *aio)
{
	seen(&seen_send);
	submit(real_send, s, aio, &n_refused_send);
}

INTERPOSED void
nng_stream_recv(nng_stream *s, nng_aio *aio)
{
	seen(&seen_recv);
	submit(real_recv, s, aio, &n_refused_recv);
}

#if QUIRK_SENDMSG
/*
 * nng before 1.6 translates EPIPE to NNG_ECLOSED.  When it meets it in the
 * negotiation of a new connection, it takes it for the listener being closed
 * and never accepts again.  ECONNRESET is the same news in a form that keeps
 * the listener going.
 *
 * A system call of our own rather than the next sendmsg: the sanitizers put
 * theirs in between, differently in GCC and Clang.  Not a cancellation point,
 * unlike libc's; the daemon cancels no threads.
 */
INTERPOSED ssize_t
sendmsg(int fd, const struct msghdr *msg, int flags)
{
	ssize_t n = (ssize_t)syscall(SYS_sendmsg, fd, msg, flags);

	seen(&seen_sendmsg);
	if (n < 0 && errno == EPIPE && atomic_load_explicit(&sendmsg_on, memory_order_relaxed)) {
		atomic_fetch_add_explicit(&n_epipe, 1, memory_order_relaxed);
		errno = ECONNRESET;
	}
	return n;
}
#endif

void
nng_quirks_stats(struct nng_quirks_stats *out)
{
	out->refused_send = atomic_load_explicit(&n_refused_send, memory_order_relaxed);
	out->refused_recv = atomic_load_explicit(&n_refused_recv, memory_order_relaxed);
#if QUIRK_SENDMSG
	out->epipe = atomic_load_explicit(&n_epipe, memory_order_relaxed);
#else
	out->epipe = 0;
#endif
}

/*
 * Whether ${name}, looked up as the dynamic linker looks it up for libnng, is
 * the function of this file.
 */
static bool
resolves_here(const char *name, const void *here)
{
	return dlsym(RTLD_DEFAULT, name) == here;
}

static bool
linked(const char **why)
{
	stream_fn *fn;
	void *here;

	*why = "libnng does not call this executable's nng_stream_send or "
	       "nng_stream_recv: they are not exported (see the Makefile)";
	fn = nng_stream_send;
	memcpy(&here, &fn, sizeof(here));
	if (real_send == NULL || real_send == fn || !resolves_here("nng_stream_send", here))
		return false;
	fn = nng_stream_recv;
	memcpy(&here, &fn, sizeof(here));
	if (real_recv == NULL || real_recv == fn || !resolves_here("nng_stream_recv", here))
		return false;
#if QUIRK_SENDMSG
	ssize_t (*fn_sendmsg)(int, const struct msghdr *, int) = sendmsg;

	*why = "libnng does not call this executable's sendmsg: it is not "
	       "exported (see the Makefile)";
	memcpy(&here, &fn_sendmsg, sizeof(here));
	if (!resolves_here("sendmsg", here))
		return false;
#endif
	return true;
}

/*
 * The probe's own end: a unix socket that libnng can dial.  An abstract address
 * chosen by the kernel needs no directory to be writable.  One for each probe:
 * a dialer that was hung up on may dial again, and the second connection must
 * not be taken for the other probe's.
 */
static int
probe_listen(char *url, size_t url_size)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	socklen_t len = sizeof(sa);
	size_t name_len;
	int fd;

	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -1;
	/* A length of only the family makes the kernel choose a name. */
	if (bind(fd, (struct sockaddr *)&sa, sizeof(sa.sun_family)) != 0 || listen(fd, 8) != 0 ||
	    getsockname(fd, (struct sockaddr *)&sa, &len) != 0 || len <= offsetof(struct sockaddr_un, sun_path) + 1) {
		(void)close(fd);
		return -1;
	}
	name_len = len - offsetof(struct sockaddr_un, sun_path) - 1;
	(void)snprintf(url, url_size, "abstract://%.*s", (int)name_len, sa.sun_path + 1);
	return fd;
}

static bool
wait_readable(int fd)
{
	struct pollfd pfd = { .fd = fd, .events = POLLIN };
	int n;

	do
		n = poll(&pfd, 1, PROBE_TIMEOUT_MS);
	while (n < 0 && errno == EINTR);
	return n == 1;
}

/*
 * The next connection that this very process made: anyone on the machine may
 * dial an abstract address, and a stranger must not fail our start.
 */
static int
probe_accept(int lfd)
{
	struct ucred peer;
	socklen_t len;
	int fd;

	while (wait_readable(lfd)) {
		fd = accept4(lfd, NULL, NULL, SOCK_CLOEXEC);
		if (fd < 0)
			return -1;
		len = sizeof(peer);
		if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0 && peer.pid == getpid())
			return fd;
		(void)close(fd);
	}
	return -1;
}

#if QUIRK_SENDMSG
/*
 * A stream of libnng whose peer has gone: what a write to it is called is the
 * first fault.
 */
static int
probe_epipe(nng_stream *s, nng_aio *aio)
{
	char byte = 0;
	nng_iov iov = { .iov_buf = &byte, .iov_len = 1 };

	if (nng_aio_set_iov(aio, 1, &iov) != 0)
		return -EIO;
	nng_stream_send(s, aio);
	nng_aio_wait(aio);
	switch (nng_aio_result(aio)) {
	case NNG_ECONNRESET:
		return 0;
	case NNG_ECLOSED:
		return -EPROTO;
	default:
		return -EIO;
	}
}
#endif

static void
probe_called(void *arg)
{
	atomic_store((atomic_bool *)arg, true);
}

/* An aio that was stopped: whether its callback runs is the second fault. */
static int
probe_refused(nng_stream *s, stream_fn *fn)
{
	atomic_bool called = false;
	nng_aio *aio;
	char byte;
	nng_iov iov = { .iov_buf = &byte, .iov_len = 1 };
	int rv = -EPROTO;

	if (nng_aio_alloc(&aio, probe_called, &called) != 0)
		return -EIO;
	nng_aio_stop(aio);
	if (nng_aio_set_iov(aio, 1, &iov) == 0) {
		fn(s, aio);
		nng_aio_wait(aio); /* at once if nng dropped it */
		if (atomic_load(&called) && nng_aio_result(aio) == NNG_ECONNRESET)
			rv = 0;
	}
	nng_aio_free(aio);
	return rv;
}

static int
probe_stream(const char **why)
{
	char url[PROBE_URL_SIZE];
	nng_stream_dialer *d = NULL;
	nng_stream *s = NULL;
	nng_aio *aio = NULL;
	int lfd;
	int fd = -1;
	int rv = -EIO;

	*why = "the probe could not connect to itself through libnng";
	if ((lfd = probe_listen(url, sizeof(url))) < 0 || nng_stream_dialer_alloc(&d, url) != 0 ||
	    nng_aio_alloc(&aio, NULL, NULL) != 0)
		goto out;
	nng_aio_set_timeout(aio, PROBE_TIMEOUT_MS);
	nng_stream_dialer_dial(d, aio);
	if ((fd = probe_accept(lfd)) < 0)
		goto out;
	nng_aio_wait(aio);
	if (nng_aio_result(aio) != 0)
		goto out;
	s = nng_aio_get_output(aio, 0);

	*why = "libnng still drops operations on a closed aio";
	if ((rv = probe_refused(s, nng_stream_send)) != 0 || (rv = probe_refused(s, nng_stream_recv)) != 0)
		goto out;

#if QUIRK_SENDMSG
	(void)close(fd);
	fd = -1;
	*why = "libnng still takes EPIPE for its own end being closed";
	if (atomic_load(&sendmsg_on) && (rv = probe_epipe(s, aio)) != 0)
		goto out;
#endif
	rv = 0;
out:
	if (fd >= 0)
		(void)close(fd);
	if (s != NULL) {
		nng_stream_close(s);
		nng_stream_free(s);
	}
	nng_aio_free(aio);
	nng_stream_dialer_free(d);
	if (lfd >= 0)
		(void)close(lfd);
	return rv;
}

/*
 * The other probe calls this file's functions directly.  That libnng's own
 * transports do so too is shown by a negotiation: nng sends its greeting, reads
 * ours, and hangs up because ours is nonsense.  Goes first, while nothing but
 * libnng can have called.
 */
static int
probe_transport(const char **why)
{
	static const unsigned char nonsense[8];
	char url[PROBE_URL_SIZE];
	unsigned char got[sizeof(nonsense)];
	nng_socket sock;
	size_t n = 0;
	ssize_t r;
	int lfd;
	int fd = -1;
	int rv = -EIO;

	*why = "the probe could not connect to itself through libnng";
	if ((lfd = probe_listen(url, sizeof(url))) < 0)
		return rv;
	if (nng_rep0_open(&sock) != 0) {
		(void)close(lfd);
		return rv;
	}
	if (nng_dial(sock, url, NULL, NNG_FLAG_NONBLOCK) != 0 || (fd = probe_accept(lfd)) < 0)
		goto out;
	*why = "libnng did not negotiate with the probe";
	while (n < sizeof(got) && wait_readable(fd)) {
		r = recv(fd, got + n, sizeof(got) - n, 0);
		if (r <= 0)
			break;
		n += (size_t)r;
	}
	if (n != sizeof(got) || got[1] != 'S' || got[2] != 'P')
		goto out;
	/* send, not sendmsg: that one must have been called by nng only. */
	if (send(fd, nonsense, sizeof(nonsense), MSG_NOSIGNAL) != (ssize_t)sizeof(nonsense))
		goto out;
	if (!wait_readable(fd) || recv(fd, got, sizeof(got), 0) != 0)
		goto out;

	rv = 0;
	if (!atomic_load(&seen_send) || !atomic_load(&seen_recv))
		rv = -EXDEV;
#if QUIRK_SENDMSG
	if (!atomic_load(&seen_sendmsg))
		rv = -EXDEV;
#endif
	*why = "libnng's transports do not call this executable's functions";
out:
	if (fd >= 0)
		(void)close(fd);
	(void)nng_close(sock);
	(void)close(lfd);
	return rv;
}

/* One that could not find out is tried again: seen once, in a test whose wall clock jumps. */
static int
probe(int (*try)(const char **why), const char **why)
{
	int rv = -EIO;

	for (int i = 0; i < PROBE_TRIES && rv == -EIO; i++)
		rv = try(why);
	return rv;
}

int
nng_quirks_check(const char **why)
{
	const char *unused;
	bool need_sendmsg;
	bool need_stream;
	int rv;

	if (why == NULL)
		why = &unused;
	nng_quirks_needed(nng_version(), &need_sendmsg, &need_stream);
	atomic_store(&stream_on, need_stream);
#if QUIRK_SENDMSG
	atomic_store(&sendmsg_on, need_sendmsg);
#else
	if (need_sendmsg) {
		*why = "libnng is older than the headers this was built with "
		       "and needs corrections: rebuild";
		return -ENOSYS;
	}
#endif
	if (!need_stream) {
		*why = "built for an older libnng; not needed by this one";
		return 0;
	}
	if (!linked(why))
		return -EXDEV;
	if ((rv = probe(probe_transport, why)) != 0 || (rv = probe(probe_stream, why)) != 0)
		return rv;

	/* The counters are for what happens in service. */
	atomic_store(&n_refused_send, 0);
	atomic_store(&n_refused_recv, 0);
#if QUIRK_SENDMSG
	atomic_store(&n_epipe, 0);
#endif
	*why = "in effect";
	return 0;
}

#endif /* QUIRK_STREAM */
