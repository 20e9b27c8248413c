/*
 * text.h - the pure half of the command line: what a string means, and how a value reads. No I/O, no clock, no memory.
 */
#ifndef CLI_TEXT_H
#define CLI_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TEXT_TIME_SIZE 32

/*
 * text_trim(text, len, from):
 * What is around a secret, a token or a line without being seen is not part of it: a byte order mark before it, and
 * blanks and line ends on both sides.
 * Returns: the length of what is left, which begins at ${text} + *${from}.
 */
size_t text_trim(const char *text, size_t len, size_t *from);

/* True when ${text} begins with the byte order mark of UTF-16, which some programs write unasked. */
bool text_is_utf16(const char *text, size_t len);

/* True for 1 to 64 bytes of [A-Za-z0-9._-], which is what fobd takes as an account id. */
bool text_is_account(const char *s);

/*
 * text_duration_ms(s, ms):
 * Read "0", "500ms", "90s", "1h30m" or "7d": numbers, each with its unit, so that nobody has to guess what 90 means.
 * Returns: 0; -1 for anything else or for more than 1,000 days, ${ms} untouched.
 */
int text_duration_ms(const char *s, int64_t *ms);

/* A decimal number from ${min} to ${max}, digits only. Returns 0, or -1 with ${n} untouched. */
int text_number(const char *s, uint32_t min, uint32_t max, uint32_t *n);

/* ${ms} since the epoch as UTC, "2026-01-31T23:59:59Z", with ".123" for ${milliseconds}; "-" for 0. */
void text_time(int64_t ms, bool milliseconds, char out[TEXT_TIME_SIZE]);

/* ${ms} as seen from ${now_ms} in its two largest units: "in 23h59m", "3m12s ago", "now". */
void text_relative(int64_t ms, int64_t now_ms, char out[TEXT_TIME_SIZE]);

/*
 * text_escape(in, out, size):
 * Copy ${in} to ${out}, of ${size} >= 5 bytes, as something that no terminal acts on: printable ASCII and our own
 * ellipsis stay, a backslash is doubled, every other byte becomes \xNN. What does not fit is cut between characters.
 */
void text_escape(const char *in, char *out, size_t size);

#endif
