/*
 * tls_context.h - the PEM files of fob_options_set_tls_...(), read and checked.
 */
#ifndef CLIENT_TLS_CONTEXT_H
#define CLIENT_TLS_CONTEXT_H

#include "client/fob.h"
#include "proto/c/tls.h"

/*
 * tls_context_load(ca, cert, key, context, error):
 * Read the files at ${ca} and, unless NULL, ${cert} and ${key}; the server's certificate is checked against ${ca}.
 * Ownership: *${context} is the caller's, to be freed with SSL_CTX_free().
 * Returns:   0; FOB_EINVALID_ARGUMENT with the file's name for one that cannot be used; FOB_EINTERNAL.
 */
int tls_context_load(const char *ca, const char *cert, const char *key, SSL_CTX **context, struct fob_error *error);

#endif
