/*
 * tls_context.c - a listener's TLS files: read, checked, and made an SSL_CTX (see tls_context.h). Keeps no private key but
 * OpenSSL's: what was read is wiped.
 */
#include "service/net/tls_context.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "service/base/folder.h"
#include "service/base/log.h"

#define PEM_MAX (256 << 10)
#define PEM_ROOM (PEM_MAX + 2) /* a byte too many, and the string's end */

/* ---- files ---- */

static void
free_pem(char *text)
{
	if (text == NULL)
		return;
	sodium_memzero(text, PEM_ROOM);
	free(text);
}

static int
refuse_file(const struct config_listener *config, const char *setting, const char *path, const char *what, char *why,
    size_t why_len)
{
	snprintf(why, why_len, "%s: %s: %s: %s", config->url, setting, path, what);
	return -1;
}

/* A whole file as a string, to be freed with free_pem(), at *${out}. Returns 0; -1 with one line at ${why}. */
static int
read_pem(
    const struct config_listener *config, const char *setting, const char *path, char **out, char *why, size_t why_len)
{
	const char *what = NULL;
	char *text, reason[256];
	struct stat st;
	size_t len;
	FILE *f;

	/* Under Landlock, opening a folder fails with EACCES: "is a directory" helps more. */
	if (stat(path, &st) == 0 && S_ISDIR(st.st_mode))
		return refuse_file(config, setting, path, strerror(EISDIR), why, why_len);
	if ((f = fopen(path, "re")) == NULL) {
		folder_explain(path, errno, reason, sizeof(reason));
		return refuse_file(config, setting, path, reason, why, why_len);
	}
	/* Unbuffered, so that stdio keeps no copy of a private key. */
	setbuf(f, NULL);
	if ((text = calloc(1, PEM_ROOM)) == NULL) {
		fclose(f);
		return refuse_file(config, setting, path, "out of memory", why, why_len);
	}
	len = fread(text, 1, PEM_MAX + 1, f);
	if (ferror(f) != 0)
		what = strerror(errno);
	else if (len == 0)
		what = "the file is empty";
	else if (len > PEM_MAX)
		what = "the file is longer than 256 KiB";
	fclose(f);
	if (what == NULL) {
		*out = text;
		return 0;
	}
	free_pem(text);
	return refuse_file(config, setting, path, what, why, why_len);
}

/* ---- what is in them ---- */

static int
no_password(char *buffer, int size, int writing, void *arg)
{
	(void)buffer;
	(void)size;
	(void)writing;
	(void)arg;
	return -1;
}

static const char *
dates(const X509 *certificate)
{
	if (X509_cmp_current_time(X509_get0_notAfter(certificate)) < 0)
		return "tls_cert has expired; clients will refuse it";
	if (X509_cmp_current_time(X509_get0_notBefore(certificate)) > 0)
		return "tls_cert is not valid yet; clients will refuse it";
	return NULL;
}

/* All certificates of ${text} are passed to ${take}. Returns how many; -1 when there is something else between them. */
static int
each_certificate(const char *text, int (*take)(SSL_CTX *context, X509 *certificate, int i), SSL_CTX *context)
{
	BIO *bio = BIO_new_mem_buf(text, -1);
	X509 *certificate;
	unsigned long end;
	int n = 0, rc = 1;

	ERR_clear_error();
	while (bio != NULL && rc == 1 && (certificate = PEM_read_bio_X509(bio, NULL, no_password, NULL)) != NULL) {
		rc = take(context, certificate, n++);
		X509_free(certificate);
	}
	end = ERR_peek_last_error();
	if (rc != 1 || ERR_GET_LIB(end) != ERR_LIB_PEM || ERR_GET_REASON(end) != PEM_R_NO_START_LINE)
		n = -1;
	ERR_clear_error();
	BIO_free(bio);
	return n;
}

static int
take_own(SSL_CTX *context, X509 *certificate, int i)
{
	/* Both take a reference. */
	return i == 0 ? SSL_CTX_use_certificate(context, certificate) :
			(int)SSL_CTX_add1_chain_cert(context, certificate);
}

static int
take_ca(SSL_CTX *context, X509 *certificate, int i)
{
	(void)i;
	return X509_STORE_add_cert(SSL_CTX_get_cert_store(context), certificate) == 1 &&
	    SSL_CTX_add_client_CA(context, certificate) == 1;
}

static EVP_PKEY *
read_key(const char *text)
{
	BIO *bio = BIO_new_mem_buf(text, -1);
	EVP_PKEY *key = bio != NULL ? PEM_read_bio_PrivateKey(bio, NULL, no_password, NULL) : NULL;

	BIO_free(bio);
	return key;
}

int
tls_context_check(const char *cert, const char *key, SSL_CTX *context, const char **wrong, const char **warning)
{
	EVP_PKEY *private;
	int rc = -1;

	*wrong = *warning = NULL;
	if (each_certificate(cert, take_own, context) < 1) {
		*wrong = "tls_cert: there is something other than PEM certificates in it";
		return -1;
	}
	if ((private = read_key(key)) == NULL)
		*wrong = "tls_key: there is no PEM private key in it that is not encrypted";
	else if (SSL_CTX_use_PrivateKey(context, private) != 1 || SSL_CTX_check_private_key(context) != 1)
		*wrong = "tls_key is not the private key of the first certificate in tls_cert";
	else
		rc = 0;
	if (rc == 0)
		*warning = dates(SSL_CTX_get0_certificate(context));
	EVP_PKEY_free(private);
	ERR_clear_error();
	return rc;
}

/* ---- a context ---- */

int
tls_context_new(const struct config_listener *config, SSL_CTX **out, char *why, size_t why_len)
{
	char *cert = NULL, *key = NULL, *ca = NULL;
	const char *wrong, *warning;
	SSL_CTX *context = NULL;
	int rc = -1;

	if (read_pem(config, "tls_cert", config->tls_cert, &cert, why, why_len) != 0 ||
	    read_pem(config, "tls_key", config->tls_key, &key, why, why_len) != 0 ||
	    read_pem(config, "tls_ca", config->tls_ca, &ca, why, why_len) != 0)
		goto out;
	if ((context = tls_context_make(TLS_server_method())) == NULL) {
		snprintf(why, why_len, "%s: TLS: out of memory", config->url);
		goto out;
	}
	SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
	if (tls_context_check(cert, key, context, &wrong, &warning) != 0) {
		snprintf(why, why_len, "%s: %s", config->url, wrong);
		goto out;
	}
	if (each_certificate(ca, take_ca, context) < 1) {
		refuse_file(config, "tls_ca", config->tls_ca, "there is something other than PEM certificates in it",
		    why, why_len);
		goto out;
	}
	if (warning != NULL)
		LOG(LOG_WARN, warning, LOG_S("url", config->url));
	*out = context;
	context = NULL;
	rc = 0;
out:
	SSL_CTX_free(context);
	free_pem(cert);
	free_pem(key);
	free_pem(ca);
	return rc;
}
