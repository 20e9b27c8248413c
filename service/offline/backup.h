/*
 * backup.h - copy a database that a fobd serves.
 */
#ifndef BACKUP_H
#define BACKUP_H

#include <stdio.h>

#include "service/store/open.h"
#include "service/store/store.h"

/*
 * backup_make(options, dest, out, why, why_len):
 * Copy the database of ${options}, opened with STORE_COPY, to the folder ${dest}, which must not be there. It appears
 * under that name whole, synced, 0600 and marked as a copy, or not at all. One line to ${out} says what was copied.
 * Returns: 0; -1 with one line at ${why}.
 */
int backup_make(const struct store_options *options, const char *dest, FILE *out, char *why, size_t why_len);

#endif
