/*
 * journal.h - the priority that journald reads at the beginning of a line on standard error: sd-daemon(3).
 */
#ifndef JOURNAL_H
#define JOURNAL_H

#include <stdbool.h>

/*
 * journal_is_fd(fd):
 * Is ${fd} the journal's stream? It is, if it is the file that JOURNAL_STREAM in the environment names by the numbers
 * of its device and inode: systemd.exec(5). A program that gave its child another standard error leaves the variable.
 * Threads: any, while no thread changes the environment.
 */
bool journal_is_fd(int fd);

/* What a line to the journal begins with: "<3>" and so on. ${level}: a log.h's, from LOG_ERROR, 0, to LOG_DEBUG, 3. */
const char *journal_prefix(int level);

#endif
