/*
 * test_tls.c - tls.c's two ends against each other, without a socket: handshakes in pieces of any size, of every version
 * that is allowed, and those that must fail with their reason; bytes both ways; the peer's name.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <openssl/evp.h>
#include <openssl/x509v3.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "proto/c/tls.h"

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
	SSL_CTX *servers, *clients;
	struct tls_session *ends[2]; /* the server's, the client's */
	bool done[2];
	const char *why[2]; /* a handshake has failed */
};

static SSL_CTX *
context_for(const SSL_METHOD *method, const struct identity *own, const struct identity *ca)
{
	SSL_CTX *context = tls_context_make(method);

	assert_non_null(context);
	assert_int_equal(X509_STORE_add_cert(SSL_CTX_get_cert_store(context), ca->certificate), 1);
	if (own != NULL) {
		assert_int_equal(SSL_CTX_use_certificate(context, own->certificate), 1);
		assert_int_equal(SSL_CTX_use_PrivateKey(context, own->key), 1);
	}
	SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
	return context;
}

static int
setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	f->ca = identity_new("ca", NULL);
	f->other_ca = identity_new("another ca", NULL);
	f->server = identity_new("fob.example", &f->ca);
	f->client = identity_new("billing\n7", &f->ca);
	f->servers = context_for(TLS_server_method(), &f->server, &f->ca);
	f->clients = context_for(TLS_client_method(), &f->client, &f->ca);
	*state = f;
	return 0;
}

static int
teardown(void **state)
{
	struct fixture *f = *state;

	SSL_CTX_free(f->servers);
	SSL_CTX_free(f->clients);
	identity_free(&f->ca);
	identity_free(&f->other_ca);
	identity_free(&f->server);
	identity_free(&f->client);
	free(f);
	return 0;
}

static void
begin(struct fixture *f, SSL_CTX *clients, const char *name)
{
	assert_non_null(f->ends[0] = tls_session_new(f->servers, NULL));
	assert_non_null(f->ends[1] = tls_session_new(clients, name));
	f->done[0] = f->done[1] = false;
	f->why[0] = f->why[1] = NULL;
}

static void
end(struct fixture *f)
{
	tls_session_free(f->ends[0]);
	tls_session_free(f->ends[1]);
}

static void
go_on(struct fixture *f, int i)
{
	int rc;

	if (f->done[i] || f->why[i] != NULL)
		return;
	if ((rc = tls_handshake(f->ends[i], &f->why[i])) == 1)
		f->done[i] = true;
	else if (rc == 0)
		f->why[i] = NULL;
}

/* What end ${i} has to say goes to the other one, ${piece} bytes at a time. */
static void
carry(struct fixture *f, int i, size_t piece)
{
	struct buffer wire = { 0 };

	assert_int_equal(tls_take(f->ends[i], &wire), 0);
	while (wire.len > 0) {
		size_t n = wire.len < piece ? wire.len : piece;

		assert_int_equal(tls_feed(f->ends[1 - i], wire.p, n), 0);
		buffer_consume(&wire, n, 0);
		go_on(f, 1 - i);
	}
}

/* Returns whether both ends are through. */
static bool
shake_hands(struct fixture *f, size_t piece)
{
	for (int round = 0; round < 8; round++) {
		go_on(f, 1);
		carry(f, 1, piece);
		go_on(f, 0);
		carry(f, 0, piece);
	}
	return f->done[0] && f->done[1];
}

/* ---- handshakes ---- */

static void
handshakes_in_pieces(void **state)
{
	static const int versions[] = { TLS1_2_VERSION, TLS1_3_VERSION };
	static const size_t pieces[] = { 1, 7, 1024, 65536 };
	struct fixture *f = *state;
	char name[65];

	for (size_t v = 0; v < 2; v++) {
		SSL_CTX_set_max_proto_version(f->clients, versions[v]);
		for (size_t i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++) {
			begin(f, f->clients, "fob.example");
			assert_true(shake_hands(f, pieces[i]));
			tls_peer_name(f->ends[0], name, sizeof(name));
			assert_string_equal(name, "billing?7");
			tls_peer_name(f->ends[1], name, sizeof(name));
			assert_string_equal(name, "fob.example");
			end(f);
		}
	}
}

static void
fails(struct fixture *f, SSL_CTX *clients, const char *name, int at, const char *why)
{
	begin(f, clients, name);
	assert_false(shake_hands(f, 65536));
	assert_non_null(f->why[at]);
	if (strstr(f->why[at], why) == NULL)
		fail_msg("\"%s\" does not say \"%s\"", f->why[at], why);
	end(f);
}

/* With TLS 1.3 a client is through before the server has refused it, and learns why with the first read. */
static void
is_told(struct fixture *f, SSL_CTX *clients, const char *why)
{
	struct buffer plain = { 0 };

	begin(f, clients, "fob.example");
	assert_false(shake_hands(f, 65536));
	assert_true(f->done[1]);
	assert_string_equal(tls_why(f->ends[1]), "");
	assert_int_equal(tls_read(f->ends[1], &plain), -1);
	assert_string_equal(tls_why(f->ends[1]), why);
	buffer_free(&plain);
	end(f);
}

static void
handshakes_that_fail(void **state)
{
	struct fixture *f = *state;
	struct identity strange = identity_new("stranger", &f->other_ca);
	SSL_CTX *stranger = context_for(TLS_client_method(), &strange, &f->ca);
	SSL_CTX *nobody = context_for(TLS_client_method(), NULL, &f->ca);
	SSL_CTX *suspicious = context_for(TLS_client_method(), &f->client, &f->other_ca);
	SSL_CTX *old = context_for(TLS_client_method(), &f->client, &f->ca);

	fails(f, nobody, "fob.example", 0, "TLS: peer did not return a certificate");
	fails(f, stranger, "fob.example", 0, "TLS: the client's certificate: ");
	is_told(f, nobody, "TLS: the peer requires a certificate, and none was given");
	is_told(f, stranger, "TLS: the peer does not know the CA of our certificate");
	fails(f, suspicious, "fob.example", 1, "TLS: the server's certificate: ");
	fails(f, f->clients, "another.example", 1, "TLS: the server's certificate: hostname mismatch");
	fails(f, f->clients, "192.0.2.1", 1, "TLS: the server's certificate: IP address mismatch");
	SSL_CTX_set_security_level(old, 0);
	SSL_CTX_set_min_proto_version(old, TLS1_VERSION);
	SSL_CTX_set_max_proto_version(old, TLS1_1_VERSION);
	fails(f, old, "fob.example", 0, "TLS: unsupported protocol");

	begin(f, f->clients, "fob.example");
	assert_int_equal(tls_feed(f->ends[0], (const uint8_t *)"GET / HTTP/1.0\r\n\r\n", 18), 0);
	go_on(f, 0);
	assert_string_equal(f->why[0], "TLS: http request");
	end(f);
	SSL_CTX_free(stranger);
	SSL_CTX_free(nobody);
	SSL_CTX_free(suspicious);
	SSL_CTX_free(old);
	identity_free(&strange);
}

/* ---- bytes ---- */

static void
bytes_both_ways(void **state)
{
	enum { LEN = 200000 };
	struct fixture *f = *state;
	uint8_t *sent = malloc(LEN);

	for (size_t i = 0; i < LEN; i++)
		sent[i] = (uint8_t)(i * 7 + i / 251);
	begin(f, f->clients, "fob.example");
	assert_true(shake_hands(f, 65536));
	for (int i = 0; i < 2; i++) {
		struct buffer plain = { 0 }, wire = { 0 };

		assert_int_equal(tls_read(f->ends[1 - i], &plain), 0);
		assert_int_equal(plain.len, 0);
		assert_int_equal(tls_write(f->ends[i], sent, LEN), 0);
		assert_int_equal(tls_take(f->ends[i], &wire), 0);
		assert_in_range(wire.len, LEN, 2 * LEN);
		for (size_t n; wire.len > 0; buffer_consume(&wire, n, 0)) {
			n = wire.len < 1500 ? wire.len : 1500;
			assert_int_equal(tls_feed(f->ends[1 - i], wire.p, n), 0);
			assert_int_equal(tls_read(f->ends[1 - i], &plain), 0);
		}
		assert_int_equal(plain.len, LEN);
		assert_memory_equal(plain.p, sent, LEN);
		buffer_free(&plain);
	}
	end(f);
	free(sent);
}

static void
a_changed_byte_is_noticed(void **state)
{
	struct fixture *f = *state;
	struct buffer plain = { 0 }, wire = { 0 };

	begin(f, f->clients, "fob.example");
	assert_true(shake_hands(f, 65536));
	assert_int_equal(tls_write(f->ends[1], (const uint8_t *)"hello", 5), 0);
	assert_int_equal(tls_take(f->ends[1], &wire), 0);
	wire.p[wire.len - 1] ^= 1;
	assert_int_equal(tls_feed(f->ends[0], wire.p, wire.len), 0);
	assert_int_equal(tls_read(f->ends[0], &plain), -1);
	assert_int_equal(plain.len, 0);
	buffer_free(&plain);
	buffer_free(&wire);
	end(f);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(handshakes_in_pieces),
		TEST(handshakes_that_fail),
		TEST(bytes_both_ways),
		TEST(a_changed_byte_is_noticed),
	};

	return cmocka_run_group_tests_name("tls", tests, NULL, NULL);
}
