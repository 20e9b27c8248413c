/*
 * measure.h - the time of a run: warm-up, then the measured time, with a line of progress on stderr each second.
 *
 * A call is measured when it began in the measured time, or, in an open loop, should have begun in it; it counts for
 * the throughput when it ended in it.
 */
#ifndef LOAD_MEASURE_H
#define LOAD_MEASURE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "tests/load/recorder.h"

struct measure {
	int64_t start_ns; /* of the warm-up, by measure_now_ns() */
	int64_t begin_ns; /* of the measured time */
	_Atomic int64_t end_ns;
	bool quiet;
	bool interrupted;
	pid_t server;          /* whose thread switches are counted with our own; 0: none are counted */
	uint64_t switches;     /* of all threads of both processes in most of the measured time */
	uint64_t switch_calls; /* calls that ended meanwhile; 0: the switches could not be counted */
};

/* CLOCK_MONOTONIC. */
int64_t measure_now_ns(void);

/* Block the signals that measure_watch() waits for. To be called before any thread is made. */
void measure_block_signals(void);

/* Has one of them come? It is then taken. Never waits. */
bool measure_take_signal(void);

/* Set the times, from now on. */
void measure_start(struct measure *m, double warmup_s, double duration_s, bool quiet);

/* After measure_start(): count thread switches, too, those of this process and of ${server}. */
void measure_count_switches(struct measure *m, pid_t server);

/*
 * measure_watch(m, stopped):
 * Wait for the end, show progress; SIGINT or SIGTERM makes the end now. Also returns, at the next tenth of a second,
 * when *${stopped} has become true: the load has ended by itself.
 */
void measure_watch(struct measure *m, const _Atomic bool *stopped);

static inline bool
measure_is_over(const struct measure *m, int64_t now_ns)
{
	return now_ns >= m->end_ns;
}

/* True when a call of this beginning is measured. */
static inline bool
measure_covers(const struct measure *m, int64_t ns)
{
	return ns >= m->begin_ns && ns < m->end_ns;
}

/* Record ${times} calls of ${op} that began, or should have, at ${from_ns} and ended at ${now_ns}, ${failed} or not. */
void measure_record(const struct measure *m, struct recorder *r, enum op op, int64_t from_ns, int64_t now_ns,
    bool failed, unsigned times);

/* The same for calls that ended in ${fault}, which is 0 or negative. The fault is counted by its kind. */
void measure_fault(const struct measure *m, struct recorder *r, enum op op, int64_t from_ns, int64_t now_ns, int fault,
    unsigned times);

/* The same for one call that was answered with ${verdict}, an enum fob_verdict. */
void measure_verdict(const struct measure *m, struct recorder *r, enum op op, int64_t from_ns, int64_t now_ns,
    unsigned verdict, bool expected);

/* The length of the measured time, as it was. */
double measure_duration_s(const struct measure *m);

#endif
