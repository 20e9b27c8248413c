/*
 * agent.c - one Exchange with fobd is always under way; transactions and asks go out as they come, results, answers and
 * the watch's bell go back at once (see agent.h). Looks into no transaction, and into nothing that is sealed.
 */
#include "client/cluster/agent.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "client/cluster/answers.h"
#include "client/cluster/etcd.h"
#include "client/cluster/node.h"
#include "client/cluster/peer.h"
#include "client/cluster/results.h"
#include "client/daemon/log.h"
#include "fob/rpc/v1/rpc.pb-c.h"
#include "fob/v1/cluster.pb-c.h"
#include "proto/c/monotonic.h"

#define METHOD "fob.v1.Cluster/Exchange"
#define SESSION_LEN 16
#define UNDER_WAY_MAX 4 /* Exchanges. fobd answers the older ones when a newer one comes */
/* Answers are large, and leave the last one to results, which etcd's transactions wait for. */
#define UNDER_WAY_ANSWERS (UNDER_WAY_MAX - 1)
#define AGAIN_DEFAULT_MS 1000
#define AGAIN_MIN_MS 10
#define AGAIN_MAX_MS 10000
#define TIMEOUT_MS 30000 /* of an Exchange; fobd ends it after again_ms */
#define BREATH_MS 10     /* after an Exchange that was answered with nothing, though none came after it */

struct agent {
	const struct settings *settings;
	struct etcd_options etcd_options;
	struct etcd *etcd;
	struct node *node;
	struct peers *peers;
	uint8_t session[SESSION_LEN];
	uint32_t tag; /* of this session; results of others are dropped */
	bool up, changed, down_told;
	struct results results;
	struct answers answers;
	unsigned under_way;
	int again_ms;
	int64_t sent_ms, breathe_until_ms;
	char trouble[ETCD_TROUBLE_MAX]; /* as fobd was told, and the log */
};

/* ---- etcd ---- */

static void
on_result(void *arg, uint32_t tag, Fob__V1__Result *result)
{
	struct agent *a = arg;

	if (tag == a->tag && a->up)
		results_add(&a->results, result);
	else
		fob__v1__result__free_unpacked(result, NULL);
}

static void
on_change(void *arg)
{
	struct agent *a = arg;

	a->changed = true;
}

/* ---- other nodes ---- */

static void
on_answer(void *arg, uint64_t id, const ProtobufCBinaryData *sealed, const char *why)
{
	struct agent *a = arg;

	/* Of a session that has ended: the next one begins with none. */
	if (a->up)
		answers_add(&a->answers, id, sealed, why);
}

static void
begin_ask(struct agent *a, const Fob__V1__Ask *ask)
{
	/* So that answers which fobd does not take are few. */
	if (peers_under_way(a->peers) + a->answers.n >= PEERS_UNDER_WAY)
		on_answer(a, ask->id, &(ProtobufCBinaryData){ 0 }, "too many asks are under way");
	else
		peers_ask(a->peers, a->settings->environment, ask, monotonic_ms());
}

/* ---- fobd ---- */

static void
new_session(struct agent *a)
{
	/* The random source is there since the machine's start; without it no session could be told from another. */
	if (getrandom(a->session, sizeof(a->session), 0) != (ssize_t)sizeof(a->session))
		abort();
	a->tag++;
	a->under_way = 0;
	a->changed = true;
	a->again_ms = AGAIN_DEFAULT_MS;
	a->breathe_until_ms = 0;
	results_clear(&a->results);
	answers_clear(&a->answers);
	peers_forget(a->peers, monotonic_ms());
}

static void
on_up(void *arg)
{
	struct agent *a = arg;

	new_session(a);
	a->up = true;
	a->down_told = false;
	log_line(LOG_INFO, "connected to fobd", "socket", a->settings->socket, NULL);
}

static void
on_down(void *arg, const char *why)
{
	struct agent *a = arg;

	a->up = false;
	if (why != NULL && !a->down_told)
		log_line(LOG_WARN, "not connected to fobd", "socket", a->settings->socket, "reason", why, NULL);
	a->down_told = true;
}

static void
refused(struct agent *a, int code, const char *message, size_t len)
{
	char text[200], number[16];

	snprintf(text, sizeof(text), "%.*s", (int)len, message != NULL ? message : "");
	snprintf(number, sizeof(number), "%d", code);
	if (!a->down_told)
		log_line(LOG_WARN, "fobd refuses", "code", number, "reason", text, NULL);
	a->down_told = true;
	a->up = false;
	node_drop(a->node, monotonic_ms());
}

static void
on_reply(void *arg, int code, const char *message, size_t message_len, const uint8_t *body, size_t len)
{
	struct agent *a = arg;
	Fob__V1__ExchangeResponse *r;

	if (code != FOB__RPC__V1__CODE__OK) {
		refused(a, code, message, message_len);
		return;
	}
	if ((r = fob__v1__exchange_response__unpack(NULL, len, body)) == NULL) {
		refused(a, code, "its answer is not one of Exchange", strlen("its answer is not one of Exchange"));
		return;
	}
	if (a->under_way > 0)
		a->under_way--;
	a->again_ms = r->again_ms == 0 ? AGAIN_DEFAULT_MS :
	    r->again_ms < AGAIN_MIN_MS ? AGAIN_MIN_MS :
	    r->again_ms > AGAIN_MAX_MS ? AGAIN_MAX_MS : (int)r->again_ms;
	for (size_t i = 0; i < r->n_transactions; i++)
		etcd_begin(a->etcd, a->tag, r->transactions[i]);
	for (size_t i = 0; i < r->n_asks; i++)
		begin_ask(a, r->asks[i]);
	if (r->n_transactions == 0 && r->n_asks == 0 && a->under_way == 0)
		a->breathe_until_ms = monotonic_ms() + BREATH_MS;
	fob__v1__exchange_response__free_unpacked(r, NULL);
}

/* ---- an Exchange ---- */

static bool
has_trouble_changed(struct agent *a)
{
	const char *trouble = etcd_trouble(a->etcd);

	if (strcmp(trouble, a->trouble) == 0)
		return false;
	snprintf(a->trouble, sizeof(a->trouble), "%s", trouble);
	if (trouble[0] != '\0')
		log_line(LOG_WARN, "trouble with etcd", "reason", trouble, NULL);
	else
		log_line(LOG_INFO, "etcd answers", NULL);
	return true;
}

static void
send_exchange(struct agent *a)
{
	Fob__V1__ExchangeRequest request = FOB__V1__EXCHANGE_REQUEST__INIT;
	Fob__V1__Result *results[RESULTS_AT_ONCE];
	Fob__V1__Answer *answers[ANSWERS_AT_ONCE];
	uint8_t *body;
	size_t len, room;

	request.environment = a->settings->environment;
	request.session = (ProtobufCBinaryData){ .data = a->session, .len = sizeof(a->session) };
	request.results = results;
	request.n_results = results_take(&a->results, results, &len);
	request.answers = answers;
	room = a->under_way < UNDER_WAY_ANSWERS && len < RESULTS_BYTES ? RESULTS_BYTES - len : 0;
	request.n_answers = answers_take(&a->answers, room, answers);
	request.changed = a->changed;
	request.trouble = (ProtobufCBinaryData){ .data = (uint8_t *)a->trouble, .len = strlen(a->trouble) };
	len = fob__v1__exchange_request__get_packed_size(&request);
	if ((body = malloc(len)) != NULL) {
		fob__v1__exchange_request__pack(&request, body);
		if (node_send(a->node, METHOD, TIMEOUT_MS, body, len) == 0) {
			a->under_way++;
			a->changed = false;
			a->sent_ms = monotonic_ms();
		}
	}
	free(body);
	for (size_t i = 0; i < request.n_results; i++)
		fob__v1__result__free_unpacked(results[i], NULL);
	for (size_t i = 0; i < request.n_answers; i++)
		fob__v1__answer__free_unpacked(answers[i], NULL);
}

static bool
is_due(struct agent *a, int64_t now)
{
	bool news = has_trouble_changed(a) || a->changed || a->results.n > 0 ||
	    (a->answers.n > 0 && a->under_way < UNDER_WAY_ANSWERS);

	if (!a->up || a->under_way >= UNDER_WAY_MAX)
		return false;
	return news || (a->under_way == 0 && now >= a->breathe_until_ms) || now >= a->sent_ms + a->again_ms;
}

/* ---- the loop ---- */

static int
smaller(int a, int64_t b)
{
	return b < 0 ? 0 : b < a ? (int)b : a;
}

static int
timeout(const struct agent *a, int timeout_ms)
{
	int64_t now = monotonic_ms();
	int node_ms = node_wait_ms(a->node, now);
	int64_t peers_ms = peers_due_ms(a->peers);

	if (node_ms >= 0)
		timeout_ms = smaller(timeout_ms, node_ms);
	if (peers_ms != INT64_MAX)
		timeout_ms = smaller(timeout_ms, peers_ms - now);
	if (!a->up || a->under_way >= UNDER_WAY_MAX)
		return timeout_ms;
	timeout_ms = smaller(timeout_ms, a->sent_ms + a->again_ms - now);
	return a->under_way == 0 ? smaller(timeout_ms, a->breathe_until_ms - now) : timeout_ms;
}

void
agent_turn(struct agent *a, int fd, int timeout_ms)
{
	struct pollfd fds[2 + PEERS_ADDRESSES] = { { .fd = node_fd(a->node), .events = node_events(a->node) },
		{ .fd = fd, .events = POLLIN } };
	unsigned n = 2 + peers_fds(a->peers, fds + 2);

	etcd_wait(a->etcd, fds, n, timeout(a, timeout_ms));
	node_turn(a->node, monotonic_ms());
	etcd_turn(a->etcd);
	peers_turn(a->peers, monotonic_ms());
	while (is_due(a, monotonic_ms()))
		send_exchange(a);
}

static struct peer_link_files
peer_files(const struct settings *s)
{
	return (struct peer_link_files){ .ca = s->peer_ca, .cert = s->peer_cert, .key = s->peer_key };
}

static void
set_options(struct agent *a, const struct settings *s)
{
	a->settings = s;
	a->etcd_options = (struct etcd_options){ .endpoints = (const char *const *)s->endpoints,
		.n_endpoints = s->n_endpoints, .ca = s->ca, .cert = s->cert, .key = s->key, .prefix = s->prefix };
}

struct agent *
agent_new(const struct settings *settings)
{
	struct agent *a = calloc(1, sizeof(*a));
	struct peer_link_files files = peer_files(settings);
	struct peers_callbacks peers_callbacks = { on_answer, a };
	struct etcd_callbacks etcd_callbacks = { on_result, on_change, a };
	struct node_callbacks node_callbacks = { on_up, on_down, on_reply, a };

	if (a == NULL)
		return NULL;
	set_options(a, settings);
	if ((a->node = node_new(settings->socket, &node_callbacks)) == NULL ||
	    (a->peers = peers_new(&files, &peers_callbacks)) == NULL ||
	    etcd_new(&a->etcd_options, &etcd_callbacks, &a->etcd) != 0) {
		peers_free(a->peers);
		node_free(a->node);
		free(a);
		return NULL;
	}
	new_session(a);
	return a;
}

void
agent_reload(struct agent *a, const struct settings *settings)
{
	struct peer_link_files files = peer_files(settings);

	set_options(a, settings);
	etcd_reload(a->etcd, &a->etcd_options);
	peers_reload(a->peers, &files);
}

void
agent_free(struct agent *a)
{
	if (a == NULL)
		return;
	etcd_free(a->etcd);
	peers_free(a->peers);
	node_free(a->node);
	results_clear(&a->results);
	answers_clear(&a->answers);
	free(a);
}
