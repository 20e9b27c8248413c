/*
 * harden.h - what the daemon gives up before it handles a key: core dumps, being traced, new privileges, root.
 */
#ifndef HARDEN_H
#define HARDEN_H

#include <stddef.h>

/*
 * All three return 0, or -1 with one line at ${why}: fobd must not start.
 *
 * harden_process(): no core dumps, not dumpable (so no other process of this user can read its memory), umask
 * 077, no new privileges by exec. Call it first in main().
 *
 * harden_descriptors(connections): raise the limit of open files to what ${connections} need. Call it before
 * harden_drop(): to raise the hard limit takes root (CAP_SYS_RESOURCE).
 *
 * harden_drop(user): become ${user}, with only its groups, and check that there is no way back. Call it
 * before any key is read. Does nothing if the process runs as ${user} already. Changes all threads.
 */
int harden_process(char *why, size_t why_len);
int harden_descriptors(unsigned connections, char *why, size_t why_len);
int harden_drop(const char *user, char *why, size_t why_len);

#endif
