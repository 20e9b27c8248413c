/*
 * ask.c - requests and responses between nodes, sealed (see ask.h). Knows nothing of what is in them.
 */
#include "service/cluster/ask.h"

#include <assert.h>
#include <sodium.h>
#include <string.h>

#define VERSION 1
#define BOUND_LEN (1 + 1 + ASK_CLUSTER_LEN + ASK_NONCE_LEN)

static_assert(ASK_NONCE_LEN == crypto_aead_xchacha20poly1305_ietf_NPUBBYTES, "nonce");
static_assert(ASK_SEAL_LEN == 1 + ASK_NONCE_LEN + crypto_aead_xchacha20poly1305_ietf_ABYTES, "tag");

/* Whether it is a response, the environment, the cluster, the request's nonce or zeros. */
static void
make_bound(const struct ask_place *place, uint8_t bound[BOUND_LEN])
{
	memset(bound, 0, BOUND_LEN);
	bound[0] = place->request != NULL;
	bound[1] = (uint8_t)place->environment;
	memcpy(bound + 2, place->cluster, ASK_CLUSTER_LEN);
	if (place->request != NULL)
		memcpy(bound + 2 + ASK_CLUSTER_LEN, place->request, ASK_NONCE_LEN);
}

size_t
ask_seal(const uint8_t key[ASK_KEY_LEN], const struct ask_place *place, const uint8_t *text, size_t len, uint8_t *sealed)
{
	uint8_t bound[BOUND_LEN];

	make_bound(place, bound);
	sealed[0] = VERSION;
	randombytes_buf(sealed + 1, ASK_NONCE_LEN);
	crypto_aead_xchacha20poly1305_ietf_encrypt(
	    sealed + 1 + ASK_NONCE_LEN, NULL, text, len, bound, sizeof(bound), NULL, sealed + 1, key);
	return len + ASK_SEAL_LEN;
}

const uint8_t *
ask_nonce(const uint8_t *sealed)
{
	return sealed + 1;
}

int
ask_open(const uint8_t key[ASK_KEY_LEN], const struct ask_place *place, const uint8_t *sealed, size_t len, uint8_t *text)
{
	uint8_t bound[BOUND_LEN];

	if (len < ASK_SEAL_LEN || sealed[0] != VERSION)
		return -1;
	make_bound(place, bound);
	return crypto_aead_xchacha20poly1305_ietf_decrypt(text, NULL, NULL, sealed + 1 + ASK_NONCE_LEN,
	    len - 1 - ASK_NONCE_LEN, bound, sizeof(bound), sealed + 1, key);
}
