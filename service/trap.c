/*
 * trap.c - SIGSEGV and SIGBUS within LMDB come back as an error (see trap.h). Called by lmdb.c alone. Never touches a fault
 * that is not LMDB's.
 */
#include "service/trap.h"

#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>

static _Thread_local sigjmp_buf *volatile armed;

static struct sigaction former_segv, former_bus;
static pthread_once_t once = PTHREAD_ONCE_INIT;

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
	/* The default: the instruction is tried again, and ends the process. */
	signal(signal_number, SIG_DFL);
}

static void
install(void)
{
	/* Not deferred: we leave the handler by a jump, which restores no signal mask. */
	struct sigaction action = { .sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_NODEFER };

	sigemptyset(&action.sa_mask);
	sigaction(SIGSEGV, &action, &former_segv);
	sigaction(SIGBUS, &action, &former_bus);
}

void
trap_install(void)
{
	pthread_once(&once, install);
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
