/*
 * utf8.h - characters of UTF-8, for what shows foreign text to people: libfob's errors and the daemon's log.
 */
#ifndef UTF8_H
#define UTF8_H

#include <stddef.h>
#include <stdint.h>

/*
 * utf8_decode(s, n, point):
 * The first character of the ${n} > 0 bytes at ${s} into *${point}.
 * Returns: how many bytes it has; 0 for anything that is not UTF-8 (RFC 3629): cut off, overlong, a surrogate, beyond
 *          U+10FFFF.
 */
size_t utf8_decode(const uint8_t *s, size_t n, uint32_t *point);

#endif
