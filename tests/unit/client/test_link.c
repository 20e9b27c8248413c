/*
 * Several servers, the first of which cannot answer: verifies and changes are asked of the next one, each at most once,
 * and what is about one server stays there.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "client/fob.h"
#include "fob/v1/admin.pb-c.h"
#include "fob/v1/keys.pb-c.h"
#include "tests/lib/fake_server.h"

#define TEXT(s) ((ProtobufCBinaryData){ .len = sizeof(s) - 1, .data = (uint8_t *)(uintptr_t)(s) })
#define SERVERS 2
#define UNAVAILABLE 14

/* A node. Cut off, it says UNAVAILABLE of what it is asked: as a whole, or of each key of a batch. */
struct node {
	struct fake fake;
	bool started;
	_Atomic bool cut, whole;
	_Atomic unsigned asked;
	uint8_t token[FOB_TOKEN_LEN]; /* of the last change */
};
static struct node nodes[SERVERS];

static Fob__V1__VerifyKeyResponse
valid(void)
{
	Fob__V1__VerifyKeyResponse m = FOB__V1__VERIFY_KEY_RESPONSE__INIT;

	m.verdict = FOB__V1__VERDICT__VALID;
	m.account = TEXT("acct_1");
	m.environment = FOB__V1__ENVIRONMENT__LIVE;
	m.livemode = 1;
	return m;
}

static bool
serve_batch(const struct node *n, struct fake_request *q)
{
	Fob__V1__VerifyKeysRequest *r = fob__v1__verify_keys_request__unpack(NULL, q->body_len, q->body);
	Fob__V1__VerifyKeysItem items[FOB_BATCH_MAX], *pointers[FOB_BATCH_MAX];
	Fob__V1__VerifyKeysResponse m = FOB__V1__VERIFY_KEYS_RESPONSE__INIT;
	Fob__V1__VerifyKeyResponse v = valid();

	m.n_items = r->n_items;
	m.items = pointers;
	for (size_t i = 0; i < r->n_items; i++) {
		fob__v1__verify_keys_item__init(&items[i]);
		/* The first key is of an environment that is served. */
		if (n->cut && i > 0)
			items[i].code = FOB__RPC__V1__CODE__UNAVAILABLE;
		else
			items[i].result = &v;
		pointers[i] = &items[i];
	}
	fob__v1__verify_keys_request__free_unpacked(r, NULL);
	return fake_reply(q->connection, q->id, 0, NULL, &m.base);
}

static bool
serve(void *arg, struct fake_request *q)
{
	Fob__V1__SuspendAccountResponse suspended = FOB__V1__SUSPEND_ACCOUNT_RESPONSE__INIT;
	Fob__V1__ListEventsResponse events = FOB__V1__LIST_EVENTS_RESPONSE__INIT;
	Fob__V1__Account account = FOB__V1__ACCOUNT__INIT;
	Fob__V1__VerifyKeyResponse v = valid();
	Fob__V1__SuspendAccountRequest *r;
	struct node *n = arg;

	n->asked++;
	if (strcmp(q->method, "fob.v1.Admin/SuspendAccount") == 0) {
		r = fob__v1__suspend_account_request__unpack(NULL, q->body_len, q->body);
		memcpy(n->token, r->request_token.data, FOB_TOKEN_LEN);
		fob__v1__suspend_account_request__free_unpacked(r, NULL);
	}
	if (strcmp(q->method, "fob.v1.Keys/VerifyKeys") == 0 && !(n->cut && n->whole))
		return serve_batch(n, q);
	if (n->cut)
		return fake_reply(q->connection, q->id, UNAVAILABLE, "it has lost touch", NULL);
	if (strcmp(q->method, "fob.v1.Keys/VerifyKey") == 0)
		return fake_reply(q->connection, q->id, 0, NULL, &v.base);
	if (strcmp(q->method, "fob.v1.Admin/ListEvents") == 0) {
		events.next_page_token = TEXT("x");
		return fake_reply(q->connection, q->id, 0, NULL, &events.base);
	}
	account.account = TEXT("acct_1");
	suspended.account = &account;
	return fake_reply(q->connection, q->id, 0, NULL, &suspended.base);
}

static void
node_start(struct node *n, bool cut, struct fob_options *o)
{
	n->cut = cut;
	n->whole = false;
	n->asked = 0;
	fake_init(&n->fake, serve, n);
	fake_start(&n->fake);
	n->started = true;
	assert_int_equal(fob_options_add_address(o, n->fake.address), 0);
}

static void
node_stop(struct node *n)
{
	if (n->started)
		fake_stop(&n->fake);
	n->started = false;
}

/* The first one is cut off. */
static int
setup(void **state)
{
	struct fob_options *o = fob_options_new();
	struct fob_client *c;

	node_start(&nodes[0], true, o);
	node_start(&nodes[1], false, o);
	assert_int_equal(fob_options_set_timeout_ms(o, 20000), 0);
	assert_int_equal(fob_options_set_in_flight(o, 2), 0);
	assert_int_equal(fob_client_new(o, &c, NULL), 0);
	fob_options_free(o);
	*state = c;
	return 0;
}

static int
teardown(void **state)
{
	fob_client_free(*state);
	for (unsigned i = 0; i < SERVERS; i++) {
		node_stop(&nodes[i]);
		fake_fini(&nodes[i].fake);
	}
	return 0;
}

static const struct fob_verify_request key = { FOB_VERIFY_REQUEST_INIT, .secret = "x", .secret_len = 1 };
static const struct fob_verify_request key_for_a_moment = { FOB_VERIFY_REQUEST_INIT, .secret = "x", .secret_len = 1,
	.timeout_ms = 1000 };

static void
test_a_verify_goes_to_the_next_server(void **state)
{
	struct fob_verification v = { FOB_VERIFICATION_INIT };

	for (unsigned i = 1; i <= 3; i++) {
		assert_int_equal(fob_verify(*state, &key, &v, NULL), 0);
		assert_true(fob_allows(&v));
		/* It stays there. */
		assert_int_equal(nodes[0].asked, 1);
		assert_int_equal(nodes[1].asked, i);
	}
}

static void
test_a_change_goes_there_with_its_token(void **state)
{
	const struct fob_account_request request = { FOB_ACCOUNT_REQUEST_INIT, .environment = FOB_ENVIRONMENT_LIVE,
		.account = "acct_1" };
	struct fob_account account = { FOB_ACCOUNT_INIT };

	assert_int_equal(fob_suspend_account(*state, &request, &account, NULL), 0);
	assert_int_equal(nodes[0].asked, 1);
	assert_int_equal(nodes[1].asked, 1);
	assert_memory_equal(nodes[0].token, nodes[1].token, FOB_TOKEN_LEN);
}

static void
test_each_server_is_asked_once(void **state)
{
	struct fob_verification v = { FOB_VERIFICATION_INIT };
	struct fob_error e;

	nodes[1].cut = true;
	assert_int_equal(fob_verify(*state, &key_for_a_moment, &v, &e), FOB_EUNAVAILABLE);
	assert_string_equal(e.message, "it has lost touch");
	assert_false(fob_allows(&v));
	assert_int_equal(nodes[0].asked, 1);
	/* The second one is asked again, as a single server would be. */
	assert_true(nodes[1].asked > 1);
	/* When it can answer, it does. */
	nodes[1].cut = false;
	assert_int_equal(fob_verify(*state, &key, &v, &e), 0);
	assert_int_equal(nodes[0].asked, 1);
}

static void
test_the_next_server_is_down(void **state)
{
	struct fob_verification v = { FOB_VERIFICATION_INIT };
	struct fob_error e;

	node_stop(&nodes[1]);
	assert_int_equal(fob_verify(*state, &key_for_a_moment, &v, &e), FOB_EUNAVAILABLE);
	assert_true(nodes[0].asked > 1);
	nodes[0].cut = false;
	assert_int_equal(fob_verify(*state, &key, &v, &e), 0);
	assert_true(fob_allows(&v));
}

static void
test_a_list_stays(void **state)
{
	const struct fob_list_request request = { FOB_LIST_REQUEST_INIT, .environment = FOB_ENVIRONMENT_LIVE,
		.timeout_ms = 1000 };
	struct fob_cursor cursor = { .done = false };
	struct fob_event_page *page;

	assert_int_equal(fob_list_events(*state, &request, &cursor, &page, NULL), FOB_EUNAVAILABLE);
	assert_int_equal(nodes[1].asked, 0);
	nodes[0].cut = false;
	assert_int_equal(fob_list_events(*state, &request, &cursor, &page, NULL), 0);
	fob_event_page_free(page);
	assert_int_equal(nodes[1].asked, 0);
}

/* A batch of which a part could not be answered: all of it is asked of the next one; where there is none, it stands. */
static void
test_batch(void **state)
{
	const struct fob_verify_request requests[3] = { key, key, key };
	const struct fob_verify_batch_request batch = { FOB_VERIFY_BATCH_REQUEST_INIT, .requests = requests, .n = 3 };
	struct fob_verification results[3];
	int faults[3];

	assert_int_equal(fob_verify_batch(*state, &batch, results, faults, NULL), 0);
	for (unsigned i = 0; i < 3; i++)
		assert_true(faults[i] == 0 && fob_allows(&results[i]));
	assert_int_equal(nodes[0].asked, 1);
	assert_int_equal(nodes[1].asked, 1);
	nodes[1].cut = true;
	assert_int_equal(fob_verify_batch(*state, &batch, results, faults, NULL), 0);
	assert_int_equal(faults[0], 0);
	assert_int_equal(faults[1], FOB_EUNAVAILABLE);
	assert_false(fob_allows(&results[1]));
	/* The first one is asked again only when that was long ago. */
	assert_true(nodes[0].asked <= 2);
	assert_int_equal(nodes[1].asked, 2);
}

struct seen {
	pthread_mutex_t mutex;
	pthread_cond_t changed;
	unsigned calls, wrong;
};

static void
verified(void *arg, int fault, const struct fob_verification *v, const struct fob_error *error)
{
	struct seen *s = arg;

	(void)error;
	pthread_mutex_lock(&s->mutex);
	s->calls++;
	s->wrong += fault != 0 || !fob_allows(v);
	pthread_cond_broadcast(&s->changed);
	pthread_mutex_unlock(&s->mutex);
}

/* Single verifies that travel together, whether the server refuses the message or the keys. */
static void
many_verifies(void **state)
{
	struct seen s = { .calls = 0 };
	unsigned i;

	pthread_mutex_init(&s.mutex, NULL);
	pthread_cond_init(&s.changed, NULL);
	for (i = 0; i < 500; i++)
		assert_int_equal(fob_verify_async(*state, &key, verified, &s, NULL, NULL), 0);
	pthread_mutex_lock(&s.mutex);
	while (s.calls < i)
		pthread_cond_wait(&s.changed, &s.mutex);
	pthread_mutex_unlock(&s.mutex);
	assert_int_equal(s.wrong, 0);
	assert_true(nodes[0].asked >= 1 && nodes[1].asked >= 1);
	pthread_cond_destroy(&s.changed);
	pthread_mutex_destroy(&s.mutex);
}

static void
test_verifies_together(void **state)
{
	many_verifies(state);
}

static void
test_verifies_together_that_are_refused_together(void **state)
{
	nodes[0].whole = true;
	many_verifies(state);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
	const unsigned whole_s = 120; /* a hang is a failure too */
	const struct CMUnitTest tests[] = { TEST(test_a_verify_goes_to_the_next_server),
		TEST(test_a_change_goes_there_with_its_token), TEST(test_each_server_is_asked_once),
		TEST(test_the_next_server_is_down), TEST(test_a_list_stays), TEST(test_batch),
		TEST(test_verifies_together), TEST(test_verifies_together_that_are_refused_together) };

	alarm(whole_s);
	return cmocka_run_group_tests_name("client/link", tests, NULL, NULL);
}
