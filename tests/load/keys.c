/*
 * keys.c - secrets in memory and in a file (see keys.h). Never prints a secret, and leaves none in a stdio buffer or in
 * memory that it gives back.
 */
#include "tests/load/keys.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#define BUFFER 65536
#define FORMED_LEN 38 /* prefix and random part; the checksum's 6 follow */
#define CHECK_LEN 6

static const char base62[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/* A file that is read or written through a buffer of our own, to be wiped. */
struct file {
	int fd;
	size_t used, at;
	char buffer[BUFFER];
};

/* ---- memory ---- */

/* realloc() would leave a copy behind. */
static int
keys_grow(struct keys *keys)
{
	size_t room = keys->room == 0 ? 1024 : 2 * keys->room;
	void *secrets;

	if ((secrets = calloc(room, sizeof(keys->secrets[0]))) == NULL)
		return -1;
	if (keys->n > 0)
		memcpy(secrets, keys->secrets, keys->n * sizeof(keys->secrets[0]));
	if (keys->secrets != NULL)
		fob_wipe(keys->secrets, keys->room * sizeof(keys->secrets[0]));
	free(keys->secrets);
	keys->secrets = secrets;
	keys->room = room;
	return 0;
}

int
keys_add(struct keys *keys, const char *secret, size_t len)
{
	assert(len >= KEYS_SECRET_MIN && len < FOB_SECRET_SIZE);
	if (keys->n == keys->room && keys_grow(keys) != 0)
		return -1;
	memcpy(keys->secrets[keys->n], secret, len);
	keys->secrets[keys->n++][len] = '\0';
	return 0;
}

void
keys_fini(struct keys *keys)
{
	if (keys->secrets != NULL)
		fob_wipe(keys->secrets, keys->room * sizeof(keys->secrets[0]));
	free(keys->secrets);
	*keys = (struct keys){ 0 };
}

int
keys_add_bad(struct keys *keys, size_t n)
{
	char secret[FOB_SECRET_SIZE] = "sk_live_";
	struct rng rng = rng_new(62);
	unsigned long crc;
	size_t i;
	int j;

	for (i = 0; i < n; i++) {
		memcpy(secret + 3, i % 4 < 2 ? "live" : "test", 4);
		for (j = 8; j < FORMED_LEN; j++)
			secret[j] = base62[rng_below(&rng, 62)];
		crc = crc32(0, (const unsigned char *)secret, FORMED_LEN);
		for (j = FORMED_LEN + CHECK_LEN - 1; j >= FORMED_LEN; j--, crc /= 62)
			secret[j] = base62[crc % 62];
		if (i % 2 == 0)
			secret[8] = secret[8] == 'x' ? 'y' : 'x';
		if (keys_add(keys, secret, FORMED_LEN + CHECK_LEN) != 0)
			return -1;
	}
	return 0;
}

/* ---- choosing ---- */

static const char *
choose(struct keys_choice *c)
{
	const char *secret = c->keys->secrets[c->first + rng_below(&c->rng, c->keys->n - c->first)];

	__builtin_prefetch(secret);
	return secret;
}

void
keys_choose(struct keys_choice *c, const struct keys *keys, size_t first, uint64_t stream)
{
	assert(first < keys->n);
	*c = (struct keys_choice){ .keys = keys, .first = first, .rng = rng_new(stream) };
	c->ahead = choose(c);
}

const char *
keys_next(struct keys_choice *c)
{
	const char *secret = c->ahead;

	c->ahead = choose(c);
	return secret;
}

/* ---- files ---- */

/* The next byte; -1 at the end, with errno 0 unless it is an error. */
static int
file_getc(struct file *f)
{
	ssize_t len;

	if (f->at == f->used) {
		errno = 0;
		while ((len = read(f->fd, f->buffer, sizeof(f->buffer))) < 0 && errno == EINTR)
			continue;
		if (len <= 0)
			return -1;
		f->used = (size_t)len;
		f->at = 0;
	}
	return (unsigned char)f->buffer[f->at++];
}

static int
file_flush(struct file *f)
{
	ssize_t len;

	for (f->at = 0; f->at < f->used; f->at += (size_t)len) {
		if ((len = write(f->fd, f->buffer + f->at, f->used - f->at)) < 0) {
			if (errno != EINTR)
				return -1;
			len = 0;
		}
	}
	f->used = 0;
	return 0;
}

/* A line without its end, cut at ${size} - 1 bytes. Returns its whole length; -1 at the end or on an error. */
static long
file_line(struct file *f, char *line, size_t size)
{
	size_t len = 0;
	int c;

	while ((c = file_getc(f)) >= 0 && c != '\n') {
		if (len < size - 1)
			line[len] = (char)c;
		if (len < LONG_MAX)
			len++;
	}
	if (c < 0 && (len == 0 || errno != 0))
		return -1;
	if (len > 0 && len < size && line[len - 1] == '\r')
		len--;
	line[len < size - 1 ? len : size - 1] = '\0';
	return (long)len;
}

static const char *
line_fault(const char *line, size_t len)
{
	const char *p;

	for (p = line; *p != '\0'; p++) {
		if (!isalnum((unsigned char)*p) && *p != '_')
			return "not a key: a character that no key has";
	}
	/* A NUL in it ends the loop early. */
	if (len < KEYS_SECRET_MIN || len >= FOB_SECRET_SIZE || strlen(line) != len)
		return "not a key: too short or too long";
	return NULL;
}

static int
keys_read(struct file *f, const char *path, struct keys *keys, char *why, size_t why_len)
{
	char line[FOB_SECRET_SIZE + 1];
	const char *fault = NULL;
	size_t number = 0;
	long len;

	while (fault == NULL && (len = file_line(f, line, sizeof(line))) >= 0) {
		number++;
		if (len == 0 || line[0] == '#')
			continue;
		if ((fault = line_fault(line, (size_t)len)) != NULL)
			break;
		if (keys->n == KEYS_MAX)
			fault = "more keys than this program takes";
		else if (keys_add(keys, line, (size_t)len) != 0)
			fault = "out of memory";
	}
	fob_wipe(line, sizeof(line));
	if (fault != NULL)
		snprintf(why, why_len, "%s:%zu: %s", path, number, fault);
	else if (errno != 0)
		snprintf(why, why_len, "%s: %s", path, strerror(errno));
	else if (keys->n == 0)
		snprintf(why, why_len, "%s: no key in it", path);
	else
		return 0;
	return -1;
}

int
keys_load(const char *path, struct keys *keys, char *why, size_t why_len)
{
	struct file *f;
	int rc;

	*keys = (struct keys){ 0 };
	if ((f = calloc(1, sizeof(*f))) == NULL) {
		snprintf(why, why_len, "out of memory");
		return -1;
	}
	if ((f->fd = open(path, O_RDONLY | O_CLOEXEC)) < 0) {
		snprintf(why, why_len, "%s: %s", path, strerror(errno));
		free(f);
		return -1;
	}
	if ((rc = keys_read(f, path, keys, why, why_len)) != 0)
		keys_fini(keys);
	close(f->fd);
	fob_wipe(f, sizeof(*f));
	free(f);
	return rc;
}

static int
keys_write(struct file *f, const struct keys *keys)
{
	size_t i, len;

	for (i = 0; i < keys->n; i++) {
		len = strlen(keys->secrets[i]);
		if (f->used + len + 1 > sizeof(f->buffer) && file_flush(f) != 0)
			return -1;
		memcpy(f->buffer + f->used, keys->secrets[i], len);
		f->buffer[f->used + len] = '\n';
		f->used += len + 1;
	}
	return file_flush(f);
}

int
keys_save(const char *path, const struct keys *keys, char *why, size_t why_len)
{
	struct file *f = calloc(1, sizeof(*f));
	char *temp = NULL;
	int rc = -1;

	if (f == NULL || asprintf(&temp, "%s.XXXXXX", path) < 0) {
		free(f);
		snprintf(why, why_len, "out of memory");
		return -1;
	}
	/* mkostemp() makes it 0600. */
	if ((f->fd = mkostemp(temp, O_CLOEXEC)) >= 0) {
		rc = keys_write(f, keys);
		if (close(f->fd) != 0 || rc != 0 || rename(temp, path) != 0)
			rc = -1;
	}
	if (rc != 0) {
		snprintf(why, why_len, "%s: %s", path, strerror(errno));
		if (f->fd >= 0)
			unlink(temp);
	}
	fob_wipe(f, sizeof(*f));
	free(f);
	free(temp);
	return rc;
}
