/*
 * sized.c - structs that start with their size (see sized.h). Never reads or writes beyond the smaller of two sizes.
 */
#include "client/sized.h"

#include <string.h>

#include "client/error.h"

#define SIZED_MIN (2 * sizeof(size_t)) /* the size and one member: what every version has */

static size_t
size_of(const void *given)
{
	size_t size;

	memcpy(&size, given, sizeof(size));
	return size;
}

int
sized_check(const void *given, const char *name, struct fob_error *error)
{
	size_t size = size_of(given);

	if (size < SIZED_MIN || size > SIZED_MAX)
		return error_set(error, FOB_EINVALID_ARGUMENT,
		    "%s has size %zu: it was not initialised with its _INIT macro", name, size);
	return 0;
}

int
sized_check_stride(size_t size, const char *name, struct fob_error *error)
{
	if (size < SIZED_MIN || size > SIZED_MAX || size % sizeof(size_t) != 0)
		return error_set(error, FOB_EINVALID_ARGUMENT,
		    "the size of %s is said to be %zu: the request was not initialised with its _INIT macro", name,
		    size);
	return 0;
}

int
sized_take(void *known, size_t known_size, const void *given, const char *name, struct fob_error *error)
{
	const unsigned char *p = given;
	size_t size = size_of(given), i;
	int rc;

	memset(known, 0, known_size);
	if ((rc = sized_check(given, name, error)) != 0)
		return rc;
	for (i = known_size; i < size; i++) {
		if (p[i] != 0)
			return error_set(error, FOB_EINVALID_ARGUMENT,
			    "%s has a member set that libfob " FOB_VERSION " does not know", name);
	}
	memcpy(known, given, size < known_size ? size : known_size);
	memcpy(known, &known_size, sizeof(known_size));
	return 0;
}

void
sized_give(void *given, const void *known, size_t known_size)
{
	size_t size = size_of(given), n = size < known_size ? size : known_size;

	memcpy((unsigned char *)given + sizeof(size), (const unsigned char *)known + sizeof(size), n - sizeof(size));
}

void
sized_clear(void *given, size_t known_size)
{
	size_t size = size_of(given);

	if (size < SIZED_MIN || size > SIZED_MAX)
		size = SIZED_MIN;
	if (size > known_size)
		size = known_size;
	memset((unsigned char *)given + sizeof(size), 0, size - sizeof(size));
}
