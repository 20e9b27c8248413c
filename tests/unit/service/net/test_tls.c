/*
 * test_tls.c - tls.c against OpenSSL's client, both over memory: no socket. Handshakes in pieces of any size, of every
 * version that is allowed, and those that must fail with their reason; bytes both ways; the peer's name.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>

#include "service/net/tls.h"

/* A certificate for ${name} and its key, signed by ${issuer}, or by itself when that is NULL. */
struct identity {
	X509 *certificate;
	EVP_PKEY *key;
};

static struct identity
identity_new(const char *name, const struct identity *issuer)
{
	struct identity id = { .certificate = X509_new(), .key = EVP_EC_gen("P-256") };
	X509_NAME *subject = X509_get_subject_name(id.certificate);
	X509_EXTENSION *extension;

	X509_set_version(id.certificate, 2);
	ASN1_INTEGER_set(X509_get_serialNumber(id.certificate), 1);
	X509_gmtime_adj(X509_getm_notBefore(id.certificate), -3600);
	X509_gmtime_adj(X509_getm_notAfter(id.certificate), 3600);
	X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_UTF8, (const unsigned char *)name, -1, -1, 0);
	X509_set_issuer_name(id.certificate, issuer != NULL ? X509_get_subject_name(issuer->certificate) : subject);
	X509_set_pubkey(id.certificate, id.key);
	extension = X509V3_EXT_conf_nid(
	    NULL, NULL, NID_basic_constraints, issuer == NULL ? "critical,CA:TRUE" : "critical,CA:FALSE");
	X509_add_ext(id.certificate, extension, -1);
	X509_EXTENSION_free(extension);
	assert_int_not_equal(X509_sign(id.certificate, issuer != NULL ? issuer->key : id.key, EVP_sha256()), 0);
	return id;
}

static void
identity_free(struct identity *id)
{
	X509_free(id->certificate);
	EVP_PKEY_free(id->key);
}

struct fixture {
	struct identity ca, other_ca, server, client;
	SSL_CTX *context;
	SSL_CTX *clients;
	struct tls *tls;
	SSL *peer;
};

static SSL_CTX *
context_for(const SSL_METHOD *method, const struct identity *own, const struct identity *ca)
{
	SSL_CTX *context = SSL_CTX_new(method);

	assert_non_null(context);
	assert_int_equal(X509_STORE_add_cert(SSL_CTX_get_cert_store(context), ca->certificate), 1);
	assert_int_equal(SSL_CTX_use_certificate(context, own->certificate), 1);
	assert_int_equal(SSL_CTX_use_PrivateKey(context, own->key), 1);
	return context;
}

static int
setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	f->ca = identity_new("ca", NULL);
	f->other_ca = identity_new("another ca", NULL);
	f->server = identity_new("server", &f->ca);
	f->client = identity_new("billing\n7", &f->ca);
	f->context = context_for(TLS_server_method(), &f->server, &f->ca);
	SSL_CTX_set_verify(f->context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
	f->clients = context_for(TLS_client_method(), &f->client, &f->ca);
	*state = f;
	return 0;
}

static void
begin(struct fixture *f)
{
	assert_non_null(f->tls = tls_new(f->context));
	assert_non_null(f->peer = SSL_new(f->clients));
	SSL_set_bio(f->peer, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
	SSL_set_connect_state(f->peer);
}

static void
end(struct fixture *f)
{
	tls_free(f->tls);
	SSL_free(f->peer);
	f->tls = NULL;
	f->peer = NULL;
}

static int
teardown(void **state)
{
	struct fixture *f = *state;

	SSL_CTX_free(f->context);
	SSL_CTX_free(f->clients);
	identity_free(&f->ca);
	identity_free(&f->other_ca);
	identity_free(&f->server);
	identity_free(&f->client);
	free(f);
	return 0;
}

/* What the client has to say, ${piece} bytes at a time, with ${each} after each piece. Returns ${each}'s last result. */
static enum tls_result
carry(struct fixture *f, size_t piece, enum tls_result (*each)(struct fixture *f))
{
	enum tls_result result = TLS_MORE;
	uint8_t bytes[4096];
	int n;

	while (result != TLS_FAILED &&
	    (n = BIO_read(SSL_get_wbio(f->peer), bytes, (int)(piece < sizeof(bytes) ? piece : sizeof(bytes)))) > 0) {
		assert_int_equal(tls_feed(f->tls, bytes, (size_t)n), 0);
		result = each(f);
	}
	return result;
}

static void
carry_back(struct fixture *f, size_t piece)
{
	uint8_t bytes[4096];
	size_t n;

	while ((n = tls_drain(f->tls, bytes, piece < sizeof(bytes) ? piece : sizeof(bytes))) > 0)
		assert_int_equal(BIO_write(SSL_get_rbio(f->peer), bytes, (int)n), (int)n);
	assert_int_equal(tls_pending(f->tls), 0);
}

static char why[160];

static enum tls_result
go_on(struct fixture *f)
{
	return f->tls->established ? TLS_DONE : tls_handshake(f->tls, why, sizeof(why));
}

static enum tls_result
shake_hands(struct fixture *f, size_t piece)
{
	enum tls_result result = TLS_MORE;

	why[0] = '\0';
	for (int i = 0; i < 8 && result == TLS_MORE; i++) {
		SSL_do_handshake(f->peer);
		result = carry(f, piece, go_on);
		carry_back(f, piece);
	}
	SSL_do_handshake(f->peer);
	return result;
}

/* ---- */

static void
handshakes_in_pieces(void **state)
{
	static const int versions[] = { TLS1_2_VERSION, TLS1_3_VERSION };
	static const size_t pieces[] = { 1, 7, 1024, 4096 };
	struct fixture *f = *state;
	char name[65];

	for (size_t v = 0; v < 2; v++) {
		for (size_t i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++) {
			begin(f);
			SSL_set_min_proto_version(f->peer, versions[v]);
			SSL_set_max_proto_version(f->peer, versions[v]);
			assert_int_equal(shake_hands(f, pieces[i]), TLS_DONE);
			assert_true(f->tls->established);
			assert_int_equal(SSL_version(f->peer), versions[v]);
			tls_peer_name(f->tls, name, sizeof(name));
			assert_string_equal(name, "billing?7");
			end(f);
		}
	}
}

static void
bytes_both_ways(void **state)
{
	enum { LEN = 200000 };
	struct fixture *f = *state;
	uint8_t *sent = malloc(LEN), *got = malloc(LEN);
	size_t at = 0, n;

	for (size_t i = 0; i < LEN; i++)
		sent[i] = (uint8_t)(i * 7 + i / 251);
	begin(f);
	assert_int_equal(shake_hands(f, 4096), TLS_DONE);
	assert_int_equal(tls_read(f->tls, got, LEN, &n), TLS_MORE);
	assert_int_equal(n, 0);

	assert_int_equal(SSL_write(f->peer, sent, LEN), LEN);
	while (at < LEN) {
		uint8_t bytes[1500];
		int piece = BIO_read(SSL_get_wbio(f->peer), bytes, sizeof(bytes));

		assert_true(piece > 0);
		assert_int_equal(tls_feed(f->tls, bytes, (size_t)piece), 0);
		if (tls_read(f->tls, got + at, LEN - at, &n) == TLS_DONE)
			at += n;
	}
	assert_memory_equal(got, sent, LEN);

	assert_int_equal(tls_write(f->tls, sent, LEN), 0);
	carry_back(f, 1500);
	memset(got, 0, LEN);
	for (at = 0; at < LEN; at += n)
		assert_int_equal(SSL_read_ex(f->peer, got + at, LEN - at, &n), 1);
	assert_memory_equal(got, sent, LEN);
	/* An idle session keeps no memory of its busiest moment. */
	BUF_MEM *memory;
	assert_int_equal(BIO_get_mem_ptr(f->tls->out, &memory), 1);
	assert_in_range(memory->max, 0, 4096);
	end(f);
	free(sent);
	free(got);
}

static enum tls_result
read_on(struct fixture *f)
{
	uint8_t byte;
	size_t n;

	return tls_read(f->tls, &byte, 1, &n);
}

static void
the_peer_ends(void **state)
{
	struct fixture *f = *state;

	begin(f);
	assert_int_equal(shake_hands(f, 4096), TLS_DONE);
	SSL_shutdown(f->peer);
	assert_int_equal(carry(f, 4096, read_on), TLS_FAILED);
	end(f);

	/* A byte of a record was changed on the way. */
	begin(f);
	assert_int_equal(shake_hands(f, 4096), TLS_DONE);
	assert_int_equal(SSL_write(f->peer, "hello", 5), 5);
	BUF_MEM *memory;
	assert_int_equal(BIO_get_mem_ptr(SSL_get_wbio(f->peer), &memory), 1);
	memory->data[memory->length - 1] ^= 1;
	assert_int_equal(carry(f, 4096, read_on), TLS_FAILED);
	end(f);
}

static void
handshakes_that_fail(void **state)
{
	struct fixture *f = *state;
	SSL_CTX *good = f->clients, *stranger;
	struct identity strange = identity_new("stranger", &f->other_ca);

	begin(f);
	assert_int_equal(tls_feed(f->tls, (const uint8_t *)"GET / HTTP/1.0\r\n\r\n", 18), 0);
	assert_int_equal(go_on(f), TLS_FAILED);
	assert_string_equal(why, "http request");
	end(f);

	f->clients = SSL_CTX_new(TLS_client_method());
	begin(f);
	assert_int_equal(shake_hands(f, 4096), TLS_FAILED);
	assert_non_null(strstr(why, "peer did not return a certificate"));
	end(f);
	SSL_CTX_free(f->clients);

	f->clients = stranger = context_for(TLS_client_method(), &strange, &f->ca);
	begin(f);
	assert_int_equal(shake_hands(f, 4096), TLS_FAILED);
	assert_non_null(strstr(why, "the client's certificate: "));
	end(f);
	SSL_CTX_free(stranger);
	f->clients = good;
	identity_free(&strange);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(handshakes_in_pieces),
		TEST(bytes_both_ways),
		TEST(the_peer_ends),
		TEST(handshakes_that_fail),
	};

	return cmocka_run_group_tests_name("tls", tests, NULL, NULL);
}
