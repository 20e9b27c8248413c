/*
 * worker.c - one thread that serves (see worker.h). Other threads talk to it through an eventfd and two atomics only.
 */
#include "client/http/worker.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "client/http/admin.h"
#include "client/http/auth.h"
#include "client/http/backend.h"
#include "client/http/health.h"
#include "client/http/page.h"
#include "client/http/sign_in.h"
#include "client/http/verify.h"
#include "proto/c/monotonic.h"

#define HANDLERS (1 + ADMIN_PATHS + PAGE_FILES) /* the larger of both roles */
#define AUTH_HANDLERS 3
#define METRICS_HANDLERS 3
#define DRAIN_LOOK_US 10000
/* Requests that are on their way when the stop begins are still answered. */
#define DRAIN_LEAST_MS 200

struct worker {
	struct settings *settings;
	struct event_base *base;
	struct backend *backend;
	struct server *server;
	struct event *told, *drain;
	struct auth auth;
	struct operator_role *op; /* NULL in the role auth */
	struct admin_path admin[ADMIN_PATHS];
	struct http_handler handlers[HANDLERS];
	size_t n_handlers;
	struct http_handler metrics_handlers[METRICS_HANDLERS];
	int told_fd;
	atomic_bool stop;
	_Atomic(struct settings *) next; /* NULL: none */
	int64_t drain_since_ms;          /* 0: it does not drain */
	pthread_t thread;
	bool started;
};

/* ---- told by the main thread ---- */

static void
use_settings(struct worker *w, struct settings *settings)
{
	struct settings *old = w->settings;

	w->settings = settings;
	w->auth.settings = settings;
	settings_unref(old);
}

static void
on_drain(evutil_socket_t fd, short what, void *arg)
{
	struct worker *w = arg;
	int64_t took_ms = monotonic_ms() - w->drain_since_ms;

	(void)fd;
	(void)what;
	if (took_ms >= DRAIN_LEAST_MS && (server_busy(w->server) == 0 || took_ms >= w->settings->timeout_ms))
		event_base_loopbreak(w->base);
}

static void
on_told(evutil_socket_t fd, short what, void *arg)
{
	static const struct timeval soon = { .tv_usec = DRAIN_LOOK_US };
	struct worker *w = arg;
	struct settings *next = atomic_exchange(&w->next, NULL);
	eventfd_t n;

	(void)what;
	eventfd_read(fd, &n);
	if (next != NULL)
		use_settings(w, next);
	if (atomic_load(&w->stop) && w->drain_since_ms == 0) {
		w->drain_since_ms = monotonic_ms();
		server_stop(w->server);
		event_add(w->drain, &soon);
	}
}

void
worker_reload(struct worker *w, struct settings *settings)
{
	settings_unref(atomic_exchange(&w->next, settings_ref(settings)));
	eventfd_write(w->told_fd, 1);
}

void
worker_stop(struct worker *w)
{
	atomic_store(&w->stop, true);
	eventfd_write(w->told_fd, 1);
}

/* ---- making it ---- */

/* A loop of one thread needs no locks. With a list of changes a request costs three calls of epoll_ctl(), without it four. */
static struct event_base *
make_base(void)
{
	struct event_config *config = event_config_new();
	struct event_base *base = NULL;

	if (config != NULL && event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK) == 0 &&
	    event_config_set_flag(config, EVENT_BASE_FLAG_EPOLL_USE_CHANGELIST) == 0)
		base = event_base_new_with_config(config);
	if (config != NULL)
		event_config_free(config);
	return base;
}

static void
set_operator_handlers(struct worker *w)
{
	w->handlers[0] = (struct http_handler){ .path = SIGN_IN_PATH, .handle = sign_in_handle, .arg = w->op };
	admin_paths(w->op, w->backend, w->admin, w->handlers + 1);
	page_paths(w->handlers + 1 + ADMIN_PATHS);
	w->n_handlers = HANDLERS;
}

static void
set_auth_handlers(struct worker *w)
{
	w->auth = (struct auth){ .backend = w->backend, .settings = w->settings };
	w->handlers[0] = (struct http_handler){
		.path = AUTH_PATH, .below = true, .no_body = true, .handle = auth_handle, .arg = &w->auth
	};
	w->handlers[1] = (struct http_handler){ .path = "/v1/verify", .handle = verify_handle, .arg = w->backend };
	w->handlers[2] =
	    (struct http_handler){ .path = "/v1/verify-batch", .handle = verify_batch_handle, .arg = w->backend };
	w->n_handlers = AUTH_HANDLERS;
}

static void
set_handlers(struct worker *w)
{
	if (w->op != NULL)
		set_operator_handlers(w);
	else
		set_auth_handlers(w);
	w->metrics_handlers[0] =
	    (struct http_handler){ .path = "/livez", .no_body = true, .handle = health_live, .arg = w->backend };
	w->metrics_handlers[1] =
	    (struct http_handler){ .path = "/readyz", .no_body = true, .handle = health_ready, .arg = w->backend };
	w->metrics_handlers[2] =
	    (struct http_handler){ .path = "/metrics", .no_body = true, .handle = health_metrics, .arg = w->backend };
}

static int
listen_all(struct worker *w, const struct worker_sockets *sockets)
{
	for (size_t i = 0; i < w->settings->n_listen; i++)
		if (server_listen(w->server, sockets->listen[i], w->handlers, w->n_handlers) != 0)
			return -1;
	if (sockets->metrics < 0)
		return 0;
	return server_listen(w->server, sockets->metrics, w->metrics_handlers, METRICS_HANDLERS);
}

static int
make_events(struct worker *w)
{
	w->told = event_new(w->base, w->told_fd, EV_READ | EV_PERSIST, on_told, w);
	w->drain = event_new(w->base, -1, EV_PERSIST, on_drain, w);
	return w->told != NULL && w->drain != NULL && event_add(w->told, NULL) == 0 ? 0 : -1;
}

/* Nothing to make in the role auth. */
static int
make_operator(struct worker *w, char *why, size_t why_len)
{
	struct operator_role *op;

	if (w->settings->role != ROLE_OPERATOR)
		return 0;
	if ((op = calloc(1, sizeof(*op))) == NULL || operator_init(op, w->settings, why, why_len) != 0) {
		free(op);
		return -1;
	}
	w->op = op;
	return 0;
}

int
worker_new(struct settings *settings, struct server_shared *shared, const struct worker_sockets *sockets,
    struct worker **out, char *why, size_t why_len)
{
	struct worker *w = calloc(1, sizeof(*w));

	snprintf(why, why_len, "out of memory, or of descriptors");
	if (w == NULL)
		return -1;
	w->settings = settings_ref(settings);
	w->told_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (w->told_fd >= 0 && (w->base = make_base()) != NULL &&
	    backend_new(w->base, settings, &w->backend, why, why_len) == 0 &&
	    server_new(w->base, shared, &w->server) == 0 && make_events(w) == 0 &&
	    make_operator(w, why, why_len) == 0) {
		set_handlers(w);
		if (listen_all(w, sockets) == 0) {
			*out = w;
			return 0;
		}
	}
	worker_free(w);
	return -1;
}

static void *
run(void *arg)
{
	struct worker *w = arg;

	event_base_dispatch(w->base);
	return NULL;
}

int
worker_start(struct worker *w, char *why, size_t why_len)
{
	int rc = pthread_create(&w->thread, NULL, run, w);

	if (rc != 0)
		snprintf(why, why_len, "cannot start a thread: %s", strerror(rc));
	w->started = rc == 0;
	return rc == 0 ? 0 : -1;
}

void
worker_free(struct worker *w)
{
	if (w->started)
		pthread_join(w->thread, NULL);
	/* The connections before the calls that answer them: a late answer goes nowhere. */
	if (w->server != NULL)
		server_free(w->server);
	backend_free(w->backend);
	if (w->op != NULL)
		operator_fini(w->op);
	free(w->op);
	if (w->told != NULL)
		event_free(w->told);
	if (w->drain != NULL)
		event_free(w->drain);
	if (w->base != NULL)
		event_base_free(w->base);
	if (w->told_fd >= 0)
		close(w->told_fd);
	settings_unref(atomic_load(&w->next));
	settings_unref(w->settings);
	free(w);
}
