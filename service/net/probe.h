/*
 * probe.h - ask a listener of our own whether it still answers, as a client would, over a socket of our own. A listener
 * whose accept loop has died still accepts, greets and negotiates (measured on nng 1.5.2), so nothing less than a
 * request and its reply will do.
 */
#ifndef PROBE_H
#define PROBE_H

#include <stdbool.h>
#include <stdint.h>

/*
 * probe_listener(url, timeout_ms):
 * Returns true when the listener at ${url} has answered within ${timeout_ms}: ipc and tcp with a reply to Health/Check,
 * whatever it says; tls+tcp, for which we have no client certificate, by refusing our nonsense.
 */
bool probe_listener(const char *url, uint32_t timeout_ms);

/* A connected socket, or -1 with errno. */
int probe_connect_ipc(const char *path);

#endif
