/*
 * tls.h - a TLS session as bytes: what the socket brings goes in, what it is to send comes out. OpenSSL between memory
 * BIOs; no socket, no clock, no lock: the caller has one thread at a time use a session. Both ends use it; each makes
 * its own SSL_CTX.
 */
#ifndef TLS_H
#define TLS_H

#include <openssl/ssl.h>

#include "proto/c/buffer.h"

struct tls_session;

/*
 * tls_session_new(context, server):
 * The client's end, if ${server} is the name or the numeric address that the server's certificate must carry; the server's
 * end, if it is NULL. ${context} is referenced. Returns NULL when out of memory.
 */
struct tls_session *tls_session_new(SSL_CTX *context, const char *server);
void tls_session_free(struct tls_session *session);

/* What every context of ours is like: TLS 1.2 or later, nothing resumed, nothing renegotiated, plaintext wiped. */
SSL_CTX *tls_context_make(const SSL_METHOD *method);

/* Give what the socket brought. Returns: 0; -1 out of memory. */
int tls_feed(struct tls_session *session, const uint8_t *bytes, size_t len);

/*
 * tls_handshake(session, why):
 * Go on with the handshake. Returns: 1 when it is complete; 0 when more bytes are needed; -1 when it has failed, and
 * *${why} says why, until the session is freed. In each case there may be something to take.
 */
int tls_handshake(struct tls_session *session, const char **why);

/*
 * tls_read(session, plain):
 * Append what has been decrypted. Returns: 0; 1 when the peer has closed; -1 for a fault, out of memory included.
 */
int tls_read(struct tls_session *session, struct buffer *plain);

/* Why tls_handshake() or tls_read() has failed, until the session is freed; empty when nothing more is known. */
const char *tls_why(const struct tls_session *session);

/* Encrypt ${len} bytes. Returns: 0; -1. */
int tls_write(struct tls_session *session, const uint8_t *plain, size_t len);

/* Append what the socket is to send. Returns: 0; -1 out of memory. */
int tls_take(struct tls_session *session, struct buffer *out);

/* The common name of the peer's certificate, made printable and cut to fit; empty when there is none. */
void tls_peer_name(const struct tls_session *session, char *name, size_t size);

#endif
