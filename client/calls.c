/*
 * calls.c - the calls to one server, until they have ended (see calls.h). Never looks into a body.
 */
#include "client/calls.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "client/envelope.h"
#include "client/error.h"

#define REST_MIN_MS 10
#define REST_MAX_MS 250
/* A body with its envelope's few fields is at most CODEC_REQUEST_MAX. */
#define BATCH_BYTES (CODEC_REQUEST_MAX - 192)
/* How small the parts of a refused batch are: a few more messages for one bad item, a third more if all are bad. */
#define SPLIT 4
/* Bytes that are written at once, about. */
#define TAKE_MAX 262144
/* Messages that the verifies which are under way are spread over, at least. */
#define SHARES 3

_Static_assert(CALLS_SLOTS == 256, "an id holds a slot in its lowest byte");

struct batch {
	struct message message;
	struct fob_error error;
	struct call *calls[];
};

static enum calls_kind
kind_of(const struct call *c)
{
	return c->change ? CALLS_CHANGE : c->item != NULL ? CALLS_VERIFY : CALLS_OTHER;
}

void
calls_init(struct calls *cs, unsigned in_flight, unsigned queue_max)
{
	unsigned i;

	*cs = (struct calls){ .in_flight = in_flight, .queue_max = queue_max, .n_free_slots = CALLS_SLOTS };
	for (i = 0; i < CALLS_KINDS; i++)
		TAILQ_INIT(&cs->waiting[i]);
	TAILQ_INIT(&cs->wire);
	TAILQ_INIT(&cs->resting);
	TAILQ_INIT(&cs->live);
	for (i = 0; i < CALLS_SLOTS; i++)
		cs->free_slots[i] = (uint8_t)i;
	cs->expire_at_ms = cs->resume_at_ms = INT64_MAX;
	cs->servers = 1;
	cs->moves_since_ms = INT64_MIN / 2;
}

/* Without what the client has seen: see envelope_min(). */
static struct envelope
envelope_of(const struct call *c, uint32_t timeout_ms)
{
	return (struct envelope){ .method = c->method,
		.timeout_ms = timeout_ms,
		.traceparent = c->traceparent,
		.on_behalf_of = c->on_behalf_of };
}

/* Of this moment, as the frame may be for another server than the one that has told it. ${min} is room for it. */
static inline void
envelope_min(const struct calls *cs, struct envelope *e, struct position min[POSITIONS])
{
	if (cs->positions == NULL || !positions_any(cs->positions))
		return;
	positions_get(cs->positions, min);
	e->min = min;
}

int
calls_check_size(struct call *c)
{
	const struct envelope e = envelope_of(c, FOB_TIMEOUT_MAX_MS);

	if (envelope_size(&e, c->body.len) + POSITIONS_MAX > CODEC_REQUEST_MAX)
		return error_set(
		    &c->error, FOB_EINVALID_ARGUMENT, "the request is larger than %d bytes", CODEC_REQUEST_MAX);
	return 0;
}

/* ---- waiting ---- */

static void
wait_behind(struct calls *cs, struct call *c)
{
	enum calls_kind kind = kind_of(c);

	c->message = NULL;
	TAILQ_INSERT_TAIL(&cs->waiting[kind], c, in_queue);
	cs->n_waiting[kind]++;
}

static void
wait_before(struct calls *cs, struct call *c)
{
	enum calls_kind kind = kind_of(c);

	c->message = NULL;
	TAILQ_INSERT_HEAD(&cs->waiting[kind], c, in_queue);
	cs->n_waiting[kind]++;
}

static void
wait_end(struct calls *cs, struct call *c)
{
	enum calls_kind kind = kind_of(c);

	TAILQ_REMOVE(&cs->waiting[kind], c, in_queue);
	cs->n_waiting[kind]--;
}

static void
expire_by(struct calls *cs, const struct call *c)
{
	int64_t at = c->deadline_ms < c->connect_by_ms ? c->deadline_ms : c->connect_by_ms;

	if (at < cs->expire_at_ms && (c->end != NULL || c->connect_by_ms != INT64_MAX))
		cs->expire_at_ms = at;
}

int
calls_add(struct calls *cs, struct call *c)
{
	enum calls_kind kind = kind_of(c);

	if (cs->n_waiting[kind] + cs->on_wire[kind] >= cs->queue_max + cs->in_flight)
		return error_set(
		    &c->error, FOB_ERESOURCE_EXHAUSTED, "%u calls wait for their turn already", cs->n_waiting[kind]);
	c->company = FOB_BATCH_MAX;
	wait_behind(cs, c);
	expire_by(cs, c);
	if (c->end != NULL) {
		TAILQ_INSERT_TAIL(&cs->live, c, in_live);
		cs->n_live++;
	}
	return 0;
}

void
calls_ended(struct calls *cs, struct call *c)
{
	c->ended = true;
	if (c->end == NULL)
		return;
	TAILQ_REMOVE(&cs->live, c, in_live);
	cs->n_live--;
}

/* ---- messages ---- */

/* The message of a single call is in the call. */
static bool
is_batch(const struct message *m)
{
	return m->n > 1;
}

static void
message_free(struct message *m)
{
	if (is_batch(m))
		free(m);
}

static void
wire_enter(struct calls *cs, struct message *m)
{
	uint8_t slot = cs->free_slots[--cs->n_free_slots];

	assert(cs->slots[slot] == NULL);
	cs->turn += CALLS_SLOTS;
	m->id = SP_ID_BIT | cs->turn | slot;
	m->sent = m->answered = m->again = false;
	cs->slots[slot] = m;
	TAILQ_INSERT_TAIL(&cs->wire, m, in_list);
	cs->on_wire[m->kind]++;
	if (m->kind == CALLS_VERIFY)
		cs->verifies += m->n;
}

static void
wire_leave(struct calls *cs, struct message *m)
{
	uint8_t slot = (uint8_t)(m->id % CALLS_SLOTS);

	TAILQ_REMOVE(&cs->wire, m, in_list);
	cs->slots[slot] = NULL;
	cs->free_slots[cs->n_free_slots++] = slot;
	cs->on_wire[m->kind]--;
	if (m->kind == CALLS_VERIFY)
		cs->verifies -= m->n;
	m->id = 0;
}

static void
message_alone(struct call *c)
{
	c->self = c;
	c->own = (struct message){ .calls = &c->self, .n = 1, .kind = (uint8_t)kind_of(c) };
	c->message = &c->own;
	c->index = 0;
}

/* NULL when out of memory. */
static struct message *
message_together(struct calls *cs, unsigned n)
{
	struct batch *b = calloc(1, sizeof(*b) + n * sizeof(b->calls[0]));
	struct call *c;
	unsigned i;

	if (b == NULL)
		return NULL;
	b->message = (struct message){ .calls = b->calls, .n = n, .kind = CALLS_VERIFY };
	for (i = 0; i < n; i++) {
		c = TAILQ_FIRST(&cs->waiting[CALLS_VERIFY]);
		wait_end(cs, c);
		b->calls[i] = c;
		c->message = &b->message;
		c->index = i;
	}
	return &b->message;
}

/* ---- frames ---- */

static uint32_t
timeout_of(int64_t deadline_ms, int64_t now_ms)
{
	return deadline_ms > now_ms ? (uint32_t)(deadline_ms - now_ms) : 1;
}

/* Where the body goes; NULL when out of memory. */
static uint8_t *
frame_begin(struct buffer *out, enum sp_framing framing, struct message *m, const struct envelope *e, size_t body_len)
{
	size_t len = envelope_size(e, body_len);
	uint8_t *to;

	assert(len <= CODEC_REQUEST_MAX);
	if ((to = buffer_reserve(out, SP_HEADER_MAX + len)) == NULL)
		return NULL;
	return envelope_head(e, body_len, to + sp_header(framing, m->id, len, to));
}

static void
frame_end(struct buffer *out, uint8_t *to, const struct envelope *e)
{
	to = envelope_tail(e, to);
	buffer_add(out, (size_t)(to - (out->p + out->len)));
}

static int
frame_alone(struct calls *cs, enum calls_kind kind, enum sp_framing framing, int64_t now_ms, struct buffer *out)
{
	struct call *c = TAILQ_FIRST(&cs->waiting[kind]);
	struct envelope e = envelope_of(c, timeout_of(c->deadline_ms, now_ms));
	struct position min[POSITIONS];
	uint8_t *to;

	envelope_min(cs, &e, min);
	wait_end(cs, c);
	message_alone(c);
	wire_enter(cs, &c->own);
	if ((to = frame_begin(out, framing, &c->own, &e, c->body.len)) == NULL) {
		wire_leave(cs, &c->own);
		wait_before(cs, c);
		return -1;
	}
	if (c->body.len > 0)
		memcpy(to, c->body.p, c->body.len);
	frame_end(out, to + c->body.len, &e);
	return 0;
}

static void
together_undo(struct calls *cs, struct message *m)
{
	unsigned i;

	for (i = m->n; i-- > 0;)
		wait_before(cs, m->calls[i]);
	free(m);
}

/* The batch's deadline is the last of its calls', and its traceparent the first that there is. */
static int
frame_together(
    struct calls *cs, unsigned n, size_t body_len, enum sp_framing framing, int64_t now_ms, struct buffer *out)
{
	struct message *m = message_together(cs, n);
	struct envelope e = { .method = codec_method_name(METHOD_VERIFY_KEYS) };
	struct position min[POSITIONS];
	int64_t deadline_ms = 0;
	uint8_t *to;
	unsigned i;

	if (m == NULL)
		return -1;
	for (i = 0; i < n; i++) {
		if (m->calls[i]->deadline_ms > deadline_ms)
			deadline_ms = m->calls[i]->deadline_ms;
		if (e.traceparent == NULL)
			e.traceparent = m->calls[i]->traceparent;
	}
	e.timeout_ms = timeout_of(deadline_ms, now_ms);
	envelope_min(cs, &e, min);
	wire_enter(cs, m);
	if ((to = frame_begin(out, framing, m, &e, body_len)) == NULL) {
		wire_leave(cs, m);
		together_undo(cs, m);
		return -1;
	}
	for (i = 0; i < n; i++)
		to = codec_item_write(m->calls[i]->body.p, m->calls[i]->body.len, to);
	frame_end(out, to, &e);
	return 0;
}

/*
 * How many of the verifies that wait go into the next message: all of them, up to a share of all that are under way, so
 * that a crowd's messages follow each other and neither end waits for the other. 0: not now. *${len} is what they take
 * in one body.
 */
static unsigned
verifies_to_send(const struct calls *cs, size_t *len)
{
	unsigned all = cs->n_waiting[CALLS_VERIFY] + cs->verifies;
	unsigned shares = cs->in_flight < SHARES ? cs->in_flight : SHARES;
	unsigned n = 0, max = (all + shares - 1) / shares;
	const struct call *c;

	*len = 0;
	if (cs->on_wire[CALLS_VERIFY] >= cs->in_flight || cs->n_waiting[CALLS_VERIFY] == 0)
		return 0;
	if (cs->wait_for_more && cs->n_waiting[CALLS_VERIFY] < max / 2)
		return 0;
	if (max > FOB_BATCH_MAX)
		max = FOB_BATCH_MAX;
	TAILQ_FOREACH(c, &cs->waiting[CALLS_VERIFY], in_queue)
	{
		if (c->company < max)
			max = c->company;
		if (n >= max || *len + codec_item_size(c->body.len) > BATCH_BYTES)
			break;
		*len += codec_item_size(c->body.len);
		n++;
	}
	return n > 1 ? n : 1;
}

int
calls_take(struct calls *cs, enum sp_framing framing, int64_t now_ms, struct buffer *out)
{
	int verifies = 0;
	unsigned kind, n;
	size_t len;

	for (kind = CALLS_OTHER; kind <= CALLS_CHANGE; kind++) {
		while (cs->n_waiting[kind] > 0 && cs->on_wire[kind] < cs->in_flight && out->len < TAKE_MAX) {
			if (TAILQ_FIRST(&cs->waiting[kind])->method == codec_method_name(METHOD_VERIFY_KEYS))
				verifies++;
			if (frame_alone(cs, kind, framing, now_ms, out) != 0)
				return -1;
		}
	}
	while (out->len < TAKE_MAX && (n = verifies_to_send(cs, &len)) > 0) {
		if ((n == 1 || frame_together(cs, n, len, framing, now_ms, out) != 0) &&
		    frame_alone(cs, CALLS_VERIFY, framing, now_ms, out) != 0)
			return -1;
		verifies++;
	}
	return verifies;
}

void
calls_sent(struct calls *cs)
{
	struct message *m;
	unsigned i;

	TAILQ_FOREACH_REVERSE(m, &cs->wire, message_list, in_list)
	{
		if (m->sent)
			return;
		m->sent = true;
		for (i = 0; i < m->n; i++) {
			if (m->calls[i] != NULL)
				m->calls[i]->sent = true;
		}
	}
}

/* ---- replies ---- */

struct message *
calls_answered(struct calls *cs, uint32_t id)
{
	struct message *m = cs->slots[id % CALLS_SLOTS];

	if (m == NULL || m->id != id)
		return NULL;
	wire_leave(cs, m);
	m->answered = true;
	return m;
}

void
calls_read(struct message *m, const uint8_t *reply, size_t len)
{
	struct codec_item items[FOB_BATCH_MAX];
	struct batch *b = (struct batch *)m;
	unsigned i;

	if (!is_batch(m)) {
		m->again = m->calls[0]->reply(m->calls[0], reply, len);
		return;
	}
	for (i = 0; i < m->n; i++)
		items[i] = m->calls[i] == NULL ? (struct codec_item){ 0 } : *m->calls[i]->item;
	m->fault = codec_decode_verify_items(reply, len, items, m->n, &b->error);
	m->again = m->fault == FOB_EUNAVAILABLE;
}

/* Whether ${c}, which this server cannot answer now, may be asked of the next one. */
static bool
may_move(const struct calls *cs, const struct call *c)
{
	return (c->item != NULL || c->moves) && c->tried + 1 < cs->servers;
}

/* Whether the next server is to be asked. */
static bool
move_on(struct calls *cs, int64_t now_ms)
{
	if (cs->move)
		return true;
	if (now_ms - cs->moves_since_ms >= TRANSPORT_MOVE_MS) {
		cs->moves_since_ms = now_ms;
		cs->moves = 0;
	}
	if (cs->moves + 1 >= cs->servers)
		return false;
	cs->moves++;
	cs->move = true;
	return true;
}

/* All of the message's calls wait for the next server, or none. */
static bool
message_moves(struct calls *cs, struct message *m, int64_t now_ms)
{
	unsigned i, left = 0;

	for (i = 0; i < m->n; i++) {
		if (m->calls[i] == NULL)
			continue;
		if (!may_move(cs, m->calls[i]))
			return false;
		left++;
	}
	if (left == 0 || !move_on(cs, now_ms))
		return false;
	for (i = m->n; i-- > 0;) {
		if (m->calls[i] == NULL)
			continue;
		m->calls[i]->tried++;
		wait_before(cs, m->calls[i]);
	}
	message_free(m);
	return true;
}

/* Whether all of the message's calls rest for the same while. If not, the answer stands. */
static bool
message_rests(struct calls *cs, struct message *m, int64_t now_ms)
{
	struct call *c = NULL;
	unsigned i;

	m->resume_at_ms = 0;
	for (i = 0; i < m->n; i++) {
		if ((c = m->calls[i]) == NULL)
			continue;
		if (c->retry_until_ms == 0) {
			c->retry_until_ms = now_ms + TRANSPORT_RETRY_MS;
			c->rest_ms = REST_MIN_MS;
		}
		if (m->resume_at_ms < now_ms + c->rest_ms)
			m->resume_at_ms = now_ms + c->rest_ms;
		c->rest_ms = c->rest_ms * 2 > REST_MAX_MS ? REST_MAX_MS : c->rest_ms * 2;
	}
	return m->resume_at_ms != 0 && cs->n_resting < cs->in_flight;
}

static void
end_with(struct call *c, int fault, struct call_list *ended)
{
	c->message = NULL;
	c->fault = fault;
	TAILQ_INSERT_TAIL(ended, c, in_queue);
}

/* The answer of a call that would rest longer than it may stands. */
static void
message_rest(struct calls *cs, struct message *m, int64_t now_ms, struct call_list *ended)
{
	struct batch *b = (struct batch *)m;
	bool rests = message_rests(cs, m, now_ms);
	unsigned i, left = 0;
	struct call *c;

	for (i = 0; i < m->n; i++) {
		if ((c = m->calls[i]) == NULL)
			continue;
		if (rests && !c->elsewhere && m->resume_at_ms < c->retry_until_ms && m->resume_at_ms < c->deadline_ms) {
			left++;
			continue;
		}
		if (is_batch(m)) {
			m->calls[i] = NULL;
			c->error = b->error;
		}
		end_with(c, is_batch(m) ? FOB_EUNAVAILABLE : 0, ended);
	}
	if (left == 0) {
		message_free(m);
		return;
	}
	m->answered = false;
	TAILQ_INSERT_TAIL(&cs->resting, m, in_list);
	cs->n_resting++;
	if (m->resume_at_ms < cs->resume_at_ms)
		cs->resume_at_ms = m->resume_at_ms;
}

/* Whether the calls of a batch that was refused are to be tried again, apart. */
static bool
splits(int fault)
{
	return fault != 0 && fault != FOB_EUNAVAILABLE && fault != FOB_EDEADLINE_EXCEEDED;
}

static void
batch_settle(struct calls *cs, struct batch *b, int64_t now_ms, struct call_list *ended)
{
	struct message *m = &b->message;
	struct call *c;
	unsigned i;

	/* From the last on, so that those that wait again are in their order. */
	for (i = m->n; i-- > 0;) {
		if ((c = m->calls[i]) == NULL)
			continue;
		if (splits(m->fault)) {
			c->company = m->n / SPLIT > 1 ? m->n / SPLIT : 1;
			wait_before(cs, c);
			expire_by(cs, c);
		} else if (cs->servers > 1 && m->fault == 0 && *c->item->fault == FOB_EUNAVAILABLE && may_move(cs, c) &&
		    move_on(cs, now_ms)) {
			c->tried++;
			wait_before(cs, c);
		} else {
			if (m->fault != 0)
				c->error = b->error;
			c->message = NULL;
			c->fault = m->fault;
			TAILQ_INSERT_HEAD(ended, c, in_queue);
		}
	}
	free(b);
}

void
calls_settle(struct calls *cs, struct message *m, int64_t now_ms, struct call_list *ended)
{
	struct call_list mine = TAILQ_HEAD_INITIALIZER(mine);

	if (m->again && message_moves(cs, m, now_ms))
		return;
	if (m->again)
		message_rest(cs, m, now_ms, ended);
	else if (is_batch(m))
		batch_settle(cs, (struct batch *)m, now_ms, &mine);
	else
		end_with(m->calls[0], 0, &mine);
	TAILQ_CONCAT(ended, &mine, in_queue);
}

/* ---- back to the queue, or out ---- */

static void
message_waits(struct calls *cs, struct message *m)
{
	unsigned i;

	for (i = m->n; i-- > 0;) {
		if (m->calls[i] != NULL)
			wait_before(cs, m->calls[i]);
	}
	message_free(m);
}

void
calls_lost(struct calls *cs, int64_t connect_by_ms)
{
	struct message *m;
	struct call *c;
	unsigned i;

	while ((m = TAILQ_LAST(&cs->wire, message_list)) != NULL) {
		for (i = 0; i < m->n; i++) {
			if (m->calls[i] != NULL && m->sent)
				m->calls[i]->unanswered = true;
		}
		wire_leave(cs, m);
		message_waits(cs, m);
	}
	for (i = 0; i < CALLS_KINDS; i++) {
		TAILQ_FOREACH(c, &cs->waiting[i], in_queue)
		c->connect_by_ms = connect_by_ms;
	}
	if (connect_by_ms < cs->expire_at_ms)
		cs->expire_at_ms = connect_by_ms;
}

void
calls_resume(struct calls *cs, int64_t now_ms)
{
	struct message *m, *next;

	if (now_ms < cs->resume_at_ms)
		return;
	cs->resume_at_ms = INT64_MAX;
	for (m = TAILQ_FIRST(&cs->resting); m != NULL; m = next) {
		next = TAILQ_NEXT(m, in_list);
		if (m->resume_at_ms <= now_ms) {
			TAILQ_REMOVE(&cs->resting, m, in_list);
			cs->n_resting--;
			message_waits(cs, m);
		} else if (m->resume_at_ms < cs->resume_at_ms) {
			cs->resume_at_ms = m->resume_at_ms;
		}
	}
}

static bool
message_is_empty(const struct message *m)
{
	unsigned i;

	for (i = 0; i < m->n; i++) {
		if (m->calls[i] != NULL)
			return false;
	}
	return true;
}

bool
calls_remove(struct calls *cs, struct call *c)
{
	struct message *m = c->message;

	if (m == NULL) {
		wait_end(cs, c);
		return true;
	}
	if (m->answered)
		return false;
	/* A batch stays where it is while it has calls: its reply is for them. */
	if (is_batch(m)) {
		m->calls[c->index] = NULL;
		c->message = NULL;
		if (!message_is_empty(m))
			return true;
	}
	if (m->id != 0) {
		wire_leave(cs, m);
	} else {
		TAILQ_REMOVE(&cs->resting, m, in_list);
		cs->n_resting--;
	}
	message_free(m);
	c->message = NULL;
	return true;
}

static void
expire_waiting(struct calls *cs, unsigned kind, int64_t now_ms, struct call_list *late)
{
	struct call *c, *next;

	for (c = TAILQ_FIRST(&cs->waiting[kind]); c != NULL; c = next) {
		next = TAILQ_NEXT(c, in_queue);
		if (c->connect_by_ms <= now_ms) {
			wait_end(cs, c);
			c->ended = true;
			TAILQ_INSERT_TAIL(late, c, in_queue);
		} else if (c->connect_by_ms < cs->expire_at_ms) {
			cs->expire_at_ms = c->connect_by_ms;
		}
	}
}

void
calls_expire(struct calls *cs, bool connected, int64_t now_ms, struct call_list *late)
{
	struct call *c, *next;
	unsigned kind;

	if (now_ms < cs->expire_at_ms)
		return;
	cs->expire_at_ms = INT64_MAX;
	for (kind = 0; !connected && kind < CALLS_KINDS; kind++)
		expire_waiting(cs, kind, now_ms, late);
	for (c = TAILQ_FIRST(&cs->live); c != NULL; c = next) {
		next = TAILQ_NEXT(c, in_live);
		if (c->deadline_ms > now_ms) {
			if (c->deadline_ms < cs->expire_at_ms)
				cs->expire_at_ms = c->deadline_ms;
		} else if (!c->ended && calls_remove(cs, c)) {
			TAILQ_INSERT_TAIL(late, c, in_queue);
		}
	}
}

void
calls_take_waiting(struct calls *cs, struct call_list *out)
{
	struct call *c;
	unsigned kind;

	for (kind = 0; kind < CALLS_KINDS; kind++) {
		while ((c = TAILQ_FIRST(&cs->waiting[kind])) != NULL) {
			wait_end(cs, c);
			TAILQ_INSERT_TAIL(out, c, in_queue);
		}
	}
}

void
calls_take_all(struct calls *cs, struct call_list *out)
{
	struct call *c;

	TAILQ_FOREACH(c, &cs->live, in_live)
	{
		if (calls_remove(cs, c))
			TAILQ_INSERT_TAIL(out, c, in_queue);
	}
}
