/*
 * loader.c - the syntax of a settings file (see loader.h): libconfuse's parser, which notes the line of each setting. Checks
 * no value. libconfuse 3.3 counts a comment as two lines and misreads what follows an unclosed string, so a scan of the
 * text comes first.
 */
#include "client/daemon/loader.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FILE_MAX (256U << 10)

/* The file that is being parsed: libconfuse's callbacks take no argument of the caller's. */
static struct loader *loading;

/* ---- errors ---- */

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
	/* What is quoted may hold control characters. The error must be one line and safe on a terminal. */
	for (char *c = l->why; *c != '\0'; c++)
		if ((unsigned char)*c < 0x20 || *c == 0x7f)
			*c = '?';
}

int
loader_refuse(struct loader *l, int line, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	refuse_v(l, line, format, ap);
	va_end(ap);
	return -1;
}

static void __attribute__((format(printf, 2, 0))) on_parse_error(cfg_t *cfg, const char *format, va_list ap)
{
	size_t n;

	refuse_v(loading, cfg->line, format, ap);
	n = strlen(loading->why);
	if (n + 1 < loading->why_len && strstr(loading->why, "; ") == NULL)
		snprintf(loading->why + n, loading->why_len - n,
		    "; the %s.conf that comes with %s lists every setting", loading->program, loading->program);
}

int
loader_copy(struct loader *l, const char *text, char **out)
{
	*out = strdup(text);
	return *out == NULL ? loader_refuse(l, 0, "out of memory") : 0;
}

/* ---- the text ---- */

static int
read_text(struct loader *l)
{
	int fd = open(l->path, O_RDONLY | O_CLOEXEC);
	size_t len = 0;
	ssize_t n = -1;

	l->text = malloc(FILE_MAX + 1);
	if (fd >= 0 && l->text != NULL)
		while ((n = read(fd, l->text + len, FILE_MAX - len)) > 0)
			len += (size_t)n;
	if (fd < 0 || n < 0)
		loader_refuse(l, 0, "cannot be read: %s; --config names another", strerror(errno));
	if (fd >= 0)
		close(fd);
	if (n < 0)
		return -1;
	l->text[len] = '\0';
	if (len == FILE_MAX || strlen(l->text) != len)
		return loader_refuse(l, 0, "is larger than 256 KiB, or holds a NUL byte; this is not a settings file");
	return 0;
}

/* ${c} is at the opening quote. Returns what follows the closing one; NULL after loader_refuse(). */
static char *
skip_string(struct loader *l, char *c, int line)
{
	char quote = *c++;

	for (; *c != quote; c++) {
		if (*c == '\\')
			c++;
		if (*c == '\0' || *c == '\n') {
			loader_refuse(l, line, "a string is not closed on its line; end it with %c", quote);
			return NULL;
		}
	}
	return c + 1;
}

/* Replace comments by spaces. They begin with #. */
static int
scan(struct loader *l)
{
	int line = 1;

	for (char *c = l->text; *c != '\0';) {
		if (*c == '"' || *c == '\'') {
			if ((c = skip_string(l, c, line)) == NULL)
				return -1;
			continue;
		}
		if (c[0] == '/' && (c[1] == '*' || c[1] == '/'))
			return loader_refuse(l, line, "comments begin with #, and a value with / is in quotes");
		if (*c == '#')
			while (*c != '\0' && *c != '\n')
				*c++ = ' ';
		else if (*c++ == '\n')
			line++;
	}
	return 0;
}

/* ---- the parse ---- */

int
loader_line(const struct loader *l, const char *name)
{
	for (size_t i = 0; i < l->n_places; i++)
		if (strcmp(l->places[i].name, name) == 0)
			return l->places[i].line;
	return 0;
}

static int
on_setting(cfg_t *cfg, cfg_opt_t *opt)
{
	struct loader *l = loading;
	int line = loader_line(l, opt->name);

	/* libconfuse calls this once for each value of a list. */
	if ((opt->flags & CFGF_LIST) != 0 && line != 0)
		return 0;
	if (line != 0)
		return loader_refuse(
		    l, cfg->line, "%s is set twice, first on line %d; remove one of them", opt->name, line);
	if (l->n_places < LOADER_PLACES_MAX) {
		l->places[l->n_places].name = opt->name;
		l->places[l->n_places++].line = cfg->line;
	}
	return 0;
}

static cfg_t *
parse(struct loader *l, cfg_opt_t *all)
{
	cfg_t *cfg = cfg_init(all, CFGF_NONE);
	int rc;

	if (cfg == NULL) {
		loader_refuse(l, 0, "out of memory");
		return NULL;
	}
	cfg_set_error_function(cfg, on_parse_error);
	for (size_t i = 0; all[i].name != NULL; i++)
		cfg_set_validate_func(cfg, all[i].name, on_setting);
	loading = l;
	rc = cfg_parse_buf(cfg, l->text);
	loading = NULL;
	if (rc == CFG_SUCCESS)
		return cfg;
	loader_refuse(l, 0, "cannot be parsed");
	cfg_free(cfg);
	return NULL;
}

cfg_t *
loader_parse(struct loader *l, cfg_opt_t *all)
{
	return read_text(l) == 0 && scan(l) == 0 ? parse(l, all) : NULL;
}

/* ---- values that all daemons have ---- */

int
loader_log(struct loader *l, cfg_t *cfg, enum log_level *out, bool *json)
{
	static const char *const levels[] = { "error", "warn", "info", "debug" };
	const char *level = cfg_getstr(cfg, "log_level"), *format = cfg_getstr(cfg, "log_format");
	size_t i = 0;

	while (i < 4 && strcmp(level, levels[i]) != 0)
		i++;
	if (i == 4)
		return loader_refuse(l, loader_line(l, "log_level"),
		    "log_level = \"%s\" is unknown; give \"error\", \"warn\", \"info\" or \"debug\"", level);
	if (strcmp(format, "logfmt") != 0 && strcmp(format, "json") != 0)
		return loader_refuse(l, loader_line(l, "log_format"),
		    "log_format = \"%s\" is unknown; give \"logfmt\" or \"json\"", format);
	*out = (enum log_level)i;
	*json = strcmp(format, "json") == 0;
	return 0;
}
