/*
 * fake_server.h - a server for tests of the client, over a unix socket: it answers, stays silent, closes within a
 * reply, or comes back, as the test wants. It speaks SP by sp.h and shares no code with libfob.
 *
 * One thread per connection reads requests and calls the test's handler.
 */
#ifndef FAKE_SERVER_H
#define FAKE_SERVER_H

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "fob/rpc/v1/rpc.pb-c.h"
#include "tests/lib/sp.h"

#define FAKE_CONNECTIONS 1024

struct fake;

struct fake_connection {
	struct fake *fake;
	int fd;
	pthread_t thread;
	pthread_mutex_t mutex; /* one reply at a time */
};

struct fake_request {
	struct fake_connection *connection;
	uint8_t id[SP_ID];
	char method[64];
	uint32_t timeout_ms;
	char traceparent[64], on_behalf_of[FOB_ON_BEHALF_OF_SIZE];
	const uint8_t *body; /* until the handler returns */
	size_t body_len;
	unsigned n; /* the first is 0 */
};

/* Returns false to close the connection. */
typedef bool (*fake_handler)(void *arg, struct fake_request *request);

struct fake {
	char dir[64], path[80], address[96];
	fake_handler handler;
	void *arg;
	int fd;
	pthread_t thread;

	pthread_mutex_t mutex;
	pthread_cond_t changed;
	unsigned received; /* requests, since fake_init() */
	unsigned n;        /* connections, since fake_start() */
	unsigned slam;     /* so many connections are first accepted and closed at once */
	struct fake_connection connections[FAKE_CONNECTIONS];
};

static inline bool
fake_send_raw(struct fake_connection *c, const uint8_t id[SP_ID], const void *p, size_t len, uint64_t says)
{
	bool ok;

	pthread_mutex_lock(&c->mutex);
	ok = sp_send(c->fd, id, p, len, says);
	pthread_mutex_unlock(&c->mutex);
	return ok;
}

static inline bool
fake_reply(
    struct fake_connection *c, const uint8_t id[SP_ID], int code, const char *message, const ProtobufCMessage *inner)
{
	Fob__Rpc__V1__Response m = FOB__RPC__V1__RESPONSE__INIT;
	uint8_t *body = NULL, *all;
	size_t len;
	bool ok;

	m.code = (Fob__Rpc__V1__Code)code;
	if (message != NULL) {
		m.message.data = (uint8_t *)(uintptr_t)message;
		m.message.len = strlen(message);
	}
	if (inner != NULL) {
		body = malloc(protobuf_c_message_get_packed_size(inner) + 1);
		assert(body != NULL);
		m.body.len = protobuf_c_message_pack(inner, body);
		m.body.data = body;
	}
	len = fob__rpc__v1__response__get_packed_size(&m);
	all = malloc(len + 1);
	assert(all != NULL);
	fob__rpc__v1__response__pack(&m, all);
	ok = fake_send_raw(c, id, all, len, len);
	free(all);
	free(body);
	return ok;
}

static inline bool
fake_serve_one(struct fake_connection *c, const uint8_t id[SP_ID], const uint8_t *message, size_t len)
{
	struct fake_request q = { .connection = c };
	struct fake *f = c->fake;
	Fob__Rpc__V1__Request *m;
	bool stay;

	memcpy(q.id, id, SP_ID);
	m = fob__rpc__v1__request__unpack(NULL, len, message);
	assert(m != NULL && m->method.len < sizeof(q.method));
	memcpy(q.method, m->method.data, m->method.len);
	q.timeout_ms = m->timeout_ms;
	assert(m->traceparent.len < sizeof(q.traceparent));
	if (m->traceparent.len > 0)
		memcpy(q.traceparent, m->traceparent.data, m->traceparent.len);
	assert(m->on_behalf_of.len < sizeof(q.on_behalf_of));
	if (m->on_behalf_of.len > 0)
		memcpy(q.on_behalf_of, m->on_behalf_of.data, m->on_behalf_of.len);
	q.body = m->body.data;
	q.body_len = m->body.len;
	pthread_mutex_lock(&f->mutex);
	q.n = f->received++;
	pthread_cond_broadcast(&f->changed);
	pthread_mutex_unlock(&f->mutex);
	stay = f->handler(f->arg, &q);
	fob__rpc__v1__request__free_unpacked(m, NULL);
	return stay;
}

static inline void *
fake_connection_run(void *arg)
{
	struct fake_connection *c = arg;
	uint8_t greeting[sizeof(sp_req)], id[SP_ID], *message;
	size_t len;
	bool stay;

	stay = sp_write(c->fd, sp_rep, sizeof(sp_rep)) && sp_read(c->fd, greeting, sizeof(greeting), -1);
	while (stay && (message = sp_receive(c->fd, id, 65536 - SP_ID, &len, -1)) != NULL) {
		stay = fake_serve_one(c, id, message, len);
		free(message);
	}
	shutdown(c->fd, SHUT_RDWR);
	return NULL;
}

static inline void *
fake_accept_run(void *arg)
{
	struct fake_connection *c;
	struct fake *f = arg;
	int fd;

	while ((fd = accept(f->fd, NULL, NULL)) >= 0) {
		pthread_mutex_lock(&f->mutex);
		if (f->slam > 0) {
			f->slam--;
			close(fd);
			pthread_mutex_unlock(&f->mutex);
			continue;
		}
		assert(f->n < FAKE_CONNECTIONS);
		c = &f->connections[f->n];
		c->fake = f;
		c->fd = fd;
		pthread_mutex_init(&c->mutex, NULL);
		pthread_create(&c->thread, NULL, fake_connection_run, c);
		f->n++;
		pthread_cond_broadcast(&f->changed);
		pthread_mutex_unlock(&f->mutex);
	}
	return NULL;
}

/* Make a folder and an address. Nothing listens there yet. */
static inline void
fake_init(struct fake *f, fake_handler handler, void *arg)
{
	const char *tmp = getenv("TMPDIR");

	memset(f, 0, sizeof(*f));
	f->handler = handler;
	f->arg = arg;
	pthread_mutex_init(&f->mutex, NULL);
	pthread_cond_init(&f->changed, NULL);
	snprintf(f->dir, sizeof(f->dir), "%s/fake-XXXXXX", tmp != NULL ? tmp : "/tmp");
	assert(mkdtemp(f->dir) != NULL); /* also when it was cut */
	snprintf(f->path, sizeof(f->path), "%s/s", f->dir);
	snprintf(f->address, sizeof(f->address), "ipc://%s", f->path);
}

static inline void
fake_start(struct fake *f)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };

	memcpy(a.sun_path, f->path, strlen(f->path));
	f->n = 0;
	f->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert(f->fd >= 0 && bind(f->fd, (struct sockaddr *)&a, sizeof(a)) == 0 && listen(f->fd, 64) == 0);
	pthread_create(&f->thread, NULL, fake_accept_run, f);
}

/* Close all connections and stop listening, as a killed server does. */
static inline void
fake_stop(struct fake *f)
{
	unsigned i;

	shutdown(f->fd, SHUT_RDWR);
	pthread_join(f->thread, NULL);
	close(f->fd);
	for (i = 0; i < f->n; i++) {
		shutdown(f->connections[i].fd, SHUT_RDWR);
		pthread_join(f->connections[i].thread, NULL);
		close(f->connections[i].fd);
		pthread_mutex_destroy(&f->connections[i].mutex);
	}
	unlink(f->path);
}

static inline void
fake_fini(struct fake *f)
{
	rmdir(f->dir);
	pthread_cond_destroy(&f->changed);
	pthread_mutex_destroy(&f->mutex);
}

static inline void
fake_wait_received(struct fake *f, unsigned n)
{
	pthread_mutex_lock(&f->mutex);
	while (f->received < n)
		pthread_cond_wait(&f->changed, &f->mutex);
	pthread_mutex_unlock(&f->mutex);
}

static inline unsigned
fake_received(struct fake *f)
{
	unsigned n;

	pthread_mutex_lock(&f->mutex);
	n = f->received;
	pthread_mutex_unlock(&f->mutex);
	return n;
}

#endif
