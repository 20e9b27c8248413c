/*
 * settings.c - the settings file, checked value by value (see settings.h).
 */
#include "client/cluster/settings.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#include "client/cluster/messages.h"
#include "client/daemon/loader.h"

#define SCHEME "https://"
#define IPC "ipc://"
#define ENDPOINT_MAX 300

static int
load_environment(struct loader *l, cfg_t *cfg, struct settings *out)
{
	const char *name = cfg_size(cfg, "environment") > 0 ? cfg_getstr(cfg, "environment") : "";

	out->environment = strcmp(name, "live") == 0 ? FOB__V1__ENVIRONMENT__LIVE :
	    strcmp(name, "test") == 0 ? FOB__V1__ENVIRONMENT__TEST : FOB__V1__ENVIRONMENT__ENVIRONMENT_UNSPECIFIED;
	if (out->environment != FOB__V1__ENVIRONMENT__ENVIRONMENT_UNSPECIFIED)
		return 0;
	return loader_refuse(l, loader_line(l, "environment"),
	    "environment = \"%.80s\" is unknown; give \"live\" or \"test\", and one environment to each file", name);
}

static int
load_socket(struct loader *l, cfg_t *cfg, struct settings *out)
{
	const char *address = cfg_getstr(cfg, "socket");

	if (strncmp(address, IPC, strlen(IPC)) != 0 || address[strlen(IPC)] != '/' ||
	    strlen(address + strlen(IPC)) >= sizeof(((struct sockaddr_un *)0)->sun_path))
		return loader_refuse(l, loader_line(l, "socket"),
		    "socket = \"%.120s\" is no address; give ipc:///PATH, of at most 107 bytes", address);
	return loader_copy(l, address + strlen(IPC), &out->socket);
}

/* A host and a port, and nothing that would be more of a URL. */
static bool
is_endpoint(const char *text)
{
	const char *host = text + strlen(SCHEME), *port;

	if (strncmp(text, SCHEME, strlen(SCHEME)) != 0 || strlen(text) > ENDPOINT_MAX ||
	    (port = strrchr(host, ':')) == NULL || port == host || port[1] == '\0')
		return false;
	return strspn(port + 1, "0123456789") == strlen(port + 1) && strlen(port + 1) <= 5 &&
	    strspn(host, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._:[]") == strlen(host);
}

static int
load_endpoints(struct loader *l, cfg_t *cfg, struct settings *out)
{
	int line = loader_line(l, "endpoints");
	unsigned n = cfg_size(cfg, "endpoints");

	if (n == 0)
		return loader_refuse(l, line, "endpoints names no etcd; add endpoints = {\"https://etcd1:2379\"}");
	if (n > SETTINGS_ENDPOINTS_MAX)
		return loader_refuse(l, line, "endpoints has more than %d; remove some", SETTINGS_ENDPOINTS_MAX);
	for (unsigned i = 0; i < n; i++) {
		if (!is_endpoint(cfg_getnstr(cfg, "endpoints", i)))
			return loader_refuse(l, line,
			    "endpoints: \"%.120s\" is no endpoint; give https://HOST:PORT. There is no way without TLS",
			    cfg_getnstr(cfg, "endpoints", i));
		if (loader_copy(l, cfg_getnstr(cfg, "endpoints", i), &out->endpoints[i]) != 0)
			return -1;
		out->n_endpoints = i + 1;
	}
	return 0;
}

static int
load_file(struct loader *l, cfg_t *cfg, const char *name, char **out)
{
	const char *path = cfg_size(cfg, name) > 0 ? cfg_getstr(cfg, name) : "";

	if (path[0] == '\0')
		return 0;
	if (access(path, R_OK) != 0)
		return loader_refuse(l, loader_line(l, name),
		    "%s = \"%.200s\" cannot be read: %s; give a PEM file", name, path, strerror(errno));
	return loader_copy(l, path, out);
}

static int
load_files(struct loader *l, cfg_t *cfg, struct settings *out)
{
	if (load_file(l, cfg, "ca", &out->ca) != 0 || load_file(l, cfg, "cert", &out->cert) != 0 ||
	    load_file(l, cfg, "key", &out->key) != 0)
		return -1;
	if (out->ca == NULL)
		return loader_refuse(l, 0, "has no ca; add the CA that signs the certificates of etcd's members");
	if ((out->cert == NULL) != (out->key == NULL))
		return loader_refuse(l, loader_line(l, out->cert == NULL ? "key" : "cert"),
		    "cert and key belong together; give both or none");
	return 0;
}

static int
copy_absent(struct loader *l, const char *from, char **out)
{
	return *out == NULL && from != NULL ? loader_copy(l, from, out) : 0;
}

/* What is not given is etcd's. */
static int
load_peer_files(struct loader *l, cfg_t *cfg, struct settings *out)
{
	if (load_file(l, cfg, "peer_ca", &out->peer_ca) != 0 || load_file(l, cfg, "peer_cert", &out->peer_cert) != 0 ||
	    load_file(l, cfg, "peer_key", &out->peer_key) != 0)
		return -1;
	if ((out->peer_cert == NULL) != (out->peer_key == NULL))
		return loader_refuse(l, loader_line(l, out->peer_cert == NULL ? "peer_key" : "peer_cert"),
		    "peer_cert and peer_key belong together; give both or none");
	if (copy_absent(l, out->ca, &out->peer_ca) != 0 || copy_absent(l, out->cert, &out->peer_cert) != 0)
		return -1;
	return copy_absent(l, out->key, &out->peer_key);
}

static int
load_prefix(struct loader *l, cfg_t *cfg, struct settings *out)
{
	const char *prefix = cfg_getstr(cfg, "prefix");
	const char *name = out->environment == FOB__V1__ENVIRONMENT__LIVE ? "live" : "test";
	size_t n = strlen(prefix);

	for (const char *c = prefix; *c != '\0'; c++)
		if (*c <= ' ' || *c > '~')
			n = 0;
	if (n == 0 || n + strlen(name) + 1 > MESSAGES_PREFIX_MAX || prefix[n - 1] != '/')
		return loader_refuse(l, loader_line(l, "prefix"),
		    "prefix is not taken; give up to %zu printable ASCII characters that end with /",
		    MESSAGES_PREFIX_MAX - strlen("live/"));
	if (asprintf(&out->prefix, "%s%s/", prefix, name) >= 0)
		return 0;
	out->prefix = NULL;
	return loader_refuse(l, 0, "out of memory");
}

static int
load(struct loader *l, cfg_t *cfg, struct settings *out)
{
	if (load_environment(l, cfg, out) != 0 || load_socket(l, cfg, out) != 0 || load_endpoints(l, cfg, out) != 0 ||
	    load_files(l, cfg, out) != 0 || load_peer_files(l, cfg, out) != 0 || load_prefix(l, cfg, out) != 0)
		return -1;
	return loader_log(l, cfg, &out->log_level, &out->log_json);
}

static cfg_t *
parse(struct loader *l)
{
	char none[] = "{}";
	cfg_opt_t all[] = { CFG_STR("environment", NULL, CFGF_NODEFAULT),
		CFG_STR("socket", "ipc:///run/fob/cluster.sock", CFGF_NONE), CFG_STR_LIST("endpoints", none, CFGF_NONE),
		CFG_STR("ca", NULL, CFGF_NODEFAULT), CFG_STR("cert", NULL, CFGF_NODEFAULT),
		CFG_STR("key", NULL, CFGF_NODEFAULT), CFG_STR("peer_ca", NULL, CFGF_NODEFAULT),
		CFG_STR("peer_cert", NULL, CFGF_NODEFAULT), CFG_STR("peer_key", NULL, CFGF_NODEFAULT),
		CFG_STR("prefix", "/fob/", CFGF_NONE), CFG_STR("log_level", "info", CFGF_NONE),
		CFG_STR("log_format", "logfmt", CFGF_NONE), CFG_END() };

	return loader_parse(l, all);
}

int
settings_load(const char *path, struct settings **out, char *why, size_t why_len)
{
	struct loader l = { .path = path, .program = "fob-cluster", .why = why, .why_len = why_len };
	struct settings *settings = calloc(1, sizeof(*settings));
	cfg_t *cfg;
	int rc = -1;

	why[0] = '\0';
	*out = NULL;
	if (settings == NULL)
		return loader_refuse(&l, 0, "out of memory");
	if ((cfg = parse(&l)) != NULL) {
		rc = load(&l, cfg, settings);
		cfg_free(cfg);
	}
	free(l.text);
	if (rc != 0)
		settings_free(settings);
	else
		*out = settings;
	return rc;
}

void
settings_free(struct settings *settings)
{
	if (settings == NULL)
		return;
	for (size_t i = 0; i < settings->n_endpoints; i++)
		free(settings->endpoints[i]);
	free(settings->socket);
	free(settings->ca);
	free(settings->cert);
	free(settings->key);
	free(settings->peer_ca);
	free(settings->peer_cert);
	free(settings->peer_key);
	free(settings->prefix);
	free(settings);
}
