/*
 * lookup.c - from a secret to its key's record (see lookup.h). Writes nothing, and keeps nothing of the secret.
 */
#include "service/keys/lookup.h"

#include <sodium.h>

/* Under found->digest. *${try_old}: the key is not there, but may not have been moved to the newest pepper yet. */
static int
look_up(struct store_txn *txn, struct lookup *found, bool *try_old)
{
	int fault;

	found->stored = found->digest;
	fault = store_key(txn, found->digest, &found->key);
	*try_old = fault == -FAULT_NOT_FOUND && store_txn_is_rotating(txn);
	return fault;
}

static int
look_up_old(struct store_txn *txn, struct lookup *found)
{
	found->stored = found->old;
	return store_key(txn, found->old, &found->key);
}

static int
look_up_imported(struct store_txn *txn, const void *secret, size_t len, enum kind kind, struct lookup *found)
{
	const struct pepper *pepper = store_txn_pepper(txn);
	uint8_t sha256[crypto_hash_sha256_BYTES];
	bool try_old;
	int fault;

	crypto_hash_sha256(sha256, secret, len);
	pepper_imported(pepper, kind, sha256, found->digest);
	fault = look_up(txn, found, &try_old);
	if (try_old) {
		pepper_imported_old(pepper, kind, sha256, found->old);
		fault = look_up_old(txn, found);
	}
	sodium_memzero(sha256, sizeof(sha256));
	return fault;
}

int
lookup_key(struct store_txn *txn, const void *secret, size_t len, enum kind kind, bool own, struct lookup *found)
{
	const struct pepper *pepper = store_txn_pepper(txn);
	bool try_old;
	int fault;

	if (own) {
		pepper_digest(pepper, secret, len, found->digest);
		fault = look_up(txn, found, &try_old);
		if (try_old) {
			pepper_digest_old(pepper, secret, len, found->old);
			fault = look_up_old(txn, found);
		}
		if (fault != -FAULT_NOT_FOUND || !store_txn_has_imported(txn))
			return fault;
	}
	return look_up_imported(txn, secret, len, kind, found);
}
