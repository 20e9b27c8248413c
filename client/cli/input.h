/*
 * input.h - what the command line is told in private: secrets, request tokens, and yes or no.
 */
#ifndef CLI_INPUT_H
#define CLI_INPUT_H

#include <stdbool.h>
#include <stddef.h>

#include "client/fob.h"

/* Larger than anything a key or a header can be; fobd says what is wrong with one that is merely too long. */
#define INPUT_MAX 16384

struct input {
	size_t len;
	char bytes[INPUT_MAX];
};

/*
 * input_read(path, what, in):
 * Read a secret, called ${what} towards people, from the file ${path}; for NULL or "-" from stdin, or by a prompt that
 * shows nothing when stdin is a terminal. What text_trim() takes away is not part of it.
 * Ownership: ${in} is the caller's, to be wiped with input_fini() in any case.
 * Returns:   0; -1 with the reason said: it cannot be read, is empty, is UTF-16 or is longer than INPUT_MAX.
 */
int input_read(const char *path, const char *what, struct input *in);
void input_fini(struct input *in);

/* Whether there is somebody to ask: stdin is a terminal. */
bool input_can_ask(void);
/* Read the answer to a question that has been asked: true for y or yes, in any case. */
bool input_yes(void);

/*
 * A mutation's request token. From --token-file: read, or made and kept there (0600, synced) before it is first used,
 * so that a rerun gets the same reply; a file appears whole, so that two commands at once use one token. Without: made,
 * and kept only by token_keep(), when a rerun may be needed after all.
 */
struct token {
	unsigned char bytes[FOB_TOKEN_LEN];
	const char *path; /* NULL: only in memory so far */
};

/*
 * token_init(token, path):
 * Returns: 0; -1 with the reason said. A file that others may read, that is not a token, or that is so old that the
 *          server has forgotten it (a rerun would be a second change) is refused.
 */
int token_init(struct token *token, const char *path);

/*
 * token_keep(token):
 * Make sure that ${token} is in a file: a new one in $XDG_RUNTIME_DIR, $TMPDIR or /tmp, if need be.
 * Returns: the file's name, valid until the program ends; NULL with the reason said.
 */
const char *token_keep(struct token *token);
void token_fini(struct token *token);

#endif
