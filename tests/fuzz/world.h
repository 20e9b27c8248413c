/*
 * world.h - a whole service for fuzz_dispatch: both environments on real storage, accounts in every state, a clock that
 * is moved by hand, and what is known of every secret that was ever handed out.
 */
#ifndef WORLD_H
#define WORLD_H

#include <protobuf-c/protobuf-c.h>

#include "service/rpc/dispatch.h"
#include "service/keys/secret.h"

/* What a request may say in place of a secret, byte for byte as long: 42 bytes, then two digits that number it. */
#define WORLD_MARK "-the-secret-of-this-world-with-the-number-"
#define WORLD_MARK_LEN 42

struct world {
	struct service service;
	struct config config;
};

/*
 * world_get():
 * The world, founded at the first call below $TMPDIR and founded anew after a number of inputs, so that it stays small
 * and an input's finds do not hang on all that came before. Removed when the process ends.
 */
struct world *world_get(void);

void world_advance(int64_t ms);

/*
 * world_ask(role, bytes, len, nth, reply, reply_len):
 * Dispatch ${bytes}, with the ${nth} allocation failing (0: none), and wait for the one reply, which the caller frees.
 */
void world_ask(enum role role, const uint8_t *bytes, size_t len, unsigned nth, uint8_t **reply, size_t *reply_len);

/* Put secrets in place of their marks, in the clear and as the user name of a Basic header. */
void world_insert_secrets(uint8_t *bytes, size_t len);

/* ---- what is known; all of it errs on the side of "may be valid" ---- */

/* Learn from a request that may have been applied, and from what was answered when ${code} is 0. */
void world_learn(const char *method, const ProtobufCMessage *request, int code, const ProtobufCMessage *response);

/* Stop when a VALID for ${secret} says what cannot be. ${response} is a Fob__V1__VerifyKeyResponse. */
void world_check_valid(const void *secret, size_t len, const ProtobufCMessage *response);

/* Stop when ${text} holds a part of a secret. */
void world_check_text(const void *text, size_t len);

/* Stop when a store has failed or found damage, or when a key that nobody can have touched does not verify. */
void world_check_health(void);

#endif
