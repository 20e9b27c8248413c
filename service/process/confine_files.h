/*
 * confine_files.h - the files, ports, sockets and signals that the serving daemon may use: Landlock.
 */
#ifndef CONFINE_FILES_H
#define CONFINE_FILES_H

#include <stdbool.h>
#include <stddef.h>

#include "service/base/config.h"

/*
 * confine_files(config, config_path, abstract_notify, why, why_len):
 * From now on, until the process ends, this thread and all that it starts may only
 *   - read, write, make and remove files below the folders of ${config}'s databases;
 *   - make and remove files and sockets in the folders of its unix sockets;
 *   - read files below the folders of ${config_path}, the peppers and the TLS files, and below the folders that
 *     these link to now, so that a file that was replaced or linked anew can be read again;
 *   - read what the C library needs to look up a host and a time zone and to load its own modules;
 *   - listen on and connect to the TCP ports of ${config} (Linux 6.7);
 *   - reach its own abstract unix sockets, and all others with ${abstract_notify}; signal itself (Linux 6.12).
 * An older kernel holds the part that it knows. A folder that does not exist gives no right.
 * Needs no_new_privs or root.
 * Threads:   call it before a thread is started: threads that exist already are not restricted.
 * Returns:   Landlock's ABI version, from 1; 0 when the kernel has no Landlock, with the reason at ${why}; -1
 *            when it has and failed, with the reason.
 */
int
confine_files(const struct config *config, const char *config_path, bool abstract_notify, char *why, size_t why_len);

#endif
