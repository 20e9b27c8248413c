/*
 * backup.h - a copy of a database that a fobd serves, and the way back from it.
 */
#ifndef BACKUP_H
#define BACKUP_H

#include <stdio.h>

#include "service/store/store.h"

/*
 * backup_make(options, dest, out, why, why_len):
 * Copy the database of ${options}, opened with STORE_COPY, to the folder ${dest}, which must not be there. It appears
 * under that name whole, synced, 0600 and marked as a copy, or not at all. One line to ${out} says what was copied.
 * Returns: 0; -1 with one line at ${why}.
 */
int backup_make(const struct store_options *options, const char *dest, FILE *out, char *why, size_t why_len);

/*
 * backup_restore(options, events, out, why, why_len):
 * Make the marked copy at ${options}, opened with STORE_RESTORE, one that is served again. ${events} are those of the
 * database since then, as `fob events --output json` prints them, the other environment's among them: what they ended
 * ends here, too. NULL: nothing is applied, and what has ended since is valid again. All of it in one commit, with an
 * event of its own. What was done, and what is left to do, is written to ${out}.
 * Returns: 0; -1 with one line at ${why}, and nothing has changed.
 */
int backup_restore(const struct store_options *options, FILE *events, FILE *out, char *why, size_t why_len);

#endif
