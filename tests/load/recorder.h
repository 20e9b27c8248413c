/*
 * recorder.h - what a run has seen: latencies and counts, written by many threads without a lock between them.
 */
#ifndef LOAD_RECORDER_H
#define LOAD_RECORDER_H

#include <stdatomic.h>
#include <stdint.h>

#include "tests/load/hist.h"
#include "tests/load/mix.h"

#define RECORDER_FAULTS 17   /* by gRPC code */
#define RECORDER_VERDICTS 16 /* by enum fob_verdict */

/* One per thread, or the sum of all. Zero is empty; counters are written by their thread alone. */
struct recorder {
	struct hist latency[OPS];          /* of the calls that began in the measured time, faults included */
	struct hist lag;                   /* open loop: from the intended moment of sending to the real one */
	_Atomic uint64_t done;             /* calls that ended, at any time */
	_Atomic uint64_t done_within[OPS]; /* that ended in the measured time, without a fault: the throughput */
	_Atomic uint64_t failed;           /* calls that ended in a fault, at any time */
	_Atomic uint64_t faults[RECORDER_FAULTS];
	_Atomic uint64_t verdicts[RECORDER_VERDICTS];
	_Atomic uint64_t unexpected; /* verdicts other than the load knows to be right */
};

/*
 * recorder_mine():
 * The calling thread's recorder, made at its first call. Lives until the process ends, and counts for all runs in it.
 * Returns: never NULL; without memory for one the process ends, there being nothing to measure then.
 */
struct recorder *recorder_mine(void);

/* Add all threads' to ${sum}, which is zero. Threads: any, at any time. */
void recorder_sum(struct recorder *sum);

/*
 * Keep ${message}, of a call that has failed, if it is the first of this process. Threads: any.
 * recorder_reason() returns it, or NULL; call it when no call is under way.
 */
void recorder_note_reason(const char *message);
const char *recorder_reason(void);

/* Add to a counter of one's own recorder. */
static inline void
recorder_count(_Atomic uint64_t *counter, uint64_t n)
{
	atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + n, memory_order_relaxed);
}

#endif
