/*
 * tls_context.h - a listener's TLS files, read and checked.
 *
 * Why not nng's TLS: of 3,000 hostile connections 361 were still open after 45 s, it tells neither the reason of a failed
 * handshake nor the peer's name, and it is mbedTLS, a second library beside libfob's OpenSSL.
 */
#ifndef NET_TLS_CONTEXT_H
#define NET_TLS_CONTEXT_H

#include "proto/c/tls.h"
#include "service/base/config.h"

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

#endif
