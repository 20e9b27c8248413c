/*
 * fob.c - main of the `fob` command: harden the process, read the arguments, find the command, run it.
 * Never takes a secret from argv, and never repeats an argument that looks like one.
 */
#include "client/cli/cli.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client/cli/commands.h"
#include "client/cli/completion.h"
#include "client/cli/out.h"
#include "client/cli/text.h"
#include "proto/c/key_form.h"
#include "proto/c/program.h"

/* ---- texts ---- */

static const char overview[] = "Usage: fob [OPTIONS] COMMAND [ARGUMENTS]\n"
			       "\n"
			       "Ask and administer fobd: whose API key is this, and may it do that?\n"
			       "\n"
			       "Commands:\n";

static const char offline_options[] =
    "\n"
    "Done here, by the fobd that was installed with this fob, and to the databases\n"
    "that its settings name: no fobd is asked, so there is no --address, and none of\n"
    "the other options of a connection.\n"
    "\n"
    "Exit codes: 0 done, whole; 1 not done, or it could not be found out, and why;\n"
    "2 not whole.\n";

static const char common_options[] =
    "\n"
    "Options of every command that asks fobd, before or after it:\n"
    "  --address URL           where fobd listens: ipc://PATH, tcp://HOST:PORT or\n"
    "                          tls+tcp://HOST:PORT (default: $FOB_ADDR, or else\n"
    "                          " CLI_ADDRESS_DEFAULT ")\n"
    "  --timeout TIME          how long to wait for an answer: 500ms, 5s, up to 60s\n"
    "                          (default: 5s)\n"
    "  --output table|json     for people or for programs (default: table)\n"
    "  --yes                   do not ask before a change that stops keys from working,\n"
    "                          or that gives up a node or a cluster\n"
    "  --no-color              no colours; they are also off without a terminal, or\n"
    "                          with $NO_COLOR set\n"
    "  --tls-ca FILE           tls+tcp: the CA that signed the server's certificate\n"
    "  --tls-cert FILE         tls+tcp: our own certificate,\n"
    "  --tls-key FILE          and its key\n"
    "  --tls-server-name NAME  tls+tcp: the name in the server's certificate\n"
    "                          (default: the host)\n"
    "  --help, --version\n"
    "\n"
    "Exit codes: 0 done, verified; 1 wrong usage or a local problem; 2 no answer;\n"
    "3 denied or not found; 4 conflict (exists already, not the expected generation,\n"
    "not possible in this state).\n";

static const char first_steps[] = "\n"
				  "First steps:\n"
				  "  fob health                               is fobd there?\n"
				  "  fob account create acct_42               four keys, shown once\n"
				  "  fob verify                               asks for a key, which is never an\n"
				  "                                           argument; or --secret-file FILE\n"
				  "  fob key roll acct_42 --environment live  a new secret key; the old one works\n"
				  "                                           for 24 hours more\n"
				  "  fob key list acct_42                     what there is, and when it was used\n"
				  "\n"
				  "`fob COMMAND --help` explains each command, with examples; so does `man fob`.\n";

/* ---- help ---- */

static void
help_overview(void)
{
	char line[160];

	out_text(overview);
	for (size_t i = 0; i < commands_n; i++) {
		snprintf(line, sizeof(line), "  %s%s%-*s %s\n", commands[i].name,
		    commands[i].args[0] == '\0' ? "" : " ",
		    (int)(24 - strlen(commands[i].name) - (commands[i].args[0] == '\0' ? 0 : 1)), commands[i].args,
		    commands[i].summary);
		out_text(line);
	}
	out_text(first_steps);
	out_text(common_options);
}

/* The commands that start with ${noun}. */
static void
help_noun(const char *noun)
{
	char line[160];

	snprintf(line, sizeof(line), "Usage: fob %s COMMAND [ARGUMENTS]\n\n", noun);
	out_text(line);
	for (size_t i = 0; i < commands_n; i++) {
		if (command_verb(&commands[i], noun) == NULL)
			continue;
		snprintf(line, sizeof(line), "  fob %s%s%s\n      %s\n", commands[i].name,
		    commands[i].args[0] == '\0' ? "" : " ", commands[i].args, commands[i].summary);
		out_text(line);
	}
	snprintf(line, sizeof(line), "\n`fob %s COMMAND --help` explains each, with examples.\n", noun);
	out_text(line);
}

/* ---- the command line ---- */

struct words {
	size_t n;
	const char *word[4]; /* a noun, a verb, an argument, and one more to be told off for */
};

/* Take the option argv[*${i}], and its value, which may be the next argument. */
static int
parse_option(struct cli *cli, int argc, char *argv[], int *i)
{
	const char *name = argv[*i] + 2, *equals = strchr(name, '=');
	size_t len = equals != NULL ? (size_t)(equals - name) : strlen(name);
	int option = -1;

	if (strcmp(argv[*i], "-h") == 0)
		option = OPT_HELP;
	else if (strncmp(argv[*i], "--", 2) == 0)
		option = command_option(name, len);
	if (option < 0) {
		out_say("unknown option %s; fob --help lists them", argv[*i]);
		return CLI_LOCAL;
	}
	if (command_option_table[option].value == NULL && equals != NULL) {
		out_say("--%s takes no value", command_option_table[option].name);
		return CLI_LOCAL;
	}
	if (command_option_table[option].value == NULL) {
		cli->options[option] = "";
		return CLI_OK;
	}
	if (equals == NULL && *i + 1 >= argc) {
		out_say("--%s needs a value", command_option_table[option].name);
		return CLI_LOCAL;
	}
	cli->options[option] = equals != NULL ? equals + 1 : argv[++*i];
	if (cli->options[option][0] == '\0') {
		out_say("--%s needs a value, not an empty one", command_option_table[option].name);
		return CLI_LOCAL;
	}
	return CLI_OK;
}

static int
parse(struct cli *cli, int argc, char *argv[], struct words *words)
{
	bool only_words = false;

	for (int i = 1; i < argc; i++) {
		if (key_form_in(argv[i], strlen(argv[i]))) {
			out_say(
			    "an argument looks like an API key, or like a header with one. Keys are never taken "
			    "from the command line, where other users and the shell's history see them: give it "
			    "on standard input, at the prompt, or in a file (--secret-file FILE). Consider that key exposed: a "
			    "secret key should be rolled");
			return CLI_LOCAL;
		}
	}
	for (int i = 1; i < argc; i++) {
		if (!only_words && strcmp(argv[i], "--") == 0) {
			only_words = true;
		} else if (!only_words && argv[i][0] == '-' && argv[i][1] != '\0') {
			if (parse_option(cli, argc, argv, &i) != CLI_OK)
				return CLI_LOCAL;
		} else if (words->n < sizeof(words->word) / sizeof(words->word[0])) {
			words->word[words->n++] = argv[i];
		} else {
			out_say("too many arguments, from %s on", argv[i]);
			return CLI_LOCAL;
		}
	}
	return CLI_OK;
}

static int
no_command(const struct words *words)
{
	if (words->n == 0)
		out_say("which command? fob --help lists them");
	else if (!command_is_noun(words->word[0]))
		out_say("unknown command %s; fob --help lists them", words->word[0]);
	else if (words->n == 1)
		out_say("%s: which command? fob %s --help lists them", words->word[0], words->word[0]);
	else
		out_say(
		    "unknown command %s %s; fob %s --help lists them", words->word[0], words->word[1], words->word[0]);
	return CLI_LOCAL;
}

/* `fob help [COMMAND]` and `fob [COMMAND] --help`. */
static int
help(const struct words *words)
{
	size_t used;
	const struct command *command = command_find(words->word, words->n, &used);

	if (command != NULL) {
		out_text(command->help);
		out_text(command_is_offline(command) ? offline_options : common_options);
	} else if (words->n == 0) {
		help_overview();
	} else if (words->n == 1 && command_is_noun(words->word[0])) {
		help_noun(words->word[0]);
	} else {
		return no_command(words);
	}
	return CLI_OK;
}

/* Of a call, or of all of a wait. */
static int
timeout(struct cli *cli, bool waits)
{
	int64_t ms = waits ? CLI_WAIT_DEFAULT_MS : CLI_TIMEOUT_DEFAULT_MS;
	int64_t max_ms = waits ? CLI_WAIT_MAX_MS : FOB_TIMEOUT_MAX_MS;

	if (cli->options[OPT_TIMEOUT] != NULL &&
	    (text_duration_ms(cli->options[OPT_TIMEOUT], &ms) != 0 || ms < 1 || ms > max_ms)) {
		out_say("--timeout is a time with its unit, 1ms to %s: 500ms, 5s", waits ? "24h" : "60s");
		return CLI_LOCAL;
	}
	cli->wait_ms = (uint32_t)ms;
	cli->timeout_ms = waits ? CLI_TIMEOUT_DEFAULT_MS : (uint32_t)ms;
	return CLI_OK;
}

static int
settings(struct cli *cli, bool waits)
{
	const char *output = cli->options[OPT_OUTPUT], *env = getenv("FOB_ADDR"), *no_color = getenv("NO_COLOR");
	const char *term = getenv("TERM");

	if (output != NULL && strcmp(output, "table") != 0 && strcmp(output, "json") != 0) {
		out_say("--output is table or json");
		return CLI_LOCAL;
	}
	if (timeout(cli, waits) != CLI_OK)
		return CLI_LOCAL;
	cli->address = cli->options[OPT_ADDRESS] != NULL ? cli->options[OPT_ADDRESS] :
	    env != NULL && env[0] != '\0'                ? env :
							   CLI_ADDRESS_DEFAULT;
	out_setup(output != NULL && strcmp(output, "json") == 0,
	    cli->options[OPT_NO_COLOR] == NULL && (no_color == NULL || no_color[0] == '\0') &&
		(term == NULL || strcmp(term, "dumb") != 0));
	return CLI_OK;
}

/* See that ${command} gets what it takes, and hand it the words that are not its name. */
static int
fit(struct cli *cli, const struct command *command, const struct words *words, size_t used)
{
	uint64_t taken = command_options(command);
	size_t n = words->n - used;

	for (int i = 0; i < OPT_COUNT; i++) {
		if (cli->options[i] != NULL && (taken & CLI_BIT(i)) == 0) {
			out_say("%s takes no --%s; see fob %s --help", command->name, command_option_table[i].name,
			    command->name);
			return CLI_LOCAL;
		}
	}
	if (n < command->args_min) {
		out_say("%s needs %s; see fob %s --help", command->name, command->args, command->name);
		return CLI_LOCAL;
	}
	if (n > command->args_max) {
		out_say("%s: too many arguments, from %s on; see fob %s --help", command->name,
		    words->word[used + command->args_max], command->name);
		return CLI_LOCAL;
	}
	cli->name = command->name;
	cli->changes = (command->options & (CLI_BIT(OPT_TOKEN_FILE) | CLI_BIT(OPT_DRY_RUN))) != 0;
	for (size_t i = 0; i < n; i++)
		cli->args[i] = words->word[used + i];
	return CLI_OK;
}

static int
run(struct cli *cli, int argc, char *argv[])
{
	struct words words = { 0 };
	const struct command *command;
	size_t used;
	int rc;

	if (argc == 2 && strcmp(argv[1], COMPLETION_COMMAND) == 0)
		return completion();
	if (parse(cli, argc, argv, &words) != CLI_OK)
		return CLI_LOCAL;
	command = command_find(words.word, words.n, &used);
	if (settings(cli, command != NULL && command->run == cli_cluster_wait) != CLI_OK)
		return CLI_LOCAL;
	if (cli->options[OPT_VERSION] != NULL) {
		out_text("fob " FOB_VERSION "\n");
		return CLI_OK;
	}
	if (words.n > 0 && strcmp(words.word[0], "help") == 0) {
		memmove(words.word, words.word + 1, sizeof(words.word) - sizeof(words.word[0]));
		words.n--;
		return help(&words);
	}
	if (cli->options[OPT_HELP] != NULL)
		return help(&words);
	if (command == NULL)
		return no_command(&words);
	if ((rc = fit(cli, command, &words, used)) != CLI_OK)
		return rc;
	return command->run(cli);
}

/* ---- main ---- */

static void
leave(int signal_number)
{
	_exit(128 + signal_number);
}

/* The first process of a container has no default actions: a signal that it does not handle is dropped. */
static void
end_on_signals(void)
{
	static const int signals[] = { SIGHUP, SIGINT, SIGQUIT, SIGTERM };

	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]) && getpid() == 1; i++)
		signal(signals[i], leave);
}

/* No other process may read this one's memory or make a file of it. */
static int
harden(void)
{
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0 || setrlimit(RLIMIT_CORE, &(struct rlimit){ 0, 0 }) != 0)
		return -1;
	umask(077);
	end_on_signals();
	return 0;
}

int
main(int argc, char *argv[])
{
	struct cli cli = { .name = "fob", .rerun = "" };
	int rc, failed;

	if (program_begin() != 0) {
		out_say("a standard descriptor is closed, and /dev/null cannot be opened for it: %s", strerror(errno));
		return CLI_LOCAL;
	}
	if (harden() != 0) {
		out_say("cannot protect its own memory: %s", strerror(errno));
		return CLI_LOCAL;
	}
	rc = run(&cli, argc, argv);
	fob_client_free(cli.client);
	/* A reader that has left, such as `head -1`, has all that it wanted. */
	if ((failed = out_flush()) != 0 && failed != EPIPE) {
		out_say("standard output: %s", strerror(failed));
		rc = CLI_LOCAL;
	}
	out_fini();
	return rc;
}
