/*
 * sized.h - structs that start with their size, between programs and libraries of different versions (see fob.h).
 *
 * To whoever adds a member to such a struct: add it at the end, at or behind the old sizeof, and leave no padding behind
 * it. Padding is not zero in every caller, and would be taken for a member. tests/unit/client/test_sized.c has the
 * layout of every struct and must be extended.
 */
#ifndef CLIENT_SIZED_H
#define CLIENT_SIZED_H

#include <stddef.h>

#include "client/fob.h"

#define SIZED_MAX 4096 /* no version's struct is larger; an uninitialised size is, or is 0, nearly always */

/*
 * sized_take(known, known_size, given, name, error):
 * Copy what the caller has ${given} to ${known}, a struct of this version: what is missing is zero, and what this
 * version does not know must be zero.
 * Returns: 0; FOB_EINVALID_ARGUMENT.
 */
int sized_take(void *known, size_t known_size, const void *given, const char *name, struct fob_error *error);

/* The same with types: ${known} and ${given} must point to one type of struct. */
#define SIZED_TAKE(known, given, name, error) \
	((void)((given) == (known)), sized_take((known), sizeof(*(known)), (given), "struct " name, (error)))

/* The ${i}th struct of an array whose structs are ${stride} apart. */
#define SIZED_AT(array, i, stride) ((const void *)((const unsigned char *)(array) + (i) * (stride)))

/*
 * sized_check(given, name, error):
 * Whether a result can be written to ${given}, whose size its caller has set.
 * Returns: 0; FOB_EINVALID_ARGUMENT.
 */
int sized_check(const void *given, const char *name, struct fob_error *error);

/* Whether structs of ${size} can follow each other in an array. */
int sized_check_stride(size_t size, const char *name, struct fob_error *error);

/* Write ${known}, a result of this version, to ${given}, as far as both reach. The size at ${given} stays. */
void sized_give(void *given, const void *known, size_t known_size);
/* The same with zeros. ${given}'s size may be wrong: then only what every version has is zeroed. */
void sized_clear(void *given, size_t known_size);

#endif
