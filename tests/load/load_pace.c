/*
 * load_pace.c - the moments of an open loop's calls, and the slots that are free for them (see load_internal.h).
 */
#include "tests/load/load_internal.h"

#include <errno.h>
#include <time.h>

#define RATE_MET 0.99

static void
sleep_until(int64_t ns)
{
	struct timespec ts = { .tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000 };

	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, NULL) == EINTR)
		continue;
}

/* What the warm-up could not send is dropped when it ends: the measured time begins without a backlog. */
bool
pace(struct load *l, int64_t *from_ns)
{
	int64_t now_ns;

	do {
		*from_ns = l->measure->start_ns + (int64_t)((double)l->turn++ * 1e9 / l->config->rate);
		if (measure_is_over(l->measure, *from_ns))
			return false;
		now_ns = measure_now_ns();
	} while (*from_ns < l->measure->begin_ns && now_ns >= l->measure->begin_ns);
	if (*from_ns > now_ns)
		sleep_until(*from_ns);
	/* Late, and the end has passed meanwhile; or it was made to come earlier. */
	return !measure_is_over(l->measure, measure_now_ns());
}

void
pace_record(struct load *l, int64_t from_ns)
{
	int64_t lag_ns = measure_now_ns() - from_ns;

	if (!measure_covers(l->measure, from_ns))
		return;
	l->sent_measured++;
	hist_record(&recorder_mine()->lag, lag_ns > 0 ? (uint64_t)lag_ns : 0, 1);
}

struct slot *
take_free(struct load *l)
{
	struct timespec wait;
	struct slot *s;

	pthread_mutex_lock(&l->mutex);
	while ((s = l->free) == NULL && !measure_is_over(l->measure, measure_now_ns())) {
		clock_gettime(CLOCK_REALTIME, &wait);
		wait.tv_nsec += 50000000;
		wait.tv_sec += wait.tv_nsec / 1000000000;
		wait.tv_nsec %= 1000000000;
		pthread_cond_timedwait(&l->changed, &l->mutex, &wait);
	}
	if (s != NULL)
		l->free = s->next_free;
	pthread_mutex_unlock(&l->mutex);
	return s;
}

void
give_free(struct slot *s)
{
	struct load *l = s->load;

	pthread_mutex_lock(&l->mutex);
	s->next_free = l->free;
	l->free = s;
	pthread_cond_signal(&l->changed);
	pthread_mutex_unlock(&l->mutex);
}

/* One call may be on its way when the end comes. */
void
judge_rate(const struct load *l, struct load_outcome *outcome, const struct recorder *sum)
{
	double wanted = l->config->rate * measure_duration_s(l->measure);
	double done = 0;
	unsigned op;

	for (op = 0; op < OPS; op++)
		done += (double)sum->done_within[op];
	if (wanted > (double)l->sent_measured + 1)
		outcome->not_sent = (uint64_t)(wanted - (double)l->sent_measured);
	outcome->rate_met =
	    done + 1 >= RATE_MET * wanted * l->config->batch && (double)outcome->not_sent <= (1 - RATE_MET) * wanted;
}
