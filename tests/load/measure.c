/*
 * measure.c - a run's clock and its progress (see measure.h). Never touches a socket.
 */
#include "tests/load/measure.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "client/fob.h"
#include "tests/load/switches.h"

#define SECOND_NS INT64_C(1000000000)
#define LOOK_NS (SECOND_NS / 10)

int64_t
measure_now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * SECOND_NS + ts.tv_nsec;
}

static void
signals_of_interest(sigset_t *set)
{
	sigemptyset(set);
	sigaddset(set, SIGINT);
	sigaddset(set, SIGTERM);
}

void
measure_block_signals(void)
{
	sigset_t set;

	signals_of_interest(&set);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
}

bool
measure_take_signal(void)
{
	const struct timespec none = { 0 };
	sigset_t set;

	signals_of_interest(&set);
	return sigtimedwait(&set, NULL, &none) > 0;
}

void
measure_start(struct measure *m, double warmup_s, double duration_s, bool quiet)
{
	m->start_ns = measure_now_ns();
	m->begin_ns = m->start_ns + (int64_t)(warmup_s * 1e9);
	m->end_ns = m->begin_ns + (int64_t)(duration_s * 1e9);
	m->quiet = quiet;
	m->interrupted = false;
	m->server = 0;
	m->switches = m->switch_calls = 0;
}

/* ---- thread switches ---- */

void
measure_count_switches(struct measure *m, pid_t server)
{
	m->server = server;
}

static int
switches_of_both(pid_t server, uint64_t *switches)
{
	uint64_t own, others;

	if (switches_of(getpid(), &own) != 0 || switches_of(server, &others) != 0)
		return -1;
	*switches = own + others;
	return 0;
}

/* The calls that have ended; 0 when out of memory. */
static uint64_t
calls_ended(void)
{
	struct recorder *sum = calloc(1, sizeof(*sum));
	uint64_t calls;

	if (sum == NULL)
		return 0;
	recorder_sum(sum);
	calls = sum->done;
	free(sum);
	return calls;
}

struct switch_count {
	bool begun, ended;
	int rc;
	uint64_t switches, calls; /* at the beginning */
};

/* Before the end of the measured time: a caller's thread ends with it, and what it had is then lost. */
static int64_t
switches_end_ns(const struct measure *m)
{
	return m->end_ns - (m->end_ns - m->begin_ns) / 10;
}

/* The calls are counted within the time of the switches: what is reported is never too few. */
static void
switches_begin(const struct measure *m, struct switch_count *c, int64_t now_ns)
{
	if (m->server == 0 || c->begun || now_ns < m->begin_ns)
		return;
	c->begun = true;
	c->rc = switches_of_both(m->server, &c->switches);
	c->calls = calls_ended();
}

static void
switches_end(struct measure *m, struct switch_count *c, int64_t now_ns)
{
	uint64_t switches, calls;

	if (!c->begun || c->ended || now_ns < switches_end_ns(m))
		return;
	c->ended = true;
	calls = calls_ended();
	if (c->rc != 0 || switches_of_both(m->server, &switches) != 0)
		return;
	/* A thread has ended all the same. */
	if (switches < c->switches || calls <= c->calls)
		return;
	m->switches = switches - c->switches;
	m->switch_calls = calls - c->calls;
}

/* ---- progress ---- */

/* The difference between two sums is what the last second brought. */
struct progress {
	struct recorder last, now;
	struct hist second;
	int64_t last_ns;
};

static void
progress_line(const struct measure *m, struct progress *p, int64_t now_ns)
{
	double seconds = (double)(now_ns - p->last_ns) / 1e9;
	uint64_t ended;
	unsigned op;

	p->now = (struct recorder){ 0 };
	p->second = (struct hist){ 0 };
	recorder_sum(&p->now);
	ended = p->now.done - p->last.done;
	fprintf(stderr, "%5.0f s  %9.0f/s", (double)(now_ns - m->start_ns) / 1e9, (double)ended / seconds);
	for (op = 0; op < OPS; op++)
		hist_merge(&p->second, &p->now.latency[op]);
	for (op = 0; op < OPS; op++)
		hist_subtract(&p->second, &p->last.latency[op]);
	if (now_ns <= m->begin_ns)
		fputs("  warm-up", stderr);
	else
		fprintf(stderr, "  p50 %.1f us  p99 %.1f us  max %.1f us",
		    (double)hist_quantile(&p->second, 500000000) / 1e3,
		    (double)hist_quantile(&p->second, 990000000) / 1e3,
		    (double)hist_quantile(&p->second, 1000000000) / 1e3);
	fprintf(stderr, "  failed %ju\n", (uintmax_t)p->now.failed);
	p->last = p->now;
	p->last_ns = now_ns;
}

/* Of those at which measure_watch() has something to do. */
static int64_t
next_moment(const struct measure *m, int64_t now_ns)
{
	if (now_ns < m->begin_ns)
		return m->begin_ns;
	return now_ns < switches_end_ns(m) ? switches_end_ns(m) : m->end_ns;
}

void
measure_watch(struct measure *m, const _Atomic bool *stopped)
{
	struct progress *p = m->quiet ? NULL : calloc(1, sizeof(*p));
	struct switch_count switches = { 0 };
	int64_t now_ns, next_ns, left_ns;
	struct timespec wait;
	sigset_t set;

	signals_of_interest(&set);
	next_ns = m->start_ns + SECOND_NS;
	if (p != NULL)
		p->last_ns = m->start_ns;
	while ((now_ns = measure_now_ns()) < m->end_ns && !*stopped) {
		switches_begin(m, &switches, now_ns);
		switches_end(m, &switches, now_ns);
		left_ns = next_moment(m, now_ns) - now_ns;
		if (left_ns > LOOK_NS)
			left_ns = LOOK_NS;
		wait = (struct timespec){ .tv_sec = 0, .tv_nsec = (long)left_ns };
		if (sigtimedwait(&set, NULL, &wait) > 0) {
			m->interrupted = true;
			break;
		}
		if ((now_ns = measure_now_ns()) >= next_ns) {
			if (p != NULL)
				progress_line(m, p, now_ns);
			next_ns += SECOND_NS;
		}
	}
	if ((now_ns = measure_now_ns()) < m->end_ns)
		m->end_ns = now_ns;
	free(p);
}

void
measure_record(const struct measure *m, struct recorder *r, enum op op, int64_t from_ns, int64_t now_ns, bool failed,
    unsigned times)
{
	recorder_count(&r->done, times);
	if (failed)
		recorder_count(&r->failed, times);
	else if (measure_covers(m, now_ns))
		recorder_count(&r->done_within[op], times);
	if (measure_covers(m, from_ns))
		hist_record(&r->latency[op], now_ns > from_ns ? (uint64_t)(now_ns - from_ns) : 0, times);
}

void
measure_fault(
    const struct measure *m, struct recorder *r, enum op op, int64_t from_ns, int64_t now_ns, int fault, unsigned times)
{
	unsigned code = (unsigned)-fault;

	measure_record(m, r, op, from_ns, now_ns, fault != 0, times);
	if (fault != 0 && measure_covers(m, from_ns))
		recorder_count(&r->faults[code < RECORDER_FAULTS ? code : (unsigned)-FOB_EUNKNOWN], times);
}

void
measure_verdict(const struct measure *m, struct recorder *r, enum op op, int64_t from_ns, int64_t now_ns,
    unsigned verdict, bool expected)
{
	measure_record(m, r, op, from_ns, now_ns, false, 1);
	if (measure_covers(m, from_ns))
		recorder_count(&r->verdicts[verdict < RECORDER_VERDICTS ? verdict : 0], 1);
	if (!expected)
		recorder_count(&r->unexpected, 1);
}

double
measure_duration_s(const struct measure *m)
{
	return m->end_ns > m->begin_ns ? (double)(m->end_ns - m->begin_ns) / 1e9 : 0;
}
