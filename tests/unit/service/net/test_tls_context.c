/*
 * test_tls_context.c - tls_context.c: which key belongs to which certificate, and what is said of those that do not.
 * The keys are of P-256 and were made for this file; the certificates are valid to 2120, to 2020, and from 2120 on.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "service/net/tls_context.h"

static const char certificate[] = "-----BEGIN CERTIFICATE-----\n"
				  "MIIBFDCBuwIUL6gFklh0QQALUQjqdA7pYNDQ0b8wCgYIKoZIzj0EAwIwDDEKMAgG\n"
				  "A1UEAwwBeDAgFw0yMDAxMDEwMDAwMDBaGA8yMTIwMDEwMTAwMDAwMFowDDEKMAgG\n"
				  "A1UEAwwBczBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABExPilPgvbmULJDxB0nU\n"
				  "WBoXZRuz0yrWs21APwMtGPKr0+M/QxZlsJYJMCeS1ep1BGZ9KlYcq+tGYY/8K6bh\n"
				  "XFIwCgYIKoZIzj0EAwIDSAAwRQIhAMsxmmBCKX7kdAU8oNj+du/CKbR8mua7oDM2\n"
				  "VCK9IMAPAiBkadFdxHZhg7BhVWQH4dbzB0/jmlo1p14BIEp+Duqa5Q==\n"
				  "-----END CERTIFICATE-----\n";

static const char expired[] = "-----BEGIN CERTIFICATE-----\n"
			      "MIIBEzCBuQIUZ5PukNPU22VNhhYF+b3KP6YYXR0wCgYIKoZIzj0EAwIwDDEKMAgG\n"
			      "A1UEAwwBeDAeFw0yMDAxMDEwMDAwMDBaFw0yMDAxMDIwMDAwMDBaMAwxCjAIBgNV\n"
			      "BAMMAXMwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAARMT4pT4L25lCyQ8QdJ1Fga\n"
			      "F2Ubs9Mq1rNtQD8DLRjyq9PjP0MWZbCWCTAnktXqdQRmfSpWHKvrRmGP/Cum4VxS\n"
			      "MAoGCCqGSM49BAMCA0kAMEYCIQC3gMS7JckKdfVoegkWTOEvU33QJT5g4p0z9O4P\n"
			      "XRzHxAIhAPYvGZWU+d+F/+U68FMRFRlyojTYLXn+JryNMyrK3UDj\n"
			      "-----END CERTIFICATE-----\n";

static const char early[] = "-----BEGIN CERTIFICATE-----\n"
			    "MIIBFzCBvQIUGi6N0qJPQY9HQ19Y2I4Qe5aDypQwCgYIKoZIzj0EAwIwDDEKMAgG\n"
			    "A1UEAwwBeDAiGA8yMTIwMDEwMTAwMDAwMFoYDzIxMjAwMTAyMDAwMDAwWjAMMQow\n"
			    "CAYDVQQDDAFzMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAETE+KU+C9uZQskPEH\n"
			    "SdRYGhdlG7PTKtazbUA/Ay0Y8qvT4z9DFmWwlgkwJ5LV6nUEZn0qVhyr60Zhj/wr\n"
			    "puFcUjAKBggqhkjOPQQDAgNJADBGAiEAqG1YScs07f0bpCUNAsqBxv2469vh3h3N\n"
			    "k+2hIon/cpICIQCFZrnXc0Z2OByTGOagQPRYjB+UrgZsysS4FiNwix8Jmw==\n"
			    "-----END CERTIFICATE-----\n";

static const char key[] = "-----BEGIN EC PRIVATE KEY-----\n"
			  "MHcCAQEEIFIihOBZVt/gLGLMmSRBqhLcLBE1/N22wzydI+QCgA98oAoGCCqGSM49\n"
			  "AwEHoUQDQgAETE+KU+C9uZQskPEHSdRYGhdlG7PTKtazbUA/Ay0Y8qvT4z9DFmWw\n"
			  "lgkwJ5LV6nUEZn0qVhyr60Zhj/wrpuFcUg==\n"
			  "-----END EC PRIVATE KEY-----\n";

static const char other_key[] = "-----BEGIN EC PRIVATE KEY-----\n"
				"MHcCAQEEIEAFL2/T7+z9Ia+x3nB8CTbUXiQ+atj9gbVSaoC1xhJAoAoGCCqGSM49\n"
				"AwEHoUQDQgAE7KbOkjwUW3sukIJaEjF50W9nSZCEC/Ki4re6bh644XME7rmdtUSG\n"
				"1O2WDx478aNLmW586XfXmoTqz1clRaQvDg==\n"
				"-----END EC PRIVATE KEY-----\n";

static void
pairs(void **state)
{
	static char chain[sizeof(certificate) + sizeof(expired)], broken[sizeof(certificate)];
	static const struct {
		const char *what, *cert, *key, *wrong, *warning;
	} cases[] = {
		{ "a pair", certificate, key, NULL, NULL },
		{ "another's key", certificate, other_key, "tls_key is not the private key", NULL },
		{ "expired", expired, key, NULL, "has expired" },
		{ "expired, and another's key", expired, other_key, "tls_key is not the private key", NULL },
		{ "too early", early, key, NULL, "not valid yet" },
		{ "a chain: the first counts", chain, key, NULL, NULL },
		{ "half a certificate", broken, key, "tls_cert:", NULL },
		{ "a key for a certificate", key, key, "tls_cert:", NULL },
		{ "a certificate for a key", certificate, certificate, "tls_key:", NULL },
		{ "nothing", "", "", "tls_cert:", NULL },
		{ "no key", certificate, "", "tls_key:", NULL },
		{ "garbage", "\xff\xfe", "\xff\xfe", "tls_cert:", NULL },
	};

	(void)state;
	snprintf(chain, sizeof(chain), "%s%s", certificate, expired);
	memcpy(broken, certificate, sizeof(certificate) / 2);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		SSL_CTX *context = SSL_CTX_new(TLS_server_method());
		const char *warning = "untouched", *wrong = "untouched";
		int rc = tls_context_check(cases[i].cert, cases[i].key, context, &wrong, &warning);

		assert_int_equal(rc, wrong == NULL ? 0 : -1);
		if ((wrong == NULL) != (cases[i].wrong == NULL) ||
		    (wrong != NULL && strncmp(wrong, cases[i].wrong, strlen(cases[i].wrong)) != 0))
			fail_msg("%s: %s", cases[i].what, wrong != NULL ? wrong : "nothing is wrong");
		if ((warning == NULL) != (cases[i].warning == NULL) ||
		    (warning != NULL && strstr(warning, cases[i].warning) == NULL))
			fail_msg("%s: warned: %s", cases[i].what, warning != NULL ? warning : "not at all");
		SSL_CTX_free(context);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(pairs) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
