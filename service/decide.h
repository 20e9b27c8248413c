/*
 * decide.h - the rules for what may become of keys and accounts, and the changes that follow. Every rule of the API's
 * key documentation that is about time, generations and states is in decide.c, and nowhere else.
 *
 * Threads: the writer's, within its transaction.
 * Returns: 0 with *${change} complete but for its token; or a negative fault with a sentence for people at ${why}.
 *          A change that alters nothing (a key that had already ended, say) is still a change: it keeps its token's reply.
 */
#ifndef DECIDE_H
#define DECIDE_H

#include "service/change.h"
#include "service/store.h"

/* What a decision may look at. */
struct view {
	struct store_txn *txn;
	const struct record_state *state;
	int64_t now_ms;
};

/* A secret that admin.c has just made, as it will be stored. */
struct new_secret {
	uint8_t digest[RECORD_DIGEST_LEN];
	char last4[4];
};

struct roll {
	const char *account;
	int64_t grace_ms;             /* 0: the old key ends now */
	uint32_t expected_generation; /* 0: any */
	const uint8_t *authorizing;   /* digest of the secret that asks, or NULL: the listener's role authorises */
	struct new_secret secret;
};

typedef char why_text[LIMIT_MESSAGE];

/* change->keys[0] is the secret key, [1] the publishable one. */
int decide_create(const struct view *view, const char *account, const struct new_secret *secret,
    const struct new_secret *publishable, struct change *change, why_text why);
/* change->keys[0] is the new key, [1] the old one, also when it had ended before. */
int decide_roll(const struct view *view, const struct roll *roll, struct change *change, why_text why);
/* change->keys[0] is the key. */
int decide_revoke(const struct view *view, const char *account, enum kind kind, uint32_t generation,
    struct change *change, why_text why);
int decide_suspend(const struct view *view, const char *account, bool suspend, struct change *change, why_text why);
/* The sweeper's: the grace of the key with this digest has ended. */
int decide_expire(const struct view *view, const uint8_t digest[RECORD_DIGEST_LEN], struct change *change);

#endif
