/*
 * tls_context.h - the PEM files of the end that connects by TLS, read and checked.
 */
#ifndef TLS_CONTEXT_H
#define TLS_CONTEXT_H

#include "proto/c/tls.h"

/*
 * tls_context_load(ca, cert, key, out, why, why_len):
 * Read the files at ${ca} and, unless NULL, ${cert} and ${key}; the server's certificate is checked against ${ca}.
 * Ownership: *${out} is the caller's, to be freed with SSL_CTX_free().
 * Returns:   0; -EINVAL for a file that cannot be used; -ENOMEM. Both with a sentence at ${why}, cut to fit, which names
 *            the file.
 */
int tls_context_load(const char *ca, const char *cert, const char *key, SSL_CTX **out, char *why, size_t why_len);

#endif
