/*
 * ask.h - what one node asks of another, as bytes: a request or a response, sealed under a subkey of the pepper's first
 * line, which all nodes of an environment share. Agents carry it and see its size only. A response is bound to its
 * request's nonce, so that none can be given for another; a request that is replayed is answered again, which harms
 * nobody, as every change carries a token.
 *
 *	version 1 (1), nonce 24, XChaCha20-Poly1305 of the text, its tag 16
 *
 * Threads: any; no state is shared.
 */
#ifndef ASK_H
#define ASK_H

#include <stddef.h>
#include <stdint.h>

#include "service/base/types.h"

#define ASK_KEY_LEN 32
#define ASK_CLUSTER_LEN 16
#define ASK_NONCE_LEN 24
#define ASK_SEAL_LEN (1 + ASK_NONCE_LEN + 16) /* more than the text has */

/* What is bound to it. */
struct ask_place {
	uint8_t cluster[ASK_CLUSTER_LEN];
	enum environment environment;
	const uint8_t *request; /* of a response: its request's nonce. NULL: it is a request */
};

/* Returns the length, which is ${len} + ASK_SEAL_LEN. ${sealed} may not overlap ${text}. */
size_t ask_seal(const uint8_t key[ASK_KEY_LEN], const struct ask_place *place, const uint8_t *text, size_t len,
    uint8_t *sealed);
/* Of what ask_seal() has made, or ask_open() accepted. */
const uint8_t *ask_nonce(const uint8_t *sealed);
/* ${text} has ${len} - ASK_SEAL_LEN bytes. Returns: 0; -1: it was not sealed so. */
int ask_open(const uint8_t key[ASK_KEY_LEN], const struct ask_place *place, const uint8_t *sealed, size_t len,
    uint8_t *text);

#endif
