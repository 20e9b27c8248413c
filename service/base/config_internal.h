/*
 * config_internal.h - what the parts of config.c share: config_parse.c (the file's syntax), config_value.c
 * (one value) and config_listen.c (a listener's section). Only they know libconfuse.
 */
#ifndef CONFIG_INTERNAL_H
#define CONFIG_INTERNAL_H

#include <confuse.h>

#include "service/base/config.h"

#define CONFIG_PLACES_MAX 1024
#define CONFIG_SECTIONS_MAX 64

/* Where a setting or a section stands in the file. */
struct config_place {
	const void *what; /* a cfg_opt_t or, for a section, its cfg_t */
	int line;
};

struct config_loader {
	const char *path;
	char *why;
	size_t why_len;
	char *text;
	struct config_place places[CONFIG_PLACES_MAX];
	size_t n_places;
	int section_lines[CONFIG_SECTIONS_MAX]; /* of each section's opening brace, in the order of the file */
	size_t n_sections;
	size_t closed_sections;
};

/*
 * config_refuse(l, line, format, ...):
 * Write "FILE:LINE: " and what is wrong to the loader's ${why}; line 0 leaves the line out. Only the first
 * call counts: later errors are often consequences of the first.
 * Returns: -1.
 */
int config_refuse(struct config_loader *l, int line, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* The same with a va_list. */
int config_refuse_v(struct config_loader *l, int line, const char *format, va_list ap)
    __attribute__((format(printf, 3, 0)));

/*
 * config_parse(l):
 * Read and parse the file at ${l}->path. Values are not checked yet.
 * Ownership: free the result with cfg_free(), and ${l}->text after it.
 * Returns:   NULL after config_refuse().
 */
cfg_t *config_parse(struct config_loader *l);

/* The line of a section's opening brace, or of the setting ${name} in ${section}. 0: it is not in the file. */
int config_section_line(const struct config_loader *l, const cfg_t *section);
int config_line(const struct config_loader *l, cfg_t *section, const char *name);

/* The string setting ${name}; NULL: it is not in the file and has no default. */
char *config_string(cfg_t *section, const char *name);

/* The following return 0, or -1 after config_refuse(). *${out} is freed by config_fini(). */

int config_copy(struct config_loader *l, const char *text, char **out);
/* Is the number ${name} from ${min} to ${max}? */
int config_check_number(struct config_loader *l, cfg_t *section, const char *name, long min, long max);
/* ${prefix} and ${path}. A relative ${path} is below the folder of the settings file, so that a folder with
 * both can be moved. */
int config_resolve(struct config_loader *l, const char *prefix, const char *path, char **out);
/* The path in the setting ${name}, resolved. ${required} names the section in the error for a missing setting. */
int config_load_file(struct config_loader *l, cfg_t *section, const char *name, const char *required, char **out);

/* All sections "listen". */
int config_load_listeners(struct config_loader *l, cfg_t *cfg, struct config *out);

#endif
