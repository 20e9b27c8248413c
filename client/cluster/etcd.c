/*
 * etcd.c - gRPC calls by libcurl's multi interface (see etcd.h). Decides nothing about what is in a transaction.
 *
 * HTTP/2 always over TLS: curl 7.88 breaks on reused cleartext HTTP/2 connections. A transaction is a POST whose body is one
 * message. So is a watch, but its body does not end: etcd ends a watch with the client's half of its stream.
 */
#include "client/cluster/etcd.h"

#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "client/cluster/grpc.h"

#define CONNECT_MS 2000
#define WATCH_AGAIN_MS 500   /* after a watch that has ended */
#define WATCH_SILENT_S 60    /* a connection that is dead without a word: keepalive finds out before */
#define ANSWER_MAX (8U << 20)
#define SPARE_MAX 16

struct call {
	struct call *next; /* among those under way, or the spare ones */
	struct etcd *etcd;
	CURL *easy;
	bool is_watch;
	uint64_t id;
	size_t endpoint;
	uint8_t *request;
	size_t request_len, request_sent;
	uint8_t *answer;
	size_t len, room;
	struct grpc_status status;
	char error[CURL_ERROR_SIZE];
};

struct etcd {
	struct etcd_options options;
	CURLM *multi;
	struct curl_slist *headers;
	size_t endpoint; /* in use */
	struct call *calls, *spare;
	unsigned n_spare;
	struct call *watch;
	int64_t watch_again_ms;
	bool has_told; /* something, since etcd_wait() began */
	char told[400];
};

static int64_t
now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static void
tell(struct etcd *e, const char *text)
{
	if (strcmp(e->told, text) == 0)
		return;
	snprintf(e->told, sizeof(e->told), "%s", text);
	e->options.trouble(e->options.arg, e->told);
}

static void
use_another(struct etcd *e, size_t endpoint)
{
	/* A call that began before the change says nothing of the member that is in use now. */
	if (endpoint == e->endpoint)
		e->endpoint = (e->endpoint + 1) % e->options.n_endpoints;
}

/* ---- one call ---- */

static void
drop_contents(struct call *c)
{
	free(c->request);
	free(c->answer);
	c->request = c->answer = NULL;
	c->len = c->room = 0;
}

static void
free_call(struct call *c)
{
	if (c == NULL)
		return;
	drop_contents(c);
	curl_easy_cleanup(c->easy);
	free(c);
}

static struct call *
take_call(struct etcd *e)
{
	struct call *c = e->spare;

	if (c != NULL) {
		e->spare = c->next;
		e->n_spare--;
		return c;
	}
	if ((c = calloc(1, sizeof(*c))) == NULL)
		return NULL;
	if ((c->easy = curl_easy_init()) == NULL) {
		free(c);
		return NULL;
	}
	return c;
}

static void
end_call(struct etcd *e, struct call *c)
{
	struct call **at;

	for (at = &e->calls; *at != c; at = &(*at)->next)
		;
	*at = c->next;
	curl_multi_remove_handle(e->multi, c->easy);
	drop_contents(c);
	if (e->n_spare == SPARE_MAX) {
		free_call(c);
		return;
	}
	c->next = e->spare;
	e->spare = c;
	e->n_spare++;
}

static size_t
on_header(char *line, size_t size, size_t n, void *arg)
{
	struct call *c = arg;

	grpc_take_header(&c->status, line, size * n);
	return size * n;
}

/* All messages of a watch that are whole: each means that something has changed, or that the watch has begun. */
static bool
take_watched(struct call *c)
{
	const uint8_t *message;
	size_t len, used = 0;
	int rc;

	while ((rc = grpc_message(c->answer + used, c->len - used, &message, &len)) == 1)
		used += GRPC_HEADER_LEN + len;
	if (used > 0) {
		memmove(c->answer, c->answer + used, c->len - used);
		c->len -= used;
		c->etcd->has_told = true;
		c->etcd->options.changed(c->etcd->options.arg);
	}
	return rc == 0;
}

static size_t
on_body(char *bytes, size_t size, size_t n, void *arg)
{
	struct call *c = arg;
	size_t len = size * n, room;
	uint8_t *grown;

	if (c->len + len > ANSWER_MAX)
		return 0;
	if (c->len + len > c->room) {
		room = (c->len + len) * 2;
		if ((grown = realloc(c->answer, room)) == NULL)
			return 0;
		c->answer = grown;
		c->room = room;
	}
	memcpy(c->answer + c->len, bytes, len);
	c->len += len;
	return c->is_watch && !take_watched(c) ? 0 : len;
}

/* The body of a watch's request: one message, and then nothing, without an end. */
static size_t
on_request(char *bytes, size_t size, size_t n, void *arg)
{
	struct call *c = arg;
	size_t left = c->request_len - c->request_sent, len = size * n < left ? size * n : left;

	if (left == 0)
		return CURL_READFUNC_PAUSE;
	memcpy(bytes, c->request + c->request_sent, len);
	c->request_sent += len;
	return len;
}

static bool
set_body(struct call *c)
{
	CURL *h = c->easy;

	/* A connection of its own, so that its paused body cannot hold up the transactions. */
	if (c->is_watch)
		return curl_easy_setopt(h, CURLOPT_UPLOAD, 1L) == CURLE_OK &&
		    curl_easy_setopt(h, CURLOPT_CUSTOMREQUEST, "POST") == CURLE_OK &&
		    curl_easy_setopt(h, CURLOPT_READFUNCTION, on_request) == CURLE_OK &&
		    curl_easy_setopt(h, CURLOPT_READDATA, c) == CURLE_OK &&
		    curl_easy_setopt(h, CURLOPT_FRESH_CONNECT, 1L) == CURLE_OK &&
		    curl_easy_setopt(h, CURLOPT_FORBID_REUSE, 1L) == CURLE_OK;
	return curl_easy_setopt(h, CURLOPT_POST, 1L) == CURLE_OK &&
	    curl_easy_setopt(h, CURLOPT_POSTFIELDS, c->request) == CURLE_OK &&
	    curl_easy_setopt(h, CURLOPT_POSTFIELDSIZE, (long)c->request_len) == CURLE_OK;
}

/* Returns whether libcurl has taken all of it. */
static bool
set_up(struct etcd *e, struct call *c, const char *method, long timeout_ms)
{
	const struct etcd_options *o = &e->options;
	CURL *h = c->easy;
	char url[512];

	snprintf(url, sizeof(url), "%s/etcdserverpb.%s", o->endpoints[c->endpoint], method);
	curl_easy_reset(h);
	return curl_easy_setopt(h, CURLOPT_URL, url) == CURLE_OK &&
	    curl_easy_setopt(h, CURLOPT_PROTOCOLS_STR, "https") == CURLE_OK &&
	    curl_easy_setopt(h, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_2TLS) == CURLE_OK &&
	    curl_easy_setopt(h, CURLOPT_PIPEWAIT, 1L) == CURLE_OK &&
	    curl_easy_setopt(h, CURLOPT_NOSIGNAL, 1L) == CURLE_OK && curl_easy_setopt(h, CURLOPT_NOPROXY, "*") == CURLE_OK &&
	    curl_easy_setopt(h, CURLOPT_TCP_NODELAY, 1L) == CURLE_OK &&
	    curl_easy_setopt(h, CURLOPT_TCP_KEEPALIVE, 1L) == CURLE_OK &&
	    curl_easy_setopt(h, CURLOPT_TCP_KEEPIDLE, 5L) == CURLE_OK &&
	    curl_easy_setopt(h, CURLOPT_TCP_KEEPINTVL, 5L) == CURLE_OK &&
	    curl_easy_setopt(h, CURLOPT_CAINFO, o->ca) == CURLE_OK && curl_easy_setopt(h, CURLOPT_CAPATH, NULL) == CURLE_OK &&
	    curl_easy_setopt(h, CURLOPT_SSLCERT, o->cert) == CURLE_OK &&
	    curl_easy_setopt(h, CURLOPT_SSLKEY, o->key) == CURLE_OK &&
	    curl_easy_setopt(h, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2) == CURLE_OK &&
	    curl_easy_setopt(h, CURLOPT_CONNECTTIMEOUT_MS, (long)CONNECT_MS) == CURLE_OK &&
	    curl_easy_setopt(h, CURLOPT_TIMEOUT_MS, timeout_ms) == CURLE_OK &&
	    curl_easy_setopt(h, CURLOPT_HTTPHEADER, e->headers) == CURLE_OK &&
	        set_body(c) && curl_easy_setopt(h, CURLOPT_HEADERFUNCTION, on_header) == CURLE_OK &&
	    curl_easy_setopt(h, CURLOPT_HEADERDATA, c) == CURLE_OK &&
	    curl_easy_setopt(h, CURLOPT_WRITEFUNCTION, on_body) == CURLE_OK &&
	    curl_easy_setopt(h, CURLOPT_WRITEDATA, c) == CURLE_OK && curl_easy_setopt(h, CURLOPT_PRIVATE, c) == CURLE_OK &&
	    curl_easy_setopt(h, CURLOPT_ERRORBUFFER, c->error) == CURLE_OK;
}

/* ${message} is freed. NULL when it could not be begun. */
static struct call *
begin(struct etcd *e, const char *method, struct txn_bytes *message, bool is_watch, long timeout_ms)
{
	struct call *c = take_call(e);

	if (c == NULL || (c->request = malloc(GRPC_HEADER_LEN + message->len)) == NULL) {
		free(message->data);
		free_call(c);
		return NULL;
	}
	grpc_header(message->len, c->request);
	memcpy(c->request + GRPC_HEADER_LEN, message->data, message->len);
	free(message->data);
	c->request_len = GRPC_HEADER_LEN + message->len;
	c->request_sent = 0;
	c->etcd = e;
	c->is_watch = is_watch;
	c->endpoint = e->endpoint;
	c->status = (struct grpc_status){ .code = -1 };
	c->error[0] = '\0';
	if (!set_up(e, c, method, timeout_ms) ||
	    curl_multi_add_handle(e->multi, c->easy) != CURLM_OK) {
		free_call(c);
		return NULL;
	}
	c->next = e->calls;
	e->calls = c;
	return c;
}

/* ---- the end of a call ---- */

static bool
was_not_sent(CURLcode code)
{
	switch (code) {
	case CURLE_COULDNT_RESOLVE_HOST:
	case CURLE_COULDNT_CONNECT:
	case CURLE_SSL_CONNECT_ERROR:
	case CURLE_PEER_FAILED_VERIFICATION:
	case CURLE_SSL_CERTPROBLEM:
	case CURLE_SSL_CACERT_BADFILE:
	case CURLE_SSL_ISSUER_ERROR:
	case CURLE_SSL_ENGINE_NOTFOUND:
		return true;
	default:
		return false;
	}
}

/* A call that has not even got a connection has sent nothing: libcurl's timeout is the same for both. */
static bool
has_connected(CURL *easy)
{
	curl_off_t us = 0;

	return curl_easy_getinfo(easy, CURLINFO_PRETRANSFER_TIME_T, &us) == CURLE_OK && us > 0;
}

static void
tell_failure(struct etcd *e, const struct call *c, const char *reason)
{
	char text[sizeof(e->told)];

	snprintf(text, sizeof(text), "%.120s: %.250s", e->options.endpoints[c->endpoint], reason);
	tell(e, text);
}

static Fob__V1__Result *
result_of_failure(struct etcd *e, struct call *c, CURLcode code)
{
	bool sent = !was_not_sent(code) && has_connected(c->easy);

	use_another(e, c->endpoint);
	tell_failure(e, c, c->error[0] != '\0' ? c->error : curl_easy_strerror(code));
	return txn_outcome(c->id, sent ? FOB__V1__RESULT__OUTCOME__UNKNOWN : FOB__V1__RESULT__OUTCOME__NOT_SENT);
}

static Fob__V1__Result *
result_of_status(struct etcd *e, struct call *c)
{
	bool another, operator_s;
	Fob__V1__Result__Outcome outcome = grpc_outcome(&c->status, &another, &operator_s);

	if (another)
		use_another(e, c->endpoint);
	tell_failure(e, c, c->status.message[0] != '\0' ? c->status.message : "no gRPC status: is this etcd?");
	return txn_outcome(c->id, outcome);
}

static Fob__V1__Result *
result_of(struct etcd *e, struct call *c, CURLcode code)
{
	Fob__V1__Result *r;
	const uint8_t *message;
	size_t len;

	if (code != CURLE_OK)
		return result_of_failure(e, c, code);
	if (c->status.code != 0)
		return result_of_status(e, c);
	if (grpc_message(c->answer, c->len, &message, &len) == 1 &&
	    (r = txn_unpack(c->id, message, len, e->options.prefix)) != NULL) {
		tell(e, "");
		return r;
	}
	/* It was made, and what it has returned is lost. */
	tell_failure(e, c, "the answer cannot be read");
	return txn_outcome(c->id, FOB__V1__RESULT__OUTCOME__UNKNOWN);
}

static void
finish(struct etcd *e, struct call *c, CURLcode code)
{
	Fob__V1__Result *r = NULL;

	if (c->is_watch) {
		if (code != CURLE_OK && code != CURLE_OPERATION_TIMEDOUT)
			use_another(e, c->endpoint);
		e->watch = NULL;
		e->watch_again_ms = now_ms() + WATCH_AGAIN_MS;
	} else {
		r = result_of(e, c, code);
	}
	end_call(e, c);
	/* Last: it may begin another transaction. */
	if (r != NULL) {
		e->has_told = true;
		e->options.done(e->options.arg, r);
	}
}

static void
finish_ended(struct etcd *e)
{
	CURLMsg *m;
	struct call *c;
	int left;

	while ((m = curl_multi_info_read(e->multi, &left)) != NULL)
		if (m->msg == CURLMSG_DONE && curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, &c) == CURLE_OK)
			finish(e, c, m->data.result);
}

/* ---- what others see ---- */

struct etcd *
etcd_new(const struct etcd_options *options)
{
	struct etcd *e;
	struct curl_slist *more;

	if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK || (e = calloc(1, sizeof(*e))) == NULL)
		return NULL;
	e->options = *options;
	e->headers = curl_slist_append(NULL, "content-type: application/grpc");
	if ((e->multi = curl_multi_init()) == NULL || e->headers == NULL ||
	    (more = curl_slist_append(e->headers, "te: trailers")) == NULL ||
	    (more = curl_slist_append(more, "expect:")) == NULL ||
	    curl_multi_setopt(e->multi, CURLMOPT_PIPELINING, (long)CURLPIPE_MULTIPLEX) != CURLM_OK) {
		etcd_free(e);
		return NULL;
	}
	return e;
}

void
etcd_free(struct etcd *e)
{
	struct call *c;

	if (e == NULL)
		return;
	while ((c = e->calls) != NULL) {
		e->calls = c->next;
		curl_multi_remove_handle(e->multi, c->easy);
		free_call(c);
	}
	while ((c = e->spare) != NULL) {
		e->spare = c->next;
		free_call(c);
	}
	if (e->multi != NULL)
		curl_multi_cleanup(e->multi);
	curl_slist_free_all(e->headers);
	free(e);
}

void
etcd_transact(struct etcd *e, const Fob__V1__Transaction *txn)
{
	struct txn_bytes message;
	struct call *c = NULL;
	Fob__V1__Result *r;

	if (txn_pack(txn, e->options.prefix, &message) == 0)
		c = begin(e, "KV/Txn", &message, false, txn->timeout_ms > 0 ? (long)txn->timeout_ms : 1L);
	if (c != NULL) {
		c->id = txn->id;
		return;
	}
	if ((r = txn_outcome(txn->id, FOB__V1__RESULT__OUTCOME__NOT_SENT)) != NULL)
		e->options.done(e->options.arg, r);
}

static void
watch(struct etcd *e)
{
	struct txn_bytes message;

	if (e->watch != NULL || now_ms() < e->watch_again_ms)
		return;
	e->watch_again_ms = now_ms() + WATCH_AGAIN_MS;
	if (txn_pack_watch(e->options.prefix, e->options.watched, &message) == 0)
		e->watch = begin(e, "Watch/Watch", &message, true, WATCH_SILENT_S * 1000L);
}

/* A call that has just been begun is sent by the first perform; what is there to be read needs no wait. */
void
etcd_wait(struct etcd *e, struct pollfd *fds, unsigned n, int timeout_ms)
{
	struct curl_waitfd waits[8];
	int running;

	e->has_told = false;
	watch(e);
	curl_multi_perform(e->multi, &running);
	finish_ended(e);
	if (e->has_told)
		timeout_ms = 0;
	for (unsigned i = 0; i < n && i < 8; i++)
		waits[i] = (struct curl_waitfd){ .fd = fds[i].fd, .events = (short)(
			((fds[i].events & POLLIN) ? CURL_WAIT_POLLIN : 0) | ((fds[i].events & POLLOUT) ? CURL_WAIT_POLLOUT : 0)) };
	curl_multi_poll(e->multi, waits, n, timeout_ms, NULL);
	curl_multi_perform(e->multi, &running);
	finish_ended(e);
	/* libcurl does not tell errors and ends of streams of these. */
	poll(fds, n, 0);
}
