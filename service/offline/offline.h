/*
 * offline.h - fobd's commands that do not serve: check, backup, restore. `fob check`, `fob backup` and
 * `fob restore` run them.
 */
#ifndef OFFLINE_H
#define OFFLINE_H

#include "service/base/config.h"

/*
 * offline_check(config, args, n_args):
 * Check the environments of ${config}, or only ${args}[0]; ${args}[1] is a folder to check instead of its own.
 * Writes the result to standard output and errors to standard error.
 * Returns: an exit status: 0 whole; 2 at least one is not whole; 1 could not be checked.
 */
int offline_check(const struct config *config, char *const *args, int n_args);

/*
 * offline_backup(config, args, n_args):
 * Copy the database of the environment ${args}[0] to the new folder ${args}[1], while a fobd may serve it.
 * Returns: an exit status: 0 done; 1 failed, and the folder was not made.
 */
int offline_backup(const struct config *config, char *const *args, int n_args);

/*
 * offline_restore(config, args, n_args, events, accept_revived):
 * Turn the copy at the path of the environment ${args}[0] into a database that fobd serves. ${events}: a file,
 * or "-" for standard input; NULL only with ${accept_revived}. With both, events that do not reach back to the
 * copy, or that fit nothing in it, are accepted: see restore.h.
 * Returns: an exit status: 0 done; 1 failed, and nothing has changed.
 */
int
offline_restore(const struct config *config, char *const *args, int n_args, const char *events, bool accept_revived);

/*
 * offline_join(config, args, n_args):
 * Turn the copy at the path of the environment ${args}[0] into the database of a new node of its cluster, or, if there is
 * nothing, make one that is to be replaced by a copy: see join.h.
 * Returns: an exit status: 0 done; 1 failed, and nothing has changed.
 */
int offline_join(const struct config *config, char *const *args, int n_args);

/*
 * offline_leave(config, args, n_args):
 * Let the database of the environment ${args}[0] be in no cluster any more: see join.h.
 * Returns: an exit status: 0 done; 1 failed, and nothing has changed.
 */
int offline_leave(const struct config *config, char *const *args, int n_args);

#endif
