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
 * text_looks_like_key(arg):
 * True when ${arg} holds a key's prefix anywhere, or the start of a Basic value whose user name is a key: an argument
 * that must be refused and never repeated. Errs towards true, so that a mistyped or cut-off key is one as well.
 */
bool text_looks_like_key(const char *arg);

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
