/*
 * trap.h - turn a SIGSEGV, SIGBUS or failed assertion inside LMDB into an error. LMDB 0.9 trusts its
 * pages: with a flipped bit in a page's header it reads where nothing is mapped or fails an assertion.
 * Either would end the process, and with it the other environment. So every call into LMDB that follows
 * pages is made with a trap set. When the trap springs, that database has failed.
 *
 *	sigjmp_buf trap;
 *
 *	if (sigsetjmp(trap, 0) != 0)
 *		return sprung(db);
 *	trap_set(&trap);
 *	rc = mdb_get(...);
 *	trap_clear();
 *
 * After that LMDB's state is undefined: a write transaction and its lock stay as they are until its
 * thread ends. A trap does not help where LMDB *writes* by a damaged page, as that corrupts memory before
 * it faults. Those pages are validated first (descent.h).
 */
#ifndef TRAP_H
#define TRAP_H

#include <setjmp.h>

/*
 * Install the signal handlers. Call it before a database is opened. May be called again, and takes the
 * signals back from a library that has replaced the handlers. A fault outside of a trap goes to the
 * handler that was installed before.
 */
void trap_install(void);

/* Threads: each has its own trap; one at a time. */
void trap_set(sigjmp_buf *trap);
void trap_clear(void);

/* Spring the trap: for LMDB's failed assertions. Aborts the process if no trap is set. */
_Noreturn void trap_spring(void);

#endif
