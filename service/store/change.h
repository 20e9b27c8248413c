/*
 * change.h - a change that was decided: a plain value that says what becomes of which records, with every time, digest
 * and generation already chosen. decide.c makes changes, and store_apply() writes them: deterministically, and without
 * knowing the request. So several nodes that apply the same list of changes get the same database; its `revision` counts
 * the changes that it has.
 */
#ifndef CHANGE_H
#define CHANGE_H

#include "service/store/record.h"

/* A suspension changes the account's current keys and all keys in grace. No change has more keys. */
#define CHANGE_KEYS (2 + LIMIT_IN_GRACE)

struct change_key {
	bool is_new;     /* the account's current key of its kind from now on; needs change.touches_account */
	bool superseded; /* the account's current key until now */
	uint8_t digest[RECORD_DIGEST_LEN];
	int64_t old_expires_ms; /* of its entry in the expiry table until now; 0: none */
	struct record_key key;  /* what it becomes */
};

struct change {
	int64_t time_ms;
	bool touches_account;
	struct record_account account; /* what it becomes */
	struct change_key keys[CHANGE_KEYS];
	unsigned n_keys;
	bool imports;              /* one of its keys is an imported one */
	struct record_event event; /* EVENT_NONE: none. store_apply() gives it its sequence */
	/* The request token's entry. The sweeper's changes have none. */
	bool has_token;
	uint8_t token_index[PEPPER_DIGEST_LEN];
	uint8_t token_request[PEPPER_DIGEST_LEN];
	uint8_t sealed[RECORD_REPLY_MAX + PEPPER_SEAL_LEN];
	size_t sealed_len;
	/* Begin a rotation to so many lines of the pepper, whose fingerprint this is; 0: no. Then there is nothing else in it. */
	uint8_t rotate_lines;
	uint8_t rotate_fingerprint[PEPPER_DIGEST_LEN];
	int64_t token_before_ms; /* of an entry under the same token, which is replaced; 0: there is none */
};

#endif
