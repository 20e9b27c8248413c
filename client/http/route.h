/*
 * route.h - which operation is a method and a path? A table of routes from the settings, and the checks of a path that
 * come before it. Pure.
 */
#ifndef HTTP_ROUTE_H
#define HTTP_ROUTE_H

#include <stddef.h>

#define ROUTES_MAX 1024
#define ROUTE_OPERATION_MAX 64 /* bytes of a name, as fobd's */

struct route {
	char *text; /* owns what the others point to */
	const char *method, *path, *operation;
};

struct route_table {
	struct route *routes;
	size_t n;
};

/*
 * route_add(table, text, why):
 * Add the route "METHOD /path = operation". A segment {name} of the path stands for one segment that is not empty, a
 * last segment * for all that is below. Anything else stands for itself; nothing is decoded. Of several routes that
 * match the first counts, so one that could never match is refused.
 * Returns: 0; -1 with a static text at *${why}.
 */
int route_add(struct route_table *table, const char *text, const char **why);
void route_table_fini(struct route_table *table);

/*
 * route_path(target, path_len, why):
 * Find the path in a request's target, without its query, and refuse a path that two programs could read in two ways:
 * one that does not begin with /, holds //, a segment . or .. (also as %2E), a semicolon, a backslash, a character that
 * is not printable ASCII, #, a percent code that is not two hex digits or stands for /, \, ;, %, NUL or another control
 * character.
 * Returns: 0 with the path's length at *${path_len}; -1 with a static text at *${why}.
 */
int route_path(const char *target, size_t *path_len, const char **why);

/* The operation of ${method} at a path that route_path() has passed; NULL: there is no such route. */
const char *route_find(const struct route_table *table, const char *method, const char *path, size_t path_len);

#endif
