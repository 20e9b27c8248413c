/*
 * tls.h - TLS over bytes: OpenSSL between memory BIOs. What comes from a stream is fed in, what is to go to it is drained;
 * no socket is known here.
 *
 * Why not nng's TLS: of 3,000 hostile connections 361 were still open after 45 s, it tells neither the reason of a failed
 * handshake nor the peer's name, and it is mbedTLS, a second library beside libfob's OpenSSL.
 */
#ifndef TLS_H
#define TLS_H

#include <openssl/ssl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "service/base/config.h"

/* ---- a listener's files ---- */

/*
 * tls_context_new(config, context, why, why_len):
 * Read the three PEM files of ${config} and check them: the key belongs to the first certificate; client certificates are
 * required and checked against tls_ca; TLS 1.2 or later. A certificate that has expired, or is not valid yet, is a warning
 * in the log.
 * Ownership: *${context} is the caller's, to be freed with SSL_CTX_free(); sessions hold a reference of their own.
 * Returns:   0; -1 with one line at ${why} that names the setting and the file.
 */
int tls_context_new(const struct config_listener *config, SSL_CTX **context, char *why, size_t why_len);

/*
 * tls_context_check(cert, key, context, wrong, warning):
 * The same for the texts of a certificate chain and its key, which are not kept.
 * Returns: 0, and *${warning} is NULL or a sentence; -1, and *${wrong} is a sentence that begins with the setting's name.
 */
int tls_context_check(const char *cert, const char *key, SSL_CTX *context, const char **wrong, const char **warning);

/* ---- a connection ---- */

/* Threads: one at a time; the connection's lock guards it. */
struct tls {
	SSL *ssl;
	BIO *in, *out; /* ciphertext; ${ssl} owns them */
	bool established;
};

/* Returns NULL when there is no memory. ${context} is referenced. */
struct tls *tls_new(SSL_CTX *context);
/* NULL is fine. Wipes the session's keys. */
void tls_free(struct tls *tls);

/* Bytes that the peer sent. Returns: 0; -1 when there is no memory. */
int tls_feed(struct tls *tls, const uint8_t *bytes, size_t len);

enum tls_result { TLS_MORE, TLS_DONE, TLS_FAILED };

/*
 * tls_handshake(tls, why, why_len):
 * Go on with the handshake. In each case there may be bytes to drain.
 * Returns: TLS_DONE; TLS_MORE: feed more; TLS_FAILED with a reason at ${why}.
 */
enum tls_result tls_handshake(struct tls *tls, char *why, size_t why_len);

/*
 * tls_read(tls, to, room, len):
 * Decrypt what was fed, up to ${room} bytes.
 * Returns: TLS_DONE with *${len} > 0 bytes; TLS_MORE: nothing until more is fed; TLS_FAILED: the peer has closed, or what it
 *          sent is not TLS.
 */
enum tls_result tls_read(struct tls *tls, uint8_t *to, size_t room, size_t *len);

/* Encrypt ${len} bytes, to be drained. Returns: 0; -1: the session is broken. */
int tls_write(struct tls *tls, const uint8_t *bytes, size_t len);

/* How many bytes are to go to the peer; and up to ${room} of them, taken. */
size_t tls_pending(const struct tls *tls);
size_t tls_drain(struct tls *tls, uint8_t *to, size_t room);

/* The common name of the peer's certificate, made printable and cut to fit; empty when there is none. */
void tls_peer_name(const struct tls *tls, char *name, size_t size);

#endif
