/*
 * confine.h - restrict the serving daemon: to the files and ports that its settings name (confine_files.h),
 * and to the system calls that it needs (confine_calls.h).
 */
#ifndef CONFINE_H
#define CONFINE_H

#include <stdbool.h>
#include <stddef.h>

#include "service/base/config.h"
#include "service/base/sanitizer.h"

/*
 * A build with a sanitizer is not confined: its runtime traces the process, reads /proc and starts a
 * symbolizer, which the restrictions forbid. The log says so.
 */
#define CONFINE_SANITIZED (SANITIZER_ADDRESS || SANITIZER_THREAD)

/*
 * confine_process(config, config_path, abstract_notify, why, why_len):
 * confine_files() and confine_calls(), and a log line that says which are in effect: "confined seccomp=on
 * landlock=abi4 ...". A restriction that the kernel or a container does not grant is logged as a warning.
 * Call it when root was given up, before the first thread, pepper or peer.
 * Returns: 0; -1 with one line at ${why}: fobd must not start.
 */
int
confine_process(const struct config *config, const char *config_path, bool abstract_notify, char *why, size_t why_len);

#endif
