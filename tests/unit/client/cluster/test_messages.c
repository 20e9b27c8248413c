/*
 * test_messages.c - keys get the prefix on their way to etcd and lose it on their way back.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "client/cluster/etcd.pb-c.h"
#include "client/cluster/grpc.h"
#include "client/cluster/messages.h"

#define PREFIX "/fob/test/"

static ProtobufCBinaryData
text(const char *s)
{
	return (ProtobufCBinaryData){ .data = (uint8_t *)(uintptr_t)s, .len = strlen(s) };
}

static void
assert_text(const char *want, ProtobufCBinaryData got)
{
	assert_int_equal(strlen(want), got.len);
	assert_memory_equal(want, got.data, got.len);
}

static void
test_txn(void **state)
{
	Fob__V1__Compare compare = FOB__V1__COMPARE__INIT, *compares[] = { &compare };
	Fob__V1__Action get = FOB__V1__ACTION__INIT, put = FOB__V1__ACTION__INIT, delete = FOB__V1__ACTION__INIT;
	Fob__V1__Action *success[] = { &put, &get }, *failure[] = { &delete };
	Fob__V1__Transaction txn = FOB__V1__TRANSACTION__INIT;
	Etcdserverpb__TxnRequest *made;
	struct buffer out = { 0 };
	const uint8_t *body;
	size_t len;

	(void)state;
	compare.target = FOB__V1__COMPARE__TARGET__VALUE;
	compare.key = text("head");
	compare.value = text("7");
	get.kind = FOB__V1__ACTION__KIND__GET;
	get.key = text("nodes/");
	get.end = text("nodes0");
	get.limit = 128;
	put.kind = FOB__V1__ACTION__KIND__PUT;
	put.key = text("log/8");
	put.value = text("sealed");
	delete.kind = FOB__V1__ACTION__KIND__DELETE;
	delete.key = text("none");
	txn.n_compares = 1;
	txn.compares = compares;
	txn.n_success = 2;
	txn.success = success;
	txn.n_failure = 1;
	txn.failure = failure;
	assert_int_equal(0, messages_txn(PREFIX, &txn, &out));
	assert_int_equal(GRPC_MESSAGE, grpc_message(out.p, out.len, &body, &len));
	assert_int_equal(out.len, GRPC_PREFIX + len);
	assert_non_null(made = etcdserverpb__txn_request__unpack(NULL, len, body));
	assert_text(PREFIX "head", made->compare[0]->key);
	assert_text("7", made->compare[0]->value);
	assert_text(PREFIX "log/8", made->success[0]->request_put->key);
	assert_text("sealed", made->success[0]->request_put->value);
	assert_text(PREFIX "nodes/", made->success[1]->request_range->key);
	assert_text(PREFIX "nodes0", made->success[1]->request_range->range_end);
	assert_int_equal(128, made->success[1]->request_range->limit);
	assert_text(PREFIX "none", made->failure[0]->request_delete_range->key);
	assert_int_equal(0, made->failure[0]->request_delete_range->range_end.len);
	etcdserverpb__txn_request__free_unpacked(made, NULL);

	compare.target = FOB__V1__COMPARE__TARGET__TARGET_UNSPECIFIED;
	assert_int_equal(-1, messages_txn(PREFIX, &txn, &out));
	compare.target = FOB__V1__COMPARE__TARGET__VERSION;
	put.kind = FOB__V1__ACTION__KIND__KIND_UNSPECIFIED;
	assert_int_equal(-1, messages_txn(PREFIX, &txn, &out));
	buffer_free(&out);
}

static size_t
answer(const char *key, uint8_t *to)
{
	Etcdserverpb__ResponseHeader header = ETCDSERVERPB__RESPONSE_HEADER__INIT;
	Etcdserverpb__KeyValue kv = ETCDSERVERPB__KEY_VALUE__INIT, *kvs[] = { &kv };
	Etcdserverpb__RangeResponse range = ETCDSERVERPB__RANGE_RESPONSE__INIT;
	Etcdserverpb__ResponseOp op = ETCDSERVERPB__RESPONSE_OP__INIT, *ops[] = { &op };
	Etcdserverpb__TxnResponse txn = ETCDSERVERPB__TXN_RESPONSE__INIT;

	header.revision = 42;
	kv.key = text(key);
	kv.value = text("v");
	kv.create_revision = 40;
	kv.version = 2;
	range.n_kvs = 1;
	range.kvs = kvs;
	range.more = 1;
	op.response_case = ETCDSERVERPB__RESPONSE_OP__RESPONSE_RESPONSE_RANGE;
	op.response_range = &range;
	txn.header = &header;
	txn.succeeded = 1;
	txn.n_responses = 1;
	txn.responses = ops;
	return etcdserverpb__txn_response__pack(&txn, to);
}

static void
test_result(void **state)
{
	Fob__V1__Result result = FOB__V1__RESULT__INIT;
	uint8_t bytes[256];
	size_t len = answer(PREFIX "head", bytes);

	(void)state;
	assert_int_equal(0, messages_result(PREFIX, bytes, len, &result));
	assert_int_equal(FOB__V1__RESULT__OUTCOME__DONE, result.outcome);
	assert_true(result.succeeded && result.more);
	assert_int_equal(42, result.revision);
	assert_int_equal(1, result.n_kvs);
	assert_text("head", result.kvs[0]->key);
	assert_text("v", result.kvs[0]->value);
	assert_int_equal(40, result.kvs[0]->create_revision);
	assert_int_equal(2, result.kvs[0]->version);
	messages_result_fini(&result);

	/* A key of others, no header, and what is no message: nothing is known. */
	result = (Fob__V1__Result)FOB__V1__RESULT__INIT;
	len = answer("/fob/live/head", bytes);
	assert_int_equal(-1, messages_result(PREFIX, bytes, len, &result));
	assert_int_equal(-1, messages_result(PREFIX, bytes, 0, &result));
	memset(bytes, 0xff, 16);
	assert_int_equal(-1, messages_result(PREFIX, bytes, 16, &result));
	assert_int_equal(FOB__V1__RESULT__OUTCOME__UNKNOWN, result.outcome);
	assert_int_equal(0, result.n_kvs);
}

static void
test_watch(void **state)
{
	Etcdserverpb__ResponseHeader header = ETCDSERVERPB__RESPONSE_HEADER__INIT;
	Etcdserverpb__WatchResponse response = ETCDSERVERPB__WATCH_RESPONSE__INIT;
	struct messages_watched watched;
	Etcdserverpb__WatchRequest *made;
	struct buffer out = { 0 };
	uint8_t bytes[256];
	size_t len;

	(void)state;
	assert_int_equal(0, messages_watch(PREFIX, &out));
	assert_non_null(made = etcdserverpb__watch_request__unpack(NULL, out.len - GRPC_PREFIX, out.p + GRPC_PREFIX));
	assert_text(PREFIX "head", made->create_request->key);
	assert_int_equal(0, made->create_request->range_end.len);
	etcdserverpb__watch_request__free_unpacked(made, NULL);
	buffer_free(&out);

	header.cluster_id = header.member_id = UINT64_MAX;
	header.revision = 7;
	response.header = &header;
	response.canceled = 1;
	response.cancel_reason = text("no\n");
	len = etcdserverpb__watch_response__pack(&response, bytes);
	messages_watched(bytes, len, true, &watched);
	assert_true(watched.canceled);
	assert_int_equal(7, watched.revision);
	assert_string_equal("no?", watched.reason);
	messages_watched(bytes, 40, false, &watched); /* the beginning of a longer one */
	assert_false(watched.canceled);
	assert_int_equal(7, watched.revision);
	messages_watched(bytes, 0, true, &watched);
	assert_int_equal(0, watched.revision);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_txn), cmocka_unit_test(test_result),
		cmocka_unit_test(test_watch) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
