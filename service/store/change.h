/*
 * change.h - a mutation, decided: a plain value that says what becomes of which records, with every time, digest and
 * generation already chosen. Applying it (store_apply) is deterministic and knows nothing of requests. decide.c makes
 * changes; this seam is where a distributed engine would order them, each node applying the same list to its own
 * database, whose `revision` counts how far it has come.
 */
#ifndef CHANGE_H
#define CHANGE_H

#include "service/store/record.h"

/* A suspension touches an account's current keys and all in grace; nothing touches more. */
#define CHANGE_KEYS (2 + LIMIT_IN_GRACE)

struct change_key {
	bool is_new;     /* the account's current key of its kind from now on; change.touches_account goes with it */
	bool superseded; /* it was that until now */
	uint8_t digest[RECORD_DIGEST_LEN];
	int64_t old_expires_ms; /* its entry in the expiry table until now; 0: none */
	struct record_key key;  /* what it becomes */
};

struct change {
	int64_t time_ms;
	bool touches_account;
	struct record_account account; /* what it becomes */
	struct change_key keys[CHANGE_KEYS];
	unsigned n_keys;
	bool imports;              /* it has a key that is stored by its SHA-256 */
	struct record_event event; /* EVENT_NONE: none. Its sequence is given when it is applied */
	/* The request token's entry: left out when has_token is false (the sweeper has none). */
	bool has_token;
	uint8_t token_index[PEPPER_DIGEST_LEN];
	uint8_t token_request[PEPPER_DIGEST_LEN];
	uint8_t sealed[RECORD_REPLY_MAX + PEPPER_SEAL_LEN];
	size_t sealed_len;
};

#endif
