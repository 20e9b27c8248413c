/*
 * pepper.c - everything that is computed with a pepper (see pepper.h). Only this file holds derived keys, and it hands
 * out none but pepper_row_key()'s and pepper_ask_key()'s.
 */
#include "service/store/pepper.h"

#include <assert.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "service/store/pepper_internal.h"

static_assert(PEPPER_TAG_LEN == crypto_shorthash_siphashx24_BYTES, "tag");
static_assert(
    PEPPER_SEAL_LEN == crypto_aead_xchacha20poly1305_ietf_NPUBBYTES + crypto_aead_xchacha20poly1305_ietf_ABYTES,
    "seal");

/*
 * Derived from one line. Of the two keys that each verify needs, the state of a hash that has taken the key: to copy it is
 * less work than to take the key anew.
 */
struct keys {
	crypto_generichash_blake2b_state digest, imported;
	uint8_t index_key[32];
	uint8_t request_key[32];
	uint8_t seal_key[32];
	uint8_t fingerprint_key[32];
	uint8_t tag_key[crypto_shorthash_siphashx24_KEYBYTES];
	uint8_t rotate_key[32];
	uint8_t row_key[32];
	uint8_t entry_key[32];
	uint8_t ask_key[32];
};

struct pepper {
	struct keys *keys; /* of each line, in locked memory */
	unsigned lines;
	unsigned newest; /* how many of them are in use */
	unsigned old;    /* how many were in use before the rotation that is under way; 0: none is */
	bool borrowed;   /* ${keys} are another pepper's */
};

static const char context[crypto_kdf_CONTEXTBYTES] = { 'f', 'o', 'b', '-', 'k', 'e', 'y', 's' };

static void
derive_state(const uint8_t bytes[32], uint64_t number, crypto_generichash_blake2b_state *state)
{
	uint8_t key[32];

	crypto_kdf_derive_from_key(key, sizeof(key), number, context, bytes);
	crypto_generichash_blake2b_init(state, key, sizeof(key), 32);
	sodium_memzero(key, sizeof(key));
}

static void
derive(const uint8_t bytes[32], struct keys *keys)
{
	static_assert(crypto_kdf_KEYBYTES == 32, "the master key");
	/* pepper_added() compares all of it, padding included. */
	memset(keys, 0, sizeof(*keys));
	derive_state(bytes, 1, &keys->digest);
	crypto_kdf_derive_from_key(keys->index_key, sizeof(keys->index_key), 2, context, bytes);
	crypto_kdf_derive_from_key(keys->request_key, sizeof(keys->request_key), 3, context, bytes);
	crypto_kdf_derive_from_key(keys->seal_key, sizeof(keys->seal_key), 4, context, bytes);
	crypto_kdf_derive_from_key(keys->fingerprint_key, sizeof(keys->fingerprint_key), 5, context, bytes);
	crypto_kdf_derive_from_key(keys->tag_key, sizeof(keys->tag_key), 6, context, bytes);
	derive_state(bytes, 7, &keys->imported);
	crypto_kdf_derive_from_key(keys->rotate_key, sizeof(keys->rotate_key), 8, context, bytes);
	crypto_kdf_derive_from_key(keys->row_key, sizeof(keys->row_key), 9, context, bytes);
	crypto_kdf_derive_from_key(keys->entry_key, sizeof(keys->entry_key), 10, context, bytes);
	crypto_kdf_derive_from_key(keys->ask_key, sizeof(keys->ask_key), 11, context, bytes);
}

struct pepper *
pepper_from_masters(const struct pepper_masters *masters)
{
	struct pepper *pepper;

	if ((pepper = calloc(1, sizeof(*pepper))) == NULL)
		return NULL;
	if ((pepper->keys = sodium_allocarray(masters->n, sizeof(*pepper->keys))) == NULL) {
		free(pepper);
		return NULL;
	}
	for (unsigned i = 0; i < masters->n; i++)
		derive(masters->bytes[i], &pepper->keys[i]);
	sodium_mprotect_readonly(pepper->keys);
	pepper->lines = pepper->newest = masters->n;
	return pepper;
}

struct pepper *
pepper_from_bytes(const uint8_t bytes[32])
{
	struct pepper_masters masters = { .n = 1 };
	struct pepper *pepper;

	memcpy(masters.bytes[0], bytes, sizeof(masters.bytes[0]));
	pepper = pepper_from_masters(&masters);
	sodium_memzero(&masters, sizeof(masters));
	return pepper;
}

unsigned
pepper_lines(const struct pepper *pepper)
{
	return pepper->lines;
}

void
pepper_use(struct pepper *pepper, unsigned old, unsigned newest)
{
	assert(old < newest && newest <= pepper->lines);
	pepper->old = old;
	pepper->newest = newest;
}

struct pepper *
pepper_using(const struct pepper *from, unsigned old, unsigned newest)
{
	struct pepper *pepper;

	if ((pepper = malloc(sizeof(*pepper))) == NULL)
		return NULL;
	*pepper = *from;
	pepper->borrowed = true;
	pepper_use(pepper, old, newest);
	return pepper;
}

bool
pepper_has_old(const struct pepper *pepper)
{
	return pepper->old != 0;
}

unsigned
pepper_newest(const struct pepper *pepper)
{
	return pepper->newest;
}

int
pepper_added(const struct pepper *pepper, const struct pepper *base)
{
	if (pepper->lines < base->lines ||
	    sodium_memcmp(pepper->keys, base->keys, base->lines * sizeof(*base->keys)) != 0)
		return -1;
	return (int)(pepper->lines - base->lines);
}

void
pepper_free(struct pepper *pepper)
{
	if (pepper == NULL)
		return;
	if (!pepper->borrowed)
		sodium_free(pepper->keys);
	free(pepper);
}

static void
keyed(const uint8_t key[32], const void *data, size_t len, uint8_t out[32])
{
	crypto_generichash_blake2b(out, 32, data, len, key, 32);
}

/* The last step wipes the copy's hash and buffer, and no more of it is secret. */
static void
keyed_already(const crypto_generichash_blake2b_state *keyed_state, const void *data, size_t len, uint8_t out[32])
{
	crypto_generichash_blake2b_state state = *keyed_state;

	crypto_generichash_blake2b_update(&state, data, len);
	crypto_generichash_blake2b_final(&state, out, 32);
}

/* Turn a digest under the first ${from} lines into one under the first ${to}. */
static void
chain(const struct pepper *pepper, unsigned from, unsigned to, uint8_t digest[PEPPER_DIGEST_LEN])
{
	uint8_t before[PEPPER_DIGEST_LEN];

	for (unsigned i = from; i < to; i++) {
		memcpy(before, digest, sizeof(before));
		keyed(pepper->keys[i].rotate_key, before, sizeof(before), digest);
	}
}

static void
digest_under(const struct pepper *pepper, unsigned lines, const void *secret, size_t len, uint8_t digest[32])
{
	keyed_already(&pepper->keys[0].digest, secret, len, digest);
	chain(pepper, 1, lines, digest);
}

/* A key of its own keeps apart a secret whose SHA-256 was imported and a secret that consists of such a SHA-256. */
static void
imported_under(
    const struct pepper *pepper, unsigned lines, enum kind kind, const uint8_t sha256[32], uint8_t digest[32])
{
	uint8_t data[1 + 32];

	data[0] = (uint8_t)kind;
	memcpy(data + 1, sha256, 32);
	keyed_already(&pepper->keys[0].imported, data, sizeof(data), digest);
	chain(pepper, 1, lines, digest);
}

void
pepper_digest(const struct pepper *pepper, const void *secret, size_t len, uint8_t digest[PEPPER_DIGEST_LEN])
{
	digest_under(pepper, pepper->newest, secret, len, digest);
}

void
pepper_digest_old(const struct pepper *pepper, const void *secret, size_t len, uint8_t digest[PEPPER_DIGEST_LEN])
{
	digest_under(pepper, pepper->old, secret, len, digest);
}

void
pepper_imported(
    const struct pepper *pepper, enum kind kind, const uint8_t sha256[32], uint8_t digest[PEPPER_DIGEST_LEN])
{
	imported_under(pepper, pepper->newest, kind, sha256, digest);
}

void
pepper_imported_old(
    const struct pepper *pepper, enum kind kind, const uint8_t sha256[32], uint8_t digest[PEPPER_DIGEST_LEN])
{
	imported_under(pepper, pepper->old, kind, sha256, digest);
}

void
pepper_rotate(const struct pepper *pepper, const uint8_t old[PEPPER_DIGEST_LEN], uint8_t digest[PEPPER_DIGEST_LEN])
{
	memcpy(digest, old, PEPPER_DIGEST_LEN);
	chain(pepper, pepper->old, pepper->newest, digest);
}

void
pepper_advance(const struct pepper *pepper, const struct pepper *from, uint8_t digest[PEPPER_DIGEST_LEN])
{
	assert(from->newest <= pepper->newest);
	chain(pepper, from->newest, pepper->newest, digest);
}

void
pepper_index(const struct pepper *pepper, const uint8_t token[LIMIT_TOKEN], uint8_t index[PEPPER_DIGEST_LEN])
{
	keyed(pepper->keys[0].index_key, token, LIMIT_TOKEN, index);
}

void
pepper_request(const struct pepper *pepper, const void *request, size_t len, uint8_t digest[PEPPER_DIGEST_LEN])
{
	keyed(pepper->keys[0].request_key, request, len, digest);
}

void
pepper_tag(const struct pepper *pepper, const void *data, size_t len, uint8_t tag[PEPPER_TAG_LEN])
{
	crypto_shorthash_siphashx24(tag, data, len, pepper->keys[pepper->newest - 1].tag_key);
}

void
pepper_tag_old(const struct pepper *pepper, const void *data, size_t len, uint8_t tag[PEPPER_TAG_LEN])
{
	assert(pepper->old != 0);
	crypto_shorthash_siphashx24(tag, data, len, pepper->keys[pepper->old - 1].tag_key);
}

static bool
tag_is_of(const struct pepper *pepper, unsigned lines, const void *data, size_t len, const uint8_t tag[PEPPER_TAG_LEN])
{
	uint8_t right[PEPPER_TAG_LEN];

	crypto_shorthash_siphashx24(right, data, len, pepper->keys[lines - 1].tag_key);
	_Static_assert(PEPPER_TAG_LEN == crypto_verify_16_BYTES, "a tag");
	return crypto_verify_16(right, tag) == 0;
}

bool
pepper_tag_is_newest(const struct pepper *pepper, const void *data, size_t len, const uint8_t tag[PEPPER_TAG_LEN])
{
	return tag_is_of(pepper, pepper->newest, data, len, tag);
}

bool
pepper_tag_fits(const struct pepper *pepper, const void *data, size_t len, const uint8_t tag[PEPPER_TAG_LEN])
{
	return tag_is_of(pepper, pepper->newest, data, len, tag) ||
	    (pepper->old != 0 && tag_is_of(pepper, pepper->old, data, len, tag));
}

void
pepper_fingerprint(const struct pepper *pepper, const uint8_t id[PEPPER_ID_LEN], enum environment environment,
    uint8_t fingerprint[PEPPER_DIGEST_LEN])
{
	uint8_t data[PEPPER_ID_LEN + 1], before[PEPPER_DIGEST_LEN];

	memcpy(data, id, PEPPER_ID_LEN);
	data[PEPPER_ID_LEN] = (uint8_t)environment;
	keyed(pepper->keys[0].fingerprint_key, data, sizeof(data), fingerprint);
	for (unsigned i = 1; i < pepper->newest; i++) {
		memcpy(before, fingerprint, sizeof(before));
		keyed(pepper->keys[i].fingerprint_key, before, sizeof(before), fingerprint);
	}
}

void
pepper_seal(const struct pepper *pepper, const uint8_t token[LIMIT_TOKEN], const void *bound, size_t bound_len,
    const void *text, size_t len, uint8_t *sealed)
{
	uint8_t key[32];

	keyed(pepper->keys[0].seal_key, token, LIMIT_TOKEN, key);
	randombytes_buf(sealed, PEPPER_NONCE_LEN);
	crypto_aead_xchacha20poly1305_ietf_encrypt(
	    sealed + PEPPER_NONCE_LEN, NULL, text, len, bound, bound_len, NULL, sealed, key);
	sodium_memzero(key, sizeof(key));
}

int
pepper_unseal(const struct pepper *pepper, const uint8_t token[LIMIT_TOKEN], const void *bound, size_t bound_len,
    const uint8_t *sealed, size_t len, void *text)
{
	uint8_t key[32];
	int rc;

	if (len < PEPPER_SEAL_LEN)
		return -1;
	keyed(pepper->keys[0].seal_key, token, LIMIT_TOKEN, key);
	rc = crypto_aead_xchacha20poly1305_ietf_decrypt(
	    text, NULL, NULL, sealed + PEPPER_NONCE_LEN, len - PEPPER_NONCE_LEN, bound, bound_len, sealed, key);
	sodium_memzero(key, sizeof(key));
	return rc;
}

/* ---- what a cluster's nodes say to one another ---- */

void
pepper_row_key(const struct pepper *pepper, uint8_t key[32])
{
	memcpy(key, pepper->keys[0].row_key, sizeof(pepper->keys[0].row_key));
}

void
pepper_ask_key(const struct pepper *pepper, uint8_t key[32])
{
	memcpy(key, pepper->keys[0].ask_key, sizeof(pepper->keys[0].ask_key));
}

void
pepper_entry_seal(
    const struct pepper *pepper, const void *bound, size_t bound_len, const void *text, size_t len, uint8_t *sealed)
{
	randombytes_buf(sealed, PEPPER_NONCE_LEN);
	crypto_aead_xchacha20poly1305_ietf_encrypt(sealed + PEPPER_NONCE_LEN, NULL, text, len, bound, bound_len, NULL,
	    sealed, pepper->keys[0].entry_key);
}

int
pepper_entry_unseal(const struct pepper *pepper, const void *bound, size_t bound_len, const uint8_t *sealed, size_t len,
    void *text)
{
	if (len < PEPPER_SEAL_LEN)
		return -1;
	return crypto_aead_xchacha20poly1305_ietf_decrypt(text, NULL, NULL, sealed + PEPPER_NONCE_LEN,
	    len - PEPPER_NONCE_LEN, bound, bound_len, sealed, pepper->keys[0].entry_key);
}
