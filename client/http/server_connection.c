/*
 * server_connection.c - connections: their number, and how long each may take. evhttp has no limit for either. It tells
 * of a connection by its bufferevent only, so that is where ours begin; that they end is told by evhttp's close
 * callback.
 */
#include "client/http/server_internal.h"

#include <event2/listener.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

/* The head of one request is in few pieces of memory. */
#define PIECES 16
/* Connections that one listener accepts in one turn of the loop. */
#define FRESH_MAX 32

static int64_t
now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* ---- states ---- */

static struct connections *
list_of(struct connection *c)
{
	struct server *server = c->listener->server;

	if (c->state == CONNECTION_NEW)
		return &server->fresh;
	if (c->state == CONNECTION_LAST)
		return &server->last;
	return c->state == CONNECTION_IDLE || c->state == CONNECTION_READING ? &server->quiet : &server->busy;
}

void
connection_enter(struct connection *c, enum connection_state state)
{
	struct connections *from = list_of(c), *to;
	struct server *server = c->listener->server;

	c->state = state;
	c->since_ms = now_ms();
	if (state == CONNECTION_IDLE && c->early > 1)
		event_add(c->readable, NULL);
	if (state == CONNECTION_IDLE)
		c->early = 0;
	to = list_of(c);
	if (from == to)
		return;
	TAILQ_REMOVE(from, c, entry);
	TAILQ_INSERT_TAIL(to, c, entry);
	if (to == &server->busy)
		server->n_busy++;
	if (from == &server->busy)
		server->n_busy--;
}

/* ---- bytes come in ---- */

static void
scan_input(struct connection *c, struct evbuffer *input, size_t from, size_t n)
{
	struct evbuffer_iovec pieces[PIECES];
	struct evbuffer_ptr at;
	int n_pieces;

	if (evbuffer_ptr_set(input, &at, from, EVBUFFER_PTR_SET) != 0)
		return;
	n_pieces = evbuffer_peek(input, (ev_ssize_t)n, &at, pieces, PIECES);
	if (n_pieces > PIECES) {
		c->scan.why = "the head is in too many pieces";
		return;
	}
	for (int i = 0; i < n_pieces && n > 0; i++) {
		size_t len = pieces[i].iov_len < n ? pieces[i].iov_len : n;

		head_scan(&c->scan, pieces[i].iov_base, len);
		n -= len;
	}
}

/* evhttp takes lines out of the buffer later, after this. */
static void
on_bytes(struct evbuffer *input, const struct evbuffer_cb_info *info, void *arg)
{
	struct connection *c = arg;

	if (info->n_added == 0)
		return;
	if (c->state == CONNECTION_IDLE) {
		memset(&c->scan, 0, sizeof(c->scan));
		connection_enter(c, CONNECTION_READING);
	}
	if (c->state == CONNECTION_READING && !c->scan.ended)
		scan_input(c, input, info->orig_size, info->n_added);
}

/*
 * evhttp stops reading at each request, and starts again after the reply. This event of ours is there all the time, so
 * the descriptor stays in epoll's set and each of both saves a call of epoll_ctl(). It is dropped only while bytes wait
 * that are not to be read yet; that it is called once after they were read is no sign of that.
 */
static void
on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct connection *c = arg;

	(void)fd;
	(void)what;
	if (c->state != CONNECTION_IDLE && c->state != CONNECTION_READING && ++c->early == 2)
		event_del(c->readable);
}

/* ---- the beginning and the end ---- */

static void
on_close(struct evhttp_connection *evhttp, void *arg)
{
	struct connection *c = arg;
	struct server *server = c->listener->server;

	(void)evhttp;
	server_forget(server, c);
	evbuffer_remove_cb(bufferevent_get_input(c->bev), on_bytes, c);
	if (c->exchange != NULL)
		c->exchange->connection = NULL;
	if (c->readable != NULL)
		event_free(c->readable);
	if (list_of(c) == &server->busy)
		server->n_busy--;
	TAILQ_REMOVE(list_of(c), c, entry);
	atomic_fetch_sub(&server->shared->open, 1);
	free(c);
}

void
connection_close(struct connection *c)
{
	evhttp_connection_free(c->evhttp);
}

/*
 * evhttp finishes the connection after this; it is looked at again in connections_changed(), in the same turn of the
 * loop.
 */
struct bufferevent *
connection_make(struct event_base *base, void *arg)
{
	struct listener *listener = arg;
	struct bufferevent *bev = bufferevent_socket_new(base, -1, BEV_OPT_CLOSE_ON_FREE);
	struct connection *c = calloc(1, sizeof(*c));

	if (bev == NULL || c == NULL) {
		free(c);
		return bev; /* a connection that is not known here gets no answer */
	}
	bufferevent_incref(bev);
	c->listener = listener;
	c->bev = bev;
	TAILQ_INSERT_TAIL(&listener->server->fresh, c, entry);
	/* libevent would accept for as long as connections come, and nobody else would have a turn. */
	if (++listener->n_fresh == FRESH_MAX)
		evconnlistener_disable(evhttp_bound_socket_get_listener(listener->bound));
	event_active(listener->server->changed, EV_TIMEOUT, 0);
	return bev;
}

/* One more than may be: the one that has been quiet for longest goes, which is the new one if all others are busy. */
static void
make_room(struct server *server)
{
	if (atomic_load(&server->shared->open) > server->shared->connections && !TAILQ_EMPTY(&server->quiet))
		connection_close(TAILQ_FIRST(&server->quiet));
}

static void
begin(struct connection *c)
{
	struct server *server = c->listener->server;
	struct sockaddr_storage address = { 0 };
	socklen_t len = sizeof(address);
	int fd = bufferevent_getfd(c->bev);

	server_count(server->shared);
	evhttp_connection_set_closecb(c->evhttp, on_close, c);
	evbuffer_add_cb(bufferevent_get_input(c->bev), on_bytes, c);
	c->readable = event_new(server->base, fd, EV_READ | EV_PERSIST, on_readable, c);
	connection_enter(c, CONNECTION_IDLE);
	if (fd < 0 || c->readable == NULL || event_add(c->readable, NULL) != 0 || server_remember(server, c, fd) != 0 || server->stopping ||
	    getpeername(fd, (struct sockaddr *)&address, &len) != 0) {
		connection_close(c);
		return;
	}
	c->peer = peer_of(&address);
	make_room(server);
}

static void
begin_fresh(struct connection *c)
{
	struct bufferevent *bev = c->bev;
	void *owner = NULL;

	/* evhttp's callbacks have its connection as their argument; there is no other way to it. */
	bufferevent_getcb(bev, NULL, NULL, NULL, &owner);
	if ((c->evhttp = owner) != NULL)
		begin(c);
	else {
		TAILQ_REMOVE(&c->listener->server->fresh, c, entry);
		free(c);
	}
	bufferevent_decref(bev);
}

static void
accept_again(struct server *server)
{
	struct listener *l;

	TAILQ_FOREACH(l, &server->listeners, entry)
	{
		if (l->n_fresh >= FRESH_MAX && l->bound != NULL)
			evconnlistener_enable(evhttp_bound_socket_get_listener(l->bound));
		l->n_fresh = 0;
	}
}

void
connections_changed(evutil_socket_t fd, short what, void *arg)
{
	struct server *server = arg;

	(void)fd;
	(void)what;
	while (!TAILQ_EMPTY(&server->fresh))
		begin_fresh(TAILQ_FIRST(&server->fresh));
	while (!TAILQ_EMPTY(&server->last))
		connection_close(TAILQ_FIRST(&server->last));
	accept_again(server);
}

/* ---- the sweep ---- */

static void
close_overdue(struct connections *list, int64_t now)
{
	struct connection *c, *next;

	for (c = TAILQ_FIRST(list); c != NULL; c = next) {
		int64_t limit_s = c->state == CONNECTION_IDLE ? SERVER_IDLE_S : SERVER_REQUEST_S;

		next = TAILQ_NEXT(c, entry);
		/* A handler's time is libfob's deadline. */
		if (c->state != CONNECTION_HANDLING && now - c->since_ms >= limit_s * 1000)
			connection_close(c);
	}
}

void
connections_sweep(evutil_socket_t fd, short what, void *arg)
{
	struct server *server = arg;
	int64_t now = now_ms();

	(void)fd;
	(void)what;
	close_overdue(&server->quiet, now);
	close_overdue(&server->busy, now);
	server_trim(server->shared);
}
