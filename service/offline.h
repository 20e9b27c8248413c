/*
 * offline.h - what fobd does with a database without serving it: check, backup, restore. `fob` runs them for people.
 */
#ifndef OFFLINE_H
#define OFFLINE_H

#include "service/config.h"

/*
 * offline_check(config, args, n_args):
 * Check the environments of ${config}, or the one that ${args}[0] names; ${args}[1] is a folder in place of its own.
 * Writes to standard output, and what keeps it from that to standard error.
 * Returns: an exit status: 0 whole; 2 something is not; 1 it could not be found out.
 */
int offline_check(const struct config *config, char *const *args, int n_args);

#endif
