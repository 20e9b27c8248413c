/*
 * world.h - a whole service for fuzz_dispatch: both environments on real storage, accounts in every state, a clock that
 * the target sets, and a record of every secret that was given out.
 */
#ifndef WORLD_H
#define WORLD_H

#include <protobuf-c/protobuf-c.h>

#include "service/rpc/dispatch.h"
#include "service/keys/secret.h"

/* A mark that stands for a secret in a request, and is as long as one: 42 bytes, then the secret's number in two digits. */
#define WORLD_MARK "-the-secret-of-this-world-with-the-number-"
#define WORLD_MARK_LEN 42

struct world {
	struct service service;
	struct config config;
};

/*
 * world_get():
 * The world. The first call makes it below $TMPDIR. It is made anew after a number of inputs, so that it stays small and
 * a crash does not depend on all inputs before it. It is removed when the process ends.
 */
struct world *world_get(void);

void world_advance(int64_t ms);

/*
 * world_ask(role, bytes, len, nth, reply, reply_len):
 * Dispatch ${bytes}, with the ${nth} allocation failing (0: none), and wait for the reply, which the caller frees.
 */
void world_ask(enum role role, const uint8_t *bytes, size_t len, unsigned nth, uint8_t **reply, size_t *reply_len);

/* Replace marks by their secrets, in clear and as the user name of a Basic header. */
void world_insert_secrets(uint8_t *bytes, size_t len);

/* ---- the record of replies; in doubt a key "may be valid" ---- */

/* Record a request that may have been applied and, when ${code} is 0, its reply. */
void world_learn(const char *method, const ProtobufCMessage *request, int code, const ProtobufCMessage *response);

/* Abort when a VALID for ${secret} cannot be right. ${response} is a Fob__V1__VerifyKeyResponse. */
void world_check_valid(const void *secret, size_t len, const ProtobufCMessage *response);

/* Abort when ${text} holds a part of a secret. */
void world_check_text(const void *text, size_t len);

/* Abort when a store has failed or found damage, or when a key that no input can have changed is not VALID. */
void world_check_health(void);

#endif
