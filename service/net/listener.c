/*
 * listener.c - listens, and accepts one connection after the other, no faster than descriptors come back (see
 * internal.h). An accept that fails is tried again by the sweep: nothing that a peer does ends a listener.
 */
#include "service/net/internal.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "service/base/log.h"
#include "service/net/socket_file.h"
#include "service/net/tls_context.h"

#define RETRY_MS 10 /* after an accept that failed */
#define WAIT_MS 2   /* for descriptors or room */
/* Some of fobd's own descriptors stay free, for files that are opened meanwhile. */
#define DESCRIPTORS_SPARE 32

/* A peer that vanished without a word is noticed after some 45 seconds, also while it owes us acknowledgements. */
#define KEEP_IDLE_S 30
#define KEEP_INTERVAL_S 5
#define KEEP_COUNT 3
#define UNACKNOWLEDGED_MS 45000

/* ---- the listening socket itself, which nng does not hand out ---- */

static bool
is_ours(int fd, const struct listener *l, uint16_t port)
{
	const char *path = config_ipc_path(l->config->url);
	struct sockaddr_storage sa;
	socklen_t len = sizeof(sa), int_len = sizeof(int);
	int listening = 0;

	memset(&sa, 0, sizeof(sa));
	if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &int_len) != 0 || !listening ||
	    getsockname(fd, (struct sockaddr *)&sa, &len) != 0)
		return false;
	if (sa.ss_family == AF_UNIX)
		return path != NULL && strcmp(((struct sockaddr_un *)&sa)->sun_path, path) == 0;
	if (sa.ss_family == AF_INET)
		return path == NULL && ((struct sockaddr_in *)&sa)->sin_port == port;
	return path == NULL && sa.ss_family == AF_INET6 && ((struct sockaddr_in6 *)&sa)->sin6_port == port;
}

/* Connections inherit the times. Whether there is keepalive at all nng sets on each connection. */
static void
set_keepalive(int fd)
{
	static const struct {
		int level, name, value;
	} options[] = { { IPPROTO_TCP, TCP_KEEPIDLE, KEEP_IDLE_S }, { IPPROTO_TCP, TCP_KEEPINTVL, KEEP_INTERVAL_S },
		{ IPPROTO_TCP, TCP_KEEPCNT, KEEP_COUNT }, { IPPROTO_TCP, TCP_USER_TIMEOUT, UNACKNOWLEDGED_MS } };

	for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++)
		(void)setsockopt(fd, options[i].level, options[i].name, &options[i].value, sizeof(int));
}

/* nng listens with a backlog of 128, which a crowd overruns, and knows no keepalive times. */
static void
tune(struct listener *l)
{
	nng_sockaddr sa = { 0 };
	struct dirent *entry;
	uint16_t port = 0;
	DIR *dir;

	if (nng_stream_listener_get_addr(l->stream_listener, NNG_OPT_LOCADDR, &sa) == 0)
		port = sa.s_family == NNG_AF_INET ? sa.s_in.sa_port :
		    sa.s_family == NNG_AF_INET6   ? sa.s_in6.sa_port :
						    0;
	if ((dir = opendir("/proc/self/fd")) == NULL)
		return;
	while ((entry = readdir(dir)) != NULL) {
		int fd = (int)strtol(entry->d_name, NULL, 10);

		if (entry->d_name[0] == '.' || !is_ours(fd, l, port))
			continue;
		(void)listen(fd, LIMIT_BACKLOG);
		if (l->framing == SP_TCP)
			set_keepalive(fd);
	}
	closedir(dir);
}

/* ---- accepting ---- */

/* Under the server's mutex. Those that have left may not be closed yet, as nng closes them later. */
static bool
has_descriptors(const struct server *server)
{
	unsigned connections = server->config->connections;

	return server->descriptors + server->accepted <
	    connections + LIMIT_LEFT(connections) + LIMIT_DESCRIPTORS_OWN - DESCRIPTORS_SPARE;
}

static void
accept_later(struct listener *l, int64_t after_ms)
{
	l->waiting = true;
	l->retry_ms = clock_boot_ms() + after_ms;
	pthread_cond_signal(&l->server->work);
}

void
listener_accept(struct listener *l)
{
	struct server *server = l->server;
	bool begin = false;

	pthread_mutex_lock(&server->mutex);
	l->waiting = false;
	if (server->closing)
		;
	else if (has_descriptors(server))
		begin = true;
	else
		accept_later(l, WAIT_MS);
	pthread_mutex_unlock(&server->mutex);
	if (begin)
		nng_stream_listener_accept(l->stream_listener, l->accept_aio);
}

static void
tell_failure(struct listener *l, int rc)
{
	uint64_t left_out;

	if (rate_limit_pass(&l->accepts, &left_out))
		LOG(LOG_WARN, "cannot accept a connection; trying again", LOG_S("url", l->config->url),
		    LOG_S("reason", nng_strerror(rc)), LOG_I_IF(left_out > 0, "more", left_out));
}

static void
begin_or_wait(struct listener *l, struct connection *c, struct workspace *ws)
{
	struct server *server = l->server;

	if (connection_begin(c, ws)) {
		listener_accept(l);
		return;
	}
	pthread_mutex_lock(&server->mutex);
	l->newcomer = c;
	accept_later(l, WAIT_MS);
	pthread_mutex_unlock(&server->mutex);
}

void
listener_resume(struct listener *l, struct workspace *ws)
{
	struct connection *newcomer;

	pthread_mutex_lock(&l->server->mutex);
	newcomer = l->newcomer;
	l->newcomer = NULL;
	l->waiting = false;
	pthread_mutex_unlock(&l->server->mutex);
	if (newcomer != NULL)
		begin_or_wait(l, newcomer, ws);
	else
		listener_accept(l);
}

static void
accept_next(struct listener *l, nng_stream *stream)
{
	struct server *server = l->server;
	struct workspace *ws = workspace_take(server);
	struct connection *c;

	pthread_mutex_lock(&server->mutex);
	server->accepted++;
	pthread_mutex_unlock(&server->mutex);
	if (ws == NULL) {
		nng_stream_free(stream);
		listener_accept(l);
	} else if ((c = connection_new(l, stream)) == NULL) {
		listener_accept(l);
	} else {
		begin_or_wait(l, c, ws);
	}
	workspace_give(server, ws);
}

static void
accepted(void *arg)
{
	struct listener *l = arg;
	struct server *server = l->server;
	int rc = nng_aio_result(l->accept_aio);

	if (rc == NNG_ECLOSED || rc == NNG_ECANCELED)
		return;
	if (rc == 0) {
		accept_next(l, nng_aio_get_output(l->accept_aio, 0));
		return;
	}
	tell_failure(l, rc);
	pthread_mutex_lock(&server->mutex);
	if (!server->closing)
		accept_later(l, RETRY_MS);
	pthread_mutex_unlock(&server->mutex);
}

/* ---- opening and closing ---- */

/*
 * The socket gets its mode from bind. nng would change the mode of whatever has the name after that, and whoever may
 * write in the folder could make it lead to another file of ours, or be the admin listener's socket. The umask is the
 * whole process's, but all that creates a file here gives it a mode in which nothing is for others.
 */
static int
listen_with_mode(struct listener *l, bool ipc)
{
	mode_t before = ipc ? umask(0777 & ~l->config->mode) : 0;
	int rc = nng_stream_listener_listen(l->stream_listener);

	if (ipc)
		umask(before);
	return rc;
}

/* TLS is above a tcp stream. */
static const char *
stream_url(const struct config_listener *config)
{
	return strncmp(config->url, "tls+", 4) == 0 ? config->url + 4 : config->url;
}

int
listener_open(struct listener *l, char *why, size_t why_len)
{
	const char *path = config_ipc_path(l->config->url);
	int rc;

	l->framing = path != NULL ? SP_IPC : SP_TCP;
	if (strncmp(l->config->url, "tls+", 4) == 0 && tls_context_new(l->config, &l->tls, why, why_len) != 0)
		return -1;
	if (path != NULL && socket_file_check(path, why, why_len) != 0)
		return -1;
	if ((rc = nng_aio_alloc(&l->accept_aio, accepted, l)) != 0 ||
	    (rc = nng_stream_listener_alloc(&l->stream_listener, stream_url(l->config))) != 0 ||
	    (path == NULL &&
		((rc = nng_stream_listener_set_bool(l->stream_listener, NNG_OPT_TCP_NODELAY, true)) != 0 ||
		    (rc = nng_stream_listener_set_bool(l->stream_listener, NNG_OPT_TCP_KEEPALIVE, true)) != 0)) ||
	    (rc = listen_with_mode(l, path != NULL)) != 0) {
		snprintf(why, why_len, "%s: cannot listen: %s", l->config->url,
		    rc == NNG_EADDRINUSE ? "the address is in use by another program" : nng_strerror(rc));
		return -1;
	}
	if (path != NULL && socket_file_made(l->config, path, why, why_len) != 0)
		return -1;
	tune(l);
	LOG(LOG_INFO, "listening", LOG_S("url", l->config->url),
	    LOG_S("role", config_role_name(l->config->role)));
	if (l->config->exposed)
		LOG(LOG_WARN,
		    l->config->role == ROLE_ADMIN ?
			"administration over plain TCP: whoever reaches this address may roll and revoke keys, and read "
			"new ones on the way" :
			l->config->role == ROLE_PEER ? "nodes over plain TCP: whoever reaches this address may keep this node busy" :
			"keys over plain TCP: whoever is on the way to this address can read them",
		    LOG_S("url", l->config->url));
	return 0;
}

void
listener_close(struct listener *l)
{
	if (l->stream_listener != NULL)
		nng_stream_listener_close(l->stream_listener);
	if (l->accept_aio != NULL)
		nng_aio_stop(l->accept_aio);
}

void
listener_free(struct listener *l)
{
	if (l->accept_aio != NULL)
		nng_aio_free(l->accept_aio);
	if (l->newcomer != NULL)
		connection_free(l->newcomer);
	if (l->stream_listener != NULL)
		nng_stream_listener_free(l->stream_listener);
	SSL_CTX_free(l->tls);
}
