/*
 * notify.h - tell the service manager the daemon's state, by sd_notify(3)'s protocol: one datagram a message.
 * Without NOTIFY_SOCKET in the environment every function does nothing.
 */
#ifndef NOTIFY_H
#define NOTIFY_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/un.h>

struct notify {
	int fd; /* -1: there is no service manager */
	struct sockaddr_un address;
	socklen_t address_len;
	uint32_t watchdog_ms; /* the manager expects a WATCHDOG=1 within this time; 0: never */
};

/*
 * notify_init(n):
 * Read NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID, and open the socket. It stays open, so that messages can
 * be sent when the process has run out of descriptors. Call before threads are started (it reads the
 * environment).
 * Returns: 0; -1 with errno when NOTIFY_SOCKET cannot be used. The other functions may be called either way.
 */
int notify_init(struct notify *n);
void notify_fini(struct notify *n);

/* Does the manager listen on an abstract socket, which confine_files() must then allow? */
bool notify_is_abstract(const struct notify *n);

/* Send one message. Never waits. Threads: any. Returns: 0, also without a manager; -1 with errno. */
int notify_ready(const struct notify *n);
int notify_reloading(const struct notify *n);
int notify_stopping(const struct notify *n);
int notify_watchdog(const struct notify *n);

/*
 * Set the line that `systemctl status` shows; "" for none. printf's arguments, cut at 200 bytes; control
 * characters become spaces.
 */
int notify_status(const struct notify *n, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
