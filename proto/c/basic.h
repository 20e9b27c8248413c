/*
 * basic.h - the user name of an HTTP Basic Authorization header. libfob's users hold the header, and fobd is sent it.
 */
#ifndef BASIC_H
#define BASIC_H

#include <stddef.h>

#define BASIC_MAX 128 /* bytes of a user name, which is a key */

/*
 * basic_parse(header, len, secret, secret_len, why):
 * Take the user name out of the value of an Authorization header, as RFC 7617 has it: "Basic" in any case, spaces,
 * base64 of user ":" password; the password must be empty.
 * Returns: 0, with *${secret_len} bytes at ${secret}; otherwise -1, ${secret} wiped and *${why}, if not NULL, a static
 *          sentence that says what is wrong.
 */
int basic_parse(const char *header, size_t len, char secret[BASIC_MAX], size_t *secret_len, const char **why);

#endif
