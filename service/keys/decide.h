/*
 * decide.h - the rules for changes of keys and accounts: creating, importing, rolling, revoking, suspending, expiring.
 * Every rule about generations, states and grace is in decide.c and verdict.c, and nowhere else.
 *
 * Threads: the writer's, within its transaction.
 * Returns: 0 with *${change} complete but for its token; or a negative fault with a sentence for people at ${why}.
 *          A change that alters nothing, for example of a key that had ended before, is still applied: it holds the
 *          reply under its token.
 */
#ifndef DECIDE_H
#define DECIDE_H

#include "service/store/change.h"
#include "service/store/store.h"

/* All that a decision depends on, beside the request. */
struct view {
	struct store_txn *txn;
	const struct record_state *state;
	int64_t now_ms;
};

/* A new secret, as it will be stored. */
struct new_secret {
	uint8_t digest[RECORD_DIGEST_LEN];
	bool has_old; /* during a rotation, an imported key may exist under its digest ${old} */
	uint8_t old[RECORD_DIGEST_LEN];
	char last4[4];
};

struct roll {
	const char *account;
	int64_t grace_ms;             /* 0: the old key ends now */
	uint32_t expected_generation; /* 0: any */
	const uint8_t *authorizing;   /* stored digest of authorizing_secret; NULL: the listener's role authorises */
	struct new_secret secret;
};

/* One account from another system, with the keys that it has there. */
struct import {
	const char *account;
	int64_t created_ms;                   /* 0: now */
	const struct new_secret *secret;      /* NULL: none */
	const struct new_secret *publishable; /* NULL: none */
};

/* As on the wire (fob.v1.ImportOutcome). The BAD ones are found by the handler, the others by decide_import(). */
enum import_outcome {
	IMPORT_DONE = 1,
	IMPORT_UNCHANGED = 2,
	IMPORT_ACCOUNT_CONFLICT = 3,
	IMPORT_KEY_CONFLICT = 4,
	IMPORT_BAD_ACCOUNT = 5,
	IMPORT_BAD_KEY = 6,
	IMPORT_BAD_TIME = 7
};

typedef char why_text[LIMIT_MESSAGE];

/* change->keys[0] is the secret key, [1] the publishable one. */
int decide_create(const struct view *view, const char *account, const struct new_secret *secret,
    const struct new_secret *publishable, struct change *change, why_text why);
/* Is there room for ${n} more accounts with two keys each? Asked once, before the first account of an import. */
int decide_import_room(const struct view *view, unsigned n, why_text why);
/*
 * An account that exists gets a key of a kind that it never had a key of. Keys that it has stay as they are. ${change} is
 * to be applied only when *${outcome} is IMPORT_DONE.
 */
int decide_import(const struct view *view, const struct import *import, enum import_outcome *outcome,
    struct change *change, why_text why);
/* A change that alters nothing. It carries a token, or the time. */
void decide_nothing(const struct view *view, struct change *change);
/*
 * change->keys[0] is the new key, [1] the old one, even if it had ended before. An account that was imported without a
 * secret key has no old one.
 * Returns: also DECIDE_EXPIRY_FIRST: nothing refuses the roll, but its list of keys in grace is full, and the grace of
 * one has ended. ${change} ends that key: apply it and decide the roll again.
 */
#define DECIDE_EXPIRY_FIRST 1
int decide_roll(const struct view *view, const struct roll *roll, struct change *change, why_text why);
/* change->keys[0] is the key. */
int decide_revoke(const struct view *view, const char *account, enum kind kind, uint32_t generation,
    struct change *change, why_text why);
int decide_suspend(const struct view *view, const char *account, bool suspend, struct change *change, why_text why);
/* For the sweeper: the grace of the key with this digest has ended. */
int decide_expire(const struct view *view, const uint8_t digest[RECORD_DIGEST_LEN], struct change *change);

#endif
