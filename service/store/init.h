/*
 * init.h - make a new database, its folder and its pepper.
 */
#ifndef INIT_H
#define INIT_H

#include "service/store/open.h"

/*
 * store_init(options, why, why_len):
 * Make what is missing of the pepper file, the folder and the database. An existing database or pepper is left as it
 * is. A database without its pepper is refused, because a new pepper would not fit it.
 * Returns: 0, or -1 with one line at ${why}.
 */
int store_init(const struct store_options *options, char *why, size_t why_len);

#endif
