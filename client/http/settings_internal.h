/*
 * settings_internal.h - what settings.c (the values) and settings_parse.c (the file's syntax) share.
 */
#ifndef HTTP_SETTINGS_INTERNAL_H
#define HTTP_SETTINGS_INTERNAL_H

#include <confuse.h>

#include "client/http/settings.h"

#define SETTINGS_PLACES_MAX 64

struct loader {
	const char *path;
	char *why;
	size_t why_len;
	char *text;
	struct {
		const char *name;
		int line;
	} places[SETTINGS_PLACES_MAX]; /* where a setting stands in the file */
	size_t n_places;
};

/*
 * loader_refuse(l, line, format, ...):
 * Write "FILE:LINE: " and what is wrong to ${l}->why; line 0 leaves the line out. Only the first call counts.
 * Returns: -1.
 */
int loader_refuse(struct loader *l, int line, const char *format, ...) __attribute__((format(printf, 3, 4)));

/*
 * loader_parse(l):
 * Read and parse the file at ${l}->path. No value is checked yet.
 * Ownership: free the result with cfg_free(), and ${l}->text after it.
 * Returns:   NULL after loader_refuse().
 */
cfg_t *loader_parse(struct loader *l);

/* Copy ${text}. Returns 0; -1 after loader_refuse(). */
int loader_copy(struct loader *l, const char *text, char **out);

/* Copy the setting ${name}, which is a header's name. Returns 0; -1 after loader_refuse(). */
int loader_header_name(struct loader *l, cfg_t *cfg, const char *name, char **out);

/*
 * settings_load_operator(l, cfg, out):
 * Check and copy the settings that only the role operator has, and refuse those that it has not; in the role auth the
 * other way round. ${out} has its role and the listen addresses.
 * Returns: 0; -1 after loader_refuse().
 */
int settings_load_operator(struct loader *l, cfg_t *cfg, struct settings *out);

/* The line of the setting ${name}; 0: it is not in the file. */
int loader_line(const struct loader *l, const char *name);

#endif
