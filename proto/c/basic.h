/*
 * basic.h - the user name of an HTTP Basic Authorization header.
 */
#ifndef BASIC_H
#define BASIC_H

#include <stddef.h>

#define BASIC_MAX 128 /* bytes of a user name, which is a key */

/*
 * basic_parse(header, len, secret, secret_len, why):
 * Copy the user name from the value of an Authorization header, as RFC 7617 defines it: "Basic" in any case,
 * spaces, base64 of user ":" password. The password must be empty.
 * Returns: 0, with *${secret_len} bytes at ${secret}; -1 with ${secret} wiped, and at *${why}, if ${why} is not
 *          NULL, a static text that says what is wrong.
 */
int basic_parse(const char *header, size_t len, char secret[BASIC_MAX], size_t *secret_len, const char **why);

#endif
