/*
 * listen.c - sockets to listen on (see listen.h).
 */
#include "client/http/listen.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define BACKLOG 4096
#define KIND (SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK)

union address {
	struct sockaddr any;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
	struct sockaddr_un path;
};

/* ---- the address ---- */

static int
parse_port(const char *text)
{
	size_t n = strlen(text);
	long port = n >= 1 && n <= 5 && strspn(text, "0123456789") == n ? strtol(text, NULL, 10) : 0;

	return port >= 1 && port <= 65535 ? (int)port : -1;
}

static socklen_t
parse_tcp(const char *text, union address *out)
{
	const char *colon = strrchr(text, ':');
	char host[INET6_ADDRSTRLEN + 2];
	size_t n = colon != NULL ? (size_t)(colon - text) : 0;
	int port = colon != NULL ? parse_port(colon + 1) : -1;

	if (n == 0 || n >= sizeof(host) || port < 0)
		return 0;
	memcpy(host, text, n);
	host[n] = '\0';
	if (inet_pton(AF_INET, host, &out->v4.sin_addr) == 1) {
		out->v4.sin_family = AF_INET;
		out->v4.sin_port = htons((uint16_t)port);
		return sizeof(out->v4);
	}
	if (host[0] != '[' || host[n - 1] != ']')
		return 0;
	host[n - 1] = '\0';
	if (inet_pton(AF_INET6, host + 1, &out->v6.sin6_addr) != 1)
		return 0;
	out->v6.sin6_family = AF_INET6;
	out->v6.sin6_port = htons((uint16_t)port);
	return sizeof(out->v6);
}

static const char *
unix_path(const char *address)
{
	return strncmp(address, "unix:", 5) == 0 ? address + 5 : NULL;
}

/* Returns the length of the socket address; 0 when ${text} is none. */
static socklen_t
parse(const char *text, union address *out)
{
	const char *path = unix_path(text);

	memset(out, 0, sizeof(*out));
	if (path == NULL)
		return parse_tcp(text, out);
	if (path[0] == '\0' || strlen(path) >= sizeof(out->path.sun_path))
		return 0;
	out->path.sun_family = AF_UNIX;
	strcpy(out->path.sun_path, path);
	return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path) + 1);
}

bool
listen_address_is_local(const char *address)
{
	union address parsed;

	if (unix_path(address) != NULL)
		return true;
	if (parse(address, &parsed) == 0)
		return false;
	if (parsed.any.sa_family == AF_INET)
		return ntohl(parsed.v4.sin_addr.s_addr) >> 24 == IN_LOOPBACKNET;
	return IN6_IS_ADDR_LOOPBACK(&parsed.v6.sin6_addr);
}

bool
listen_address_ok(const char *address)
{
	union address parsed;

	return parse(address, &parsed) != 0;
}

/* ---- the socket ---- */

static int
fail(const char *address, const char *what, char *why, size_t why_len)
{
	snprintf(why, why_len, "cannot listen at %s: %s: %s", address, what, strerror(errno));
	return -1;
}

/* Is what is at the path a socket at which nobody listens any more? */
static bool
is_left_over(const union address *a, socklen_t len)
{
	struct stat st;
	bool refused;
	int fd;

	if (lstat(a->path.sun_path, &st) != 0 || !S_ISSOCK(st.st_mode))
		return false;
	if ((fd = socket(AF_UNIX, KIND, 0)) < 0)
		return false;
	refused = connect(fd, &a->any, len) != 0 && errno == ECONNREFUSED;
	close(fd);
	return refused;
}

/* A socket that is bound and listens; -1 with errno. */
static int
open_one(const union address *a, socklen_t len, bool shared)
{
	int on = 1, fd = socket(a->any.sa_family, KIND, 0), saved;

	if (fd < 0)
		return -1;
	if (a->any.sa_family != AF_UNIX) {
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
		/* Replies are small; connections that are accepted have this, too. */
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
		if (shared)
			setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on));
		if (a->any.sa_family == AF_INET6)
			setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
	}
	if (bind(fd, &a->any, len) == 0 && listen(fd, BACKLOG) == 0)
		return fd;
	saved = errno;
	close(fd);
	errno = saved;
	return -1;
}

static void
close_all(int *fds, unsigned n)
{
	while (n > 0)
		close(fds[--n]);
}

static int
open_path(const char *address, const union address *a, socklen_t len, mode_t mode, unsigned n, int *fds)
{
	if (is_left_over(a, len))
		unlink(a->path.sun_path);
	if ((fds[0] = open_one(a, len, false)) < 0)
		return -1;
	for (unsigned i = 1; i < n; i++)
		if ((fds[i] = dup(fds[0])) < 0) {
			close_all(fds, i);
			return -1;
		}
	/* The umask has let nobody in until now. */
	if (chmod(a->path.sun_path, mode) == 0)
		return 0;
	close_all(fds, n);
	listen_remove(address);
	return -1;
}

static int
open_port(const union address *a, socklen_t len, unsigned n, int *fds)
{
	/* With SO_REUSEPORT a second program of this user would silently get a share of the connections. */
	int probe = open_one(a, len, false);

	if (probe < 0)
		return -1;
	close(probe);
	for (unsigned i = 0; i < n; i++)
		if ((fds[i] = open_one(a, len, true)) < 0) {
			close_all(fds, i);
			return -1;
		}
	return 0;
}

int
listen_open(const char *address, mode_t mode, unsigned n, int *fds, char *why, size_t why_len)
{
	union address a;
	socklen_t len = parse(address, &a);
	int rc;

	errno = EINVAL;
	if (len == 0)
		return fail(address, "address", why, why_len);
	rc = a.any.sa_family == AF_UNIX ? open_path(address, &a, len, mode, n, fds) : open_port(&a, len, n, fds);
	return rc == 0 ? 0 : fail(address, "bind", why, why_len);
}

void
listen_remove(const char *address)
{
	if (unix_path(address) != NULL)
		unlink(unix_path(address));
}
