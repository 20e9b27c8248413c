/*
 * transport.c - bytes to a server and bytes back, over nng REQ sockets.
 *
 * Called by client.c and coalesce.c. Calls nng, and codec.c for the envelope. Knows nothing of keys; never resends what
 * it was not given, never looks into a body, and calls back with no lock held, and never from within
 * transport_submit().
 *
 * A lane is one REQ socket with its connection and its aio: one call on the wire. A call on a lane is moved on by the
 * lane's own callback alone: send, receive, and again when the connection was lost. Operations are started under the
 * lock, so that transport_free() finds each of them either not started, which its flag prevents, or ready to be
 * aborted.
 *
 * Why not one socket with a context per call: nng 1.5 closes a connection at once when a send fails on it, and when the
 * header of a reply has been read from it just then, the body's read is dropped without a word. nng's reaper, one
 * thread for the whole process, then waits for it for ever: nothing reconnects any more and nng_close() does not
 * return. With many calls on one connection, killing a busy server did that to its clients in one or two rounds
 * (test_server_dies_under_load). With one call on each, nothing is to be read when something is sent. Lanes connect
 * when they are first needed, and the one that was used last is used next, so a client has as many connections as it
 * ever had calls at once.
 */
#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <nng/nng.h>
#include <nng/protocol/reqrep0/req.h>
#include <nng/supplemental/tls/tls.h>
#include <sodium.h>

#include "client/error.h"
#include "client/options.h"
#include "client/transport.h"

#define RECONNECT_MIN_MS 10
#define RECONNECT_MAX_MS 1000
/* How long a send may wait before it is looked after again, and for the longest at a time. */
#define PATIENCE_MS 250
#define PATIENCE_MAX_MS 8000
#define REST_MIN_MS 10
#define REST_MAX_MS 250
/* What transport_free() grants replies on their way, so that none arrives in the instant of closing: see the top. */
#define QUIET_MS 100
/* How long an explanation of a failing connection is good for: thousands of calls may time out together. */
#define REASON_KEPT_MS 100
#define PEM_MAX 65536

struct lane {
	struct transport *t;
	nng_aio *aio;
	nng_socket socket;
	nng_dialer dialer;
	bool opened;
	_Atomic int pipe;         /* nng's number of the connection; 0: none */
	_Atomic int gone;         /* that of the last one that ended */
	uint32_t redial_after_ms; /* 0: was connected when last looked at */
	int64_t redial_at_ms;
	bool redial;       /* by the keeper; under the lock, as is dialer once opened */
	struct call *call; /* NULL: idle */
	bool receiving;
	struct lane *next_idle;
};

struct call_list {
	struct call *first, **last;
	unsigned n;
};

struct transport {
	char *address;
	unsigned n_lanes; /* 0: they are not there, as there was no memory */
	unsigned queue_max;
	nng_tls_config *tls; /* NULL: not tls+tcp */
	nng_aio *timer;
	struct lane *lanes;
	pthread_t keeper; /* replaces dialers that are stuck */
	bool keeper_started;

	pthread_mutex_t mutex;  /* of all below */
	pthread_cond_t changed; /* a lane became idle, a call ended, the timer stopped; only while closing */
	pthread_cond_t keep;    /* there is something for the keeper */
	bool keeper_stop;
	bool closing;
	struct lane *idle;
	unsigned busy;            /* lanes */
	unsigned calls;           /* taken and not ended */
	struct call_list queue;   /* waiting for a lane, the oldest first */
	struct call_list resting; /* in no order */
	int64_t timer_at_ms;      /* 0: not running */
	char reason[96];
	int64_t reason_at_ms;
};

int64_t
transport_now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* ---- lists of calls ---- */

static void
list_init(struct call_list *l)
{
	l->first = NULL;
	l->last = &l->first;
	l->n = 0;
}

static void
list_append(struct call_list *l, struct call *c)
{
	c->next = NULL;
	*l->last = c;
	l->last = &c->next;
	l->n++;
}

static struct call *
list_pop(struct call_list *l)
{
	struct call *c = l->first;

	if (c == NULL)
		return NULL;
	if ((l->first = c->next) == NULL)
		l->last = &l->first;
	l->n--;
	return c;
}

/* ---- ends ---- */

static const char *
ipc_reason(const char *path)
{
	struct stat st;

	if (stat(path, &st) != 0)
		return strerrordesc_np(errno);
	if (!S_ISSOCK(st.st_mode))
		return "it is not a socket";
	if (access(path, W_OK) != 0)
		return strerrordesc_np(errno);
	return "nothing listens there";
}

/* nng keeps a background dialer's failures to itself, but counts them: the most frequent kind is what we can say. */
static const char *
dialer_reason(nng_dialer dialer)
{
	static const struct {
		const char *stat, *reason;
	} kinds[] = { { "refused", "connection refused" }, { "auth", "the TLS certificates do not fit" },
		{ "proto", "what listens there does not speak the protocol" }, { "timeout", "no answer to connecting" },
		{ "disconnect", "the connection is closed as soon as it is made" },
		{ "other", "the host is unknown or unreachable, or hangs up in the handshake" } };
	const char *reason = "still connecting";
	uint64_t most = 0;
	nng_stat *all, *of, *stat;
	size_t i;

	if (nng_stats_get(&all) != 0)
		return reason;
	of = nng_stat_find_dialer(all, dialer);
	for (i = 0; of != NULL && i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		if ((stat = nng_stat_find(of, kinds[i].stat)) != NULL && nng_stat_value(stat) > most) {
			most = nng_stat_value(stat);
			reason = kinds[i].reason;
		}
	}
	nng_stats_free(all);
	return reason;
}

static void
reason_get(struct transport *t, char *to, size_t size)
{
	int64_t now = transport_now_ms();
	const char *reason;
	nng_dialer dialer;

	pthread_mutex_lock(&t->mutex);
	if (t->reason_at_ms == 0 || now - t->reason_at_ms > REASON_KEPT_MS) {
		dialer = t->lanes[0].dialer;
		pthread_mutex_unlock(&t->mutex);
		reason = strncmp(t->address, "ipc://", 6) == 0 ? ipc_reason(t->address + 6) : dialer_reason(dialer);
		pthread_mutex_lock(&t->mutex);
		snprintf(t->reason, sizeof(t->reason), "%s", reason);
		t->reason_at_ms = now;
	}
	snprintf(to, size, "%s", t->reason);
	pthread_mutex_unlock(&t->mutex);
}

static bool
is_connected(struct transport *t)
{
	unsigned i;

	for (i = 0; i < t->n_lanes; i++) {
		if (atomic_load(&t->lanes[i].pipe) != 0)
			return true;
	}
	return false;
}

/*
 * The deadline has passed. Only of a call that never left this process can we say that it has not been applied, and
 * only without a connection is that the server's unavailability rather than too little time.
 */
int
transport_too_late(struct transport *t, bool sent, struct fob_error *error)
{
	char reason[sizeof(t->reason)];

	if (sent)
		return error_set(error, FOB_EDEADLINE_EXCEEDED, "no answer from %s in time%s", t->address,
		    is_connected(t) ? "" : "; the connection is lost");
	if (is_connected(t))
		return error_set(error, FOB_EDEADLINE_EXCEEDED,
		    "not sent to %s in time: too many calls, or it reads slowly", t->address);
	reason_get(t, reason, sizeof(reason));
	return error_set(error, FOB_EUNAVAILABLE, "not connected to %s: %s", t->address, reason);
}

static int
call_too_late(struct transport *t, struct call *c)
{
	return transport_too_late(t, c->sent, &c->error);
}

static int
call_failed(struct transport *t, struct call *c, int nng_error)
{
	if (nng_error == NNG_ECANCELED)
		return error_set(&c->error, FOB_ECANCELLED, "the client was freed");
	if (nng_error == NNG_ETIMEDOUT)
		return call_too_late(t, c);
	return error_set(&c->error, FOB_EINTERNAL, "%s: %s", t->address, nng_strerror(nng_error));
}

/* Whoever waits for the last call to end must not see it before its callback has returned. */
static void
call_end(struct transport *t, struct call *c, int fault)
{
	c->end(c, fault);
	pthread_mutex_lock(&t->mutex);
	t->calls--;
	if (t->closing)
		pthread_cond_broadcast(&t->changed);
	pthread_mutex_unlock(&t->mutex);
}

/* ---- the timer: deadlines of calls that wait, and ends of rests ---- */

static void
timer_arm(struct transport *t, int64_t at_ms)
{
	int64_t in_ms;

	if (t->closing || (t->timer_at_ms != 0 && t->timer_at_ms <= at_ms))
		return;
	if (t->timer_at_ms != 0) {
		/* It runs for longer; its callback will find what is due and arm it anew. */
		t->timer_at_ms = at_ms;
		nng_aio_abort(t->timer, NNG_ECANCELED);
		return;
	}
	in_ms = at_ms - transport_now_ms();
	t->timer_at_ms = at_ms;
	nng_sleep_aio(in_ms < 1 ? 1 : (nng_duration)in_ms, t->timer);
}

/* Moves what is due by ${now} from ${from} to ${to}; lowers *${next_ms} to when the rest is. */
static void
list_take_due(struct call_list *from, struct call_list *to, bool resting, int64_t now, int64_t *next_ms)
{
	struct call_list kept;
	struct call *c;
	int64_t at;

	list_init(&kept);
	while ((c = list_pop(from)) != NULL) {
		at = resting ? c->resume_at_ms : c->deadline_ms;
		if (at > now && *next_ms > at)
			*next_ms = at;
		list_append(at <= now ? to : &kept, c);
	}
	while ((c = list_pop(&kept)) != NULL)
		list_append(from, c);
}

static void lanes_feed(struct transport *);

static void
timer_cb(void *arg)
{
	struct transport *t = arg;
	int64_t now, next_ms = INT64_MAX;
	struct call_list late;
	struct call *c;

	list_init(&late);
	pthread_mutex_lock(&t->mutex);
	t->timer_at_ms = 0;
	if (t->closing) {
		pthread_cond_broadcast(&t->changed);
		pthread_mutex_unlock(&t->mutex);
		return;
	}
	now = transport_now_ms();
	list_take_due(&t->resting, &t->queue, true, now, &next_ms);
	list_take_due(&t->queue, &late, false, now, &next_ms);
	if (next_ms != INT64_MAX)
		timer_arm(t, next_ms);
	pthread_mutex_unlock(&t->mutex);

	while ((c = list_pop(&late)) != NULL)
		call_end(t, c, call_too_late(t, c));
	lanes_feed(t);
}

/* ---- connections ---- */

static void
pipe_cb(nng_pipe pipe, nng_pipe_ev event, void *arg)
{
	struct lane *lane = arg;
	int id = nng_pipe_id(pipe);

	/*
	 * The end of an old connection may be told after the beginning of a new one, and, by another thread, before its
	 * own beginning. Each side writes first and then looks at what the other wrote: one of them sees both.
	 */
	if (event == NNG_PIPE_EV_ADD_POST) {
		atomic_store(&lane->pipe, id);
		if (atomic_load(&lane->gone) != id)
			return;
	} else {
		atomic_store(&lane->gone, id);
	}
	atomic_compare_exchange_strong(&lane->pipe, &id, 0);
}

static int
nng_failed(struct fob_error *error, const char *what, int nng_error)
{
	int fault = nng_error == NNG_ENOMEM ? FOB_EINTERNAL : FOB_EINVALID_ARGUMENT;

	return error_set(error, fault, "%s: %s", what, nng_strerror(nng_error));
}

/* The name that the certificate must carry: given, or the host of the address. */
static int
tls_name_set(const struct fob_options *o, nng_tls_config *tls)
{
	nng_url *url;
	int rv;

	if (o->tls_server_name != NULL)
		return nng_tls_config_server_name(tls, o->tls_server_name);
	if ((rv = nng_url_parse(&url, o->address)) != 0)
		return rv;
	rv = nng_tls_config_server_name(tls, url->u_hostname);
	nng_url_free(url);
	return rv;
}

/* Wiped and freed by the caller; NULL when it cannot be read or is no PEM file's size. */
static char *
file_read(const char *path)
{
	char *text = NULL;
	size_t len;
	FILE *f;

	if ((f = fopen(path, "re")) == NULL)
		return NULL;
	if ((text = calloc(1, PEM_MAX + 1)) != NULL) {
		/* Past stdio, whose buffer would keep a copy of the private key. */
		setvbuf(f, NULL, _IONBF, 0);
		len = fread(text, 1, PEM_MAX + 1, f);
		if (ferror(f) || len > PEM_MAX) {
			sodium_memzero(text, PEM_MAX + 1);
			free(text);
			text = NULL;
		}
	}
	fclose(f);
	return text;
}

/* nng reads a certificate and its key from one file only, and they are usually two. */
static int
tls_certificate_set(const struct fob_options *o, nng_tls_config *tls)
{
	char *cert = file_read(o->tls_cert), *key = file_read(o->tls_key);
	int rv = NNG_ENOENT;

	if (cert != NULL && key != NULL)
		rv = nng_tls_config_own_cert(tls, cert, key, NULL);
	if (key != NULL)
		sodium_memzero(key, PEM_MAX + 1);
	free(key);
	free(cert);
	return rv;
}

static int
tls_setup(struct transport *t, const struct fob_options *o, struct fob_error *error)
{
	int rv;

	if (strncmp(t->address, "tls+tcp://", 10) != 0)
		return 0;
	if ((rv = nng_tls_config_alloc(&t->tls, NNG_TLS_MODE_CLIENT)) != 0 ||
	    (rv = nng_tls_config_auth_mode(t->tls, NNG_TLS_AUTH_MODE_REQUIRED)) != 0)
		return nng_failed(error, "TLS", rv);
	if ((rv = nng_tls_config_ca_file(t->tls, o->tls_ca)) != 0)
		return nng_failed(error, o->tls_ca, rv);
	if (o->tls_cert != NULL && (rv = tls_certificate_set(o, t->tls)) != 0)
		return nng_failed(error, o->tls_cert, rv);
	if ((rv = tls_name_set(o, t->tls)) != 0)
		return nng_failed(error, "TLS server name", rv);
	return 0;
}

/* With an infinite resend time nng reports a lost connection to us instead of resending, and it is ours to decide. */
static int
socket_setup(struct lane *lane)
{
	int rv;

	if ((rv = nng_socket_set_ms(lane->socket, NNG_OPT_REQ_RESENDTIME, NNG_DURATION_INFINITE)) != 0 ||
	    (rv = nng_socket_set_ms(lane->socket, NNG_OPT_RECONNMINT, RECONNECT_MIN_MS)) != 0 ||
	    (rv = nng_socket_set_ms(lane->socket, NNG_OPT_RECONNMAXT, RECONNECT_MAX_MS)) != 0 ||
	    (rv = nng_socket_set_size(lane->socket, NNG_OPT_RECVMAXSZ, CODEC_REPLY_MAX)) != 0 ||
	    (rv = nng_pipe_notify(lane->socket, NNG_PIPE_EV_ADD_POST, pipe_cb, lane)) != 0 ||
	    (rv = nng_pipe_notify(lane->socket, NNG_PIPE_EV_REM_POST, pipe_cb, lane)) != 0)
		return rv;
	return 0;
}

static int
dialer_setup(struct lane *lane, nng_dialer *dialer)
{
	struct transport *t = lane->t;
	int rv;

	if ((rv = nng_dialer_create(dialer, lane->socket, t->address)) != 0)
		return rv;
	if (strncmp(t->address, "ipc://", 6) != 0 &&
	    ((rv = nng_dialer_set_bool(*dialer, NNG_OPT_TCP_NODELAY, true)) != 0 ||
		(rv = nng_dialer_set_bool(*dialer, NNG_OPT_TCP_KEEPALIVE, true)) != 0))
		return rv;
	if (t->tls != NULL && (rv = nng_dialer_set_ptr(*dialer, NNG_OPT_TLS_CONFIG, t->tls)) != 0)
		return rv;
	return nng_dialer_start(*dialer, NNG_FLAG_NONBLOCK);
}

/* Starts the lane's connecting, in the background. A lane is opened by the one thread that has it. */
static int
lane_open(struct lane *lane, struct fob_error *error)
{
	int rv;

	if (lane->opened)
		return 0;
	if ((rv = nng_req0_open(&lane->socket)) != 0)
		return nng_failed(error, lane->t->address, rv);
	if ((rv = socket_setup(lane)) != 0 || (rv = dialer_setup(lane, &lane->dialer)) != 0) {
		nng_close(lane->socket);
		return nng_failed(error, lane->t->address, rv);
	}
	lane->opened = true;
	return 0;
}

/*
 * nng 1.5 takes a server that hangs up during the handshake for a socket of ours that was closed, and never dials
 * again; so a dialer that gets nowhere is replaced, at first soon, then ever later, to let a slow handshake come to its
 * end. Closing a dialer waits for nng's callbacks, so it must not be done in one: that is what the keeper is for. And
 * it closes a connection that may just have been made, so it must not be done while a reply could arrive: the keeper is
 * given the lane with its call, unsent.
 */
static bool
lane_needs_redial(struct lane *lane)
{
	int64_t now = transport_now_ms();

	if (atomic_load(&lane->pipe) != 0) {
		lane->redial_after_ms = 0;
		return false;
	}
	if (lane->redial_after_ms == 0) {
		lane->redial_after_ms = PATIENCE_MS;
		lane->redial_at_ms = now + PATIENCE_MS;
	}
	if (now < lane->redial_at_ms)
		return false;
	if (lane->redial_after_ms < PATIENCE_MAX_MS)
		lane->redial_after_ms *= 2;
	lane->redial_at_ms = now + lane->redial_after_ms;
	return true;
}

static void
lane_redial(struct lane *lane)
{
	nng_dialer fresh = NNG_DIALER_INITIALIZER;

	nng_dialer_close(lane->dialer);
	/* Should this fail for want of memory, the next time may have more. */
	(void)dialer_setup(lane, &fresh);
	pthread_mutex_lock(&lane->t->mutex);
	lane->dialer = fresh;
	pthread_mutex_unlock(&lane->t->mutex);
}

/* ---- lanes ---- */

/* Called with the lock held. */
static void
lane_put_back(struct lane *lane)
{
	struct transport *t = lane->t;

	lane->call = NULL;
	lane->next_idle = t->idle;
	t->idle = lane;
	t->busy--;
	if (t->closing)
		pthread_cond_broadcast(&t->changed);
}

/* Called with the lock held. */
static struct call *
lane_take_next(struct lane *lane)
{
	lane->receiving = false;
	if ((lane->call = list_pop(&lane->t->queue)) == NULL)
		lane_put_back(lane);
	return lane->call;
}

/* A message that was never handed over; of one that was, nng owns and frees every copy. */
static void
message_free(nng_msg *msg)
{
	if (msg == NULL)
		return;
	sodium_memzero(nng_msg_body(msg), nng_msg_len(msg));
	nng_msg_free(msg);
}

static int
message_make(struct call *c, uint32_t timeout_ms, nng_msg **msg)
{
	size_t len = codec_envelope_size(c->method, &c->body, timeout_ms);

	assert(len <= CODEC_REQUEST_MAX); /* by transport_check_size() */
	if (nng_msg_alloc(msg, len) != 0)
		return error_set(&c->error, FOB_EINTERNAL, "out of memory");
	codec_envelope_write(c->method, &c->body, timeout_ms, nng_msg_body(*msg));
	return 0;
}

/*
 * Starts sending the lane's call, or has the keeper do so. On a fault nothing was started, and the lane is as it was.
 */
static int
lane_send(struct lane *lane)
{
	struct transport *t = lane->t;
	struct call *c = lane->call;
	int64_t left_ms = c->deadline_ms - transport_now_ms();
	nng_msg *msg;
	bool closing;
	int rc;

	if (left_ms <= 0)
		return call_too_late(t, c);
	if ((rc = lane_open(lane, &c->error)) != 0)
		return rc;
	if (lane_needs_redial(lane)) {
		pthread_mutex_lock(&t->mutex);
		closing = t->closing;
		lane->redial = !closing;
		pthread_cond_signal(&t->keep);
		pthread_mutex_unlock(&t->mutex);
		return closing ? call_failed(t, c, NNG_ECANCELED) : 0;
	}
	if ((rc = message_make(c, (uint32_t)left_ms, &msg)) != 0)
		return rc;
	pthread_mutex_lock(&t->mutex);
	if (t->closing) {
		pthread_mutex_unlock(&t->mutex);
		message_free(msg);
		return call_failed(t, c, NNG_ECANCELED);
	}
	lane->receiving = false;
	nng_aio_set_timeout(lane->aio, (nng_duration)(left_ms < PATIENCE_MS ? left_ms : PATIENCE_MS));
	nng_aio_set_msg(lane->aio, msg);
	nng_send_aio(lane->socket, lane->aio);
	pthread_mutex_unlock(&t->mutex);
	return 0;
}

/* Starts waiting for the reply, while closing too: see QUIET_MS. */
static int
lane_receive(struct lane *lane)
{
	struct transport *t = lane->t;
	struct call *c = lane->call;
	int64_t left_ms = c->deadline_ms - transport_now_ms();

	c->sent = true;
	if (left_ms <= 0)
		return call_too_late(t, c);
	pthread_mutex_lock(&t->mutex);
	lane->receiving = true;
	nng_aio_set_timeout(lane->aio, (nng_duration)left_ms);
	nng_recv_aio(lane->socket, lane->aio);
	if (t->closing)
		pthread_cond_broadcast(&t->changed);
	pthread_mutex_unlock(&t->mutex);
	return 0;
}

/* The lane's call has ended; the lane goes on with those that wait before the callback, which may take its time. */
static void
lane_finish(struct lane *lane, int fault)
{
	struct transport *t = lane->t;
	struct call *ended = lane->call, *next;
	int rc;

	do {
		pthread_mutex_lock(&t->mutex);
		next = lane_take_next(lane);
		pthread_mutex_unlock(&t->mutex);
		/* From here on another thread may have the lane, unless this one has to end its next call too. */
		rc = next == NULL ? 0 : lane_send(lane);
		call_end(t, ended, fault);
		ended = next;
		fault = rc;
	} while (rc != 0);
}

/* ---- the keeper ---- */

static struct lane *
lane_to_redial(struct transport *t)
{
	unsigned i;

	for (i = 0; i < t->n_lanes; i++) {
		if (t->lanes[i].redial)
			return &t->lanes[i];
	}
	return NULL;
}

static void *
keeper_run(void *arg)
{
	struct transport *t = arg;
	struct lane *lane;
	int rc;

	pthread_mutex_lock(&t->mutex);
	while (!t->keeper_stop) {
		if ((lane = lane_to_redial(t)) == NULL) {
			pthread_cond_wait(&t->keep, &t->mutex);
			continue;
		}
		lane->redial = false;
		pthread_mutex_unlock(&t->mutex);
		lane_redial(lane);
		if ((rc = lane_send(lane)) != 0)
			lane_finish(lane, rc);
		pthread_mutex_lock(&t->mutex);
	}
	pthread_mutex_unlock(&t->mutex);
	return NULL;
}

/* The host program's signals are not for this thread. */
static int
keeper_start(struct transport *t, struct fob_error *error)
{
	sigset_t all, before;
	int rv;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	rv = pthread_create(&t->keeper, NULL, keeper_run, t);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (rv != 0)
		return error_set(error, FOB_EINTERNAL, "cannot start a thread: %s", strerrordesc_np(rv));
	t->keeper_started = true;
	return 0;
}

static void
keeper_end(struct transport *t)
{
	if (!t->keeper_started)
		return;
	pthread_mutex_lock(&t->mutex);
	t->keeper_stop = true;
	pthread_cond_signal(&t->keep);
	pthread_mutex_unlock(&t->mutex);
	pthread_join(t->keeper, NULL);
}

/* ---- replies ---- */

/* Idle lanes and a queue there may be only when calls have rested, and behind a call that could not be sent. */
static void
lanes_feed(struct transport *t)
{
	struct lane *lane;
	int rc;

	for (;;) {
		pthread_mutex_lock(&t->mutex);
		if ((lane = t->idle) == NULL || t->queue.first == NULL) {
			pthread_mutex_unlock(&t->mutex);
			return;
		}
		t->idle = lane->next_idle;
		t->busy++;
		lane->call = list_pop(&t->queue);
		pthread_mutex_unlock(&t->mutex);
		if ((rc = lane_send(lane)) != 0)
			lane_finish(lane, rc);
	}
}

/* True: the call rests, and will be in the queue again. Its answer so far stays in it, should this be the last. */
static bool
lane_rest(struct lane *lane)
{
	struct transport *t = lane->t;
	struct call *c = lane->call;
	int64_t now = transport_now_ms();
	bool rests;

	if (c->retry_until_ms == 0) {
		c->retry_until_ms = now + TRANSPORT_RETRY_MS;
		c->rest_ms = REST_MIN_MS;
	}
	c->resume_at_ms = now + c->rest_ms;
	c->rest_ms = c->rest_ms * 2 > REST_MAX_MS ? REST_MAX_MS : c->rest_ms * 2;

	pthread_mutex_lock(&t->mutex);
	rests = !t->closing && t->resting.n < t->n_lanes && c->resume_at_ms < c->retry_until_ms &&
	    c->resume_at_ms < c->deadline_ms;
	if (rests) {
		list_append(&t->resting, c);
		timer_arm(t, c->resume_at_ms);
	}
	pthread_mutex_unlock(&t->mutex);
	return rests;
}

static void
lane_go_on(struct lane *lane)
{
	struct transport *t = lane->t;
	struct call *next;
	int rc;

	pthread_mutex_lock(&t->mutex);
	next = lane_take_next(lane);
	pthread_mutex_unlock(&t->mutex);
	if (next != NULL && (rc = lane_send(lane)) != 0)
		lane_finish(lane, rc);
}

static void
lane_replied(struct lane *lane)
{
	struct transport *t = lane->t;
	struct call *c = lane->call;
	nng_msg *msg = nng_aio_get_msg(lane->aio);
	bool closing, again;

	nng_aio_set_msg(lane->aio, NULL);
	pthread_mutex_lock(&t->mutex);
	closing = t->closing;
	pthread_mutex_unlock(&t->mutex);
	again = !closing && c->reply(c, nng_msg_body(msg), nng_msg_len(msg));
	message_free(msg);
	if (closing)
		lane_finish(lane, call_failed(t, c, NNG_ECANCELED));
	else if (again && lane_rest(lane))
		lane_go_on(lane);
	else
		lane_finish(lane, 0);
}

static void
lane_cb(void *arg)
{
	struct lane *lane = arg;
	struct transport *t = lane->t;
	struct call *c = lane->call;
	int result = nng_aio_result(lane->aio), rc;

	if (lane->receiving && result == 0) {
		lane_replied(lane);
		return;
	}
	if (!lane->receiving && result != 0) {
		message_free(nng_aio_get_msg(lane->aio));
		nng_aio_set_msg(lane->aio, NULL);
	}
	/*
	 * A send that was given only PATIENCE_MS is made again, with the time that is left by then. (nng 1.5 may also
	 * let an expired timer of the operation before this one hit it.) A lost connection, noticed while waiting for
	 * the reply or just before, is ECONNRESET.
	 */
	if (lane->receiving)
		c->unanswered = true;
	if (result == 0)
		rc = lane_receive(lane);
	else if (result == NNG_ECONNRESET || (result == NNG_ETIMEDOUT && transport_now_ms() < c->deadline_ms))
		rc = lane_send(lane);
	else
		rc = call_failed(t, c, result);
	if (rc != 0)
		lane_finish(lane, rc);
}

/* ---- what client.c and coalesce.c call ---- */

int
transport_check_size(struct call *c)
{
	if (codec_envelope_size(c->method, &c->body, FOB_TIMEOUT_MAX_MS) > CODEC_REQUEST_MAX)
		return error_set(
		    &c->error, FOB_EINVALID_ARGUMENT, "the request is larger than %d bytes", CODEC_REQUEST_MAX);
	return 0;
}

/*
 * The lane's call could not be sent and is handed back to its sender. What was queued meanwhile is sent by the timer's
 * thread: if that fails, too, a callback is called, and this thread may hold locks that it needs.
 */
static void
lane_refuse(struct lane *lane)
{
	struct transport *t = lane->t;

	pthread_mutex_lock(&t->mutex);
	t->calls--;
	lane_put_back(lane);
	if (t->queue.first != NULL)
		timer_arm(t, transport_now_ms());
	pthread_mutex_unlock(&t->mutex);
}

int
transport_submit(struct transport *t, struct call *c)
{
	struct lane *lane = NULL;
	int rc;

	assert(c->method != NULL && c->reply != NULL && c->end != NULL);
	error_clear(&c->error);
	if ((rc = transport_check_size(c)) != 0)
		return rc;
	c->next = NULL;
	c->resume_at_ms = c->retry_until_ms = 0;
	c->rest_ms = 0;
	c->sent = false;
	c->unanswered = false;
	pthread_mutex_lock(&t->mutex);
	if (t->closing) {
		rc = error_set(&c->error, FOB_ECANCELLED, "the client is being freed");
	} else if (t->idle != NULL && t->queue.first == NULL) {
		lane = t->idle;
		t->idle = lane->next_idle;
		t->busy++;
		t->calls++;
		lane->call = c;
	} else if (t->queue.n >= t->queue_max && !c->accepted) {
		rc = error_set(&c->error, FOB_ERESOURCE_EXHAUSTED, "%u calls wait for their turn already", t->queue.n);
	} else {
		t->calls++;
		list_append(&t->queue, c);
		timer_arm(t, c->deadline_ms);
	}
	pthread_mutex_unlock(&t->mutex);

	if (lane != NULL && (rc = lane_send(lane)) != 0)
		lane_refuse(lane);
	return rc;
}

static int
lanes_setup(struct transport *t, unsigned n, struct fob_error *error)
{
	struct lane *lane;
	unsigned i;
	int rv;

	if ((t->lanes = calloc(n, sizeof(t->lanes[0]))) == NULL)
		return error_set(error, FOB_EINTERNAL, "out of memory");
	t->n_lanes = n;
	if ((rv = nng_aio_alloc(&t->timer, timer_cb, t)) != 0)
		return nng_failed(error, "nng", rv);
	/* The first lane is at the head of the idle ones, and already connects. */
	for (i = t->n_lanes; i-- > 0;) {
		lane = &t->lanes[i];
		lane->t = t;
		if ((rv = nng_aio_alloc(&lane->aio, lane_cb, lane)) != 0)
			return nng_failed(error, "nng", rv);
		lane->next_idle = t->idle;
		t->idle = lane;
	}
	return lane_open(&t->lanes[0], error);
}

int
transport_new(const struct fob_options *o, struct transport **transport, struct fob_error *error)
{
	pthread_condattr_t attr;
	struct transport *t;
	int rc;

	*transport = NULL;
	if ((t = calloc(1, sizeof(*t))) == NULL)
		return error_set(error, FOB_EINTERNAL, "out of memory");
	t->queue_max = o->queue;
	list_init(&t->queue);
	list_init(&t->resting);
	pthread_mutex_init(&t->mutex, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&t->changed, &attr);
	pthread_cond_init(&t->keep, NULL);
	pthread_condattr_destroy(&attr);
	if ((t->address = strdup(o->address)) == NULL)
		rc = error_set(error, FOB_EINTERNAL, "out of memory");
	else if ((rc = tls_setup(t, o, error)) == 0 && (rc = lanes_setup(t, o->in_flight, error)) == 0)
		rc = keeper_start(t, error);
	if (rc != 0) {
		transport_free(t);
		return rc;
	}
	*transport = t;
	return 0;
}

/* Ends what waits; called with the lock held, which is given up meanwhile. */
static void
waiting_cancel(struct transport *t)
{
	struct call *c;

	while ((c = list_pop(&t->queue)) != NULL || (c = list_pop(&t->resting)) != NULL) {
		pthread_mutex_unlock(&t->mutex);
		call_end(t, c, call_failed(t, c, NNG_ECANCELED));
		pthread_mutex_lock(&t->mutex);
	}
}

static void
lanes_abort(struct transport *t, bool receiving)
{
	unsigned i;

	for (i = 0; i < t->n_lanes; i++) {
		if (t->lanes[i].call != NULL && t->lanes[i].receiving == receiving)
			nng_aio_abort(t->lanes[i].aio, NNG_ECANCELED);
	}
}

/* Everything that is under way ends: what was not sent at once, what was when its reply comes, or after QUIET_MS. */
static void
transport_stop(struct transport *t)
{
	struct timespec until;
	int timed_out = 0;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_nsec += QUIET_MS * 1000000L;
	until.tv_sec += until.tv_nsec / 1000000000L;
	until.tv_nsec %= 1000000000L;

	pthread_mutex_lock(&t->mutex);
	t->closing = true;
	if (t->timer_at_ms != 0)
		nng_aio_abort(t->timer, NNG_ECANCELED);
	lanes_abort(t, false);
	waiting_cancel(t);
	while (t->busy > 0 && timed_out == 0)
		timed_out = pthread_cond_timedwait(&t->changed, &t->mutex, &until);
	/* In a loop: a send that was completed just now goes on to receive. */
	while (t->busy > 0 || t->calls > 0 || t->timer_at_ms != 0) {
		lanes_abort(t, true);
		pthread_cond_wait(&t->changed, &t->mutex);
	}
	pthread_mutex_unlock(&t->mutex);
}

void
transport_free(struct transport *t)
{
	unsigned i;

	if (t == NULL)
		return;
	transport_stop(t);
	keeper_end(t);
	/* Waits for callbacks that are about to return, too. */
	nng_aio_free(t->timer);
	for (i = 0; i < t->n_lanes; i++)
		nng_aio_free(t->lanes[i].aio);
	/* pipe_cb() is not called any more once it has returned. */
	for (i = 0; i < t->n_lanes; i++) {
		if (t->lanes[i].opened)
			nng_close(t->lanes[i].socket);
	}
	if (t->tls != NULL)
		nng_tls_config_free(t->tls);
	pthread_cond_destroy(&t->changed);
	pthread_cond_destroy(&t->keep);
	pthread_mutex_destroy(&t->mutex);
	free(t->lanes);
	free(t->address);
	free(t);
}
