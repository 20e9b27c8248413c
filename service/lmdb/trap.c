/*
 * trap.c - signal handlers that turn SIGSEGV and SIGBUS within LMDB into an error (see trap.h). The handler never
 * logs and takes no lock.
 */
#include "service/lmdb/trap.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>

static _Thread_local sigjmp_buf *volatile armed;

static struct sigaction former_segv, former_bus;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void
on_fault(int signal_number, siginfo_t *info, void *context)
{
	const struct sigaction *former = signal_number == SIGSEGV ? &former_segv : &former_bus;

	if (armed != NULL)
		trap_spring();
	if ((former->sa_flags & SA_SIGINFO) != 0) {
		former->sa_sigaction(signal_number, info, context);
		return;
	}
	/* The thread repeats the instruction, and the default action ends the process. */
	signal(signal_number, SIG_DFL);
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
