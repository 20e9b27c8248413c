/*
 * link.c - one server of a client: who writes, who reads, who waits (see link.h). Never calls back with the lock held,
 * and holds no lock over a system call that may wait.
 */
#include "client/link.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <sodium.h>

#include "client/error.h"
#include "client/futex.h"

/* Bits of a call's ${wake}. */
enum { DONE = 1, DRIVE = 2, ASLEEP = 4 };

/* A connection is condemned when two verifies have been written and for so long not a byte has come. */
#define SILENCE_MS 1000
/* Before the first write on a connection that was idle for so long, it is looked whether the peer has left. */
#define IDLE_MS 100
#define READ_MIN 16384
#define BUFFER_KEPT 65536
#define REPLIES_AT_ONCE 64
/* After so many a writer leaves the rest to the next reply, which is sure to come, or to the next call. */
#define WRITES_AT_ONCE 16
/* Callbacks that take longer than that do not hold up the calls that they make. */
#define CALLBACKS_MS 2

/* ---- the lock, and what happens when it is released ---- */

void
link_lock(struct link *l)
{
	pthread_mutex_lock(&l->mutex);
}

static void
wake_thread(struct link *l)
{
	if (l->wake_fd >= 0 && l->asleep && !l->woken)
		l->wake = l->woken = true;
}

static _Atomic uint32_t *
word_of(struct link *l, uint32_t slot)
{
	return &l->words[slot / 32 % LINK_WORDS];
}

/* Threads that sleep on one word and are to be woken together. */
struct wakeup {
	_Atomic uint32_t *word;
	uint32_t bits;
};

static void
wakeup_send(struct wakeup *w)
{
	if (w->bits == 0)
		return;
	atomic_fetch_add(w->word, 1);
	futex_wake(w->word, w->bits);
	w->bits = 0;
}

/* Once it knows, the call may be gone. */
static void
tell(struct link *l, struct call *c, uint32_t bits, struct wakeup *w)
{
	uint32_t slot = c->slot;

	if (w->word != word_of(l, slot))
		wakeup_send(w);
	w->word = word_of(l, slot);
	if (atomic_fetch_or(&c->wake, bits) & ASLEEP)
		w->bits |= UINT32_C(1) << slot % 32;
}

void
link_unlock(struct link *l)
{
	struct call_list to_wake = TAILQ_HEAD_INITIALIZER(to_wake);
	struct call *c, *next, *next_driver = l->next_driver;
	struct wakeup w = { 0 };
	bool wake = l->wake;

	l->wake = false;
	l->next_driver = NULL;
	TAILQ_CONCAT(&to_wake, &l->to_wake, in_waiters);
	pthread_mutex_unlock(&l->mutex);
	if (wake)
		eventfd_write(l->wake_fd, 1);
	for (c = TAILQ_FIRST(&to_wake); c != NULL; c = next) {
		next = TAILQ_NEXT(c, in_waiters);
		tell(l, c, DONE, &w);
	}
	if (next_driver != NULL)
		tell(l, next_driver, DRIVE, &w);
	wakeup_send(&w);
}

/* ---- ends ---- */

static void
call_end(struct link *l, struct call *c, int fault)
{
	c->fault = fault;
	calls_ended(&l->calls, c);
	if (c->end == NULL) {
		if (c->waits) {
			TAILQ_REMOVE(&l->waiters, c, in_waiters);
			c->waits = false;
		}
		/* A driver, or who is about to hear that it is, sees for itself. */
		if ((c->promised & DRIVE) == 0) {
			c->promised |= DONE;
			TAILQ_INSERT_TAIL(&l->to_wake, c, in_waiters);
		}
		return;
	}
	TAILQ_INSERT_TAIL(&l->ended, c, in_queue);
	wake_thread(l);
}

static int
unavailable(struct link *l, struct fob_error *error)
{
	return error_set(error, FOB_EUNAVAILABLE, "not connected to %s: %s", l->where, l->reason);
}

/*
 * The deadline has passed. Only of a call that never left this process can we say that it has not been applied, and
 * only without a connection is that the server's unavailability rather than too little time.
 */
static int
too_late(struct link *l, struct call *c)
{
	if (c->sent)
		return error_set(&c->error, FOB_EDEADLINE_EXCEEDED, "no answer from %s in time%s", l->where,
		    l->open ? "" : "; the connection is lost");
	if (l->open)
		return error_set(&c->error, FOB_EDEADLINE_EXCEEDED,
		    "not sent to %s in time: too many calls, or it reads slowly", l->where);
	return unavailable(l, &c->error);
}

static void
end_late(struct link *l, struct call_list *late)
{
	struct call *c;

	while ((c = TAILQ_FIRST(late)) != NULL) {
		TAILQ_REMOVE(late, c, in_queue);
		call_end(l, c, too_late(l, c));
	}
}

static void
expire(struct link *l, int64_t now_ms)
{
	struct call_list late = TAILQ_HEAD_INITIALIZER(late);

	calls_expire(&l->calls, l->open, now_ms, &late);
	end_late(l, &late);
}

static void
fail_waiting(struct link *l)
{
	struct call_list failed = TAILQ_HEAD_INITIALIZER(failed);
	struct call *c;

	calls_take_waiting(&l->calls, &failed);
	while ((c = TAILQ_FIRST(&failed)) != NULL) {
		TAILQ_REMOVE(&failed, c, in_queue);
		call_end(l, c, unavailable(l, &c->error));
	}
}

/* ---- the writer ---- */

/* Bytes to send, if there are any. */
static bool
fill(struct link *l)
{
	struct tls_session *session = l->connection.session;
	struct buffer *out = session == NULL ? &l->sending : &l->plain;
	struct call_list failed = TAILQ_HEAD_INITIALIZER(failed);
	int64_t now_ms;
	struct call *c;
	int verifies;

	if (l->sending.len > 0)
		return true;
	now_ms = transport_now_ms();
	if ((verifies = calls_take(&l->calls, connection_framing(&l->connection), now_ms, out)) < 0 && out->len == 0) {
		calls_take_waiting(&l->calls, &failed);
		while ((c = TAILQ_FIRST(&failed)) != NULL) {
			TAILQ_REMOVE(&failed, c, in_queue);
			call_end(l, c, error_set(&c->error, FOB_EINTERNAL, "out of memory"));
		}
		return false;
	}
	if (verifies > 0 && l->silent_verifies == 0)
		l->silent_since_ms = now_ms;
	if (verifies > 0)
		l->silent_verifies += (unsigned)verifies;
	if (session == NULL)
		return l->sending.len > 0;
	if (tls_write(session, l->plain.p, l->plain.len) != 0 || tls_take(session, &l->sending) != 0)
		l->broken = ENOMEM;
	buffer_consume(&l->plain, l->plain.len, BUFFER_KEPT);
	return l->broken == 0 && l->sending.len > 0;
}

/* Whether the peer of an idle connection has left. */
static bool
has_left(int fd)
{
	uint8_t byte;
	ssize_t n = recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);

	return n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR);
}

static bool
is_idle(const struct link *l)
{
	return TAILQ_EMPTY(&l->calls.wire) && transport_now_ms() - l->heard_ms >= IDLE_MS;
}

/* The writer is done with a system call: what was put off until then. Returns: whether it is the same connection. */
static bool
writer_back(struct link *l, unsigned generation)
{
	link_lock(l);
	if (l->stale_fd >= 0)
		close(l->stale_fd);
	l->stale_fd = -1;
	if (l->generation == generation)
		return true;
	/* These bytes are nobody's. */
	buffer_consume(&l->sending, l->sending.len, BUFFER_KEPT);
	return false;
}

static void
look_first(struct link *l)
{
	unsigned generation = l->generation;
	int fd = l->connection.fd;
	bool left;

	link_unlock(l);
	left = has_left(fd);
	if (writer_back(l, generation) && left)
		l->broken = ECONNRESET;
}

static void
send_some(struct link *l)
{
	unsigned generation = l->generation;
	int fd = l->connection.fd, error;
	ssize_t n;

	link_unlock(l);
	n = send(fd, l->sending.p, l->sending.len, MSG_DONTWAIT | MSG_NOSIGNAL);
	error = errno;
	if (!writer_back(l, generation))
		return;
	if (n >= 0) {
		buffer_consume(&l->sending, (size_t)n, BUFFER_KEPT);
		calls_sent(&l->calls);
	} else if (error == EAGAIN)
		l->blocked = true;
	else if (error != EINTR)
		l->broken = error;
}

static int64_t
condemned_at(const struct link *l)
{
	return l->open && l->silent_verifies >= 2 ? l->silent_since_ms + SILENCE_MS : INT64_MAX;
}

static bool
may_write(const struct link *l)
{
	return l->open && !l->blocked && l->broken == 0;
}

void
link_flush(struct link *l)
{
	unsigned writes = 0;

	if (l->writing || !may_write(l))
		return;
	l->writing = true;
	if (is_idle(l))
		look_first(l);
	while (may_write(l) && (writes++ < WRITES_AT_ONCE || l->sending.len > 0) && fill(l))
		send_some(l);
	l->writing = false;
	/* So that the driver sees it. */
	if (l->broken != 0 && l->open)
		shutdown(l->connection.fd, SHUT_RDWR);
	if (l->broken != 0 || l->blocked || (l->asleep && condemned_at(l) <= transport_now_ms()))
		wake_thread(l);
}

/* ---- the connection ---- */

static void
note_reason(struct link *l)
{
	snprintf(l->reason, sizeof(l->reason), "%s", l->connection.reason);
	l->where = l->connection.where;
}

static void
note_lost(struct link *l)
{
	l->lost = true;
	l->lost_at = l->where;
	l->lost_first = !l->made;
	wake_thread(l);
}

static int64_t
connect_by(const struct link *l, int64_t now_ms)
{
	return l->options->connect_wait_ms == 0 ? INT64_MAX : now_ms + l->options->connect_wait_ms;
}

/* By the driver. */
static void
lost(struct link *l, int64_t now_ms, const char *reason)
{
	unsigned target = l->connection.target;
	int fd;

	l->open = l->blocked = false;
	l->broken = 0;
	l->generation++;
	fd = connection_lost(&l->connection, now_ms, reason);
	if (l->calls.move)
		connection_begin_with(&l->connection, target + 1);
	l->calls.move = false;
	/* The writer may be using the descriptor, and has the bytes. If there is an stale_fd already it is using that. */
	if (l->writing && l->stale_fd < 0)
		l->stale_fd = fd;
	else
		close(fd);
	if (!l->writing)
		buffer_consume(&l->sending, l->sending.len, BUFFER_KEPT);
	note_reason(l);
	l->failing = l->connection.failed > 0;
	l->silent_verifies = 0;
	calls_lost(&l->calls, connect_by(l, now_ms));
	if (l->options->state_cb != NULL)
		note_lost(l);
	if (l->failing && l->options->fail_fast)
		fail_waiting(l);
	wake_thread(l);
}

/* By the driver, without the lock. Returns: whether it is open. */
static bool
establish(struct link *l)
{
	unsigned failed = l->connection.failed;
	int64_t now_ms = transport_now_ms();
	bool open = connection_step(&l->connection, now_ms);

	link_lock(l);
	if (open) {
		l->open = true;
		l->failing = false;
		l->ever = true;
		l->heard_ms = now_ms;
		l->where = connection_address(&l->connection);
		if (l->options->state_cb != NULL) {
			l->made = true;
			l->made_at = l->where;
			l->lost_first = l->lost;
			wake_thread(l);
		}
		link_flush(l);
	} else {
		note_reason(l);
		l->failing = l->connection.failed > 0;
		if (l->connection.failed != failed && !l->ever && l->options->state_cb != NULL)
			note_lost(l);
		if (l->connection.failed != failed && (l->options->fail_fast || l->connection.refused))
			fail_waiting(l);
	}
	expire(l, now_ms);
	link_unlock(l);
	return open;
}

/* ---- replies ---- */

struct reply {
	struct message *message;
	const uint8_t *body;
	size_t len;
};

/* Reads and settles ${n} replies, without the lock. */
static void
replies_settle(struct link *l, struct reply *replies, unsigned n)
{
	struct call_list ended = TAILQ_HEAD_INITIALIZER(ended);
	struct position told[POSITIONS];
	int64_t now_ms;
	struct call *c;
	unsigned i;

	/* Before any call ends: its caller may ask another server next. */
	for (i = 0; i < n && l->calls.positions != NULL; i++) {
		if (codec_decode_positions(replies[i].body, replies[i].len, told))
			positions_note(l->calls.positions, told);
	}
	for (i = 0; i < n; i++)
		calls_read(replies[i].message, replies[i].body, replies[i].len);
	link_lock(l);
	now_ms = transport_now_ms();
	for (i = 0; i < n; i++)
		calls_settle(&l->calls, replies[i].message, now_ms, &ended);
	/* What waits is not for this server: receive() gives the connection up when all that has come is read. */
	if (l->calls.move)
		l->broken = ECONNABORTED;
	while ((c = TAILQ_FIRST(&ended)) != NULL) {
		TAILQ_REMOVE(&ended, c, in_queue);
		call_end(l, c, c->fault);
	}
	if (!l->closing)
		link_flush(l);
	link_unlock(l);
}

/* The whole frames at the beginning of what has come. Returns: false when it is no SP. */
static bool
frames_read(struct link *l, struct buffer *in)
{
	struct reply replies[REPLIES_AT_ONCE];
	enum sp_framing framing = connection_framing(&l->connection);
	enum sp_result result;
	struct sp_frame frame;
	size_t at = 0;
	unsigned n;

	do {
		n = 0;
		link_lock(l);
		while (n < REPLIES_AT_ONCE) {
			result = sp_parse(framing, CODEC_REPLY_MAX + SP_ID_LEN, in->p + at, in->len - at, &frame);
			if (result != SP_MESSAGE && result != SP_NO_ID)
				break;
			at += frame.size;
			if (result == SP_MESSAGE &&
			    (replies[n].message = calls_answered(&l->calls, frame.id)) != NULL) {
				replies[n].body = frame.body;
				replies[n++].len = frame.body_len;
			}
		}
		link_unlock(l);
		if (n > 0)
			replies_settle(l, replies, n);
	} while (n == REPLIES_AT_ONCE);
	buffer_consume(in, at, BUFFER_KEPT);
	return result != SP_BROKEN;
}

/* What the socket brought, decrypted if need be, is at the end of ${in}. Returns: NULL, or why the connection ends. */
static const char *
decrypt(struct link *l)
{
	struct connection *c = &l->connection;
	int rv;

	link_lock(l);
	rv = tls_feed(c->session, l->raw.p, l->raw.len);
	if (rv == 0)
		rv = tls_read(c->session, &c->in);
	link_unlock(l);
	buffer_consume(&l->raw, l->raw.len, BUFFER_KEPT);
	return rv == 0 ? NULL : rv == 1 ? "closed by the server" : "TLS: what came cannot be decrypted";
}

/*
 * By the driver, without the lock: one receive, with ${flags}. Returns: 1 when there were as many bytes as there was room
 * for; 0; -1 when the connection was lost.
 */
static int
receive(struct link *l, int flags)
{
	struct connection *c = &l->connection;
	struct buffer *to = c->session == NULL ? &c->in : &l->raw;
	const char *why = NULL;
	size_t room = READ_MIN;
	uint8_t *p;
	ssize_t n;

	if (to->size - to->len > room)
		room = to->size - to->len;
	if ((p = buffer_reserve(to, room)) == NULL) {
		n = -1;
		errno = ENOMEM;
	} else {
		n = recv(c->fd, p, room, flags);
	}
	if (n > 0) {
		buffer_add(to, (size_t)n);
		link_lock(l);
		l->heard_ms = transport_now_ms();
		l->silent_verifies = 0;
		link_unlock(l);
		if (c->session != NULL)
			why = decrypt(l);
		c->proven = true;
		if (!frames_read(l, &c->in) && why == NULL)
			why = "the server does not speak the protocol";
		if (l->calls.move && why == NULL)
			why = "it cannot answer now: the next server is asked";
	} else if (n == 0) {
		why = "closed by the server";
	} else if (errno != EAGAIN && errno != EINTR) {
		why = strerrordesc_np(errno);
	}
	if (why == NULL)
		return n == (ssize_t)room ? 1 : 0;
	link_lock(l);
	lost(l, transport_now_ms(), l->broken != 0 && n == 0 ? strerrordesc_np(l->broken) : why);
	link_unlock(l);
	return -1;
}

/* ---- time ---- */

static int64_t
min_ms(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

/* When the driver has something to do, though nothing comes. */
static int64_t
next_ms(const struct link *l, int64_t now_ms)
{
	int64_t at = min_ms(l->calls.resume_at_ms, l->calls.expire_at_ms), silent_at = condemned_at(l);

	/* A second verify may be written until then. */
	if (l->silent_verifies == 1 && l->silent_since_ms + SILENCE_MS > now_ms)
		silent_at = l->silent_since_ms + SILENCE_MS;
	return min_ms(at, l->open ? silent_at : l->connection.due_ms);
}

/* By the driver, when nothing has come that is not read. */
static void
time_passes(struct link *l)
{
	int64_t now_ms = transport_now_ms();

	if (now_ms >= condemned_at(l))
		lost(l, now_ms, "it does not answer");
	calls_resume(&l->calls, now_ms);
	expire(l, now_ms);
	link_flush(l);
}

/* ---- the driver ---- */

void
link_turn(struct link *l, short revents, bool ours)
{
	int more = 1, i;

	if (!ours) {
		link_lock(l);
		expire(l, transport_now_ms());
		link_unlock(l);
		return;
	}
	/* Only the driver opens and loses a connection. */
	if (!l->open)
		establish(l);
	for (i = 0; l->open && more == 1 && i < 4 && (revents & (POLLIN | POLLHUP | POLLRDHUP | POLLERR)) != 0; i++)
		more = receive(l, MSG_DONTWAIT);
	link_lock(l);
	if (revents & POLLOUT)
		l->blocked = false;
	time_passes(l);
	link_unlock(l);
}

static short
events_of(const struct link *l)
{
	if (!l->open)
		return connection_events(&l->connection);
	return (short)(l->blocked ? POLLIN | POLLOUT : POLLIN);
}

static int
poll_ms(int64_t at_ms, int64_t now_ms)
{
	return at_ms <= now_ms ? 0 : at_ms - now_ms > INT32_MAX ? INT32_MAX : (int)(at_ms - now_ms);
}

/* One turn of a thread whose own call ends at ${until_ms}: waits, and does what there is to do. Without the lock. */
static void
turn_and_wait(struct link *l, int64_t until_ms)
{
	struct pollfd pfd;
	int64_t now_ms;
	bool blocking;

	if (!l->open && establish(l))
		return;
	link_lock(l);
	now_ms = transport_now_ms();
	until_ms = min_ms(until_ms, next_ms(l, now_ms));
	pfd = (struct pollfd){ .fd = l->connection.fd, .events = events_of(l) };
	blocking = l->open && !l->blocked && l->broken == 0 && until_ms - now_ms > CONNECTION_RECV_MS;
	link_unlock(l);
	if (blocking && receive(l, 0) < 0)
		return;
	if (!blocking && poll(&pfd, 1, poll_ms(until_ms, now_ms)) < 1)
		pfd.revents = 0;
	if (blocking)
		pfd.revents = 0;
	link_turn(l, pfd.revents, true);
}

/* Whoever has the driver's role gives it to another that waits; releases nothing and wakes nobody yet. */
static void
hand_over(struct link *l)
{
	struct call *c;

	l->ours = false;
	if (l->wanted) {
		l->driven = l->wanted = false;
		wake_thread(l);
		return;
	}
	/* The latest: its reply is likely to come last, so that it can do the others' work longest. */
	if ((c = TAILQ_FIRST(&l->waiters)) == NULL) {
		l->driven = false;
		if (l->unwatched)
			wake_thread(l);
		return;
	}
	TAILQ_REMOVE(&l->waiters, c, in_waiters);
	c->waits = false;
	c->promised |= DRIVE;
	l->next_driver = c;
}

/* The thread has asynchronous calls to drive, and will do the same for the others. */
static bool
may_drive(const struct link *l)
{
	return !l->driven && (l->wake_fd < 0 || l->calls.n_live == 0);
}

static void
end_if_late(struct link *l, struct call *c)
{
	if (!c->ended && transport_now_ms() >= c->deadline_ms && calls_remove(&l->calls, c))
		call_end(l, c, too_late(l, c));
}

/* ${c}'s thread is the driver until ${c} has ended. With the lock, which it gives up meanwhile. */
static void
drive(struct link *l, struct call *c)
{
	while (!c->ended) {
		link_unlock(l);
		turn_and_wait(l, c->deadline_ms);
		link_lock(l);
		end_if_late(l, c);
	}
	hand_over(l);
}

/* Sleeps until one of ${bits} is set or the time has come. Returns: what is set. */
static uint32_t
sleep_until(struct link *l, struct call *c, uint32_t bits, int64_t at_ms)
{
	_Atomic uint32_t *word = word_of(l, c->slot);
	uint32_t seen, set = atomic_load(&c->wake);

	while ((set & bits) == 0 && transport_now_ms() < at_ms) {
		seen = atomic_load(word);
		set = atomic_fetch_or(&c->wake, ASLEEP);
		if ((set & bits) == 0)
			futex_wait(word, seen, at_ms, UINT32_C(1) << c->slot % 32);
		set = atomic_load(&c->wake);
	}
	return set;
}

/* Whoever has promised to tell it something has done so, and does not touch it any more. */
static void
await_promised(struct link *l, struct call *c)
{
	while ((sleep_until(l, c, c->promised, INT64_MAX / 1000) & c->promised) != c->promised)
		continue;
}

int
link_wait(struct link *l, struct call *c)
{
	link_lock(l);
	while ((c->promised & DRIVE) == 0 && !c->ended && !may_drive(l)) {
		TAILQ_INSERT_HEAD(&l->waiters, c, in_waiters);
		c->waits = true;
		if (!l->driven)
			wake_thread(l);
		link_unlock(l);
		if (sleep_until(l, c, DONE | DRIVE, c->deadline_ms) & DONE)
			return c->fault;
		link_lock(l);
		if (c->waits)
			TAILQ_REMOVE(&l->waiters, c, in_waiters);
		c->waits = false;
		end_if_late(l, c);
	}
	if ((c->promised & DRIVE) != 0 || !c->ended) {
		l->driven = true;
		drive(l, c);
	}
	link_unlock(l);
	await_promised(l, c);
	return c->fault;
}

/* ---- what the transport calls ---- */

int
link_init(struct link *l, const struct fob_options *o, const struct options_addresses *addresses, SSL_CTX *tls,
    struct fob_error *error)
{
	*l = (struct link){ .options = o, .wake_fd = -1, .stale_fd = -1 };
	pthread_mutex_init(&l->mutex, NULL);
	TAILQ_INIT(&l->waiters);
	TAILQ_INIT(&l->to_wake);
	TAILQ_INIT(&l->ended);
	calls_init(&l->calls, o->in_flight, o->queue);
	l->calls.servers = addresses->n;
	l->where = "the server";
	if (connection_init(&l->connection, addresses, o, tls, error) != 0)
		return FOB_EINTERNAL;
	note_reason(l);
	return 0;
}

void
link_fini(struct link *l)
{
	connection_fini(&l->connection);
	buffer_free(&l->raw);
	buffer_free(&l->sending);
	buffer_free(&l->plain);
	pthread_mutex_destroy(&l->mutex);
}

/* Without a thread an attempt is made by the calls themselves, even if they are not to wait for it. */
static bool
fails_fast(struct link *l)
{
	if (!l->options->fail_fast || l->open || !l->failing)
		return false;
	if (may_drive(l)) {
		l->driven = true;
		link_unlock(l);
		establish(l);
		link_lock(l);
		hand_over(l);
	}
	return !l->open && l->failing;
}

int
link_submit(struct link *l, struct call *c)
{
	int rc;

	c->link = l;
	c->slot = l->next_slot++;
	c->connect_by_ms = l->open ? INT64_MAX : connect_by(l, transport_now_ms());
	if (l->closing)
		return error_set(&c->error, FOB_ECANCELLED, "the client is being freed");
	if (fails_fast(l))
		return unavailable(l, &c->error);
	if ((rc = calls_add(&l->calls, c)) != 0)
		return rc;
	if (l->in_callbacks && pthread_equal(l->callback_thread, pthread_self()))
		return 0;
	if (l->options->loop || (c->end != NULL && (!l->ours || c->deadline_ms < l->asleep_until_ms)))
		wake_thread(l);
	if (!l->options->loop)
		link_flush(l);
	return 0;
}

bool
link_cancel(struct link *l, uint64_t number)
{
	struct call *c;

	TAILQ_FOREACH(c, &l->calls.live, in_live)
	{
		if (c->number != number)
			continue;
		if (!calls_remove(&l->calls, c))
			return false;
		call_end(l, c, error_set(&c->error, FOB_ECANCELLED, "the call was cancelled"));
		return true;
	}
	return false;
}

void
link_cancel_all(struct link *l)
{
	struct call_list all = TAILQ_HEAD_INITIALIZER(all);
	struct call *c;

	l->closing = true;
	calls_take_all(&l->calls, &all);
	while ((c = TAILQ_FIRST(&all)) != NULL) {
		TAILQ_REMOVE(&all, c, in_queue);
		call_end(l, c, error_set(&c->error, FOB_ECANCELLED, "the client was freed"));
	}
}

void
link_claim(struct link *l)
{
	bool needed = l->calls.n_live > 0 || !l->open;

	l->wanted = l->driven && !l->ours && needed;
	if (l->ours && !needed)
		hand_over(l);
	else if (!l->driven && needed)
		l->driven = l->ours = true;
	else if (!l->driven && !TAILQ_EMPTY(&l->waiters)) {
		l->driven = true;
		hand_over(l);
	}
}

void
link_prepare(struct link *l, short *events, int64_t *at_ms)
{
	if (l->ours)
		link_flush(l);
	*at_ms = l->ours ? next_ms(l, transport_now_ms()) : l->calls.expire_at_ms;
	if (!TAILQ_EMPTY(&l->ended) || l->made || l->lost)
		*at_ms = 0;
	l->unwatched = l->driven && !l->ours;
	if (l->ours)
		*events = events_of(l);
	else
		*events = l->open && !l->driven ? POLLRDHUP : 0;
	l->asleep = true;
	l->asleep_until_ms = *at_ms;
}

void
link_awake(struct link *l)
{
	l->asleep = l->woken = false;
}

static void
state_tell(struct link *l, const char *at, enum fob_connection_state state, const char *reason)
{
	struct fob_error error = { 0 };

	if (state == FOB_CONNECTION_STATE_LOST)
		error_set(&error, FOB_EUNAVAILABLE, "%s", reason);
	l->options->state_cb(l->options->state_arg, at, state, &error);
}

static unsigned
state_callbacks(struct link *l)
{
	char reason[sizeof(l->reason)];
	bool made, lost_, lost_first;
	const char *made_at, *lost_at;

	link_lock(l);
	made = l->made;
	lost_ = l->lost;
	lost_first = l->lost_first;
	made_at = l->made_at;
	lost_at = l->lost_at;
	memcpy(reason, l->reason, sizeof(reason));
	l->made = l->lost = false;
	link_unlock(l);
	if (lost_ && lost_first)
		state_tell(l, lost_at, FOB_CONNECTION_STATE_LOST, reason);
	if (made)
		state_tell(l, made_at, FOB_CONNECTION_STATE_MADE, "");
	if (lost_ && !lost_first)
		state_tell(l, lost_at, FOB_CONNECTION_STATE_LOST, reason);
	return (made ? 1U : 0U) + (lost_ ? 1U : 0U);
}

unsigned
link_callbacks(struct link *l)
{
	struct call_list ended = TAILQ_HEAD_INITIALIZER(ended);
	int64_t since_ms = transport_now_ms(), now_ms;
	unsigned n = 0;
	struct call *c;

	if (l->options->state_cb != NULL)
		n += state_callbacks(l);
	link_lock(l);
	TAILQ_CONCAT(&ended, &l->ended, in_queue);
	/* What waits goes on before the callbacks, but a few go with what the callbacks submit. */
	l->calls.wait_for_more = !TAILQ_EMPTY(&ended);
	link_flush(l);
	l->calls.wait_for_more = false;
	l->in_callbacks = true;
	l->callback_thread = pthread_self();
	link_unlock(l);
	while ((c = TAILQ_FIRST(&ended)) != NULL) {
		TAILQ_REMOVE(&ended, c, in_queue);
		c->end(c, c->fault);
		n++;
		if ((now_ms = transport_now_ms()) - since_ms < CALLBACKS_MS)
			continue;
		since_ms = now_ms;
		link_lock(l);
		link_flush(l);
		link_unlock(l);
	}
	link_lock(l);
	l->in_callbacks = false;
	link_flush(l);
	link_unlock(l);
	return n;
}
