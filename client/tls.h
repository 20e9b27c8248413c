/*
 * tls.h - TLS as bytes: what the socket brings goes in, what it is to send comes out. No socket, no clock, no lock: the
 * caller sees to it that a session is used by one thread at a time.
 */
#ifndef CLIENT_TLS_H
#define CLIENT_TLS_H

#include "client/buffer.h"
#include "client/fob.h"

struct tls;         /* certificates and settings, for all sessions */
struct tls_session; /* of one connection */

/*
 * tls_new(ca, cert, key, tls, error):
 * Read the PEM files at ${ca} and, unless NULL, ${cert} and ${key}. TLS 1.2 or later, the server's certificate checked.
 * Returns: 0; FOB_EINVALID_ARGUMENT with the file's name for one that cannot be used; FOB_EINTERNAL.
 */
int tls_new(const char *ca, const char *cert, const char *key, struct tls **tls, struct fob_error *error);
void tls_free(struct tls *tls);

/* For a server whose certificate must carry ${name}, a host's name or numeric address. NULL when out of memory. */
struct tls_session *tls_session_new(struct tls *tls, const char *name);
void tls_session_free(struct tls_session *session);

/* Give what the socket brought. Returns: 0; -1 out of memory. */
int tls_feed(struct tls_session *session, const uint8_t *bytes, size_t len);

/*
 * tls_handshake(session, why):
 * Go on with the handshake. Returns: 1 when it is complete; 0 when more bytes are needed; -1 when it has failed, and
 * *${why} says why, until the session is freed.
 */
int tls_handshake(struct tls_session *session, const char **why);

/*
 * tls_read(session, plain):
 * Append what has been decrypted. Returns: 0; 1 when the peer has closed; -1 for a fault, out of memory included.
 */
int tls_read(struct tls_session *session, struct buffer *plain);

/* Encrypt ${len} bytes. Returns: 0; -1. */
int tls_write(struct tls_session *session, const uint8_t *plain, size_t len);

/* Append what the socket is to send. Returns: 0; -1 out of memory. */
int tls_take(struct tls_session *session, struct buffer *out);

#endif
