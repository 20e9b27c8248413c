/* The calls about a cluster, end to end over a socket, in both forms: what is asked arrives, what is answered comes back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "client/fob.h"
#include "fob/v1/admin.pb-c.h"
#include "tests/lib/fake_server.h"

#define TEXT(s) ((ProtobufCBinaryData){ .len = sizeof(s) - 1, .data = (uint8_t *)(uintptr_t)(s) })

static const char cluster[] = "the cluster's id", replica[] = "the replica's id";

static struct fake fake;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER; /* of the script, for the threads of two connections */

/* What the server is to do, and what it has seen. Written while no call is under way. */
static struct {
	_Atomic int code;  /* of every reply */
	unsigned hang_ups; /* of InitCluster: first, before any answer */
	unsigned n;
	uint8_t tokens[4][FOB_TOKEN_LEN];
	uint8_t forgotten[FOB_CLUSTER_ID_LEN];
} script;

static bool
serve_init(struct fake_request *q)
{
	Fob__V1__InitClusterResponse m = FOB__V1__INIT_CLUSTER_RESPONSE__INIT;
	Fob__V1__InitClusterRequest *r = fob__v1__init_cluster_request__unpack(NULL, q->body_len, q->body);

	assert(r->request_token.len == FOB_TOKEN_LEN && script.n < 4);
	memcpy(script.tokens[script.n++], r->request_token.data, FOB_TOKEN_LEN);
	fob__v1__init_cluster_request__free_unpacked(r, NULL);
	if (script.hang_ups > 0) {
		script.hang_ups--;
		return false;
	}
	m.cluster = TEXT(cluster);
	m.replica = TEXT(replica);
	return fake_reply(q->connection, q->id, script.code, "the reason", &m.base);
}

static bool
serve_status(struct fake_request *q)
{
	Fob__V1__ClusterStatusResponse m = FOB__V1__CLUSTER_STATUS_RESPONSE__INIT;
	Fob__V1__ClusterNode node = FOB__V1__CLUSTER_NODE__INIT, *nodes[1] = { &node };

	m.cluster = TEXT(cluster);
	m.replica = node.replica = TEXT(replica);
	m.applied = m.head = 42;
	m.n_nodes = 1;
	m.nodes = nodes;
	return fake_reply(q->connection, q->id, script.code, "the reason", &m.base);
}

static bool
answer(struct fake_request *q)
{
	Fob__V1__ForgetNodeResponse m = FOB__V1__FORGET_NODE_RESPONSE__INIT;
	Fob__V1__ForgetNodeRequest *r;

	if (strcmp(q->method, "fob.v1.Admin/InitCluster") == 0)
		return serve_init(q);
	if (strcmp(q->method, "fob.v1.Admin/ClusterStatus") == 0)
		return serve_status(q);
	assert(strcmp(q->method, "fob.v1.Admin/ForgetNode") == 0);
	r = fob__v1__forget_node_request__unpack(NULL, q->body_len, q->body);
	assert(r->replica.len == FOB_CLUSTER_ID_LEN);
	memcpy(script.forgotten, r->replica.data, FOB_CLUSTER_ID_LEN);
	fob__v1__forget_node_request__free_unpacked(r, NULL);
	return fake_reply(q->connection, q->id, script.code, "the reason", &m.base);
}

static bool
serve(void *arg, struct fake_request *q)
{
	bool stay;

	(void)arg;
	pthread_mutex_lock(&mutex);
	stay = answer(q);
	pthread_mutex_unlock(&mutex);
	return stay;
}

static int
setup(void **state)
{
	struct fob_options *o = fob_options_new();
	struct fob_client *c;

	memset(&script, 0, sizeof(script));
	fake_init(&fake, serve, NULL);
	fake_start(&fake);
	assert_int_equal(fob_options_set_address(o, fake.address), 0);
	assert_int_equal(fob_options_set_timeout_ms(o, 20000), 0);
	assert_int_equal(fob_client_new(o, &c, NULL), 0);
	fob_options_free(o);
	*state = c;
	return 0;
}

static int
teardown(void **state)
{
	fob_client_free(*state);
	fake_stop(&fake);
	fake_fini(&fake);
	return 0;
}

static const struct fob_cluster_init_request init_live = { FOB_CLUSTER_INIT_REQUEST_INIT,
	.environment = FOB_ENVIRONMENT_LIVE };
static const struct fob_cluster_forget_request forget_live = { FOB_CLUSTER_FORGET_REQUEST_INIT,
	.environment = FOB_ENVIRONMENT_LIVE, .replica = replica };
static const struct fob_cluster_status_request status_live = { FOB_CLUSTER_STATUS_REQUEST_INIT,
	.environment = FOB_ENVIRONMENT_LIVE };

static void
test_calls(void **state)
{
	struct fob_cluster_identity identity = { FOB_CLUSTER_IDENTITY_INIT };
	struct fob_cluster_status *status;
	struct fob_error e;

	assert_int_equal(fob_cluster_init(*state, &init_live, &identity, &e), 0);
	assert_memory_equal(identity.cluster, cluster, FOB_CLUSTER_ID_LEN);
	assert_memory_equal(identity.replica, replica, FOB_CLUSTER_ID_LEN);
	assert_int_equal(fob_cluster_forget(*state, &forget_live, &e), 0);
	assert_memory_equal(script.forgotten, replica, FOB_CLUSTER_ID_LEN);
	assert_int_equal(fob_cluster_status(*state, &status_live, &status, &e), 0);
	assert_int_equal(status->head, 42);
	assert_int_equal(status->n_nodes, 1);
	fob_cluster_status_free(status);
	fob_cluster_status_free(NULL);
}

static void
test_faults(void **state)
{
	struct fob_cluster_identity identity = { FOB_CLUSTER_IDENTITY_INIT };
	struct fob_cluster_init_request init = init_live;
	struct fob_cluster_forget_request forget = forget_live;
	struct fob_cluster_status *status;
	struct fob_error e;

	script.code = 9;
	memset(identity.cluster, 1, sizeof(identity.cluster));
	assert_int_equal(fob_cluster_init(*state, &init_live, &identity, &e), FOB_EFAILED_PRECONDITION);
	assert_int_equal(identity.cluster[0], 0);
	assert_string_equal(e.message, "the reason");
	assert_int_equal(fob_cluster_forget(*state, &forget_live, &e), FOB_EFAILED_PRECONDITION);
	assert_int_equal(fob_cluster_status(*state, &status_live, &status, &e), FOB_EFAILED_PRECONDITION);
	assert_null(status);
	init.size = 0;
	assert_int_equal(fob_cluster_init(*state, &init, &identity, &e), FOB_EINVALID_ARGUMENT);
	forget.replica = NULL;
	assert_int_equal(fob_cluster_forget(*state, &forget, &e), FOB_EINVALID_ARGUMENT);
	identity.size = 0;
	assert_int_equal(fob_cluster_init(*state, &init_live, &identity, &e), FOB_EINVALID_ARGUMENT);
}

/* A resend after a lost connection has the token of the first attempt, the caller's or libfob's own. */
static void
test_the_token_stays(void **state)
{
	struct fob_cluster_identity identity = { FOB_CLUSTER_IDENTITY_INIT };
	static const uint8_t token[FOB_TOKEN_LEN] = "0123456789abcdef0123456789abcde";
	struct fob_cluster_init_request init = init_live;

	script.hang_ups = 1;
	assert_int_equal(fob_cluster_init(*state, &init_live, &identity, NULL), 0);
	assert_int_equal(script.n, 2);
	assert_memory_equal(script.tokens[0], script.tokens[1], FOB_TOKEN_LEN);
	script.n = 0;
	init.token = token;
	assert_int_equal(fob_cluster_init(*state, &init, &identity, NULL), 0);
	assert_memory_equal(script.tokens[0], token, FOB_TOKEN_LEN);
}

struct seen {
	pthread_mutex_t mutex;
	pthread_cond_t changed;
	unsigned calls, wrong;
};

static void
seen_add(struct seen *s, bool wrong)
{
	pthread_mutex_lock(&s->mutex);
	s->calls++;
	s->wrong += wrong;
	pthread_cond_broadcast(&s->changed);
	pthread_mutex_unlock(&s->mutex);
}

static void
identity_cb(void *arg, int fault, const struct fob_cluster_identity *identity, const struct fob_error *error)
{
	seen_add(arg,
	    fault != error->fault || (fault == 0) != (identity != NULL) ||
		(fault == 0 && memcmp(identity->cluster, cluster, FOB_CLUSTER_ID_LEN) != 0));
}

static void
forget_cb(void *arg, int fault, const struct fob_error *error)
{
	seen_add(arg, fault != error->fault || fault != -script.code);
}

static void
status_cb(void *arg, int fault, const struct fob_cluster_status *status, const struct fob_error *error)
{
	seen_add(arg, fault != error->fault || (fault == 0) != (status != NULL) || (fault == 0 && status->head != 42));
}

static void
test_async(void **state)
{
	struct seen s = { .calls = 0 };

	pthread_mutex_init(&s.mutex, NULL);
	pthread_cond_init(&s.changed, NULL);
	for (unsigned round = 1; round <= 2; round++) {
		assert_int_equal(fob_cluster_init_async(*state, &init_live, identity_cb, &s, NULL, NULL), 0);
		assert_int_equal(fob_cluster_forget_async(*state, &forget_live, forget_cb, &s, NULL, NULL), 0);
		assert_int_equal(fob_cluster_status_async(*state, &status_live, status_cb, &s, NULL, NULL), 0);
		pthread_mutex_lock(&s.mutex);
		while (s.calls < 3 * round)
			pthread_cond_wait(&s.changed, &s.mutex);
		pthread_mutex_unlock(&s.mutex);
		script.code = 9;
	}
	assert_int_equal(s.wrong, 0);
	pthread_cond_destroy(&s.changed);
	pthread_mutex_destroy(&s.mutex);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	const unsigned whole_s = 120; /* a hang is a failure too */
	const struct CMUnitTest tests[] = { TEST(test_calls), TEST(test_faults), TEST(test_the_token_stays),
		TEST(test_async) };

	alarm(whole_s);
	return cmocka_run_group_tests_name("client/cluster", tests, NULL, NULL);
}
