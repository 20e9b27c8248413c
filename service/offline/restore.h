/*
 * restore.h - make a backup a database that is served again.
 */
#ifndef RESTORE_H
#define RESTORE_H

#include <stdio.h>

#include "service/store/open.h"
#include "service/store/store.h"

/*
 * restore_backup(options, events, out, why, why_len):
 * Make the marked copy at ${options}, opened with STORE_RESTORE, a database that is served again. ${events} are the events
 * of the original since the copy, as `fob events --output json` prints them; those of the other environment are ignored.
 * Keys that they ended are ended here. Without ${events} (NULL) those keys are valid again. Everything is one commit, with
 * an event of its own. What was done, and what is left to do, is written to ${out}.
 * Returns: 0; -1 with one line at ${why}, and nothing has changed.
 */
int restore_backup(const struct store_options *options, FILE *events, FILE *out, char *why, size_t why_len);

#endif
