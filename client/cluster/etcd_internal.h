/*
 * etcd_internal.h - what etcd.c (transactions, the watch, endpoints) and etcd_transfer.c (one call by libcurl) share.
 */
#ifndef CLUSTER_ETCD_INTERNAL_H
#define CLUSTER_ETCD_INTERNAL_H

#include <curl/curl.h>
#include <stdbool.h>
#include <sys/queue.h>

#include "client/cluster/etcd.h"
#include "client/cluster/grpc.h"
#include "proto/c/buffer.h"

#define CONNECT_MS 1000

enum transfer_kind { TRANSFER_TXN, TRANSFER_WATCH, TRANSFER_STATUS };

/* One call of a method: a stream of HTTP/2. */
struct transfer {
	LIST_ENTRY(transfer) in_list;
	struct etcd *etcd;
	enum transfer_kind kind;
	CURL *easy;
	size_t endpoint;
	int64_t begun_ms;
	struct buffer request, response;
	size_t given; /* of the request, to libcurl */
	struct grpc_status status;
	struct grpc_stream stream; /* of a watch */
	char error[CURL_ERROR_SIZE];
	/* Of a transaction. */
	uint64_t id;
	uint32_t tag;
	bool puts; /* the success branch changes the key that is watched */
};

LIST_HEAD(transfer_list, transfer);

struct etcd {
	const struct etcd_options *options;
	struct etcd_callbacks callbacks;
	CURLM *multi;
	struct curl_slist *headers;
	struct transfer_list transfers, spare;
	unsigned n_txns, n_spare;
	size_t endpoint;  /* the one in use */
	int64_t heard_ms; /* when it last said anything */
	char trouble[ETCD_TROUBLE_MAX];

	struct transfer *watch, *status;
	int64_t watch_at_ms, watch_heard_ms, status_at_ms;
	unsigned watch_pause_ms;
	bool watch_changed;
	/* A change of our own that the watch has not told of yet: its revision and when it was made. 0: none. */
	int64_t owed_revision, owed_ms;
};

/* With an empty request. Returns: NULL when out of memory. */
struct transfer *transfer_new(struct etcd *etcd, enum transfer_kind kind);
/* ${method}: "etcdserverpb.KV/Txn". ${timeout_ms} 0: none but that of the connection. Returns: 0; -1. */
int transfer_start(struct transfer *transfer, const char *method, uint32_t timeout_ms);
/* Take it from libcurl, which ends the stream, and keep it for another call. */
void transfer_free(struct transfer *transfer);
/* All spare ones. */
void transfer_free_spare(struct etcd *etcd);

/* In etcd.c: a message of the watch has come. */
void etcd_watch_message(void *transfer, const uint8_t *head, size_t head_len, size_t len);

#endif
