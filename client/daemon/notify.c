/*
 * notify.c - sd_notify(3) by hand (see notify.h): a datagram of NAME=VALUE lines. Never waits.
 */
#include "client/daemon/notify.h"

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

static void
send_text(const char *text)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	const char *path = getenv("NOTIFY_SOCKET");
	size_t len = path != NULL ? strlen(path) : 0;
	socklen_t address_len;
	int fd;

	if (len < 2 || len >= sizeof(address.sun_path) || (path[0] != '/' && path[0] != '@'))
		return;
	memcpy(address.sun_path, path, len);
	if (path[0] == '@')
		address.sun_path[0] = '\0';
	/* A path ends in a NUL, which is part of the address; an abstract name does not. */
	address_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len + (path[0] == '/' ? 1 : 0));
	if ((fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)) < 0)
		return;
	(void)sendto(fd, text, strlen(text), MSG_NOSIGNAL, (const struct sockaddr *)&address, address_len);
	close(fd);
}

void
notify_ready(void)
{
	send_text("READY=1");
}

void
notify_reloading(void)
{
	char text[80];
	struct timespec now;

	/* By the time the manager knows that a later READY=1 ends this reload. */
	clock_gettime(CLOCK_MONOTONIC, &now);
	snprintf(text, sizeof(text), "RELOADING=1\nMONOTONIC_USEC=%lld",
	    (long long)now.tv_sec * 1000000 + now.tv_nsec / 1000);
	send_text(text);
}

void
notify_stopping(void)
{
	send_text("STOPPING=1");
}

/* A third of WATCHDOG_USEC. Returns: 0: there is no watchdog for this process. */
static int64_t
watchdog_ms(void)
{
	const char *usec = getenv("WATCHDOG_USEC"), *pid = getenv("WATCHDOG_PID");

	if (usec == NULL || (pid != NULL && strtoll(pid, NULL, 10) != (long long)getpid()))
		return 0;
	return strtoll(usec, NULL, 10) / 1000 / 3;
}

int
notify_alive(int at_most_ms)
{
	static int64_t told_ms;
	int64_t every_ms = watchdog_ms(), now_ms;
	struct timespec now;

	if (every_ms <= 0)
		return at_most_ms;
	clock_gettime(CLOCK_MONOTONIC, &now);
	now_ms = (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
	if (told_ms == 0 || now_ms - told_ms >= every_ms) {
		send_text("WATCHDOG=1");
		told_ms = now_ms;
	}
	return told_ms + every_ms - now_ms < at_most_ms ? (int)(told_ms + every_ms - now_ms) : at_most_ms;
}
