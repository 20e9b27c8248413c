/*
 * trap.h - survive a database that is damaged. LMDB 0.9 believes its pages: a flipped bit in a page's header makes it read
 * where nothing is mapped, or fail an assertion, and either would end the process, and the other environment with it. So
 * every call into LMDB that follows pages is made with a trap set; when it springs, that database has failed.
 *
 *	sigjmp_buf trap;
 *
 *	if (sigsetjmp(trap, 0) != 0)
 *		return sprung(db);
 *	trap_set(&trap);
 *	rc = mdb_get(...);
 *	trap_clear();
 *
 * What LMDB had in hand is lost then: a write transaction, and its lock, for the rest of the process. A damaged page that
 * LMDB *writes* from would harm memory before it faults, so those are proved first (descent.h).
 */
#ifndef TRAP_H
#define TRAP_H

#include <setjmp.h>
#include <stddef.h>

/* Before a database is opened; again does no harm, and helps when somebody else took the signals meanwhile. Faults outside of a trap go on to whoever handled them before. */
void trap_install(void);

/* Threads: each has its own trap; one at a time. */
void trap_set(sigjmp_buf *trap);
void trap_clear(void);

/*
 * trap_shield(from, bytes, file):
 * For a mapped file that is a convenience, and must harm nobody: what cannot be read in these ${bytes} (the file was cut
 * short, or its disk fails) is replaced by zeros in this process alone, a page at a time, and after a thousand pages
 * all of it. Costs nothing until then.
 * Ownership: ${file}, its name, is borrowed until trap_unshield(), before which nothing is to be unmapped.
 * Threads:   any. Returns: 0; -1: there are too many.
 */
int trap_shield(const void *from, size_t bytes, const char *file);
/* NULL, or what has no shield, is fine. Nobody may touch it meanwhile. */
void trap_unshield(const void *from);

/* Say in the log, once for each, of which files something is missing. To be called now and then. Threads: any. */
void trap_tell(void);

/* Spring the trap by hand: for LMDB's failed assertions. Aborts when none is set. */
_Noreturn void trap_spring(void);

#endif
