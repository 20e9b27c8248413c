/*
 * tls.c - TLS as bytes, by OpenSSL over memory BIOs (see tls.h). Makes no system call but for randomness.
 */
#include "proto/c/tls.h"

#include <arpa/inet.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include <openssl/err.h>
#include <openssl/x509v3.h>

#define READ_SIZE 16384 /* a record's most */
#define BIO_KEPT 4096   /* a memory BIO keeps its largest size: beyond this it is replaced when it is empty */

struct tls_session {
	SSL *ssl;
	BIO *in, *out; /* ciphertext; the SSL's */
	char why[160];
};

SSL_CTX *
tls_context_make(const SSL_METHOD *method)
{
	SSL_CTX *context;

	if ((context = SSL_CTX_new(method)) == NULL)
		return NULL;
	if (SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION) != 1) {
		SSL_CTX_free(context);
		return NULL;
	}
	/* Each connection proves its certificates: no session is resumed. */
	SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_num_tickets(context, 0);
	SSL_CTX_set_options(context, SSL_OP_CLEANSE_PLAINTEXT | SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION);
	SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS);
	return context;
}

static bool
is_numeric(const char *name)
{
	struct in6_addr any;

	return inet_pton(AF_INET, name, &any) == 1 || inet_pton(AF_INET6, name, &any) == 1;
}

static bool
expect(SSL *ssl, const char *server)
{
	if (is_numeric(server))
		return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), server) == 1;
	SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
	return SSL_set1_host(ssl, server) == 1 && SSL_set_tlsext_host_name(ssl, server) == 1;
}

static BIO *
new_bio(void)
{
	BIO *bio = BIO_new(BIO_s_mem());

	/* An empty one is not the end of the stream. */
	if (bio != NULL)
		BIO_set_mem_eof_return(bio, -1);
	return bio;
}

struct tls_session *
tls_session_new(SSL_CTX *context, const char *server)
{
	struct tls_session *s;

	if ((s = calloc(1, sizeof(*s))) == NULL)
		return NULL;
	if ((s->ssl = SSL_new(context)) == NULL || (s->in = new_bio()) == NULL || (s->out = new_bio()) == NULL) {
		BIO_free(s->in);
		SSL_free(s->ssl);
		free(s);
		ERR_clear_error();
		return NULL;
	}
	SSL_set_bio(s->ssl, s->in, s->out);
	if (server == NULL) {
		SSL_set_accept_state(s->ssl);
		return s;
	}
	SSL_set_connect_state(s->ssl);
	if (expect(s->ssl, server))
		return s;
	tls_session_free(s);
	ERR_clear_error();
	return NULL;
}

void
tls_session_free(struct tls_session *s)
{
	if (s == NULL)
		return;
	SSL_free(s->ssl);
	free(s);
}

/* An idle connection does not hold what its busiest moment took. */
static void
shrink(struct tls_session *s, BIO **bio, void (*set)(SSL *ssl, BIO *bio))
{
	BUF_MEM *memory;
	BIO *fresh;

	if (BIO_ctrl_pending(*bio) > 0 || BIO_get_mem_ptr(*bio, &memory) != 1 || memory->max <= BIO_KEPT ||
	    (fresh = new_bio()) == NULL)
		return;
	set(s->ssl, fresh);
	*bio = fresh;
}

int
tls_feed(struct tls_session *s, const uint8_t *bytes, size_t len)
{
	size_t written;

	return len == 0 || (BIO_write_ex(s->in, bytes, len, &written) == 1 && written == len) ? 0 : -1;
}

static bool
wants_more(struct tls_session *s, int rv)
{
	int error = SSL_get_error(s->ssl, rv);

	return error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE;
}

/* What the peer has said, in words; other reasons are OpenSSL's. NULL: there is none. */
static const char *
reason_of(unsigned long code)
{
	switch (ERR_GET_REASON(code)) {
	case SSL_R_TLSV13_ALERT_CERTIFICATE_REQUIRED:
		return "the peer requires a certificate, and none was given";
	case SSL_R_TLSV1_ALERT_UNKNOWN_CA:
		return "the peer does not know the CA of our certificate";
	case SSL_R_SSLV3_ALERT_CERTIFICATE_EXPIRED:
		return "our certificate is not valid now, says the peer";
	case SSL_R_SSLV3_ALERT_BAD_CERTIFICATE:
	case SSL_R_SSLV3_ALERT_CERTIFICATE_REVOKED:
	case SSL_R_SSLV3_ALERT_CERTIFICATE_UNKNOWN:
	case SSL_R_SSLV3_ALERT_UNSUPPORTED_CERTIFICATE:
	case SSL_R_TLSV1_ALERT_ACCESS_DENIED:
		return "the peer does not accept our certificate";
	case SSL_R_WRONG_VERSION_NUMBER:
		return "the peer does not speak TLS";
	default:
		return ERR_reason_error_string(code);
	}
}

const char *
tls_why(const struct tls_session *s)
{
	return s->why;
}

int
tls_handshake(struct tls_session *s, const char **why)
{
	const char *reason, *of = "";
	long verified;
	int rv;

	ERR_clear_error();
	if ((rv = SSL_do_handshake(s->ssl)) == 1) {
		shrink(s, &s->in, SSL_set0_rbio);
		return 1;
	}
	if (wants_more(s, rv))
		return 0;
	reason = reason_of(ERR_peek_error());
	if ((verified = SSL_get_verify_result(s->ssl)) != X509_V_OK) {
		of = SSL_is_server(s->ssl) ? "the client's certificate: " : "the server's certificate: ";
		reason = X509_verify_cert_error_string(verified);
	}
	snprintf(s->why, sizeof(s->why), "TLS: %s%s", of, reason != NULL ? reason : "the handshake failed");
	*why = s->why;
	ERR_clear_error();
	return -1;
}

int
tls_read(struct tls_session *s, struct buffer *plain)
{
	const char *reason;
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
	if (wants_more(s, rv)) {
		shrink(s, &s->in, SSL_set0_rbio);
		return 0;
	}
	rv = SSL_get_error(s->ssl, rv) == SSL_ERROR_ZERO_RETURN ? 1 : -1;
	if (rv < 0 && (reason = reason_of(ERR_peek_error())) != NULL)
		snprintf(s->why, sizeof(s->why), "TLS: %s", reason);
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

	if (n == 0)
		return 0;
	if ((to = buffer_reserve(out, n)) == NULL || BIO_read_ex(s->out, to, n, &n) != 1)
		return -1;
	buffer_add(out, n);
	shrink(s, &s->out, SSL_set0_wbio);
	return 0;
}

void
tls_peer_name(const struct tls_session *s, char *name, size_t size)
{
	X509 *certificate = SSL_get1_peer_certificate(s->ssl);

	name[0] = '\0';
	if (certificate == NULL)
		return;
	if (X509_NAME_get_text_by_NID(X509_get_subject_name(certificate), NID_commonName, name, (int)size) < 0)
		name[0] = '\0';
	for (char *p = name; *p != '\0'; p++)
		if (*p < ' ' || *p > '~')
			*p = '?';
	X509_free(certificate);
}
