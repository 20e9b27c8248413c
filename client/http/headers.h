/*
 * headers.h - what makes a request refused before a handler sees it: what two programs could read in two ways. Pure.
 */
#ifndef HTTP_HEADERS_H
#define HTTP_HEADERS_H

#include <stdbool.h>
#include <stddef.h>

#include "client/http/request.h"

#define HEADERS_MAX 100

/*
 * headers_once(headers, n, name, value):
 * Find the one header ${name}, in any case. *${value} is NULL when there is none.
 * Returns: 0; -1 when there are several, or one whose name is ${name} with "_" or "." for "-", as some servers read it.
 */
int headers_once(const struct http_header *headers, size_t n, const char *name, const char **value);

/*
 * headers_check(headers, n):
 * Look for what is refused: too many headers, a name or a value that RFC 9110 does not allow, any Transfer-Encoding, a
 * Content-Length that is no number, no Host; and more than one, or an alias (see headers_once()), of Authorization,
 * Host, Content-Length, Transfer-Encoding and every X-Fob-*.
 * Returns: NULL: nothing; else a static text that says what.
 */
const char *headers_check(const struct http_header *headers, size_t n);

/*
 * The token of an Authorization header "Bearer TOKEN", which may be empty; NULL: another scheme.
 * https://www.rfc-editor.org/rfc/rfc6750#section-2.1
 */
const char *headers_bearer(const char *authorization);

/* ---- the head as it came ---- */

/* What the head's bytes told so far. All zero: nothing yet. */
struct head_scan {
	const char *why; /* it is refused; a static text */
	bool ended;      /* the empty line has come */
	bool line_two;   /* the request line is behind us */
	char last[8];    /* the newest bytes of the request line */
	char before;     /* the newest byte */
	unsigned spaces; /* in the request line */
	size_t column;
};

/*
 * head_scan(scan, bytes, n):
 * Go on with the next ${n} bytes of a request. What evhttp's parser lets pass, and then shows to nobody, is refused
 * here: lines that do not end in CR LF, NUL, folded headers, a request line with more than two blanks, a version that
 * is neither HTTP/1.0 nor HTTP/1.1. What follows the head is not looked at.
 */
void head_scan(struct head_scan *scan, const char *bytes, size_t n);

#endif
