/*
 * check.h - the offline check: does a database hold together?
 */
#ifndef CHECK_H
#define CHECK_H

#include <stdio.h>

#include "service/store/open.h"
#include "service/store/store.h"

/*
 * check_database(options, out, why, why_len):
 * Walk through all of the database that ${options} name, opened with STORE_CHECK, and write to ${out} one line with
 * what there is, then a line for each violation, with its table and key, the first thousand. Secrets and digests are
 * not written, but for the first eight bytes of a digest, by which a record is found. Memory: a bit for each key ever
 * made.
 * Returns: 0: it is whole; 1: it is not; -1 with one line at ${why}: it cannot be opened, or not read to its end.
 */
int check_database(const struct store_options *options, FILE *out, char *why, size_t why_len);

#endif
