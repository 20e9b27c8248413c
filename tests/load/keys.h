/*
 * keys.h - the secrets that a load is made of. They come from a file and go to a file, never through argv, and no
 * message of these functions holds one.
 */
#ifndef LOAD_KEYS_H
#define LOAD_KEYS_H

#include <stddef.h>

#include "client/fob.h"
#include "tests/load/rng.h"

#define KEYS_SECRET_MIN 12 /* a prefix and a little: keys of other systems need not have Fob's length */
#define KEYS_MAX 100000000

struct keys {
	size_t n, room;
	char (*secrets)[FOB_SECRET_SIZE]; /* NUL-terminated */
};

/*
 * keys_load(path, keys, why, why_len):
 * Read the file at ${path}, one secret a line; empty lines and lines that begin with # are passed over.
 * Returns: 0; -1 with "PATH:LINE: what is wrong" at ${why} and ${keys} empty.
 */
int keys_load(const char *path, struct keys *keys, char *why, size_t why_len);

/* Write ${keys} to a new file of mode 0600 and put it in the place of ${path}. Returns as keys_load(). */
int keys_save(const char *path, const struct keys *keys, char *why, size_t why_len);

/*
 * Add the ${len} bytes at ${secret}, at least KEYS_SECRET_MIN and less than FOB_SECRET_SIZE. 0; -1 when out of memory.
 */
int keys_add(struct keys *keys, const char *secret, size_t len);

/* Add ${n} keys that no server knows: by turns one with a typo and one that is well-formed. Returns as keys_add(). */
int keys_add_bad(struct keys *keys, size_t n);

/* Wipes and frees; the struct is then empty. */
void keys_fini(struct keys *keys);

/*
 * Chooses keys at random, one ahead. A service that verifies a key has just read it from its customer, so it is in the
 * processor's cache. One of a million keys in a file is not, and the wait for it must not be counted as the server's.
 */
struct keys_choice {
	const struct keys *keys;
	size_t first; /* only keys from this one on */
	struct rng rng;
	const char *ahead;
};

void keys_choose(struct keys_choice *choice, const struct keys *keys, size_t first, uint64_t stream);
const char *keys_next(struct keys_choice *choice);

#endif
