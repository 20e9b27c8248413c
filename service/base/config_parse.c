/*
 * config_parse.c - the syntax of the settings file: a scan of its text, then libconfuse's parser, which notes the
 * line of each setting. Checks no value.
 *
 * The scan makes up for what libconfuse 3.3 does wrong: it counts a comment as two lines, accepts an unclosed
 * section or comment, ends the process when the file is a folder, and after an unclosed string misreads the next file.
 */
#include "service/base/config_internal.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "service/base/folder.h"

#define FILE_MAX (256U << 10)

/* The file that is being parsed: libconfuse's callbacks take no argument of the caller's. */
static _Thread_local struct config_loader *loading;

/* ---- errors ---- */

int
config_refuse_v(struct config_loader *l, int line, const char *format, va_list ap)
{
	int n;

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

int
config_refuse(struct config_loader *l, int line, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	config_refuse_v(l, line, format, ap);
	va_end(ap);
	return -1;
}

static void __attribute__((format(printf, 2, 0))) on_parse_error(cfg_t *cfg, const char *format, va_list ap)
{
	struct config_loader *l = loading;
	size_t n;

	config_refuse_v(l, cfg->line, format, ap);
	n = strlen(l->why);
	if (n + 1 < l->why_len)
		snprintf(l->why + n, l->why_len - n, "; the fobd.conf that comes with fobd lists every setting");
}

/* ---- the text ---- */

static int
refuse_reading(struct config_loader *l)
{
	char reason[256];

	folder_explain(l->path, errno, reason, sizeof(reason));
	return config_refuse(l, 0, "cannot be read: %s; --config names another", reason);
}

static int
read_file(struct config_loader *l, size_t *len)
{
	ssize_t n = 0;
	int fd = open(l->path, O_RDONLY | O_CLOEXEC), rc = 0;

	if (fd < 0)
		return refuse_reading(l);
	while (*len <= FILE_MAX && (n = read(fd, l->text + *len, FILE_MAX + 1 - *len)) > 0)
		*len += (size_t)n;
	if (n < 0)
		rc = refuse_reading(l);
	close(fd);
	return rc;
}

/* A byte order mark, which some editors put before UTF-8, becomes blanks. */
static void
blank_mark(char *text)
{
	if (strncmp(text, "\xef\xbb\xbf", 3) == 0)
		memset(text, ' ', 3);
}

static int
read_text(struct config_loader *l)
{
	size_t len = 0;

	l->text = malloc(FILE_MAX + 1);
	if (l->text == NULL)
		return config_refuse(l, 0, "out of memory");
	if (read_file(l, &len) != 0)
		return -1;
	if (len > FILE_MAX)
		return config_refuse(l, 0, "is larger than %u bytes; this is not a settings file", FILE_MAX);
	l->text[len] = '\0';
	if (len >= 2 && (memcmp(l->text, "\xff\xfe", 2) == 0 || memcmp(l->text, "\xfe\xff", 2) == 0))
		return config_refuse(l, 0, "is UTF-16; save it as UTF-8 or plain text");
	if (strlen(l->text) != len)
		return config_refuse(l, 0, "holds a NUL byte; this is not a settings file");
	blank_mark(l->text);
	return 0;
}

static char *
blank_line(char *c)
{
	while (*c != '\0' && *c != '\n')
		*c++ = ' ';
	return c;
}

/*
 * ${c} is at the opening quote. Returns what follows the closing one; NULL after config_refuse(): the
 * string does not end on its line, or has an escape that is not allowed.
 */
static char *
skip_string(struct config_loader *l, char *c, int line)
{
	char quote = *c++;

	for (; *c != quote; c++) {
		if (*c == '\0' || *c == '\n') {
			config_refuse(l, line, "a string is not closed on its line; end it with %c", quote);
			return NULL;
		}
		if (*c == '\\') {
			c++;
			if (*c != '\\' && *c != quote) {
				config_refuse(
				    l, line, "only \\\\ and \\%c may follow a backslash in this string", quote);
				return NULL;
			}
		}
	}
	return c + 1;
}

static int
note_brace(struct config_loader *l, int line, char before)
{
	if (before == '=')
		return 0;
	if (l->n_sections == CONFIG_SECTIONS_MAX)
		return config_refuse(l, line, "there are more than %d sections", CONFIG_SECTIONS_MAX);
	l->section_lines[l->n_sections++] = line;
	return 0;
}

/*
 * Replace comments by spaces, so that libconfuse counts lines correctly, and note where sections begin.
 * Comments begin with # or, where a word could begin, with //. C comments are refused: they are not
 * documented, and libconfuse accepts an unclosed one.
 */
static int
scan(struct config_loader *l)
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
			return config_refuse(l, line, "comments begin with # and end with their line");
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
		return config_refuse(l, opened, "the { of this line is not closed; end it with }");
	return 0;
}

/* ---- the parse ---- */

static void
place_add(struct config_loader *l, const void *what, int line)
{
	if (l->n_places < CONFIG_PLACES_MAX)
		l->places[l->n_places++] = (struct config_place){ what, line };
}

static int
place_line(const struct config_loader *l, const void *what)
{
	for (size_t i = 0; i < l->n_places; i++)
		if (l->places[i].what == what)
			return l->places[i].line;
	return 0;
}

static int
on_setting(cfg_t *cfg, cfg_opt_t *opt)
{
	struct config_loader *l = loading;
	int line = place_line(l, opt);

	/* libconfuse calls this once for each value of a list. */
	if ((opt->flags & CFGF_LIST) != 0 && line != 0)
		return 0;
	if (line != 0)
		return config_refuse(
		    l, cfg->line, "%s is set twice, first on line %d; remove one of them", opt->name, line);
	if (l->n_places == CONFIG_PLACES_MAX)
		return config_refuse(l, cfg->line, "there are too many settings");
	place_add(l, opt, cfg->line);
	return 0;
}

/* libconfuse calls this at a section's end. Errors name the line where it begins. */
static int
on_section(cfg_t *cfg, cfg_opt_t *opt)
{
	struct config_loader *l = loading;

	assert(l->closed_sections < l->n_sections);
	if (l->n_places == CONFIG_PLACES_MAX)
		return config_refuse(l, cfg->line, "there are too many settings");
	place_add(l, cfg_opt_getnsec(opt, cfg_opt_size(opt) - 1), l->section_lines[l->closed_sections++]);
	return 0;
}

static cfg_t *
parse(struct config_loader *l)
{
	static const char *const settings[] = { "listen|role", "listen|mode", "listen|allow_users", "listen|contexts",
		"listen|insecure", "listen|tls_cert", "listen|tls_key", "listen|tls_ca", "listen|advertise",
		"environment|path",
		"environment|pepper", "environment|ceiling", "environment|events_kept", "publishable_operations",
		"roll_operations", "timeout", "connections", "in_flight", "drain", "max_staleness", "user", "log_level",
		"log_format" };
	char publishable[] = "{tokenize}", roll[] = "{keys.roll}";
	cfg_opt_t listen[] = { CFG_STR("role", NULL, CFGF_NODEFAULT), CFG_INT("mode", 0, CFGF_NODEFAULT),
		CFG_STR("allow_users", NULL, CFGF_NODEFAULT), CFG_INT("contexts", 0, CFGF_NODEFAULT),
		CFG_BOOL("insecure", cfg_false, CFGF_NONE), CFG_STR("tls_cert", NULL, CFGF_NODEFAULT),
		CFG_STR("tls_key", NULL, CFGF_NODEFAULT), CFG_STR("tls_ca", NULL, CFGF_NODEFAULT),
		CFG_STR("advertise", NULL, CFGF_NODEFAULT), CFG_END() };
	cfg_opt_t environment[] = { CFG_STR("path", NULL, CFGF_NODEFAULT), CFG_STR("pepper", NULL, CFGF_NODEFAULT),
		CFG_STR("ceiling", "16GiB", CFGF_NONE), CFG_INT("events_kept", 1000000, CFGF_NONE), CFG_END() };
	cfg_opt_t all[] = { CFG_SEC("listen", listen, CFGF_MULTI | CFGF_TITLE | CFGF_NO_TITLE_DUPES),
		CFG_SEC("environment", environment, CFGF_MULTI | CFGF_TITLE | CFGF_NO_TITLE_DUPES),
		CFG_STR_LIST("publishable_operations", publishable, CFGF_NONE),
		CFG_STR_LIST("roll_operations", roll, CFGF_NONE),
		CFG_INT("timeout", LIMIT_TIMEOUT_DEFAULT_MS, CFGF_NONE),
		CFG_INT("connections", LIMIT_CONNECTIONS, CFGF_NONE), CFG_INT("in_flight", LIMIT_IN_FLIGHT, CFGF_NONE),
		CFG_INT("drain", 1000, CFGF_NONE), CFG_INT("max_staleness", LIMIT_STALENESS_DEFAULT_MS, CFGF_NONE),
		CFG_STR("user", NULL, CFGF_NODEFAULT),
		CFG_STR("log_level", "info", CFGF_NONE), CFG_STR("log_format", "logfmt", CFGF_NONE), CFG_END() };
	cfg_t *cfg = cfg_init(all, CFGF_NONE);
	int rc;

	if (cfg == NULL) {
		config_refuse(l, 0, "out of memory");
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
		config_refuse(l, 0, "cannot be parsed");
		cfg_free(cfg);
		return NULL;
	}
	return cfg;
}

cfg_t *
config_parse(struct config_loader *l)
{
	return read_text(l) == 0 && scan(l) == 0 ? parse(l) : NULL;
}

int
config_section_line(const struct config_loader *l, const cfg_t *section)
{
	return place_line(l, section);
}

int
config_line(const struct config_loader *l, cfg_t *section, const char *name)
{
	return place_line(l, cfg_getopt(section, name));
}
