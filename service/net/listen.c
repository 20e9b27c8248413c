/*
 * listen.c - the sockets, opened and closed (see listen.h): a transport has listeners, and a listener has contexts,
 * each of which goes round in listen_context.c. Called by main.c and reload.c, and by listen_guard.c to open a listener
 * anew; calls its parts, the listen_*.c. These are the only files of the daemon, beside nng_quirks.c, that know nng;
 * they know nothing of keys.
 *
 * service/DESIGN.md has the reasons for the options that are set here.
 */
#include "service/net/listen_internal.h"

#include <errno.h>
#include <nng/protocol/reqrep0/rep.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "service/net/descriptors.h"
#include "service/rpc/dispatch.h"
#include "service/base/log.h"
#include "service/net/nng_quirks.h"
#include "service/net/probe.h"
#include "service/net/socket_file.h"

/* Beyond our limit, so that a request that is too long is told so; longer still, and its connection is closed. */
#define RECEIVE_MAX (4 * LIMIT_REQUEST)
#define FLUSH_MS 250 /* a completed send is queued, not sent */

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

/*
 * The socket gets its mode from bind. nng would change the mode of whatever has the name after that, and whoever may
 * write in the folder could make it lead to another file of ours, or be the admin listener's socket. The umask is the
 * whole process's, but all that creates a file here gives it a mode in which nothing is for others.
 */
static int
start_ipc(const struct listener *l)
{
	mode_t before = umask(0777 & ~l->config->mode);
	int rc = nng_listener_start(l->listener, 0);

	umask(before);
	return rc;
}

int
listen_start(struct listener *l, char *why, size_t why_len)
{
	const char *path = config_ipc_path(l->config->url);
	int rc;

	if (path != NULL && socket_file_check(path, why, why_len) != 0)
		return -1;
	if ((rc = nng_listener_create(&l->listener, l->socket, l->config->url)) != 0)
		goto err0;
	if ((rc = nng_listener_set_size(l->listener, NNG_OPT_RECVMAXSZ, RECEIVE_MAX)) != 0)
		goto err1;
	if (path == NULL &&
	    ((rc = nng_listener_set_bool(l->listener, NNG_OPT_TCP_NODELAY, true)) != 0 ||
		(rc = nng_listener_set_bool(l->listener, NNG_OPT_TCP_KEEPALIVE, true)) != 0))
		goto err1;
	if (listen_is_tls(l->config) && listen_tls_set(l, why, why_len) != 0) {
		nng_listener_close(l->listener);
		return -1;
	}
	if ((rc = path != NULL ? start_ipc(l) : nng_listener_start(l->listener, 0)) != 0)
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

static int
open_listener(struct transport *t, const struct config_listener *config, char *why, size_t why_len)
{
	struct listener *l = &t->listeners[t->n_listeners];
	int rc;

	*l = (struct listener){ .transport = t, .config = config, .current = config };
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
	orphans_fini(&t->orphans);
	pipes_free(t->pipes);
	free(t);
}
