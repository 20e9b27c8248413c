/*
 * pepper.c - the pepper's file, and everything that is computed with it (see pepper.h). This is the only file that holds
 * key material, and it hands none out.
 */
#include "service/store/pepper.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pwd.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "service/base/folder.h"

#define MAGIC "fob-pepper-v1 "
#define MAGIC_LEN (sizeof(MAGIC) - 1)
#define LINE_LEN (MAGIC_LEN + 64 + 1)
#define FILE_MAX (PEPPER_LINES_MAX * LINE_LEN)

static_assert(PEPPER_TAG_LEN == crypto_shorthash_siphashx24_BYTES, "tag");
static_assert(
    PEPPER_SEAL_LEN == crypto_aead_xchacha20poly1305_ietf_NPUBBYTES + crypto_aead_xchacha20poly1305_ietf_ABYTES,
    "seal");

/* Derived from one line. */
struct keys {
	uint8_t digest_key[32];
	uint8_t index_key[32];
	uint8_t request_key[32];
	uint8_t seal_key[32];
	uint8_t fingerprint_key[32];
	uint8_t tag_key[crypto_shorthash_siphashx24_KEYBYTES];
	uint8_t imported_key[32];
	uint8_t rotate_key[32];
};

struct pepper {
	struct keys *keys; /* of each line, in locked memory */
	unsigned lines;
	unsigned newest; /* how many of them are in use */
	unsigned old;    /* how many were in use before the rotation that is under way; 0: none is */
	bool borrowed;   /* ${keys} are another pepper's */
};

/* One line of a new pepper: LINE_LEN bytes, no NUL. */
static void
make_line(char *out)
{
	uint8_t master[32];
	char line[LINE_LEN + 1];

	randombytes_buf(master, sizeof(master));
	memcpy(line, MAGIC, MAGIC_LEN);
	sodium_bin2hex(line + MAGIC_LEN, sizeof(line) - MAGIC_LEN, master, sizeof(master));
	line[LINE_LEN - 1] = '\n';
	memcpy(out, line, LINE_LEN);
	sodium_memzero(master, sizeof(master));
	sodium_memzero(line, sizeof(line));
}

/* One line of a new pepper into ${fd}, down to the disk. */
static int
write_new(int fd)
{
	char line[LINE_LEN];
	ssize_t n;

	make_line(line);
	n = write(fd, line, LINE_LEN);
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
	if (rc == 0 && (fault = folder_sync_around(path)) != 0)
		rc = -1;
	if (fault == EEXIST)
		rc = 1;
	else if (fault != 0)
		snprintf(why, why_len, "%s: cannot write the pepper file: %s", path, strerror(fault));
	close(fd);
	return rc;
}

static void
derive(const uint8_t bytes[32], struct keys *keys)
{
	static const char context[crypto_kdf_CONTEXTBYTES] = { 'f', 'o', 'b', '-', 'k', 'e', 'y', 's' };

	static_assert(crypto_kdf_KEYBYTES == 32, "the master key");
	crypto_kdf_derive_from_key(keys->digest_key, sizeof(keys->digest_key), 1, context, bytes);
	crypto_kdf_derive_from_key(keys->index_key, sizeof(keys->index_key), 2, context, bytes);
	crypto_kdf_derive_from_key(keys->request_key, sizeof(keys->request_key), 3, context, bytes);
	crypto_kdf_derive_from_key(keys->seal_key, sizeof(keys->seal_key), 4, context, bytes);
	crypto_kdf_derive_from_key(keys->fingerprint_key, sizeof(keys->fingerprint_key), 5, context, bytes);
	crypto_kdf_derive_from_key(keys->tag_key, sizeof(keys->tag_key), 6, context, bytes);
	crypto_kdf_derive_from_key(keys->imported_key, sizeof(keys->imported_key), 7, context, bytes);
	crypto_kdf_derive_from_key(keys->rotate_key, sizeof(keys->rotate_key), 8, context, bytes);
}

static struct pepper *
from_masters(const uint8_t (*masters)[32], unsigned lines)
{
	struct pepper *pepper;

	if ((pepper = calloc(1, sizeof(*pepper))) == NULL)
		return NULL;
	if ((pepper->keys = sodium_allocarray(lines, sizeof(*pepper->keys))) == NULL) {
		free(pepper);
		return NULL;
	}
	for (unsigned i = 0; i < lines; i++)
		derive(masters[i], &pepper->keys[i]);
	sodium_mprotect_readonly(pepper->keys);
	pepper->lines = pepper->newest = lines;
	return pepper;
}

struct pepper *
pepper_from_bytes(const uint8_t bytes[32])
{
	uint8_t master[1][32];
	struct pepper *pepper;

	memcpy(master[0], bytes, sizeof(master[0]));
	pepper = from_masters((const uint8_t(*)[32])master, 1);
	sodium_memzero(master, sizeof(master));
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

/*
 * The name of ${uid}, or its number. From the file, and from no service behind it: a confined fobd asks here, too, and
 * may not ask those.
 */
static void
name_user(uid_t uid, char *name, size_t len)
{
	struct passwd entry, *found;
	char text[1024];
	FILE *users;

	snprintf(name, len, "%u", (unsigned)uid);
	if ((users = fopen("/etc/passwd", "re")) == NULL)
		return;
	while (fgetpwent_r(users, &entry, text, sizeof(text), &found) == 0) {
		if (entry.pw_uid == uid) {
			snprintf(name, len, "%s", entry.pw_name);
			break;
		}
	}
	fclose(users);
}

/* Returns NULL, or a sentence, perhaps at ${text}, on what is wrong with the file's type, owner or mode. */
static const char *
file_fault(int fd, char *text, size_t len)
{
	char owner[64], us[64];
	struct stat st;

	if (fstat(fd, &st) != 0)
		return strerror(errno);
	if (!S_ISREG(st.st_mode))
		return "not a regular file";
	if ((st.st_mode & 077) != 0)
		return "others may read it: chmod 0600";
	if (st.st_uid == geteuid() || st.st_uid == 0)
		return NULL;
	name_user(st.st_uid, owner, sizeof(owner));
	name_user(geteuid(), us, sizeof(us));
	snprintf(text, len, "it belongs to another user, %s, and this runs as %s: run it as %s", owner, us, owner);
	return text;
}

static bool
is_repeated(const uint8_t (*masters)[32], unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		if (sodium_memcmp(masters[i], masters[n], 32) == 0)
			return true;
	return false;
}

/* Decode the lines of ${text} to ${masters}. Returns how many; 0 when the text is not a pepper file's. */
static unsigned
read_lines(const char *text, size_t len, uint8_t (*masters)[32])
{
	unsigned lines = (unsigned)(len / LINE_LEN);
	size_t n;

	if (len % LINE_LEN != 0 || lines > PEPPER_LINES_MAX)
		return 0;
	for (unsigned i = 0; i < lines; i++, text += LINE_LEN)
		if (memcmp(text, MAGIC, MAGIC_LEN) != 0 || text[LINE_LEN - 1] != '\n' ||
		    sodium_hex2bin(masters[i], 32, text + MAGIC_LEN, 64, NULL, &n, NULL) != 0 || n != 32 ||
		    is_repeated((const uint8_t(*)[32])masters, i))
			return 0;
	return lines;
}

/* Read the file, and decode its lines. Returns how many, or 0 with a line at ${why}. The caller wipes both buffers. */
static unsigned
read_file(const char *path, char text[FILE_MAX + 1], uint8_t (*masters)[32], char *why, size_t why_len)
{
	char owner[256];
	const char *fault;
	unsigned lines = 0;
	ssize_t len;
	int fd;

	/* Without O_NONBLOCK, opening a FIFO would block; it is refused below. */
	if ((fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC)) < 0) {
		snprintf(why, why_len, "%s: cannot read the pepper: %s%s", path, strerror(errno),
		    errno == ENOENT ? ". `fobd --init` makes one for a new database; an old database needs its own" :
				      "");
		return 0;
	}
	if ((fault = file_fault(fd, owner, sizeof(owner))) != NULL)
		snprintf(why, why_len, "%s: the pepper is refused: %s", path, fault);
	else if ((len = read(fd, text, FILE_MAX + 1)) <= 0 || (lines = read_lines(text, (size_t)len, masters)) == 0)
		snprintf(why, why_len,
		    "%s: not a pepper file: it should hold \"" MAGIC "\" and 64 hex digits, in at most %d lines, "
		    "no two alike",
		    path, PEPPER_LINES_MAX);
	close(fd);
	return lines;
}

int
pepper_load(const char *path, struct pepper **pepper, char *why, size_t why_len)
{
	uint8_t masters[PEPPER_LINES_MAX][32];
	char text[FILE_MAX + 1];
	unsigned lines;
	int rc = -1;

	if ((lines = read_file(path, text, masters, why, why_len)) == 0)
		;
	else if ((*pepper = from_masters((const uint8_t(*)[32])masters, lines)) == NULL)
		snprintf(why, why_len, "%s: no locked memory for the pepper: raise RLIMIT_MEMLOCK", path);
	else
		rc = 0;
	sodium_memzero(text, sizeof(text));
	sodium_memzero(masters, sizeof(masters));
	return rc;
}

/* Write ${text} to a new file, sync it, and put it in the place of the file at ${path}. */
static int
replace_file(const char *path, const char *text, size_t len, char *why, size_t why_len)
{
	char new[PATH_MAX];
	int fd, fault = 0;
	ssize_t n;

	if (snprintf(new, sizeof(new), "%s.XXXXXX", path) >= (int)sizeof(new) || (fd = mkostemp(new, O_CLOEXEC)) < 0) {
		snprintf(why, why_len, "%s: cannot make the pepper file: %s", path, strerror(errno));
		return -1;
	}
	if ((n = write(fd, text, len)) != (ssize_t)len)
		fault = n < 0 ? errno : ENOSPC;
	else if (fsync(fd) != 0 || rename(new, path) != 0)
		fault = errno;
	if (fault != 0)
		unlink(new);
	else
		fault = folder_sync_around(path);
	close(fd);
	if (fault != 0)
		snprintf(why, why_len, "%s: cannot write the pepper file: %s", path, strerror(fault));
	return fault == 0 ? 0 : -1;
}

int
pepper_append(const char *path, char *why, size_t why_len)
{
	uint8_t masters[PEPPER_LINES_MAX][32];
	char text[FILE_MAX + 1], real[PATH_MAX];
	unsigned lines;
	int rc = -1;

	/* The file that a link points to is replaced, not the link. If there is none, read_file() reports it. */
	if (realpath(path, real) == NULL && snprintf(real, sizeof(real), "%s", path) >= (int)sizeof(real))
		real[0] = '\0';
	if ((lines = read_file(real, text, masters, why, why_len)) == PEPPER_LINES_MAX) {
		snprintf(why, why_len, "%s: the pepper was rotated %d times, which is the limit", path,
		    PEPPER_LINES_MAX - 1);
	} else if (lines > 0) {
		make_line(text + lines * LINE_LEN);
		rc = replace_file(real, text, (lines + 1) * LINE_LEN, why, why_len);
	}
	sodium_memzero(text, sizeof(text));
	sodium_memzero(masters, sizeof(masters));
	return rc;
}

static void
keyed(const uint8_t key[32], const void *data, size_t len, uint8_t out[32])
{
	crypto_generichash_blake2b(out, 32, data, len, key, 32);
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
	keyed(pepper->keys[0].digest_key, secret, len, digest);
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
	keyed(pepper->keys[0].imported_key, data, sizeof(data), digest);
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
