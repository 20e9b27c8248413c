/*
 * token_file.c - the sign-in token (see token_file.h). It is in memory while it is made, and while one is compared.
 */
#include "client/http/token_file.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define TOKEN_LEN 32
#define TEXT_SIZE 44 /* in base64url, with a NUL */

static void
make_digest(const char *text, uint8_t digest[TOKEN_DIGEST_LEN])
{
	crypto_generichash(digest, TOKEN_DIGEST_LEN, (const uint8_t *)text, strlen(text), NULL, 0);
}

/* The same bytes as a line. */
static int
write_line(int fd, const char text[TEXT_SIZE])
{
	char line[TEXT_SIZE];
	ssize_t n;

	memcpy(line, text, TEXT_SIZE - 1);
	line[TEXT_SIZE - 1] = '\n';
	n = write(fd, line, sizeof(line));
	sodium_memzero(line, sizeof(line));
	if (n >= 0 && n != (ssize_t)sizeof(line))
		errno = ENOSPC;
	return n == (ssize_t)sizeof(line) ? 0 : -1;
}

static int
write_file(const char *path, const char text[TEXT_SIZE])
{
	int fd, rc;

	if (unlink(path) != 0 && errno != ENOENT)
		return -1;
	if ((fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600)) < 0)
		return -1;
	rc = write_line(fd, text);
	if (close(fd) != 0 || rc != 0) {
		unlink(path);
		return -1;
	}
	return 0;
}

int
token_file_make(const char *path, uint8_t digest[TOKEN_DIGEST_LEN], char *why, size_t why_len)
{
	uint8_t random[TOKEN_LEN];
	char text[TEXT_SIZE];
	int rc;

	randombytes_buf(random, sizeof(random));
	sodium_bin2base64(text, sizeof(text), random, sizeof(random), sodium_base64_VARIANT_URLSAFE_NO_PADDING);
	make_digest(text, digest);
	if ((rc = write_file(path, text)) != 0)
		snprintf(why, why_len,
		    "token_file = \"%s\" cannot be written: %s; its folder must be there, and this user's", path,
		    strerror(errno));
	sodium_memzero(random, sizeof(random));
	sodium_memzero(text, sizeof(text));
	return rc;
}

bool
token_is(const char *given, const uint8_t digest[TOKEN_DIGEST_LEN])
{
	uint8_t other[TOKEN_DIGEST_LEN];
	bool same;

	/* The digest of what was given tells nothing of the right one, however it is compared. */
	make_digest(given, other);
	same = sodium_memcmp(other, digest, sizeof(other)) == 0;
	sodium_memzero(other, sizeof(other));
	return same;
}
