/*
 * listen.c - nng sockets and contexts: receive, dispatch, send (see listen.h). Called by main.c; calls dispatch.c with
 * bytes, and is called back with bytes. The only file of the daemon, beside nng_quirks.c, that knows nng; it knows nothing
 * of keys.
 *
 * Each context goes round: receiving, working, sending. A verify is answered on the thread that received it; a mutation
 * comes back on its writer's. service/DESIGN.md has the reasons for the options that are set here.
 */
#include "service/listen_internal.h"

#include <assert.h>
#include <errno.h>
#include <malloc.h>
#include <nng/protocol/reqrep0/rep.h>
#include <poll.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "service/descriptors.h"
#include "service/dispatch.h"
#include "service/log.h"
#include "service/nng_quirks.h"
#include "service/probe.h"
#include "service/socket_file.h"

/* Beyond our limit, so that a request that is too long is told so; longer still, and its connection is closed. */
#define RECEIVE_MAX (4 * LIMIT_REQUEST)
#define FLUSH_MS 250 /* a completed send is queued, not sent */

/* ---- a request's way ---- */

void
listen_receive(struct context *c)
{
	c->state = CONTEXT_RECEIVING;
	nng_aio_set_timeout(c->aio, NNG_DURATION_INFINITE);
	nng_ctx_recv(c->ctx, c->aio);
}

static void
wipe_and_free(nng_msg *msg)
{
	if (msg == NULL)
		return;
	sodium_memzero(nng_msg_body(msg), nng_msg_len(msg));
	nng_msg_free(msg);
}

static void
leave(struct context *c)
{
	pipes_leave(c->listener->transport->pipes, c->counted);
	c->counted = NULL;
}

/* The reply, from this thread or the writer's. */
static void
reply(struct call *call, const uint8_t *bytes, size_t len)
{
	struct context *c = call->arg;
	nng_msg *msg = c->msg;

	c->msg = NULL;
	pipes_replied(c->counted);
	sodium_memzero(nng_msg_body(msg), nng_msg_len(msg));
	nng_msg_clear(msg);
	if (nng_msg_append(msg, bytes, len) != 0) {
		/* No memory to say so: a closed connection is the answer that is left. */
		nng_msg_free(msg);
		call_done(call);
		nng_pipe_close(c->pipe);
		leave(c);
		listen_receive(c);
		return;
	}
	call_done(call);
	c->state = CONTEXT_SENDING;
	nng_aio_set_msg(c->aio, msg);
	nng_aio_set_timeout(c->aio, LIMIT_SEND_MS);
	nng_ctx_send(c->ctx, c->aio);
}

/* It does not take its replies, and would hold a context for each of them. */
static void
drop_connection(struct context *c)
{
	if (pipes_drop(c->counted))
		atomic_fetch_add(&c->listener->transport->dropped, 1);
	nng_pipe_close(c->pipe);
}

/* One whom the kernel does not name is nobody's user. */
static bool
may_ask(const struct config_listener *config, const struct peer *peer)
{
	for (size_t i = 0; i < config->n_allow_uids; i++)
		if (peer->known && peer->uid == config->allow_uids[i])
			return true;
	return config->n_allow_uids == 0;
}

static void
refuse_user(struct context *c)
{
	const struct peer *peer = &c->call.peer;
	char message[LIMIT_MESSAGE];

	LOG(LOG_WARN, "refused: not one of the listener's allow_users", LOG_S("url", c->listener->config->url),
	    LOG_I_IF(peer->known, "uid", peer->uid), LOG_I_IF(peer->known, "pid", peer->pid));
	snprintf(message, sizeof(message), "the user with number %ld is not one of this listener's allow_users",
	    peer->known ? (long)peer->uid : -1L);
	dispatch_refuse(&c->call, FAULT_PERMISSION_DENIED, message);
}

static void
received(struct context *c)
{
	struct transport *t = c->listener->transport;
	struct pipe_load load;
	unsigned in_flight;

	c->msg = nng_aio_get_msg(c->aio);
	nng_aio_set_msg(c->aio, NULL);
	c->pipe = nng_msg_get_pipe(c->msg);
	c->counted = pipes_enter(t->pipes, (uint32_t)nng_pipe_id(c->pipe), &load);
	c->call.peer = c->counted != NULL ? c->counted->peer : (struct peer){ 0 };
	c->state = CONTEXT_WORKING;
	in_flight = atomic_load(&t->service->config)->in_flight;
	if (load.in_flight > 2 * in_flight)
		drop_connection(c);
	if (load.working > in_flight)
		dispatch_refuse(
		    &c->call, FAULT_RESOURCE_EXHAUSTED, "too many requests of this connection are under way");
	else if (!may_ask(c->listener->config, &c->call.peer))
		refuse_user(c);
	else if (nng_msg_len(c->msg) > LIMIT_REQUEST)
		dispatch_refuse(&c->call, FAULT_INVALID_ARGUMENT, "the request is longer than 65536 bytes");
	else
		dispatch(&c->call, nng_msg_body(c->msg), nng_msg_len(c->msg), clock_boot_ms());
}

static void
sent(struct context *c, int rc)
{
	if (rc != 0) {
		wipe_and_free(nng_aio_get_msg(c->aio));
		nng_aio_set_msg(c->aio, NULL);
	}
	if (rc == NNG_ETIMEDOUT)
		drop_connection(c);
	leave(c);
}

static void
step(void *arg)
{
	struct context *c = arg;
	int rc = nng_aio_result(c->aio);

	if (c->state == CONTEXT_RECEIVING && rc == 0) {
		received(c);
		return;
	}
	if (c->state == CONTEXT_SENDING)
		sent(c, rc);
	/* Only our own close ends a context. nng cancels a receive now and then that has no timeout (its expiry thread takes
	 * a batch, and an aio in it may have been used again): whatever else went wrong, receive again. */
	if (rc != NNG_ECLOSED && rc != NNG_ECANCELED)
		listen_receive(c);
}

static void
count_transport(void *arg, struct transport_counters *out)
{
	struct transport *t = arg;
	struct nng_quirks_stats quirks;

	nng_quirks_stats(&quirks);
	*out = (struct transport_counters){
		.connections = pipes_count(t->pipes),
		.open_descriptors = descriptors_count(),
		.connections_refused = t->refused,
		.connections_dropped = t->dropped,
		.listener_restarts = t->restarts,
		.nng_corrections = quirks.epipe + quirks.refused_send + quirks.refused_recv,
	};
	for (size_t i = 0; i < t->n_listeners; i++)
		for (unsigned j = 0; j < t->listeners[i].n_contexts; j++)
			out->in_flight += t->listeners[i].contexts[j].state != CONTEXT_RECEIVING;
}

/* ---- opening ---- */

int
listen_start(struct listener *l, char *why, size_t why_len)
{
	const char *path = probe_ipc_path(l->config->url);
	int rc;

	if (path != NULL && socket_file_check(path, why, why_len) != 0)
		return -1;
	if ((rc = nng_listener_create(&l->listener, l->socket, l->config->url)) != 0)
		goto err0;
	if ((rc = nng_listener_set_size(l->listener, NNG_OPT_RECVMAXSZ, RECEIVE_MAX)) != 0)
		goto err1;
	if (path != NULL) {
		rc = nng_listener_set_int(l->listener, NNG_OPT_IPC_PERMISSIONS, (int)l->config->mode);
	} else if ((rc = nng_listener_set_bool(l->listener, NNG_OPT_TCP_NODELAY, true)) == 0) {
		rc = nng_listener_set_bool(l->listener, NNG_OPT_TCP_KEEPALIVE, true);
	}
	if (rc != 0)
		goto err1;
	if (listen_is_tls(l->config) && listen_tls_set(l, why, why_len) != 0) {
		nng_listener_close(l->listener);
		return -1;
	}
	if ((rc = nng_listener_start(l->listener, 0)) != 0)
		goto err1;
	if (path != NULL && socket_file_made(l->config, path, why, why_len) != 0) {
		nng_listener_close(l->listener);
		return -1;
	}
	return 0;

err1:
	nng_listener_close(l->listener);
err0:
	snprintf(why, why_len, "%s: cannot listen: %s", l->config->url,
	    rc == NNG_EADDRINUSE ? "the address is in use by another program" : nng_strerror(rc));
	return -1;
}

int
listen_contexts_open(struct listener *l)
{
	int rc;

	if ((l->contexts = calloc(l->config->contexts, sizeof(l->contexts[0]))) == NULL)
		return NNG_ENOMEM;
	for (unsigned i = 0; i < l->config->contexts; i++) {
		struct context *c = &l->contexts[i];

		c->listener = l;
		if (call_init(&c->call, l->transport->service, l->config->role, reply, c) != 0)
			return NNG_ENOMEM;
		l->n_contexts++;
		if ((rc = nng_aio_alloc(&c->aio, step, c)) != 0 || (rc = nng_ctx_open(&c->ctx, l->socket)) != 0)
			return rc;
	}
	return 0;
}

static int
open_listener(struct transport *t, const struct config_listener *config, char *why, size_t why_len)
{
	struct listener *l = &t->listeners[t->n_listeners];
	int rc;

	*l = (struct listener){ .transport = t, .config = config };
	if ((rc = nng_rep0_open(&l->socket)) != 0)
		goto err;
	t->n_listeners++;
	/* No device in between: a request has come over one hop. */
	if ((rc = nng_socket_set_int(l->socket, NNG_OPT_MAXTTL, 1)) != 0 ||
	    (rc = nng_pipe_notify(l->socket, NNG_PIPE_EV_ADD_PRE, listen_pipe_event, t)) != 0 ||
	    (rc = nng_pipe_notify(l->socket, NNG_PIPE_EV_REM_POST, listen_pipe_event, t)) != 0 ||
	    (rc = listen_contexts_open(l)) != 0)
		goto err;
	if (listen_start(l, why, why_len) != 0)
		return -1;
	LOG(LOG_INFO, "listening", LOG_S("url", config->url),
	    LOG_S("role", config->role == ROLE_ADMIN ? "admin" : "verify"));
	if (config->insecure)
		LOG(LOG_WARN,
		    "administration over plain TCP: whoever reaches this address may roll and revoke keys, and read "
		    "new ones on the way",
		    LOG_S("url", config->url));
	return 0;
err:
	snprintf(why, why_len, "%s: cannot listen: %s", config->url, nng_strerror(rc));
	return -1;
}

/* Let Stats see the tallies of all contexts, before the first of them counts. */
static int
gather_tallies(struct transport *t)
{
	struct service *s = t->service;
	size_t n = 0;

	for (size_t i = 0; i < t->n_listeners; i++)
		n += t->listeners[i].n_contexts;
	if ((t->tallies = calloc(n, sizeof(t->tallies[0]))) == NULL)
		return -1;
	s->tallies = t->tallies;
	s->n_tallies = 0;
	for (size_t i = 0; i < t->n_listeners; i++)
		for (unsigned j = 0; j < t->listeners[i].n_contexts; j++)
			t->tallies[s->n_tallies++] = &t->listeners[i].contexts[j].call.tally;
	s->count_transport = count_transport;
	s->count_arg = t;
	return 0;
}

int
listen_open(struct service *service, const struct config *config, struct transport **out, char *why, size_t why_len)
{
	struct transport *t;

	dispatch_check();
	if ((t = calloc(1, sizeof(*t))) == NULL || (t->pipes = pipes_new(config->connections)) == NULL) {
		free(t);
		snprintf(why, why_len, "out of memory");
		return -1;
	}
	if (arrivals_start(arrivals_most(config->connections)) != 0) {
		snprintf(why, why_len, "cannot watch connections: %s", strerror(errno));
		pipes_free(t->pipes);
		free(t);
		return -1;
	}
	t->service = service;
	t->config = config;
	for (size_t i = 0; i < config->n_listeners; i++) {
		if (open_listener(t, &config->listeners[i], why, why_len) != 0) {
			listen_close(t);
			return -1;
		}
	}
	if (gather_tallies(t) != 0) {
		listen_close(t);
		snprintf(why, why_len, "out of memory");
		return -1;
	}
	for (size_t i = 0; i < t->n_listeners; i++)
		for (unsigned j = 0; j < t->listeners[i].n_contexts; j++)
			listen_receive(&t->listeners[i].contexts[j]);
	*out = t;
	return 0;
}

/* ---- who is done with what was replaced ---- */

void
listen_mark(struct transport *t)
{
	for (size_t i = 0; i < t->n_listeners; i++)
		for (unsigned j = 0; j < t->listeners[i].n_contexts; j++)
			t->listeners[i].contexts[j].passed = false;
}

bool
listen_passed(struct transport *t)
{
	bool all = true;

	for (size_t i = 0; i < t->n_listeners; i++) {
		for (unsigned j = 0; j < t->listeners[i].n_contexts; j++) {
			struct context *c = &t->listeners[i].contexts[j];

			c->passed = c->passed || c->state != CONTEXT_WORKING;
			all = all && c->passed;
		}
	}
	return all;
}

/* ---- closing ---- */

static void
sleep_ms(long ms)
{
	struct timespec ts = { .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000 };

	nanosleep(&ts, NULL);
}

/*
 * A context that is seen receiving, or sending, after `draining` was set works on no request that might still reach a
 * database: the next one that it gets is refused.
 */
static bool
wait_worked(struct context *c, int64_t until_ms)
{
	while (c->state == CONTEXT_WORKING) {
		if (clock_boot_ms() >= until_ms)
			return false;
		sleep_ms(1);
	}
	return true;
}

int
listen_drain(struct transport *t, uint32_t drain_ms)
{
	int64_t until_ms = clock_boot_ms() + drain_ms;

	t->service->draining = true;
	for (size_t i = 0; i < t->n_listeners; i++)
		for (unsigned j = 0; j < t->listeners[i].n_contexts; j++)
			if (!wait_worked(&t->listeners[i].contexts[j], until_ms))
				return -1;
	for (size_t i = 0; i < t->n_listeners; i++) {
		for (unsigned j = 0; j < t->listeners[i].n_contexts; j++) {
			struct call *call = &t->listeners[i].contexts[j].call;

			for (int e = 0; e < ENVIRONMENTS; e++) {
				store_txn_free(call->readers[e]);
				call->readers[e] = NULL;
			}
		}
	}
	return 0;
}

/*
 * Before the socket is closed: libnng frees it as soon as the last call into a context is over, and that call looks at it once
 * more after it has said so (nni_ctx_rele, 1.5.2 to 1.9). Once stopped, no callback runs, and none begins anything.
 */
void
listen_contexts_stop(struct listener *l)
{
	for (unsigned i = 0; i < l->n_contexts; i++)
		if (l->contexts[i].aio != NULL)
			nng_aio_stop(l->contexts[i].aio);
}

void
listen_contexts_free(struct listener *l)
{
	for (unsigned i = 0; i < l->n_contexts; i++) {
		struct context *c = &l->contexts[i];

		if (c->aio != NULL) {
			/* A reply that nng gave back unsent, or a request that came in the last moment. */
			wipe_and_free(nng_aio_get_msg(c->aio));
			nng_aio_free(c->aio);
		}
		wipe_and_free(c->msg);
		call_fini(&c->call);
	}
	free(l->contexts);
}

void
listen_close(struct transport *t)
{
	if (t == NULL)
		return;
	if (pipes_count(t->pipes) > 0)
		sleep_ms(FLUSH_MS);
	for (size_t i = 0; i < t->n_listeners; i++)
		listen_contexts_stop(&t->listeners[i]);
	for (size_t i = 0; i < t->n_listeners; i++) {
		nng_close(t->listeners[i].socket);
		listen_contexts_free(&t->listeners[i]);
		listen_tls_free(t->listeners[i].tls);
		listen_tls_free(t->listeners[i].old_tls);
	}
	t->service->tallies = NULL;
	t->service->n_tallies = 0;
	t->service->count_transport = NULL;
	arrivals_stop();
	free(t->tallies);
	pipes_free(t->pipes);
	free(t);
}
