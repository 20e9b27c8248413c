/*
 * flags.c - values of flags (see flags.h). Used before anything has begun that would have to be ended.
 */
#include "tests/load/flags.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

/* A label goes into CSV as it is. */
static const char *
label(const char *text)
{
	const char *p;

	for (p = text; *p != '\0'; p++) {
		if ((unsigned char)*p < ' ' || *p == ',' || *p == '"')
			flags_fail("--label: no commas, quotes or control characters");
	}
	return text;
}

void
flags_run(int c, struct flags_run *run, const char *usage)
{
	switch (c) {
	case 'w':
		run->warmup_s = flags_real("warmup", optarg, 0, 86400);
		break;
	case 'd':
		run->duration_s = flags_real("duration", optarg, 0, 864000);
		break;
	case 'l':
		run->label = label(optarg);
		break;
	case FLAGS_JSON:
		run->json = optarg;
		break;
	case FLAGS_CSV:
		run->csv = optarg;
		break;
	case 'q':
		run->quiet = true;
		break;
	case 'h':
		fputs(usage, stdout);
		exit(0);
	default:
		flags_fail("see %s --help", program_invocation_short_name);
	}
	if (run->json != NULL && run->csv != NULL && strcmp(run->json, "-") == 0 && strcmp(run->csv, "-") == 0)
		flags_fail("--json - and --csv -: only one of them can have standard output");
}
