/*
 * offline.c - fob check, restore and pepper rotate, and fob backup --config: what is done to a database itself, not
 * asked of a fobd that serves it. Each replaces this process by the fobd that was installed with this fob; nothing
 * here opens a database.
 */
#include "client/cli/cli.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "client/cli/out.h"

#define ARGS_MAX 12

const char check_help[] = "Usage: fob check [--config FILE] [live|test [FOLDER]]\n"
			  "\n"
			  "Prove that a database is whole, or say what is not: each key in one slot, one\n"
			  "current generation of each, deadlines, tokens and events as they belong\n"
			  "together, no serial twice, every record's tag. Both environments, or one; with\n"
			  "FOLDER a backup of it. Reads only, and needs the pepper. A folder that a fobd\n"
			  "serves is refused: stop it, or check a backup.\n"
			  "\n"
			  "  --config FILE  fobd's settings (default: /etc/fob/fobd.conf)\n"
			  "\n"
			  "One line for each environment, then one for each violation.\n"
			  "\n"
			  "Examples:\n"
			  "  fob check\n"
			  "  fob check live /backup/live-2026-01-31\n";

const char restore_help[] = "Usage: fob restore [--config FILE] live|test --events FILE [--accept-revived]\n"
			    "       fob restore [--config FILE] live|test --accept-revived\n"
			    "\n"
			    "A backup knows nothing of the keys that ended after it was taken, so fobd does\n"
			    "not serve one. Put it at the environment's path, with fobd stopped; then this\n"
			    "ends those keys, too, and lets it be served. Run it as the user that fobd runs\n"
			    "as: it makes files there.\n"
			    "\n"
			    "  --events FILE     what fob events --output json printed: the newest event that\n"
			    "                    the backup has, and all since; - is standard input\n"
			    "  --accept-revived  do without: what has ended since is valid again. With\n"
			    "                    --events, use what fits of a file that lacks the backup's\n"
			    "                    newest event, or has events of other accounts or keys\n"
			    "  --config FILE     fobd's settings (default: /etc/fob/fobd.conf)\n"
			    "\n"
			    "It says which accounts lost their newest secret key, and are to be rolled, and\n"
			    "which were made after the backup, and are missing.\n"
			    "Afterwards make a new backup, and begin a new file of events: their numbers\n"
			    "may be given again, and a file that has two of one number is refused.\n"
			    "\n"
			    "Examples:\n"
			    "  fob restore live --events /elsewhere/events.json\n";

const char pepper_rotate_help[] = "Usage: fob pepper rotate [--config FILE] live|test\n"
				  "\n"
				  "Add a new line to the pepper of an environment, for when the old one may have\n"
				  "been seen. Then copy the file to where its copies are, and have fobd reload\n"
				  "(systemctl reload fobd, or SIGHUP): it moves the database to the new pepper while\n"
				  "it serves, and logs \"pepper rotated\" at the end; fob stats says how far it is.\n"
				  "Run it as the user that fobd runs as. Fifteen times at most.\n"
				  "\n"
				  "  --config FILE  fobd's settings (default: /etc/fob/fobd.conf)\n"
				  "\n"
				  "Keep all lines of the file: each is needed, for ever. Copies of the database\n"
				  "from before open with it, too; destroy those that you do not need.\n"
				  "\n"
				  "Examples:\n"
				  "  fob pepper rotate live\n";

/* Beside this fob, as built; in ../sbin, as installed. Returns false when there is none. */
static bool
find_beside(char path[PATH_MAX])
{
	static const char *const places[] = { "fobd", "../sbin/fobd" };
	char self[PATH_MAX];
	ssize_t len = readlink("/proc/self/exe", self, sizeof(self) - 1);

	if (len <= 0)
		return false;
	self[len] = '\0';
	strrchr(self, '/')[1] = '\0';
	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		int n = snprintf(path, PATH_MAX, "%s%s", self, places[i]);

		if (n > 0 && n < PATH_MAX && access(path, X_OK) == 0)
			return true;
	}
	return false;
}

/* execv() takes arguments that it does not change. */
static char *
unchanged(const char *text)
{
	union {
		const char *in;
		char *out;
	} u = { .in = text };

	return u.out;
}

int
cli_become_fobd(const struct cli *cli, const char *flag)
{
	char path[PATH_MAX], *argv[ARGS_MAX];
	size_t n = 0;

	argv[n++] = unchanged("fobd");
	if (cli->options[OPT_CONFIG] != NULL) {
		argv[n++] = unchanged("--config");
		argv[n++] = unchanged(cli->options[OPT_CONFIG]);
	}
	argv[n++] = unchanged(flag);
	if (cli->options[OPT_EVENTS] != NULL) {
		argv[n++] = unchanged("--events");
		argv[n++] = unchanged(cli->options[OPT_EVENTS]);
	}
	if (cli->options[OPT_ACCEPT_REVIVED] != NULL)
		argv[n++] = unchanged("--accept-revived");
	argv[n++] = unchanged("--");
	for (size_t i = 0; i < sizeof(cli->args) / sizeof(cli->args[0]) && cli->args[i] != NULL; i++)
		argv[n++] = unchanged(cli->args[i]);
	argv[n] = NULL;
	if (find_beside(path))
		execv(path, argv);
	else
		execvp("fobd", argv);
	out_say("%s: cannot run fobd, which does this: %s", cli->name, strerror(errno));
	return CLI_LOCAL;
}

int
cli_check(struct cli *cli)
{
	return cli_become_fobd(cli, "--check");
}

int
cli_restore(struct cli *cli)
{
	return cli_become_fobd(cli, "--restore");
}

int
cli_pepper_rotate(struct cli *cli)
{
	return cli_become_fobd(cli, "--rotate-pepper");
}
