/*
 * tls.c - a connection's TLS session (see tls.h). Makes no system call but for randomness.
 */
#include "service/net/tls.h"

#include <openssl/err.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>

#define BIO_KEPT 4096 /* a memory BIO keeps its largest size: beyond this it is replaced when it is empty */

struct tls *
tls_new(SSL_CTX *context)
{
	struct tls *tls;

	if ((tls = calloc(1, sizeof(*tls))) == NULL)
		return NULL;
	tls->ssl = SSL_new(context);
	tls->in = BIO_new(BIO_s_mem());
	tls->out = BIO_new(BIO_s_mem());
	if (tls->ssl == NULL || tls->in == NULL || tls->out == NULL) {
		SSL_free(tls->ssl);
		BIO_free(tls->in);
		BIO_free(tls->out);
		free(tls);
		return NULL;
	}
	SSL_set_bio(tls->ssl, tls->in, tls->out);
	SSL_set_accept_state(tls->ssl);
	return tls;
}

void
tls_free(struct tls *tls)
{
	if (tls == NULL)
		return;
	SSL_free(tls->ssl);
	free(tls);
}

/* An idle connection is not to hold what its busiest moment took. */
static void
shrink(struct tls *tls, BIO **bio, bool in)
{
	BUF_MEM *memory;
	BIO *fresh;

	if (BIO_pending(*bio) > 0 || BIO_get_mem_ptr(*bio, &memory) != 1 || memory->max <= BIO_KEPT ||
	    (fresh = BIO_new(BIO_s_mem())) == NULL)
		return;
	if (in)
		SSL_set0_rbio(tls->ssl, fresh);
	else
		SSL_set0_wbio(tls->ssl, fresh);
	*bio = fresh;
}

int
tls_feed(struct tls *tls, const uint8_t *bytes, size_t len)
{
	size_t written;

	return len == 0 || (BIO_write_ex(tls->in, bytes, len, &written) == 1 && written == len) ? 0 : -1;
}

/* The first reason that OpenSSL noted; for a refused certificate, why. */
static void
explain(const struct tls *tls, char *why, size_t why_len)
{
	unsigned long error = ERR_get_error();
	long verified = SSL_get_verify_result(tls->ssl);
	const char *reason = ERR_reason_error_string(error);

	if (verified != X509_V_OK)
		snprintf(why, why_len, "the client's certificate: %s", X509_verify_cert_error_string(verified));
	else
		snprintf(why, why_len, "%s", reason != NULL ? reason : "the peer closed the connection");
	ERR_clear_error();
}

enum tls_result
tls_handshake(struct tls *tls, char *why, size_t why_len)
{
	int rc;

	ERR_clear_error();
	if ((rc = SSL_do_handshake(tls->ssl)) == 1) {
		tls->established = true;
		shrink(tls, &tls->in, true);
		return TLS_DONE;
	}
	switch (SSL_get_error(tls->ssl, rc)) {
	case SSL_ERROR_WANT_READ:
	case SSL_ERROR_WANT_WRITE:
		return TLS_MORE;
	default:
		explain(tls, why, why_len);
		return TLS_FAILED;
	}
}

enum tls_result
tls_read(struct tls *tls, uint8_t *to, size_t room, size_t *len)
{
	size_t n;

	*len = 0;
	ERR_clear_error();
	while (*len < room && SSL_read_ex(tls->ssl, to + *len, room - *len, &n) == 1)
		*len += n;
	if (*len > 0)
		return TLS_DONE;
	switch (SSL_get_error(tls->ssl, 0)) {
	case SSL_ERROR_WANT_READ:
	case SSL_ERROR_WANT_WRITE:
		shrink(tls, &tls->in, true);
		return TLS_MORE;
	default:
		ERR_clear_error();
		return TLS_FAILED;
	}
}

int
tls_write(struct tls *tls, const uint8_t *bytes, size_t len)
{
	size_t written;

	if (len == 0)
		return 0;
	ERR_clear_error();
	/* A memory BIO takes everything. */
	if (SSL_write_ex(tls->ssl, bytes, len, &written) == 1 && written == len)
		return 0;
	ERR_clear_error();
	return -1;
}

size_t
tls_pending(const struct tls *tls)
{
	return BIO_ctrl_pending(tls->out);
}

size_t
tls_drain(struct tls *tls, uint8_t *to, size_t room)
{
	size_t n = 0;

	if (room == 0 || BIO_read_ex(tls->out, to, room, &n) != 1)
		return 0;
	shrink(tls, &tls->out, false);
	return n;
}

void
tls_peer_name(const struct tls *tls, char *name, size_t size)
{
	X509 *certificate = SSL_get1_peer_certificate(tls->ssl);
	int n;

	name[0] = '\0';
	if (certificate == NULL)
		return;
	n = X509_NAME_get_text_by_NID(X509_get_subject_name(certificate), NID_commonName, name, (int)size);
	if (n < 0)
		name[0] = '\0';
	for (char *p = name; *p != '\0'; p++)
		if (*p < ' ' || *p > '~')
			*p = '?';
	X509_free(certificate);
}
