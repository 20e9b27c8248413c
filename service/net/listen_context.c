/*
 * listen_context.c - a request's way: receive, have it answered, send. Called by nng, which has a message, and by
 * listen.c, which makes the contexts; calls dispatch.c with bytes, and is called back with bytes. It knows nothing of
 * keys.
 *
 * Each context goes round: receiving, working, sending. A verify is answered on the thread that received it; a
 * mutation comes back on its writer's.
 */
#include "service/net/listen_internal.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "service/rpc/dispatch.h"
#include "service/base/log.h"

void
listen_receive(struct context *c)
{
	c->state = CONTEXT_RECEIVING;
	nng_aio_set_timeout(c->aio, NNG_DURATION_INFINITE);
	nng_ctx_recv(c->ctx, c->aio);
}

/* ---- a request: to dispatch.c ---- */

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

static bool
same_users(const struct config_listener *a, const struct config_listener *b)
{
	return a->n_allow_uids == b->n_allow_uids &&
	    memcmp(a->allow_uids, b->allow_uids, a->n_allow_uids * sizeof(a->allow_uids[0])) == 0;
}

/* Connections stay open, and each of their requests is judged anew. */
void
listen_allow(struct listener *l, const struct config_listener *current)
{
	bool changed = !same_users(l->current, current);

	l->current = current;
	if (changed)
		LOG(LOG_INFO, "requests are answered by the new allow_users", LOG_S("url", l->config->url),
		    LOG_I("users", current->n_allow_uids));
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
	else if (!may_ask(c->listener->current, &c->call.peer))
		refuse_user(c);
	else if (nng_msg_len(c->msg) > LIMIT_REQUEST)
		dispatch_refuse(&c->call, FAULT_INVALID_ARGUMENT, "the request is longer than 65536 bytes");
	else
		dispatch(&c->call, nng_msg_body(c->msg), nng_msg_len(c->msg), clock_boot_ms());
}

/* ---- its reply: from dispatch.c ---- */

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

static void
wipe_and_free(nng_msg *msg)
{
	if (msg == NULL)
		return;
	sodium_memzero(nng_msg_body(msg), nng_msg_len(msg));
	nng_msg_free(msg);
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

/* ---- what nng calls when a receive or a send has ended ---- */

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
	/*
	 * Only our own close ends a context. nng cancels a receive now and then that has no timeout (its expiry thread
	 * takes a batch, and an aio in it may have been used again): whatever else went wrong, receive again.
	 */
	if (rc != NNG_ECLOSED && rc != NNG_ECANCELED)
		listen_receive(c);
}

/* ---- making and freeing ---- */

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

/*
 * Before the socket is closed: libnng frees it as soon as the last call into a context is over, and that call looks at
 * it once more after it has said so (nni_ctx_rele, 1.5.2 to 1.9). Once stopped, no callback runs, and none begins
 * anything.
 */
void
listen_contexts_stop(struct listener *l)
{
	for (unsigned i = 0; i < l->n_contexts; i++)
		if (l->contexts[i].aio != NULL)
			nng_aio_cancel(l->contexts[i].aio); /* all at once: to stop one is to wait for its callback */
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
