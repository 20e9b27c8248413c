/*
 * config.c - reads the settings file with libconfuse, the only file that knows it, and checks every value.
 * Called by main.c at start and on SIGHUP, and by reload.c, which frees what no request reads any more; calls
 * libconfuse and the system. First a scan of the text, then the parse, which only notes the line of each setting, then
 * the checks, in the order of struct config.
 *
 * The scan is there because of what libconfuse 3.3 does alone: it counts a comment as two lines, takes an unclosed
 * section or comment for a whole one, ends the process on a folder, and keeps the state of a string that it gave up on.
 */
#include <assert.h>
#include <confuse.h>
#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "service/base/config.h"
#include "service/base/log.h"

#define FILE_MAX (256U << 10)
#define PLACES_MAX 1024
#define SECTIONS_MAX 64
#define UNIX_PATH_MAX_LEN (sizeof(((struct sockaddr_un *)NULL)->sun_path) - 1)

#define CONNECTIONS_MAX 65536
#define IN_FLIGHT_MAX 4096
#define EVENTS_KEPT_MIN 1000
#define EVENTS_KEPT_MAX 1000000000
#define CEILING_MIN (4ULL << 20)
#define CEILING_MAX (1ULL << 40)

/* Where a setting or a section stands in the file. */
struct place {
	const void *what; /* a cfg_opt_t or, for a section, its cfg_t */
	int line;
};

struct loader {
	const char *path;
	char *why;
	size_t why_len;
	char *text;
	struct place places[PLACES_MAX];
	size_t n_places;
	int section_lines[SECTIONS_MAX]; /* of each section's opening brace, in the order of the file */
	size_t n_sections;
	size_t closed_sections;
};

/* libconfuse's callbacks carry no argument of ours. */
static _Thread_local struct loader *loading;

/* ---- saying what is wrong ---- */

static int __attribute__((format(printf, 3, 0))) refuse_v(struct loader *l, int line, const char *format, va_list ap)
{
	int n;

	/* The first thing that is wrong is the one to repair; what follows is often its echo. */
	if (l->why_len == 0 || l->why[0] != '\0')
		return -1;
	if (line > 0)
		n = snprintf(l->why, l->why_len, "%s:%d: ", l->path, line);
	else
		n = snprintf(l->why, l->why_len, "%s: ", l->path);
	if (n > 0 && (size_t)n < l->why_len)
		vsnprintf(l->why + n, l->why_len - (size_t)n, format, ap);
	return -1;
}

static int __attribute__((format(printf, 3, 4))) refuse(struct loader *l, int line, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	refuse_v(l, line, format, ap);
	va_end(ap);
	return -1;
}

static void __attribute__((format(printf, 2, 0))) on_parse_error(cfg_t *cfg, const char *format, va_list ap)
{
	struct loader *l = loading;
	size_t n;

	refuse_v(l, cfg->line, format, ap);
	n = strlen(l->why);
	if (n + 1 < l->why_len)
		snprintf(l->why + n, l->why_len - n, "; the fobd.conf that comes with fobd has every setting");
}

/* A setting that is told as wrong may hold anything; the reason is one line, and for a terminal. */
static void
make_printable(char *why)
{
	for (char *c = why; *c != '\0'; c++)
		if ((unsigned char)*c < 0x20 || *c == 0x7f)
			*c = '?';
}

/* ---- the text ---- */

static int
text_read(struct loader *l)
{
	size_t len = 0;
	ssize_t n = 0;
	int fd = open(l->path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return refuse(l, 0, "cannot be read: %s; --config names another", strerror(errno));
	l->text = malloc(FILE_MAX + 1);
	if (l->text == NULL) {
		close(fd);
		return refuse(l, 0, "out of memory");
	}
	while (len <= FILE_MAX && (n = read(fd, l->text + len, FILE_MAX + 1 - len)) > 0)
		len += (size_t)n;
	if (n < 0) {
		refuse(l, 0, "cannot be read: %s; --config names another", strerror(errno));
		close(fd);
		return -1;
	}
	close(fd);
	if (len > FILE_MAX)
		return refuse(l, 0, "is larger than %u bytes; this is not a settings file", FILE_MAX);
	l->text[len] = '\0';
	if (strlen(l->text) != len)
		return refuse(l, 0, "holds a NUL byte; this is not a settings file");
	return 0;
}

static char *
blank_line(char *c)
{
	while (*c != '\0' && *c != '\n')
		*c++ = ' ';
	return c;
}

/* ${c} is at the quote; returns what follows the closing one. NULL: not closed on its line, or a refused escape. */
static char *
skip_string(struct loader *l, char *c, int line)
{
	char quote = *c++;

	for (; *c != quote; c++) {
		if (*c == '\0' || *c == '\n') {
			refuse(l, line, "a string is not closed on its line; end it with %c", quote);
			return NULL;
		}
		if (*c == '\\') {
			c++;
			if (*c != '\\' && *c != quote) {
				refuse(l, line, "only \\\\ and \\%c may follow a backslash in this string", quote);
				return NULL;
			}
		}
	}
	return c + 1;
}

static int
note_brace(struct loader *l, int line, char before)
{
	if (before == '=')
		return 0;
	if (l->n_sections == SECTIONS_MAX)
		return refuse(l, line, "there are more than %d sections", SECTIONS_MAX);
	l->section_lines[l->n_sections++] = line;
	return 0;
}

/*
 * Put spaces in place of comments, so that libconfuse counts the lines right, and note where sections begin.
 * Comments are # and, where a word could begin, //. C's are refused: nobody documented them, and one may never end.
 */
static int
text_scan(struct loader *l)
{
	int line = 1, depth = 0, opened = 0;
	char before = ' ', last = '\n';

	for (char *c = l->text; *c != '\0';) {
		bool word_begins = strchr(" \t\r\n\"{}=,()+", last) != NULL;

		if (*c == '#' || (word_begins && c[0] == '/' && c[1] == '/')) {
			c = blank_line(c);
			last = ' ';
			continue;
		}
		if (word_begins && c[0] == '/' && c[1] == '*')
			return refuse(l, line, "comments begin with # and end with their line");
		if (*c == '"' || *c == '\'') {
			c = skip_string(l, c, line);
			if (c == NULL)
				return -1;
			before = last = '"';
			continue;
		}
		if (*c == '{') {
			if (depth++ == 0)
				opened = line;
			if (note_brace(l, line, before) != 0)
				return -1;
		} else if (*c == '}' && depth > 0)
			depth--;
		if (*c == '\n')
			line++;
		if (strchr(" \t\r\n", *c) == NULL)
			before = *c;
		last = *c++;
	}
	if (depth > 0)
		return refuse(l, opened, "the { of this line is not closed; end it with }");
	return 0;
}

/* ---- the parse ---- */

static void
place_add(struct loader *l, const void *what, int line)
{
	if (l->n_places < PLACES_MAX)
		l->places[l->n_places++] = (struct place){ what, line };
}

/* 0: it is not in the file. */
static int
place_line(const struct loader *l, const void *what)
{
	for (size_t i = 0; i < l->n_places; i++)
		if (l->places[i].what == what)
			return l->places[i].line;
	return 0;
}

static int
on_setting(cfg_t *cfg, cfg_opt_t *opt)
{
	struct loader *l = loading;
	int line = place_line(l, opt);

	/* A list's callback runs once for each of its values. */
	if ((opt->flags & CFGF_LIST) != 0 && line != 0)
		return 0;
	if (line != 0)
		return refuse(l, cfg->line, "%s is set twice, first on line %d; remove one of them", opt->name, line);
	if (l->n_places == PLACES_MAX)
		return refuse(l, cfg->line, "there are too many settings");
	place_add(l, opt, cfg->line);
	return 0;
}

/* Runs at a section's end; the people who read the message look for its beginning. */
static int
on_section(cfg_t *cfg, cfg_opt_t *opt)
{
	struct loader *l = loading;

	assert(l->closed_sections < l->n_sections);
	if (l->n_places == PLACES_MAX)
		return refuse(l, cfg->line, "there are too many settings");
	place_add(l, cfg_opt_getnsec(opt, cfg_opt_size(opt) - 1), l->section_lines[l->closed_sections++]);
	return 0;
}

static cfg_t *
text_parse(struct loader *l)
{
	static const char *const settings[] = { "listen|role", "listen|mode", "listen|allow_users", "listen|contexts",
		"listen|insecure", "listen|tls_cert", "listen|tls_key", "listen|tls_ca", "environment|path",
		"environment|pepper", "environment|ceiling", "environment|events_kept", "publishable_operations",
		"roll_operations", "timeout", "connections", "in_flight", "drain", "user", "log_level", "log_format" };
	char publishable[] = "{tokenize}", roll[] = "{keys.roll}";
	cfg_opt_t listen[] = { CFG_STR("role", NULL, CFGF_NODEFAULT), CFG_INT("mode", 0, CFGF_NODEFAULT),
		CFG_STR("allow_users", NULL, CFGF_NODEFAULT), CFG_INT("contexts", 0, CFGF_NODEFAULT),
		CFG_BOOL("insecure", cfg_false, CFGF_NONE), CFG_STR("tls_cert", NULL, CFGF_NODEFAULT),
		CFG_STR("tls_key", NULL, CFGF_NODEFAULT), CFG_STR("tls_ca", NULL, CFGF_NODEFAULT), CFG_END() };
	cfg_opt_t environment[] = { CFG_STR("path", NULL, CFGF_NODEFAULT), CFG_STR("pepper", NULL, CFGF_NODEFAULT),
		CFG_STR("ceiling", "16GiB", CFGF_NONE), CFG_INT("events_kept", 1000000, CFGF_NONE), CFG_END() };
	cfg_opt_t all[] = { CFG_SEC("listen", listen, CFGF_MULTI | CFGF_TITLE | CFGF_NO_TITLE_DUPES),
		CFG_SEC("environment", environment, CFGF_MULTI | CFGF_TITLE | CFGF_NO_TITLE_DUPES),
		CFG_STR_LIST("publishable_operations", publishable, CFGF_NONE),
		CFG_STR_LIST("roll_operations", roll, CFGF_NONE),
		CFG_INT("timeout", LIMIT_TIMEOUT_DEFAULT_MS, CFGF_NONE),
		CFG_INT("connections", LIMIT_CONNECTIONS, CFGF_NONE), CFG_INT("in_flight", LIMIT_IN_FLIGHT, CFGF_NONE),
		CFG_INT("drain", 1000, CFGF_NONE), CFG_STR("user", NULL, CFGF_NODEFAULT),
		CFG_STR("log_level", "info", CFGF_NONE), CFG_STR("log_format", "logfmt", CFGF_NONE), CFG_END() };
	cfg_t *cfg = cfg_init(all, CFGF_NONE);
	int rc;

	if (cfg == NULL) {
		refuse(l, 0, "out of memory");
		return NULL;
	}
	cfg_set_error_function(cfg, on_parse_error);
	for (size_t i = 0; i < sizeof(settings) / sizeof(settings[0]); i++)
		cfg_set_validate_func(cfg, settings[i], on_setting);
	cfg_set_validate_func(cfg, "listen", on_section);
	cfg_set_validate_func(cfg, "environment", on_section);
	loading = l;
	rc = cfg_parse_buf(cfg, l->text);
	loading = NULL;
	if (rc != CFG_SUCCESS) {
		refuse(l, 0, "cannot be parsed");
		cfg_free(cfg);
		return NULL;
	}
	return cfg;
}

/* ---- values ---- */

static int
line_of(const struct loader *l, cfg_t *section, const char *name)
{
	return place_line(l, cfg_getopt(section, name));
}

static char *
string_of(cfg_t *section, const char *name)
{
	return cfg_size(section, name) > 0 ? cfg_getstr(section, name) : NULL;
}

static int
copy_string(struct loader *l, const char *text, char **out)
{
	*out = strdup(text);
	return *out == NULL ? refuse(l, 0, "out of memory") : 0;
}

static int
check_number(struct loader *l, cfg_t *section, const char *name, long min, long max)
{
	long value = cfg_getint(section, name);

	if (value < min || value > max)
		return refuse(
		    l, line_of(l, section, name), "%s = %ld is out of range; give %ld to %ld", name, value, min, max);
	return 0;
}

/* A relative ${path} is one below the folder of the settings file: so a folder with both can be moved. */
static int
resolve(struct loader *l, const char *prefix, const char *path, char **out)
{
	const char *slash = strrchr(l->path, '/');
	int folder = path[0] == '/' || slash == NULL ? 0 : (int)(slash - l->path + 1);

	if (asprintf(out, "%s%.*s%s", prefix, folder, l->path, path) >= 0)
		return 0;
	*out = NULL;
	return refuse(l, 0, "out of memory");
}

/* ${required}: what the section is when it says nothing of ${name}. */
static int
load_file(struct loader *l, cfg_t *section, const char *name, const char *required, char **out)
{
	const char *text = string_of(section, name);
	int line = line_of(l, section, name);

	if (text == NULL)
		return refuse(l, place_line(l, section), "%s needs %s = \"PATH\"", required, name);
	if (text[0] == '\0')
		return refuse(l, line, "%s is empty; name a path", name);
	for (const char *c = text; *c != '\0'; c++)
		if ((unsigned char)*c < 0x20 || *c == 0x7f)
			return refuse(l, line, "%s holds a control character", name);
	return resolve(l, "", text, out);
}

/* "16GiB", "500 MiB", "4194304". -1: not a size; nothing that overflows is one. */
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

/* ---- listen ---- */

static int
check_port(struct loader *l, int line, const char *url)
{
	const char *address = strstr(url, "//") + 2, *colon = strrchr(address, ':');
	char *end;
	long port;

	if (colon == NULL || colon == address || colon[1] < '0' || colon[1] > '9')
		return refuse(l, line, "listen \"%s\": give HOST:PORT after the //, such as 127.0.0.1:7400", url);
	if (address[0] == '[' ? colon[-1] != ']' : memchr(address, ':', (size_t)(colon - address)) != NULL)
		return refuse(l, line, "listen \"%s\": write an IPv6 address in brackets, such as [::1]:7400", url);
	port = strtol(colon + 1, &end, 10);
	if (*end != '\0' || port < 1 || port > 65535)
		return refuse(l, line, "listen \"%s\": the port is out of range; give 1 to 65535", url);
	return 0;
}

static int
load_url(struct loader *l, cfg_t *section, struct config_listener *out)
{
	const char *url = cfg_title(section);
	int line = place_line(l, section);

	for (const char *c = url; *c != '\0'; c++)
		if ((unsigned char)*c <= 0x20 || *c == 0x7f)
			return refuse(l, line, "listen \"%s\": a URL holds no space and no control character", url);
	if (strncmp(url, "ipc://", 6) == 0) {
		if (url[6] == '\0')
			return refuse(l, line, "listen \"%s\": name the socket's path after the //", url);
		if (resolve(l, "ipc://", url + 6, &out->url) != 0)
			return -1;
		if (strlen(out->url + 6) > UNIX_PATH_MAX_LEN)
			return refuse(l, line,
			    "%s: the path has %zu bytes, a unix socket's at most %zu; choose a "
			    "shorter one",
			    out->url, strlen(out->url + 6), UNIX_PATH_MAX_LEN);
		return 0;
	}
	if (strncmp(url, "tcp://", 6) == 0 || strncmp(url, "tls+tcp://", 10) == 0)
		return check_port(l, line, url) != 0 ? -1 : copy_string(l, url, &out->url);
	return refuse(l, line, "listen \"%s\": a URL begins with ipc://, tcp:// or tls+tcp://", url);
}

static int
load_role(struct loader *l, cfg_t *section, struct config_listener *out)
{
	const char *role = string_of(section, "role");

	if (role == NULL)
		return refuse(l, place_line(l, section), "listen needs role = \"verify\" or role = \"admin\"");
	if (strcmp(role, "verify") != 0 && strcmp(role, "admin") != 0)
		return refuse(
		    l, line_of(l, section, "role"), "role = \"%s\" is unknown; give \"verify\" or \"admin\"", role);
	out->role = strcmp(role, "admin") == 0 ? ROLE_ADMIN : ROLE_VERIFY;
	return 0;
}

static int
load_mode(struct loader *l, cfg_t *section, struct config_listener *out)
{
	int line = line_of(l, section, "mode");
	long mode;

	out->mode = out->role == ROLE_ADMIN ? 0600 : 0660;
	if (line == 0)
		return 0;
	if (strncmp(out->url, "ipc://", 6) != 0)
		return refuse(l, line, "mode is for ipc:// only; remove it");
	mode = cfg_getint(section, "mode");
	if (mode < 0 || mode > 0777 || (mode & 0600) != 0600)
		return refuse(l, line, "mode = %ld is no socket's mode; give an octal number such as 0660", mode);
	if (out->role == ROLE_ADMIN && (mode & 0007) != 0)
		return refuse(l, line, "mode = 0%03lo lets every user of this machine roll keys; give 0600 or 0660",
		    (unsigned long)mode);
	out->mode = (mode_t)mode;
	return 0;
}

/* A name of this machine's, or a number. */
static int
find_uid(struct loader *l, int line, const char *text, uid_t *out)
{
	const struct passwd *pw;
	char *end;
	unsigned long number;

	if (text[0] < '0' || text[0] > '9') {
		errno = 0;
		if ((pw = getpwnam(text)) == NULL)
			return refuse(l, line, "allow_users: \"%.80s\": %s; give users of this machine, or numbers",
			    text, errno == 0 ? "there is no such user" : strerror(errno));
		*out = pw->pw_uid;
		return 0;
	}
	errno = 0;
	number = strtoul(text, &end, 10);
	/* The highest number means "no user" to the kernel. */
	if (*end != '\0' || errno != 0 || number >= UINT32_MAX)
		return refuse(l, line, "allow_users: \"%.80s\" is no user's number; give 0 to 4294967294", text);
	*out = (uid_t)number;
	return 0;
}

/* Words in one string, not a list: libconfuse does not tell an empty list from none, and none is everybody. */
static int
load_allow_users(struct loader *l, cfg_t *section, struct config_listener *out)
{
	const char *text = string_of(section, "allow_users");
	int line = line_of(l, section, "allow_users");
	char name[64];

	if (text == NULL)
		return 0;
	if (strncmp(out->url, "ipc://", 6) != 0)
		return refuse(
		    l, line, "allow_users is for ipc:// only: over TCP nobody knows a peer's user; remove it");
	while (text += strspn(text, " "), *text != '\0') {
		int len = (int)strcspn(text, " ");

		if (out->n_allow_uids == LIMIT_ALLOW_USERS)
			return refuse(l, line, "allow_users has more than %d names; remove some", LIMIT_ALLOW_USERS);
		if (len >= (int)sizeof(name))
			return refuse(
			    l, line, "allow_users: \"%.*s\" is no user's name; put spaces between names", len, text);
		snprintf(name, sizeof(name), "%.*s", len, text);
		if (find_uid(l, line, name, &out->allow_uids[out->n_allow_uids]) != 0)
			return -1;
		out->n_allow_uids++;
		text += len;
	}
	if (out->n_allow_uids == 0)
		return refuse(l, line, "allow_users is empty, and would refuse everybody; name a user, or remove it");
	return 0;
}

static int
load_tls(struct loader *l, cfg_t *section, struct config_listener *out)
{
	static const char *const names[] = { "tls_cert", "tls_key", "tls_ca" };
	char **const outs[] = { &out->tls_cert, &out->tls_key, &out->tls_ca };
	bool tls = strncmp(out->url, "tls+tcp://", 10) == 0;

	for (size_t i = 0; i < 3; i++) {
		int line = line_of(l, section, names[i]);

		if (!tls && line != 0)
			return refuse(l, line, "%s is for tls+tcp:// only; remove it, or change the URL", names[i]);
		if (tls && load_file(l, section, names[i], "tls+tcp://", outs[i]) != 0)
			return -1;
	}
	return 0;
}

static int
load_insecure(struct loader *l, cfg_t *section, struct config_listener *out)
{
	bool plain_admin = out->role == ROLE_ADMIN && strncmp(out->url, "tcp://", 6) == 0;

	out->insecure = cfg_getbool(section, "insecure") == cfg_true;
	if (out->insecure && !plain_admin)
		return refuse(
		    l, line_of(l, section, "insecure"), "insecure is for role = \"admin\" over tcp:// only; remove it");
	if (plain_admin && !out->insecure)
		return refuse(l, place_line(l, section),
		    "admin over tcp:// lets whoever reaches the port make and "
		    "roll keys; use ipc:// or tls+tcp://, or say insecure = true");
	return 0;
}

static int
load_listener(struct loader *l, cfg_t *section, struct config_listener *out)
{
	if (load_url(l, section, out) != 0 || load_role(l, section, out) != 0 || load_mode(l, section, out) != 0 ||
	    load_allow_users(l, section, out) != 0 || load_tls(l, section, out) != 0 ||
	    load_insecure(l, section, out) != 0)
		return -1;
	if (line_of(l, section, "contexts") != 0)
		LOG(LOG_WARN, "contexts has no effect any more, as fobd needs no such limit: remove it",
		    LOG_S("file", l->path), LOG_I("line", line_of(l, section, "contexts")));
	return 0;
}

static int
load_listeners(struct loader *l, cfg_t *cfg, struct config *out)
{
	unsigned n = cfg_size(cfg, "listen");

	if (n == 0)
		return refuse(l, 0, "has no listen; add listen \"ipc:///run/fob/verify.sock\" { role = \"verify\" }");
	for (unsigned i = 0; i < n; i++) {
		cfg_t *section = cfg_getnsec(cfg, "listen", i);

		if (i == LIMIT_LISTENERS)
			return refuse(l, place_line(l, section), "there are more than %d listeners; remove some",
			    LIMIT_LISTENERS);
		out->n_listeners++;
		if (load_listener(l, section, &out->listeners[i]) != 0)
			return -1;
		/* Different titles can be one path. */
		for (unsigned j = 0; j < i; j++)
			if (strcmp(out->listeners[i].url, out->listeners[j].url) == 0)
				return refuse(l, place_line(l, section), "%s is listened on twice; remove one",
				    out->listeners[i].url);
	}
	return 0;
}

/* ---- environment ---- */

static int
load_environment(struct loader *l, cfg_t *section, struct config_environment *out)
{
	const char *ceiling = cfg_getstr(section, "ceiling");
	int line = line_of(l, section, "ceiling");

	if (load_file(l, section, "path", "environment", &out->path) != 0 ||
	    load_file(l, section, "pepper", "environment", &out->pepper) != 0)
		return -1;
	if (parse_size(ceiling, &out->ceiling_bytes) != 0)
		return refuse(
		    l, line, "ceiling = \"%s\" is no size; give one such as \"16GiB\", \"500MiB\" or bytes", ceiling);
	if (out->ceiling_bytes < CEILING_MIN || out->ceiling_bytes > CEILING_MAX)
		return refuse(l, line, "ceiling = \"%s\" is out of range; give 4MiB to 1TiB", ceiling);
	if (check_number(l, section, "events_kept", EVENTS_KEPT_MIN, EVENTS_KEPT_MAX) != 0)
		return -1;
	out->events_kept = (uint64_t)cfg_getint(section, "events_kept");
	out->configured = true;
	return 0;
}

/* Step over what does not change where a path leads: slashes in a row, ".", a slash at the end. */
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

/* True when ${b} is ${a}, or for ${below} something within it. By name, and for files that exist by what they are. */
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
check_apart(struct loader *l, cfg_t *sections[ENVIRONMENTS], const struct config_environment e[ENVIRONMENTS])
{
	const struct config_environment *live = &e[ENVIRONMENT_LIVE], *test = &e[ENVIRONMENT_TEST];

	for (size_t i = 0; i < ENVIRONMENTS; i++)
		if (e[i].configured && path_covers(e[i].path, e[i].pepper, true))
			return refuse(l, line_of(l, sections[i], "pepper"),
			    "the pepper is in its database's folder; keep it where no copy of that takes it along");
	if (!live->configured || !test->configured)
		return 0;
	if (path_covers(live->path, test->path, true) || path_covers(test->path, live->path, true))
		return refuse(l, line_of(l, sections[ENVIRONMENT_TEST], "path"),
		    "live and test share a folder; give each a path of its own, neither within the other");
	if (path_covers(live->pepper, test->pepper, false))
		return refuse(l, line_of(l, sections[ENVIRONMENT_TEST], "pepper"),
		    "live and test share a pepper; give each a file of its own");
	return 0;
}

static int
load_environments(struct loader *l, cfg_t *cfg, struct config *out)
{
	cfg_t *sections[ENVIRONMENTS] = { NULL };
	unsigned n = cfg_size(cfg, "environment");

	if (n == 0)
		return refuse(l, 0, "has no environment; add environment \"live\" { path = ... pepper = ... }");
	for (unsigned i = 0; i < n; i++) {
		cfg_t *section = cfg_getnsec(cfg, "environment", i);
		const char *name = cfg_title(section);
		enum environment e = strcmp(name, "live") == 0 ? ENVIRONMENT_LIVE : ENVIRONMENT_TEST;

		if (strcmp(name, environment_name(e)) != 0)
			return refuse(l, place_line(l, section),
			    "environment \"%s\" is unknown; give \"live\" or \"test\"", name);
		sections[e] = section;
		if (load_environment(l, section, &out->environments[e]) != 0)
			return -1;
	}
	return check_apart(l, sections, out->environments);
}

/* ---- the rest ---- */

static int
load_operations(struct loader *l, cfg_t *cfg, const char *name, char **out, size_t *n_out)
{
	unsigned n = cfg_size(cfg, name);
	int line = line_of(l, cfg, name);

	for (unsigned i = 0; i < n; i++) {
		const char *operation = cfg_getnstr(cfg, name, i);

		if (i == LIMIT_OPERATIONS)
			return refuse(l, line, "%s has more than %d names; remove some", name, LIMIT_OPERATIONS);
		if (!operation_name_ok(operation, strlen(operation)))
			return refuse(l, line, "%s: \"%.80s\" is no operation; give 1 to %d of A-Z a-z 0-9 . _ : / -",
			    name, operation, LIMIT_OPERATION);
		if (copy_string(l, operation, &out[i]) != 0)
			return -1;
		*n_out = i + 1;
	}
	return 0;
}

static int
check_operations(struct loader *l, cfg_t *cfg, const struct config *c)
{
	for (size_t i = 0; i < c->n_publishable_operations; i++)
		for (size_t j = 0; j < c->n_roll_operations; j++)
			if (strcmp(c->publishable_operations[i], c->roll_operations[j]) == 0)
				return refuse(l, line_of(l, cfg, "publishable_operations"),
				    "publishable_operations: \"%s\" is in roll_operations too, and a publishable key "
				    "may not roll; remove it here",
				    c->publishable_operations[i]);
	return 0;
}

/* The index of the value of ${name} in ${words}, which ends in NULL; -1 with the reason. */
static int
load_word(struct loader *l, cfg_t *cfg, const char *name, const char *const *words, const char *choice)
{
	const char *text = cfg_getstr(cfg, name);

	for (int i = 0; words[i] != NULL; i++)
		if (strcmp(text, words[i]) == 0)
			return i;
	return refuse(l, line_of(l, cfg, name), "%s = \"%s\" is unknown; give %s", name, text, choice);
}

static int
load_log(struct loader *l, cfg_t *cfg, struct config *out)
{
	static const char *const levels[] = { "error", "warn", "info", "debug", NULL };
	static const char *const formats[] = { "logfmt", "json", NULL };
	int level = load_word(l, cfg, "log_level", levels, "\"error\", \"warn\", \"info\" or \"debug\"");
	int format = load_word(l, cfg, "log_format", formats, "\"logfmt\" or \"json\"");

	_Static_assert(LOG_ERROR == 0 && LOG_WARN == 1 && LOG_INFO == 2 && LOG_DEBUG == 3, "levels[] is in its order");
	if (level < 0 || format < 0)
		return -1;
	out->log_level = (enum log_level)level;
	out->log_json = format == 1;
	return 0;
}

static int
load_numbers(struct loader *l, cfg_t *cfg, struct config *out)
{
	if (check_number(l, cfg, "timeout", 1, LIMIT_TIMEOUT_MS) != 0 ||
	    check_number(l, cfg, "connections", 1, CONNECTIONS_MAX) != 0 ||
	    check_number(l, cfg, "in_flight", 1, IN_FLIGHT_MAX) != 0 ||
	    check_number(l, cfg, "drain", 0, LIMIT_TIMEOUT_MS) != 0)
		return -1;
	out->timeout_ms = (uint32_t)cfg_getint(cfg, "timeout");
	out->connections = (unsigned)cfg_getint(cfg, "connections");
	out->in_flight = (unsigned)cfg_getint(cfg, "in_flight");
	out->drain_ms = (uint32_t)cfg_getint(cfg, "drain");
	return 0;
}

static int
load_user(struct loader *l, cfg_t *cfg, struct config *out)
{
	const char *user = string_of(cfg, "user");

	if (user == NULL)
		return 0;
	if (user[0] == '\0')
		return refuse(l, line_of(l, cfg, "user"), "user is empty; name one, or remove the line");
	return copy_string(l, user, &out->user);
}

static int
load_all(struct loader *l, cfg_t *cfg, struct config *out)
{
	if (load_listeners(l, cfg, out) != 0 || load_environments(l, cfg, out) != 0)
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
	struct loader *l = calloc(1, sizeof(*l));
	cfg_t *cfg = NULL;
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
	if (text_read(l) != 0 || text_scan(l) != 0)
		goto out;
	cfg = text_parse(l);
	if (cfg == NULL)
		goto out;
	rc = load_all(l, cfg, config);
	cfg_free(cfg);
out:
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
