/*
 * server_memory.c - connections by their descriptor, and what a crowd of them leaves in the heap (see
 * server_internal.h).
 */
#include "client/http/server_internal.h"

#include <malloc.h>
#include <stdlib.h>
#include <string.h>

#define DESCRIPTORS_LEAST 64
#define CROWD_LEAST 512

static void
nothing(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	(void)arg;
}

/*
 * libevent keeps some bytes for each descriptor number that it has met, for good. They are made here, many in a row:
 * made when a connection comes, each would keep the page of the heap in which the connection was. The event is gone
 * before epoll hears of it.
 */
static void
meet_descriptors(struct server *server, size_t from, size_t to)
{
	struct event *event = event_new(server->base, -1, 0, nothing, NULL);

	if (event == NULL)
		return;
	for (size_t fd = from; fd < to; fd++)
		if (event_assign(event, server->base, (evutil_socket_t)fd, EV_READ, nothing, NULL) == 0 &&
		    event_add(event, NULL) == 0)
			event_del(event);
	event_free(event);
}

static int
grow(struct server *server, size_t fd)
{
	size_t n = server->n_by_fd > 0 ? server->n_by_fd : DESCRIPTORS_LEAST;
	struct connection **grown;

	while (n <= fd)
		n *= 2;
	if ((grown = realloc(server->by_fd, n * sizeof(*grown))) == NULL)
		return -1;
	memset(grown + server->n_by_fd, 0, (n - server->n_by_fd) * sizeof(*grown));
	meet_descriptors(server, fd + 1, n);
	server->by_fd = grown;
	server->n_by_fd = n;
	return 0;
}

int
server_remember(struct server *server, struct connection *c, int fd)
{
	if ((size_t)fd >= server->n_by_fd && grow(server, (size_t)fd) != 0)
		return -1;
	server->by_fd[fd] = c;
	return 0;
}

void
server_forget(struct server *server, const struct connection *c)
{
	int fd = bufferevent_getfd(c->bev);

	if (fd >= 0 && (size_t)fd < server->n_by_fd && server->by_fd[fd] == c)
		server->by_fd[fd] = NULL;
}

struct connection *
connection_find(const struct server *server, struct evhttp_connection *evhttp)
{
	int fd = bufferevent_getfd(evhttp_connection_get_bufferevent(evhttp));

	return fd >= 0 && (size_t)fd < server->n_by_fd ? server->by_fd[fd] : NULL;
}

void
server_count(struct server_shared *shared)
{
	unsigned open = atomic_fetch_add(&shared->open, 1) + 1, most = atomic_load(&shared->most);

	while (open > most && !atomic_compare_exchange_weak(&shared->most, &most, open))
		continue;
}

void
server_trim(struct server_shared *shared)
{
	unsigned open = atomic_load(&shared->open), most = atomic_load(&shared->most);

	if (most >= CROWD_LEAST && open < most / 2 && atomic_compare_exchange_strong(&shared->most, &most, open))
		malloc_trim(0);
}
