/*
 * transport.c - the servers of a client, and the thread or the loop that drives asynchronous calls (see transport.h).
 * The work itself is link.c's.
 */
#include "client/transport.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "client/error.h"
#include "client/link.h"
#include "client/options.h"
#include "proto/c/thread.h"
#include "proto/c/tls_context.h"

#define LINKS_MAX 3
#define WAKE_EVENT UINT32_MAX

struct transport {
	struct fob_options options; /* numbers only: its strings are not ours */
	SSL_CTX *tls;
	struct link links[LINKS_MAX];
	unsigned n_links;
	struct link *by_environment[3];
	_Atomic uint64_t numbers;
	struct positions positions;

	int wake_fd; /* -1: neither thread nor loop */
	pthread_mutex_t starting;
	_Atomic bool started;
	_Atomic bool stop;
	pthread_t thread;

	int epoll_fd, timer_fd; /* -1: no loop */
	int64_t timer_at_ms;    /* INT64_MAX: not armed */
	bool dispatching;
};

int64_t
transport_now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* ---- the thread ---- */

static void
thread_turn(struct transport *t)
{
	struct pollfd fds[LINKS_MAX + 1];
	int64_t at_ms, next_ms = INT64_MAX, left_ms;
	eventfd_t woken;
	struct link *l;
	unsigned i;
	bool ours;

	for (i = 0; i < t->n_links; i++) {
		l = &t->links[i];
		link_lock(l);
		link_claim(l);
		link_prepare(l, &fds[i].events, &at_ms);
		fds[i].fd = fds[i].events != 0 ? l->connection.fd : -1;
		link_unlock(l);
		if (at_ms < next_ms)
			next_ms = at_ms;
	}
	fds[t->n_links] = (struct pollfd){ .fd = t->wake_fd, .events = POLLIN };
	left_ms = next_ms == INT64_MAX ? -1 : next_ms - transport_now_ms();
	if (left_ms < 0 && next_ms != INT64_MAX)
		left_ms = 0;
	if (poll(fds, t->n_links + 1, left_ms > INT32_MAX ? INT32_MAX : (int)left_ms) < 0) {
		for (i = 0; i <= t->n_links; i++)
			fds[i].revents = 0;
	}
	if (fds[t->n_links].revents != 0)
		eventfd_read(t->wake_fd, &woken);
	for (i = 0; i < t->n_links; i++) {
		l = &t->links[i];
		link_lock(l);
		link_awake(l);
		if (fds[i].fd >= 0 && fds[i].revents != 0 && !l->driven)
			l->driven = l->ours = true;
		ours = l->ours;
		link_unlock(l);
		link_turn(l, fds[i].fd >= 0 ? fds[i].revents : 0, ours);
		link_callbacks(l);
	}
}

static void *
thread_run(void *arg)
{
	struct transport *t = arg;

	while (!atomic_load(&t->stop))
		thread_turn(t);
	return NULL;
}

static int
wake_fd_make(struct transport *t, struct fob_error *error)
{
	unsigned i;

	if ((t->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) < 0)
		return error_set(error, FOB_EINTERNAL, "eventfd: %s", strerrordesc_np(errno));
	for (i = 0; i < t->n_links; i++) {
		link_lock(&t->links[i]);
		t->links[i].wake_fd = t->wake_fd;
		link_unlock(&t->links[i]);
	}
	return 0;
}

static int
thread_need(struct transport *t, struct fob_error *error)
{
	int rc = 0, rv;

	if (t->options.loop || atomic_load(&t->started))
		return 0;
	pthread_mutex_lock(&t->starting);
	if (!atomic_load(&t->started) && (t->wake_fd >= 0 || (rc = wake_fd_make(t, error)) == 0)) {
		if ((rv = thread_start(&t->thread, thread_run, t)) != 0)
			rc = error_set(error, FOB_EINTERNAL, "cannot start a thread: %s", strerrordesc_np(rv));
		else
			atomic_store(&t->started, true);
	}
	pthread_mutex_unlock(&t->starting);
	return rc;
}

static void
thread_end(struct transport *t)
{
	if (!atomic_load(&t->started))
		return;
	atomic_store(&t->stop, true);
	eventfd_write(t->wake_fd, 1);
	pthread_join(t->thread, NULL);
}

/* ---- the loop ---- */

static int
loop_make(struct transport *t, struct fob_error *error)
{
	struct epoll_event e = { .events = EPOLLIN };
	unsigned i;
	int rc;

	if ((rc = wake_fd_make(t, error)) != 0)
		return rc;
	e.data.fd = t->wake_fd;
	if ((t->epoll_fd = epoll_create1(EPOLL_CLOEXEC)) < 0 ||
	    (t->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK)) < 0 ||
	    epoll_ctl(t->epoll_fd, EPOLL_CTL_ADD, t->wake_fd, &e) != 0)
		return error_set(error, FOB_EINTERNAL, "epoll: %s", strerrordesc_np(errno));
	e.data.fd = t->timer_fd;
	if (epoll_ctl(t->epoll_fd, EPOLL_CTL_ADD, t->timer_fd, &e) != 0)
		return error_set(error, FOB_EINTERNAL, "epoll: %s", strerrordesc_np(errno));
	for (i = 0; i < t->n_links; i++) {
		t->links[i].driven = t->links[i].ours = true;
		t->links[i].connection.epoll_fd = t->epoll_fd;
	}
	return 0;
}

/* A timer that goes off too early costs a turn; so one that is to go off later is left as it is. */
static void
timer_arm(struct transport *t, int64_t at_ms)
{
	struct itimerspec when = { 0 };

	if (at_ms >= t->timer_at_ms)
		return;
	if (at_ms < 1)
		at_ms = 1; /* 0 would disarm it */
	t->timer_at_ms = at_ms;
	when.it_value.tv_sec = (time_t)(at_ms / 1000);
	when.it_value.tv_nsec = (long)(at_ms % 1000) * 1000000;
	timerfd_settime(t->timer_fd, TFD_TIMER_ABSTIME, &when, NULL);
}

/* What to wait for until the next dispatch. */
static void
loop_prepare(struct transport *t)
{
	int64_t at_ms, next_ms = INT64_MAX;
	short events;
	unsigned i;

	for (i = 0; i < t->n_links; i++) {
		link_lock(&t->links[i]);
		link_prepare(&t->links[i], &events, &at_ms);
		connection_watch(&t->links[i].connection, events);
		link_unlock(&t->links[i]);
		if (at_ms < next_ms)
			next_ms = at_ms;
	}
	timer_arm(t, next_ms);
}

int
transport_fd(const struct transport *t)
{
	return t->epoll_fd;
}

int
transport_dispatch(struct transport *t)
{
	struct epoll_event events[LINKS_MAX + 2];
	short revents[LINKS_MAX] = { 0 };
	unsigned i, calls = 0;
	uint64_t expirations;
	eventfd_t woken;
	int n, e;

	if (t->epoll_fd < 0 || t->dispatching)
		return FOB_EFAILED_PRECONDITION;
	t->dispatching = true;
	n = epoll_wait(t->epoll_fd, events, LINKS_MAX + 2, 0);
	for (e = 0; e < n; e++) {
		if (events[e].data.fd == t->wake_fd)
			eventfd_read(t->wake_fd, &woken);
		if (events[e].data.fd == t->timer_fd && read(t->timer_fd, &expirations, sizeof(expirations)) > 0)
			t->timer_at_ms = INT64_MAX;
		for (i = 0; i < t->n_links; i++) {
			if (events[e].data.fd == t->links[i].connection.fd)
				revents[i] = (short)(((events[e].events & EPOLLOUT) ? POLLOUT : 0) |
				    ((events[e].events & ~(uint32_t)EPOLLOUT) ? POLLIN : 0));
		}
	}
	for (i = 0; i < t->n_links; i++) {
		link_lock(&t->links[i]);
		link_awake(&t->links[i]);
		link_unlock(&t->links[i]);
		link_turn(&t->links[i], revents[i], true);
		calls += link_callbacks(&t->links[i]);
	}
	loop_prepare(t);
	t->dispatching = false;
	return (int)calls;
}

/* ---- calls ---- */

bool
transport_is_split(const struct transport *t, enum fob_environment a, enum fob_environment b)
{
	return t->by_environment[a] != t->by_environment[b];
}

int
transport_submit(struct transport *t, struct call *c, uint64_t *number)
{
	struct link *l;
	int rc, cancel;

	assert(c->method != NULL && c->reply != NULL && (unsigned)c->environment <= FOB_ENVIRONMENT_TEST);
	error_clear(&c->error);
	memset(&c->unanswered, 0, sizeof(*c) - offsetof(struct call, unanswered));
	if ((rc = calls_check_size(c)) != 0)
		return rc;
	if (c->end == NULL &&
	    (t->options.loop || (atomic_load(&t->started) && pthread_equal(t->thread, pthread_self()))))
		return error_set(&c->error, FOB_EFAILED_PRECONDITION, "a synchronous call %s",
		    t->options.loop ? "in loop mode" : "in a callback");
	if (c->end != NULL && (rc = thread_need(t, &c->error)) != 0)
		return rc;
	c->number = atomic_fetch_add(&t->numbers, 1) + 1;
	if (number != NULL)
		*number = c->number;
	l = t->by_environment[c->environment];
	/* A caller that is cancelled with pthread_cancel() must not take a role with it. */
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel);
	link_lock(l);
	rc = link_submit(l, c);
	link_unlock(l);
	pthread_setcancelstate(cancel, &cancel);
	return rc;
}

int
transport_wait(struct transport *t, struct call *c)
{
	int rc, cancel;

	(void)t;
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel);
	rc = link_wait(c->link, c);
	pthread_setcancelstate(cancel, &cancel);
	return rc;
}

int
transport_run(struct transport *t, struct call *c)
{
	int rc = transport_submit(t, c, NULL);

	return rc != 0 ? rc : transport_wait(t, c);
}

bool
transport_cancel(struct transport *t, uint64_t number)
{
	bool cancelled = false;
	unsigned i;

	for (i = 0; i < t->n_links && !cancelled; i++) {
		link_lock(&t->links[i]);
		cancelled = link_cancel(&t->links[i], number);
		link_unlock(&t->links[i]);
	}
	return cancelled;
}

/* ---- from start to end ---- */

static int
tls_make(struct transport *t, const struct fob_options *o, struct fob_error *error)
{
	char why[sizeof(error->message)];
	int rv;

	if (o->tls_ca == NULL)
		return 0;
	if ((rv = tls_context_load(o->tls_ca, o->tls_cert, o->tls_key, &t->tls, why, sizeof(why))) != 0)
		return error_set(error, rv == -EINVAL ? FOB_EINVALID_ARGUMENT : FOB_EINTERNAL, "%s", why);
	return 0;
}

/* One link for each list of addresses; what has none goes to the first. */
static int
links_make(struct transport *t, const struct fob_options *o, struct fob_error *error)
{
	unsigned i;
	int rc;

	for (i = 0; i < LINKS_MAX; i++) {
		if (o->addresses[i].n == 0)
			continue;
		rc = link_init(&t->links[t->n_links], &t->options, &o->addresses[i], t->tls, error);
		t->links[t->n_links].calls.positions = &t->positions;
		t->by_environment[i] = &t->links[t->n_links++];
		if (rc != 0)
			return rc;
	}
	for (i = 0; i < LINKS_MAX; i++) {
		if (t->by_environment[i] == NULL)
			t->by_environment[i] = &t->links[0];
	}
	return 0;
}

/* Nothing here is worth failing for: what can be connected at once is. */
static void
links_begin(struct transport *t)
{
	unsigned i;

	if (t->options.loop) {
		loop_prepare(t);
		return;
	}
	for (i = 0; i < t->n_links; i++)
		link_turn(&t->links[i], 0, true);
}

int
transport_new(const struct fob_options *o, struct transport **transport, struct fob_error *error)
{
	struct transport *t;
	int rc;

	*transport = NULL;
	if ((t = calloc(1, sizeof(*t))) == NULL)
		return error_set(error, FOB_EINTERNAL, "out of memory");
	t->options = *o;
	t->wake_fd = t->epoll_fd = t->timer_fd = -1;
	t->timer_at_ms = INT64_MAX;
	pthread_mutex_init(&t->starting, NULL);
	positions_init(&t->positions);
	if ((rc = tls_make(t, o, error)) == 0 && (rc = links_make(t, o, error)) == 0 && o->loop)
		rc = loop_make(t, error);
	if (rc == 0)
		links_begin(t);
	if (rc == 0 && o->state_cb != NULL)
		rc = thread_need(t, error);
	if (rc != 0) {
		transport_free(t);
		return rc;
	}
	*transport = t;
	return 0;
}

static void
fd_close(int fd)
{
	if (fd >= 0)
		close(fd);
}

void
transport_free(struct transport *t)
{
	unsigned i;

	if (t == NULL)
		return;
	thread_end(t);
	for (i = 0; i < t->n_links; i++) {
		link_lock(&t->links[i]);
		link_cancel_all(&t->links[i]);
		link_unlock(&t->links[i]);
	}
	for (i = 0; i < t->n_links; i++)
		link_callbacks(&t->links[i]);
	for (i = 0; i < t->n_links; i++)
		link_fini(&t->links[i]);
	SSL_CTX_free(t->tls);
	fd_close(t->wake_fd);
	fd_close(t->timer_fd);
	fd_close(t->epoll_fd);
	pthread_mutex_destroy(&t->starting);
	positions_fini(&t->positions);
	free(t);
}
