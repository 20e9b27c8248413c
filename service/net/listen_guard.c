/*
 * listen_guard.c - what is looked after each second: does every listener answer, do connections leak, does memory come
 * back (see listen.h). Called by main.c; calls probe.c, which asks as a client would, arrivals.c, descriptors.c and orphans.c.
 * Takes no part in a request.
 */
#include "service/net/listen_internal.h"

#include <malloc.h>
#include <sys/resource.h>

#include "service/net/descriptors.h"
#include "service/base/log.h"
#include "service/net/probe.h"

#define SILENT_ROUNDS 2 /* one answer may be late on a busy machine */
#define DESCRIPTORS_SPARE 8
#define DESCRIPTORS_LEFT 512 /* connections that stay when their peers have left */
#define LOOKS_TO_TELL 2      /* in which they are the same */
#define LOOKS_TO_END 3
#define EVERY_ROUNDS 10 /* of the guard */
#define CROWD 256       /* connections after which memory is given back */
#define CALM 64         /* connections in a round: with fewer nobody is kept waiting by that */

/* All of its contexts have work: it may be slow, but it is not dead, and opening it again would not help. */
static bool
is_busy(const struct listener *l)
{
	for (unsigned i = 0; i < l->n_contexts; i++)
		if (l->contexts[i].state == CONTEXT_RECEIVING)
			return false;
	return true;
}

/* Neither we nor the listener can open another: it says nothing about the listener, whose clients are served on. */
static bool
out_of_descriptors(void)
{
	struct rlimit limit;

	return getrlimit(RLIMIT_NOFILE, &limit) == 0 && descriptors_count() + DESCRIPTORS_SPARE >= limit.rlim_cur;
}

/* With as many connections as there may be, the probe's would be refused. */
static bool
is_alive(const struct listener *l)
{
	return pipes_count(l->transport->pipes) >= l->transport->config->connections ||
	    probe_listener(l->config->url, PROBE_MS) || is_busy(l) || out_of_descriptors();
}

static void
reopen(struct listener *l)
{
	char why[512];

	LOG(LOG_ERROR, "a listener does not answer; opening it again", LOG_S("url", l->config->url));
	nng_listener_close(l->listener);
	atomic_fetch_add(&l->transport->restarts, 1);
	if (listen_start(l, why, sizeof(why)) != 0)
		LOG(LOG_ERROR, "cannot open the listener again", LOG_S("reason", why));
}

/*
 * Descriptors leak when connections stay open that their peers have left. Peers that are there, however many and
 * however silent, are no leak, nor are crowds that leave together, again and again, and whom nng closes one by one: they
 * may use up the descriptors, but must not be able to have us restarted. So only what has stayed so counts.
 */
static int
check_descriptors(struct transport *t)
{
	unsigned n, stayed;

	orphans_look(&t->orphans, &n);
	if ((stayed = orphans_since(&t->orphans, LOOKS_TO_TELL)) > DESCRIPTORS_LEFT)
		LOG(LOG_ERROR, "connections stay open that their peers have left", LOG_I("left", stayed),
		    LOG_I("descriptors", n), LOG_I("connections", pipes_count(t->pipes)));
	return orphans_since(&t->orphans, LOOKS_TO_END) > 4 * DESCRIPTORS_LEFT ? -1 : 0;
}

static void
tell_arrivals(struct transport *t)
{
	struct arrivals_stats now;

	arrivals_stats(&now);
	if ((now.late == t->told.late && now.crowded == t->told.crowded) || t->guard_round < t->tell_round)
		return;
	LOG(LOG_WARN, "connections were closed that had not greeted", LOG_I("late", now.late - t->told.late),
	    LOG_I("crowded", now.crowded - t->told.crowded));
	t->told = now;
	t->tell_round = t->guard_round + EVERY_ROUNDS;
}

/*
 * glibc keeps what connections took and gave back, in an arena for each of nng's threads. It is given to the system
 * when they have gone and not many come, as who allocates meanwhile waits. Our own probes are no crowd.
 */
static void
give_back_memory(struct transport *t)
{
	struct arrivals_stats now;
	uint64_t came;

	arrivals_stats(&now);
	came = now.accepted - t->accepted;
	came -= came < t->n_listeners ? came : t->n_listeners;
	t->accepted = now.accepted;
	t->crowd += came;
	if (t->crowd < CROWD || came >= CALM)
		return;
	t->crowd = 0;
	malloc_trim(0);
}

int
listen_guard(struct transport *t, bool (*interrupted)(void))
{
	arrivals_sweep(clock_boot_ms());
	tell_arrivals(t);
	give_back_memory(t);
	for (size_t i = 0; i < t->n_listeners && !interrupted(); i++) {
		struct listener *l = &t->listeners[i];

		(void)listen_tls_settle(l);
		l->silent = is_alive(l) ? 0 : l->silent + 1;
		if (l->silent == SILENT_ROUNDS) {
			l->silent = 0;
			reopen(l);
		}
	}
	return ++t->guard_round % EVERY_ROUNDS == 0 ? check_descriptors(t) : 0;
}
