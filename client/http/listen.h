/*
 * listen.h - sockets to listen on, made from the settings' addresses. Resolves no name.
 */
#ifndef HTTP_LISTEN_H
#define HTTP_LISTEN_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* Is ${address} "unix:PATH", "A.B.C.D:PORT" or "[ADDRESS]:PORT"? */
bool listen_address_ok(const char *address);

/* Can only this machine reach ${address}? It is a socket file, or a loopback address. */
bool listen_address_is_local(const char *address);

/*
 * listen_open(address, mode, n, fds, why, why_len):
 * Listen at ${address} with ${n} descriptors, one for each thread. Over TCP each is a socket of its own (SO_REUSEPORT),
 * and the kernel spreads connections; an address that another program listens at is refused. At a path all are the same
 * socket, whose file gets ${mode}; a file that a program left, and where nobody listens any more, is replaced.
 * Ownership: the caller closes the descriptors.
 * Returns:   0; -1 with one line at ${why}, and no descriptor is open.
 */
int listen_open(const char *address, mode_t mode, unsigned n, int *fds, char *why, size_t why_len);

/* Remove the file of a "unix:PATH"; nothing for other addresses. */
void listen_remove(const char *address);

#endif
