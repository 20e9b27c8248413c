/*
 * recorder.c - one recorder per thread, and their sum. Called by what measures; calls hist.c. Takes a lock once per
 * thread and once per sum, never per call.
 */
#include "tests/load/recorder.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

struct link {
	struct recorder recorder;
	struct link *next;
};

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static struct link *links;
static _Thread_local struct recorder *mine;

struct recorder *
recorder_mine(void)
{
	struct link *link;

	if (mine != NULL)
		return mine;
	if ((link = calloc(1, sizeof(*link))) == NULL) {
		fputs("out of memory\n", stderr);
		abort();
	}
	pthread_mutex_lock(&mutex);
	link->next = links;
	links = link;
	pthread_mutex_unlock(&mutex);
	return mine = &link->recorder;
}

static atomic_flag has_reason = ATOMIC_FLAG_INIT;
static char reason[240];

void
recorder_note_reason(const char *message)
{
	if (message[0] != '\0' && !atomic_flag_test_and_set(&has_reason))
		snprintf(reason, sizeof(reason), "%s", message);
}

const char *
recorder_reason(void)
{
	return reason[0] != '\0' ? reason : NULL;
}

static void
add(_Atomic uint64_t *to, const _Atomic uint64_t *from, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++)
		recorder_count(&to[i], atomic_load_explicit(&from[i], memory_order_relaxed));
}

static void
recorder_add(struct recorder *sum, const struct recorder *r)
{
	unsigned op;

	for (op = 0; op < OPS; op++)
		hist_merge(&sum->latency[op], &r->latency[op]);
	hist_merge(&sum->lag, &r->lag);
	add(&sum->done, &r->done, 1);
	add(sum->done_within, r->done_within, OPS);
	add(&sum->failed, &r->failed, 1);
	add(sum->faults, r->faults, RECORDER_FAULTS);
	add(sum->verdicts, r->verdicts, RECORDER_VERDICTS);
	add(&sum->unexpected, &r->unexpected, 1);
}

void
recorder_sum(struct recorder *sum)
{
	struct link *link;

	pthread_mutex_lock(&mutex);
	for (link = links; link != NULL; link = link->next)
		recorder_add(sum, &link->recorder);
	pthread_mutex_unlock(&mutex);
}
