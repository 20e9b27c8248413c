/*
 * tls_context.c - the TLS files of the end that connects, read and checked (see tls_context.h).
 */
#include "proto/c/tls_context.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/x509err.h>

/* An encrypted key is refused; without this OpenSSL would ask for its passphrase at the terminal. */
static int
no_passphrase(char *to, int size, int writing, void *arg)
{
	bool *asked = arg;

	(void)to;
	(void)size;
	(void)writing;
	*asked = true;
	return -1;
}

/* ${what}: why, unless the file cannot even be read. */
static int
file_failed(const char *path, const char *what, char *why, size_t why_len)
{
	unsigned long code = ERR_peek_error();
	const char *reason = ERR_SYSTEM_ERROR(code) ? strerrordesc_np(ERR_GET_REASON(code)) : what;

	snprintf(why, why_len, "%s: %s", path, reason != NULL ? reason : what);
	ERR_clear_error();
	return -EINVAL;
}

static int
files_load(SSL_CTX *ctx, const char *ca, const char *cert, const char *key, char *why, size_t why_len)
{
	bool asked = false;
	int rc;

	ERR_clear_error();
	if (SSL_CTX_load_verify_file(ctx, ca) != 1)
		return file_failed(ca, "it holds no CA's certificate as PEM", why, why_len);
	if (cert == NULL)
		return 0;
	if (SSL_CTX_use_certificate_chain_file(ctx, cert) != 1)
		return file_failed(cert, "it holds no certificate as PEM that can be used", why, why_len);
	SSL_CTX_set_default_passwd_cb(ctx, no_passphrase);
	SSL_CTX_set_default_passwd_cb_userdata(ctx, &asked);
	rc = SSL_CTX_use_PrivateKey_file(ctx, key, SSL_FILETYPE_PEM);
	SSL_CTX_set_default_passwd_cb(ctx, NULL);
	SSL_CTX_set_default_passwd_cb_userdata(ctx, NULL);
	if (rc == 1 && SSL_CTX_check_private_key(ctx) == 1)
		return 0;
	if (ERR_GET_REASON(ERR_peek_error()) == X509_R_KEY_VALUES_MISMATCH ||
	    ERR_GET_REASON(ERR_peek_error()) == X509_R_KEY_TYPE_MISMATCH)
		return file_failed(key, "it is not the key of the certificate", why, why_len);
	return file_failed(key,
	    asked ? "it is encrypted: keep it without a passphrase" : "it holds no private key as PEM", why, why_len);
}

int
tls_context_load(const char *ca, const char *cert, const char *key, SSL_CTX **out, char *why, size_t why_len)
{
	SSL_CTX *context;
	int rc;

	*out = NULL;
	if ((context = tls_context_make(TLS_client_method())) == NULL) {
		ERR_clear_error();
		snprintf(why, why_len, "out of memory");
		return -ENOMEM;
	}
	SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
	if ((rc = files_load(context, ca, cert, key, why, why_len)) != 0) {
		SSL_CTX_free(context);
		return rc;
	}
	*out = context;
	return 0;
}
