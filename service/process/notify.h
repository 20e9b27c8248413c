/*
 * notify.h - tells the service manager how the daemon is doing: sd_notify(3)'s protocol, one datagram a message.
 * Without NOTIFY_SOCKET in the environment everything here does nothing.
 */
#ifndef NOTIFY_H
#define NOTIFY_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/un.h>

struct notify {
	int fd; /* -1: nobody to tell */
	struct sockaddr_un address;
	socklen_t address_len;
	uint32_t watchdog_ms; /* a WATCHDOG=1 is due within this time; 0: none is expected */
};

/*
 * notify_init(n):
 * Read NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID, and open the socket, which then stays open: a process that has
 * run out of descriptors can still say so. Call before threads are started (it reads the environment).
 * Returns: 0; -1 with errno when NOTIFY_SOCKET cannot be used. ${n} is good for every other call either way.
 */
int notify_init(struct notify *n);
void notify_fini(struct notify *n);

/* Is the manager reached at an abstract address, which may not be cut off? */
bool notify_is_abstract(const struct notify *n);

/* The four messages. Threads: any. Returns: 0, also when there is nobody to tell; -1 with errno. Never waits. */
int notify_ready(const struct notify *n);
int notify_reloading(const struct notify *n);
int notify_stopping(const struct notify *n);
int notify_watchdog(const struct notify *n);

/*
 * What `systemctl status` shows, "" for nothing: printf's arguments, one line, cut at 200 bytes; control characters
 * become spaces.
 */
int notify_status(const struct notify *n, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
