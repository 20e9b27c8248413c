/*
 * coalesce.c - verifies that wait travel together (see coalesce.h).
 *
 * Called by client.c; calls transport.c to send, codec.c for bytes. Never delays a call while a lane is free, never
 * calls back with its lock held or from within coalescer_submit(), never sends more than what one request may hold.
 *
 * Who ends a verify: its own message's reply (verify_end), its batch's (batch_end), or the alarm, a thread that ends
 * those whose deadline passes while they wait or are in a batch, and those that could not be sent. A verify is at one
 * place at a time, in the queue, in a batch, with the transport or with the thread that ends it, and is moved under the
 * lock.
 *
 * Batches are kept alike: one takes its share of all that is under way, waiting or not. Without that, calls that came
 * first and alone would go on travelling alone, beside one batch with all the others, and all lanes but one would be
 * wasted. And a call that is made in the callback of a batch waits for the batch's other callbacks, which usually make
 * one too.
 */
#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <sodium.h>

#include "client/coalesce.h"
#include "client/error.h"
#include "client/options.h"

/* A body with its envelope's few fields is at most CODEC_REQUEST_MAX. */
#define BATCH_BYTES (CODEC_REQUEST_MAX - 64)
/* How small the parts of a refused batch are: a few more messages for one bad item, a third more if all are bad. */
#define SPLIT 4
/* Callbacks that take longer than that do not hold up the calls that they make. */
#define CORK_MS 2

struct list {
	struct verify *first, **last;
	unsigned n;
};

struct batch {
	struct call call; /* first: the transport hands it back */
	struct coalescer *coalescer;
	struct batch *next, **before;
	int fault;
	bool decoding; /* its items are being written to: not for the alarm */
	unsigned n;
	struct verify *items[]; /* NULL: its deadline has passed */
};

struct coalescer {
	struct transport *transport;
	bool on;
	unsigned lanes, queue_max;
	pthread_t alarm;
	bool alarm_started;

	pthread_mutex_t mutex; /* of all below */
	pthread_cond_t wake;   /* the alarm */
	_Atomic bool closing;  /* read without the lock, too */
	int64_t alarm_at_ms;   /* not later than the first deadline of what waits or is in a batch */
	unsigned messages;     /* that occupy a lane */
	unsigned items;        /* in them */
	struct list waiting;   /* the oldest first */
	struct list failed;    /* to be ended by the alarm */
	struct batch *batches;
};

/*
 * Of a thread that is in a batch's callbacks: what it submits waits here for the end of them, without a lock. There are
 * at most as many as have just ended, so they are not counted against the queue.
 */
static _Thread_local struct {
	struct coalescer *coalescer; /* NULL: not corked */
	unsigned max;
	struct list list;
} cork;

/* ---- lists ---- */

static void
list_init(struct list *l)
{
	l->first = NULL;
	l->last = &l->first;
	l->n = 0;
}

static void
list_append(struct list *l, struct verify *v)
{
	v->next = NULL;
	*l->last = v;
	l->last = &v->next;
	l->n++;
}

static struct verify *
list_pop(struct list *l)
{
	struct verify *v = l->first;

	if (v == NULL)
		return NULL;
	if ((l->first = v->next) == NULL)
		l->last = &l->first;
	l->n--;
	return v;
}

/* Puts ${head}, which is left empty, before ${l}. */
static void
list_prepend(struct list *l, struct list *head)
{
	if (head->first == NULL)
		return;
	*head->last = l->first;
	if (l->first == NULL)
		l->last = head->last;
	l->first = head->first;
	l->n += head->n;
	list_init(head);
}

/* ---- one verify ---- */

int
verify_new(
    const struct fob_verify_request *request, int64_t deadline_ms, struct verify **verify, struct fob_error *error)
{
	struct verify *v;
	size_t len;
	int rc;

	*verify = NULL;
	if ((rc = codec_verify_size(request, &len, error)) != 0)
		return rc;
	if ((v = malloc(sizeof(*v) + len)) == NULL)
		return error_set(error, FOB_EINTERNAL, "out of memory");
	/* But for the bytes: they may be many. */
	memset(v, 0, sizeof(*v));
	codec_verify_write(request, v->bytes);
	v->len = len;
	v->required = request->require_environment;
	v->company = FOB_BATCH_MAX;
	v->call.method = codec_method_name(METHOD_VERIFY_KEY);
	v->call.body = (struct codec_body){ .p = v->bytes, .len = len };
	v->call.deadline_ms = deadline_ms;
	*verify = v;
	return 0;
}

void
verify_free(struct verify *v)
{
	if (v == NULL)
		return;
	sodium_memzero(v->bytes, v->len);
	free(v);
}

static void
verify_finish(struct verify *v)
{
	if (v->callback == NULL) {
		sem_post(&v->ended);
		return;
	}
	v->callback(v->arg, v->fault, &v->result, &v->call.error);
	verify_free(v);
}

static void
verify_fail(struct verify *v, int fault, const struct fob_error *error)
{
	v->fault = fault;
	v->call.error = *error;
	memset(&v->result, 0, sizeof(v->result));
}

static void dispatch(struct coalescer *);

/* Called with the lock held. The later one of the two is left to be found when the alarm goes off. */
static void
alarm_arm(struct coalescer *c, int64_t at_ms)
{
	if (at_ms >= c->alarm_at_ms)
		return;
	c->alarm_at_ms = at_ms;
	pthread_cond_signal(&c->wake);
}

/*
 * What the server says to a single key may be about its environment alone, and the transport may ask again for a while:
 * others need not wait for that. Called with the lock held.
 */
static void
verify_release(struct verify *v)
{
	if (v->released)
		return;
	v->released = true;
	v->coalescer->messages--;
	v->coalescer->items--;
}

static bool
verify_reply(struct call *call, const uint8_t *p, size_t len)
{
	struct verify *v = (struct verify *)call;
	struct coalescer *c = v->coalescer;

	v->fault = codec_decode_verify(p, len, v->required, &v->result, &call->error);
	if (v->fault != FOB_EUNAVAILABLE)
		return false;
	pthread_mutex_lock(&c->mutex);
	verify_release(v);
	pthread_mutex_unlock(&c->mutex);
	dispatch(c);
	return true;
}

static void
verify_end(struct call *call, int fault)
{
	struct verify *v = (struct verify *)call;
	struct coalescer *c = v->coalescer;

	if (fault != 0)
		v->fault = fault;
	pthread_mutex_lock(&c->mutex);
	verify_release(v);
	pthread_mutex_unlock(&c->mutex);
	dispatch(c);
	verify_finish(v);
}

/* ---- batches ---- */

static void
batch_free(struct batch *b)
{
	codec_body_free(&b->call.body);
	free(b);
}

static bool
batch_reply(struct call *call, const uint8_t *p, size_t len)
{
	struct batch *b = (struct batch *)call;
	struct coalescer *c = b->coalescer;
	struct codec_item items[FOB_BATCH_MAX];
	unsigned i;

	pthread_mutex_lock(&c->mutex);
	b->decoding = true;
	for (i = 0; i < b->n; i++) {
		items[i] = (struct codec_item){ 0 };
		if (b->items[i] != NULL)
			items[i] = (struct codec_item){ .required = b->items[i]->required,
				.result = &b->items[i]->result,
				.fault = &b->items[i]->fault,
				.error = &b->items[i]->call.error };
	}
	pthread_mutex_unlock(&c->mutex);
	if ((b->fault = codec_decode_verify_items(p, len, items, b->n, &call->error)) != FOB_EUNAVAILABLE)
		return false;
	/* It may be sent again, so deadlines count again. Those that were passed over are found at once. */
	pthread_mutex_lock(&c->mutex);
	b->decoding = false;
	c->alarm_at_ms = 0;
	pthread_cond_signal(&c->wake);
	pthread_mutex_unlock(&c->mutex);
	return true;
}

/* Whether the items of a batch that was refused are to be tried again, apart. */
static bool
batch_splits(const struct batch *b, int fault)
{
	return fault == 0 && b->fault != 0 && b->fault != FOB_EUNAVAILABLE && b->fault != FOB_EDEADLINE_EXCEEDED;
}

/* Takes the items out of a batch that has ended. Called with the lock held. */
static void
batch_take(struct batch *b, bool splits, struct list *ended)
{
	struct coalescer *c = b->coalescer;
	struct list again;
	unsigned i;

	list_init(&again);
	for (i = 0; i < b->n; i++) {
		if (b->items[i] == NULL)
			continue;
		if (splits) {
			b->items[i]->company = b->n / SPLIT > 1 ? b->n / SPLIT : 1;
			b->items[i]->sent = true;
			if (b->items[i]->call.deadline_ms < c->alarm_at_ms)
				c->alarm_at_ms = b->items[i]->call.deadline_ms;
		}
		list_append(splits ? &again : ended, b->items[i]);
	}
	if (splits)
		pthread_cond_signal(&c->wake);
	list_prepend(&c->waiting, &again);
	if ((*b->before = b->next) != NULL)
		b->next->before = b->before;
	c->messages--;
	c->items -= b->n;
}

/* Sends what was submitted meanwhile. */
static void
cork_pull(struct coalescer *c)
{
	const struct fob_error error = { .fault = FOB_ECANCELLED, .message = "the client is being freed" };
	struct verify *v;
	bool closing;

	pthread_mutex_lock(&c->mutex);
	closing = c->closing;
	while (!closing && (v = list_pop(&cork.list)) != NULL) {
		list_append(&c->waiting, v);
		alarm_arm(c, v->call.deadline_ms);
	}
	pthread_mutex_unlock(&c->mutex);
	while ((v = list_pop(&cork.list)) != NULL) {
		verify_fail(v, FOB_ECANCELLED, &error);
		verify_finish(v);
	}
	dispatch(c);
}

static void
batch_end(struct call *call, int fault)
{
	struct batch *b = (struct batch *)call;
	struct coalescer *c = b->coalescer;
	int64_t since_ms, now_ms;
	struct list ended;
	struct verify *v;
	bool few;

	list_init(&ended);
	pthread_mutex_lock(&c->mutex);
	batch_take(b, batch_splits(b, fault) && !c->closing, &ended);
	few = c->waiting.n < b->n / 2;
	pthread_mutex_unlock(&c->mutex);
	/*
	 * Those that wait go on before the callbacks, which may take their time. But a few go with what the callbacks
	 * submit: alone they would occupy the lane, and all the others would wait for them.
	 */
	if (!few)
		dispatch(c);
	if (fault == 0)
		fault = b->fault;
	cork.coalescer = c;
	cork.max = b->n;
	list_init(&cork.list);
	since_ms = transport_now_ms();
	while ((v = list_pop(&ended)) != NULL) {
		if (fault != 0)
			verify_fail(v, fault, &call->error);
		verify_finish(v);
		if ((few || cork.list.first != NULL) && (now_ms = transport_now_ms()) - since_ms >= CORK_MS) {
			cork_pull(c);
			since_ms = now_ms;
		}
	}
	cork.coalescer = NULL;
	cork_pull(c);
	batch_free(b);
}

/* A lane's fair share of all that is under way: see the top. Called with the lock held. */
static unsigned
batch_share(const struct coalescer *c)
{
	unsigned share = (c->waiting.n + c->items + c->lanes - 1) / c->lanes;

	return share < FOB_BATCH_MAX ? share : FOB_BATCH_MAX;
}

/* How many of those that wait travel together next, and in how many bytes. Called with the lock held. */
static unsigned
batch_measure(const struct coalescer *c, size_t *len)
{
	unsigned n = 0, max = batch_share(c);
	const struct verify *v;

	*len = 0;
	for (v = c->waiting.first; v != NULL && n < max; v = v->next) {
		if (v->company < max)
			max = v->company;
		if (n >= max || *len + codec_item_size(v->len) > BATCH_BYTES)
			break;
		*len += codec_item_size(v->len);
		n++;
	}
	return n;
}

/* NULL when out of memory. Called with the lock held. */
static struct batch *
batch_make(struct coalescer *c, unsigned n, size_t len)
{
	struct batch *b = calloc(1, sizeof(*b) + n * sizeof(b->items[0]));
	uint8_t *p = malloc(len);
	unsigned i;

	if (b == NULL || p == NULL) {
		free(b);
		free(p);
		return NULL;
	}
	b->call.method = codec_method_name(METHOD_VERIFY_KEYS);
	b->call.body = (struct codec_body){ .p = p, .len = len };
	b->call.reply = batch_reply;
	b->call.end = batch_end;
	b->call.accepted = true;
	b->coalescer = c;
	b->n = n;
	for (i = 0; i < n; i++) {
		b->items[i] = list_pop(&c->waiting);
		p = codec_item_write(b->items[i]->bytes, b->items[i]->len, p);
		if (b->items[i]->call.deadline_ms > b->call.deadline_ms)
			b->call.deadline_ms = b->items[i]->call.deadline_ms;
	}
	if ((b->next = c->batches) != NULL)
		b->next->before = &b->next;
	b->before = &c->batches;
	c->batches = b;
	return b;
}

/* ---- from the queue to the transport ---- */

static void
verify_occupy(struct coalescer *c, struct verify *v)
{
	v->call.reply = verify_reply;
	v->call.end = verify_end;
	c->messages++;
	c->items++;
}

/* The next message, if there is one and a lane for it. Called with the lock held. */
static struct call *
message_next(struct coalescer *c)
{
	struct batch *b;
	struct verify *v;
	unsigned n;
	size_t len;

	if (c->closing || c->messages >= c->lanes || c->waiting.first == NULL)
		return NULL;
	if ((n = batch_measure(c, &len)) > 1 && (b = batch_make(c, n, len)) != NULL) {
		c->messages++;
		c->items += n;
		return &b->call;
	}
	v = list_pop(&c->waiting);
	v->call.accepted = true;
	verify_occupy(c, v);
	return &v->call;
}

/* What could not be sent ends on the alarm's thread: this one may be a caller's. */
static void
message_failed(struct coalescer *c, struct call *call, int fault)
{
	struct verify *v = (struct verify *)call;
	struct batch *b = (struct batch *)call;
	struct list ended;

	list_init(&ended);
	pthread_mutex_lock(&c->mutex);
	if (call->end == batch_end) {
		batch_take(b, false, &ended);
	} else {
		verify_release(v);
		list_append(&ended, v);
	}
	while ((v = list_pop(&ended)) != NULL) {
		if (&v->call != call)
			verify_fail(v, fault, &call->error);
		v->fault = fault;
		list_append(&c->failed, v);
	}
	pthread_cond_signal(&c->wake);
	pthread_mutex_unlock(&c->mutex);
}

static void
dispatch(struct coalescer *c)
{
	struct call *call;
	bool batch;
	int rc;

	for (;;) {
		pthread_mutex_lock(&c->mutex);
		call = message_next(c);
		pthread_mutex_unlock(&c->mutex);
		if (call == NULL)
			return;
		/* Once taken it may end, and be freed, before we look at it again. */
		batch = call->end == batch_end;
		if ((rc = transport_submit(c->transport, call)) == 0)
			continue;
		message_failed(c, call, rc);
		if (batch)
			batch_free((struct batch *)call);
	}
}

/* ---- the alarm ---- */

static bool
alarm_is_due(struct coalescer *c, const struct verify *v, int64_t now_ms)
{
	if (v->call.deadline_ms <= now_ms)
		return true;
	if (v->call.deadline_ms < c->alarm_at_ms)
		c->alarm_at_ms = v->call.deadline_ms;
	return false;
}

/* Moves what is due to ${late}, and sets the alarm to what is due next. Called with the lock held. */
static void
alarm_take_due(struct coalescer *c, int64_t now_ms, struct list *late)
{
	struct list kept;
	struct batch *b;
	struct verify *v;
	unsigned i;

	list_init(&kept);
	c->alarm_at_ms = INT64_MAX;
	while ((v = list_pop(&c->waiting)) != NULL)
		list_append(alarm_is_due(c, v, now_ms) ? late : &kept, v);
	list_prepend(&c->waiting, &kept);
	for (b = c->batches; b != NULL; b = b->next) {
		for (i = 0; !b->decoding && i < b->n; i++) {
			if ((v = b->items[i]) == NULL || !alarm_is_due(c, v, now_ms))
				continue;
			v->sent = v->sent || atomic_load(&b->call.sent);
			b->items[i] = NULL;
			list_append(late, v);
		}
	}
}

static void
alarm_wait(struct coalescer *c)
{
	struct timespec until = { .tv_sec = (time_t)(c->alarm_at_ms / 1000),
		.tv_nsec = (long)(c->alarm_at_ms % 1000) * 1000000 };

	if (c->alarm_at_ms == INT64_MAX)
		pthread_cond_wait(&c->wake, &c->mutex);
	else
		pthread_cond_timedwait(&c->wake, &c->mutex, &until);
}

/* Ends what is late or failed. Called with the lock held, which is given up meanwhile. */
static void
alarm_end(struct coalescer *c, struct list *late)
{
	struct list failed = c->failed;
	struct verify *v;

	if (failed.first == NULL)
		list_init(&failed);
	list_init(&c->failed);
	pthread_mutex_unlock(&c->mutex);
	while ((v = list_pop(&failed)) != NULL)
		verify_finish(v);
	while ((v = list_pop(late)) != NULL) {
		memset(&v->result, 0, sizeof(v->result));
		v->fault = transport_too_late(c->transport, v->sent, &v->call.error);
		verify_finish(v);
	}
	pthread_mutex_lock(&c->mutex);
}

static void *
alarm_run(void *arg)
{
	struct coalescer *c = arg;
	struct list late;
	int64_t now_ms;

	pthread_mutex_lock(&c->mutex);
	while (!c->closing) {
		list_init(&late);
		if (c->alarm_at_ms <= (now_ms = transport_now_ms()))
			alarm_take_due(c, now_ms, &late);
		if (late.first != NULL || c->failed.first != NULL)
			alarm_end(c, &late);
		else
			alarm_wait(c);
	}
	pthread_mutex_unlock(&c->mutex);
	return NULL;
}

/* The host program's signals are not for this thread. */
static int
alarm_start(struct coalescer *c, struct fob_error *error)
{
	sigset_t all, before;
	int rv;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	rv = pthread_create(&c->alarm, NULL, alarm_run, c);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (rv != 0)
		return error_set(error, FOB_EINTERNAL, "cannot start a thread: %s", strerrordesc_np(rv));
	c->alarm_started = true;
	return 0;
}

/* ---- what client.c calls ---- */

/* A message that could not be sent even alone is refused now: later, others would be in its company. */
static int
size_check(struct verify *v)
{
	return v->len > BATCH_BYTES ? transport_check_size(&v->call) : 0;
}

/* Called with the lock held. */
static int
wait_for_lane(struct coalescer *c, struct verify *v)
{
	int rc;

	if ((rc = size_check(v)) != 0)
		return rc;
	if (c->waiting.n >= c->queue_max)
		return error_set(
		    &v->call.error, FOB_ERESOURCE_EXHAUSTED, "%u calls wait for their turn already", c->waiting.n);
	list_append(&c->waiting, v);
	alarm_arm(c, v->call.deadline_ms);
	return 0;
}

/*
 * In the callbacks of a batch. False: not there, or too many, or refused: what would end here might be made again for
 * ever.
 */
static bool
wait_for_callbacks(struct coalescer *c, struct verify *v)
{
	if (cork.coalescer != c || c->closing || cork.list.n >= cork.max || v->len > BATCH_BYTES)
		return false;
	list_append(&cork.list, v);
	return true;
}

int
coalescer_submit(struct coalescer *c, struct verify *v)
{
	bool at_once = false;
	int rc = 0;

	v->coalescer = c;
	if (wait_for_callbacks(c, v))
		return 0;
	pthread_mutex_lock(&c->mutex);
	if (c->closing)
		rc = error_set(&v->call.error, FOB_ECANCELLED, "the client is being freed");
	else if (!c->on || (c->waiting.first == NULL && c->messages < c->lanes))
		at_once = true;
	else
		rc = wait_for_lane(c, v);
	if (at_once)
		verify_occupy(c, v);
	pthread_mutex_unlock(&c->mutex);
	if (at_once && (rc = transport_submit(c->transport, &v->call)) != 0) {
		pthread_mutex_lock(&c->mutex);
		verify_release(v);
		pthread_mutex_unlock(&c->mutex);
	}
	/* A lane may have become free just now, or others came after the one that was not taken. */
	if (!at_once || rc != 0)
		dispatch(c);
	return rc;
}

int
coalescer_new(
    const struct fob_options *o, struct transport *transport, struct coalescer **coalescer, struct fob_error *error)
{
	pthread_condattr_t attr;
	struct coalescer *c;
	int rc;

	*coalescer = NULL;
	if ((c = calloc(1, sizeof(*c))) == NULL)
		return error_set(error, FOB_EINTERNAL, "out of memory");
	c->transport = transport;
	c->on = o->coalesce;
	c->lanes = o->lanes < o->in_flight ? o->lanes : o->in_flight;
	/* As many calls are taken as without coalescing. */
	c->queue_max = o->queue + o->in_flight - c->lanes;
	c->alarm_at_ms = INT64_MAX;
	list_init(&c->waiting);
	list_init(&c->failed);
	pthread_mutex_init(&c->mutex, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&c->wake, &attr);
	pthread_condattr_destroy(&attr);
	if (c->on && (rc = alarm_start(c, error)) != 0) {
		coalescer_free(c);
		return rc;
	}
	*coalescer = c;
	return 0;
}

void
coalescer_stop(struct coalescer *c)
{
	const struct fob_error error = { .fault = FOB_ECANCELLED, .message = "the client was freed" };
	struct verify *v;

	pthread_mutex_lock(&c->mutex);
	c->closing = true;
	pthread_cond_signal(&c->wake);
	pthread_mutex_unlock(&c->mutex);
	if (c->alarm_started)
		pthread_join(c->alarm, NULL);
	pthread_mutex_lock(&c->mutex);
	while ((v = list_pop(&c->waiting)) != NULL || (v = list_pop(&c->failed)) != NULL) {
		pthread_mutex_unlock(&c->mutex);
		verify_fail(v, FOB_ECANCELLED, &error);
		verify_finish(v);
		pthread_mutex_lock(&c->mutex);
	}
	pthread_mutex_unlock(&c->mutex);
}

void
coalescer_free(struct coalescer *c)
{
	struct verify *v;

	if (c == NULL)
		return;
	/* Of a message that was made just before coalescer_stop(). */
	while ((v = list_pop(&c->failed)) != NULL)
		verify_finish(v);
	assert(c->waiting.first == NULL && c->failed.first == NULL && c->batches == NULL && c->messages == 0);
	pthread_cond_destroy(&c->wake);
	pthread_mutex_destroy(&c->mutex);
	free(c);
}
