/*
 * config.c - the settings file, read and checked value by value, in the order of struct config (see config.h).
 */
#include "service/base/config.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "service/base/config_internal.h"
#include "service/base/log.h"
#include "service/base/names.h"

#define CONNECTIONS_MAX 65536
#define IN_FLIGHT_MAX 4096
#define EVENTS_KEPT_MIN 1000
#define EVENTS_KEPT_MAX 1000000000
#define CEILING_MIN (4ULL << 20)
#define CEILING_MAX (1ULL << 40)

/* The error may quote a value that holds control characters. It must be one line and safe on a terminal. */
static void
make_printable(char *why)
{
	for (char *c = why; *c != '\0'; c++)
		if ((unsigned char)*c < 0x20 || *c == 0x7f)
			*c = '?';
}

/* ---- environment ---- */

/* "16GiB", "500 MiB", "4194304". Returns -1 for anything else, and for what overflows. */
static int
parse_size(const char *text, uint64_t *out)
{
	static const struct {
		const char *name;
		unsigned shift;
	} units[] = { { "", 0 }, { "B", 0 }, { "KiB", 10 }, { "MiB", 20 }, { "GiB", 30 }, { "TiB", 40 } };
	uint64_t value = 0;
	const char *c = text;

	for (; *c >= '0' && *c <= '9'; c++) {
		if (value > CEILING_MAX)
			return -1;
		value = value * 10 + (uint64_t)(*c - '0');
	}
	if (c == text)
		return -1;
	c += strspn(c, " ");
	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++)
		if (strcmp(c, units[i].name) == 0) {
			if (value > UINT64_MAX >> units[i].shift)
				return -1;
			*out = value << units[i].shift;
			return 0;
		}
	return -1;
}

static int
load_environment(struct config_loader *l, cfg_t *section, struct config_environment *out)
{
	const char *ceiling = cfg_getstr(section, "ceiling");
	int line = config_line(l, section, "ceiling");

	if (config_load_file(l, section, "path", "environment", &out->path) != 0 ||
	    config_load_file(l, section, "pepper", "environment", &out->pepper) != 0)
		return -1;
	if (parse_size(ceiling, &out->ceiling_bytes) != 0)
		return config_refuse(l, line,
		    "ceiling = \"%s\" is not a size; give one such as \"16GiB\", \"500MiB\" or bytes", ceiling);
	if (out->ceiling_bytes < CEILING_MIN || out->ceiling_bytes > CEILING_MAX)
		return config_refuse(l, line, "ceiling = \"%s\" is out of range; give 4MiB to 1TiB", ceiling);
	if (config_check_number(l, section, "events_kept", EVENTS_KEPT_MIN, EVENTS_KEPT_MAX) != 0)
		return -1;
	out->events_kept = (uint64_t)cfg_getint(section, "events_kept");
	out->configured = true;
	return 0;
}

/* Skip what does not change where a path leads: repeated slashes, "." and a slash at the end. */
static const char *
path_next(const char *p)
{
	for (;;) {
		while (*p == '/')
			p++;
		if (p[0] != '.' || (p[1] != '/' && p[1] != '\0'))
			return p;
		p++;
	}
}

/*
 * Is ${b} the same path as ${a}, or with ${below} a path below it? Compared by name; files that exist are
 * compared by inode, too.
 */
static bool
path_covers(const char *a, const char *b, bool below)
{
	struct stat sa, sb;

	if (stat(a, &sa) == 0 && stat(b, &sb) == 0 && sa.st_dev == sb.st_dev && sa.st_ino == sb.st_ino)
		return true;
	if ((a[0] == '/') != (b[0] == '/'))
		return false;
	for (;;) {
		size_t na, nb;

		a = path_next(a);
		b = path_next(b);
		na = strcspn(a, "/");
		nb = strcspn(b, "/");
		if (na == 0)
			return below || nb == 0;
		if (na != nb || memcmp(a, b, na) != 0)
			return false;
		a += na;
		b += nb;
	}
}

static int
check_apart(struct config_loader *l, cfg_t *sections[ENVIRONMENTS], const struct config_environment e[ENVIRONMENTS])
{
	const struct config_environment *live = &e[ENVIRONMENT_LIVE], *test = &e[ENVIRONMENT_TEST];

	for (size_t i = 0; i < ENVIRONMENTS; i++)
		if (e[i].configured && path_covers(e[i].path, e[i].pepper, true))
			return config_refuse(l, config_line(l, sections[i], "pepper"),
			    "the pepper is in its database's folder, where a copy of the database would include it; "
			    "keep it elsewhere");
	if (!live->configured || !test->configured)
		return 0;
	if (path_covers(live->path, test->path, true) || path_covers(test->path, live->path, true))
		return config_refuse(l, config_line(l, sections[ENVIRONMENT_TEST], "path"),
		    "live and test share a folder, or one is below the other; give each a folder of its own");
	if (path_covers(live->pepper, test->pepper, false))
		return config_refuse(l, config_line(l, sections[ENVIRONMENT_TEST], "pepper"),
		    "live and test share a pepper; give each a file of its own");
	return 0;
}

static int
load_environments(struct config_loader *l, cfg_t *cfg, struct config *out)
{
	cfg_t *sections[ENVIRONMENTS] = { NULL };
	unsigned n = cfg_size(cfg, "environment");

	if (n == 0)
		return config_refuse(l, 0, "has no environment; add environment \"live\" { path = ... pepper = ... }");
	for (unsigned i = 0; i < n; i++) {
		cfg_t *section = cfg_getnsec(cfg, "environment", i);
		const char *name = cfg_title(section);
		enum environment e = strcmp(name, "live") == 0 ? ENVIRONMENT_LIVE : ENVIRONMENT_TEST;

		if (strcmp(name, environment_name(e)) != 0)
			return config_refuse(l, config_section_line(l, section),
			    "environment \"%s\" is unknown; give \"live\" or \"test\"", name);
		sections[e] = section;
		if (load_environment(l, section, &out->environments[e]) != 0)
			return -1;
	}
	return check_apart(l, sections, out->environments);
}

/* ---- the rest ---- */

static int
load_operations(struct config_loader *l, cfg_t *cfg, const char *name, char **out, size_t *n_out)
{
	unsigned n = cfg_size(cfg, name);
	int line = config_line(l, cfg, name);

	for (unsigned i = 0; i < n; i++) {
		const char *operation = cfg_getnstr(cfg, name, i);

		if (i == LIMIT_OPERATIONS)
			return config_refuse(l, line, "%s has more than %d names; remove some", name, LIMIT_OPERATIONS);
		if (!operation_name_ok(operation, strlen(operation)))
			return config_refuse(l, line,
			    "%s: \"%.80s\" is not an operation; give 1 to %d of A-Z a-z 0-9 . _ : / -", name, operation,
			    LIMIT_OPERATION);
		if (config_copy(l, operation, &out[i]) != 0)
			return -1;
		*n_out = i + 1;
	}
	return 0;
}

static int
check_operations(struct config_loader *l, cfg_t *cfg, const struct config *c)
{
	for (size_t i = 0; i < c->n_publishable_operations; i++)
		for (size_t j = 0; j < c->n_roll_operations; j++)
			if (strcmp(c->publishable_operations[i], c->roll_operations[j]) == 0)
				return config_refuse(l, config_line(l, cfg, "publishable_operations"),
				    "publishable_operations: \"%s\" is in roll_operations, too, but a publishable key "
				    "may not roll; remove it here",
				    c->publishable_operations[i]);
	return 0;
}

/* Returns the index of the value of ${name} in ${words}, which ends in NULL; -1 after config_refuse(). */
static int
load_word(struct config_loader *l, cfg_t *cfg, const char *name, const char *const *words, const char *choice)
{
	const char *text = cfg_getstr(cfg, name);

	for (int i = 0; words[i] != NULL; i++)
		if (strcmp(text, words[i]) == 0)
			return i;
	return config_refuse(l, config_line(l, cfg, name), "%s = \"%s\" is unknown; give %s", name, text, choice);
}

static int
load_log(struct config_loader *l, cfg_t *cfg, struct config *out)
{
	static const char *const levels[] = { "error", "warn", "info", "debug", NULL };
	static const char *const formats[] = { "logfmt", "json", NULL };
	int level = load_word(l, cfg, "log_level", levels, "\"error\", \"warn\", \"info\" or \"debug\"");
	int format = load_word(l, cfg, "log_format", formats, "\"logfmt\" or \"json\"");

	_Static_assert(LOG_ERROR == 0 && LOG_WARN == 1 && LOG_INFO == 2 && LOG_DEBUG == 3, "levels[] is in this order");
	if (level < 0 || format < 0)
		return -1;
	out->log_level = (enum log_level)level;
	out->log_json = format == 1;
	return 0;
}

static int
load_numbers(struct config_loader *l, cfg_t *cfg, struct config *out)
{
	if (config_check_number(l, cfg, "timeout", 1, LIMIT_TIMEOUT_MS) != 0 ||
	    config_check_number(l, cfg, "connections", 1, CONNECTIONS_MAX) != 0 ||
	    config_check_number(l, cfg, "in_flight", 1, IN_FLIGHT_MAX) != 0 ||
	    config_check_number(l, cfg, "drain", 0, LIMIT_TIMEOUT_MS) != 0 ||
	    config_check_number(l, cfg, "max_staleness", LIMIT_STALENESS_MIN_MS, LIMIT_STALENESS_MAX_MS) != 0)
		return -1;
	out->timeout_ms = (uint32_t)cfg_getint(cfg, "timeout");
	out->connections = (unsigned)cfg_getint(cfg, "connections");
	out->in_flight = (unsigned)cfg_getint(cfg, "in_flight");
	out->drain_ms = (uint32_t)cfg_getint(cfg, "drain");
	out->max_staleness_ms = (uint32_t)cfg_getint(cfg, "max_staleness");
	return 0;
}

static int
load_user(struct config_loader *l, cfg_t *cfg, struct config *out)
{
	const char *user = config_string(cfg, "user");

	if (user == NULL)
		return 0;
	if (user[0] == '\0')
		return config_refuse(l, config_line(l, cfg, "user"), "user is empty; name a user, or remove the line");
	return config_copy(l, user, &out->user);
}

static int
load_all(struct config_loader *l, cfg_t *cfg, struct config *out)
{
	if (config_load_listeners(l, cfg, out) != 0 || load_environments(l, cfg, out) != 0)
		return -1;
	if (load_operations(
		l, cfg, "publishable_operations", out->publishable_operations, &out->n_publishable_operations) != 0)
		return -1;
	if (load_operations(l, cfg, "roll_operations", out->roll_operations, &out->n_roll_operations) != 0)
		return -1;
	if (check_operations(l, cfg, out) != 0 || load_numbers(l, cfg, out) != 0 || load_user(l, cfg, out) != 0)
		return -1;
	return load_log(l, cfg, out);
}

int
config_load(const char *path, struct config *config, char *why, size_t why_len)
{
	struct config_loader *l = calloc(1, sizeof(*l));
	cfg_t *cfg;
	int rc = -1;

	assert(why_len > 0);
	memset(config, 0, sizeof(*config));
	why[0] = '\0';
	if (l == NULL) {
		snprintf(why, why_len, "%s: out of memory", path);
		return -1;
	}
	l->path = path;
	l->why = why;
	l->why_len = why_len;
	if ((cfg = config_parse(l)) != NULL) {
		rc = load_all(l, cfg, config);
		cfg_free(cfg);
	}
	if (rc != 0) {
		config_fini(config);
		make_printable(why);
	}
	free(l->text);
	free(l);
	return rc;
}

void
config_fini(struct config *config)
{
	for (size_t i = 0; i < config->n_listeners; i++) {
		free(config->listeners[i].url);
		free(config->listeners[i].tls_cert);
		free(config->listeners[i].tls_key);
		free(config->listeners[i].tls_ca);
		free(config->listeners[i].advertise);
	}
	for (size_t i = 0; i < ENVIRONMENTS; i++) {
		free(config->environments[i].path);
		free(config->environments[i].pepper);
	}
	for (size_t i = 0; i < config->n_publishable_operations; i++)
		free(config->publishable_operations[i]);
	for (size_t i = 0; i < config->n_roll_operations; i++)
		free(config->roll_operations[i]);
	free(config->user);
	memset(config, 0, sizeof(*config));
}

const char *
config_ipc_path(const char *url)
{
	return strncmp(url, "ipc://", 6) == 0 ? url + 6 : NULL;
}

const char *
config_peer_address(const struct config *config)
{
	for (size_t i = 0; i < config->n_listeners; i++)
		if (config->listeners[i].role == ROLE_PEER)
			return config->listeners[i].advertise;
	return "";
}
