/*
 * flags.h - fobd's command line.
 */
#ifndef FLAGS_H
#define FLAGS_H

#include <stdbool.h>

/* What fobd is to do: one of these. */
enum mode {
	MODE_SERVE,
	MODE_HELP,
	MODE_VERSION,
	MODE_INIT,
	MODE_CHECK_CONFIG,
	MODE_CHECK,
	MODE_BACKUP,
	MODE_RESTORE,
	MODE_JOIN,
	MODE_LEAVE,
	MODE_ROTATE_PEPPER
};

struct flags {
	enum mode mode;
	const char *config;
	const char *log_level;  /* NULL: as the settings say */
	const char *log_format; /* NULL: as the settings say */
	const char *events;     /* of a restore; NULL: none */
	bool accept_revived;    /* of a restore */
	char *const *args;      /* what follows the options */
	int n_args;
};

/*
 * flags_parse(argc, argv, flags):
 * Fill *${flags}, whose texts are borrowed from ${argv}. Two modes at once, an option of another mode and an argument
 * too many are errors.
 * Returns: 0; -1 after one line on standard error.
 */
int flags_parse(int argc, char *argv[], struct flags *flags);

extern const char flags_usage[];

#endif
