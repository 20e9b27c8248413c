/*
 * error.c - filling a struct fob_error. Never prints, never allocates.
 */
#include "client/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int
error_set(struct fob_error *error, int fault, const char *format, ...)
{
	va_list ap;

	if (error == NULL)
		return fault;
	memset(error, 0, sizeof(*error));
	error->fault = fault;
	va_start(ap, format);
	vsnprintf(error->message, sizeof(error->message), format, ap);
	va_end(ap);
	return fault;
}

void
error_clear(struct fob_error *error)
{
	if (error != NULL)
		memset(error, 0, sizeof(*error));
}
