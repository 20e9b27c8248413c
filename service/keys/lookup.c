/*
 * lookup.c - from secrets to their keys' records (see lookup.h). Writes nothing, and keeps nothing of a secret.
 */
#include "service/keys/lookup.h"

#include <sodium.h>

/*
 * A secret has up to four digests: as a key of Fob's own and as an imported one, each under the newest pepper and, while a
 * rotation is under way, under the one before. Most keys are found by the first.
 */

static void
digest(const struct pepper *pepper, struct lookup *l, bool imported, bool old)
{
	uint8_t sha256[crypto_hash_sha256_BYTES];
	uint8_t *to = old ? l->old : l->digest;

	l->stored = to;
	if (!imported) {
		(old ? pepper_digest_old : pepper_digest)(pepper, l->secret, l->len, to);
		return;
	}
	crypto_hash_sha256(sha256, l->secret, l->len);
	(old ? pepper_imported_old : pepper_imported)(pepper, l->kind, sha256, to);
	sodium_memzero(sha256, sizeof(sha256));
}

/* Under the old pepper, when the key is not there under the newest: it may not have been rotated yet. */
static void
try_old(struct store_txn *txn, struct lookup *l, bool imported)
{
	if (l->fault != -FAULT_NOT_FOUND || !store_txn_is_rotating(txn))
		return;
	digest(store_txn_pepper(txn), l, imported, true);
	l->fault = store_key(txn, l->old, &l->key);
}

/* What comes after nothing was found under the first digest. */
static void
try_rest(struct store_txn *txn, struct lookup *l)
{
	try_old(txn, l, !l->own);
	if (l->fault != -FAULT_NOT_FOUND || !l->own || !store_txn_has_imported(txn))
		return;
	digest(store_txn_pepper(txn), l, true, false);
	l->fault = store_key(txn, l->digest, &l->key);
	try_old(txn, l, true);
}

int
lookup_key(struct store_txn *txn, struct lookup *l)
{
	digest(store_txn_pepper(txn), l, !l->own, false);
	if ((l->fault = store_key(txn, l->digest, &l->key)) == -FAULT_NOT_FOUND)
		try_rest(txn, l);
	return l->fault;
}

void
lookup_keys(struct store_txn *txn, struct lookup *const *ls, size_t n)
{
	const struct pepper *pepper = store_txn_pepper(txn);
	struct store_search searches[STORE_PASS];

	for (size_t i = 0; i < n; i++) {
		digest(pepper, ls[i], !ls[i]->own, false);
		searches[i].digest = ls[i]->digest;
		searches[i].key = &ls[i]->key;
	}
	store_keys(txn, searches, n);
	for (size_t i = 0; i < n; i++)
		if ((ls[i]->fault = searches[i].fault) == -FAULT_NOT_FOUND)
			try_rest(txn, ls[i]);
}
