/*
 * sweep.c - the one thread that looks after time and memory: it closes connections that do not greet or do not take
 * their replies, sends what changes have answered, begins accepts anew, frees connections, and gives memory back.
 */
#include "service/net/internal.h"

#include <malloc.h>
#include <stdlib.h>
#include <time.h>

#include "service/base/log.h"

#define STALLED_EVERY_MS 20
#define COUNT_EVERY_MS 5
#define TELL_EVERY_MS 10000
#define TRIM_EVERY_MS 1000
#define NEVER_MS INT64_MAX
#define TRIM_HELD (4U << 20) /* bytes, or so many connections, beyond which there is something to give back */
#define TRIM_CONNECTIONS 256

/* ---- who is late ---- */

static struct connection *
late(struct server *server, int64_t now_ms, bool *stalled)
{
	struct connection *c;

	for (size_t i = 0; i < server->n_listeners; i++) {
		c = server->listeners[i].ungreeted.first;
		if (c != NULL && now_ms >= c->arrived_ms + LIMIT_GREETING_MS) {
			*stalled = false;
			server->late++;
			return c;
		}
	}
	for (c = server->stalled.first; c != NULL; c = c->links[PLACE_STALLED].next) {
		if (now_ms >= c->progress_ms + LIMIT_SEND_MS) {
			*stalled = true;
			return c;
		}
	}
	return NULL;
}

static void
close_late(struct server *server)
{
	struct connection *c;
	bool stalled;

	for (;;) {
		pthread_mutex_lock(&server->mutex);
		if ((c = late(server, clock_boot_ms(), &stalled)) != NULL)
			connection_ref(c);
		pthread_mutex_unlock(&server->mutex);
		if (c == NULL)
			return;
		if (connection_close(c) && stalled)
			atomic_fetch_add(&server->dropped, 1);
		connection_unref(c);
	}
}

static void
tell_late(struct server *server, int64_t now_ms)
{
	uint64_t late, crowded;

	pthread_mutex_lock(&server->mutex);
	late = server->late - server->late_told;
	crowded = server->crowded - server->crowded_told;
	if (now_ms < server->tell_ms || late + crowded == 0) {
		pthread_mutex_unlock(&server->mutex);
		return;
	}
	server->late_told = server->late;
	server->crowded_told = server->crowded;
	server->tell_ms = now_ms + TELL_EVERY_MS;
	pthread_mutex_unlock(&server->mutex);
	LOG(LOG_WARN, "connections were closed that had not greeted", LOG_I("late", late), LOG_I("crowded", crowded));
}

/* ---- accepts that wait ---- */

/* nng tells of no close, so the descriptors are counted. */
static void
count_descriptors(struct server *server, int64_t now_ms)
{
	unsigned n;

	pthread_mutex_lock(&server->mutex);
	server->accepted = 0;
	pthread_mutex_unlock(&server->mutex);
	n = descriptors_count();
	pthread_mutex_lock(&server->mutex);
	server->descriptors = n;
	server->counted_ms = now_ms;
	pthread_mutex_unlock(&server->mutex);
}

static void
resume_listeners(struct server *server, int64_t now_ms)
{
	for (size_t i = 0; i < server->n_listeners; i++) {
		struct listener *l = &server->listeners[i];
		bool due;

		pthread_mutex_lock(&server->mutex);
		due = l->waiting && now_ms >= l->retry_ms;
		pthread_mutex_unlock(&server->mutex);
		if (!due)
			continue;
		if (now_ms >= server->counted_ms + COUNT_EVERY_MS)
			count_descriptors(server, now_ms);
		listener_resume(l, server->sweep_workspace);
	}
}

/* ---- memory ---- */

static bool
is_much(const struct server *server)
{
	return server->most_held > TRIM_HELD || server->most_exist > TRIM_CONNECTIONS;
}

/* glibc keeps what connections took and gave back. It is given to the system when most of them have gone. */
static void
give_back_memory(struct server *server, int64_t now_ms, int64_t *trimmed_ms)
{
	size_t held = server->budget.held;
	bool trim;

	pthread_mutex_lock(&server->mutex);
	server->most_held = held > server->most_held ? held : server->most_held;
	server->most_exist = server->exist > server->most_exist ? server->exist : server->most_exist;
	trim = is_much(server) && held <= server->most_held / 2 && server->exist <= server->most_exist / 2 &&
	    now_ms >= *trimmed_ms + TRIM_EVERY_MS;
	if (trim) {
		server->most_held = held;
		server->most_exist = server->exist;
		*trimmed_ms = now_ms;
	}
	pthread_mutex_unlock(&server->mutex);
	if (trim)
		malloc_trim(0);
}

/* Under the mutex, which is let go of meanwhile. */
static void
free_dead(struct server *server)
{
	struct connection *c = server->dead, *next;
	unsigned n = 0;

	server->dead = NULL;
	pthread_mutex_unlock(&server->mutex);
	for (; c != NULL; c = next, n++) {
		next = c->links[PLACE_ALL].next;
		connection_free(c);
	}
	pthread_mutex_lock(&server->mutex);
	server->exist -= n;
}

static void
flush(struct server *server)
{
	struct connection *c;

	while ((c = server->flush.first) != NULL) {
		list_remove(&server->flush, c, PLACE_FLUSH);
		pthread_mutex_unlock(&server->mutex);
		send_flush(c, server->sweep_workspace);
		connection_unref(c);
		pthread_mutex_lock(&server->mutex);
	}
}

/* ---- the thread ---- */

static int64_t
sooner(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

/* Under the mutex. */
static int64_t
next_ms(const struct server *server, int64_t now_ms)
{
	int64_t at = NEVER_MS;

	for (size_t i = 0; i < server->n_listeners; i++) {
		const struct listener *l = &server->listeners[i];

		if (l->ungreeted.first != NULL)
			at = sooner(at, l->ungreeted.first->arrived_ms + LIMIT_GREETING_MS);
		if (l->waiting)
			at = sooner(at, l->retry_ms);
	}
	if (server->stalled.first != NULL)
		at = sooner(at, now_ms + STALLED_EVERY_MS);
	if (server->late != server->late_told || server->crowded != server->crowded_told)
		at = sooner(at, server->tell_ms > now_ms ? server->tell_ms : now_ms);
	if (is_much(server))
		at = sooner(at, now_ms + TRIM_EVERY_MS);
	return at;
}

static void
wait_for_work(struct server *server)
{
	int64_t now_ms = clock_boot_ms(), at = next_ms(server, now_ms);
	struct timespec until;

	if (at <= now_ms)
		return;
	if (at == NEVER_MS) {
		pthread_cond_wait(&server->work, &server->mutex);
		return;
	}
	/* A clock that the condition knows; after a suspend the sweep is late by no more than one wait. */
	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += (at - now_ms) / 1000;
	until.tv_nsec += (at - now_ms) % 1000 * 1000000;
	until.tv_sec += until.tv_nsec / 1000000000;
	until.tv_nsec %= 1000000000;
	pthread_cond_timedwait(&server->work, &server->mutex, &until);
}

static void *
sweep(void *arg)
{
	struct server *server = arg;
	int64_t trimmed_ms = 0, now_ms;

	pthread_mutex_lock(&server->mutex);
	while (!server->stop || server->exist > 0) {
		if (server->dead == NULL && server->flush.first == NULL)
			wait_for_work(server);
		flush(server);
		free_dead(server);
		pthread_mutex_unlock(&server->mutex);
		now_ms = clock_boot_ms();
		close_late(server);
		tell_late(server, now_ms);
		resume_listeners(server, now_ms);
		give_back_memory(server, now_ms, &trimmed_ms);
		pthread_mutex_lock(&server->mutex);
	}
	pthread_mutex_unlock(&server->mutex);
	return NULL;
}

int
sweep_start(struct server *server)
{
	count_descriptors(server, clock_boot_ms());
	if ((server->sweep_workspace = workspace_take(server)) == NULL)
		return -1;
	workspace_rest(server->sweep_workspace);
	server->sweep_started = pthread_create(&server->sweep, NULL, sweep, server) == 0;
	return server->sweep_started ? 0 : -1;
}

void
sweep_stop(struct server *server)
{
	if (!server->sweep_started)
		return;
	pthread_mutex_lock(&server->mutex);
	server->stop = true;
	pthread_cond_signal(&server->work);
	pthread_mutex_unlock(&server->mutex);
	pthread_join(server->sweep, NULL);
}
