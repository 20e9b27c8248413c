/*
 * confine_calls.h - the system calls that the serving daemon may make: seccomp.
 */
#ifndef CONFINE_CALLS_H
#define CONFINE_CALLS_H

#include <stddef.h>

/*
 * confine_calls(why, why_len):
 * From now on, until the process ends, the kernel refuses every system call that is not on the list in
 * confine_calls.c.
 *   - A call that only an attacker would make in this process (start a program or a process, trace, become
 *     another user, make memory both writable and executable) is logged, and ends the process by SIGSYS.
 *   - Any other call is logged once and fails with ENOSYS, as on a kernel without it. Libraries handle that,
 *     and an attacker who finds a rare path cannot end the daemon by it.
 * Needs no_new_privs or root. Binds all threads.
 * Returns: 1; 0 when the kernel takes no filter, with the reason at ${why}; -1 when it does and failed.
 */
int confine_calls(char *why, size_t why_len);

#endif
