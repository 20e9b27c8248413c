/*
 * flags.h - what the command lines of this folder's programs have in common. Each function that finds a fault prints
 * it to standard error, behind the program's name, and ends the process with 1.
 */
#ifndef LOAD_FLAGS_H
#define LOAD_FLAGS_H

#include <getopt.h>
#include <stdbool.h>

/* How long a program measures, and what it reports. Every program takes these. */
struct flags_run {
	double warmup_s, duration_s;
	const char *label, *json, *csv;
	bool quiet;
};

#define FLAGS_RUN_SHORT "w:d:l:qh"
#define FLAGS_RUN_LONG \
	{ "warmup", required_argument, NULL, 'w' }, { "duration", required_argument, NULL, 'd' }, \
	    { "label", required_argument, NULL, 'l' }, { "json", required_argument, NULL, FLAGS_JSON }, \
	    { "csv", required_argument, NULL, FLAGS_CSV }, { "quiet", no_argument, NULL, 'q' }, \
	{ \
		"help", no_argument, NULL, 'h' \
	}
#define FLAGS_RUN_USAGE(warmup, duration) \
	"  -w, --warmup S         seconds before anything is measured; default " warmup "\n" \
	"  -d, --duration S       seconds of measuring; default " duration "\n" \
	"  -l, --label TEXT       a name for this run in reports\n" \
	"      --json FILE        write the results as JSON; -: to standard output, in place of the table\n" \
	"      --csv FILE         append the results as CSV; -: likewise\n" \
	"  -q, --quiet            no progress on standard error\n"

/* Values that getopt_long() returns. Those of a program itself begin with FLAGS_OWN. */
enum { FLAGS_JSON = 256, FLAGS_CSV, FLAGS_OWN };

/*
 * flags_run(c, run, usage):
 * Take ${c}, what getopt_long() returned, with its value in optarg. -h prints ${usage} and ends the process with 0;
 * a flag that is not one of FLAGS_RUN_LONG is a fault.
 */
void flags_run(int c, struct flags_run *run, const char *usage);

__attribute__((noreturn, format(printf, 1, 2))) void flags_fail(const char *format, ...);

/* The value ${text} of --${name}: a number; a whole number. */
double flags_real(const char *name, const char *text, double min, double max);
unsigned flags_number(const char *name, const char *text, double min, double max);

#endif
