/*
 * The cluster's requests as bytes and replies as results: what is asked arrives, and a reply that lacks an id or says what
 * cannot be is a fault that leaves nothing behind.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "client/codec.h"
#include "fob/v1/admin.pb-c.h"
#include "tests/unit/client/reply.h"

static const uint8_t token[FOB_TOKEN_LEN] = "0123456789abcdef0123456789abcde";
static const char cluster[] = "the cluster's id", replica[] = "the replica's id", other[] = "another's row id";

static void
test_requests(void **state)
{
	struct fob_cluster_init_request init = { FOB_CLUSTER_INIT_REQUEST_INIT, .environment = FOB_ENVIRONMENT_TEST,
		.again = true };
	struct fob_cluster_forget_request forget = { FOB_CLUSTER_FORGET_REQUEST_INIT,
		.environment = FOB_ENVIRONMENT_LIVE, .replica = replica };
	struct fob_cluster_status_request status = { FOB_CLUSTER_STATUS_REQUEST_INIT,
		.environment = FOB_ENVIRONMENT_LIVE };
	Fob__V1__InitClusterRequest *i;
	Fob__V1__ForgetNodeRequest *f;
	Fob__V1__ClusterStatusRequest *s;
	struct codec_body body;
	struct fob_error e;

	(void)state;
	assert_int_equal(codec_encode_cluster_init(&init, token, &body, &e), 0);
	assert_non_null(i = fob__v1__init_cluster_request__unpack(NULL, body.len, body.p));
	assert_int_equal(i->environment, FOB__V1__ENVIRONMENT__TEST);
	assert_true(i->again);
	assert_int_equal(i->request_token.len, FOB_TOKEN_LEN);
	assert_memory_equal(i->request_token.data, token, FOB_TOKEN_LEN);
	fob__v1__init_cluster_request__free_unpacked(i, NULL);
	codec_body_free(&body);

	assert_int_equal(codec_encode_cluster_forget(&forget, &body, &e), 0);
	assert_non_null(f = fob__v1__forget_node_request__unpack(NULL, body.len, body.p));
	assert_int_equal(f->environment, FOB__V1__ENVIRONMENT__LIVE);
	assert_int_equal(f->replica.len, FOB_CLUSTER_ID_LEN);
	assert_memory_equal(f->replica.data, replica, FOB_CLUSTER_ID_LEN);
	fob__v1__forget_node_request__free_unpacked(f, NULL);
	codec_body_free(&body);

	assert_int_equal(codec_encode_cluster_status(&status, &body, &e), 0);
	assert_non_null(s = fob__v1__cluster_status_request__unpack(NULL, body.len, body.p));
	assert_int_equal(s->environment, FOB__V1__ENVIRONMENT__LIVE);
	fob__v1__cluster_status_request__free_unpacked(s, NULL);
	codec_body_free(&body);

	forget.replica = NULL;
	assert_int_equal(codec_encode_cluster_forget(&forget, &body, &e), FOB_EINVALID_ARGUMENT);
	assert_string_equal(e.message, "replica: the 16 bytes of a node are needed");
	init.environment = forget.environment = status.environment = FOB_ENVIRONMENT_ANY;
	assert_int_equal(codec_encode_cluster_init(&init, token, &body, &e), FOB_EINVALID_ARGUMENT);
	assert_int_equal(codec_encode_cluster_forget(&forget, &body, &e), FOB_EINVALID_ARGUMENT);
	assert_int_equal(codec_encode_cluster_status(&status, &body, &e), FOB_EINVALID_ARGUMENT);
	assert_null(body.p);
}

static void
test_init_reply(void **state)
{
	Fob__V1__InitClusterResponse m = FOB__V1__INIT_CLUSTER_RESPONSE__INIT;
	struct fob_cluster_identity out;
	struct fob_error e;
	uint8_t *reply;
	size_t len;

	(void)state;
	m.cluster = TEXT(cluster);
	m.replica = TEXT(replica);
	reply = reply_make(0, TEXT(""), &m.base, &len);
	assert_int_equal(codec_decode_cluster_init(reply, len, &out, &e), 0);
	assert_int_equal(out.size, sizeof(out));
	assert_memory_equal(out.cluster, cluster, FOB_CLUSTER_ID_LEN);
	assert_memory_equal(out.replica, replica, FOB_CLUSTER_ID_LEN);
	free(reply);

	m.replica.len--;
	reply = reply_make(0, TEXT(""), &m.base, &len);
	assert_int_equal(codec_decode_cluster_init(reply, len, &out, &e), FOB_EINTERNAL);
	assert_int_equal(out.cluster[0], 0);
	free(reply);

	reply = reply_make(9, TEXT(""), &m.base, &len);
	assert_int_equal(codec_decode_cluster_init(reply, len, &out, &e), FOB_EFAILED_PRECONDITION);
	assert_int_equal(codec_decode_cluster_forget(reply, len, &e), FOB_EFAILED_PRECONDITION);
	free(reply);
	reply = reply_make(0, TEXT(""), NULL, &len);
	assert_int_equal(codec_decode_cluster_forget(reply, len, &e), 0);
	free(reply);
}

static Fob__V1__ClusterStatusResponse
status_message(Fob__V1__ClusterNode **nodes)
{
	Fob__V1__ClusterStatusResponse m = FOB__V1__CLUSTER_STATUS_RESPONSE__INIT;

	m.cluster = TEXT(cluster);
	m.replica = TEXT(replica);
	m.applied = 7;
	m.head = 9;
	m.fresh_ms = 8123;
	m.agent_connected = 1;
	fob__v1__cluster_node__init(nodes[0]);
	fob__v1__cluster_node__init(nodes[1]);
	nodes[0]->replica = TEXT(replica);
	nodes[0]->self = nodes[0]->valid = 1;
	nodes[0]->applied = 7;
	nodes[0]->wall_ms = 1700000000000;
	nodes[0]->max_staleness_ms = 10000;
	nodes[0]->pepper_lines = 2;
	nodes[0]->address = TEXT("tls+tcp://a.example:7401");
	nodes[1]->replica = TEXT(other);
	nodes[1]->marked = 1;
	nodes[1]->address = TEXT("b\n\x1b[2J");
	m.n_nodes = 2;
	m.nodes = nodes;
	return m;
}

static void
test_status_reply(void **state)
{
	Fob__V1__ClusterNode a, b, *nodes[2] = { &a, &b };
	Fob__V1__ClusterStatusResponse m = status_message(nodes);
	struct fob_cluster_status *s;
	struct fob_error e;
	uint8_t *reply;
	size_t len;

	(void)state;
	m.closed = TEXT("its log is gone");
	reply = reply_make(0, TEXT(""), &m.base, &len);
	assert_int_equal(codec_decode_cluster_status(reply, len, &s, &e), 0);
	free(reply);
	assert_int_equal(s->size, sizeof(*s));
	assert_memory_equal(s->cluster, cluster, FOB_CLUSTER_ID_LEN);
	assert_memory_equal(s->replica, replica, FOB_CLUSTER_ID_LEN);
	assert_int_equal(s->applied, 7);
	assert_int_equal(s->head, 9);
	assert_int_equal(s->fresh_ms, 8123);
	assert_true(s->agent_connected);
	assert_string_equal(s->closed, "its log is gone");
	assert_int_equal(s->n_nodes, 2);
	assert_int_equal(s->nodes[0]->size, sizeof(*s->nodes[0]));
	assert_memory_equal(s->nodes[0]->replica, replica, FOB_CLUSTER_ID_LEN);
	assert_true(s->nodes[0]->self && s->nodes[0]->valid && !s->nodes[0]->marked);
	assert_int_equal(s->nodes[0]->applied, 7);
	assert_int_equal(s->nodes[0]->wall_ms, 1700000000000);
	assert_int_equal(s->nodes[0]->max_staleness_ms, 10000);
	assert_int_equal(s->nodes[0]->pepper_lines, 2);
	assert_string_equal(s->nodes[0]->address, "tls+tcp://a.example:7401");
	assert_memory_equal(s->nodes[1]->replica, other, FOB_CLUSTER_ID_LEN);
	assert_true(s->nodes[1]->marked && !s->nodes[1]->valid && !s->nodes[1]->self);
	assert_string_equal(s->nodes[1]->address, "b??[2J");
	free(s);
}

static void
status_is_refused(const Fob__V1__ClusterStatusResponse *m)
{
	struct fob_cluster_status *s;
	struct fob_error e;
	uint8_t *reply;
	size_t len;

	reply = reply_make(0, TEXT(""), &m->base, &len);
	assert_int_equal(codec_decode_cluster_status(reply, len, &s, &e), FOB_EINTERNAL);
	assert_null(s);
	free(reply);
}

static void
test_status_replies_that_cannot_be(void **state)
{
	Fob__V1__ClusterNode a, b, *nodes[2] = { &a, &b };
	Fob__V1__ClusterStatusResponse m = status_message(nodes);
	struct fob_cluster_status *s;
	struct fob_error e;
	uint8_t *reply;
	size_t len;

	(void)state;
	m.fresh_ms = -1;
	status_is_refused(&m);
	m = status_message(nodes);
	m.cluster.len = 0;
	status_is_refused(&m);
	m = status_message(nodes);
	m.replica.len--;
	status_is_refused(&m);
	m = status_message(nodes);
	b.replica.len = 0;
	status_is_refused(&m);
	m = status_message(nodes);
	reply = reply_make(9, TEXT(""), &m.base, &len);
	assert_int_equal(codec_decode_cluster_status(reply, len, &s, &e), FOB_EFAILED_PRECONDITION);
	assert_null(s);
	free(reply);
}

/* As many nodes as a reply holds: what is longer than the arrays is cut. */
static void
test_many_nodes(void **state)
{
	enum { N = 300 };
	static Fob__V1__ClusterNode all[N];
	Fob__V1__ClusterNode *nodes[N];
	Fob__V1__ClusterStatusResponse m;
	char address[2 * FOB_CLUSTER_ADDRESS_SIZE], closed[2 * FOB_CLUSTER_CLOSED_SIZE];
	struct fob_cluster_status *s;
	struct fob_error e;
	uint8_t *reply;
	size_t len;

	(void)state;
	memset(address, 'a', sizeof(address));
	memset(closed, 'c', sizeof(closed));
	nodes[0] = &all[0];
	nodes[1] = &all[1];
	m = status_message(nodes);
	m.closed = (ProtobufCBinaryData){ .len = sizeof(closed), .data = (uint8_t *)closed };
	for (size_t i = 0; i < N; i++) {
		nodes[i] = &all[i];
		fob__v1__cluster_node__init(&all[i]);
		all[i].replica = TEXT(other);
		all[i].address = (ProtobufCBinaryData){ .len = sizeof(address), .data = (uint8_t *)address };
		all[i].applied = i;
	}
	m.n_nodes = N;
	m.nodes = nodes;
	reply = reply_make(0, TEXT(""), &m.base, &len);
	assert_int_equal(codec_decode_cluster_status(reply, len, &s, &e), 0);
	free(reply);
	assert_int_equal(s->n_nodes, N);
	assert_int_equal(strlen(s->closed), FOB_CLUSTER_CLOSED_SIZE - 1);
	assert_int_equal(strlen(s->nodes[N - 1]->address), FOB_CLUSTER_ADDRESS_SIZE - 1);
	assert_int_equal(s->nodes[N - 1]->applied, N - 1);
	free(s);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_requests), cmocka_unit_test(test_init_reply),
		cmocka_unit_test(test_status_reply), cmocka_unit_test(test_status_replies_that_cannot_be),
		cmocka_unit_test(test_many_nodes) };

	return cmocka_run_group_tests_name("client/codec_cluster", tests, NULL, NULL);
}
