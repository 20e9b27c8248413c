/*
 * loader.h - a settings file in libconfuse's syntax, for the daemons of the client room: one error in one line, with where
 * it is.
 */
#ifndef DAEMON_LOADER_H
#define DAEMON_LOADER_H

#include <confuse.h>
#include <stdbool.h>
#include <stddef.h>

#include "client/daemon/log.h"

#define LOADER_PLACES_MAX 64

struct loader {
	const char *path;
	const char *program; /* "fob-http": whose settings they are */
	char *why;
	size_t why_len;
	char *text;
	struct {
		const char *name;
		int line;
	} places[LOADER_PLACES_MAX]; /* where a setting stands in the file */
	size_t n_places;
};

/*
 * loader_refuse(l, line, format, ...):
 * Write "FILE:LINE: " and what is wrong to ${l}->why; line 0 leaves the line out. Only the first call counts.
 * Returns: -1.
 */
int loader_refuse(struct loader *l, int line, const char *format, ...) __attribute__((format(printf, 3, 4)));

/*
 * loader_parse(l, all):
 * Read and parse the file at ${l}->path, whose settings are ${all}, ended by CFG_END(). No value is checked yet.
 * Ownership: free the result with cfg_free(), and ${l}->text after it.
 * Returns:   NULL after loader_refuse().
 */
cfg_t *loader_parse(struct loader *l, cfg_opt_t *all);

/* Copy ${text}. Returns 0; -1 after loader_refuse(). */
int loader_copy(struct loader *l, const char *text, char **out);

/* The line of the setting ${name}; 0: it is not in the file. */
int loader_line(const struct loader *l, const char *name);

/* The settings log_level and log_format. Returns 0; -1 after loader_refuse(). */
int loader_log(struct loader *l, cfg_t *cfg, enum log_level *out, bool *json);

#endif
