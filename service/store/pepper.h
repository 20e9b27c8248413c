/*
 * pepper.h - the secret of one environment, which is kept outside its database: 32 random bytes, from which every key
 * that the service computes with is derived (crypto_kdf, BLAKE2b). Without it, a database tells an attacker nothing
 * about the secrets that it verifies, and a record that he writes into it is refused.
 *
 * The file is a regular file of mode 0600 or 0400 (or of root's, and readable to root's group or one of this process's),
 * and holds lines of "fob-pepper-v1 <64 hex digits>": one, and one more for each rotation, the oldest first. A digest is made under the first line, and is then put through each later line in
 * use. So a stored digest can be rotated without the secret, and an attacker who lacks one of the lines can neither
 * compute nor check a digest. Tags are made under the newest line alone. What depends on a request token stays under the
 * first line: the token's 256 random bits, which are stored nowhere, protect it.
 */
#ifndef PEPPER_H
#define PEPPER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "service/base/types.h"

#define PEPPER_LINES_MAX 16
#define PEPPER_DIGEST_LEN 32
#define PEPPER_TAG_LEN 16
#define PEPPER_ID_LEN 16
#define PEPPER_NONCE_LEN 24
#define PEPPER_SEAL_LEN (PEPPER_NONCE_LEN + 16) /* what sealing adds */

struct pepper;

/*
 * pepper_create(path, why, why_len):
 * Make a new pepper file at ${path}, 0600, synced to disk with its directory. Never replaces a file.
 * Returns: 0; 1 when there is a file already; -1 with a line at ${why}.
 */
int pepper_create(const char *path, char *why, size_t why_len);

/*
 * pepper_append(path, why, why_len):
 * Add a new line to the file at ${path}, by replacing the file with a synced one: its lines cannot be lost on the way,
 * nor by another process that does the same. A kill leaves at most ${path}.fobd.tmp, which the next call removes.
 * Returns: 0; -1 with a line at ${why}, and the file is as it was.
 */
int pepper_append(const char *path, char *why, size_t why_len);

/*
 * pepper_load(path, pepper, why, why_len):
 * Read ${path} and derive the keys, in memory that is locked, guarded and left out of core dumps. All lines are in use.
 * Returns: 0, *${pepper} is to be freed with pepper_free(); -1 with a line at ${why}.
 */
int pepper_load(const char *path, struct pepper **pepper, char *why, size_t why_len);
/* The same from 32 bytes in memory, for tests. */
struct pepper *pepper_from_bytes(const uint8_t bytes[32]);
void pepper_free(struct pepper *pepper);

unsigned pepper_lines(const struct pepper *pepper);
/*
 * Use the first ${newest} lines. ${old}: a rotation from the first ${old} of them is under way, so pepper_tag_fits()
 * accepts tags of that pepper, too; 0: there is none.
 */
void pepper_use(struct pepper *pepper, unsigned old, unsigned newest);
/* A pepper with the lines of ${pepper}, in use as by pepper_use(). Free it before ${pepper}. NULL without memory. */
struct pepper *pepper_using(const struct pepper *pepper, unsigned old, unsigned newest);
bool pepper_has_old(const struct pepper *pepper);
/* How many lines are in use. */
unsigned pepper_newest(const struct pepper *pepper);
/* How many lines ${pepper} has after those of ${base}; -1: it does not begin with the lines of ${base}. */
int pepper_added(const struct pepper *pepper, const struct pepper *base);

/* What is stored for a secret: its keyed BLAKE2b-256. */
void pepper_digest(const struct pepper *pepper, const void *secret, size_t len, uint8_t digest[PEPPER_DIGEST_LEN]);

/*
 * What is stored for an imported key: the same of its secret's SHA-256, as the secret itself was not imported. The kind
 * is part of it, so a key is only found as the kind that its prefix says.
 */
void pepper_imported(
    const struct pepper *pepper, enum kind kind, const uint8_t sha256[32], uint8_t digest[PEPPER_DIGEST_LEN]);

/* The same two digests under the old lines; and the digest under the newest line, from one under the old lines. */
void pepper_digest_old(const struct pepper *pepper, const void *secret, size_t len, uint8_t digest[PEPPER_DIGEST_LEN]);
void pepper_imported_old(
    const struct pepper *pepper, enum kind kind, const uint8_t sha256[32], uint8_t digest[PEPPER_DIGEST_LEN]);
void
pepper_rotate(const struct pepper *pepper, const uint8_t old[PEPPER_DIGEST_LEN], uint8_t digest[PEPPER_DIGEST_LEN]);
/* Turn a digest under ${from} into one under ${pepper}, which begins with the lines of ${from}. */
void pepper_advance(const struct pepper *pepper, const struct pepper *from, uint8_t digest[PEPPER_DIGEST_LEN]);

/* Where a request token's reply is stored: H(pepper, "index", token). */
void pepper_index(const struct pepper *pepper, const uint8_t token[LIMIT_TOKEN], uint8_t index[PEPPER_DIGEST_LEN]);

/* The digest by which a resent request is recognised as the same. */
void pepper_request(const struct pepper *pepper, const void *request, size_t len, uint8_t digest[PEPPER_DIGEST_LEN]);

/* A record's tag: SipHash-2-4-128, https://cr.yp.to/siphash/siphash-20120918.pdf and its 128-bit form in libsodium. */
void pepper_tag(const struct pepper *pepper, const void *data, size_t len, uint8_t tag[PEPPER_TAG_LEN]);

/* The tag under the old lines. */
void pepper_tag_old(const struct pepper *pepper, const void *data, size_t len, uint8_t tag[PEPPER_TAG_LEN]);
/* Is it the tag under the newest line? Under the newest or, during a rotation, the old lines? */
bool pepper_tag_is_newest(const struct pepper *pepper, const void *data, size_t len, const uint8_t tag[PEPPER_TAG_LEN]);
bool pepper_tag_fits(const struct pepper *pepper, const void *data, size_t len, const uint8_t tag[PEPPER_TAG_LEN]);

/*
 * What a database keeps to recognise its pepper: a digest over each line in use. ${id} is the database's random number.
 */
void pepper_fingerprint(const struct pepper *pepper, const uint8_t id[PEPPER_ID_LEN], enum environment environment,
    uint8_t fingerprint[PEPPER_DIGEST_LEN]);

/*
 * pepper_seal(pepper, token, bound, bound_len, text, len, sealed):
 * Encrypt ${len} bytes of ${text}, bound to ${bound}; both the pepper and the token are needed to decrypt them
 * (XChaCha20-Poly1305, https://datatracker.ietf.org/doc/draft-irtf-cfrg-xchacha/). ${sealed} takes len + PEPPER_SEAL_LEN.
 */
void pepper_seal(const struct pepper *pepper, const uint8_t token[LIMIT_TOKEN], const void *bound, size_t bound_len,
    const void *text, size_t len, uint8_t *sealed);
/* The reverse; ${text} takes len - PEPPER_SEAL_LEN. Returns 0, or -1 when it was not sealed so. */
int pepper_unseal(const struct pepper *pepper, const uint8_t token[LIMIT_TOKEN], const void *bound, size_t bound_len,
    const uint8_t *sealed, size_t len, void *text);

/*
 * Of a cluster's nodes, which have the same first line. The key that their rows in etcd are authenticated with: see
 * cluster/row.h; that of what they ask one another: see cluster/ask.h. And the sealing of a log's entry, as pepper_seal()
 * but under a key of its own and without a token.
 */
void pepper_row_key(const struct pepper *pepper, uint8_t key[32]);
void pepper_ask_key(const struct pepper *pepper, uint8_t key[32]);
void pepper_entry_seal(
    const struct pepper *pepper, const void *bound, size_t bound_len, const void *text, size_t len, uint8_t *sealed);
int pepper_entry_unseal(const struct pepper *pepper, const void *bound, size_t bound_len, const uint8_t *sealed,
    size_t len, void *text);

#endif
