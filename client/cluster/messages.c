/*
 * messages.c - between fobd's messages and etcd's (see messages.h). Never looks into a value.
 */
#include "client/cluster/messages.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/cluster/etcd.pb-c.h"
#include "client/cluster/grpc.h"

#define OPS_MAX 128 /* etcd's own limit, --max-txn-ops */

/* ---- requests ---- */

/* Of one request: the keys with their prefix, and the messages that point to them. */
struct request {
	const char *prefix;
	Etcdserverpb__TxnRequest txn;
	Etcdserverpb__Compare compares[OPS_MAX], *compare_ptrs[OPS_MAX];
	struct op {
		Etcdserverpb__RequestOp op;
		Etcdserverpb__RangeRequest range;
		Etcdserverpb__PutRequest put;
		Etcdserverpb__DeleteRangeRequest delete;
	} ops[2][OPS_MAX];
	Etcdserverpb__RequestOp *op_ptrs[2][OPS_MAX];
	uint8_t *keys;
	size_t keys_len;
};

static ProtobufCBinaryData
prefixed(struct request *r, const ProtobufCBinaryData *key)
{
	size_t n = strlen(r->prefix);
	ProtobufCBinaryData out = { .data = r->keys + r->keys_len, .len = n + key->len };

	memcpy(out.data, r->prefix, n);
	if (key->len > 0)
		memcpy(out.data + n, key->data, key->len);
	r->keys_len += out.len;
	return out;
}

static int
put_compare(struct request *r, const Fob__V1__Compare *from, Etcdserverpb__Compare *to)
{
	etcdserverpb__compare__init(to);
	to->key = prefixed(r, &from->key);
	to->result = ETCDSERVERPB__COMPARE__COMPARE_RESULT__EQUAL;
	if (from->target == FOB__V1__COMPARE__TARGET__CREATE_REVISION) {
		to->target = ETCDSERVERPB__COMPARE__COMPARE_TARGET__CREATE;
		to->target_union_case = ETCDSERVERPB__COMPARE__TARGET_UNION_CREATE_REVISION;
		to->create_revision = from->number;
	} else if (from->target == FOB__V1__COMPARE__TARGET__VERSION) {
		to->target = ETCDSERVERPB__COMPARE__COMPARE_TARGET__VERSION;
		to->target_union_case = ETCDSERVERPB__COMPARE__TARGET_UNION_VERSION;
		to->version = from->number;
	} else if (from->target == FOB__V1__COMPARE__TARGET__VALUE) {
		to->target = ETCDSERVERPB__COMPARE__COMPARE_TARGET__VALUE;
		to->target_union_case = ETCDSERVERPB__COMPARE__TARGET_UNION_VALUE;
		to->value = from->value;
	} else
		return -1;
	return 0;
}

static int
put_op(struct request *r, const Fob__V1__Action *from, struct op *to)
{
	ProtobufCBinaryData key = prefixed(r, &from->key), end = { 0 };

	if (from->end.len > 0)
		end = prefixed(r, &from->end);
	etcdserverpb__request_op__init(&to->op);
	if (from->kind == FOB__V1__ACTION__KIND__GET) {
		etcdserverpb__range_request__init(&to->range);
		to->range.key = key;
		to->range.range_end = end;
		to->range.limit = from->limit;
		to->op.request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE;
		to->op.request_range = &to->range;
	} else if (from->kind == FOB__V1__ACTION__KIND__PUT) {
		etcdserverpb__put_request__init(&to->put);
		to->put.key = key;
		to->put.value = from->value;
		to->op.request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT;
		to->op.request_put = &to->put;
	} else if (from->kind == FOB__V1__ACTION__KIND__DELETE) {
		etcdserverpb__delete_range_request__init(&to->delete);
		to->delete.key = key;
		to->delete.range_end = end;
		to->op.request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_DELETE_RANGE;
		to->op.request_delete_range = &to->delete;
	} else
		return -1;
	return 0;
}

static int
put_ops(struct request *r, unsigned which, Fob__V1__Action *const *from, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (put_op(r, from[i], &r->ops[which][i]) != 0)
			return -1;
		r->op_ptrs[which][i] = &r->ops[which][i].op;
	}
	return 0;
}

static int
put_all(struct request *r, const Fob__V1__Transaction *txn)
{
	etcdserverpb__txn_request__init(&r->txn);
	for (size_t i = 0; i < txn->n_compares; i++) {
		if (put_compare(r, txn->compares[i], &r->compares[i]) != 0)
			return -1;
		r->compare_ptrs[i] = &r->compares[i];
	}
	r->txn.n_compare = txn->n_compares;
	r->txn.compare = r->compare_ptrs;
	r->txn.n_success = txn->n_success;
	r->txn.success = r->op_ptrs[0];
	r->txn.n_failure = txn->n_failure;
	r->txn.failure = r->op_ptrs[1];
	return put_ops(r, 0, txn->success, txn->n_success) != 0 ? -1 : put_ops(r, 1, txn->failure, txn->n_failure);
}

static size_t
actions_size(size_t prefix, Fob__V1__Action *const *actions, size_t n)
{
	size_t size = 0;

	for (size_t i = 0; i < n; i++)
		size += 2 * prefix + actions[i]->key.len + actions[i]->end.len;
	return size;
}

/* What the keys need. */
static size_t
keys_size(size_t prefix, const Fob__V1__Transaction *txn)
{
	size_t size = 1;

	for (size_t i = 0; i < txn->n_compares; i++)
		size += prefix + txn->compares[i]->key.len;
	return size + actions_size(prefix, txn->success, txn->n_success) +
	    actions_size(prefix, txn->failure, txn->n_failure);
}

static int
frame(const ProtobufCMessage *message, struct buffer *out)
{
	size_t len = protobuf_c_message_get_packed_size(message);
	uint8_t *to;

	if (len > GRPC_MESSAGE_MAX || (to = buffer_reserve(out, GRPC_PREFIX + len)) == NULL)
		return -1;
	grpc_prefix((uint32_t)len, to);
	protobuf_c_message_pack(message, to + GRPC_PREFIX);
	buffer_add(out, GRPC_PREFIX + len);
	return 0;
}

int
messages_txn(const char *prefix, const Fob__V1__Transaction *txn, struct buffer *out)
{
	struct request *r;
	int rc = -1;

	if (txn->n_compares > OPS_MAX || txn->n_success > OPS_MAX || txn->n_failure > OPS_MAX)
		return -1;
	if ((r = malloc(sizeof(*r))) == NULL)
		return -1;
	r->prefix = prefix;
	r->keys_len = 0;
	if ((r->keys = malloc(keys_size(strlen(prefix), txn))) != NULL && put_all(r, txn) == 0)
		rc = frame(&r->txn.base, out);
	free(r->keys);
	free(r);
	return rc;
}

int
messages_watch(const char *prefix, struct buffer *out)
{
	Etcdserverpb__WatchRequest request = ETCDSERVERPB__WATCH_REQUEST__INIT;
	Etcdserverpb__WatchCreateRequest create = ETCDSERVERPB__WATCH_CREATE_REQUEST__INIT;
	char key[MESSAGES_PREFIX_MAX + sizeof(MESSAGES_WATCHED)];
	size_t n = strlen(prefix);

	if (n == 0 || n > MESSAGES_PREFIX_MAX)
		return -1;
	memcpy(key, prefix, n);
	memcpy(key + n, MESSAGES_WATCHED, sizeof(MESSAGES_WATCHED));
	create.key = (ProtobufCBinaryData){ .data = (uint8_t *)key, .len = strlen(key) };
	create.progress_notify = 1;
	request.request_union_case = ETCDSERVERPB__WATCH_REQUEST__REQUEST_UNION_CREATE_REQUEST;
	request.create_request = &create;
	return frame(&request.base, out);
}

/* ---- answers ---- */

bool
messages_copy(ProtobufCBinaryData *to, const void *from, size_t len)
{
	/* Not of 0 bytes: protobuf-c frees what is not NULL. */
	if (len == 0)
		return true;
	if ((to->data = malloc(len)) == NULL)
		return false;
	memcpy(to->data, from, len);
	to->len = len;
	return true;
}

static Fob__V1__KeyValue *
copy_kv(const char *prefix, const Etcdserverpb__KeyValue *from)
{
	size_t n = strlen(prefix);
	Fob__V1__KeyValue *kv;

	if (from->key.len < n || memcmp(from->key.data, prefix, n) != 0 || (kv = malloc(sizeof(*kv))) == NULL)
		return NULL;
	fob__v1__key_value__init(kv);
	kv->create_revision = from->create_revision;
	kv->version = from->version;
	if (messages_copy(&kv->key, from->key.data + n, from->key.len - n) && messages_copy(&kv->value, from->value.data, from->value.len))
		return kv;
	fob__v1__key_value__free_unpacked(kv, NULL);
	return NULL;
}

static int
copy_kvs(const char *prefix, const Etcdserverpb__TxnResponse *from, Fob__V1__Result *to)
{
	const Etcdserverpb__RangeResponse *range;
	size_t n = 0;

	for (size_t i = 0; i < from->n_responses; i++)
		if (from->responses[i]->response_case == ETCDSERVERPB__RESPONSE_OP__RESPONSE_RESPONSE_RANGE)
			n += from->responses[i]->response_range->n_kvs;
	if (n > 0 && (to->kvs = calloc(n, sizeof(*to->kvs))) == NULL)
		return -1;
	for (size_t i = 0; i < from->n_responses; i++) {
		if (from->responses[i]->response_case != ETCDSERVERPB__RESPONSE_OP__RESPONSE_RESPONSE_RANGE)
			continue;
		range = from->responses[i]->response_range;
		if (range->more)
			to->more = 1;
		for (size_t k = 0; k < range->n_kvs; k++, to->n_kvs++)
			if ((to->kvs[to->n_kvs] = copy_kv(prefix, range->kvs[k])) == NULL)
				return -1;
	}
	return 0;
}

int
messages_result(const char *prefix, const uint8_t *bytes, size_t len, Fob__V1__Result *result)
{
	Etcdserverpb__TxnResponse *txn = etcdserverpb__txn_response__unpack(NULL, len, bytes);
	int rc = -1;

	if (txn == NULL)
		return -1;
	if (txn->header != NULL && (rc = copy_kvs(prefix, txn, result)) == 0) {
		result->outcome = FOB__V1__RESULT__OUTCOME__DONE;
		result->succeeded = txn->succeeded;
		result->revision = txn->header->revision;
	}
	if (rc != 0)
		messages_result_fini(result);
	etcdserverpb__txn_response__free_unpacked(txn, NULL);
	return rc;
}

void
messages_result_fini(Fob__V1__Result *result)
{
	for (size_t i = 0; i < result->n_kvs; i++)
		fob__v1__key_value__free_unpacked(result->kvs[i], NULL);
	free(result->kvs);
	result->kvs = NULL;
	result->n_kvs = 0;
	result->more = 0;
}

/* The header is the first field of all. */
static int64_t
revision_of(const uint8_t *bytes, size_t len)
{
	Etcdserverpb__ResponseHeader *header;
	int64_t revision = 0;

	if (len < 2 || bytes[0] != 0x0a || bytes[1] >= 0x80 || len - 2 < bytes[1])
		return 0;
	if ((header = etcdserverpb__response_header__unpack(NULL, bytes[1], bytes + 2)) != NULL)
		revision = header->revision;
	etcdserverpb__response_header__free_unpacked(header, NULL);
	return revision;
}

void
messages_watched(const uint8_t *bytes, size_t len, bool whole, struct messages_watched *out)
{
	Etcdserverpb__WatchResponse *response;

	*out = (struct messages_watched){ .revision = revision_of(bytes, len) };
	if (!whole || (response = etcdserverpb__watch_response__unpack(NULL, len, bytes)) == NULL)
		return;
	out->canceled = response->canceled;
	snprintf(out->reason, sizeof(out->reason), "%.*s", (int)response->cancel_reason.len,
	    response->cancel_reason.data != NULL ? (const char *)response->cancel_reason.data : "");
	for (char *c = out->reason; *c != '\0'; c++)
		if (*c < ' ' || *c > '~')
			*c = '?';
	etcdserverpb__watch_response__free_unpacked(response, NULL);
}
