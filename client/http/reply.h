/*
 * reply.h - the head of an HTTP/1.1 reply, as text. evhttp needs 33 allocations for such a head, and formats each line
 * of it with printf: 31,000 of the 76,000 instructions that a request of forward auth took.
 */
#ifndef HTTP_REPLY_H
#define HTTP_REPLY_H

#include <stdbool.h>
#include <stddef.h>

#include "client/http/request.h"

#define REPLY_HEAD_MAX 4096
#define REPLY_DATE_SIZE 30 /* "Mon, 30 Nov 2026 20:00:00 GMT" */

/* What becomes of the connection, and says so. */
enum reply_connection {
	REPLY_KEEP,      /* HTTP/1.1's default: nothing is said */
	REPLY_KEEP_OLD,  /* of HTTP/1.0, whose default is another: "keep-alive" */
	REPLY_CLOSE      /* "close" */
};

/*
 * reply_head(reply, connection, date, out):
 * Write the status line and the headers of ${reply} to ${out}, up to and with the empty line. ${date} is the Date.
 * A reply without a type has Content-Length: 0.
 * Returns: the length; 0 if it is longer than REPLY_HEAD_MAX, or if a header holds a control character, which could
 *          end the head or begin another header.
 */
size_t reply_head(
    const struct http_reply *reply, enum reply_connection connection, const char *date, char out[REPLY_HEAD_MAX]);

#endif
