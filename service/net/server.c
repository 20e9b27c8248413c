/*
 * server.c - the sockets, opened and closed; reloads; what the threads share (see server.h).
 */
#include "service/net/server.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "service/base/log.h"
#include "service/net/internal.h"
#include "service/net/tls_context.h"
#include "service/rpc/dispatch.h"

#define FLUSH_MS 250 /* for the last replies to leave */
#define LINE_EVERY_MS 1000

/* ---- workspaces ---- */

static struct workspace *
workspace_new(struct server *server)
{
	struct workspace *ws;

	/* Not calloc(): most of it is never touched. */
	if ((ws = malloc(sizeof(*ws))) == NULL)
		return NULL;
	memset(ws, 0, offsetof(struct workspace, in));
	if (worker_init(&ws->worker, server->service) != 0) {
		free(ws);
		return NULL;
	}
	if (nng_aio_alloc(&ws->try_aio, NULL, NULL) != 0) {
		worker_fini(&ws->worker);
		free(ws);
		return NULL;
	}
	return ws;
}

static void
workspace_free(struct workspace *ws)
{
	nng_aio_free(ws->try_aio);
	buffer_free(&ws->out);
	buffer_free(&ws->plain);
	worker_fini(&ws->worker);
	free(ws);
}

struct workspace *
workspace_take(struct server *server)
{
	struct workspace *ws;

	pthread_mutex_lock(&server->idle_mutex);
	if ((ws = server->idle) != NULL) {
		server->idle = ws->next_idle;
	} else if ((ws = workspace_new(server)) != NULL) {
		ws->next = server->workspaces;
		server->workspaces = ws;
	}
	pthread_mutex_unlock(&server->idle_mutex);
	if (ws != NULL)
		ws->busy = true;
	return ws;
}

void
workspace_rest(struct workspace *ws)
{
	ws->busy = false;
}

void
workspace_give(struct server *server, struct workspace *ws)
{
	if (ws == NULL)
		return;
	workspace_rest(ws);
	pthread_mutex_lock(&server->idle_mutex);
	ws->next_idle = server->idle;
	server->idle = ws;
	pthread_mutex_unlock(&server->idle_mutex);
}

/* ---- lists ---- */

void
list_add(struct list *list, struct connection *c, enum place place)
{
	struct links *links = &c->links[place];

	if (links->listed)
		return;
	*links = (struct links){ .prev = list->last, .listed = true };
	if (list->last != NULL)
		list->last->links[place].next = c;
	else
		list->first = c;
	list->last = c;
	list->n++;
}

void
list_remove(struct list *list, struct connection *c, enum place place)
{
	struct links *links = &c->links[place];

	if (!links->listed)
		return;
	if (links->prev != NULL)
		links->prev->links[place].next = links->next;
	else
		list->first = links->next;
	if (links->next != NULL)
		links->next->links[place].prev = links->prev;
	else
		list->last = links->prev;
	*links = (struct links){ 0 };
	list->n--;
}

/* ---- small things that the files of this room share ---- */

bool
rate_limit_pass(struct rate_limit *limit, uint64_t *left_out)
{
	int64_t now_ms = clock_boot_ms(), next_ms = limit->next_ms;

	if (now_ms < next_ms || !atomic_compare_exchange_strong(&limit->next_ms, &next_ms, now_ms + LINE_EVERY_MS)) {
		atomic_fetch_add(&limit->left_out, 1);
		return false;
	}
	*left_out = atomic_exchange(&limit->left_out, 0);
	return true;
}

unsigned
descriptors_count(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned n = 0;

	if (dir == NULL)
		return 0;
	while (readdir(dir) != NULL)
		n++;
	closedir(dir);
	return n - 3; /* ".", ".." and the folder's own */
}

bool
server_holds_too_much(const struct server *server)
{
	return server->budget.held > LIMIT_BUFFERS + server->leaving;
}

void
server_relieve(struct server *server)
{
	struct connection *greediest = NULL;
	uint64_t left_out;
	size_t most = 0;

	pthread_mutex_lock(&server->mutex);
	/* Another thread may have closed one meanwhile. */
	if (server_holds_too_much(server))
		for (struct connection *c = server->all.first; c != NULL; c = c->links[PLACE_ALL].next)
			if (c->budget.held > most) {
				most = c->budget.held;
				greediest = c;
			}
	if (greediest != NULL)
		connection_ref(greediest);
	pthread_mutex_unlock(&server->mutex);
	if (greediest == NULL)
		return;
	if (rate_limit_pass(&server->relieved, &left_out))
		LOG(LOG_WARN, "all connections together hold too much: the one that holds the most is closed",
		    LOG_S("url", greediest->listener->config->url), LOG_I("bytes", greediest->budget.held),
		    LOG_PEER(&greediest->peer), LOG_I_IF(left_out > 0, "more", left_out));
	if (connection_close(greediest))
		atomic_fetch_add(&server->dropped, 1);
	connection_unref(greediest);
}

static void
count(void *arg, struct transport_counters *out)
{
	struct server *server = arg;

	*out = (struct transport_counters){
		.connections = server->live,
		.open_descriptors = descriptors_count(),
		.in_flight = server->service->changes,
		.connections_refused = server->refused,
		.connections_dropped = server->dropped,
	};
}

/* ---- opening ---- */

static int
init_locks(struct server *server)
{
	pthread_condattr_t attr;

	if (pthread_mutex_init(&server->mutex, NULL) != 0 || pthread_mutex_init(&server->idle_mutex, NULL) != 0 ||
	    pthread_condattr_init(&attr) != 0)
		return -1;
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&server->work, &attr);
	pthread_condattr_destroy(&attr);
	return 0;
}

int
server_open(struct service *service, const struct config *config, struct server **out, char *why, size_t why_len)
{
	struct server *server;

	dispatch_check();
	/* No file of OpenSSL's is read: what it may use is set here. */
	OPENSSL_init_ssl(OPENSSL_INIT_NO_LOAD_CONFIG, NULL);
	if ((server = calloc(1, sizeof(*server))) == NULL || init_locks(server) != 0) {
		free(server);
		snprintf(why, why_len, "out of memory");
		return -1;
	}
	server->service = service;
	server->config = config;
	server->ops =
	    (struct transport_ops){ .admit = send_admit, .reply = send_reply, .count = count, .count_arg = server };
	service->transport = &server->ops;
	for (size_t i = 0; i < config->n_listeners; i++) {
		struct listener *l = &server->listeners[server->n_listeners++];

		l->server = server;
		l->config = &config->listeners[i];
		l->current = l->config;
		if (listener_open(l, why, why_len) != 0) {
			server_close(server);
			return -1;
		}
	}
	if (sweep_start(server) != 0) {
		server_close(server);
		snprintf(why, why_len, "out of memory");
		return -1;
	}
	for (size_t i = 0; i < server->n_listeners; i++)
		listener_accept(&server->listeners[i]);
	*out = server;
	return 0;
}

/* ---- a reload ---- */

static const struct config_listener *
find_in(const struct config *config, const struct listener *l)
{
	for (size_t i = 0; i < config->n_listeners; i++)
		if (strcmp(config->listeners[i].url, l->config->url) == 0)
			return &config->listeners[i];
	return NULL;
}

static bool
same_users(const struct config_listener *a, const struct config_listener *b)
{
	return a->n_allow_uids == b->n_allow_uids &&
	    memcmp(a->allow_uids, b->allow_uids, a->n_allow_uids * sizeof(a->allow_uids[0])) == 0;
}

/* Connections stay open, and each of their requests is judged anew. */
static void
allow(struct listener *l, const struct config_listener *current)
{
	bool changed = !same_users(l->current, current);

	l->current = current;
	if (changed)
		LOG(LOG_INFO, "requests are answered by the new allow_users", LOG_S("url", l->config->url),
		    LOG_I("users", current->n_allow_uids));
}

static void
swap_tls(struct listener *l, SSL_CTX *tls)
{
	SSL_CTX *old = l->tls;

	pthread_mutex_lock(&l->server->mutex);
	l->tls = tls;
	pthread_mutex_unlock(&l->server->mutex);
	/* Sessions have references of their own. */
	SSL_CTX_free(old);
	LOG(LOG_INFO, "new connections get the TLS files as they are now", LOG_S("url", l->config->url));
}

int
server_reload(struct server *server, const struct config *config, char *why, size_t why_len)
{
	SSL_CTX *fresh[LIMIT_LISTENERS] = { NULL };
	const struct config_listener *now;

	for (size_t i = 0; i < server->n_listeners; i++) {
		now = find_in(config, &server->listeners[i]);
		if (server->listeners[i].tls == NULL || now == NULL ||
		    tls_context_new(now, &fresh[i], why, why_len) == 0)
			continue;
		for (size_t j = 0; j < i; j++)
			SSL_CTX_free(fresh[j]);
		return -1;
	}
	for (size_t i = 0; i < server->n_listeners; i++) {
		if (fresh[i] != NULL)
			swap_tls(&server->listeners[i], fresh[i]);
		if ((now = find_in(config, &server->listeners[i])) != NULL)
			allow(&server->listeners[i], now);
	}
	return 0;
}

bool
server_uses(const struct server *server, const struct config *config)
{
	for (size_t i = 0; i < server->n_listeners; i++)
		for (size_t j = 0; j < config->n_listeners; j++)
			if (server->listeners[i].current == &config->listeners[j])
				return true;
	return false;
}

/* A workspace that comes later begins with what there is by then. */
void
server_mark(struct server *server)
{
	pthread_mutex_lock(&server->idle_mutex);
	for (struct workspace *ws = server->workspaces; ws != NULL; ws = ws->next)
		ws->passed = false;
	pthread_mutex_unlock(&server->idle_mutex);
}

bool
server_passed(struct server *server)
{
	bool all = true;

	pthread_mutex_lock(&server->idle_mutex);
	for (struct workspace *ws = server->workspaces; ws != NULL; ws = ws->next) {
		ws->passed = ws->passed || !ws->busy;
		all = all && ws->passed;
	}
	pthread_mutex_unlock(&server->idle_mutex);
	return all;
}

/* Workers may answer requests of the other environment meanwhile: they do not touch this one's transaction. */
void
server_free_readers(struct server *server, enum environment environment)
{
	pthread_mutex_lock(&server->idle_mutex);
	for (struct workspace *ws = server->workspaces; ws != NULL; ws = ws->next)
		worker_free_reader(&ws->worker, environment);
	pthread_mutex_unlock(&server->idle_mutex);
}

/* ---- closing ---- */

static void
sleep_ms(long ms)
{
	struct timespec ts = { .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000 };

	nanosleep(&ts, NULL);
}

/*
 * A worker that is seen without a request after `draining` was set touches no database any more: it leaves its next
 * requests. Changes that were taken up before are the writers', until they are answered.
 */
int
server_drain(struct server *server, uint32_t drain_ms)
{
	int64_t until_ms = clock_boot_ms() + drain_ms;

	server->service->draining = true;
	server_mark(server);
	while (!server_passed(server) || server->service->changes > 0) {
		if (clock_boot_ms() >= until_ms)
			return -1;
		sleep_ms(1);
	}
	pthread_mutex_lock(&server->idle_mutex);
	for (struct workspace *ws = server->workspaces; ws != NULL; ws = ws->next)
		worker_free_readers(&ws->worker);
	pthread_mutex_unlock(&server->idle_mutex);
	return 0;
}

static bool
has_replies(struct server *server)
{
	bool has;

	pthread_mutex_lock(&server->mutex);
	has = server->flush.first != NULL || server->stalled.first != NULL;
	pthread_mutex_unlock(&server->mutex);
	return has;
}

static void
close_connections(struct server *server)
{
	struct connection *c;

	for (;;) {
		pthread_mutex_lock(&server->mutex);
		if ((c = server->all.first) != NULL)
			connection_ref(c);
		pthread_mutex_unlock(&server->mutex);
		if (c == NULL)
			return;
		connection_close(c);
		connection_unref(c);
	}
}

void
server_close(struct server *server)
{
	int64_t until_ms = clock_boot_ms() + FLUSH_MS;
	struct workspace *ws;

	if (server == NULL)
		return;
	while (has_replies(server) && clock_boot_ms() < until_ms)
		sleep_ms(1);
	pthread_mutex_lock(&server->mutex);
	server->closing = true;
	pthread_mutex_unlock(&server->mutex);
	for (size_t i = 0; i < server->n_listeners; i++)
		listener_close(&server->listeners[i]);
	close_connections(server);
	sweep_stop(server);
	for (size_t i = 0; i < server->n_listeners; i++)
		listener_free(&server->listeners[i]);
	server->service->transport = NULL;
	while ((ws = server->workspaces) != NULL) {
		server->workspaces = ws->next;
		workspace_free(ws);
	}
	call_free_spares(server->service);
	pthread_cond_destroy(&server->work);
	pthread_mutex_destroy(&server->idle_mutex);
	pthread_mutex_destroy(&server->mutex);
	free(server);
}
