/*
 * pepper.c - the pepper's file and everything that is computed with it (see pepper.h). Called by main.c at start, by
 * verify.c, record.c and writer.c; uses libsodium. The only file that holds key material; it hands none out.
 */
#include "service/pepper.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAGIC "fob-pepper-v1 "
#define MAGIC_LEN (sizeof(MAGIC) - 1)
#define LINE_LEN (MAGIC_LEN + 64 + 1)

static_assert(PEPPER_TAG_LEN == crypto_shorthash_siphashx24_BYTES, "tag");
static_assert(
    PEPPER_SEAL_LEN == crypto_aead_xchacha20poly1305_ietf_NPUBBYTES + crypto_aead_xchacha20poly1305_ietf_ABYTES,
    "seal");

struct pepper {
	uint8_t digest_key[32];
	uint8_t index_key[32];
	uint8_t request_key[32];
	uint8_t seal_key[32];
	uint8_t fingerprint_key[32];
	uint8_t tag_key[crypto_shorthash_siphashx24_KEYBYTES];
	uint8_t imported_key[32];
};

static int
sync_folder_of(const char *path)
{
	char copy[PATH_MAX];
	int fd, rc;

	if (snprintf(copy, sizeof(copy), "%s", path) >= (int)sizeof(copy))
		return -1;
	if ((fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0)
		return -1;
	rc = fsync(fd);
	close(fd);
	return rc;
}

/* One line of a new pepper into ${fd}, down to the disk. */
static int
write_new(int fd)
{
	uint8_t master[32];
	char line[LINE_LEN + 1];
	ssize_t n;

	randombytes_buf(master, sizeof(master));
	memcpy(line, MAGIC, MAGIC_LEN);
	sodium_bin2hex(line + MAGIC_LEN, sizeof(line) - MAGIC_LEN, master, sizeof(master));
	line[LINE_LEN - 1] = '\n';
	n = write(fd, line, LINE_LEN);
	sodium_memzero(master, sizeof(master));
	sodium_memzero(line, sizeof(line));
	if (n >= 0 && n < (ssize_t)LINE_LEN)
		errno = ENOSPC;
	return n == (ssize_t)LINE_LEN ? fsync(fd) : -1;
}

/* It gets its name when it is whole, so that a crash leaves no half of one there: link(2), which replaces nothing. */
int
pepper_create(const char *path, char *why, size_t why_len)
{
	char new[PATH_MAX];
	struct stat st;
	int fd, fault, rc = -1;

	if (lstat(path, &st) == 0)
		return 1;
	if (snprintf(new, sizeof(new), "%s.XXXXXX", path) >= (int)sizeof(new) || (fd = mkostemp(new, O_CLOEXEC)) < 0) {
		snprintf(why, why_len, "%s: cannot make the pepper file: %s", path, strerror(errno));
		return -1;
	}
	if (write_new(fd) == 0)
		rc = link(new, path);
	fault = rc == 0 ? 0 : errno;
	unlink(new);
	if (rc == 0 && (rc = sync_folder_of(path)) != 0)
		fault = errno;
	if (fault == EEXIST)
		rc = 1;
	else if (fault != 0)
		snprintf(why, why_len, "%s: cannot write the pepper file: %s", path, strerror(fault));
	close(fd);
	return rc;
}

struct pepper *
pepper_from_bytes(const uint8_t bytes[32])
{
	static const char context[crypto_kdf_CONTEXTBYTES] = { 'f', 'o', 'b', '-', 'k', 'e', 'y', 's' };
	struct pepper *pepper;

	static_assert(crypto_kdf_KEYBYTES == 32, "the master key");
	if ((pepper = sodium_malloc(sizeof(*pepper))) == NULL)
		return NULL;
	crypto_kdf_derive_from_key(pepper->digest_key, sizeof(pepper->digest_key), 1, context, bytes);
	crypto_kdf_derive_from_key(pepper->index_key, sizeof(pepper->index_key), 2, context, bytes);
	crypto_kdf_derive_from_key(pepper->request_key, sizeof(pepper->request_key), 3, context, bytes);
	crypto_kdf_derive_from_key(pepper->seal_key, sizeof(pepper->seal_key), 4, context, bytes);
	crypto_kdf_derive_from_key(pepper->fingerprint_key, sizeof(pepper->fingerprint_key), 5, context, bytes);
	crypto_kdf_derive_from_key(pepper->tag_key, sizeof(pepper->tag_key), 6, context, bytes);
	crypto_kdf_derive_from_key(pepper->imported_key, sizeof(pepper->imported_key), 7, context, bytes);
	sodium_mprotect_readonly(pepper);
	return pepper;
}

void
pepper_free(struct pepper *pepper)
{
	sodium_free(pepper);
}

/* Returns NULL, or what is wrong with the file behind ${fd} as a file. */
static const char *
file_fault(int fd)
{
	struct stat st;

	if (fstat(fd, &st) != 0)
		return strerror(errno);
	if (!S_ISREG(st.st_mode))
		return "not a regular file";
	if ((st.st_mode & 077) != 0)
		return "others may read it: chmod 0600";
	if (st.st_uid != geteuid() && st.st_uid != 0)
		return "it belongs to another user";
	return NULL;
}

int
pepper_load(const char *path, struct pepper **pepper, char *why, size_t why_len)
{
	char line[LINE_LEN + 1];
	uint8_t master[32];
	const char *fault;
	size_t n;
	int fd, rc = -1;

	/* Not blocking: a FIFO is to be refused, not waited for. */
	if ((fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC)) < 0) {
		snprintf(why, why_len, "%s: cannot read the pepper: %s%s", path, strerror(errno),
		    errno == ENOENT ? ". `fobd --init` makes one for a new database; an old database needs its own" :
				      "");
		return -1;
	}
	if ((fault = file_fault(fd)) != NULL) {
		snprintf(why, why_len, "%s: the pepper is refused: %s", path, fault);
		close(fd);
		return -1;
	}
	if (read(fd, line, sizeof(line)) != (ssize_t)LINE_LEN || memcmp(line, MAGIC, MAGIC_LEN) != 0 ||
	    line[LINE_LEN - 1] != '\n' ||
	    sodium_hex2bin(master, sizeof(master), line + MAGIC_LEN, 64, NULL, &n, NULL) != 0 || n != sizeof(master))
		snprintf(why, why_len, "%s: not a pepper file: it should hold \"" MAGIC "\" and 64 hex digits", path);
	else if ((*pepper = pepper_from_bytes(master)) == NULL)
		snprintf(why, why_len, "%s: no locked memory for the pepper: raise RLIMIT_MEMLOCK", path);
	else
		rc = 0;
	sodium_memzero(line, sizeof(line));
	sodium_memzero(master, sizeof(master));
	close(fd);
	return rc;
}

static void
keyed(const uint8_t key[32], const void *data, size_t len, uint8_t out[32])
{
	crypto_generichash_blake2b(out, 32, data, len, key, 32);
}

void
pepper_digest(const struct pepper *pepper, const void *secret, size_t len, uint8_t digest[PEPPER_DIGEST_LEN])
{
	keyed(pepper->digest_key, secret, len, digest);
}

/* Under a key of its own: or else who knows a SHA-256 could give it, in some form, for the secret. */
void
pepper_imported(
    const struct pepper *pepper, enum kind kind, const uint8_t sha256[32], uint8_t digest[PEPPER_DIGEST_LEN])
{
	uint8_t data[1 + 32];

	data[0] = (uint8_t)kind;
	memcpy(data + 1, sha256, 32);
	keyed(pepper->imported_key, data, sizeof(data), digest);
}

void
pepper_index(const struct pepper *pepper, const uint8_t token[LIMIT_TOKEN], uint8_t index[PEPPER_DIGEST_LEN])
{
	keyed(pepper->index_key, token, LIMIT_TOKEN, index);
}

void
pepper_request(const struct pepper *pepper, const void *request, size_t len, uint8_t digest[PEPPER_DIGEST_LEN])
{
	keyed(pepper->request_key, request, len, digest);
}

void
pepper_tag(const struct pepper *pepper, const void *data, size_t len, uint8_t tag[PEPPER_TAG_LEN])
{
	crypto_shorthash_siphashx24(tag, data, len, pepper->tag_key);
}

void
pepper_fingerprint(const struct pepper *pepper, const uint8_t id[PEPPER_ID_LEN], enum environment environment,
    uint8_t fingerprint[PEPPER_DIGEST_LEN])
{
	uint8_t data[PEPPER_ID_LEN + 1];

	memcpy(data, id, PEPPER_ID_LEN);
	data[PEPPER_ID_LEN] = (uint8_t)environment;
	keyed(pepper->fingerprint_key, data, sizeof(data), fingerprint);
}

void
pepper_seal(const struct pepper *pepper, const uint8_t token[LIMIT_TOKEN], const void *bound, size_t bound_len,
    const void *text, size_t len, uint8_t *sealed)
{
	uint8_t key[32];

	keyed(pepper->seal_key, token, LIMIT_TOKEN, key);
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
	keyed(pepper->seal_key, token, LIMIT_TOKEN, key);
	rc = crypto_aead_xchacha20poly1305_ietf_decrypt(
	    text, NULL, NULL, sealed + PEPPER_NONCE_LEN, len - PEPPER_NONCE_LEN, bound, bound_len, sealed, key);
	sodium_memzero(key, sizeof(key));
	return rc;
}
