/*
 * settings.c - the settings file, checked value by value (see settings.h).
 */
#include "client/http/settings.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/http/listen.h"
#include "client/http/settings_internal.h"

#define CONNECTIONS_MAX 1048576
#define HEADER_NAME_MAX 64

/* ---- who we are, where we listen ---- */

static int
load_role(struct loader *l, cfg_t *cfg, struct settings *out)
{
	const char *role = cfg_size(cfg, "role") > 0 ? cfg_getstr(cfg, "role") : NULL;

	if (role == NULL)
		return loader_refuse(l, 0, "has no role; add role = \"auth\" or role = \"operator\"");
	if (strcmp(role, "auth") != 0 && strcmp(role, "operator") != 0)
		return loader_refuse(l, loader_line(l, "role"),
		    "role = \"%s\" is unknown; give \"auth\" or \"operator\", and one role to each file", role);
	out->role = strcmp(role, "operator") == 0 ? ROLE_OPERATOR : ROLE_AUTH;
	return 0;
}

static int
load_fob(struct loader *l, cfg_t *cfg, struct settings *out)
{
	struct fob_options *options = fob_options_new();
	int line = loader_line(l, "fob");
	unsigned n = cfg_size(cfg, "fob");
	int rc = 0;

	if (n == 0)
		rc = loader_refuse(l, line, "fob names no fobd; add fob = {\"ipc:///run/fob/verify.sock\"}");
	if (n > FOB_ADDRESSES_MAX)
		rc = loader_refuse(l, line, "fob has more than %d addresses; remove some", FOB_ADDRESSES_MAX);
	for (unsigned i = 0; i < n && rc == 0; i++) {
		const char *address = cfg_getnstr(cfg, "fob", i);

		if (strncmp(address, "tls+", 4) == 0 || fob_options_add_address(options, address) != 0)
			rc = loader_refuse(
			    l, line, "fob: \"%.80s\" is no address; give ipc://PATH or tcp://HOST:PORT", address);
		else if ((rc = loader_copy(l, address, &out->fob[i])) == 0)
			out->n_fob = i + 1;
	}
	fob_options_free(options);
	return rc;
}

static int
load_listen(struct loader *l, cfg_t *cfg, struct settings *out)
{
	int line = loader_line(l, "listen");
	unsigned n = cfg_size(cfg, "listen");

	if (n == 0)
		return loader_refuse(l, line, "there is no listen; add listen = {\"127.0.0.1:8480\"}");
	if (n > SETTINGS_LISTEN_MAX)
		return loader_refuse(l, line, "listen has more than %d addresses; remove some", SETTINGS_LISTEN_MAX);
	for (unsigned i = 0; i < n; i++) {
		const char *address = cfg_getnstr(cfg, "listen", i);

		if (!listen_address_ok(address))
			return loader_refuse(l, line,
			    "listen: \"%.120s\" is no address; give \"unix:PATH\", \"127.0.0.1:8480\" or "
			    "\"[::1]:8480\"",
			    address);
		for (unsigned j = 0; j < i; j++)
			if (strcmp(out->listen[j], address) == 0)
				return loader_refuse(l, line, "listen has %.120s twice; remove one", address);
		if (loader_copy(l, address, &out->listen[i]) != 0)
			return -1;
		out->n_listen = i + 1;
	}
	return 0;
}

static int
load_metrics(struct loader *l, cfg_t *cfg, struct settings *out)
{
	const char *address = cfg_size(cfg, "metrics") > 0 ? cfg_getstr(cfg, "metrics") : NULL;

	if (address == NULL)
		return 0;
	if (!listen_address_ok(address))
		return loader_refuse(l, loader_line(l, "metrics"),
		    "metrics = \"%.120s\" is no address; give one such as \"127.0.0.1:9480\"", address);
	for (size_t i = 0; i < out->n_listen; i++)
		if (strcmp(out->listen[i], address) == 0)
			return loader_refuse(l, loader_line(l, "metrics"), "metrics and listen share an address");
	return loader_copy(l, address, &out->metrics);
}

static int
load_number(struct loader *l, cfg_t *cfg, const char *name, long min, long max, long *out)
{
	*out = cfg_getint(cfg, name);
	if (*out >= min && *out <= max)
		return 0;
	return loader_refuse(
	    l, loader_line(l, name), "%s = %ld is out of range; give %ld to %ld", name, *out, min, max);
}

static int
load_numbers(struct loader *l, cfg_t *cfg, struct settings *out)
{
	long mode = cfg_getint(cfg, "socket_mode"), connections, timeout;

	if (mode < 0 || mode > 0777 || (mode & 0600) != 0600)
		return loader_refuse(l, loader_line(l, "socket_mode"),
		    "socket_mode = %ld is not a mode for a socket; give an octal number such as 0660", mode);
	if (load_number(l, cfg, "connections", 1, CONNECTIONS_MAX, &connections) != 0 ||
	    load_number(l, cfg, "timeout", 1, FOB_TIMEOUT_MAX_MS, &timeout) != 0)
		return -1;
	out->socket_mode = (mode_t)mode;
	out->connections = (unsigned)connections;
	out->timeout_ms = (uint32_t)timeout;
	return 0;
}

/* ---- what a request means ---- */

static int
load_trusted(struct loader *l, cfg_t *cfg, struct settings *out)
{
	int line = loader_line(l, "trusted");
	unsigned n = cfg_size(cfg, "trusted");

	if (n > SETTINGS_TRUSTED_MAX)
		return loader_refuse(l, line, "trusted has more than %d blocks; remove some", SETTINGS_TRUSTED_MAX);
	for (unsigned i = 0; i < n; i++)
		if (peer_block_parse(cfg_getnstr(cfg, "trusted", i), &out->trusted[i]) != 0)
			return loader_refuse(l, line,
			    "trusted: \"%.80s\" is no address and no block; give one such as \"127.0.0.1\" or "
			    "\"10.0.0.0/8\", with zeros behind the block's length",
			    cfg_getnstr(cfg, "trusted", i));
	out->n_trusted = n;
	return 0;
}

int
loader_header_name(struct loader *l, cfg_t *cfg, const char *name, char **out)
{
	static const char *const taken[] = { "authorization", "host", "content-length", "transfer-encoding", "cookie" };
	const char *text = cfg_getstr(cfg, name);
	size_t n = strlen(text);

	if (n == 0 || n > HEADER_NAME_MAX ||
	    strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-") != n)
		return loader_refuse(l, loader_line(l, name),
		    "%s = \"%.80s\" is not a header's name; give letters, digits and -", name, text);
	for (size_t i = 0; i < sizeof(taken) / sizeof(taken[0]); i++)
		if (strcasecmp(text, taken[i]) == 0)
			return loader_refuse(
			    l, loader_line(l, name), "%s = \"%s\" has a meaning of its own", name, text);
	return loader_copy(l, text, out);
}

static int
load_original(struct loader *l, cfg_t *cfg, struct settings *out)
{
	const char *original = cfg_getstr(cfg, "original");

	if (strcmp(original, "headers") != 0 && strcmp(original, "request") != 0)
		return loader_refuse(l, loader_line(l, "original"),
		    "original = \"%s\" is unknown; give \"headers\" or \"request\"", original);
	out->original = strcmp(original, "request") == 0 ? ORIGINAL_REQUEST : ORIGINAL_HEADERS;
	if (loader_header_name(l, cfg, "original_method", &out->original_method) != 0 ||
	    loader_header_name(l, cfg, "original_uri", &out->original_uri) != 0)
		return -1;
	if (strcasecmp(out->original_method, out->original_uri) == 0)
		return loader_refuse(
		    l, loader_line(l, "original_uri"), "original_method and original_uri are the same");
	return 0;
}

static int
load_routes(struct loader *l, cfg_t *cfg, struct settings *out)
{
	const char *why;

	for (unsigned i = 0; i < cfg_size(cfg, "routes"); i++)
		if (route_add(&out->routes, cfg_getnstr(cfg, "routes", i), &why) != 0)
			return loader_refuse(
			    l, loader_line(l, "routes"), "routes: \"%.120s\": %s", cfg_getnstr(cfg, "routes", i), why);
	return 0;
}

static int
load_realm(struct loader *l, cfg_t *cfg, struct settings *out)
{
	const char *realm = cfg_getstr(cfg, "realm");

	/* It stands in quotes in a header. */
	for (const char *c = realm; *c != '\0'; c++)
		if (*c < 0x20 || *c >= 0x7f || *c == '"' || *c == '\\' || strlen(realm) > 128)
			return loader_refuse(l, loader_line(l, "realm"),
			    "realm is not taken; give up to 128 printable ASCII characters but \" and \\");
	return loader_copy(l, realm, &out->realm);
}

/* ---- all of it ---- */

static int
load(struct loader *l, cfg_t *cfg, struct settings *out)
{
	out->bearer = cfg_getbool(cfg, "bearer") == cfg_true;
	out->error_body = cfg_getbool(cfg, "error_body") == cfg_true;
	if (load_role(l, cfg, out) != 0 || load_fob(l, cfg, out) != 0 || load_listen(l, cfg, out) != 0 ||
	    load_metrics(l, cfg, out) != 0 || load_numbers(l, cfg, out) != 0 || load_trusted(l, cfg, out) != 0 ||
	    load_original(l, cfg, out) != 0 || load_routes(l, cfg, out) != 0 || load_realm(l, cfg, out) != 0 ||
	    settings_load_operator(l, cfg, out) != 0)
		return -1;
	return loader_log(l, cfg, &out->log_level, &out->log_json);
}

static cfg_t *
parse(struct loader *l)
{
	char none[] = "{}";
	cfg_opt_t all[] = { CFG_STR("role", NULL, CFGF_NODEFAULT), CFG_STR_LIST("fob", none, CFGF_NONE),
		CFG_STR_LIST("listen", none, CFGF_NONE), CFG_INT("socket_mode", 0660, CFGF_NONE),
		CFG_STR_LIST("trusted", none, CFGF_NONE), CFG_STR("original", "headers", CFGF_NONE),
		CFG_STR("original_method", "X-Original-Method", CFGF_NONE),
		CFG_STR("original_uri", "X-Original-URI", CFGF_NONE), CFG_STR_LIST("routes", none, CFGF_NONE),
		CFG_STR("realm", "API keys", CFGF_NONE), CFG_BOOL("bearer", cfg_false, CFGF_NONE),
		CFG_BOOL("error_body", cfg_true, CFGF_NONE), CFG_STR("metrics", NULL, CFGF_NODEFAULT),
		CFG_STR("token_file", NULL, CFGF_NODEFAULT), CFG_STR("user_header", NULL, CFGF_NODEFAULT),
		CFG_STR("origin", NULL, CFGF_NODEFAULT), CFG_INT("session_idle", 900, CFGF_NONE),
		CFG_BOOL("insecure", cfg_false, CFGF_NONE),
		CFG_INT("connections", 16384, CFGF_NONE), CFG_INT("timeout", 1000, CFGF_NONE),
		CFG_STR("log_level", "info", CFGF_NONE), CFG_STR("log_format", "logfmt", CFGF_NONE), CFG_END() };

	return loader_parse(l, all);
}

int
settings_load(const char *path, struct settings **out, char *why, size_t why_len)
{
	struct loader l = { .path = path, .program = "fob-http", .why = why, .why_len = why_len };
	struct settings *settings = calloc(1, sizeof(*settings));
	cfg_t *cfg = NULL;
	int rc = -1;

	why[0] = '\0';
	*out = NULL;
	if (settings == NULL)
		return loader_refuse(&l, 0, "out of memory");
	atomic_init(&settings->references, 1);
	if ((cfg = parse(&l)) != NULL)
		rc = load(&l, cfg, settings);
	if (cfg != NULL)
		cfg_free(cfg);
	free(l.text);
	if (rc != 0)
		settings_unref(settings);
	else
		*out = settings;
	return rc;
}

struct settings *
settings_ref(struct settings *settings)
{
	atomic_fetch_add(&settings->references, 1);
	return settings;
}

void
settings_unref(struct settings *settings)
{
	if (settings == NULL || atomic_fetch_sub(&settings->references, 1) > 1)
		return;
	for (size_t i = 0; i < settings->n_fob; i++)
		free(settings->fob[i]);
	for (size_t i = 0; i < settings->n_listen; i++)
		free(settings->listen[i]);
	free(settings->metrics);
	free(settings->original_method);
	free(settings->original_uri);
	free(settings->realm);
	free(settings->token_file);
	free(settings->user_header);
	free(settings->origin);
	route_table_fini(&settings->routes);
	free(settings);
}
