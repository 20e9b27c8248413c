/*
 * Verifies that travel together: what goes on the wire, and that each caller gets what is its own. Most clients here
 * have one lane, and a server that holds the first message back, so that it is known who waits.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "client/fob.h"
#include "client/transport.h"
#include "fob/v1/keys.pb-c.h"
#include "tests/lib/fake_server.h"

#define MESSAGES 65536
#define CALLS 1024
#define LONG_MS 20000

/* ---- the server: a secret says what becomes of it, and is the account of its answer ---- */

struct received {
	struct fake_connection *connection;
	uint8_t id[4];
	char method[64];
	uint32_t timeout_ms;
	unsigned n;
	char items[FOB_BATCH_MAX][8]; /* as much of the secrets as fits */
};

static struct script {
	pthread_mutex_t mutex;
	bool hold;         /* answer nothing until release() */
	bool forgetful;    /* a batch's reply has an item too few */
	int refuse;        /* code for batches with a secret that begins with p, and for that key alone */
	unsigned refusals; /* first, of any batch, with ${refuse} */
	unsigned hang_ups; /* first, of batches */
	unsigned n, answered;
	struct received *messages;
} script;

static struct fake fake;

static ProtobufCBinaryData
text(const char *s)
{
	return (ProtobufCBinaryData){ .len = strlen(s), .data = (uint8_t *)(uintptr_t)s };
}

static void
answer_fill(Fob__V1__VerifyKeyResponse *v, const char *secret)
{
	fob__v1__verify_key_response__init(v);
	v->verdict = FOB__V1__VERDICT__VALID;
	v->account = text(secret);
	v->environment = FOB__V1__ENVIRONMENT__LIVE;
	v->livemode = 1;
}

static bool
has_bad(const struct received *m)
{
	unsigned i;

	for (i = 0; i < m->n; i++) {
		if (m->items[i][0] == 'p')
			return true;
	}
	return false;
}

static bool
answer_batch(struct received *m)
{
	Fob__V1__VerifyKeysResponse r = FOB__V1__VERIFY_KEYS_RESPONSE__INIT;
	Fob__V1__VerifyKeyResponse v[FOB_BATCH_MAX];
	Fob__V1__VerifyKeysItem items[FOB_BATCH_MAX], *pointers[FOB_BATCH_MAX];
	unsigned i;

	if (script.hang_ups > 0) {
		script.hang_ups--;
		fake_send_raw(m->connection, m->id, "\0", 1, 100);
		return false;
	}
	if (script.refusals > 0) {
		script.refusals--;
		return fake_reply(m->connection, m->id, script.refuse, "the batch", NULL);
	}
	if (script.refuse != 0 && has_bad(m))
		return fake_reply(m->connection, m->id, script.refuse, "the batch", NULL);
	for (i = 0; i < m->n; i++) {
		fob__v1__verify_keys_item__init(&items[i]);
		answer_fill(&v[i], m->items[i]);
		items[i].result = &v[i];
		if (m->items[i][0] == 'f') {
			items[i].result = NULL;
			items[i].code = FOB__RPC__V1__CODE__UNAVAILABLE;
			items[i].message = text("its own reason");
		}
		pointers[i] = &items[i];
	}
	r.items = pointers;
	r.n_items = script.forgetful ? m->n - 1 : m->n;
	return fake_reply(m->connection, m->id, 0, NULL, &r.base);
}

static bool
answer(struct received *m)
{
	Fob__V1__VerifyKeyResponse v;

	if (strcmp(m->method, "fob.v1.Keys/VerifyKeys") == 0)
		return answer_batch(m);
	if (strcmp(m->method, "fob.v1.Keys/VerifyKey") != 0)
		return fake_reply(m->connection, m->id, -FOB_EABORTED, "not that generation", NULL);
	if (m->items[0][0] == 'p')
		return fake_reply(m->connection, m->id, -FOB_EINVALID_ARGUMENT, "a bad key", NULL);
	answer_fill(&v, m->items[0]);
	return fake_reply(m->connection, m->id, 0, NULL, &v.base);
}

static void
item_read(struct received *m, const Fob__V1__VerifyKeyRequest *r)
{
	assert(m->n < FOB_BATCH_MAX);
	snprintf(m->items[m->n++], sizeof(m->items[0]), "%.*s", (int)(r->secret.len < 7 ? r->secret.len : 7),
	    (const char *)r->secret.data);
}

static void
message_read(struct received *m, const struct fake_request *q)
{
	Fob__V1__VerifyKeysRequest *batch;
	Fob__V1__VerifyKeyRequest *one;
	size_t i;

	memset(m, 0, sizeof(*m));
	m->connection = q->connection;
	memcpy(m->id, q->id, sizeof(m->id));
	memcpy(m->method, q->method, sizeof(m->method));
	m->timeout_ms = q->timeout_ms;
	if (strcmp(q->method, "fob.v1.Keys/VerifyKeys") == 0) {
		batch = fob__v1__verify_keys_request__unpack(NULL, q->body_len, q->body);
		for (i = 0; i < batch->n_items; i++)
			item_read(m, batch->items[i]);
		fob__v1__verify_keys_request__free_unpacked(batch, NULL);
	} else if (strcmp(q->method, "fob.v1.Keys/VerifyKey") == 0) {
		one = fob__v1__verify_key_request__unpack(NULL, q->body_len, q->body);
		item_read(m, one);
		fob__v1__verify_key_request__free_unpacked(one, NULL);
	}
}

static bool
serve(void *arg, struct fake_request *q)
{
	bool stay = true;

	(void)arg;
	pthread_mutex_lock(&script.mutex);
	assert(script.n < MESSAGES);
	message_read(&script.messages[script.n], q);
	if (!script.hold)
		stay = answer(&script.messages[script.n]);
	script.answered += script.hold ? 0 : 1;
	script.n++;
	pthread_mutex_unlock(&script.mutex);
	return stay;
}

/* What is held is answered; what comes from now on is held or not. */
static void
release_and(bool hold)
{
	pthread_mutex_lock(&script.mutex);
	for (; script.answered < script.n; script.answered++)
		answer(&script.messages[script.answered]);
	script.hold = hold;
	pthread_mutex_unlock(&script.mutex);
}

static void
release(void)
{
	release_and(false);
}

/* The server has read the message: its record is complete. */
static const struct received *
message(unsigned i)
{
	struct timespec pause = { .tv_nsec = 1000000 };
	bool there = false;

	while (!there) {
		pthread_mutex_lock(&script.mutex);
		there = script.n > i;
		pthread_mutex_unlock(&script.mutex);
		if (!there)
			nanosleep(&pause, NULL);
	}
	return &script.messages[i];
}

/* ---- the callers ---- */

struct caller {
	struct callers *all;
	char secret[16];
	unsigned ends;
	int fault;
	int64_t ended_ms;
	struct fob_verification v;
	struct fob_error error;
};

struct callers {
	pthread_mutex_t mutex;
	pthread_cond_t changed;
	unsigned ended;
	struct caller list[CALLS];
};

static struct callers callers;

static void
ended(void *arg, int fault, const struct fob_verification *v, const struct fob_error *error)
{
	struct caller *c = arg;

	pthread_mutex_lock(&c->all->mutex);
	c->ends++;
	c->fault = fault;
	c->ended_ms = transport_now_ms();
	c->v = *v;
	c->error = *error;
	c->all->ended++;
	pthread_cond_broadcast(&c->all->changed);
	pthread_mutex_unlock(&c->all->mutex);
}

static int
ask(struct fob_client *client, unsigned i, const char *secret, uint32_t timeout_ms)
{
	struct caller *c = &callers.list[i];
	struct fob_verify_request r = { FOB_VERIFY_REQUEST_INIT, .secret = c->secret, .timeout_ms = timeout_ms };

	snprintf(c->secret, sizeof(c->secret), "%s", secret);
	c->all = &callers;
	r.secret_len = strlen(c->secret);
	return fob_verify_async(client, &r, ended, c, NULL, NULL);
}

/* Callers ${from} to ${to} - 1, each with a secret of its own. */
static void
ask_many(struct fob_client *client, unsigned from, unsigned to)
{
	char secret[16];
	unsigned i;

	for (i = from; i < to; i++) {
		snprintf(secret, sizeof(secret), "v%u", i);
		assert_int_equal(ask(client, i, secret, LONG_MS), 0);
	}
}

static void
wait_ended(unsigned n)
{
	pthread_mutex_lock(&callers.mutex);
	while (callers.ended < n)
		pthread_cond_wait(&callers.changed, &callers.mutex);
	pthread_mutex_unlock(&callers.mutex);
}

static void
check_valid(unsigned from, unsigned to)
{
	unsigned i;

	for (i = from; i < to; i++) {
		assert_int_equal(callers.list[i].ends, 1);
		assert_int_equal(callers.list[i].fault, 0);
		assert_int_equal(callers.list[i].error.fault, 0);
		assert_int_equal(callers.list[i].v.verdict, FOB_VERDICT_VALID);
		assert_string_equal(callers.list[i].v.account, callers.list[i].secret);
	}
}

/* Nothing is held any more: callers 0 to ${n} - 1 get what is theirs. */
static void
release_and_check(unsigned n)
{
	release();
	wait_ended(n);
	check_valid(0, n);
}

static struct fob_client *
client_with(unsigned in_flight, unsigned queue)
{
	struct fob_options *o = fob_options_new();
	struct fob_client *c;

	assert_int_equal(fob_options_set_address(o, fake.address), 0);
	assert_int_equal(fob_options_set_timeout_ms(o, LONG_MS), 0);
	assert_int_equal(fob_options_set_in_flight(o, in_flight), 0);
	assert_int_equal(fob_options_set_queue(o, queue), 0);
	assert_int_equal(fob_client_new(o, &c, NULL), 0);
	fob_options_free(o);
	return c;
}

/* One call is on the wire and held there: the next ones wait. */
static struct fob_client *
client_held(void)
{
	struct fob_client *c = client_with(1, CALLS);

	script.hold = true;
	assert_int_equal(ask(c, 0, "v0", LONG_MS), 0);
	message(0);
	return c;
}

static int
setup(void **state)
{
	(void)state;
	memset(&script, 0, sizeof(script));
	memset(&callers, 0, sizeof(callers));
	script.messages = calloc(MESSAGES, sizeof(script.messages[0]));
	pthread_mutex_init(&script.mutex, NULL);
	pthread_mutex_init(&callers.mutex, NULL);
	pthread_cond_init(&callers.changed, NULL);
	fake_init(&fake, serve, NULL);
	fake_start(&fake);
	return script.messages == NULL;
}

static int
teardown(void **state)
{
	(void)state;
	fake_stop(&fake);
	fake_fini(&fake);
	free(script.messages);
	pthread_cond_destroy(&callers.changed);
	pthread_mutex_destroy(&callers.mutex);
	pthread_mutex_destroy(&script.mutex);
	return 0;
}

/* ---- tests ---- */

static void
test_alone(void **state)
{
	struct fob_client *c = client_with(1, 16);
	unsigned i;

	(void)state;
	for (i = 0; i < 5; i++) {
		ask_many(c, i, i + 1);
		wait_ended(i + 1);
		assert_string_equal(message(i)->method, "fob.v1.Keys/VerifyKey");
	}
	check_valid(0, 5);
	assert_int_equal(fake_received(&fake), 5);
	fob_client_free(c);
}

/* A call that finds a lane free does not wait for the one before. */
static void
test_lanes(void **state)
{
	struct fob_client *c = client_with(2, 16);

	(void)state;
	script.hold = true;
	ask_many(c, 0, 2);
	assert_string_equal(message(1)->method, "fob.v1.Keys/VerifyKey");
	ask_many(c, 2, 8);
	release_and_check(8);
	/* A lane takes its share and no more, so that there is something for the other. */
	assert_in_range(message(2)->n, 2, 4);
	fob_client_free(c);
}

static void
test_together(void **state)
{
	struct fob_client *c = client_held();
	unsigned i;

	(void)state;
	ask_many(c, 1, 11);
	release_and_check(11);
	assert_int_equal(fake_received(&fake), 2);
	assert_string_equal(message(1)->method, "fob.v1.Keys/VerifyKeys");
	assert_int_equal(message(1)->n, 10);
	for (i = 1; i < 11; i++)
		assert_string_equal(message(1)->items[i - 1], callers.list[i].secret);
	fob_client_free(c);
}

static void
test_one_waits(void **state)
{
	struct fob_client *c = client_held();

	(void)state;
	ask_many(c, 1, 2);
	release_and_check(2);
	assert_string_equal(message(1)->method, "fob.v1.Keys/VerifyKey");
	fob_client_free(c);
}

static void
check_late(unsigned i, int64_t from_ms, unsigned after_ms, const char *why)
{
	assert_int_equal(callers.list[i].ends, 1);
	assert_int_equal(callers.list[i].fault, FOB_EDEADLINE_EXCEEDED);
	assert_int_equal(callers.list[i].v.verdict, FOB_VERDICT_DENIED);
	assert_non_null(strstr(callers.list[i].error.message, why));
	assert_in_range(callers.list[i].ended_ms - from_ms, after_ms, after_ms + 5000);
}

static void
test_deadlines(void **state)
{
	struct fob_client *c = client_held();
	int64_t from_ms = transport_now_ms();

	(void)state;
	/* One while it waits ... */
	assert_int_equal(ask(c, 1, "v1", 60), 0);
	wait_ended(1);
	check_late(1, from_ms, 60, "not sent");
	/* ... and one whose batch is on the wire; a longer one must not hide it, nor the other way round. */
	from_ms = transport_now_ms();
	assert_int_equal(ask(c, 2, "v2", LONG_MS), 0);
	assert_int_equal(ask(c, 3, "v3", 800), 0);
	assert_int_equal(ask(c, 4, "v4", 600), 0);
	ask_many(c, 5, 6);
	release_and(true);
	assert_int_equal(message(1)->n, 4);
	assert_in_range(message(1)->timeout_ms, LONG_MS / 2, LONG_MS);
	wait_ended(4);
	check_late(3, from_ms, 800, "no answer");
	check_late(4, from_ms, 600, "no answer");
	release();
	wait_ended(6);
	check_valid(0, 1);
	check_valid(2, 3);
	check_valid(5, 6);
	assert_int_equal(fake_received(&fake), 2);
	fob_client_free(c);
}

/* Nobody listens: what waits is told that, and not that it was slow. */
static void
test_deadline_without_server(void **state)
{
	struct fob_client *c;

	(void)state;
	fake_stop(&fake);
	c = client_with(1, 16);
	assert_int_equal(ask(c, 0, "v0", 150), 0);
	assert_int_equal(ask(c, 1, "v1", 100), 0);
	wait_ended(2);
	assert_int_equal(callers.list[0].fault, FOB_EUNAVAILABLE);
	assert_int_equal(callers.list[1].fault, FOB_EUNAVAILABLE);
	assert_non_null(strstr(callers.list[1].error.message, "not connected"));
	fob_client_free(c);
	fake_start(&fake);
}

static void
test_own_fault(void **state)
{
	struct fob_client *c = client_held();

	(void)state;
	ask_many(c, 1, 3);
	assert_int_equal(ask(c, 3, "f3", LONG_MS), 0);
	ask_many(c, 4, 6);
	release();
	wait_ended(6);
	check_valid(0, 3);
	check_valid(4, 6);
	assert_int_equal(callers.list[3].fault, FOB_EUNAVAILABLE);
	assert_int_equal(callers.list[3].v.verdict, FOB_VERDICT_DENIED);
	assert_string_equal(callers.list[3].error.message, "its own reason");
	fob_client_free(c);
}

/*
 * One key makes the server refuse whoever travels with it, with the code at ${state}: only that one fails, and with
 * what it is told alone.
 */
static void
test_bad_company(void **state)
{
	struct fob_client *c = client_held();

	script.refuse = *(int *)*state;
	ask_many(c, 1, 100);
	assert_int_equal(ask(c, 100, "p100", LONG_MS), 0);
	ask_many(c, 101, 200);
	release();
	wait_ended(200);
	check_valid(0, 100);
	check_valid(101, 200);
	assert_int_equal(callers.list[100].fault, FOB_EINVALID_ARGUMENT);
	assert_string_equal(callers.list[100].error.message, "a bad key");
	assert_in_range(fake_received(&fake), 3, 24);
	/* Apart, but still in their order. */
	assert_string_equal(message(2)->items[0], "v1");
	fob_client_free(c);
}

static void
test_reply_does_not_fit(void **state)
{
	struct fob_client *c = client_held();

	(void)state;
	script.forgetful = true;
	ask_many(c, 1, 20);
	release_and_check(20);
	fob_client_free(c);
}

static void
test_unavailable(void **state)
{
	struct fob_client *c = client_held();
	unsigned i;

	(void)state;
	script.refuse = -FOB_EUNAVAILABLE;
	script.refusals = 3;
	ask_many(c, 1, 20);
	release_and_check(20);
	assert_int_equal(fake_received(&fake), 5);

	/* For good. It is not waited for longer than a deadline. */
	pthread_mutex_lock(&script.mutex);
	script.refusals = UINT32_MAX;
	script.hold = true;
	pthread_mutex_unlock(&script.mutex);
	ask_many(c, 20, 21);
	message(5);
	ask_many(c, 21, 30);
	assert_int_equal(ask(c, 30, "v30", 300), 0);
	release();
	wait_ended(31);
	check_valid(20, 21);
	for (i = 21; i < 30; i++) {
		assert_int_equal(callers.list[i].fault, FOB_EUNAVAILABLE);
		assert_string_equal(callers.list[i].error.message, "the batch");
	}
	assert_int_equal(callers.list[30].fault, FOB_EUNAVAILABLE);
	assert_true(callers.list[30].ended_ms < callers.list[21].ended_ms);
	fob_client_free(c);
}

static void
test_large(void **state)
{
	struct fob_client *c = client_held();
	struct fob_verify_request r = { FOB_VERIFY_REQUEST_INIT, .secret_len = 65000 };
	char *large = malloc(70000);
	unsigned i, sum = 0;

	(void)state;
	memset(large, 'v', 70000);
	r.secret = large;
	ask_many(c, 1, 4);
	/* One that fits a message of its own, three that fit one with few others, one that fits none. */
	for (i = 4; i < 8; i++) {
		callers.list[i] = (struct caller){ .all = &callers, .secret = "vvvvvvv" };
		r.secret_len = i == 4 ? 65430 : 30000;
		assert_int_equal(fob_verify_async(c, &r, ended, &callers.list[i], NULL, NULL), 0);
	}
	r.secret_len = 65532;
	assert_int_equal(fob_verify_async(c, &r, ended, &callers.list[8], NULL, NULL), FOB_EINVALID_ARGUMENT);
	ask_many(c, 8, 12);
	release_and_check(12);
	for (i = 1; i < fake_received(&fake); i++)
		sum += message(i)->n;
	assert_int_equal(sum, 11);
	assert_int_equal(message(1)->n, 3);
	assert_int_equal(message(2)->n, 1);
	assert_string_equal(message(2)->method, "fob.v1.Keys/VerifyKey");
	assert_int_equal(message(3)->n, 2);
	assert_int_equal(message(4)->n, 5);
	fob_client_free(c);
	free(large);
}

static void
test_connection_lost(void **state)
{
	struct fob_client *c = client_held();

	(void)state;
	script.hang_ups = 2;
	ask_many(c, 1, 20);
	release_and_check(20);
	assert_int_equal(fake_received(&fake), 4);
	assert_int_equal(message(3)->n, 19);
	fob_client_free(c);
}

static void
test_freed_under_load(void **state)
{
	struct fob_client *c = client_with(2, CALLS);
	unsigned i;

	(void)state;
	script.hold = true;
	ask_many(c, 0, 1);
	message(0);
	ask_many(c, 1, 30);
	message(1);
	release_and(true);
	/* Some have got an answer, some are in a batch that has none, some wait. */
	message(2);
	ask_many(c, 30, 60);
	fob_client_free(c);
	assert_int_equal(callers.ended, 60);
	for (i = 0; i < 60; i++) {
		assert_int_equal(callers.list[i].ends, 1);
		assert_true(callers.list[i].fault == FOB_ECANCELLED || callers.list[i].fault == 0);
	}
	assert_int_equal(callers.list[59].fault, FOB_ECANCELLED);
}

static void
test_batch_bound(void **state)
{
	struct fob_client *c = client_held();

	(void)state;
	ask_many(c, 1, 601);
	release_and_check(601);
	assert_int_equal(fake_received(&fake), 4);
	assert_int_equal(message(1)->n, FOB_BATCH_MAX);
	assert_int_equal(message(2)->n, FOB_BATCH_MAX);
	assert_int_equal(message(3)->n, 600 - 2 * FOB_BATCH_MAX);
	fob_client_free(c);
}

/* The queue, and as many as there is room for on the wire. */
static void
test_queue_bound(void **state)
{
	struct fob_client *c = client_with(1, 10);

	(void)state;
	script.hold = true;
	ask_many(c, 0, 1);
	message(0);
	ask_many(c, 1, 11);
	assert_int_equal(ask(c, 11, "v11", LONG_MS), FOB_ERESOURCE_EXHAUSTED);
	release_and_check(11);
	assert_int_equal(callers.list[11].ends, 0);
	fob_client_free(c);
}

static void
rolled(void *arg, int fault, const struct fob_rolled_key *key, const struct fob_error *error)
{
	struct fob_verification none = { 0 };

	(void)key;
	ended(arg, fault, &none, error);
}

/* Changes that take long, on a hung disk, hold up each other and no verify. */
static void
test_with_changes(void **state)
{
	struct fob_client *c = client_with(1, CALLS);
	struct fob_roll_request roll = { FOB_ROLL_REQUEST_INIT, .environment = FOB_ENVIRONMENT_LIVE,
		.account = "acct_1" };
	unsigned i;

	(void)state;
	script.hold = true;
	for (i = 100; i < 103; i++) {
		callers.list[i].all = &callers;
		assert_int_equal(fob_roll_key_async(c, &roll, rolled, &callers.list[i], NULL, NULL), 0);
	}
	assert_string_equal(message(0)->method, "fob.v1.Admin/RollKey");
	ask_many(c, 0, 1);
	assert_string_equal(message(1)->method, "fob.v1.Keys/VerifyKey");
	ask_many(c, 1, 50);
	release();
	wait_ended(53);
	check_valid(0, 50);
	for (i = 100; i < 103; i++)
		assert_int_equal(callers.list[i].fault, FOB_EABORTED);
	assert_int_equal(fake_received(&fake), 5);
	fob_client_free(c);
}

/* ---- many at once ---- */

static void *
verify_often(void *client)
{
	char secret[16];
	struct fob_verify_request r = { FOB_VERIFY_REQUEST_INIT, .secret = secret };
	struct fob_verification v = { FOB_VERIFICATION_INIT };
	uintptr_t ok = 0;
	int i;

	for (i = 0; i < 40; i++) {
		snprintf(secret, sizeof(secret), "v%02x%d", (unsigned)(uintptr_t)&v >> 12 & 0xff, i);
		r.secret_len = strlen(secret);
		ok += fob_verify(client, &r, &v, NULL) == 0 && fob_allows(&v) && strcmp(v.account, secret) == 0;
	}
	return (void *)ok;
}

static void
test_threads(void **state)
{
	struct fob_client *c = client_with(4, CALLS);
	pthread_t threads[32];
	void *ok;
	unsigned i;

	(void)state;
	for (i = 0; i < 32; i++)
		pthread_create(&threads[i], NULL, verify_often, c);
	for (i = 0; i < 32; i++) {
		pthread_join(threads[i], &ok);
		assert_int_equal((uintptr_t)ok, 40);
	}
	fob_client_free(c);
}

static struct fob_client *again_client;
static _Atomic int again_left;

static void again(void *, int, const struct fob_verification *, const struct fob_error *);

static int
ask_again(struct caller *c)
{
	struct fob_verify_request r = { FOB_VERIFY_REQUEST_INIT, .secret = c->secret, .secret_len = strlen(c->secret) };

	return fob_verify_async(again_client, &r, again, c, NULL, NULL);
}

static void
again(void *arg, int fault, const struct fob_verification *v, const struct fob_error *error)
{
	struct caller *c = arg;

	if (fault == 0 && fob_allows(v) && strcmp(v->account, c->secret) == 0 && --again_left > 0 && ask_again(c) == 0)
		return;
	ended(arg, fault, v, error);
}

/* Callers 0 to 49, each of whose callbacks makes the next call, ${calls} in all. */
static void
begin_again(unsigned lanes, int calls)
{
	struct caller *c;
	unsigned i;

	again_client = client_with(lanes, CALLS);
	again_left = calls;
	for (i = 0; i < 50; i++) {
		c = &callers.list[i];
		c->all = &callers;
		snprintf(c->secret, sizeof(c->secret), "v%u", i);
		assert_int_equal(ask_again(c), 0);
	}
}

/* Those of a batch leave together again. */
static void
test_callbacks_call(void **state)
{
	unsigned i;

	(void)state;
	begin_again(1, 2000);
	wait_ended(50);
	for (i = 0; i < 50; i++)
		assert_int_equal(callers.list[i].fault, 0);
	assert_in_range(fake_received(&fake), 2000 / 50, 500);
	fob_client_free(again_client);
}

/* Callers that never end are ended, each once. */
static void
test_freed_while_callbacks_call(void **state)
{
	unsigned i;

	(void)state;
	begin_again(2, INT32_MAX);
	fake_wait_received(&fake, 20);
	fob_client_free(again_client);
	assert_int_equal(callers.ended, 50);
	for (i = 0; i < 50; i++)
		assert_int_equal(callers.list[i].ends, 1);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
#define BAD_COMPANY(code) cmocka_unit_test_prestate_setup_teardown(test_bad_company, setup, teardown, &(int){ code })

int
main(void)
{
	/* A hang is a failure too. */
	const unsigned whole_s = 120;
	const struct CMUnitTest tests[] = { TEST(test_alone), TEST(test_lanes), TEST(test_together),
		TEST(test_one_waits), TEST(test_deadlines), TEST(test_deadline_without_server), TEST(test_own_fault),
		BAD_COMPANY(-FOB_EINVALID_ARGUMENT), BAD_COMPANY(-FOB_ERESOURCE_EXHAUSTED), BAD_COMPANY(-FOB_EINTERNAL),
		BAD_COMPANY(-FOB_EUNIMPLEMENTED), BAD_COMPANY(99), TEST(test_reply_does_not_fit),
		TEST(test_unavailable), TEST(test_large), TEST(test_connection_lost), TEST(test_freed_under_load),
		TEST(test_batch_bound), TEST(test_queue_bound), TEST(test_with_changes), TEST(test_threads),
		TEST(test_callbacks_call), TEST(test_freed_while_callbacks_call) };

	alarm(whole_s);
	return cmocka_run_group_tests_name("client/calls", tests, NULL, NULL);
}
