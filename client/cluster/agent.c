/*
 * agent.c - Exchange by Exchange (see agent.h, and proto/fob/v1/cluster.proto for the rules of an Exchange).
 */
#include "client/cluster/agent.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#include "client/cluster/etcd.h"
#include "client/cluster/node.h"
#include "client/program/log.h"
#include "fob/rpc/v1/rpc.pb-c.h"

#define METHOD "fob.v1.Cluster/Exchange"
#define WATCHED "head"
#define RESULTS_MAX 16             /* in one request */
#define RESULTS_BYTES (220U << 10) /* likewise; fobd takes 256 KiB */
#define RECONNECT_MS 100
#define REFUSED_MS 500 /* after an answer that is a fault: fobd is not ready, or not in a cluster */
#define AGAIN_FIRST_MS 100 /* before fobd has said when to ask again */
#define WAIT_MAX_MS 1000

struct agent {
	const struct settings *settings;
	struct etcd *etcd;
	struct node *node;
	uint8_t session[16];
	uint32_t asked; /* the newest Exchange that is under way; 0: none */
	int64_t ask_ms; /* when the next one is due at the latest */
	uint32_t again_ms; /* as fobd has said */
	int64_t connect_ms;
	Fob__V1__Result *results[RESULTS_MAX * 4];
	size_t n_results;
	bool changed, was_connected;
	char trouble[400], refusal[400];
};

static int64_t
now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* ---- from etcd ---- */

static void
on_done(void *arg, Fob__V1__Result *result)
{
	struct agent *a = arg;

	/* fobd has at most a handful under way. What it does not hear of, it takes for lost in time. */
	if (a->n_results == sizeof(a->results) / sizeof(a->results[0])) {
		fob__v1__result__free_unpacked(result, NULL);
		return;
	}
	a->results[a->n_results++] = result;
}

static void
on_changed(void *arg)
{
	struct agent *a = arg;

	a->changed = true;
}

static void
on_trouble(void *arg, const char *text)
{
	struct agent *a = arg;

	snprintf(a->trouble, sizeof(a->trouble), "%s", text);
	if (text[0] != '\0')
		log_line(LOG_WARN, "etcd does not do what it is asked", "reason", text, NULL);
	else
		log_line(LOG_INFO, "etcd answers", NULL);
}

static struct etcd *
new_etcd(struct agent *a)
{
	const struct settings *s = a->settings;
	const struct etcd_options options = {
		.endpoints = s->endpoints,
		.n_endpoints = s->n_endpoints,
		.ca = s->ca,
		.cert = s->cert,
		.key = s->key,
		.prefix = s->prefix,
		.watched = WATCHED,
		.done = on_done,
		.changed = on_changed,
		.trouble = on_trouble,
		.arg = a,
	};

	return etcd_new(&options);
}

/* ---- to fobd ---- */

static void
drop_results(struct agent *a, size_t n)
{
	for (size_t i = 0; i < n; i++)
		fob__v1__result__free_unpacked(a->results[i], NULL);
	memmove(a->results, a->results + n, (a->n_results - n) * sizeof(a->results[0]));
	a->n_results -= n;
}

/* As many results as one message holds. */
static size_t
count_results(const struct agent *a)
{
	size_t n = 0, bytes = 0;

	for (; n < a->n_results && n < RESULTS_MAX; n++) {
		bytes += fob__v1__result__get_packed_size(a->results[n]);
		if (bytes > RESULTS_BYTES && n > 0)
			break;
	}
	return n;
}

static void
send_exchange(struct agent *a, const ProtobufCMessage *exchange)
{
	Fob__Rpc__V1__Request request = FOB__RPC__V1__REQUEST__INIT;
	uint8_t *bytes;
	size_t body_len = protobuf_c_message_get_packed_size(exchange), len;

	request.method.data = (uint8_t *)(uintptr_t)METHOD;
	request.method.len = strlen(METHOD);
	request.body.len = body_len;
	if ((request.body.data = malloc(body_len + 1)) == NULL)
		return;
	protobuf_c_message_pack(exchange, request.body.data);
	len = fob__rpc__v1__request__get_packed_size(&request);
	if ((bytes = malloc(len)) != NULL) {
		fob__rpc__v1__request__pack(&request, bytes);
		a->asked = node_send(a->node, bytes, len);
	}
	free(bytes);
	free(request.body.data);
}

static void
ask(struct agent *a)
{
	Fob__V1__ExchangeRequest exchange = FOB__V1__EXCHANGE_REQUEST__INIT;

	exchange.environment = a->settings->environment;
	exchange.session.data = a->session;
	exchange.session.len = sizeof(a->session);
	exchange.results = a->results;
	exchange.n_results = count_results(a);
	exchange.changed = a->changed;
	exchange.trouble.data = (uint8_t *)a->trouble;
	exchange.trouble.len = strlen(a->trouble);
	send_exchange(a, &exchange.base);
	drop_results(a, exchange.n_results);
	a->changed = false;
	a->ask_ms = now_ms() + a->again_ms;
}

/* ---- from fobd ---- */

static void
take_refusal(struct agent *a, const Fob__Rpc__V1__Response *response)
{
	char text[sizeof(a->refusal)];

	a->asked = 0;
	a->ask_ms = now_ms() + REFUSED_MS;
	snprintf(text, sizeof(text), "%.*s", (int)(response->message.len < 300 ? response->message.len : 300),
	    (const char *)response->message.data);
	if (strcmp(text, a->refusal) != 0)
		log_line(LOG_WARN, "fobd does not take part", "reason", text, NULL);
	snprintf(a->refusal, sizeof(a->refusal), "%s", text);
}

static void
take_transactions(struct agent *a, uint32_t id, const Fob__Rpc__V1__Response *response)
{
	Fob__V1__ExchangeResponse *exchange =
	    fob__v1__exchange_response__unpack(NULL, response->body.len, response->body.data);

	if (exchange == NULL)
		return;
	a->refusal[0] = '\0';
	for (size_t i = 0; i < exchange->n_transactions; i++)
		etcd_transact(a->etcd, exchange->transactions[i]);
	/* The reply to one that a newer one has overtaken says nothing. */
	if (exchange->again_ms > 0)
		a->again_ms = exchange->again_ms;
	if (id == a->asked) {
		a->asked = 0;
		a->ask_ms = now_ms();
	}
	fob__v1__exchange_response__free_unpacked(exchange, NULL);
}

static void
take_reply(struct agent *a, uint32_t id, const uint8_t *reply, size_t len)
{
	Fob__Rpc__V1__Response *response = fob__rpc__v1__response__unpack(NULL, len, reply);

	if (response == NULL)
		return;
	if (response->code != FOB__RPC__V1__CODE__OK)
		take_refusal(a, response);
	else
		take_transactions(a, id, response);
	fob__rpc__v1__response__free_unpacked(response, NULL);
}

/* ---- the connection to fobd ---- */

/* What was asked for over the connection before is lost: fobd learns that from the new session. */
static void
begin_session(struct agent *a)
{
	randombytes_buf(a->session, sizeof(a->session));
	drop_results(a, a->n_results);
	a->asked = 0;
	a->ask_ms = 0;
	a->again_ms = AGAIN_FIRST_MS;
	a->changed = true;
	a->refusal[0] = '\0';
}

static bool
connect_node(struct agent *a)
{
	if (node_poll(a->node).fd >= 0)
		return true;
	if (a->was_connected)
		log_line(LOG_WARN, "the connection to fobd is lost", "socket", a->settings->socket, NULL);
	a->was_connected = false;
	if (now_ms() < a->connect_ms)
		return false;
	a->connect_ms = now_ms() + RECONNECT_MS;
	if (!node_connect(a->node))
		return false;
	begin_session(a);
	a->was_connected = true;
	log_line(LOG_INFO, "connected to fobd", "socket", a->settings->socket, NULL);
	return true;
}

static void
run_node(struct agent *a)
{
	const uint8_t *reply;
	uint32_t id;
	size_t len;

	if (!connect_node(a) || !node_run(a->node))
		return;
	while (node_reply(a->node, &id, &reply, &len))
		take_reply(a, id, reply, len);
	if (a->n_results > 0 || a->changed || now_ms() >= a->ask_ms)
		ask(a);
}

/* ---- the loop ---- */

static int
wait_ms(const struct agent *a)
{
	int64_t at_ms = node_poll(a->node).fd < 0 ? a->connect_ms : a->ask_ms, left_ms = at_ms - now_ms();

	if (a->n_results > 0 || (a->changed && node_poll(a->node).fd >= 0))
		return 0;
	return left_ms < 0 ? 0 : left_ms > WAIT_MAX_MS ? WAIT_MAX_MS : (int)left_ms;
}

int
agent_run(struct agent *a, int signals)
{
	struct signalfd_siginfo info;
	struct pollfd fds[2];

	for (;;) {
		run_node(a);
		fds[0] = (struct pollfd){ .fd = signals, .events = POLLIN };
		fds[1] = node_poll(a->node);
		etcd_wait(a->etcd, fds, fds[1].fd >= 0 ? 2 : 1, wait_ms(a));
		if ((fds[0].revents & POLLIN) != 0 && read(signals, &info, sizeof(info)) == sizeof(info))
			return (int)info.ssi_signo;
	}
}

int
agent_reload(struct agent *a)
{
	struct etcd *fresh = new_etcd(a);

	if (fresh == NULL)
		return -1;
	etcd_free(a->etcd);
	a->etcd = fresh;
	begin_session(a);
	return 0;
}

struct agent *
agent_new(const struct settings *settings)
{
	struct agent *a;

	if ((a = calloc(1, sizeof(*a))) == NULL)
		return NULL;
	a->settings = settings;
	if ((a->etcd = new_etcd(a)) == NULL || (a->node = node_new(settings->socket)) == NULL) {
		agent_free(a);
		return NULL;
	}
	return a;
}

void
agent_free(struct agent *a)
{
	if (a == NULL)
		return;
	drop_results(a, a->n_results);
	etcd_free(a->etcd);
	node_free(a->node);
	free(a);
}
