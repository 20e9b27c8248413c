/*
 * confine.h - what the daemon may still ask of the kernel once it serves: the files and ports that its settings name
 * (Landlock), and the system calls of a server that starts no programs (seccomp). Both last until the process ends.
 */
#ifndef CONFINE_H
#define CONFINE_H

#include <stdbool.h>
#include <stddef.h>

#include "service/base/config.h"

/*
 * A build with a sanitizer is not confined: its runtime traces the process, reads /proc and runs a symbolizer, which is
 * what these lists are there to refuse. Says "sanitizer" in the log.
 */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define CONFINE_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define CONFINE_SANITIZED 1
#endif
#endif
#ifndef CONFINE_SANITIZED
#define CONFINE_SANITIZED 0
#endif

/*
 * confine_files(config, config_path, abstract_notify, why, why_len):
 * From now on this thread, and all that it makes, may
 *   - read and write below the folders of ${config}'s databases, and make and remove files there;
 *   - make and remove files and sockets in the folders of its unix sockets;
 *   - read files below the folders of ${config_path}, the peppers and the TLS files, and below those that they link to
 *     now, so that a file which is replaced, or of which a link is turned, can be read again;
 *   - read what the C library needs to look up a host and a time zone and to load its own modules;
 *   - listen on the TCP ports of ${config} and connect to them, and to no other (Linux 6.7);
 *   - reach abstract unix sockets of its own only, unless ${abstract_notify}; signal itself only (Linux 6.12).
 * What an older kernel cannot hold is left out. A folder that is not there gives no right.
 * Needs no_new_privs or root, as confine_calls() does.
 * Threads:   call it before the first one is made: it is no restriction for those that are there.
 * Returns:   Landlock's ABI version, from 1; 0 when the kernel has no Landlock, with the reason at ${why}; -1 when it
 *            has and failed, with the reason.
 *
 * confine_calls(why, why_len):
 * From now on a system call that is not on the list (confine.c) is not made. What only an attacker would ask for in
 * this process (a program, a process, tracing, another user, memory that is written and run) is logged, and ends the
 * process by SIGSYS. Anything else is logged once and fails with ENOSYS, as on a kernel that lacks it: libraries have a
 * way out for that, and nobody who finds a rare path can end us by it. Needs no_new_privs or root. All threads are
 * bound.
 * Returns:   1; 0 when the kernel takes no filter, with the reason at ${why}; -1 when it does and failed.
 */
int
confine_files(const struct config *config, const char *config_path, bool abstract_notify, char *why, size_t why_len);
int confine_calls(char *why, size_t why_len);

/*
 * confine_process(config, config_path, abstract_notify, why, why_len):
 * Both, and a log line that says which are in effect: "confined seccomp=on landlock=abi4 ...". One that the kernel or a
 * container does not grant is a warning. Returns 0, or -1 with one line for people at ${why}: a reason not to start.
 */
int
confine_process(const struct config *config, const char *config_path, bool abstract_notify, char *why, size_t why_len);

#endif
