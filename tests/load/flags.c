/*
 * flags.c - values of flags (see flags.h). Called by fob_load.c, limits.c and nng_echo.c while they read their command
 * lines, before anything has begun that would have to be ended.
 */
#include "tests/load/flags.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

void
flags_fail(const char *format, ...)
{
	va_list ap;

	fprintf(stderr, "%s: ", program_invocation_short_name);
	va_start(ap, format);
	vfprintf(stderr, format, ap);
	va_end(ap);
	fputc('\n', stderr);
	exit(1);
}

double
flags_real(const char *name, const char *text, double min, double max)
{
	char *end;
	double value;

	errno = 0;
	value = strtod(text, &end);
	if (errno != 0 || end == text || *end != '\0' || !isfinite(value) || value < min || value > max)
		flags_fail("--%s %s: a number from %g to %.0f", name, text, min, max);
	return value;
}

unsigned
flags_number(const char *name, const char *text, double min, double max)
{
	double value = flags_real(name, text, min, max);

	if (value != floor(value))
		flags_fail("--%s %s: a whole number from %.0f to %.0f", name, text, min, max);
	return (unsigned)value;
}
