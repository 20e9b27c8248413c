/*
 * offline.c - fobd's commands that do not serve (see offline.h). Opens no socket.
 */
#include "service/offline/offline.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "service/base/names.h"
#include "service/offline/backup.h"
#include "service/offline/check.h"
#include "service/offline/join.h"
#include "service/offline/restore.h"
#include "service/store/init.h"

#define WHY_LEN 1024
#define READERS 16

static int
refuse(const char *why)
{
	fprintf(stderr, "fobd: %s\n", why);
	return 1;
}

/* Returns an enum environment; -1 after an error for a name that is unknown or not configured. */
static int
find_environment(const struct config *config, const char *name)
{
	for (int e = 0; e < ENVIRONMENTS; e++) {
		if (strcmp(name, environment_name((enum environment)e)) != 0)
			continue;
		if (config->environments[e].configured)
			return e;
		fprintf(stderr, "fobd: the settings have no environment \"%s\"\n", name);
		return -1;
	}
	fprintf(stderr, "fobd: \"%s\" is not an environment: give live or test\n", name);
	return -1;
}

static struct store_options
options_of(const struct config *config, int environment, enum store_use use)
{
	const struct config_environment *c = &config->environments[environment];

	return (struct store_options){
		.environment = (enum environment)environment,
		.use = use,
		.path = c->path,
		.pepper = c->pepper,
		.ceiling_bytes = c->ceiling_bytes,
		.events_kept = c->events_kept,
		.readers = READERS,
	};
}

/* ---- check ---- */

/* The exit status of two checks: 2 (damaged) hides 1 (not checked), which hides 0. */
static int
worse(int a, int b)
{
	return a > b ? a : b;
}

static int
check_one(const struct config *config, int environment, const char *folder)
{
	struct store_options options = options_of(config, environment, STORE_CHECK);
	char why[WHY_LEN] = "";
	int rc;

	if (folder != NULL)
		options.path = folder;
	if ((rc = check_database(&options, stdout, why, sizeof(why))) < 0)
		return refuse(why);
	return rc == 0 ? 0 : 2;
}

int
offline_check(const struct config *config, char *const *args, int n_args)
{
	int status = 0, environment;

	if (n_args > 2)
		return refuse("--check takes at most an environment and a folder");
	if (n_args > 0) {
		if ((environment = find_environment(config, args[0])) < 0)
			return 1;
		status = check_one(config, environment, n_args > 1 ? args[1] : NULL);
	}
	for (int e = 0; n_args == 0 && e < ENVIRONMENTS; e++)
		if (config->environments[e].configured)
			status = worse(status, check_one(config, e, NULL));
	if (fflush(stdout) != 0)
		return refuse("cannot write to standard output");
	return status;
}

/* ---- backup and restore ---- */

int
offline_backup(const struct config *config, char *const *args, int n_args)
{
	struct store_options options;
	char why[WHY_LEN] = "";
	int environment;

	if (n_args != 2)
		return refuse("--backup takes an environment and the name of a new folder");
	if ((environment = find_environment(config, args[0])) < 0)
		return 1;
	options = options_of(config, environment, STORE_COPY);
	if (backup_make(&options, args[1], stdout, why, sizeof(why)) != 0)
		return refuse(why);
	return fflush(stdout) == 0 ? 0 : refuse("the copy is made, but standard output cannot be written to");
}

int
offline_restore(const struct config *config, char *const *args, int n_args, const char *events, bool accept_revived)
{
	struct store_options options;
	char why[WHY_LEN] = "";
	FILE *file = NULL;
	int environment, rc;

	if (n_args != 1)
		return refuse("--restore takes an environment, whose path holds the copy");
	if (events == NULL && !accept_revived)
		return refuse(
		    "--restore needs --events FILE, with the output of fob events --output json, to end again what ended "
		    "after the copy was taken; or --accept-revived, if keys that ended since then may be valid again");
	if ((environment = find_environment(config, args[0])) < 0)
		return 1;
	if (events != NULL && (file = strcmp(events, "-") == 0 ? stdin : fopen(events, "re")) == NULL) {
		snprintf(why, sizeof(why), "%s: %s", events, strerror(errno));
		return refuse(why);
	}
	options = options_of(config, environment, STORE_RESTORE);
	rc = restore_backup(&options, file, accept_revived, stdout, why, sizeof(why));
	(void)fflush(stdout);
	if (file != NULL)
		fclose(file);
	if (rc != 0)
		return refuse(why);
	store_note(&options);
	return fflush(stdout) == 0 ? 0 : refuse("it is restored, but standard output cannot be written to");
}

static bool
has_database(const struct store_options *options)
{
	struct lmdb_file file;

	return lmdb_file_at(options->path, &file) != -FAULT_NOT_FOUND;
}

/* Returns 0 with the options of the environment ${args}[0]; 1 with the error said. */
static int
take_environment(const struct config *config, char *const *args, int n_args, enum store_use use, const char *usage,
    struct store_options *out)
{
	int environment;

	if (n_args != 1)
		return refuse(usage);
	if ((environment = find_environment(config, args[0])) < 0)
		return 1;
	*out = options_of(config, environment, use);
	return 0;
}

int
offline_join(const struct config *config, char *const *args, int n_args)
{
	struct store_options options;
	char why[WHY_LEN] = "";

	if (take_environment(config, args, n_args, STORE_RESTORE,
		"--join takes an environment, whose path holds a copy of another node's database, or none", &options) != 0)
		return 1;
	if ((has_database(&options) ? join_cluster : join_empty)(&options, stdout, why, sizeof(why)) != 0)
		return refuse(why);
	store_note(&options);
	return fflush(stdout) == 0 ? 0 : refuse("it has joined, but standard output cannot be written to");
}

int
offline_leave(const struct config *config, char *const *args, int n_args)
{
	struct store_options options;
	char why[WHY_LEN] = "";

	if (take_environment(config, args, n_args, STORE_SERVE, "--leave takes an environment", &options) != 0)
		return 1;
	if (join_leave(&options, stdout, why, sizeof(why)) != 0)
		return refuse(why);
	return fflush(stdout) == 0 ? 0 : refuse("it has left, but standard output cannot be written to");
}
