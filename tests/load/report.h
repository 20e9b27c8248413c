/*
 * report.h - what came of a run, as a table for people, as JSON for bench and plot, and as a line of CSV.
 */
#ifndef LOAD_REPORT_H
#define LOAD_REPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tests/load/flags.h"
#include "tests/load/measure.h"
#include "tests/load/recorder.h"

struct report {
	const char *tool;    /* "fob-load", "nng-echo", ... */
	const char *label;   /* the user's name for it, or NULL */
	const char *address; /* or NULL */
	bool synchronous;
	unsigned callers; /* calls in flight, threads or most calls outstanding */
	unsigned sockets;
	unsigned batch; /* verifies to a message */
	size_t keys;
	double rate;       /* asked for; 0: closed loop */
	bool rate_met;     /* open loop */
	uint64_t not_sent; /* open loop: calls of the measured time that were never begun */
	double warmup_s;
	double duration_s; /* as it was, not as asked for */
	bool interrupted;
	const char *unit[OPS]; /* what each operation is called; NULL: does not occur */
	double switches;       /* thread switches to a call, in client and server; 0: not counted */
	const struct recorder *sum;
};

/* Calls per second that ended without a fault in the measured time, of one operation or, with OPS, of all. */
double report_throughput(const struct report *r, unsigned op);

/*
 * report_write(r, json, csv):
 * Write the table to standard output, JSON to the file ${json}, and append a line of CSV to the file ${csv}, with a
 * header when it is new. Each may be NULL, or "-": it then has standard output, and the table goes to standard error.
 * Returns: 0; -1 having said which file could not be written.
 */
int report_write(const struct report *r, const char *json, const char *csv);

/*
 * report_finish(r, run, measure):
 * Fill in what ${run} and ${measure} know and what the recorders hold, and write the report where ${run} says.
 * Returns: the exit status: 0; 1 a report could not be written; 2 a call failed; 3 a verdict was not the expected one.
 */
int report_finish(struct report *r, const struct flags_run *run, const struct measure *measure);

#endif
