/*
 * trap.c - signal handlers that turn SIGSEGV and SIGBUS within LMDB into an error, and that replace
 * unreadable pages of shielded files (see trap.h). The handler never logs and takes no lock.
 */
#include "service/lmdb/trap.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "service/base/log.h"

#define SHIELDS 16
/* Each replaced page is a mapping of its own. By default the kernel allows a process 65,530. */
#define PAGES_MAX 1024

static _Thread_local sigjmp_buf *volatile armed;

static struct sigaction former_segv, former_bus;

/* The handler reads these without a lock: ${from} is set last. 0: the slot is free. */
struct shield {
	_Atomic uintptr_t from;
	size_t bytes;
	const char *file;
	_Atomic unsigned pages; /* how many were replaced */
	bool told;
};

static struct shield shields[SHIELDS];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static uintptr_t page_bytes;

static bool
put_zeros(uintptr_t at, size_t bytes)
{
	union {
		uintptr_t in;
		void *out;
	} u = { .in = at };

	return mmap(u.out, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1,
		   0) != MAP_FAILED;
}

/*
 * Runs on the thread that accessed ${at}; it repeats the access if this returns true. Two threads may
 * replace the same page at once. Then a value that one of them has just stored is lost, no more.
 */
static bool
replace(uintptr_t at)
{
	int saved = errno;
	bool replaced;

	for (struct shield *s = shields; s < shields + SHIELDS; s++) {
		uintptr_t from = atomic_load(&s->from);
		unsigned before;

		if (from == 0 || at - from >= s->bytes)
			continue;
		before = atomic_fetch_add(&s->pages, 1);
		replaced =
		    (before >= PAGES_MAX && put_zeros(from, s->bytes)) || put_zeros(at & ~(page_bytes - 1), page_bytes);
		errno = saved;
		return replaced;
	}
	return false;
}

static void
on_fault(int signal_number, siginfo_t *info, void *context)
{
	const struct sigaction *former = signal_number == SIGSEGV ? &former_segv : &former_bus;
	/* By kill(2) or the like: no access has failed, so no database has. */
	bool was_sent = info->si_code <= 0;

	if (!was_sent && signal_number == SIGBUS && replace((uintptr_t)info->si_addr))
		return;
	if (!was_sent && armed != NULL)
		trap_spring();
	if ((former->sa_flags & SA_SIGINFO) != 0) {
		former->sa_sigaction(signal_number, info, context);
		return;
	}
	/* The thread repeats the instruction that failed, and the default action ends the process. */
	signal(signal_number, SIG_DFL);
	if (was_sent)
		raise(signal_number);
}

static void
install(int signal_number, struct sigaction *former)
{
	/* SA_NODEFER: siglongjmp() leaves the handler without restoring the signal mask. */
	struct sigaction now, action = { .sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_NODEFER };

	if (sigaction(signal_number, NULL, &now) == 0 && (now.sa_flags & SA_SIGINFO) != 0 &&
	    now.sa_sigaction == on_fault)
		return;
	sigemptyset(&action.sa_mask);
	sigaction(signal_number, &action, former);
}

void
trap_install(void)
{
	pthread_mutex_lock(&lock);
	install(SIGSEGV, &former_segv);
	install(SIGBUS, &former_bus);
	pthread_mutex_unlock(&lock);
}

void
trap_set(sigjmp_buf *trap)
{
	armed = trap;
}

void
trap_clear(void)
{
	armed = NULL;
}

void
trap_spring(void)
{
	sigjmp_buf *trap = armed;

	if (trap == NULL)
		abort();
	armed = NULL;
	siglongjmp(*trap, 1);
}

int
trap_shield(const void *from, size_t bytes, const char *file)
{
	struct shield *s = shields;

	trap_install();
	pthread_mutex_lock(&lock);
	page_bytes = (uintptr_t)sysconf(_SC_PAGESIZE);
	while (s < shields + SHIELDS && atomic_load(&s->from) != 0)
		s++;
	if (s < shields + SHIELDS) {
		s->bytes = bytes;
		s->file = file;
		s->told = false;
		atomic_store(&s->pages, 0);
		atomic_store(&s->from, (uintptr_t)from);
	}
	pthread_mutex_unlock(&lock);
	return s < shields + SHIELDS ? 0 : -1;
}

void
trap_unshield(const void *from)
{
	pthread_mutex_lock(&lock);
	for (struct shield *s = shields; s < shields + SHIELDS; s++)
		if (atomic_load(&s->from) == (uintptr_t)from)
			atomic_store(&s->from, 0);
	pthread_mutex_unlock(&lock);
}

void
trap_tell(void)
{
	pthread_mutex_lock(&lock);
	for (struct shield *s = shields; s < shields + SHIELDS; s++) {
		if (atomic_load(&s->from) == 0 || atomic_load(&s->pages) == 0 || s->told)
			continue;
		s->told = true;
		LOG(LOG_ERROR, "a file cannot be read or was cut short; missing pages read as zeros",
		    LOG_S("file", s->file));
	}
	pthread_mutex_unlock(&lock);
}
