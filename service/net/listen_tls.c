/*
 * listen_tls.c - a listener's TLS: its files are read, checked and given to nng, at start and again at a reload (see
 * listen.h, listen_internal.h). Called by listen.c, listen_guard.c and reload.c; calls certificate.c and probe.c.
 * Keeps no private key: what was read is wiped once nng has it.
 */
#include "service/net/listen_internal.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "service/net/certificate.h"
#include "service/base/log.h"
#include "service/net/probe.h"

bool
listen_is_tls(const struct config_listener *config)
{
	return strncmp(config->url, "tls+", 4) == 0;
}

#define PEM_MAX (256 << 10)
#define PEM_ROOM (PEM_MAX + 2) /* a byte too much, and the string's end */

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
	struct stat st;
	char *text;
	size_t len;
	FILE *f;

	/* Landlock would say that it may not be read. */
	if (stat(path, &st) == 0 && S_ISDIR(st.st_mode))
		return refuse_file(config, setting, path, strerror(EISDIR), why, why_len);
	if ((f = fopen(path, "re")) == NULL)
		return refuse_file(config, setting, path, strerror(errno), why, why_len);
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

struct pems {
	char *cert, *key, *ca;
};

static int
read_pems(const struct config_listener *config, struct pems *pems, char *why, size_t why_len)
{
	return read_pem(config, "tls_cert", config->tls_cert, &pems->cert, why, why_len) != 0 ||
		read_pem(config, "tls_key", config->tls_key, &pems->key, why, why_len) != 0 ||
		read_pem(config, "tls_ca", config->tls_ca, &pems->ca, why, why_len) != 0 ?
	    -1 :
	    0;
}

/* Returns 0; -1 with one line at ${why}. */
static int
give_pems(nng_tls_config *tls, const struct config_listener *config, const struct pems *pems, char *why, size_t why_len)
{
	const char *wrong, *warning = NULL;
	int rc;

	if ((wrong = certificate_check(pems->cert, pems->key, &warning)) != NULL) {
		snprintf(why, why_len, "%s: %s", config->url, wrong);
		return -1;
	}
	if (warning != NULL)
		LOG(LOG_WARN, warning, LOG_S("url", config->url));
	if ((rc = nng_tls_config_ca_chain(tls, pems->ca, NULL)) != 0)
		return refuse_file(config, "tls_ca", config->tls_ca, nng_strerror(rc), why, why_len);
	if ((rc = nng_tls_config_own_cert(tls, pems->cert, pems->key, NULL)) == 0 &&
	    (rc = nng_tls_config_auth_mode(tls, NNG_TLS_AUTH_MODE_REQUIRED)) == 0)
		return 0;
	snprintf(why, why_len, "%s: tls_cert and tls_key: %s", config->url, nng_strerror(rc));
	return -1;
}

/* nng's own does not take NULL. */
void
listen_tls_free(nng_tls_config *tls)
{
	if (tls != NULL)
		nng_tls_config_free(tls);
}

/* Returns what the files of ${config} hold, to be freed with listen_tls_free(); NULL with one line at ${why}. */
static nng_tls_config *
load_tls(const struct config_listener *config, char *why, size_t why_len)
{
	struct pems pems = { 0 };
	nng_tls_config *tls = NULL;
	int rc;

	if ((rc = nng_tls_config_alloc(&tls, NNG_TLS_MODE_SERVER)) != 0) {
		snprintf(why, why_len, "%s: TLS: %s", config->url, nng_strerror(rc));
		return NULL;
	}
	if (read_pems(config, &pems, why, why_len) != 0 || give_pems(tls, config, &pems, why, why_len) != 0) {
		listen_tls_free(tls);
		tls = NULL;
	}
	free_pem(pems.cert);
	free_pem(pems.key);
	free_pem(pems.ca);
	return tls;
}

/* What it has already, when it is opened again: files that are being replaced just then must not keep it closed. */
int
listen_tls_set(struct listener *l, char *why, size_t why_len)
{
	int rc;

	if (l->tls == NULL && (l->tls = load_tls(l->config, why, why_len)) == NULL)
		return -1;
	if ((rc = nng_listener_set_ptr(l->listener, NNG_OPT_TLS_CONFIG, l->tls)) == 0)
		return 0;
	snprintf(why, why_len, "%s: TLS: %s", l->config->url, nng_strerror(rc));
	return -1;
}

/* ---- a reload ---- */

static const struct config_listener *
find_in(const struct config *config, const struct listener *l)
{
	for (size_t i = 0; i < config->n_listeners; i++)
		if (strcmp(config->listeners[i].url, l->config->url) == 0)
			return &config->listeners[i];
	return NULL;
}

/*
 * A listener of nng takes another TLS configuration while it runs, and closing it would close its connections. But
 * nng's accept reads which one it is before it takes a reference (1.5.2 to 1.11, tls_common.c): the old one must
 * outlast that. There is one accept at a time, and it is for the next connection: so once a connection that was made
 * after the swap has been answered, that accept is over, and the ones after it are with the new configuration.
 */
bool
listen_tls_settle(struct listener *l)
{
	if (l->old_tls != NULL && !probe_listener(l->config->url, PROBE_MS))
		return false;
	listen_tls_free(l->old_tls);
	l->old_tls = NULL;
	return true;
}

static void
swap_tls(struct listener *l, nng_tls_config *tls)
{
	int rc;

	if ((rc = nng_listener_set_ptr(l->listener, NNG_OPT_TLS_CONFIG, tls)) != 0) {
		/* A listener that could not be opened again: it will be, with these. */
		LOG(LOG_WARN, "a listener that is not open takes its TLS files when it is",
		    LOG_S("url", l->config->url), LOG_S("reason", nng_strerror(rc)));
		listen_tls_free(l->tls);
		l->tls = tls;
		return;
	}
	l->old_tls = l->tls;
	l->tls = tls;
	(void)listen_tls_settle(l);
	LOG(LOG_INFO, "new connections get the TLS files as they are now", LOG_S("url", l->config->url));
}

int
listen_reload(struct transport *t, const struct config *config, char *why, size_t why_len)
{
	nng_tls_config *fresh[LIMIT_LISTENERS] = { NULL };
	const struct config_listener *now;
	int rc = -1;

	for (size_t i = 0; i < t->n_listeners; i++) {
		struct listener *l = &t->listeners[i];

		if (!listen_is_tls(l->config) || (now = find_in(config, l)) == NULL)
			continue;
		if (!listen_tls_settle(l)) {
			snprintf(why, why_len,
			    "%s: does not answer, and has yet to take the TLS files of the last reload",
			    l->config->url);
			goto out;
		}
		if ((fresh[i] = load_tls(now, why, why_len)) == NULL)
			goto out;
	}
	for (size_t i = 0; i < t->n_listeners; i++) {
		if (fresh[i] != NULL)
			swap_tls(&t->listeners[i], fresh[i]);
		fresh[i] = NULL;
		if ((now = find_in(config, &t->listeners[i])) != NULL)
			listen_allow(&t->listeners[i], now);
	}
	rc = 0;
out:
	for (size_t i = 0; i < t->n_listeners; i++)
		listen_tls_free(fresh[i]);
	return rc;
}

bool
listen_uses(const struct transport *t, const struct config *config)
{
	for (size_t i = 0; i < t->n_listeners; i++)
		for (size_t j = 0; j < config->n_listeners; j++)
			if (t->listeners[i].current == &config->listeners[j])
				return true;
	return false;
}
