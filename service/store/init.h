/*
 * init.h - make a new database, its folder and its pepper.
 */
#ifndef INIT_H
#define INIT_H

#include "service/store/open.h"

/*
 * store_init(options, why, why_len):
 * Make what is missing of the pepper file, the folder and the database. An existing database or pepper is left as it
 * is. A database without its pepper is refused, because a new pepper would not fit it. Where something shows that there
 * was a database, no new one is made: an empty data.mdb, a lock or last-used times in the folder, a pepper of more than
 * one line, the note of store_note(). With options->to_replace nothing is lost by a new one, but the pepper has to be there.
 * Returns: 0, or -1 with one line at ${why}.
 */
int store_init(const struct store_options *options, char *why, size_t why_len);

/*
 * store_note(options):
 * Note beside the pepper, as PEPPER.used, that it has a database. A failure is logged, and no more: a pepper may be on
 * a read-only medium.
 */
void store_note(const struct store_options *options);

#endif
