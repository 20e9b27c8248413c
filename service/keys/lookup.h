/*
 * lookup.h - find the key that a secret belongs to. This is the only search for a key by its secret: VerifyKey and
 * RollKey's authorizing_secret use it.
 */
#ifndef LOOKUP_H
#define LOOKUP_H

#include "service/store/store.h"

struct lookup {
	struct record_key key;
	uint8_t digest[RECORD_DIGEST_LEN]; /* under the newest pepper */
	const uint8_t *stored;             /* the digest that the record is stored under: ${digest} or ${old} */
	uint8_t old[RECORD_DIGEST_LEN];    /* under the pepper before, while a rotation is under way */
};

/*
 * lookup_key(txn, secret, len, kind, own, found):
 * Search for the key of ${secret}: with ${own} among those that Fob made, and then among the imported ones, if there may
 * be any. A secret of Fob's own form can be an imported one, too: the checksum of one in 2^32 foreign secrets fits by
 * chance. During a rotation each digest is also tried under the old pepper. ${kind} is part of an imported key's digest.
 * Returns: 0; -FAULT_NOT_FOUND, and then found->digest and found->stored are digests that no key has; another fault.
 */
int lookup_key(struct store_txn *txn, const void *secret, size_t len, enum kind kind, bool own, struct lookup *found);

#endif
