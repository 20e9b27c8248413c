/*
 * utf8.h - decode UTF-8, to show text from a peer to people: libfob's errors and the daemon's log.
 */
#ifndef UTF8_H
#define UTF8_H

#include <stddef.h>
#include <stdint.h>

/*
 * utf8_decode(s, n, point):
 * Decode the first character of the ${n} > 0 bytes at ${s} into *${point}.
 * Returns: how many bytes it has; 0 for bytes that are not UTF-8 (RFC 3629): a character that is cut off or
 *          overlong, a surrogate, a code point beyond U+10FFFF.
 */
size_t utf8_decode(const uint8_t *s, size_t n, uint32_t *point);

#endif
