/*
 * offline.h - what fobd does with a database without serving it: check, backup, restore. `fob` runs them for people.
 */
#ifndef OFFLINE_H
#define OFFLINE_H

#include "service/base/config.h"

/*
 * offline_check(config, args, n_args):
 * Check the environments of ${config}, or the one that ${args}[0] names; ${args}[1] is a folder in place of its own.
 * Writes to standard output, and what keeps it from that to standard error.
 * Returns: an exit status: 0 whole; 2 something is not; 1 it could not be found out.
 */
int offline_check(const struct config *config, char *const *args, int n_args);

/*
 * offline_backup(config, args, n_args):
 * Copy the database of the environment ${args}[0] to the new folder ${args}[1], while a fobd may serve it.
 * Returns: an exit status: 0 done; 1 not, and there is no such folder.
 */
int offline_backup(const struct config *config, char *const *args, int n_args);

/*
 * offline_restore(config, args, n_args, events, accept_revived):
 * Make the copy that is at the path of the environment ${args}[0] one that is served again. ${events}: a file, "-" for
 * standard input, or NULL, which takes ${accept_revived}. Returns: an exit status: 0 done; 1 not, and nothing has
 * changed.
 */
int
offline_restore(const struct config *config, char *const *args, int n_args, const char *events, bool accept_revived);

#endif
