/*
 * csrf.h - was a request made by a page of ours, or of another site in the same browser? Pure.
 */
#ifndef HTTP_CSRF_H
#define HTTP_CSRF_H

#include <stdbool.h>
#include <stddef.h>

#include "client/http/request.h"

/*
 * csrf_origin_ok(headers, n, origin, required):
 * Look at what browsers say of where a request comes from, and pages cannot change: Sec-Fetch-Site must be same-origin,
 * Origin must be ${origin} (NULL: http:// or https:// and the request's Host). What is not there is not looked at.
 * Returns: false: another site's, or both are missing and ${required} is true. No other program than a browser sends
 *          either.
 */
bool csrf_origin_ok(const struct http_header *headers, size_t n, const char *origin, bool required);

/*
 * cookie_find(headers, n, name, size, value):
 * Find the cookie ${name} and copy its value to ${value}, which has ${size} bytes.
 * Ownership: ${value} is a secret: the caller wipes it.
 * Returns:   0; -1 when there is none, or several, or it is too long: ${value} is "".
 */
int cookie_find(const struct http_header *headers, size_t n, const char *name, size_t size, char *value);

#endif
