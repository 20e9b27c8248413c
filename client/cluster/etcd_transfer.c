/*
 * etcd_transfer.c - one gRPC call as libcurl makes it (see etcd_internal.h). Always TLS, and always checked.
 */
#include "client/cluster/etcd_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/c/monotonic.h"

#define SPARE_MAX 16
#define URL_MAX 512
#define KEPT 65536 /* of a buffer, from one call to the next */

/* ---- libcurl's callbacks ---- */

static size_t
on_read(char *to, size_t size, size_t n, void *arg)
{
	struct transfer *t = arg;
	size_t left = t->request.len - t->given, room = size * n;

	if (left > room)
		left = room;
	if (left > 0)
		memcpy(to, t->request.p + t->given, left);
	t->given += left;
	return left;
}

static size_t
on_header(char *line, size_t size, size_t n, void *arg)
{
	struct transfer *t = arg;

	t->etcd->heard_ms = monotonic_ms();
	grpc_status_header(&t->status, line, size * n);
	return size * n;
}

static size_t
on_body(char *bytes, size_t size, size_t n, void *arg)
{
	struct transfer *t = arg;

	n *= size;
	t->etcd->heard_ms = monotonic_ms();
	if (t->kind == TRANSFER_WATCH)
		return grpc_stream_add(&t->stream, (const uint8_t *)bytes, n, etcd_watch_message, t) == 0 ? n : 0;
	if (t->response.len + n > GRPC_PREFIX + GRPC_MESSAGE_MAX || buffer_append(&t->response, bytes, n) != 0)
		return 0;
	return n;
}

/* ---- a handle ---- */

/* What is the same for all calls. */
static bool
set_up(struct transfer *t)
{
	CURL *c = t->easy;

	return curl_easy_setopt(c, CURLOPT_PRIVATE, t) == CURLE_OK &&
	    curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L) == CURLE_OK &&
	    curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "https") == CURLE_OK &&
	    curl_easy_setopt(c, CURLOPT_PROXY, "") == CURLE_OK &&
	    curl_easy_setopt(c, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_2TLS) == CURLE_OK &&
	    curl_easy_setopt(c, CURLOPT_PIPEWAIT, 1L) == CURLE_OK &&
	    curl_easy_setopt(c, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2) == CURLE_OK &&
	    curl_easy_setopt(c, CURLOPT_SSL_VERIFYPEER, 1L) == CURLE_OK &&
	    curl_easy_setopt(c, CURLOPT_SSL_VERIFYHOST, 2L) == CURLE_OK &&
	    curl_easy_setopt(c, CURLOPT_CAPATH, NULL) == CURLE_OK &&
	    /* Its default keeps a CA for a day. */
	    curl_easy_setopt(c, CURLOPT_CA_CACHE_TIMEOUT, 0L) == CURLE_OK &&
	    curl_easy_setopt(c, CURLOPT_TCP_NODELAY, 1L) == CURLE_OK &&
	    curl_easy_setopt(c, CURLOPT_TCP_KEEPALIVE, 1L) == CURLE_OK &&
	    curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT_MS, (long)CONNECT_MS) == CURLE_OK &&
	    curl_easy_setopt(c, CURLOPT_POST, 1L) == CURLE_OK &&
	    /* Without a function to seek, libcurl cannot send a request again by itself. */
	    curl_easy_setopt(c, CURLOPT_READFUNCTION, on_read) == CURLE_OK &&
	    curl_easy_setopt(c, CURLOPT_READDATA, t) == CURLE_OK &&
	    curl_easy_setopt(c, CURLOPT_HEADERFUNCTION, on_header) == CURLE_OK &&
	    curl_easy_setopt(c, CURLOPT_HEADERDATA, t) == CURLE_OK &&
	    curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, on_body) == CURLE_OK &&
	    curl_easy_setopt(c, CURLOPT_WRITEDATA, t) == CURLE_OK &&
	    curl_easy_setopt(c, CURLOPT_ERRORBUFFER, t->error) == CURLE_OK;
}

struct transfer *
transfer_new(struct etcd *etcd, enum transfer_kind kind)
{
	struct transfer *t = LIST_FIRST(&etcd->spare);

	if (t != NULL) {
		LIST_REMOVE(t, in_list);
		etcd->n_spare--;
	} else {
		if ((t = calloc(1, sizeof(*t))) == NULL)
			return NULL;
		t->etcd = etcd;
		if ((t->easy = curl_easy_init()) == NULL || !set_up(t)) {
			if (t->easy != NULL)
				curl_easy_cleanup(t->easy);
			free(t);
			return NULL;
		}
	}
	t->kind = kind;
	t->given = 0;
	t->error[0] = '\0';
	t->puts = false;
	memset(&t->stream, 0, sizeof(t->stream));
	grpc_status_init(&t->status);
	LIST_INSERT_HEAD(&etcd->transfers, t, in_list);
	return t;
}

int
transfer_start(struct transfer *t, const char *method, uint32_t timeout_ms)
{
	const struct etcd_options *o = t->etcd->options;
	char url[URL_MAX];
	CURL *c = t->easy;

	t->endpoint = t->etcd->endpoint;
	t->begun_ms = monotonic_ms();
	snprintf(url, sizeof(url), "%s/%s", o->endpoints[t->endpoint], method);
	if (curl_easy_setopt(c, CURLOPT_URL, url) != CURLE_OK ||
	    curl_easy_setopt(c, CURLOPT_HTTPHEADER, t->etcd->headers) != CURLE_OK ||
	    curl_easy_setopt(c, CURLOPT_CAINFO, o->ca) != CURLE_OK ||
	    curl_easy_setopt(c, CURLOPT_SSLCERT, o->cert) != CURLE_OK ||
	    curl_easy_setopt(c, CURLOPT_SSLKEY, o->key) != CURLE_OK ||
	    curl_easy_setopt(c, CURLOPT_POSTFIELDSIZE, (long)t->request.len) != CURLE_OK ||
	    curl_easy_setopt(c, CURLOPT_TIMEOUT_MS, (long)timeout_ms) != CURLE_OK)
		return -1;
	return curl_multi_add_handle(t->etcd->multi, c) == CURLM_OK ? 0 : -1;
}

static void
destroy(struct transfer *t)
{
	curl_easy_cleanup(t->easy);
	buffer_free(&t->request);
	buffer_free(&t->response);
	free(t);
}

void
transfer_free(struct transfer *t)
{
	struct etcd *etcd = t->etcd;

	curl_multi_remove_handle(etcd->multi, t->easy);
	LIST_REMOVE(t, in_list);
	buffer_consume(&t->request, t->request.len, KEPT);
	buffer_consume(&t->response, t->response.len, KEPT);
	if (etcd->n_spare >= SPARE_MAX) {
		destroy(t);
		return;
	}
	LIST_INSERT_HEAD(&etcd->spare, t, in_list);
	etcd->n_spare++;
}

void
transfer_free_spare(struct etcd *etcd)
{
	struct transfer *t;

	while ((t = LIST_FIRST(&etcd->spare)) != NULL) {
		LIST_REMOVE(t, in_list);
		destroy(t);
	}
	etcd->n_spare = 0;
}
