/*
 * txn.c - fobd's transactions in etcd's messages (see txn.h). Looks into no value.
 */
#include "client/cluster/txn.h"

#include <stdlib.h>
#include <string.h>

#include "etcd.pb-c.h"

#define COMPARES_MAX 16
#define ACTIONS_MAX 32

/* ---- to etcd ---- */

/* The messages of one request, which point into fobd's and into ${keys}. */
struct packing {
	const char *prefix;
	uint8_t *keys; /* with the prefix */
	size_t used, room;
	Etcdserverpb__Compare compares[COMPARES_MAX], *compare_p[COMPARES_MAX];
	Etcdserverpb__RequestOp ops[ACTIONS_MAX], *op_p[ACTIONS_MAX];
	Etcdserverpb__RangeRequest ranges[ACTIONS_MAX];
	Etcdserverpb__PutRequest puts[ACTIONS_MAX];
	Etcdserverpb__DeleteRangeRequest deletes[ACTIONS_MAX];
	size_t n_ops;
	bool bad;
};

static ProtobufCBinaryData
with_prefix(struct packing *p, const ProtobufCBinaryData *key)
{
	size_t prefix_len = strlen(p->prefix);
	ProtobufCBinaryData out = { .len = prefix_len + key->len, .data = p->keys + p->used };

	if (p->room - p->used < out.len) {
		p->bad = true;
		return (ProtobufCBinaryData){ 0 };
	}
	memcpy(out.data, p->prefix, prefix_len);
	if (key->len > 0)
		memcpy(out.data + prefix_len, key->data, key->len);
	p->used += out.len;
	return out;
}

static void
pack_compare(struct packing *p, const Fob__V1__Compare *in, Etcdserverpb__Compare *out)
{
	etcdserverpb__compare__init(out);
	out->key = with_prefix(p, &in->key);
	switch (in->target) {
	case FOB__V1__COMPARE__TARGET__CREATE_REVISION:
		out->target = ETCDSERVERPB__COMPARE__COMPARE_TARGET__CREATE;
		out->target_union_case = ETCDSERVERPB__COMPARE__TARGET_UNION_CREATE_REVISION;
		out->create_revision = in->number;
		break;
	case FOB__V1__COMPARE__TARGET__VERSION:
		out->target = ETCDSERVERPB__COMPARE__COMPARE_TARGET__VERSION;
		out->target_union_case = ETCDSERVERPB__COMPARE__TARGET_UNION_VERSION;
		out->version = in->number;
		break;
	case FOB__V1__COMPARE__TARGET__VALUE:
		out->target = ETCDSERVERPB__COMPARE__COMPARE_TARGET__VALUE;
		out->target_union_case = ETCDSERVERPB__COMPARE__TARGET_UNION_VALUE;
		out->value = in->value;
		break;
	default:
		p->bad = true;
	}
}

static void
pack_action(struct packing *p, const Fob__V1__Action *in, size_t i)
{
	Etcdserverpb__RequestOp *op = &p->ops[i];
	ProtobufCBinaryData key = with_prefix(p, &in->key), end = { 0 };

	if (in->end.len > 0)
		end = with_prefix(p, &in->end);
	etcdserverpb__request_op__init(op);
	switch (in->kind) {
	case FOB__V1__ACTION__KIND__GET:
		etcdserverpb__range_request__init(&p->ranges[i]);
		p->ranges[i].key = key;
		p->ranges[i].range_end = end;
		p->ranges[i].limit = in->limit;
		op->request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE;
		op->request_range = &p->ranges[i];
		break;
	case FOB__V1__ACTION__KIND__PUT:
		etcdserverpb__put_request__init(&p->puts[i]);
		p->puts[i].key = key;
		p->puts[i].value = in->value;
		op->request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT;
		op->request_put = &p->puts[i];
		break;
	case FOB__V1__ACTION__KIND__DELETE:
		etcdserverpb__delete_range_request__init(&p->deletes[i]);
		p->deletes[i].key = key;
		p->deletes[i].range_end = end;
		op->request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_DELETE_RANGE;
		op->request_delete_range = &p->deletes[i];
		break;
	default:
		p->bad = true;
	}
}

/* Returns where the pointers to the packed actions begin. */
static Etcdserverpb__RequestOp **
pack_actions(struct packing *p, Fob__V1__Action *const *in, size_t n)
{
	size_t first = p->n_ops;

	if (n > ACTIONS_MAX - first) {
		p->bad = true;
		return p->op_p;
	}
	for (size_t i = 0; i < n; i++) {
		pack_action(p, in[i], first + i);
		p->op_p[first + i] = &p->ops[first + i];
	}
	p->n_ops += n;
	return p->op_p + first;
}

static size_t
keys_len(const Fob__V1__Transaction *txn, size_t prefix_len)
{
	size_t len = 0;

	for (size_t i = 0; i < txn->n_compares; i++)
		len += prefix_len + txn->compares[i]->key.len;
	for (size_t i = 0; i < txn->n_success; i++)
		len += 2 * prefix_len + txn->success[i]->key.len + txn->success[i]->end.len;
	for (size_t i = 0; i < txn->n_failure; i++)
		len += 2 * prefix_len + txn->failure[i]->key.len + txn->failure[i]->end.len;
	return len;
}

static int
pack_bytes(const ProtobufCMessage *message, struct txn_bytes *out)
{
	out->len = protobuf_c_message_get_packed_size(message);
	if ((out->data = malloc(out->len > 0 ? out->len : 1)) == NULL)
		return -1;
	protobuf_c_message_pack(message, out->data);
	return 0;
}

static int
pack(struct packing *p, const Fob__V1__Transaction *txn, struct txn_bytes *out)
{
	Etcdserverpb__TxnRequest request = ETCDSERVERPB__TXN_REQUEST__INIT;

	if (txn->n_compares > COMPARES_MAX)
		return -1;
	for (size_t i = 0; i < txn->n_compares; i++) {
		pack_compare(p, txn->compares[i], &p->compares[i]);
		p->compare_p[i] = &p->compares[i];
	}
	request.n_compare = txn->n_compares;
	request.compare = p->compare_p;
	request.n_success = txn->n_success;
	request.success = pack_actions(p, txn->success, txn->n_success);
	request.n_failure = txn->n_failure;
	request.failure = pack_actions(p, txn->failure, txn->n_failure);
	return p->bad ? -1 : pack_bytes(&request.base, out);
}

int
txn_pack(const Fob__V1__Transaction *txn, const char *prefix, struct txn_bytes *out)
{
	struct packing *p;
	int rc = -1;

	*out = (struct txn_bytes){ 0 };
	if ((p = calloc(1, sizeof(*p))) == NULL)
		return -1;
	p->prefix = prefix;
	p->room = keys_len(txn, strlen(prefix)) + 1;
	if ((p->keys = malloc(p->room)) != NULL)
		rc = pack(p, txn, out);
	free(p->keys);
	free(p);
	return rc;
}

int
txn_pack_watch(const char *prefix, const char *key, struct txn_bytes *out)
{
	Etcdserverpb__WatchRequest request = ETCDSERVERPB__WATCH_REQUEST__INIT;
	Etcdserverpb__WatchCreateRequest create = ETCDSERVERPB__WATCH_CREATE_REQUEST__INIT;
	char name[256];
	size_t prefix_len = strlen(prefix), len = prefix_len + strlen(key);

	*out = (struct txn_bytes){ 0 };
	if (len >= sizeof(name))
		return -1;
	memcpy(name, prefix, prefix_len);
	memcpy(name + prefix_len, key, len - prefix_len);
	create.key.data = (uint8_t *)name;
	create.key.len = len;
	request.request_union_case = ETCDSERVERPB__WATCH_REQUEST__REQUEST_UNION_CREATE_REQUEST;
	request.create_request = &create;
	return pack_bytes(&request.base, out);
}

/* ---- from etcd ---- */

Fob__V1__Result *
txn_outcome(uint64_t id, Fob__V1__Result__Outcome outcome)
{
	Fob__V1__Result *r;

	/* As protobuf-c would have unpacked it, so that it can be freed in one way. */
	if ((r = malloc(sizeof(*r))) == NULL)
		return NULL;
	fob__v1__result__init(r);
	r->id = id;
	r->outcome = outcome;
	return r;
}

static bool
copy(ProtobufCBinaryData *to, const uint8_t *data, size_t len)
{
	if ((to->data = malloc(len > 0 ? len : 1)) == NULL)
		return false;
	if (len > 0)
		memcpy(to->data, data, len);
	to->len = len;
	return true;
}

/* Returns false without memory, or when the key lacks the prefix, which etcd would not do. */
static bool
add_kv(Fob__V1__Result *r, const Etcdserverpb__KeyValue *in, size_t prefix_len)
{
	Fob__V1__KeyValue *kv;

	if (in->key.len < prefix_len || (kv = malloc(sizeof(*kv))) == NULL)
		return false;
	fob__v1__key_value__init(kv);
	r->kvs[r->n_kvs++] = kv;
	kv->create_revision = in->create_revision;
	kv->version = in->version;
	return copy(&kv->key, in->key.data + prefix_len, in->key.len - prefix_len) &&
	    copy(&kv->value, in->value.data, in->value.len);
}

static size_t
count_kvs(const Etcdserverpb__TxnResponse *in)
{
	size_t n = 0;

	for (size_t i = 0; i < in->n_responses; i++)
		if (in->responses[i]->response_case == ETCDSERVERPB__RESPONSE_OP__RESPONSE_RESPONSE_RANGE)
			n += in->responses[i]->response_range->n_kvs;
	return n;
}

static bool
fill_kvs(Fob__V1__Result *r, const Etcdserverpb__TxnResponse *in, size_t prefix_len)
{
	size_t n = count_kvs(in), size = 0;

	if ((r->kvs = malloc((n + 1) * sizeof(*r->kvs))) == NULL)
		return false;
	for (size_t i = 0; i < in->n_responses; i++) {
		const Etcdserverpb__RangeResponse *range = in->responses[i]->response_range;

		if (in->responses[i]->response_case != ETCDSERVERPB__RESPONSE_OP__RESPONSE_RESPONSE_RANGE)
			continue;
		r->more = r->more || range->more;
		for (size_t k = 0; k < range->n_kvs; k++) {
			size += range->kvs[k]->key.len + range->kvs[k]->value.len + 32;
			if (size > TXN_RESULT_MAX) {
				r->more = true;
				return true;
			}
			if (!add_kv(r, range->kvs[k], prefix_len))
				return false;
		}
	}
	return true;
}

Fob__V1__Result *
txn_unpack(uint64_t id, const uint8_t *bytes, size_t len, const char *prefix)
{
	Etcdserverpb__TxnResponse *in = etcdserverpb__txn_response__unpack(NULL, len, bytes);
	Fob__V1__Result *r = NULL;

	if (in != NULL && in->header != NULL && (r = txn_outcome(id, FOB__V1__RESULT__OUTCOME__DONE)) != NULL) {
		r->succeeded = in->succeeded;
		r->revision = in->header->revision;
		if (!fill_kvs(r, in, strlen(prefix))) {
			fob__v1__result__free_unpacked(r, NULL);
			r = NULL;
		}
	}
	if (in != NULL)
		etcdserverpb__txn_response__free_unpacked(in, NULL);
	return r;
}
