/*
 * certificate.c - asks mbedTLS whether a certificate and a key belong together (see certificate.h). Called by
 * listen_tls.c before nng gets them; calls mbedTLS, which libnng has in the process anyway, and libsodium for random
 * bytes. It never reads a file, and makes no connection.
 */
#include "service/net/certificate.h"

#include <mbedtls/pk.h>
#include <mbedtls/version.h>
#include <mbedtls/x509_crt.h>
#include <sodium.h>
#include <stddef.h>
#include <string.h>

#if MBEDTLS_VERSION_NUMBER >= 0x03000000
static int
random_bytes(void *arg, unsigned char *to, size_t len)
{
	(void)arg;
	randombytes_buf(to, len);
	return 0;
}

#define RANDOM , random_bytes, NULL
#else
#define RANDOM
#endif

static const char *
dates(const mbedtls_x509_crt *crt)
{
	if (mbedtls_x509_time_is_past(&crt->valid_to))
		return "tls_cert has expired; clients will refuse it";
	if (mbedtls_x509_time_is_future(&crt->valid_from))
		return "tls_cert is not valid yet; clients will refuse it";
	return NULL;
}

const char *
certificate_check(const char *cert, const char *key, const char **warning)
{
	const char *wrong = NULL;
	mbedtls_x509_crt crt;
	mbedtls_pk_context pk;

	*warning = NULL;
	mbedtls_x509_crt_init(&crt);
	mbedtls_pk_init(&pk);
	/* Lengths with the NUL, by which mbedTLS knows PEM. */
	if (mbedtls_x509_crt_parse(&crt, (const unsigned char *)cert, strlen(cert) + 1) != 0)
		wrong = "tls_cert: there is something other than PEM certificates in it";
	else if (mbedtls_pk_parse_key(&pk, (const unsigned char *)key, strlen(key) + 1, NULL, 0 RANDOM) != 0)
		wrong = "tls_key: there is no PEM private key in it that is not encrypted";
	else if (mbedtls_pk_check_pair(&crt.pk, &pk RANDOM) != 0)
		wrong = "tls_key is not the private key of the first certificate in tls_cert";
	else
		*warning = dates(&crt);
	mbedtls_pk_free(&pk);
	mbedtls_x509_crt_free(&crt);
	return wrong;
}
