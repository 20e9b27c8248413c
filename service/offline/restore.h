/*
 * restore.h - make a backup a database that is served again.
 */
#ifndef RESTORE_H
#define RESTORE_H

#include <stdio.h>

#include "service/store/open.h"
#include "service/store/store.h"

/*
 * restore_backup(options, events, accept_revived, out, why, why_len):
 * Make the marked copy at ${options}, opened with STORE_RESTORE, a database that is served again. ${events} are the
 * events of the original, as `fob events --output json` prints them; those of the other environment are ignored. Keys
 * that they ended after the copy was taken are ended here. Everything is one commit, with an event of its own.
 * Refused, unless ${accept_revived}: no events (NULL); events that lack the copy's own last event; events that fit
 * nothing in the copy. Then keys that have ended since may be valid again. Refused always: lines that are no events,
 * events with a gap, events that differ from the copy's.
 * What was done, what fits nothing, and what is left to do is written to ${out}.
 * Returns: 0; -1 with one line at ${why}, and nothing has changed.
 */
int restore_backup(const struct store_options *options, FILE *events, bool accept_revived, FILE *out, char *why,
    size_t why_len);

#endif
