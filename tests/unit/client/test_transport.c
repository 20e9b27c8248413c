/*
 * Calls by their deadlines, whatever the server and the connection do: each test is one kind of server. Times that are
 * asserted have a wide margin above and none below: a call never ends before its deadline without a reason.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdatomic.h>
#include <string.h>

#include <cmocka.h>

#include <dirent.h>

#include "client/error.h"
#include "client/options.h"
#include "client/positions.h"
#include "client/transport.h"
#include "tests/lib/fake_server.h"

#define LONG_MS 20000

/* A call that a test waits for. */
struct probe {
	struct call call;
	pthread_mutex_t mutex;
	pthread_cond_t changed;
	unsigned ends, replies;
	int fault;
	int code; /* of the last reply */
	int64_t ended_ms;
	char text[16];
};

static bool
probe_reply(struct call *call, const uint8_t *reply, size_t len)
{
	struct probe *p = (struct probe *)call;
	Fob__Rpc__V1__Response *m = fob__rpc__v1__response__unpack(NULL, len, reply);

	assert(m != NULL);
	p->replies++;
	p->code = (int)m->code;
	snprintf(p->text, sizeof(p->text), "%.*s", (int)m->message.len, (const char *)m->message.data);
	fob__rpc__v1__response__free_unpacked(m, NULL);
	return p->code == -FOB_EUNAVAILABLE;
}

static void
probe_end(struct call *call, int fault)
{
	struct probe *p = (struct probe *)call;

	pthread_mutex_lock(&p->mutex);
	p->ends++;
	p->fault = fault;
	p->ended_ms = transport_now_ms();
	pthread_cond_broadcast(&p->changed);
	pthread_mutex_unlock(&p->mutex);
}

static void
probe_init(struct probe *p, const char *body, unsigned timeout_ms)
{
	memset(p, 0, sizeof(*p));
	pthread_mutex_init(&p->mutex, NULL);
	pthread_cond_init(&p->changed, NULL);
	p->call.method = "test/Test";
	p->call.body.p = (uint8_t *)strdup(body);
	p->call.body.len = strlen(body);
	p->call.deadline_ms = transport_now_ms() + timeout_ms;
	p->call.reply = probe_reply;
	p->call.end = probe_end;
}

static int
probe_wait(struct probe *p)
{
	pthread_mutex_lock(&p->mutex);
	while (p->ends == 0)
		pthread_cond_wait(&p->changed, &p->mutex);
	pthread_mutex_unlock(&p->mutex);
	return p->fault;
}

static void
probe_fini(struct probe *p)
{
	codec_body_free(&p->call.body);
	pthread_mutex_destroy(&p->mutex);
	pthread_cond_destroy(&p->changed);
}

static int
probe_run(struct transport *t, struct probe *p, const char *body, unsigned timeout_ms)
{
	probe_init(p, body, timeout_ms);
	assert_int_equal(transport_submit(t, &p->call, NULL), 0);
	return probe_wait(p);
}

static struct transport *
transport_to(const char *address, unsigned in_flight, unsigned queue)
{
	struct fob_options *o = fob_options_new();
	struct transport *t = NULL;
	struct fob_error e;

	assert_int_equal(fob_options_set_address(o, address), 0);
	assert_int_equal(fob_options_set_in_flight(o, in_flight), 0);
	assert_int_equal(fob_options_set_queue(o, queue), 0);
	assert_int_equal(transport_new(o, &t, &e), 0);
	fob_options_free(o);
	return t;
}

/* ---- handlers ---- */

static bool
answer(void *arg, struct fake_request *q)
{
	(void)arg;
	return fake_reply(q->connection, q->id, 0, "fine", NULL);
}

static bool
never_answer(void *arg, struct fake_request *q)
{
	(void)arg;
	(void)q;
	return true;
}

/* ---- tests ---- */

static bool
check_envelope(void *arg, struct fake_request *q)
{
	*(uint32_t *)arg = q->timeout_ms;
	return fake_reply(q->connection, q->id,
	    strcmp(q->method, "test/Test") == 0 && q->body_len == 3 && memcmp(q->body, "abc", 3) == 0 ? 0 : 3, "fine",
	    NULL);
}

static void
test_success(void **state)
{
	uint32_t timeout_ms = 0;
	struct transport *t;
	struct probe p;
	struct fake f;

	(void)state;
	fake_init(&f, check_envelope, &timeout_ms);
	fake_start(&f);
	t = transport_to(f.address, 4, 4);
	assert_int_equal(probe_run(t, &p, "abc", LONG_MS), 0);
	assert_int_equal(p.code, 0);
	assert_string_equal(p.text, "fine");
	assert_in_range(timeout_ms, LONG_MS - 5000, LONG_MS);
	transport_free(t);
	assert_int_equal(p.ends, 1);
	assert_int_equal(p.replies, 1);
	probe_fini(&p);
	fake_stop(&f);
	fake_fini(&f);
}

static void
test_deadline(void **state)
{
	struct transport *t;
	struct probe p;
	struct fake f;

	(void)state;
	fake_init(&f, never_answer, NULL);
	fake_start(&f);
	t = transport_to(f.address, 4, 4);
	assert_int_equal(probe_run(t, &p, "", 100), FOB_EDEADLINE_EXCEEDED);
	assert_non_null(strstr(p.call.error.message, "no answer"));
	assert_true(p.ended_ms >= p.call.deadline_ms && p.ended_ms < p.call.deadline_ms + 5000);
	assert_int_equal(fake_received(&f), 1);
	probe_fini(&p);
	transport_free(t);
	fake_stop(&f);
	fake_fini(&f);
}

static void
test_never_connected(void **state)
{
	struct transport *t;
	struct probe p, queued;
	struct fake f;
	FILE *file;

	(void)state;
	fake_init(&f, answer, NULL);
	t = transport_to(f.address, 1, 1);
	probe_init(&queued, "", 120);
	probe_init(&p, "", 100);
	assert_int_equal(transport_submit(t, &p.call, NULL), 0);
	assert_int_equal(transport_submit(t, &queued.call, NULL), 0);
	assert_int_equal(probe_wait(&p), FOB_EUNAVAILABLE);
	assert_non_null(strstr(p.call.error.message, f.address));
	assert_non_null(strstr(p.call.error.message, "No such file"));
	assert_true(p.ended_ms >= p.call.deadline_ms);
	/* One that never had its turn is told the same. */
	assert_int_equal(probe_wait(&queued), FOB_EUNAVAILABLE);
	transport_free(t);
	probe_fini(&p);
	probe_fini(&queued);

	assert_non_null(file = fopen(f.path, "w"));
	fclose(file);
	t = transport_to(f.address, 1, 1);
	assert_int_equal(probe_run(t, &p, "", 50), FOB_EUNAVAILABLE);
	assert_non_null(strstr(p.call.error.message, "not a socket"));
	transport_free(t);
	probe_fini(&p);
	unlink(f.path);

	/* A port that was free a moment ago, and a name that never is one. */
	t = transport_to("tcp://127.0.0.1:9", 1, 1);
	assert_int_equal(probe_run(t, &p, "", 200), FOB_EUNAVAILABLE);
	assert_non_null(strstr(p.call.error.message, "not connected to tcp://127.0.0.1:9: "));
	transport_free(t);
	probe_fini(&p);
	fake_fini(&f);
}

struct dropper {
	unsigned drops;
	char seen[8][64];
	size_t seen_len[8];
};

/* Hangs up with the request in hand: once at once, once after half a reply. */
static bool
drop_first(void *arg, struct fake_request *q)
{
	struct dropper *d = arg;

	assert(q->n < 8 && q->body_len <= sizeof(d->seen[0]));
	memcpy(d->seen[q->n], q->body, q->body_len);
	d->seen_len[q->n] = q->body_len;
	if (q->n >= d->drops)
		return fake_reply(q->connection, q->id, 0, "at last", NULL);
	if (q->n % 2 == 1)
		fake_send_raw(q->connection, q->id, "\0", 1, 100);
	return false;
}

static void
test_connection_lost(void **state)
{
	struct dropper d = { .drops = 4 };
	struct transport *t;
	struct probe p;
	struct fake f;
	unsigned i;

	(void)state;
	fake_init(&f, drop_first, &d);
	fake_start(&f);
	t = transport_to(f.address, 4, 4);
	assert_int_equal(probe_run(t, &p, "a token and a request", LONG_MS), 0);
	assert_string_equal(p.text, "at last");
	assert_int_equal(fake_received(&f), 5);
	for (i = 0; i < 5; i++) {
		assert_int_equal(d.seen_len[i], strlen("a token and a request"));
		assert_memory_equal(d.seen[i], "a token and a request", d.seen_len[i]);
	}
	probe_fini(&p);
	transport_free(t);
	fake_stop(&f);
	fake_fini(&f);
}

static void
test_connection_lost_for_good(void **state)
{
	struct dropper d = { .drops = 8 };
	struct transport *t;
	struct probe p;
	struct fake f;

	(void)state;
	fake_init(&f, never_answer, &d);
	fake_start(&f);
	t = transport_to(f.address, 4, 4);
	/* Time enough to see the loss. */
	probe_init(&p, "", 8000);
	assert_int_equal(transport_submit(t, &p.call, NULL), 0);
	fake_wait_received(&f, 1);
	fake_stop(&f);
	/* It was sent: whether it was applied is not known, and "unavailable" would say that it was not. */
	assert_int_equal(probe_wait(&p), FOB_EDEADLINE_EXCEEDED);
	if (strstr(p.call.error.message, "connection is lost") == NULL)
		fail_msg("%s", p.call.error.message);
	probe_fini(&p);
	transport_free(t);
	fake_fini(&f);
}

static void
test_restart(void **state)
{
	struct transport *t;
	struct probe p;
	struct fake f;
	int i;

	(void)state;
	fake_init(&f, answer, NULL);
	t = transport_to(f.address, 4, 4);
	for (i = 0; i < 5; i++) {
		/* Submitted while there is no server; answered by the one that comes. */
		probe_init(&p, "", LONG_MS);
		assert_int_equal(transport_submit(t, &p.call, NULL), 0);
		fake_start(&f);
		assert_int_equal(probe_wait(&p), 0);
		probe_fini(&p);
		assert_int_equal(probe_run(t, &p, "", LONG_MS), 0);
		probe_fini(&p);
		fake_stop(&f);
	}
	transport_free(t);
	fake_fini(&f);
}

struct holder {
	pthread_mutex_t mutex;
	pthread_cond_t changed;
	struct fake_connection *connection[64];
	uint8_t id[64][4];
	unsigned held;
};

static bool
hold(void *arg, struct fake_request *q)
{
	struct holder *h = arg;

	pthread_mutex_lock(&h->mutex);
	h->connection[h->held] = q->connection;
	memcpy(h->id[h->held++], q->id, 4);
	pthread_cond_broadcast(&h->changed);
	pthread_mutex_unlock(&h->mutex);
	return true;
}

static void
release(struct holder *h, unsigned i)
{
	pthread_mutex_lock(&h->mutex);
	while (h->held <= i)
		pthread_cond_wait(&h->changed, &h->mutex);
	assert_true(fake_reply(h->connection[i], h->id[i], 0, "fine", NULL));
	pthread_mutex_unlock(&h->mutex);
}

static void
test_bounds(void **state)
{
	struct holder h = { .mutex = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER };
	struct transport *t;
	struct probe p[6];
	struct fake f;
	unsigned i;

	(void)state;
	fake_init(&f, hold, &h);
	fake_start(&f);
	t = transport_to(f.address, 2, 3);
	for (i = 0; i < 6; i++)
		probe_init(&p[i], "", LONG_MS);
	for (i = 0; i < 5; i++) {
		assert_int_equal(transport_submit(t, &p[i].call, NULL), 0);
		fake_wait_received(&f, i < 2 ? i + 1 : 2);
	}
	assert_int_equal(transport_submit(t, &p[5].call, NULL), FOB_ERESOURCE_EXHAUSTED);
	assert_int_equal(p[5].call.error.fault, FOB_ERESOURCE_EXHAUSTED);
	assert_non_null(strstr(p[5].call.error.message, "3 calls wait"));
	assert_int_equal(p[5].ends, 0);
	/* One more arrives for each that is answered, so never more than two are there. */
	for (i = 0; i < 5; i++) {
		fake_wait_received(&f, i + 2 < 5 ? i + 2 : 5);
		assert_true(fake_received(&f) <= i + 2);
		release(&h, i);
	}
	for (i = 0; i < 6; i++) {
		if (i < 5)
			assert_int_equal(probe_wait(&p[i]), 0);
		probe_fini(&p[i]);
	}
	transport_free(t);
	fake_stop(&f);
	fake_fini(&f);
}

static void
test_deadline_in_the_queue(void **state)
{
	struct transport *t;
	struct probe first, later, sooner;
	struct fake f;

	(void)state;
	fake_init(&f, never_answer, NULL);
	fake_start(&f);
	t = transport_to(f.address, 1, 3);
	probe_init(&first, "", LONG_MS);
	probe_init(&later, "", LONG_MS);
	probe_init(&sooner, "", 100);
	assert_int_equal(transport_submit(t, &first.call, NULL), 0);
	fake_wait_received(&f, 1);
	assert_int_equal(transport_submit(t, &later.call, NULL), 0);
	assert_int_equal(transport_submit(t, &sooner.call, NULL), 0);
	assert_int_equal(probe_wait(&sooner), FOB_EDEADLINE_EXCEEDED);
	assert_non_null(strstr(sooner.call.error.message, "not sent"));
	assert_true(sooner.ended_ms >= sooner.call.deadline_ms && sooner.ended_ms < sooner.call.deadline_ms + 5000);
	assert_int_equal(fake_received(&f), 1);
	transport_free(t);
	assert_int_equal(first.fault, FOB_ECANCELLED);
	assert_int_equal(later.fault, FOB_ECANCELLED);
	probe_fini(&first);
	probe_fini(&later);
	probe_fini(&sooner);
	fake_stop(&f);
	fake_fini(&f);
}

/* A server that is unavailable for one kind of body, for a number of times. */
static bool
unavailable(void *arg, struct fake_request *q)
{
	_Atomic int *times = arg;

	if (q->body_len == 4 && memcmp(q->body, "live", 4) == 0 && atomic_fetch_sub(times, 1) > 0)
		return fake_reply(q->connection, q->id, 14, "draining", NULL);
	return fake_reply(q->connection, q->id, 0, "fine", NULL);
}

static void
test_unavailable_is_asked_again(void **state)
{
	_Atomic int times = 4;
	struct transport *t;
	struct probe p;
	struct fake f;

	(void)state;
	fake_init(&f, unavailable, &times);
	fake_start(&f);
	t = transport_to(f.address, 1, 3);
	assert_int_equal(probe_run(t, &p, "live", LONG_MS), 0);
	assert_int_equal(p.replies, 5);
	assert_int_equal(p.code, 0);
	probe_fini(&p);

	/* By a deadline that is near, the server's answer stands. */
	times = 1000000;
	assert_int_equal(probe_run(t, &p, "live", 300), 0);
	assert_int_equal(p.code, 14);
	assert_string_equal(p.text, "draining");
	assert_true(p.ended_ms <= p.call.deadline_ms + 5000);
	probe_fini(&p);
	transport_free(t);
	fake_stop(&f);
	fake_fini(&f);
}

static void
test_unavailable_does_not_hold_up_others(void **state)
{
	_Atomic int times = 1000000;
	struct transport *t;
	struct probe down[8], up;
	struct fake f;
	int64_t start;
	unsigned i, one_reply = 0;

	(void)state;
	fake_init(&f, unavailable, &times);
	fake_start(&f);
	t = transport_to(f.address, 1, 16);
	start = transport_now_ms();
	for (i = 0; i < 8; i++) {
		probe_init(&down[i], "live", LONG_MS);
		assert_int_equal(transport_submit(t, &down[i].call, NULL), 0);
	}
	for (i = 0; i < 50; i++) {
		assert_int_equal(probe_run(t, &up, "test", LONG_MS), 0);
		assert_int_equal(up.code, 0);
		probe_fini(&up);
	}
	for (i = 0; i < 8; i++) {
		assert_int_equal(probe_wait(&down[i]), 0);
		assert_int_equal(down[i].code, 14);
		one_reply += down[i].replies == 1;
		probe_fini(&down[i]);
	}
	/*
	 * With one place on the wire, at most one rests at a time; and nobody keeps on asking for its whole deadline.
	 */
	assert_true(one_reply >= 1);
	assert_true(transport_now_ms() - start < LONG_MS / 2);
	transport_free(t);
	fake_stop(&f);
	fake_fini(&f);
}

static void
test_free_ends_every_call(void **state)
{
	_Atomic int times = 1000000;
	struct transport *t;
	struct probe p[20], resting;
	struct fake f;
	unsigned i;

	(void)state;
	fake_init(&f, never_answer, NULL);
	fake_start(&f);
	t = transport_to(f.address, 8, 20);
	for (i = 0; i < 20; i++) {
		probe_init(&p[i], "", LONG_MS);
		assert_int_equal(transport_submit(t, &p[i].call, NULL), 0);
	}
	fake_wait_received(&f, 8);
	transport_free(t);
	for (i = 0; i < 20; i++) {
		assert_int_equal(p[i].ends, 1);
		assert_int_equal(p[i].fault, FOB_ECANCELLED);
		probe_fini(&p[i]);
	}
	fake_stop(&f);
	fake_fini(&f);

	/* Not yet connected. */
	fake_init(&f, unavailable, &times);
	t = transport_to(f.address, 2, 20);
	for (i = 0; i < 5; i++) {
		probe_init(&p[i], "", LONG_MS);
		assert_int_equal(transport_submit(t, &p[i].call, NULL), 0);
	}
	transport_free(t);
	for (i = 0; i < 5; i++) {
		assert_int_equal(p[i].ends, 1);
		assert_int_equal(p[i].fault, FOB_ECANCELLED);
		probe_fini(&p[i]);
	}

	/* Resting, or on its way to be. */
	fake_start(&f);
	t = transport_to(f.address, 2, 20);
	probe_init(&resting, "live", LONG_MS);
	assert_int_equal(transport_submit(t, &resting.call, NULL), 0);
	fake_wait_received(&f, 3);
	transport_free(t);
	assert_int_equal(resting.ends, 1);
	assert_int_equal(resting.fault, FOB_ECANCELLED);
	probe_fini(&resting);
	fake_stop(&f);
	fake_fini(&f);
}

/* Closing while replies arrive. */
static void
test_free_under_load(void **state)
{
	struct probe p[128];
	struct transport *t;
	struct fake f;
	unsigned i, round, answered = 0, cancelled = 0;

	(void)state;
	fake_init(&f, answer, NULL);
	for (round = 0; round < 50; round++) {
		fake_start(&f);
		t = transport_to(f.address, 64, 128);
		for (i = 0; i < 128; i++) {
			probe_init(&p[i], "0123456789", LONG_MS);
			assert_int_equal(transport_submit(t, &p[i].call, NULL), 0);
		}
		probe_wait(&p[round % 64]);
		transport_free(t);
		for (i = 0; i < 128; i++) {
			assert_int_equal(p[i].ends, 1);
			assert_true(p[i].fault == 0 || p[i].fault == FOB_ECANCELLED);
			answered += p[i].fault == 0;
			cancelled += p[i].fault != 0;
			probe_fini(&p[i]);
		}
		fake_stop(&f);
	}
	assert_true(answered > 0 && cancelled > 0);
	fake_fini(&f);
}

static void
test_server_dies_under_load(void **state)
{
	struct probe p[128];
	struct transport *t;
	struct fake f;
	unsigned i, round;

	(void)state;
	fake_init(&f, answer, NULL);
	t = transport_to(f.address, 64, 128);
	for (round = 0; round < 20; round++) {
		fake_start(&f);
		for (i = 0; i < 128; i++) {
			probe_init(&p[i], "0123456789", LONG_MS);
			assert_int_equal(transport_submit(t, &p[i].call, NULL), 0);
		}
		probe_wait(&p[round]);
		fake_stop(&f);
		fake_start(&f);
		for (i = 0; i < 128; i++) {
			assert_int_equal(probe_wait(&p[i]), 0);
			assert_int_equal(p[i].ends, 1);
			probe_fini(&p[i]);
		}
		fake_stop(&f);
	}
	transport_free(t);
	fake_fini(&f);
}

/* It is tried again, ever later: the server that does so may be about to leave. */
static void
test_hang_up_in_the_handshake(void **state)
{
	struct probe p[8];
	struct transport *t;
	struct fake f;
	unsigned i, round;

	(void)state;
	fake_init(&f, answer, NULL);
	for (round = 0; round < 10; round++) {
		f.slam = 6;
		fake_start(&f);
		t = transport_to(f.address, 8, 0);
		for (i = 0; i < 8; i++) {
			probe_init(&p[i], "", LONG_MS);
			assert_int_equal(transport_submit(t, &p[i].call, NULL), 0);
		}
		for (i = 0; i < 8; i++) {
			assert_int_equal(probe_wait(&p[i]), 0);
			probe_fini(&p[i]);
		}
		transport_free(t);
		fake_stop(&f);
	}
	fake_fini(&f);
}

struct thread {
	pthread_t id;
	struct transport *t;
	unsigned done;
};

static void *
thread_run(void *arg)
{
	struct thread *me = arg;
	struct probe p;
	int i;

	for (i = 0; i < 200; i++) {
		probe_init(&p, "x", LONG_MS);
		if (transport_submit(me->t, &p.call, NULL) == 0 && probe_wait(&p) == 0 && p.replies == 1)
			me->done++;
		probe_fini(&p);
	}
	return NULL;
}

static void
test_many_threads(void **state)
{
	struct thread threads[16];
	struct transport *t;
	struct fake f;
	int i;

	(void)state;
	fake_init(&f, answer, NULL);
	fake_start(&f);
	t = transport_to(f.address, 4, 100);
	for (i = 0; i < 16; i++) {
		threads[i] = (struct thread){ .t = t };
		pthread_create(&threads[i].id, NULL, thread_run, &threads[i]);
	}
	for (i = 0; i < 16; i++) {
		pthread_join(threads[i].id, NULL);
		assert_int_equal(threads[i].done, 200);
	}
	transport_free(t);
	fake_stop(&f);
	fake_fini(&f);
}

/* ---- synchronous calls ---- */

static void
probe_init_sync(struct probe *p, const char *body, unsigned timeout_ms)
{
	probe_init(p, body, timeout_ms);
	p->call.end = NULL;
}

static int
probe_run_sync(struct transport *t, struct probe *p, const char *body, unsigned timeout_ms)
{
	probe_init_sync(p, body, timeout_ms);
	return transport_run(t, &p->call);
}

static unsigned
threads_now(void)
{
	DIR *d = opendir("/proc/self/task");
	unsigned n = 0;

	assert_non_null(d);
	while (readdir(d) != NULL)
		n++;
	closedir(d);
	return n - 2;
}

/* By the caller's own thread: the only ones that come are the server's. */
static void
test_synchronous(void **state)
{
	struct dropper d = { .drops = 4 };
	struct transport *t;
	struct probe p;
	struct fake f;
	unsigned before;
	int i;

	(void)state;
	fake_init(&f, answer, NULL);
	fake_start(&f);
	before = threads_now();
	t = transport_to(f.address, 4, 4);
	for (i = 0; i < 5; i++) {
		assert_int_equal(probe_run_sync(t, &p, "abc", LONG_MS), 0);
		assert_string_equal(p.text, "fine");
		probe_fini(&p);
	}
	assert_int_equal(threads_now(), before + 1);
	transport_free(t);
	fake_stop(&f);
	fake_fini(&f);

	fake_init(&f, drop_first, &d);
	fake_start(&f);
	t = transport_to(f.address, 4, 4);
	assert_int_equal(probe_run_sync(t, &p, "a token and a request", LONG_MS), 0);
	assert_string_equal(p.text, "at last");
	probe_fini(&p);
	fake_stop(&f);
	assert_int_equal(probe_run_sync(t, &p, "", 50), FOB_EUNAVAILABLE);
	assert_non_null(strstr(p.call.error.message, f.address));
	probe_fini(&p);
	transport_free(t);
	fake_fini(&f);
}

struct late {
	struct transport *t;
	unsigned timeout_ms;
	int64_t took_ms;
	int fault;
};

static void *
late_run(void *arg)
{
	struct late *l = arg;
	int64_t start_ms = transport_now_ms();
	struct probe p;

	l->fault = probe_run_sync(l->t, &p, "", l->timeout_ms);
	l->took_ms = transport_now_ms() - start_ms;
	probe_fini(&p);
	return NULL;
}

/* Each by its own deadline, whoever reads for whom: the reader's is the second, the third and the last of them. */
static void
test_synchronous_deadlines(void **state)
{
	struct late l[4] = { { .timeout_ms = 150 }, { .timeout_ms = 100 }, { .timeout_ms = 400 },
		{ .timeout_ms = 250 } };
	pthread_t threads[4];
	struct fake f;
	unsigned i, round;

	(void)state;
	fake_init(&f, never_answer, NULL);
	for (round = 0; round < 4; round++) {
		fake_start(&f);
		l[0].t = transport_to(f.address, 4, 4);
		for (i = 0; i < 4; i++) {
			l[(i + round) % 4].t = l[0].t;
			pthread_create(&threads[i], NULL, late_run, &l[(i + round) % 4]);
			fake_wait_received(&f, round * 4 + i + 1);
		}
		for (i = 0; i < 4; i++)
			pthread_join(threads[i], NULL);
		for (i = 0; i < 4; i++) {
			assert_int_equal(l[i].fault, FOB_EDEADLINE_EXCEEDED);
			assert_in_range(l[i].took_ms, l[i].timeout_ms, l[i].timeout_ms + 5000);
		}
		transport_free(l[0].t);
		fake_stop(&f);
	}
	fake_fini(&f);
}

/* A server that hangs up now and then, and otherwise answers out of order. */
static bool
moody(void *arg, struct fake_request *q)
{
	_Atomic unsigned *n = arg;
	unsigned i = (*n)++;

	if (i % 97 == 96)
		return false;
	return fake_reply(q->connection, q->id, i % 31 == 30 ? 14 : 0, "fine", NULL);
}

struct crowd {
	struct transport *t;
	_Atomic unsigned ended, cancelled, wrong;
};

static void *
crowd_sync(void *arg)
{
	struct crowd *c = arg;
	struct probe p;
	int i, rc;

	for (i = 0; i < 300; i++) {
		rc = probe_run_sync(c->t, &p, "x", i % 10 == 9 ? 1 : LONG_MS);
		if (rc != 0 && (rc != FOB_EDEADLINE_EXCEEDED || i % 10 != 9) && rc != FOB_EUNAVAILABLE)
			c->wrong++;
		probe_fini(&p);
		c->ended++;
	}
	return NULL;
}

static void *
crowd_async(void *arg)
{
	struct crowd *c = arg;
	struct probe p;
	uint64_t number;
	int i;

	for (i = 0; i < 300; i++) {
		probe_init(&p, "x", i % 10 == 9 ? 1 : LONG_MS);
		if (transport_submit(c->t, &p.call, &number) != 0) {
			c->wrong++;
			break;
		}
		if (i % 3 == 0 && transport_cancel(c->t, number))
			c->cancelled++;
		probe_wait(&p);
		if (p.ends != 1)
			c->wrong++;
		probe_fini(&p);
		c->ended++;
	}
	return NULL;
}

/* Both kinds at once, with deadlines, cancelling, rests and lost connections: each call ends, once. */
static void
test_crowd(void **state)
{
	_Atomic unsigned requests = 0;
	struct crowd c = { 0 };
	pthread_t threads[16];
	struct fake f;
	unsigned i;

	(void)state;
	fake_init(&f, moody, &requests);
	fake_start(&f);
	c.t = transport_to(f.address, 8, 100);
	for (i = 0; i < 16; i++)
		pthread_create(&threads[i], NULL, i % 2 == 0 ? crowd_sync : crowd_async, &c);
	for (i = 0; i < 16; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(c.wrong, 0);
	assert_int_equal(c.ended, 16 * 300);
	assert_true(c.cancelled > 0);
	transport_free(c.t);
	fake_stop(&f);
	fake_fini(&f);
}

/* ---- a peer that has vanished without a word ---- */

/* The first connection's requests are read, and never answered. */
static bool
mute_at_first(void *arg, struct fake_request *q)
{
	_Atomic bool *spoke = arg;

	if (q->connection == &q->connection->fake->connections[0] && !*spoke)
		return true;
	return fake_reply(q->connection, q->id, 0, "fine", NULL);
}

static struct fob_verification unused_result;
static int unused_fault;
static const struct codec_item unused_item = { .result = &unused_result, .fault = &unused_fault };

/* Two verifies and a second without a byte condemn the connection; not one, nor any number of other calls. */
static void
test_silence(void **state)
{
	_Atomic bool spoke = false;
	struct probe first, second, changes[8];
	struct transport *t;
	int64_t start_ms;
	struct fake f;
	unsigned i;

	(void)state;
	fake_init(&f, mute_at_first, &spoke);
	fake_start(&f);
	t = transport_to(f.address, 8, 8);
	for (i = 0; i < 8; i++) {
		probe_init(&changes[i], "", LONG_MS);
		changes[i].call.change = i < 4;
		assert_int_equal(transport_submit(t, &changes[i].call, NULL), 0);
	}
	fake_wait_received(&f, 8);
	start_ms = transport_now_ms();
	probe_init_sync(&first, "", 1500);
	first.call.item = &unused_item;
	assert_int_equal(transport_run(t, &first.call), FOB_EDEADLINE_EXCEEDED);
	assert_int_equal(f.n, 1);
	probe_fini(&first);
	/* It has been silent for longer than a second, so that the second one finds it out at once. */
	probe_init_sync(&second, "", 10000);
	second.call.item = &unused_item;
	assert_int_equal(transport_run(t, &second.call), 0);
	assert_in_range(transport_now_ms() - start_ms, 1500, 6000);
	for (i = 0; i < 8; i++) {
		assert_int_equal(probe_wait(&changes[i]), 0);
		assert_true(changes[i].call.unanswered);
		probe_fini(&changes[i]);
	}
	assert_int_equal(f.n, 2);
	probe_fini(&second);
	transport_free(t);
	fake_stop(&f);
	fake_fini(&f);
}

/* ---- without a connection ---- */

static struct transport *
transport_with(const char *address, bool fail_fast, unsigned connect_wait_ms)
{
	struct fob_options *o = fob_options_new();
	struct transport *t = NULL;
	struct fob_error e;

	assert_int_equal(fob_options_set_address(o, address), 0);
	assert_int_equal(fob_options_set_fail_fast(o, fail_fast), 0);
	if (connect_wait_ms != 0)
		assert_int_equal(fob_options_set_connect_wait_ms(o, connect_wait_ms), 0);
	assert_int_equal(transport_new(o, &t, &e), 0);
	fob_options_free(o);
	return t;
}

static void
test_fail_fast(void **state)
{
	int64_t start_ms = transport_now_ms();
	struct transport *t;
	struct probe p;
	struct fake f;
	int i, rc, kind;

	(void)state;
	for (kind = 0; kind < 2; kind++) {
		fake_init(&f, answer, NULL);
		t = transport_with(f.address, true, 0);
		for (i = 0; i < 20; i++) {
			probe_init(&p, "", LONG_MS);
			if (kind == 0)
				p.call.end = NULL;
			if ((rc = transport_submit(t, &p.call, NULL)) == 0)
				rc = kind == 0 ? transport_wait(t, &p.call) : probe_wait(&p);
			assert_int_equal(rc, FOB_EUNAVAILABLE);
			assert_non_null(strstr(p.call.error.message, "No such file"));
			probe_fini(&p);
		}
		/* And yet it connects as soon as there is a server. */
		fake_start(&f);
		do {
			probe_init(&p, "", LONG_MS);
			if (kind == 0)
				p.call.end = NULL;
			if ((rc = transport_submit(t, &p.call, NULL)) == 0)
				rc = kind == 0 ? transport_wait(t, &p.call) : probe_wait(&p);
			probe_fini(&p);
		} while (rc == FOB_EUNAVAILABLE && transport_now_ms() - start_ms < LONG_MS / 2);
		assert_int_equal(rc, 0);
		transport_free(t);
		fake_stop(&f);
		fake_fini(&f);
	}
}

static void
test_connect_wait(void **state)
{
	struct transport *t;
	struct probe p, queued;
	struct fake f;

	(void)state;
	fake_init(&f, never_answer, NULL);
	t = transport_with(f.address, false, 100);
	probe_init(&queued, "", LONG_MS);
	assert_int_equal(transport_submit(t, &queued.call, NULL), 0);
	assert_int_equal(probe_run_sync(t, &p, "", LONG_MS), FOB_EUNAVAILABLE);
	assert_int_equal(probe_wait(&queued), FOB_EUNAVAILABLE);
	assert_in_range(queued.ended_ms - (queued.call.deadline_ms - LONG_MS), 100, 5000);
	probe_fini(&p);
	probe_fini(&queued);
	transport_free(t);

	/* Not for as long as there is a connection; and from when it is lost. */
	fake_start(&f);
	t = transport_with(f.address, false, 100);
	assert_int_equal(probe_run_sync(t, &p, "", 300), FOB_EDEADLINE_EXCEEDED);
	probe_fini(&p);
	probe_init(&p, "", LONG_MS);
	assert_int_equal(transport_submit(t, &p.call, NULL), 0);
	fake_wait_received(&f, 2);
	fake_stop(&f);
	assert_int_not_equal(probe_wait(&p), 0);
	assert_true(p.ended_ms < p.call.deadline_ms - LONG_MS / 2);
	probe_fini(&p);
	transport_free(t);
	fake_fini(&f);
}

/* ---- state ---- */

struct states {
	pthread_mutex_t mutex;
	pthread_cond_t changed;
	unsigned n;
	enum fob_connection_state seen[64];
	char reason[64][64];
};

static void
state_changed(void *arg, const char *address, enum fob_connection_state state, const struct fob_error *reason)
{
	struct states *s = arg;

	assert(strncmp(address, "ipc://", 6) == 0);
	pthread_mutex_lock(&s->mutex);
	assert(s->n < 64);
	snprintf(s->reason[s->n], sizeof(s->reason[0]), "%.63s", reason->message);
	s->seen[s->n++] = state;
	pthread_cond_broadcast(&s->changed);
	pthread_mutex_unlock(&s->mutex);
}

static enum fob_connection_state
state_wait(struct states *s, unsigned i)
{
	enum fob_connection_state state;

	pthread_mutex_lock(&s->mutex);
	while (s->n <= i)
		pthread_cond_wait(&s->changed, &s->mutex);
	state = s->seen[i];
	pthread_mutex_unlock(&s->mutex);
	return state;
}

static void
test_states(void **state)
{
	struct states s = { .mutex = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER };
	struct fob_options *o = fob_options_new();
	struct transport *t = NULL;
	struct probe p;
	struct fake f;
	unsigned i = 0;

	(void)state;
	fake_init(&f, answer, NULL);
	assert_int_equal(fob_options_set_address(o, f.address), 0);
	assert_int_equal(fob_options_set_state_callback(o, state_changed, &s), 0);
	assert_int_equal(transport_new(o, &t, NULL), 0);
	assert_int_equal(state_wait(&s, 0), FOB_CONNECTION_STATE_LOST);
	assert_string_equal(s.reason[0], "No such file or directory");
	fake_start(&f);
	while (state_wait(&s, ++i) == FOB_CONNECTION_STATE_LOST)
		continue;
	/* Synchronous calls go on beside the thread, which notices that the server leaves. */
	assert_int_equal(probe_run_sync(t, &p, "", LONG_MS), 0);
	probe_fini(&p);
	fake_stop(&f);
	assert_int_equal(state_wait(&s, i + 1), FOB_CONNECTION_STATE_LOST);
	assert_string_equal(s.reason[i + 1], "closed by the server");
	fake_start(&f);
	assert_int_equal(state_wait(&s, i + 2), FOB_CONNECTION_STATE_MADE);
	transport_free(t);
	fob_options_free(o);
	fake_stop(&f);
	fake_fini(&f);
}

/* ---- replies that lie ---- */

/* First a reply that claims 8 GiB, or to be too long; then good ones. */
static bool
lie_about_length(void *arg, struct fake_request *q)
{
	if (q->n == 0)
		return fake_send_raw(q->connection, q->id, "x", 1, *(uint64_t *)arg);
	return fake_reply(q->connection, q->id, 0, "fine", NULL);
}

static void
test_length_that_lies(void **state)
{
	uint64_t lengths[] = { (uint64_t)8 << 30, CODEC_REPLY_MAX + 1, UINT64_MAX - 4 };
	struct transport *t;
	struct probe p;
	struct fake f;
	unsigned i;

	(void)state;
	for (i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		fake_init(&f, lie_about_length, &lengths[i]);
		fake_start(&f);
		t = transport_to(f.address, 1, 1);
		assert_int_equal(probe_run(t, &p, "x", LONG_MS), 0);
		assert_int_equal(fake_received(&f), 2);
		probe_fini(&p);
		transport_free(t);
		fake_stop(&f);
		fake_fini(&f);
	}
}

static void
test_request_too_large(void **state)
{
	struct transport *t;
	struct probe p;
	struct fake f;

	(void)state;
	fake_init(&f, answer, NULL);
	fake_start(&f);
	t = transport_to(f.address, 1, 1);
	probe_init(&p, "", LONG_MS);
	free(p.call.body.p);
	p.call.body.len = CODEC_REQUEST_MAX;
	assert_non_null(p.call.body.p = calloc(1, p.call.body.len));
	assert_int_equal(transport_submit(t, &p.call, NULL), FOB_EINVALID_ARGUMENT);
	assert_int_equal(p.ends, 0);
	/* The largest one goes through, with room for positions; and the lane is free again. */
	p.call.body.len -= 20 + POSITIONS_MAX;
	assert_int_equal(transport_submit(t, &p.call, NULL), 0);
	assert_int_equal(probe_wait(&p), 0);
	probe_fini(&p);
	transport_free(t);
	fake_stop(&f);
	fake_fini(&f);
}

/* A queued call's callback would be the first that its sender hears of it: too late, and with a lane lost to it. */
static void
test_request_too_large_for_the_queue(void **state)
{
	struct holder h = { .mutex = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER };
	struct transport *t;
	struct probe first, large;
	struct fake f;

	(void)state;
	fake_init(&f, hold, &h);
	fake_start(&f);
	t = transport_to(f.address, 1, 1);
	probe_init(&first, "", LONG_MS);
	assert_int_equal(transport_submit(t, &first.call, NULL), 0);
	probe_init(&large, "", LONG_MS);
	free(large.call.body.p);
	large.call.body.len = CODEC_REQUEST_MAX;
	assert_non_null(large.call.body.p = calloc(1, large.call.body.len));
	assert_int_equal(transport_submit(t, &large.call, NULL), FOB_EINVALID_ARGUMENT);
	assert_int_equal(large.call.error.fault, FOB_EINVALID_ARGUMENT);
	release(&h, 0);
	assert_int_equal(probe_wait(&first), 0);
	transport_free(t);
	assert_int_equal(large.ends, 0);
	probe_fini(&first);
	probe_fini(&large);
	fake_stop(&f);
	fake_fini(&f);
}

int
main(void)
{
	/* A hang is a failure too; the longest test takes a few seconds, under a sanitizer some more. */
	const unsigned whole_s = 240;
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_success), cmocka_unit_test(test_deadline),
		cmocka_unit_test(test_never_connected), cmocka_unit_test(test_connection_lost),
		cmocka_unit_test(test_connection_lost_for_good), cmocka_unit_test(test_restart),
		cmocka_unit_test(test_bounds), cmocka_unit_test(test_deadline_in_the_queue),
		cmocka_unit_test(test_unavailable_is_asked_again),
		cmocka_unit_test(test_unavailable_does_not_hold_up_others), cmocka_unit_test(test_free_ends_every_call),
		cmocka_unit_test(test_free_under_load), cmocka_unit_test(test_server_dies_under_load),
		cmocka_unit_test(test_hang_up_in_the_handshake), cmocka_unit_test(test_many_threads),
		cmocka_unit_test(test_synchronous), cmocka_unit_test(test_synchronous_deadlines),
		cmocka_unit_test(test_crowd), cmocka_unit_test(test_silence), cmocka_unit_test(test_fail_fast),
		cmocka_unit_test(test_connect_wait), cmocka_unit_test(test_states),
		cmocka_unit_test(test_length_that_lies), cmocka_unit_test(test_request_too_large),
		cmocka_unit_test(test_request_too_large_for_the_queue) };

	alarm(whole_s);
	return cmocka_run_group_tests_name("client/transport", tests, NULL, NULL);
}
