/*
 * etcd.c - transactions, the watch and the choice of an endpoint (see etcd.h). Never sends a transaction twice, and
 * waits only in etcd_wait().
 */
#include "client/cluster/etcd_internal.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/cluster/etcd.pb-c.h"
#include "client/cluster/judge.h"
#include "client/cluster/messages.h"
#include "proto/c/monotonic.h"

#define TXN_DEFAULT_MS 3000
#define WATCH_PAUSE_MIN_MS 100
#define WATCH_PAUSE_MAX_MS 2000
#define WATCH_SILENT_MS 60000 /* a watch that says nothing for so long is begun again */
#define WATCH_OWED_MS 2000    /* and one that does not tell of our own change in that time */
#define STATUS_MS 10000

/* ---- what etcd is like ---- */

static void __attribute__((format(printf, 2, 3)))
set_trouble(struct etcd *e, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	vsnprintf(e->trouble, sizeof(e->trouble), format, ap);
	va_end(ap);
	/* It holds what others have sent. */
	for (char *c = e->trouble; *c != '\0'; c++)
		if (*c < ' ' || *c > '~')
			*c = '?';
}

const char *
etcd_trouble(const struct etcd *e)
{
	return e->trouble;
}

static void watch_end(struct etcd *e, int64_t again_at_ms);

/* Away from the endpoint that ${t} was given to, unless that has been done. */
static void
go_elsewhere(struct etcd *e, const struct transfer *t)
{
	if (t->endpoint != e->endpoint || e->options->n_endpoints == 1)
		return;
	e->endpoint = (e->endpoint + 1) % e->options->n_endpoints;
	e->status_at_ms = 0;
	watch_end(e, 0);
}

/* With TLS 1.3 a server refuses a client's certificate after the handshake, by closing the connection. */
static const char *
hint(CURLcode code)
{
	bool closed = code == CURLE_SEND_ERROR || code == CURLE_RECV_ERROR || code == CURLE_HTTP2 ||
	    code == CURLE_HTTP2_STREAM || code == CURLE_GOT_NOTHING;

	return closed ? "; does etcd accept this agent's certificate?" : "";
}

static void
explain(struct etcd *e, const struct transfer *t, CURLcode code, long http_status)
{
	const char *where = e->options->endpoints[t->endpoint];
	if (code != CURLE_OK)
		set_trouble(e, "%s: %s%s", where, t->error[0] != '\0' ? t->error : curl_easy_strerror(code), hint(code));
	else if (http_status != 200)
		set_trouble(e, "%s: HTTP status %ld; it is not etcd's client port", where, http_status);
	else if (t->status.code > 0)
		set_trouble(e, "%s: gRPC status %d: %s", where, t->status.code, t->status.reason);
	else
		set_trouble(e, "%s: an answer that is not gRPC", where);
}

/* ---- transactions ---- */

static void
tell(struct etcd *e, uint32_t tag, uint64_t id, Fob__V1__Result__Outcome outcome)
{
	Fob__V1__Result *result = malloc(sizeof(*result));

	if (result == NULL)
		return; /* as if it had been lost: fobd has a time limit */
	fob__v1__result__init(result);
	result->id = id;
	result->outcome = outcome;
	e->callbacks.on_result(e->callbacks.arg, tag, result);
}

static void
tell_done(struct etcd *e, const struct transfer *t, const uint8_t *body, size_t len)
{
	Fob__V1__Result *result = malloc(sizeof(*result));

	if (result == NULL)
		return;
	fob__v1__result__init(result);
	result->id = t->id;
	e->trouble[0] = '\0';
	if (messages_result(e->options->prefix, body, len, result) != 0)
		set_trouble(e, "%s: an answer that is not etcd's", e->options->endpoints[t->endpoint]);
	else if (t->puts && result->succeeded && e->owed_revision == 0) {
		e->owed_revision = result->revision;
		e->owed_ms = monotonic_ms();
	}
	e->callbacks.on_result(e->callbacks.arg, t->tag, result);
}

static bool
rings_the_bell(const Fob__V1__Transaction *txn)
{
	for (size_t i = 0; i < txn->n_success; i++) {
		const ProtobufCBinaryData *key = &txn->success[i]->key;

		if (txn->success[i]->kind == FOB__V1__ACTION__KIND__PUT && key->len == strlen(MESSAGES_WATCHED) &&
		    memcmp(key->data, MESSAGES_WATCHED, key->len) == 0)
			return true;
	}
	return false;
}

void
etcd_begin(struct etcd *e, uint32_t tag, const Fob__V1__Transaction *txn)
{
	struct transfer *t = e->n_txns < ETCD_UNDER_WAY ? transfer_new(e, TRANSFER_TXN) : NULL;

	if (t != NULL) {
		e->n_txns++;
		t->id = txn->id;
		t->tag = tag;
		t->puts = rings_the_bell(txn);
		if (messages_txn(e->options->prefix, txn, &t->request) == 0 &&
		    transfer_start(t, "etcdserverpb.KV/Txn",
		        txn->timeout_ms > 0 ? txn->timeout_ms : TXN_DEFAULT_MS) == 0)
			return;
		e->n_txns--;
		transfer_free(t);
	}
	set_trouble(e, "a transaction was not begun: it is malformed, or there are too many");
	tell(e, tag, txn->id, FOB__V1__RESULT__OUTCOME__NOT_SENT);
}

static void renew(struct etcd *e);

static void
finish_txn(struct etcd *e, struct transfer *t, CURLcode code)
{
	struct judge_end end = { .sent = t->given == t->request.len, .broken = code != CURLE_OK, .grpc = t->status };
	/* Nothing has come from this endpoint since: the connection itself is suspect. */
	bool silent = code == CURLE_OPERATION_TIMEDOUT && t->endpoint == e->endpoint && e->heard_ms < t->begun_ms;
	const uint8_t *body = NULL;
	struct judgement judgement;
	size_t len = 0;

	curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &end.http_status);
	end.whole = grpc_message(t->response.p, t->response.len, &body, &len) == GRPC_MESSAGE;
	judgement = judge(&end);
	if (judgement.trouble)
		explain(e, t, code, end.http_status);
	if (judgement.outcome == FOB__V1__RESULT__OUTCOME__DONE)
		tell_done(e, t, body, len);
	else
		tell(e, t->tag, t->id, judgement.outcome);
	if (judgement.elsewhere)
		go_elsewhere(e, t);
	e->n_txns--;
	transfer_free(t);
	if (silent)
		renew(e);
}

/* ---- the watch ---- */

void
etcd_watch_message(void *transfer, const uint8_t *head, size_t head_len, size_t len)
{
	struct transfer *t = transfer;
	struct etcd *e = t->etcd;
	struct messages_watched watched;

	messages_watched(head, head_len, head_len == len, &watched);
	if (watched.canceled) {
		snprintf(t->status.reason, sizeof(t->status.reason), "%s", watched.reason);
		t->status.code = GRPC_PERMISSION_DENIED; /* the one reason that etcd has, for a watch from now on */
		return;
	}
	e->watch_pause_ms = WATCH_PAUSE_MIN_MS;
	e->watch_heard_ms = e->heard_ms;
	e->watch_changed = true;
	if (watched.revision >= e->owed_revision)
		e->owed_revision = 0;
}

static void
watch_begin(struct etcd *e, int64_t now_ms)
{
	struct transfer *t = transfer_new(e, TRANSFER_WATCH);

	e->watch_at_ms = now_ms + e->watch_pause_ms;
	if (t == NULL)
		return;
	if (messages_watch(e->options->prefix, &t->request) != 0 ||
	    transfer_start(t, "etcdserverpb.Watch/Watch", 0) != 0) {
		transfer_free(t);
		return;
	}
	e->watch = t;
	e->watch_heard_ms = now_ms;
	e->owed_revision = 0;
}

static void
watch_end(struct etcd *e, int64_t again_at_ms)
{
	e->watch_at_ms = again_at_ms;
	if (e->watch != NULL)
		transfer_free(e->watch);
	e->watch = NULL;
}

static void
finish_watch(struct etcd *e, struct transfer *t, CURLcode code)
{
	int64_t now_ms = monotonic_ms();
	long http_status = 0;

	curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &http_status);
	if (code != CURLE_OK || http_status != 200 || t->status.code > 0)
		explain(e, t, code, http_status);
	watch_end(e, now_ms + e->watch_pause_ms);
	if (code != CURLE_OK || t->status.code == GRPC_UNAVAILABLE)
		go_elsewhere(e, t);
	/* go_elsewhere() would begin it at once, again and again while no endpoint can be reached. */
	e->watch_at_ms = now_ms + e->watch_pause_ms;
	e->watch_pause_ms = e->watch_pause_ms * 2 < WATCH_PAUSE_MAX_MS ? e->watch_pause_ms * 2 : WATCH_PAUSE_MAX_MS;
}

static void
look_after_watch(struct etcd *e, int64_t now_ms)
{
	bool refused = e->watch != NULL && e->watch->status.code > 0;

	if (refused) {
		explain(e, e->watch, CURLE_OK, 200);
		watch_end(e, now_ms + WATCH_PAUSE_MAX_MS);
	}
	if (e->watch != NULL && (now_ms - e->watch_heard_ms > WATCH_SILENT_MS ||
	        (e->owed_revision != 0 && now_ms - e->owed_ms > WATCH_OWED_MS)))
		watch_end(e, 0);
	if (e->watch == NULL && now_ms >= e->watch_at_ms)
		watch_begin(e, now_ms);
}

/* ---- what state etcd is in ---- */

static void
status_begin(struct etcd *e, int64_t now_ms)
{
	static const uint8_t empty[GRPC_PREFIX];
	struct transfer *t = transfer_new(e, TRANSFER_STATUS);

	e->status_at_ms = now_ms + STATUS_MS;
	if (t == NULL)
		return;
	if (buffer_append(&t->request, empty, sizeof(empty)) != 0 ||
	    transfer_start(t, "etcdserverpb.Maintenance/Status", TXN_DEFAULT_MS) != 0)
		transfer_free(t);
	else
		e->status = t;
}

static void
read_status(struct etcd *e, const struct transfer *t)
{
	const char *where = e->options->endpoints[t->endpoint];
	Etcdserverpb__StatusResponse *status;
	const uint8_t *body;
	size_t len;

	if (grpc_message(t->response.p, t->response.len, &body, &len) != GRPC_MESSAGE ||
	    (status = etcdserverpb__status_response__unpack(NULL, len, body)) == NULL)
		return;
	if (status->leader == 0)
		set_trouble(e, "%s: etcd has no leader", where);
	else if (status->n_errors > 0)
		set_trouble(e, "%s: etcd says: %.*s", where, (int)status->errors[0].len,
		    (const char *)status->errors[0].data);
	etcdserverpb__status_response__free_unpacked(status, NULL);
}

static void
finish_status(struct etcd *e, struct transfer *t, CURLcode code)
{
	if (code == CURLE_OK && t->status.code == GRPC_OK)
		read_status(e, t);
	e->status = NULL;
	transfer_free(t);
}

/* ---- all of it ---- */

static void
finish(struct etcd *e, struct transfer *t, CURLcode code)
{
	if (t->kind == TRANSFER_TXN)
		finish_txn(e, t, code);
	else if (t->kind == TRANSFER_WATCH)
		finish_watch(e, t, code);
	else
		finish_status(e, t, code);
}

/* End all that is under way, and use other connections from now on. */
static void
renew(struct etcd *e)
{
	struct transfer *t;

	while ((t = LIST_FIRST(&e->transfers)) != NULL) {
		if (t->kind == TRANSFER_TXN) {
			tell(e, t->tag, t->id, t->given == t->request.len ? FOB__V1__RESULT__OUTCOME__UNKNOWN :
			        FOB__V1__RESULT__OUTCOME__NOT_SENT);
			e->n_txns--;
		}
		transfer_free(t);
	}
	e->watch = e->status = NULL;
	e->watch_at_ms = e->status_at_ms = 0;
	transfer_free_spare(e);
	curl_multi_cleanup(e->multi);
	/* abort(): without memory for a few hundred bytes nothing else would go on, either. */
	if ((e->multi = curl_multi_init()) == NULL)
		abort();
}

void
etcd_reload(struct etcd *e, const struct etcd_options *options)
{
	e->options = options;
	e->endpoint = 0;
	renew(e);
}

void
etcd_wait(struct etcd *e, const struct pollfd *fds, unsigned n, int timeout_ms)
{
	struct curl_waitfd extra[ETCD_FDS_MAX];
	unsigned used = 0;
	int64_t left;

	for (unsigned i = 0; i < n && used < ETCD_FDS_MAX; i++)
		if (fds[i].fd >= 0)
			extra[used++] = (struct curl_waitfd){ .fd = fds[i].fd, .events = fds[i].events };
	if (e->watch == NULL && (left = e->watch_at_ms - monotonic_ms()) < timeout_ms)
		timeout_ms = left > 0 ? (int)left : 0;
	curl_multi_poll(e->multi, extra, used, timeout_ms, NULL);
}

void
etcd_turn(struct etcd *e)
{
	int running, queued;
	int64_t now_ms = monotonic_ms();
	struct transfer *t;
	CURLMsg *message;

	look_after_watch(e, now_ms);
	if (e->status == NULL && now_ms >= e->status_at_ms)
		status_begin(e, now_ms);
	curl_multi_perform(e->multi, &running);
	while ((message = curl_multi_info_read(e->multi, &queued)) != NULL) {
		CURLcode code = message->data.result;

		if (message->msg == CURLMSG_DONE &&
		    curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **)&t) == CURLE_OK)
			finish(e, t, code);
	}
	if (e->watch_changed) {
		e->watch_changed = false;
		e->callbacks.on_change(e->callbacks.arg);
	}
}

int
etcd_new(const struct etcd_options *options, const struct etcd_callbacks *callbacks, struct etcd **out)
{
	static const char agent[] = "user-agent: fob-cluster/" FOBD_VERSION;
	static const char *const headers[] = { "content-type: application/grpc", "te: trailers", agent, "accept:",
		"expect:" };
	struct curl_slist *longer;
	struct etcd *e = calloc(1, sizeof(*e));

	if (e == NULL || curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
		free(e);
		return -1;
	}
	e->options = options;
	e->callbacks = *callbacks;
	e->watch_pause_ms = WATCH_PAUSE_MIN_MS;
	LIST_INIT(&e->transfers);
	LIST_INIT(&e->spare);
	e->multi = curl_multi_init();
	for (size_t i = 0; e->multi != NULL && i < sizeof(headers) / sizeof(headers[0]); i++) {
		if ((longer = curl_slist_append(e->headers, headers[i])) == NULL) {
			etcd_free(e);
			return -1;
		}
		e->headers = longer;
	}
	if (e->multi == NULL) {
		etcd_free(e);
		return -1;
	}
	*out = e;
	return 0;
}

void
etcd_free(struct etcd *e)
{
	struct transfer *t;

	if (e == NULL)
		return;
	while ((t = LIST_FIRST(&e->transfers)) != NULL)
		transfer_free(t);
	transfer_free_spare(e);
	if (e->multi != NULL)
		curl_multi_cleanup(e->multi);
	curl_slist_free_all(e->headers);
	curl_global_cleanup();
	free(e);
}
