/*
 * probe.c - an SP client in a hundred lines, for the guard (see probe.h). Called by listen_guard.c, listen_tls.c and
 * socket_file.c, and by listen.c and confine.c for the path in an address; uses sockets, not nng, so that what it tests
 * is not what it is made of. The bytes are those of proto/PROTOCOL.md.
 */
#include "service/net/probe.h"

#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "fob/rpc/v1/rpc.pb-c.h"
#include "service/base/bytes.h"
#include "service/base/clock.h"
#include "service/base/config.h"

#define GREETING_LEN 8
#define REQUEST_ID UINT32_C(0x80000001) /* the high bit ends SP's backtrace */

static const uint8_t req_greeting[GREETING_LEN] = { 0, 'S', 'P', 0, 0, 0x30, 0, 0 };
static const uint8_t rep_greeting[GREETING_LEN] = { 0, 'S', 'P', 0, 0, 0x31, 0, 0 };

int
probe_connect_ipc(const char *path)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int fd, saved;

	if (strlen(path) >= sizeof(sa.sun_path)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	memcpy(sa.sun_path, path, strlen(path) + 1);
	/* A full backlog is told at once (EAGAIN); a blocking socket would wait for its end. */
	if ((fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)) < 0)
		return -1;
	if (connect(fd, (struct sockaddr *)&sa, sizeof(sa)) != 0) {
		saved = errno;
		close(fd);
		errno = saved;
		return -1;
	}
	return fd;
}

/* HOST and PORT of tcp://HOST:PORT or tls+tcp://HOST:PORT; a wildcard host is reached at the loopback. */
static bool
split_url(const char *url, char host[256], const char **port)
{
	const char *start = strstr(url, "://"), *colon;
	size_t len;

	if (start == NULL || (colon = strrchr(start + 3, ':')) == NULL)
		return false;
	start += 3;
	if (colon - start >= 2 && start[0] == '[' && colon[-1] == ']') {
		start++;
		len = (size_t)(colon - start) - 1;
	} else {
		len = (size_t)(colon - start);
	}
	if (len >= 256)
		return false;
	memcpy(host, start, len);
	host[len] = '\0';
	if (len == 0 || strcmp(host, "*") == 0 || strcmp(host, "0.0.0.0") == 0)
		strcpy(host, "127.0.0.1");
	else if (strcmp(host, "::") == 0)
		strcpy(host, "::1");
	*port = colon + 1;
	return true;
}

/* Has a connection that was begun on ${fd} been made by ${until_ms}? */
static bool
connected(int fd, int64_t until_ms)
{
	struct pollfd pfd = { .fd = fd, .events = POLLOUT };
	int64_t left_ms = until_ms - clock_boot_ms();
	int error = 0;
	socklen_t len = sizeof(error);

	return left_ms > 0 && poll(&pfd, 1, (int)left_ms) == 1 &&
	    getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) == 0 && error == 0;
}

static int
connect_tcp(const char *url, int64_t until_ms)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV }, *list, *a;
	const char *port;
	char host[256];
	int fd = -1;

	if (!split_url(url, host, &port) || getaddrinfo(host, port, &hints, &list) != 0)
		return -1;
	for (a = list; a != NULL && fd < 0; a = a->ai_next) {
		if ((fd = socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, a->ai_protocol)) < 0)
			continue;
		if (connect(fd, a->ai_addr, a->ai_addrlen) != 0 && (errno != EINPROGRESS || !connected(fd, until_ms))) {
			close(fd);
			fd = -1;
		}
	}
	freeaddrinfo(list);
	return fd;
}

/* Wait until there is something to read. */
static bool
readable(int fd, int64_t until_ms)
{
	struct pollfd pfd = { .fd = fd, .events = POLLIN };
	int64_t left_ms = until_ms - clock_boot_ms();

	return left_ms > 0 && poll(&pfd, 1, (int)left_ms) == 1;
}

static bool
read_all(int fd, void *buf, size_t len, int64_t until_ms)
{
	uint8_t *p = buf;
	ssize_t n;

	while (len > 0) {
		if (!readable(fd, until_ms) || (n = recv(fd, p, len, 0)) <= 0)
			return false;
		p += n;
		len -= (size_t)n;
	}
	return true;
}

static bool
write_all(int fd, const void *buf, size_t len)
{
	/* A few bytes into a new connection: they fit its buffer, or it is no live one. */
	return send(fd, buf, len, MSG_NOSIGNAL) == (ssize_t)len;
}

/* SP's frame: over ipc a message's length has a type byte before it. */
static bool
send_check(int fd, bool ipc)
{
	static const char method[] = "fob.v1.Health/Check";
	Fob__Rpc__V1__Request request = FOB__RPC__V1__REQUEST__INIT;
	uint8_t frame[128], *p = frame;
	size_t len;

	request.method.data = (uint8_t *)(uintptr_t)method;
	request.method.len = strlen(method);
	len = fob__rpc__v1__request__get_packed_size(&request);
	if (ipc)
		*p++ = 1;
	bytes_put64(p, 4 + len);
	bytes_put32(p + 8, REQUEST_ID);
	fob__rpc__v1__request__pack(&request, p + 12);
	return write_all(fd, frame, (size_t)(p - frame) + 12 + len);
}

static bool
ask(int fd, bool ipc, int64_t until_ms)
{
	uint8_t greeting[GREETING_LEN], head[1 + 8 + 4];
	size_t skip = ipc ? 1 : 0;

	return write_all(fd, req_greeting, sizeof(req_greeting)) &&
	    read_all(fd, greeting, sizeof(greeting), until_ms) &&
	    memcmp(greeting, rep_greeting, sizeof(greeting)) == 0 && send_check(fd, ipc) &&
	    read_all(fd, head, skip + 8 + 4, until_ms) && bytes_get32(head + skip + 8) == REQUEST_ID;
}

/* A TLS server answers nonsense with an alert or the end of the stream: either is a sign of life. */
static bool
provoke(int fd, int64_t until_ms)
{
	char byte;

	return write_all(fd, req_greeting, sizeof(req_greeting)) && readable(fd, until_ms) &&
	    recv(fd, &byte, 1, 0) >= 0;
}

bool
probe_listener(const char *url, uint32_t timeout_ms)
{
	int64_t until_ms = clock_boot_ms() + timeout_ms;
	const char *path = config_ipc_path(url);
	bool answered;
	int fd;

	if ((fd = path != NULL ? probe_connect_ipc(path) : connect_tcp(url, until_ms)) < 0)
		return false;
	answered = strncmp(url, "tls+", 4) == 0 ? provoke(fd, until_ms) : ask(fd, path != NULL, until_ms);
	close(fd);
	return answered;
}
