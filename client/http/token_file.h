/*
 * token_file.h - the sign-in token: made at each start, told by a file of mode 0600, known here by its digest only.
 */
#ifndef HTTP_TOKEN_FILE_H
#define HTTP_TOKEN_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TOKEN_DIGEST_LEN 32

/*
 * token_file_make(path, digest, why, why_len):
 * Make a token of 32 random bytes and write it to ${path}, as a line of base64url. A file that is there is
 * replaced, never written to.
 * Returns: 0, with the token's digest at ${digest}; -1 with one line at ${why}.
 */
int token_file_make(const char *path, uint8_t digest[TOKEN_DIGEST_LEN], char *why, size_t why_len);

/* Is ${given} the token with this digest? Takes the same time for every wrong one. */
bool token_is(const char *given, const uint8_t digest[TOKEN_DIGEST_LEN]);

#endif
