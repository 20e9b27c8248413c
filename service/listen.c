/*
 * listen.c - nng sockets and contexts: receive, dispatch, send (see listen.h). Called by main.c; calls dispatch.c with
 * bytes, and is called back with bytes. The only file of the daemon, beside nng_quirks.c, that knows nng; it knows nothing
 * of keys.
 *
 * Each context goes round: receiving, working, sending. A verify is answered on the thread that received it; a mutation
 * comes back on its writer's. service/DESIGN.md has the reasons for the options that are set here.
 */
#include "service/listen.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <malloc.h>
#include <nng/nng.h>
#include <nng/protocol/reqrep0/rep.h>
#include <nng/supplemental/tls/tls.h>
#include <poll.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "service/arrivals.h"
#include "service/certificate.h"
#include "service/dispatch.h"
#include "service/log.h"
#include "service/nng_quirks.h"
#include "service/pipes.h"
#include "service/probe.h"

/* Beyond our limit, so that a request that is too long is told so; longer still, and its connection is closed. */
#define RECEIVE_MAX (4 * LIMIT_REQUEST)
#define PROBE_MS 500
#define SILENT_ROUNDS 2 /* one answer may be late on a busy machine */
#define FLUSH_MS 250    /* a completed send is queued, not sent */
#define DESCRIPTORS_SPARE 8
#define DESCRIPTORS_LEFT 512 /* connections that their peers have left: more than any moment explains */
#define EVERY_ROUNDS 10      /* of the guard */
#define CROWD 256            /* connections after which memory is given back */
#define CALM 64              /* connections in a round: with fewer nobody is kept waiting by that */

enum context_state { CONTEXT_RECEIVING, CONTEXT_WORKING, CONTEXT_SENDING };

struct listener;

struct context {
	struct listener *listener;
	nng_ctx ctx;
	nng_aio *aio;
	nng_msg *msg; /* the request, whose memory becomes the reply's */
	nng_pipe pipe;
	struct pipe *counted;
	_Atomic enum context_state state;
	bool passed; /* listen_passed()'s */
	struct call call;
};

struct listener {
	struct transport *transport;
	const struct config_listener *config;
	nng_socket socket;
	nng_listener listener;
	nng_tls_config *tls;     /* in use */
	nng_tls_config *old_tls; /* was in use, and may still be read: see swap_tls() */
	struct context *contexts;
	unsigned n_contexts;
	unsigned silent; /* guard rounds without an answer */
};

struct transport {
	struct service *service;
	const struct config *config;
	struct pipes *pipes;
	struct listener listeners[LIMIT_LISTENERS];
	size_t n_listeners;
	struct tally **tallies;
	unsigned guard_round, tell_round;
	struct arrivals_stats told; /* as the log last had them */
	uint64_t accepted, crowd;   /* connections up to the last round; those since memory was given back */
	_Atomic uint64_t refused, dropped, restarts;
};

/* ---- a request's way ---- */

static void
receive(struct context *c)
{
	c->state = CONTEXT_RECEIVING;
	nng_aio_set_timeout(c->aio, NNG_DURATION_INFINITE);
	nng_ctx_recv(c->ctx, c->aio);
}

static void
wipe_and_free(nng_msg *msg)
{
	if (msg == NULL)
		return;
	sodium_memzero(nng_msg_body(msg), nng_msg_len(msg));
	nng_msg_free(msg);
}

static void
leave(struct context *c)
{
	pipes_leave(c->listener->transport->pipes, c->counted);
	c->counted = NULL;
}

/* The reply, from this thread or the writer's. */
static void
reply(struct call *call, const uint8_t *bytes, size_t len)
{
	struct context *c = call->arg;
	nng_msg *msg = c->msg;

	c->msg = NULL;
	pipes_replied(c->counted);
	sodium_memzero(nng_msg_body(msg), nng_msg_len(msg));
	nng_msg_clear(msg);
	if (nng_msg_append(msg, bytes, len) != 0) {
		/* No memory to say so: a closed connection is the answer that is left. */
		nng_msg_free(msg);
		call_done(call);
		nng_pipe_close(c->pipe);
		leave(c);
		receive(c);
		return;
	}
	call_done(call);
	c->state = CONTEXT_SENDING;
	nng_aio_set_msg(c->aio, msg);
	nng_aio_set_timeout(c->aio, LIMIT_SEND_MS);
	nng_ctx_send(c->ctx, c->aio);
}

/* It does not take its replies, and would hold a context for each of them. */
static void
drop_connection(struct context *c)
{
	if (pipes_drop(c->counted))
		atomic_fetch_add(&c->listener->transport->dropped, 1);
	nng_pipe_close(c->pipe);
}

/* One whom the kernel does not name is nobody's user. */
static bool
may_ask(const struct config_listener *config, const struct peer *peer)
{
	for (size_t i = 0; i < config->n_allow_uids; i++)
		if (peer->known && peer->uid == config->allow_uids[i])
			return true;
	return config->n_allow_uids == 0;
}

static void
refuse_user(struct context *c)
{
	const struct peer *peer = &c->call.peer;
	char message[LIMIT_MESSAGE];

	LOG(LOG_WARN, "refused: not one of the listener's allow_users", LOG_S("url", c->listener->config->url),
	    LOG_I_IF(peer->known, "uid", peer->uid), LOG_I_IF(peer->known, "pid", peer->pid));
	snprintf(message, sizeof(message), "the user with number %ld is not one of this listener's allow_users",
	    peer->known ? (long)peer->uid : -1L);
	dispatch_refuse(&c->call, FAULT_PERMISSION_DENIED, message);
}

static void
received(struct context *c)
{
	struct transport *t = c->listener->transport;
	struct pipe_load load;
	unsigned in_flight;

	c->msg = nng_aio_get_msg(c->aio);
	nng_aio_set_msg(c->aio, NULL);
	c->pipe = nng_msg_get_pipe(c->msg);
	c->counted = pipes_enter(t->pipes, (uint32_t)nng_pipe_id(c->pipe), &load);
	c->call.peer = c->counted != NULL ? c->counted->peer : (struct peer){ 0 };
	c->state = CONTEXT_WORKING;
	in_flight = atomic_load(&t->service->config)->in_flight;
	if (load.in_flight > 2 * in_flight)
		drop_connection(c);
	if (load.working > in_flight)
		dispatch_refuse(
		    &c->call, FAULT_RESOURCE_EXHAUSTED, "too many requests of this connection are under way");
	else if (!may_ask(c->listener->config, &c->call.peer))
		refuse_user(c);
	else if (nng_msg_len(c->msg) > LIMIT_REQUEST)
		dispatch_refuse(&c->call, FAULT_INVALID_ARGUMENT, "the request is longer than 65536 bytes");
	else
		dispatch(&c->call, nng_msg_body(c->msg), nng_msg_len(c->msg), clock_boot_ms());
}

static void
sent(struct context *c, int rc)
{
	if (rc != 0) {
		wipe_and_free(nng_aio_get_msg(c->aio));
		nng_aio_set_msg(c->aio, NULL);
	}
	if (rc == NNG_ETIMEDOUT)
		drop_connection(c);
	leave(c);
}

static void
step(void *arg)
{
	struct context *c = arg;
	int rc = nng_aio_result(c->aio);

	if (c->state == CONTEXT_RECEIVING && rc == 0) {
		received(c);
		return;
	}
	if (c->state == CONTEXT_SENDING)
		sent(c, rc);
	/* Only our own close ends a context. nng cancels a receive now and then that has no timeout (its expiry thread takes
	 * a batch, and an aio in it may have been used again): whatever else went wrong, receive again. */
	if (rc != NNG_ECLOSED && rc != NNG_ECANCELED)
		receive(c);
}

/* ---- connections ---- */

/* As the kernel knew it when the connection was made. Over TCP nobody knows. */
static struct peer
peer_of(nng_pipe pipe)
{
	uint64_t uid, pid;

	if (nng_pipe_get_uint64(pipe, NNG_OPT_IPC_PEER_UID, &uid) != 0 ||
	    nng_pipe_get_uint64(pipe, NNG_OPT_IPC_PEER_PID, &pid) != 0)
		return (struct peer){ 0 };
	return (struct peer){ .known = true, .uid = (uid_t)uid, .pid = (pid_t)pid };
}

static bool
end_of(nng_pipe pipe, const char *which, uint8_t address[16], uint16_t *port)
{
	nng_sockaddr sa;

	if (nng_pipe_get_addr(pipe, which, &sa) != 0)
		return false;
	memset(address, 0, 16);
	if (sa.s_family == NNG_AF_INET6) {
		memcpy(address, sa.s_in6.sa_addr, 16);
		*port = sa.s_in6.sa_port;
	} else if (sa.s_family == NNG_AF_INET) {
		memset(address + 10, 0xff, 2);
		memcpy(address + 12, &sa.s_in.sa_addr, 4);
		*port = sa.s_in.sa_port;
	} else {
		return false;
	}
	return true;
}

/* A pipe is a connection that has greeted. */
static void
greeted(nng_pipe pipe)
{
	struct arrival_ends ends;

	if (end_of(pipe, NNG_OPT_REMADDR, ends.peer, &ends.peer_port) &&
	    end_of(pipe, NNG_OPT_LOCADDR, ends.own, &ends.own_port))
		arrivals_greeted(&ends);
}

static void
pipe_event(nng_pipe pipe, nng_pipe_ev event, void *arg)
{
	struct transport *t = arg;
	struct peer peer;

	if (event == NNG_PIPE_EV_ADD_PRE)
		greeted(pipe);
	if (event == NNG_PIPE_EV_REM_POST) {
		pipes_remove(t->pipes, (uint32_t)nng_pipe_id(pipe));
		return;
	}
	if (event != NNG_PIPE_EV_ADD_PRE)
		return;
	peer = peer_of(pipe);
	if (!pipes_add(t->pipes, (uint32_t)nng_pipe_id(pipe), &peer)) {
		atomic_fetch_add(&t->refused, 1);
		nng_pipe_close(pipe);
	}
}

/* As many as there may be: none is left to look with. */
static unsigned
all_descriptors(void)
{
	struct rlimit limit;

	return (errno == EMFILE || errno == ENFILE) && getrlimit(RLIMIT_NOFILE, &limit) == 0 ?
	    (unsigned)limit.rlim_cur :
	    0;
}

/* Call ${visit}, if not NULL, with each descriptor that is open. Returns how many there are. */
static unsigned
each_descriptor(void (*visit)(void *arg, int fd), void *arg)
{
	struct dirent *entry;
	unsigned n = 0;
	DIR *dir;

	if ((dir = opendir("/proc/self/fd")) == NULL)
		return all_descriptors();
	while ((entry = readdir(dir)) != NULL) {
		int fd = atoi(entry->d_name);

		if (entry->d_name[0] == '.' || fd == dirfd(dir))
			continue;
		n++;
		if (visit != NULL)
			visit(arg, fd);
	}
	closedir(dir);
	return n;
}

static unsigned
count_descriptors(void)
{
	return each_descriptor(NULL, NULL);
}

static void
count_transport(void *arg, struct transport_counters *out)
{
	struct transport *t = arg;
	struct nng_quirks_stats quirks;

	nng_quirks_stats(&quirks);
	*out = (struct transport_counters){
		.connections = pipes_count(t->pipes),
		.open_descriptors = count_descriptors(),
		.connections_refused = t->refused,
		.connections_dropped = t->dropped,
		.listener_restarts = t->restarts,
		.nng_corrections = quirks.epipe + quirks.refused_send + quirks.refused_recv,
	};
	for (size_t i = 0; i < t->n_listeners; i++)
		for (unsigned j = 0; j < t->listeners[i].n_contexts; j++)
			out->in_flight += t->listeners[i].contexts[j].state != CONTEXT_RECEIVING;
}

/* ---- opening ---- */

static bool
is_tls(const struct config_listener *config)
{
	return strncmp(config->url, "tls+", 4) == 0;
}

/* Who may rename in the socket's folder may put another in its place, and be told keys. */
static int
check_ipc_folder(const char *path, char *why, size_t why_len)
{
	char folder[sizeof(((struct sockaddr_un *)0)->sun_path)];
	const char *slash = strrchr(path, '/');
	struct stat st;

	snprintf(folder, sizeof(folder), "%.*s", slash == NULL ? 1 : (int)(slash - path) + (slash == path),
	    slash == NULL ? "." : path);
	if (stat(folder, &st) != 0) {
		snprintf(why, why_len, "ipc://%s: the socket's folder: %s", path, strerror(errno));
		return -1;
	}
	if ((st.st_mode & S_IWOTH) != 0 && (st.st_mode & S_ISVTX) == 0) {
		snprintf(why, why_len,
		    "ipc://%s: every user may write in its folder, and put another socket in its place: chmod o-w %s",
		    path, folder);
		return -1;
	}
	if (st.st_uid != 0 && st.st_uid != geteuid())
		LOG(LOG_WARN, "a socket's folder belongs to another user, who may put another socket in its place",
		    LOG_S("folder", folder), LOG_I("uid", st.st_uid));
	return 0;
}

/* What is at the path now is ours, and open to those only whom the settings name. */
static int
check_ipc_made(const struct config_listener *config, const char *path, char *why, size_t why_len)
{
	struct stat st;

	if (lstat(path, &st) == 0 && S_ISSOCK(st.st_mode) && st.st_uid == geteuid() &&
	    (st.st_mode & 0777) == config->mode)
		return 0;
	snprintf(why, why_len,
	    "ipc://%s: is not a socket of ours with mode %04o: somebody else changes it, or its folder has a default ACL",
	    path, (unsigned)config->mode);
	return -1;
}

/*
 * The socket gets its mode from bind. nng would change the mode of whatever has the name after that, and whoever may write
 * in the folder could make it lead to another file of ours, or be the admin listener's socket. The umask is the whole
 * process's, but all that creates a file here gives it a mode in which nothing is for others.
 */
static int
start_ipc(const struct listener *l)
{
	mode_t before = umask(0777 & ~l->config->mode);
	int rc = nng_listener_start(l->listener, 0);

	umask(before);
	return rc;
}

/* nng unlinks whatever is at the path. Only a socket that nobody listens on may go that way. */
static int
check_ipc_path(const char *path, char *why, size_t why_len)
{
	struct stat st;
	int fd;

	if (strlen(path) >= sizeof(((struct sockaddr_un *)0)->sun_path)) {
		snprintf(why, why_len, "ipc://%s: the path is too long for a unix socket (107 bytes)", path);
		return -1;
	}
	if (check_ipc_folder(path, why, why_len) != 0)
		return -1;
	if (lstat(path, &st) != 0)
		return 0;
	if (!S_ISSOCK(st.st_mode)) {
		snprintf(why, why_len, "ipc://%s: there is a file that is not a socket; it is left alone", path);
		return -1;
	}
	/* EAGAIN: its queue is full, so there is somebody. */
	if ((fd = probe_connect_ipc(path)) >= 0 || errno == EAGAIN) {
		if (fd >= 0)
			close(fd);
		snprintf(why, why_len, "ipc://%s: the address is in use by another program", path);
		return -1;
	}
	return 0;
}

#define PEM_MAX (256 << 10)

/* A whole file as a string, to be wiped and freed with free_pem(); NULL with errno. */
static char *
read_pem(const char *path)
{
	FILE *f;
	char *text = NULL;

	if ((f = fopen(path, "re")) == NULL)
		return NULL;
	/* Unbuffered, so that stdio keeps no copy of a private key. */
	setbuf(f, NULL);
	if ((text = calloc(1, PEM_MAX + 1)) != NULL && (fread(text, 1, PEM_MAX, f) == 0 || ferror(f) != 0)) {
		free(text);
		text = NULL;
		errno = errno != 0 ? errno : EINVAL;
	}
	fclose(f);
	return text;
}

static void
free_pem(char *text)
{
	if (text == NULL)
		return;
	sodium_memzero(text, PEM_MAX);
	free(text);
}

/* Returns NULL, or which setting is wrong, with an nng error at *${rc}. */
static const char *
fill_tls(nng_tls_config *tls, const struct config_listener *config, int *rc)
{
	char *cert = read_pem(config->tls_cert), *key = read_pem(config->tls_key), *ca = read_pem(config->tls_ca);
	const char *wrong = NULL, *warning = NULL;

	*rc = NNG_ENOENT;
	if (cert == NULL)
		wrong = "tls_cert";
	else if (key == NULL)
		wrong = "tls_key";
	else if (ca == NULL)
		wrong = "tls_ca";
	else if ((wrong = certificate_check(cert, key, &warning)) != NULL)
		*rc = NNG_EINVAL;
	else if ((*rc = nng_tls_config_own_cert(tls, cert, key, NULL)) != 0)
		wrong = "tls_cert and tls_key";
	else if ((*rc = nng_tls_config_ca_chain(tls, ca, NULL)) != 0)
		wrong = "tls_ca";
	else if ((*rc = nng_tls_config_auth_mode(tls, NNG_TLS_AUTH_MODE_REQUIRED)) != 0)
		wrong = "client certificates";
	if (warning != NULL)
		LOG(LOG_WARN, warning, LOG_S("url", config->url));
	free_pem(cert);
	free_pem(key);
	free_pem(ca);
	return wrong;
}

/* nng's own does not take NULL. */
static void
free_tls(nng_tls_config *tls)
{
	if (tls != NULL)
		nng_tls_config_free(tls);
}

/* Returns what the files of ${config} hold, to be freed with free_tls(); NULL with one line at ${why}. */
static nng_tls_config *
load_tls(const struct config_listener *config, char *why, size_t why_len)
{
	nng_tls_config *tls = NULL;
	const char *wrong = "TLS";
	int rc;

	if ((rc = nng_tls_config_alloc(&tls, NNG_TLS_MODE_SERVER)) == 0 && (wrong = fill_tls(tls, config, &rc)) == NULL)
		return tls;
	snprintf(why, why_len, "%s: %s: %s", config->url, wrong, nng_strerror(rc));
	free_tls(tls);
	return NULL;
}

/* What it has already, when it is opened again: files that are being replaced just then must not keep it closed. */
static int
set_tls(struct listener *l, char *why, size_t why_len)
{
	int rc;

	if (l->tls == NULL && (l->tls = load_tls(l->config, why, why_len)) == NULL)
		return -1;
	if ((rc = nng_listener_set_ptr(l->listener, NNG_OPT_TLS_CONFIG, l->tls)) == 0)
		return 0;
	snprintf(why, why_len, "%s: TLS: %s", l->config->url, nng_strerror(rc));
	return -1;
}

static int
start_listener(struct listener *l, char *why, size_t why_len)
{
	const char *path = probe_ipc_path(l->config->url);
	int rc;

	if (path != NULL && check_ipc_path(path, why, why_len) != 0)
		return -1;
	if ((rc = nng_listener_create(&l->listener, l->socket, l->config->url)) != 0)
		goto err0;
	if ((rc = nng_listener_set_size(l->listener, NNG_OPT_RECVMAXSZ, RECEIVE_MAX)) != 0)
		goto err1;
	if (path == NULL &&
	    ((rc = nng_listener_set_bool(l->listener, NNG_OPT_TCP_NODELAY, true)) != 0 ||
		(rc = nng_listener_set_bool(l->listener, NNG_OPT_TCP_KEEPALIVE, true)) != 0))
		goto err1;
	if (is_tls(l->config) && set_tls(l, why, why_len) != 0) {
		nng_listener_close(l->listener);
		return -1;
	}
	if ((rc = path != NULL ? start_ipc(l) : nng_listener_start(l->listener, 0)) != 0)
		goto err1;
	if (path != NULL && check_ipc_made(l->config, path, why, why_len) != 0) {
		nng_listener_close(l->listener);
		return -1;
	}
	return 0;

err1:
	nng_listener_close(l->listener);
err0:
	snprintf(why, why_len, "%s: cannot listen: %s", l->config->url,
	    rc == NNG_EADDRINUSE ? "the address is in use by another program" : nng_strerror(rc));
	return -1;
}

static int
open_contexts(struct listener *l)
{
	int rc;

	if ((l->contexts = calloc(l->config->contexts, sizeof(l->contexts[0]))) == NULL)
		return NNG_ENOMEM;
	for (unsigned i = 0; i < l->config->contexts; i++) {
		struct context *c = &l->contexts[i];

		c->listener = l;
		if (call_init(&c->call, l->transport->service, l->config->role, reply, c) != 0)
			return NNG_ENOMEM;
		l->n_contexts++;
		if ((rc = nng_aio_alloc(&c->aio, step, c)) != 0 || (rc = nng_ctx_open(&c->ctx, l->socket)) != 0)
			return rc;
	}
	return 0;
}

static int
open_listener(struct transport *t, const struct config_listener *config, char *why, size_t why_len)
{
	struct listener *l = &t->listeners[t->n_listeners];
	int rc;

	*l = (struct listener){ .transport = t, .config = config };
	if ((rc = nng_rep0_open(&l->socket)) != 0)
		goto err;
	t->n_listeners++;
	/* No device in between: a request has come over one hop. */
	if ((rc = nng_socket_set_int(l->socket, NNG_OPT_MAXTTL, 1)) != 0 ||
	    (rc = nng_pipe_notify(l->socket, NNG_PIPE_EV_ADD_PRE, pipe_event, t)) != 0 ||
	    (rc = nng_pipe_notify(l->socket, NNG_PIPE_EV_REM_POST, pipe_event, t)) != 0 || (rc = open_contexts(l)) != 0)
		goto err;
	if (start_listener(l, why, why_len) != 0)
		return -1;
	LOG(LOG_INFO, "listening", LOG_S("url", config->url),
	    LOG_S("role", config->role == ROLE_ADMIN ? "admin" : "verify"));
	if (config->insecure)
		LOG(LOG_WARN,
		    "administration over plain TCP: whoever reaches this address may roll and revoke keys, and read "
		    "new ones on the way",
		    LOG_S("url", config->url));
	return 0;
err:
	snprintf(why, why_len, "%s: cannot listen: %s", config->url, nng_strerror(rc));
	return -1;
}

/* Let Stats see the tallies of all contexts, before the first of them counts. */
static int
gather_tallies(struct transport *t)
{
	struct service *s = t->service;
	size_t n = 0;

	for (size_t i = 0; i < t->n_listeners; i++)
		n += t->listeners[i].n_contexts;
	if ((t->tallies = calloc(n, sizeof(t->tallies[0]))) == NULL)
		return -1;
	s->tallies = t->tallies;
	s->n_tallies = 0;
	for (size_t i = 0; i < t->n_listeners; i++)
		for (unsigned j = 0; j < t->listeners[i].n_contexts; j++)
			t->tallies[s->n_tallies++] = &t->listeners[i].contexts[j].call.tally;
	s->count_transport = count_transport;
	s->count_arg = t;
	return 0;
}

int
listen_open(struct service *service, const struct config *config, struct transport **out, char *why, size_t why_len)
{
	struct transport *t;

	dispatch_check();
	if ((t = calloc(1, sizeof(*t))) == NULL || (t->pipes = pipes_new(config->connections)) == NULL) {
		free(t);
		snprintf(why, why_len, "out of memory");
		return -1;
	}
	if (arrivals_start(arrivals_most(config->connections)) != 0) {
		snprintf(why, why_len, "cannot watch connections: %s", strerror(errno));
		pipes_free(t->pipes);
		free(t);
		return -1;
	}
	t->service = service;
	t->config = config;
	for (size_t i = 0; i < config->n_listeners; i++) {
		if (open_listener(t, &config->listeners[i], why, why_len) != 0) {
			listen_close(t);
			return -1;
		}
	}
	if (gather_tallies(t) != 0) {
		listen_close(t);
		snprintf(why, why_len, "out of memory");
		return -1;
	}
	for (size_t i = 0; i < t->n_listeners; i++)
		for (unsigned j = 0; j < t->listeners[i].n_contexts; j++)
			receive(&t->listeners[i].contexts[j]);
	*out = t;
	return 0;
}

/* ---- new TLS files ---- */

static const struct config_listener *
tls_files(const struct listener *l, const struct config *config)
{
	for (size_t i = 0; i < config->n_listeners; i++)
		if (is_tls(l->config) && strcmp(config->listeners[i].url, l->config->url) == 0)
			return &config->listeners[i];
	return NULL;
}

/*
 * A listener of nng takes another TLS configuration while it runs, and closing it would close its connections. But nng's
 * accept reads which one it is before it takes a reference (1.5.2 to 1.11, tls_common.c): the old one must outlast that.
 * There is one accept at a time, and it is for the next connection: so once a connection that was made after the swap has
 * been answered, that accept is over, and the ones after it are with the new configuration.
 */
static bool
settle_tls(struct listener *l)
{
	if (l->old_tls != NULL && !probe_listener(l->config->url, PROBE_MS))
		return false;
	free_tls(l->old_tls);
	l->old_tls = NULL;
	return true;
}

static void
swap_tls(struct listener *l, nng_tls_config *tls)
{
	int rc;

	if ((rc = nng_listener_set_ptr(l->listener, NNG_OPT_TLS_CONFIG, tls)) != 0) {
		/* A listener that could not be opened again: it will be, with these. */
		LOG(LOG_WARN, "a listener that is not open takes its TLS files when it is",
		    LOG_S("url", l->config->url), LOG_S("reason", nng_strerror(rc)));
		free_tls(l->tls);
		l->tls = tls;
		return;
	}
	l->old_tls = l->tls;
	l->tls = tls;
	(void)settle_tls(l);
	LOG(LOG_INFO, "new connections get the TLS files as they are now", LOG_S("url", l->config->url));
}

int
listen_reload(struct transport *t, const struct config *config, char *why, size_t why_len)
{
	nng_tls_config *fresh[LIMIT_LISTENERS] = { NULL };
	const struct config_listener *files;
	int rc = -1;

	for (size_t i = 0; i < t->n_listeners; i++) {
		struct listener *l = &t->listeners[i];

		if ((files = tls_files(l, config)) == NULL)
			continue;
		if (!settle_tls(l)) {
			snprintf(why, why_len,
			    "%s: does not answer, and has yet to take the TLS files of the last reload",
			    l->config->url);
			goto out;
		}
		if ((fresh[i] = load_tls(files, why, why_len)) == NULL)
			goto out;
	}
	for (size_t i = 0; i < t->n_listeners; i++) {
		if (fresh[i] != NULL)
			swap_tls(&t->listeners[i], fresh[i]);
		fresh[i] = NULL;
	}
	rc = 0;
out:
	for (size_t i = 0; i < t->n_listeners; i++)
		free_tls(fresh[i]);
	return rc;
}

/* ---- who is done with what was replaced ---- */

void
listen_mark(struct transport *t)
{
	for (size_t i = 0; i < t->n_listeners; i++)
		for (unsigned j = 0; j < t->listeners[i].n_contexts; j++)
			t->listeners[i].contexts[j].passed = false;
}

bool
listen_passed(struct transport *t)
{
	bool all = true;

	for (size_t i = 0; i < t->n_listeners; i++) {
		for (unsigned j = 0; j < t->listeners[i].n_contexts; j++) {
			struct context *c = &t->listeners[i].contexts[j];

			c->passed = c->passed || c->state != CONTEXT_WORKING;
			all = all && c->passed;
		}
	}
	return all;
}

/* ---- the guard ---- */

/* All of its contexts have work: it may be slow, but it is not dead, and opening it again would not help. */
static bool
is_busy(const struct listener *l)
{
	for (unsigned i = 0; i < l->n_contexts; i++)
		if (l->contexts[i].state == CONTEXT_RECEIVING)
			return false;
	return true;
}

/* Neither we nor the listener can open another: it says nothing about the listener, whose clients are served on. */
static bool
out_of_descriptors(void)
{
	struct rlimit limit;

	return getrlimit(RLIMIT_NOFILE, &limit) == 0 && count_descriptors() + DESCRIPTORS_SPARE >= limit.rlim_cur;
}

/* With as many connections as there may be, the probe's would be refused. */
static bool
is_alive(const struct listener *l)
{
	return pipes_count(l->transport->pipes) >= l->transport->config->connections ||
	    probe_listener(l->config->url, PROBE_MS) || is_busy(l) || out_of_descriptors();
}

static void
reopen(struct listener *l)
{
	char why[512];

	LOG(LOG_ERROR, "a listener does not answer; opening it again", LOG_S("url", l->config->url));
	nng_listener_close(l->listener);
	atomic_fetch_add(&l->transport->restarts, 1);
	if (start_listener(l, why, sizeof(why)) != 0)
		LOG(LOG_ERROR, "cannot open the listener again", LOG_S("reason", why));
}

/* A connection whose peer has left, and which is open all the same: for a moment that is usual. */
static void
count_left(void *arg, int fd)
{
	struct pollfd pfd = { .fd = fd, .events = POLLRDHUP };
	unsigned *n = arg;
	struct stat st;

	if (fstat(fd, &st) == 0 && S_ISSOCK(st.st_mode) && poll(&pfd, 1, 0) == 1 &&
	    (pfd.revents & (POLLRDHUP | POLLHUP)) != 0)
		(*n)++;
}

/*
 * Descriptors leak when connections stay open that their peers have left. Peers that are there, however many and however
 * silent, are no leak: they may use up the descriptors, but must not be able to have us restarted.
 */
static int
check_descriptors(struct transport *t)
{
	unsigned left = 0, n = each_descriptor(count_left, &left);

	if (left <= DESCRIPTORS_LEFT)
		return 0;
	LOG(LOG_ERROR, "connections stay open that their peers have left", LOG_I("left", left), LOG_I("descriptors", n),
	    LOG_I("connections", pipes_count(t->pipes)));
	return left > 4 * DESCRIPTORS_LEFT ? -1 : 0;
}

static void
tell_arrivals(struct transport *t)
{
	struct arrivals_stats now;

	arrivals_stats(&now);
	if ((now.late == t->told.late && now.crowded == t->told.crowded) || t->guard_round < t->tell_round)
		return;
	LOG(LOG_WARN, "connections were closed that had not greeted", LOG_I("late", now.late - t->told.late),
	    LOG_I("crowded", now.crowded - t->told.crowded));
	t->told = now;
	t->tell_round = t->guard_round + EVERY_ROUNDS;
}

/*
 * glibc keeps what connections took and gave back, in an arena for each of nng's threads. It is given to the system when they
 * have gone and not many come, as who allocates meanwhile waits. Our own probes are no crowd.
 */
static void
give_back_memory(struct transport *t)
{
	struct arrivals_stats now;
	uint64_t came;

	arrivals_stats(&now);
	came = now.accepted - t->accepted;
	came -= came < t->n_listeners ? came : t->n_listeners;
	t->accepted = now.accepted;
	t->crowd += came;
	if (t->crowd < CROWD || came >= CALM)
		return;
	t->crowd = 0;
	malloc_trim(0);
}

int
listen_guard(struct transport *t, bool (*interrupted)(void))
{
	arrivals_sweep(clock_boot_ms());
	tell_arrivals(t);
	give_back_memory(t);
	for (size_t i = 0; i < t->n_listeners && !interrupted(); i++) {
		struct listener *l = &t->listeners[i];

		(void)settle_tls(l);
		l->silent = is_alive(l) ? 0 : l->silent + 1;
		if (l->silent == SILENT_ROUNDS) {
			l->silent = 0;
			reopen(l);
		}
	}
	return ++t->guard_round % EVERY_ROUNDS == 0 ? check_descriptors(t) : 0;
}

/* ---- closing ---- */

static void
sleep_ms(long ms)
{
	struct timespec ts = { .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000 };

	nanosleep(&ts, NULL);
}

/*
 * A context that is seen receiving, or sending, after `draining` was set works on no request that might still reach a
 * database: the next one that it gets is refused.
 */
static bool
wait_worked(struct context *c, int64_t until_ms)
{
	while (c->state == CONTEXT_WORKING) {
		if (clock_boot_ms() >= until_ms)
			return false;
		sleep_ms(1);
	}
	return true;
}

int
listen_drain(struct transport *t, uint32_t drain_ms)
{
	int64_t until_ms = clock_boot_ms() + drain_ms;

	t->service->draining = true;
	for (size_t i = 0; i < t->n_listeners; i++)
		for (unsigned j = 0; j < t->listeners[i].n_contexts; j++)
			if (!wait_worked(&t->listeners[i].contexts[j], until_ms))
				return -1;
	for (size_t i = 0; i < t->n_listeners; i++) {
		for (unsigned j = 0; j < t->listeners[i].n_contexts; j++) {
			struct call *call = &t->listeners[i].contexts[j].call;

			for (int e = 0; e < ENVIRONMENTS; e++) {
				store_txn_free(call->readers[e]);
				call->readers[e] = NULL;
			}
		}
	}
	return 0;
}

/*
 * Before the socket is closed: libnng frees it as soon as the last call into a context is over, and that call looks at it once
 * more after it has said so (nni_ctx_rele, 1.5.2 to 1.9). Once stopped, no callback runs, and none begins anything.
 */
static void
stop_contexts(struct listener *l)
{
	for (unsigned i = 0; i < l->n_contexts; i++)
		if (l->contexts[i].aio != NULL)
			nng_aio_stop(l->contexts[i].aio);
}

static void
free_contexts(struct listener *l)
{
	for (unsigned i = 0; i < l->n_contexts; i++) {
		struct context *c = &l->contexts[i];

		if (c->aio != NULL) {
			/* A reply that nng gave back unsent, or a request that came in the last moment. */
			wipe_and_free(nng_aio_get_msg(c->aio));
			nng_aio_free(c->aio);
		}
		wipe_and_free(c->msg);
		call_fini(&c->call);
	}
	free(l->contexts);
}

void
listen_close(struct transport *t)
{
	if (t == NULL)
		return;
	if (pipes_count(t->pipes) > 0)
		sleep_ms(FLUSH_MS);
	for (size_t i = 0; i < t->n_listeners; i++)
		stop_contexts(&t->listeners[i]);
	for (size_t i = 0; i < t->n_listeners; i++) {
		nng_close(t->listeners[i].socket);
		free_contexts(&t->listeners[i]);
		free_tls(t->listeners[i].tls);
		free_tls(t->listeners[i].old_tls);
	}
	t->service->tallies = NULL;
	t->service->n_tallies = 0;
	t->service->count_transport = NULL;
	arrivals_stop();
	free(t->tallies);
	pipes_free(t->pipes);
	free(t);
}
