/*
 * lookup.h - find the keys that secrets belong to. This is the only search for a key by its secret: VerifyKey, VerifyKeys
 * and RollKey's authorizing_secret use it.
 */
#ifndef LOOKUP_H
#define LOOKUP_H

#include "service/store/store.h"

/* One search. */
struct lookup {
	const void *secret;
	size_t len;
	enum kind kind; /* which is part of an imported key's digest */
	/*
	 * Search among the keys that Fob made, and then among the imported ones, if there may be any; else only among
	 * these. A secret of Fob's own form can be an imported one, too: the checksum of one in 2^32 foreign secrets fits
	 * by chance.
	 */
	bool own;
	/* What was found. */
	int fault; /* 0; -FAULT_NOT_FOUND, and then no key has the digests below; another fault */
	struct record_key key;
	uint8_t digest[RECORD_DIGEST_LEN]; /* under the newest pepper */
	const uint8_t *stored;             /* the digest that the record is stored under: ${digest} or ${old} */
	uint8_t old[RECORD_DIGEST_LEN];    /* under the pepper before, while a rotation is under way */
};

/*
 * lookup_key(txn, l): search for the key of one secret. During a rotation each digest is also tried under the old pepper.
 * Returns l->fault.
 *
 * lookup_keys(txn, ls, n): the same for at most STORE_PASS secrets at once, in a read transaction.
 */
int lookup_key(struct store_txn *txn, struct lookup *l);
void lookup_keys(struct store_txn *txn, struct lookup *const *ls, size_t n);

#endif
