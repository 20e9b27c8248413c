/*
 * flags.c - fobd's command line (see flags.h). Opens no file.
 */
#include "service/flags.h"

#include <getopt.h>
#include <stdio.h>

#define DEFAULT_CONFIG "/etc/fob/fobd.conf"

const char flags_usage[] =
    "Usage: fobd [--config FILE] [OPTION...]\n"
    "       fobd [--config FILE] --check [live|test [FOLDER]]\n"
    "       fobd [--config FILE] --backup live|test FOLDER\n"
    "       fobd [--config FILE] --restore [--events FILE] [--accept-revived] live|test\n"
    "       fobd [--config FILE] --join|--leave live|test\n"
    "       fobd [--config FILE] --rotate-pepper live|test\n"
    "\n"
    "The daemon of Fob: whose API key is this, and may it do that?\n"
    "It runs in the foreground and logs to standard error. SIGTERM and SIGINT end it after what is under way;\n"
    "SIGHUP has it read its settings, TLS files and peppers again.\n"
    "\n"
    "  -c, --config FILE    settings; default " DEFAULT_CONFIG ". service/fobd.conf documents them all\n"
    "      --init           make the folders, peppers and databases that are missing, then exit\n"
    "      --check          prove that the databases are whole, while no fobd serves them, then exit: 0 when they\n"
    "                       are, 2 when one is not, 1 when it could not be found out. FOLDER: a backup to look at\n"
    "      --backup         copy the database of an environment, which may be served, to a new folder, then exit\n"
    "      --restore        let a copy be served that was put at the environment's path, then exit: see fob restore\n"
    "      --events FILE    for --restore: what fob events --output json printed; - is standard input\n"
    "      --accept-revived for --restore: keys that have ended since the copy was taken may be valid again\n"
    "      --join           make the database of a new node of a cluster, then exit: of a copy of another node's that\n"
    "                       was put at the environment's path or, if there is none, an empty one. A node with an\n"
    "                       empty one fetches a copy itself when it runs. People say fob cluster join\n"
    "      --leave          let a database be in no cluster any more, then exit: see fob cluster leave\n"
    "      --check-config   read the settings, then exit: 0 when they are right\n"
    "      --rotate-pepper  add a new line to the pepper of an environment, then exit: on SIGHUP, or at its next\n"
    "                       start, fobd moves the database to it while it serves. People say fob pepper rotate\n"
    "      --log-level L    error, warn, info or debug, in place of the setting\n"
    "      --log-format F   logfmt or json, in place of the setting\n"
    "      --version        print the version, then exit\n"
    "  -h, --help           print this, then exit\n";

/* An option's number: the mode that it asks for, or one of these. */
enum { OPTION_CONFIG = 256, OPTION_EVENTS, OPTION_ACCEPT_REVIVED, OPTION_LOG_LEVEL, OPTION_LOG_FORMAT };

static const struct option options[] = {
	{ "config", required_argument, NULL, OPTION_CONFIG },
	{ "init", no_argument, NULL, MODE_INIT },
	{ "check", no_argument, NULL, MODE_CHECK },
	{ "backup", no_argument, NULL, MODE_BACKUP },
	{ "restore", no_argument, NULL, MODE_RESTORE },
	{ "events", required_argument, NULL, OPTION_EVENTS },
	{ "accept-revived", no_argument, NULL, OPTION_ACCEPT_REVIVED },
	{ "join", no_argument, NULL, MODE_JOIN },
	{ "leave", no_argument, NULL, MODE_LEAVE },
	{ "check-config", no_argument, NULL, MODE_CHECK_CONFIG },
	{ "rotate-pepper", no_argument, NULL, MODE_ROTATE_PEPPER },
	{ "log-level", required_argument, NULL, OPTION_LOG_LEVEL },
	{ "log-format", required_argument, NULL, OPTION_LOG_FORMAT },
	{ "version", no_argument, NULL, MODE_VERSION },
	{ "help", no_argument, NULL, MODE_HELP },
	{ NULL, 0, NULL, 0 },
};

/* By mode: its option, and how many arguments it may have. */
static const struct {
	const char *name;
	int args_max;
} modes[] = {
	[MODE_SERVE] = { "fobd", 0 },
	[MODE_HELP] = { "--help", 0 },
	[MODE_VERSION] = { "--version", 0 },
	[MODE_INIT] = { "--init", 0 },
	[MODE_CHECK_CONFIG] = { "--check-config", 0 },
	[MODE_CHECK] = { "--check", 2 },
	[MODE_BACKUP] = { "--backup", 2 },
	[MODE_RESTORE] = { "--restore", 1 },
	[MODE_JOIN] = { "--join", 1 },
	[MODE_LEAVE] = { "--leave", 1 },
	[MODE_ROTATE_PEPPER] = { "--rotate-pepper", 1 },
};

/* Help wins. Returns 0; -1: another mode was asked for before. */
static int
take_mode(struct flags *flags, enum mode mode)
{
	if (flags->mode == MODE_HELP)
		return 0;
	if (mode != MODE_HELP && flags->mode != MODE_SERVE && flags->mode != mode) {
		fprintf(stderr, "fobd: %s and %s exclude each other\n", modes[flags->mode].name, modes[mode].name);
		return -1;
	}
	flags->mode = mode;
	return 0;
}

static int
take_option(struct flags *flags, int option)
{
	switch (option) {
	case 'c':
	case OPTION_CONFIG:
		flags->config = optarg;
		return 0;
	case OPTION_EVENTS:
		flags->events = optarg;
		return 0;
	case OPTION_ACCEPT_REVIVED:
		flags->accept_revived = true;
		return 0;
	case OPTION_LOG_LEVEL:
		flags->log_level = optarg;
		return 0;
	case OPTION_LOG_FORMAT:
		flags->log_format = optarg;
		return 0;
	case 'h':
		return take_mode(flags, MODE_HELP);
	case '?':
		fputs("fobd: see fobd --help\n", stderr);
		return -1;
	default:
		return take_mode(flags, (enum mode)option);
	}
}

/* Does each option and argument belong to the mode? */
static int
check_mode(const struct flags *flags)
{
	if ((flags->events != NULL || flags->accept_revived) && flags->mode != MODE_RESTORE) {
		fprintf(stderr, "fobd: %s goes only with --restore\n",
		    flags->events != NULL ? "--events" : "--accept-revived");
		return -1;
	}
	if (flags->n_args > modes[flags->mode].args_max) {
		fprintf(stderr, "fobd: unexpected argument \"%s\": see fobd --help\n",
		    flags->args[modes[flags->mode].args_max]);
		return -1;
	}
	return 0;
}

int
flags_parse(int argc, char *argv[], struct flags *flags)
{
	int option;

	*flags = (struct flags){ .mode = MODE_SERVE, .config = DEFAULT_CONFIG };
	while ((option = getopt_long(argc, argv, "c:h", options, NULL)) != -1)
		if (take_option(flags, option) != 0)
			return -1;
	flags->args = argv + optind;
	flags->n_args = argc - optind;
	return check_mode(flags);
}
