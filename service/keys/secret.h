/*
 * secret.h - the form of a key's secret:
 *
 *	prefix   8   "sk_live_", "pk_live_", "sk_test_", "pk_test_"
 *	random  30   base62 from the system's CSPRNG: 178 bits
 *	check    6   CRC-32 (IEEE 802.3) of the 38 bytes before, as a number in base 62, most significant digit first
 *
 * base62 digits are 0-9, A-Z, a-z, in that order. With the checksum a typo or a random probe is refused before a database
 * is read, and a secret scanner can be sure of what it found. The checksum is no protection: anybody can compute it.
 */
#ifndef SECRET_H
#define SECRET_H

#include <stddef.h>
#include <stdint.h>

#include "service/base/types.h"

#define SECRET_PREFIX_LEN 8
#define SECRET_RANDOM_LEN 30
#define SECRET_CHECK_LEN 6
#define SECRET_LEN (SECRET_PREFIX_LEN + SECRET_RANDOM_LEN + SECRET_CHECK_LEN)
#define SECRET_LAST4 4

struct secret_form {
	enum environment environment;
	enum kind kind;
};

/*
 * secret_parse(secret, len, form, why):
 * Check the form of ${secret}. *${form} becomes what the prefix says.
 * Returns: 0; 1 when the prefix is one of ours but the rest is not a key (*${form} is set); -1 when even the prefix is
 *          not. Unless 0, *${why} is a static sentence that holds nothing of the secret.
 */
int secret_parse(const void *secret, size_t len, struct secret_form *form, const char **why);

/* Make a new secret in ${out}: SECRET_LEN bytes, no NUL. The caller wipes it. */
void secret_generate(enum environment environment, enum kind kind, char out[SECRET_LEN]);

#endif
