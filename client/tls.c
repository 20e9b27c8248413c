/*
 * tls.c - TLS as bytes, by OpenSSL over memory BIOs (see tls.h). The only client file that knows OpenSSL.
 */
#include <arpa/inet.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "client/error.h"
#include "client/tls.h"

#define READ_SIZE 16384 /* a record's most */

struct tls {
	SSL_CTX *ctx;
};

struct tls_session {
	SSL *ssl;
	BIO *in, *out; /* the session's */
	char why[160];
};

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
tls_new(const char *ca, const char *cert, const char *key, struct tls **tls, struct fob_error *error)
{
	struct tls *t;
	int rc;

	*tls = NULL;
	if ((t = calloc(1, sizeof(*t))) == NULL || (t->ctx = SSL_CTX_new(TLS_client_method())) == NULL ||
	    SSL_CTX_set_min_proto_version(t->ctx, TLS1_2_VERSION) != 1) {
		ERR_clear_error();
		tls_free(t);
		return error_set(error, FOB_EINTERNAL, "out of memory");
	}
	SSL_CTX_set_options(t->ctx, SSL_OP_CLEANSE_PLAINTEXT | SSL_OP_NO_RENEGOTIATION);
	SSL_CTX_set_mode(t->ctx, SSL_MODE_RELEASE_BUFFERS);
	SSL_CTX_set_session_cache_mode(t->ctx, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_verify(t->ctx, SSL_VERIFY_PEER, NULL);
	SSL_CTX_set_default_passwd_cb(t->ctx, no_passphrase);
	if ((rc = files_load(t->ctx, ca, cert, key, error)) != 0) {
		tls_free(t);
		return rc;
	}
	*tls = t;
	return 0;
}

void
tls_free(struct tls *t)
{
	if (t == NULL)
		return;
	SSL_CTX_free(t->ctx);
	free(t);
}

static bool
is_numeric(const char *name)
{
	struct in6_addr any;

	return inet_pton(AF_INET, name, &any) == 1 || inet_pton(AF_INET6, name, &any) == 1;
}

static bool
name_expect(SSL *ssl, const char *name)
{
	if (is_numeric(name))
		return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), name) == 1;
	SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
	return SSL_set1_host(ssl, name) == 1 && SSL_set_tlsext_host_name(ssl, name) == 1;
}

struct tls_session *
tls_session_new(struct tls *t, const char *name)
{
	struct tls_session *s;

	if ((s = calloc(1, sizeof(*s))) == NULL)
		return NULL;
	if ((s->ssl = SSL_new(t->ctx)) == NULL || (s->in = BIO_new(BIO_s_mem())) == NULL ||
	    (s->out = BIO_new(BIO_s_mem())) == NULL) {
		BIO_free(s->in);
		SSL_free(s->ssl);
		free(s);
		ERR_clear_error();
		return NULL;
	}
	/* An empty one is not the end of the stream. */
	BIO_set_mem_eof_return(s->in, -1);
	BIO_set_mem_eof_return(s->out, -1);
	SSL_set_bio(s->ssl, s->in, s->out);
	SSL_set_connect_state(s->ssl);
	if (!name_expect(s->ssl, name)) {
		tls_session_free(s);
		ERR_clear_error();
		return NULL;
	}
	return s;
}

void
tls_session_free(struct tls_session *s)
{
	if (s == NULL)
		return;
	SSL_free(s->ssl);
	free(s);
}

int
tls_feed(struct tls_session *s, const uint8_t *bytes, size_t len)
{
	return len <= INT_MAX && BIO_write(s->in, bytes, (int)len) == (int)len ? 0 : -1;
}

static bool
wants_more(struct tls_session *s, int rv)
{
	int error = SSL_get_error(s->ssl, rv);

	return error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE;
}

int
tls_handshake(struct tls_session *s, const char **why)
{
	const char *reason;
	long verified;
	int rv;

	ERR_clear_error();
	if ((rv = SSL_do_handshake(s->ssl)) == 1)
		return 1;
	if (wants_more(s, rv))
		return 0;
	reason = ERR_reason_error_string(ERR_peek_error());
	if ((verified = SSL_get_verify_result(s->ssl)) != X509_V_OK)
		reason = X509_verify_cert_error_string(verified);
	snprintf(s->why, sizeof(s->why), "TLS: %s", reason != NULL ? reason : "the handshake failed");
	*why = s->why;
	ERR_clear_error();
	return -1;
}

int
tls_read(struct tls_session *s, struct buffer *plain)
{
	size_t n = 0;
	uint8_t *to;
	int rv;

	for (;;) {
		if ((to = buffer_reserve(plain, READ_SIZE)) == NULL)
			return -1;
		ERR_clear_error();
		if ((rv = SSL_read_ex(s->ssl, to, READ_SIZE, &n)) != 1)
			break;
		buffer_add(plain, n);
	}
	if (wants_more(s, rv))
		return 0;
	rv = SSL_get_error(s->ssl, rv) == SSL_ERROR_ZERO_RETURN ? 1 : -1;
	ERR_clear_error();
	return rv;
}

int
tls_write(struct tls_session *s, const uint8_t *plain, size_t len)
{
	size_t n = 0;

	ERR_clear_error();
	/* A memory BIO takes all of it. */
	if (len == 0 || (SSL_write_ex(s->ssl, plain, len, &n) == 1 && n == len))
		return 0;
	ERR_clear_error();
	return -1;
}

int
tls_take(struct tls_session *s, struct buffer *out)
{
	size_t n = BIO_ctrl_pending(s->out);
	uint8_t *to;
	int got;

	if (n == 0)
		return 0;
	if (n > INT_MAX || (to = buffer_reserve(out, n)) == NULL || (got = BIO_read(s->out, to, (int)n)) < 0)
		return -1;
	buffer_add(out, (size_t)got);
	return 0;
}
