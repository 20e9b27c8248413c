/*
 * tally.h - what is counted of requests. Each worker has a tally that only its thread writes to, with plain adds, so that
 * no counter is shared on a verify's path. The service has one for changes, which several threads answer. Stats adds up
 * all of them.
 */
#ifndef TALLY_H
#define TALLY_H

#include <stdatomic.h>
#include <stdbool.h>

#include "service/base/buckets.h"
#include "service/base/types.h"

#define CODES 17

/* As on the wire (fob.v1.OperationClass). */
enum operation_class {
	CLASS_OTHER = 0, /* no such method, or no request */
	CLASS_VERIFY = 1,
	CLASS_VERIFY_BATCH = 2,
	CLASS_CHANGE = 3,
	CLASS_LIST = 4,
	CLASS_BACKUP = 5,
	CLASS_HEALTH = 6,
	CLASS_CLUSTER = 7, /* the agent's; answered when there is something to do */
	CLASSES
};
/* Durations are kept of the classes from CLASS_VERIFY to CLASS_LIST, for requests that reached their method. */
#define CLASSES_TIMED (CLASS_LIST + 1)

/* In microseconds: 1, 2, 4 and so on to 8.4 s, and above. */
#define DURATION_BUCKETS 25

struct durations {
	_Atomic uint64_t buckets[DURATION_BUCKETS];
	_Atomic uint64_t sum_ns;
};

/* The numbers of environments, 0 included, and of codes, rounded up: an index into a table of these is a shift. */
#define TALLY_ENVIRONMENTS 4
#define TALLY_CODES 32

struct tally {
	/* Answered requests. [0] of the environments: of none, or of both. */
	_Atomic uint64_t answered[CLASSES][TALLY_ENVIRONMENTS][TALLY_CODES];
	struct durations durations[CLASSES_TIMED];
	_Atomic uint64_t verdicts[ENVIRONMENTS][VERDICTS];
	_Atomic uint64_t unrecognised; /* MALFORMED without a prefix that would tell an environment */
};

/* ${shared}: other threads write to this counter, too. */
static inline void
tally_add(_Atomic uint64_t *counter, uint64_t n, bool shared)
{
	if (shared)
		atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
	else
		atomic_store_explicit(
		    counter, atomic_load_explicit(counter, memory_order_relaxed) + n, memory_order_relaxed);
}

/* ${n} requests took ${ns} each, by a clock that does not run backwards. */
static inline void
tally_time(struct durations *durations, int64_t ns, uint64_t n, bool shared)
{
	tally_add(&durations->buckets[bucket_of(((uint64_t)ns + 999) / 1000, DURATION_BUCKETS)], n, shared);
	tally_add(&durations->sum_ns, (uint64_t)ns * n, shared);
}

#endif
