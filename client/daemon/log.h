/*
 * log.h - one line per event to stderr, in logfmt or JSON, as fobd writes them. Never pass a secret, a header or a
 * body.
 */
#ifndef DAEMON_LOG_H
#define DAEMON_LOG_H

#include <stdbool.h>

enum log_level { LOG_ERROR = 0, LOG_WARN = 1, LOG_INFO = 2, LOG_DEBUG = 3 };

void log_setup(enum log_level level, bool json);

/*
 * log_line(level, message, ...):
 * Write "time=... level=... msg=... name=value ...". The names and values, all strings, come after ${message} in pairs
 * and end with NULL. Where stderr is the journal's stream, the priority stands before the line: journal.h. What is not
 * printable ASCII is escaped. A line has at most 2 KiB; a longer one is cut. Never waits: when stderr is full the line
 * is dropped.
 * Threads: any.
 */
void log_line(enum log_level level, const char *message, ...) __attribute__((sentinel));

#endif
