/*
 * tls_context.c - a client's TLS files, read and checked (see tls_context.h).
 */
#include "client/tls_context.h"

#include <string.h>

#include <openssl/err.h>

#include "client/error.h"

/* An encrypted key is refused; without this OpenSSL would ask for its passphrase at the terminal. */
static int
no_passphrase(char *to, int size, int writing, void *arg)
{
	(void)to;
	(void)size;
	(void)writing;
	(void)arg;
	return -1;
}

static int
file_failed(const char *path, struct fob_error *error)
{
	unsigned long code = ERR_peek_error();
	const char *reason = ERR_reason_error_string(code);

	if (ERR_SYSTEM_ERROR(code))
		reason = strerrordesc_np(ERR_GET_REASON(code));
	error_set(error, FOB_EINVALID_ARGUMENT, "%s: %s", path, reason != NULL ? reason : "it cannot be used");
	ERR_clear_error();
	return FOB_EINVALID_ARGUMENT;
}

static int
files_load(SSL_CTX *ctx, const char *ca, const char *cert, const char *key, struct fob_error *error)
{
	ERR_clear_error();
	if (SSL_CTX_load_verify_file(ctx, ca) != 1)
		return file_failed(ca, error);
	if (cert == NULL)
		return 0;
	if (SSL_CTX_use_certificate_chain_file(ctx, cert) != 1)
		return file_failed(cert, error);
	if (SSL_CTX_use_PrivateKey_file(ctx, key, SSL_FILETYPE_PEM) != 1 || SSL_CTX_check_private_key(ctx) != 1)
		return file_failed(key, error);
	return 0;
}

int
tls_context_load(const char *ca, const char *cert, const char *key, SSL_CTX **out, struct fob_error *error)
{
	SSL_CTX *context;
	int rc;

	*out = NULL;
	if ((context = tls_context_make(TLS_client_method())) == NULL) {
		ERR_clear_error();
		return error_set(error, FOB_EINTERNAL, "out of memory");
	}
	SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
	SSL_CTX_set_default_passwd_cb(context, no_passphrase);
	if ((rc = files_load(context, ca, cert, key, error)) != 0) {
		SSL_CTX_free(context);
		return rc;
	}
	*out = context;
	return 0;
}
