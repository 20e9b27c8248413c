/*
 * notify.c - sd_notify(3) by hand (see notify.h): the protocol is a datagram of NAME=VALUE lines, and libsystemd
 * would be much code in a process that holds keys. Never waits, and never ends the daemon: it goes on without a
 * manager that does not listen.
 */
#include "service/process/notify.h"

#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* The whole of ${text} as a decimal number; 0 when it is not one. */
static uint64_t
number_of(const char *text)
{
	char *end;
	unsigned long long value;

	if (text == NULL || text[0] < '0' || text[0] > '9')
		return 0;
	errno = 0;
	value = strtoull(text, &end, 10);
	return *end == '\0' && errno == 0 ? value : 0;
}

static uint32_t
watchdog_interval_ms(void)
{
	const char *pid = getenv("WATCHDOG_PID");
	uint64_t ms = number_of(getenv("WATCHDOG_USEC")) / 1000;

	/* The variables are for another process, whose environment this one inherited. */
	if (pid != NULL && number_of(pid) != (uint64_t)getpid())
		return 0;
	return ms > UINT32_MAX ? UINT32_MAX : (uint32_t)ms;
}

int
notify_init(struct notify *n)
{
	const char *path = getenv("NOTIFY_SOCKET");
	size_t len;

	memset(n, 0, sizeof(*n));
	n->fd = -1;
	if (path == NULL)
		return 0;
	len = strlen(path);
	if (len < 2 || (path[0] != '/' && path[0] != '@')) {
		errno = EAFNOSUPPORT;
		return -1;
	}
	if (len >= sizeof(n->address.sun_path)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	n->address.sun_family = AF_UNIX;
	memcpy(n->address.sun_path, path, len);
	if (path[0] == '@')
		n->address.sun_path[0] = '\0';
	/* A path ends in a NUL, which is part of the address; an abstract name does not. */
	n->address_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len + (path[0] == '/' ? 1 : 0));
	n->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (n->fd < 0)
		return -1;
	n->watchdog_ms = watchdog_interval_ms();
	return 0;
}

void
notify_fini(struct notify *n)
{
	if (n->fd >= 0)
		close(n->fd);
	n->fd = -1;
	n->watchdog_ms = 0;
}

bool
notify_is_abstract(const struct notify *n)
{
	return n->fd >= 0 && n->address.sun_path[0] == '\0';
}

static int
notify_send(const struct notify *n, const char *text)
{
	ssize_t sent;

	if (n->fd < 0)
		return 0;
	do
		sent = sendto(
		    n->fd, text, strlen(text), MSG_NOSIGNAL, (const struct sockaddr *)&n->address, n->address_len);
	while (sent < 0 && errno == EINTR);
	return sent < 0 ? -1 : 0;
}

int
notify_ready(const struct notify *n)
{
	return notify_send(n, "READY=1");
}

int
notify_reloading(const struct notify *n)
{
	char text[64];
	struct timespec now;

	/* By the time the manager knows that a later READY=1 ends this reload. */
	clock_gettime(CLOCK_MONOTONIC, &now);
	snprintf(text, sizeof(text), "RELOADING=1\nMONOTONIC_USEC=%lld",
	    (long long)now.tv_sec * 1000000 + now.tv_nsec / 1000);
	return notify_send(n, text);
}

int
notify_stopping(const struct notify *n)
{
	return notify_send(n, "STOPPING=1");
}

int
notify_watchdog(const struct notify *n)
{
	return n->watchdog_ms == 0 ? 0 : notify_send(n, "WATCHDOG=1");
}

int
notify_status(const struct notify *n, const char *format, ...)
{
	char text[208] = "STATUS=";
	va_list ap;

	va_start(ap, format);
	vsnprintf(text + 7, sizeof(text) - 7, format, ap);
	va_end(ap);
	/* A newline would begin another NAME=VALUE, which whoever chose the text could choose, too. */
	for (char *c = text; *c != '\0'; c++)
		if ((unsigned char)*c < 0x20 || *c == 0x7f)
			*c = ' ';
	return notify_send(n, text);
}
