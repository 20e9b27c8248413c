/*
 * check.h - the offline check: are a database's records undamaged, and do they agree with each other?
 */
#ifndef CHECK_H
#define CHECK_H

#include <stdio.h>

#include "service/store/open.h"
#include "service/store/store.h"

/*
 * check_database(options, out, why, why_len):
 * Check the whole database of ${options}, whose ${use} is STORE_CHECK. Writes to ${out} one line with counts,
 * then one for each violation, with its table and key, up to 1,000. Of a digest only the first 8 bytes are
 * written, by which its record can be found; never a secret. Memory: one bit for each key ever made.
 * Returns: 0: whole; 1: not whole; -1 with one line at ${why}: the database cannot be opened or read.
 */
int check_database(const struct store_options *options, FILE *out, char *why, size_t why_len);

#endif
