/*
 * harden.h - what the daemon gives up before it touches a key: core dumps, being traced, new privileges, root.
 */
#ifndef HARDEN_H
#define HARDEN_H

#include <stddef.h>

/*
 * All three return 0, or -1 with one line for people at ${why}. A failure is a reason not to start.
 *
 * harden_process(): no core dumps, not dumpable (so no other process of this user can read its memory), umask 077,
 * no new privileges by exec. First thing in main().
 *
 * harden_descriptors(connections): raise the limit of open files to what ${connections} need. As root before
 * harden_drop(): the hard limit takes CAP_SYS_RESOURCE to raise.
 *
 * harden_drop(user): become ${user}, with its groups and no others, for good, and prove it. After the sockets are open
 * and before any key is read. Nothing to do for the user that we are already. Threads: glibc changes them all.
 */
int harden_process(char *why, size_t why_len);
int harden_descriptors(unsigned connections, char *why, size_t why_len);
int harden_drop(const char *user, char *why, size_t why_len);

#endif
