/*
 * settings.c - the settings file (see settings.h). The file's syntax is left to libconfuse; comments begin with #.
 */
#include "client/cluster/settings.h"

#include <confuse.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FILE_MAX (64U << 10)
#define IPC "ipc://"

struct loader {
	const char *path;
	char *why;
	size_t why_len;
};

/* The file that is being parsed: libconfuse's callbacks take no argument of the caller's. */
static struct loader *loading;

static int refuse(struct loader *l, int line, const char *format, ...) __attribute__((format(printf, 3, 4)));

static void __attribute__((format(printf, 3, 0))) refuse_v(struct loader *l, int line, const char *format, va_list ap)
{
	char where[16] = "";
	int n;

	if (l->why_len == 0 || l->why[0] != '\0')
		return;
	if (line > 0)
		snprintf(where, sizeof(where), "%d:", line);
	n = snprintf(l->why, l->why_len, "%s:%s ", l->path, where);
	if (n > 0 && (size_t)n < l->why_len)
		vsnprintf(l->why + n, l->why_len - (size_t)n, format, ap);
	for (char *c = l->why; *c != '\0'; c++)
		if ((unsigned char)*c < 0x20 || *c == 0x7f)
			*c = '?';
}

static int
refuse(struct loader *l, int line, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	refuse_v(l, line, format, ap);
	va_end(ap);
	return -1;
}

static void __attribute__((format(printf, 2, 0))) on_parse_error(cfg_t *cfg, const char *format, va_list ap)
{
	refuse_v(loading, cfg->line, format, ap);
}

/* ---- the text ---- */

/* libconfuse 3.3 counts a comment as two lines, so comments become blanks before it sees them. */
static void
blank_comments(char *text)
{
	char quote = '\0';

	for (char *c = text; *c != '\0'; c++) {
		if (quote != '\0') {
			if (*c == '\\' && c[1] != '\0')
				c++;
			else if (*c == quote || *c == '\n')
				quote = '\0';
		} else if (*c == '"' || *c == '\'') {
			quote = *c;
		} else if (*c == '#') {
			for (; *c != '\0' && *c != '\n'; c++)
				*c = ' ';
			if (*c == '\0')
				return;
		}
	}
}

static char *
read_text(struct loader *l)
{
	FILE *f = fopen(l->path, "re");
	char *text = malloc(FILE_MAX + 1);
	size_t len = 0;

	if (f != NULL && text != NULL)
		len = fread(text, 1, FILE_MAX, f);
	if (f == NULL || text == NULL || ferror(f) != 0) {
		refuse(l, 0, "cannot be read: %s; --config names another", strerror(errno));
	} else if (len == FILE_MAX || memchr(text, 0, len) != NULL) {
		refuse(l, 0, "is larger than 64 KiB, or holds a NUL byte; this is not a settings file");
	} else {
		text[len] = '\0';
		blank_comments(text);
		fclose(f);
		return text;
	}
	if (f != NULL)
		fclose(f);
	free(text);
	return NULL;
}

/* ---- the values ---- */

static int
copy(struct loader *l, const char *text, char **out)
{
	*out = strdup(text);
	return *out != NULL ? 0 : refuse(l, 0, "out of memory");
}

static const char *
text_of(cfg_t *cfg, const char *name)
{
	const char *text = cfg_size(cfg, name) > 0 ? cfg_getstr(cfg, name) : NULL;

	return text != NULL && text[0] != '\0' ? text : NULL;
}

static int
load_environment(struct loader *l, cfg_t *cfg, struct settings *out)
{
	const char *name = text_of(cfg, "environment");

	if (name == NULL || (strcmp(name, "live") != 0 && strcmp(name, "test") != 0))
		return refuse(l, 0, "environment must be \"live\" or \"test\"; each has a fob-cluster of its own");
	out->environment = strcmp(name, "live") == 0 ? FOB__V1__ENVIRONMENT__LIVE : FOB__V1__ENVIRONMENT__TEST;
	return 0;
}

static int
load_socket(struct loader *l, cfg_t *cfg, struct settings *out)
{
	const char *url = text_of(cfg, "fobd");

	if (url == NULL || strncmp(url, IPC, strlen(IPC)) != 0 || url[strlen(IPC)] != '/')
		return refuse(
		    l, 0, "fobd must be ipc:// and the path of a listener of role cluster, such as ipc:///run/fob/cluster.sock");
	return copy(l, url + strlen(IPC), &out->socket);
}

/* A file that is missing would show only as an error of every connection. */
static int
load_file(struct loader *l, cfg_t *cfg, const char *name, char **out)
{
	const char *path = text_of(cfg, name);

	if (path == NULL)
		return 0;
	if (access(path, R_OK) != 0)
		return refuse(l, 0, "%s = \"%.200s\": %s", name, path, strerror(errno));
	return copy(l, path, out);
}

static int
load_endpoints(struct loader *l, cfg_t *cfg, struct settings *out)
{
	unsigned n = cfg_size(cfg, "endpoints");

	if (n == 0 || n > SETTINGS_ENDPOINTS_MAX)
		return refuse(l, 0, "endpoints: give 1 to %d of etcd's members, such as https://192.0.2.1:2379",
		    SETTINGS_ENDPOINTS_MAX);
	for (unsigned i = 0; i < n; i++) {
		const char *url = cfg_getnstr(cfg, "endpoints", i);

		if (strncmp(url, "https://", 8) != 0 || strchr(url + 8, '/') != NULL || strchr(url + 8, ':') == NULL ||
		    strlen(url) > 200)
			return refuse(
			    l, 0, "endpoints: \"%.200s\" is not https://HOST:PORT; etcd must have a TLS certificate", url);
		if (copy(l, url, &out->endpoints[i]) != 0)
			return -1;
		out->n_endpoints++;
	}
	return 0;
}

static int
load_etcd(struct loader *l, cfg_t *cfg, struct settings *out)
{
	if (load_endpoints(l, cfg, out) != 0 || load_file(l, cfg, "ca", &out->ca) != 0 ||
	    load_file(l, cfg, "cert", &out->cert) != 0 || load_file(l, cfg, "key", &out->key) != 0)
		return -1;
	if (out->ca == NULL)
		return refuse(l, 0, "ca is missing: the file with the CA that has signed the certificates of etcd's members");
	if ((out->cert == NULL) != (out->key == NULL))
		return refuse(l, 0, "cert and key go together; give both or none");
	return 0;
}

/* Two environments under one prefix would take each other's log for damage. So the name is part of it. */
static int
load_prefix(struct loader *l, cfg_t *cfg, struct settings *out)
{
	const char *prefix = text_of(cfg, "prefix"),
		   *name = out->environment == FOB__V1__ENVIRONMENT__LIVE ? "live" : "test";
	size_t len = prefix != NULL ? strlen(prefix) : 0;

	if (len < 2 || len > 100 || prefix[0] != '/' || prefix[len - 1] != '/')
		return refuse(l, 0, "prefix must begin and end with /, and have at most 100 characters");
	if ((out->prefix = malloc(len + strlen(name) + 2)) == NULL)
		return refuse(l, 0, "out of memory");
	sprintf(out->prefix, "%s%s/", prefix, name);
	return 0;
}

static int
load_word(struct loader *l, cfg_t *cfg, const char *name, const char *const *words, int n)
{
	const char *word = text_of(cfg, name);

	for (int i = 0; i < n && word != NULL; i++)
		if (strcmp(word, words[i]) == 0)
			return i;
	return refuse(l, 0, "%s = \"%.40s\" is unknown", name, word != NULL ? word : "");
}

static int
load_log(struct loader *l, cfg_t *cfg, struct settings *out)
{
	static const char *const levels[] = { "error", "warn", "info", "debug" };
	static const char *const formats[] = { "logfmt", "json" };
	int level = load_word(l, cfg, "log_level", levels, 4), format = load_word(l, cfg, "log_format", formats, 2);

	if (level < 0 || format < 0)
		return -1;
	out->log_level = (enum log_level)level;
	out->log_json = format == 1;
	return 0;
}

/* ---- all of it ---- */

static int
load(struct loader *l, char *text, struct settings *out)
{
	char none[] = "{}";
	cfg_opt_t all[] = { CFG_STR("environment", NULL, CFGF_NODEFAULT),
		CFG_STR("fobd", "ipc:///run/fob/cluster.sock", CFGF_NONE), CFG_STR_LIST("endpoints", none, CFGF_NONE),
		CFG_STR("ca", NULL, CFGF_NODEFAULT), CFG_STR("cert", NULL, CFGF_NODEFAULT),
		CFG_STR("key", NULL, CFGF_NODEFAULT), CFG_STR("prefix", "/fob/", CFGF_NONE),
		CFG_STR("log_level", "info", CFGF_NONE), CFG_STR("log_format", "logfmt", CFGF_NONE), CFG_END() };
	cfg_t *cfg = cfg_init(all, CFGF_NONE);
	int rc = -1;

	if (cfg == NULL)
		return refuse(l, 0, "out of memory");
	cfg_set_error_function(cfg, on_parse_error);
	loading = l;
	if (cfg_parse_buf(cfg, text) == CFG_SUCCESS)
		rc = 0;
	loading = NULL;
	if (rc != 0)
		refuse(l, 0, "cannot be parsed");
	else if (load_environment(l, cfg, out) != 0 || load_socket(l, cfg, out) != 0 || load_etcd(l, cfg, out) != 0 ||
	    load_prefix(l, cfg, out) != 0 || load_log(l, cfg, out) != 0)
		rc = -1;
	cfg_free(cfg);
	return rc;
}

int
settings_load(const char *path, struct settings *out, char *why, size_t why_len)
{
	struct loader l = { .path = path, .why = why, .why_len = why_len };
	char *text;
	int rc;

	memset(out, 0, sizeof(*out));
	why[0] = '\0';
	if ((text = read_text(&l)) == NULL)
		return -1;
	rc = load(&l, text, out);
	free(text);
	return rc;
}

void
settings_fini(struct settings *s)
{
	free(s->socket);
	for (size_t i = 0; i < s->n_endpoints; i++)
		free(s->endpoints[i]);
	free(s->ca);
	free(s->cert);
	free(s->key);
	free(s->prefix);
	memset(s, 0, sizeof(*s));
}
