/*
 * commands.c - the tables of commands and options (see commands.h).
 */
#include "client/cli/commands.h"

#include <stdio.h>
#include <string.h>

#define GLOBAL_OPTIONS (CLI_BIT(OPT_ENVIRONMENT) - 1) /* all that come before it */
/* Of those, what a command takes that asks no fobd: --address must not be thought to say whose database is meant. */
#define OFFLINE_OPTIONS (CLI_BIT(OPT_YES) | CLI_BIT(OPT_NO_COLOR) | CLI_BIT(OPT_HELP) | CLI_BIT(OPT_VERSION))

const struct command_option command_option_table[OPT_COUNT] = {
	[OPT_ADDRESS] = { "address", "ipc://|tcp://|tls+tcp://", "where fobd listens" },
	[OPT_TIMEOUT] = { "timeout", "TIME", "how long to wait for an answer" },
	[OPT_OUTPUT] = { "output", "table|json", "for people or for programs" },
	[OPT_YES] = { "yes", NULL, "do not ask before a change" },
	[OPT_NO_COLOR] = { "no-color", NULL, "no colours" },
	[OPT_TLS_CA] = { "tls-ca", "FILE", "the CA of the server's certificate" },
	[OPT_TLS_CERT] = { "tls-cert", "FILE", "the client's certificate" },
	[OPT_TLS_KEY] = { "tls-key", "FILE", "the key of the client's certificate" },
	[OPT_TLS_SERVER_NAME] = { "tls-server-name", "NAME", "the name in the server's certificate" },
	[OPT_HELP] = { "help", NULL, "explain the command" },
	[OPT_VERSION] = { "version", NULL, "print the version" },
	[OPT_ENVIRONMENT] = { "environment", "live|test", "which environment" },
	[OPT_KIND] = { "kind", "secret|publishable", "which kind of key" },
	[OPT_GENERATION] = { "generation", "N", "which generation of the key" },
	[OPT_EXPECTED_GENERATION] = { "expected-generation", "N", "roll only this generation" },
	[OPT_GRACE] = { "grace", "TIME", "how long the old key stays valid" },
	[OPT_AUTHORIZE_FROM] = { "authorize-from", "FILE", "the current secret key, which agrees" },
	[OPT_SECRET_FILE] = { "secret-file", "FILE", "read the key from there" },
	[OPT_TOKEN_FILE] = { "token-file", "FILE", "makes running it again safe" },
	[OPT_BASIC] = { "basic", NULL, "read an Authorization header" },
	[OPT_OPERATION] = { "operation", "NAME", "may the key do that?" },
	[OPT_REQUIRE] = { "require", "live|test", "the key must be of that environment" },
	[OPT_ACCOUNT] = { "account", "ACCOUNT", "only of that account" },
	[OPT_FOLLOW] = { "follow", NULL, "go on, as events happen" },
	[OPT_FORMAT] = { "format", "ndjson|csv", "what the file is" },
	[OPT_START_LINE] = { "start-line", "N", "pass over the lines before" },
	[OPT_CONTINUE_ON_ERROR] = { "continue-on-error", NULL, "go on after a line that is refused" },
	[OPT_DRY_RUN] = { "dry-run", NULL, "check the file, send nothing" },
	[OPT_CONFIG] = { "config", "FILE", "fobd's settings" },
	[OPT_EVENTS] = { "events", "FILE", "what has ended since" },
	[OPT_ACCEPT_REVIVED] = { "accept-revived", NULL, "keys that have ended are valid again" },
	[OPT_IS_OFF] = { "is-off", NULL, "the node is off, and will stay off" },
};

const struct command commands[] = {
	{ "account create", cli_account_create, CLI_BIT(OPT_ENVIRONMENT) | CLI_BIT(OPT_TOKEN_FILE), 1, 1, "ACCOUNT",
	    "make an account and print its four keys, once", account_create_help },
	{ "account list", cli_account_list, CLI_BIT(OPT_ENVIRONMENT), 0, 0, "", "all accounts", account_list_help },
	{ "account suspend", cli_account_suspend, CLI_BIT(OPT_ENVIRONMENT) | CLI_BIT(OPT_TOKEN_FILE), 1, 1, "ACCOUNT",
	    "refuse all keys of an account, until it is resumed", account_suspend_help },
	{ "account resume", cli_account_resume, CLI_BIT(OPT_ENVIRONMENT) | CLI_BIT(OPT_TOKEN_FILE), 1, 1, "ACCOUNT",
	    "take the keys of a suspended account again", account_resume_help },
	{ "account import", cli_account_import,
	    CLI_BIT(OPT_ENVIRONMENT) | CLI_BIT(OPT_FORMAT) | CLI_BIT(OPT_START_LINE) | CLI_BIT(OPT_CONTINUE_ON_ERROR) |
		CLI_BIT(OPT_DRY_RUN),
	    0, 1, "[FILE]", "bring accounts and digests of keys from elsewhere", account_import_help },
	{ "key list", cli_key_list, CLI_BIT(OPT_ENVIRONMENT), 1, 1, "ACCOUNT",
	    "an account's keys, and when each was last used", key_list_help },
	{ "key roll", cli_key_roll,
	    CLI_BIT(OPT_ENVIRONMENT) | CLI_BIT(OPT_GRACE) | CLI_BIT(OPT_EXPECTED_GENERATION) |
		CLI_BIT(OPT_AUTHORIZE_FROM) | CLI_BIT(OPT_TOKEN_FILE),
	    1, 1, "ACCOUNT", "make a new secret key; the old one lasts 24 hours more", key_roll_help },
	{ "key revoke", cli_key_revoke,
	    CLI_BIT(OPT_ENVIRONMENT) | CLI_BIT(OPT_KIND) | CLI_BIT(OPT_GENERATION) | CLI_BIT(OPT_SECRET_FILE) |
		CLI_BIT(OPT_TOKEN_FILE),
	    0, 1, "[ACCOUNT]", "end one key now, for ever", key_revoke_help },
	{ "verify", cli_verify,
	    CLI_BIT(OPT_SECRET_FILE) | CLI_BIT(OPT_BASIC) | CLI_BIT(OPT_OPERATION) | CLI_BIT(OPT_REQUIRE), 0, 0, "",
	    "whose key is this, and may it do that?", verify_help },
	{ "events", cli_events, CLI_BIT(OPT_ENVIRONMENT) | CLI_BIT(OPT_ACCOUNT) | CLI_BIT(OPT_FOLLOW), 0, 0, "",
	    "what happened to accounts and keys", events_help },
	{ "health", cli_health, 0, 0, 1, "[SERVICE]", "is it serving?", health_help },
	{ "stats", cli_stats, 0, 0, 0, "", "counters and sizes", stats_help },
	{ "cluster init", cli_cluster_init, CLI_BIT(OPT_ENVIRONMENT) | CLI_BIT(OPT_TOKEN_FILE), 0, 0, "",
	    "make a database the first node of a new cluster", cluster_init_help },
	{ "cluster compare", cli_cluster_compare, CLI_BIT(OPT_ENVIRONMENT), 1, 1, "ADDRESS",
	    "have two nodes the same accounts, keys and events?", cluster_compare_help },
	{ "cluster reinit", cli_cluster_reinit, CLI_BIT(OPT_ENVIRONMENT) | CLI_BIT(OPT_TOKEN_FILE), 0, 0, "",
	    "the cluster's log is lost: make a new one", cluster_reinit_help },
	{ "cluster join", cli_cluster_join, CLI_BIT(OPT_CONFIG), 1, 1, "ENV", "make the database of a new node, offline",
	    cluster_join_help },
	{ "cluster leave", cli_cluster_leave, CLI_BIT(OPT_CONFIG), 1, 1, "ENV",
	    "let a database be in no cluster any more, offline", cluster_leave_help },
	{ "cluster status", cli_cluster_status, CLI_BIT(OPT_ENVIRONMENT), 0, 0, "", "what a node knows of its cluster",
	    cluster_status_help },
	{ "cluster wait", cli_cluster_wait, CLI_BIT(OPT_ENVIRONMENT), 0, 0, "", "wait until a node serves",
	    cluster_wait_help },
	{ "cluster forget", cli_cluster_forget, CLI_BIT(OPT_ENVIRONMENT) | CLI_BIT(OPT_IS_OFF), 1, 1, "REPLICA",
	    "take a node that is off out of its cluster", cluster_forget_help },
	{ "check", cli_check, CLI_BIT(OPT_CONFIG), 0, 2, "[ENV [FOLDER]]", "prove that a database is whole, offline",
	    check_help },
	{ "backup", cli_backup, CLI_BIT(OPT_CONFIG), 2, 2, "ENV FOLDER", "copy a database that is served",
	    backup_help },
	{ "restore", cli_restore, CLI_BIT(OPT_CONFIG) | CLI_BIT(OPT_EVENTS) | CLI_BIT(OPT_ACCEPT_REVIVED), 1, 1, "ENV",
	    "let a copy be served, with what has ended since", restore_help },
	{ "pepper rotate", cli_pepper_rotate, CLI_BIT(OPT_CONFIG), 1, 1, "ENV",
	    "give a database a new pepper, while it is served", pepper_rotate_help },
};
const size_t commands_n = sizeof(commands) / sizeof(commands[0]);

const char *
cli_option_name(enum cli_option option)
{
	return command_option_table[option].name;
}

bool
command_is_offline(const struct command *command)
{
	return (command->options & CLI_BIT(OPT_CONFIG)) != 0 && command->run != cli_backup;
}

uint64_t
command_options(const struct command *command)
{
	return command->options | (command_is_offline(command) ? OFFLINE_OPTIONS : GLOBAL_OPTIONS);
}

int
command_option(const char *name, size_t len)
{
	for (int i = 0; i < OPT_COUNT; i++) {
		if (strlen(command_option_table[i].name) == len && memcmp(command_option_table[i].name, name, len) == 0)
			return i;
	}
	return -1;
}

const struct command *
command_find(const char *const *word, size_t n, size_t *used)
{
	char name[64];

	for (*used = n < 2 ? n : 2; *used > 0; --*used) {
		snprintf(name, sizeof(name), "%s%s%s", word[0], *used == 2 ? " " : "", *used == 2 ? word[1] : "");
		for (size_t i = 0; i < commands_n; i++) {
			if (strcmp(commands[i].name, name) == 0)
				return &commands[i];
		}
	}
	return NULL;
}

const char *
command_verb(const struct command *command, const char *noun)
{
	size_t len = strlen(noun);

	return strncmp(command->name, noun, len) == 0 && command->name[len] == ' ' ? command->name + len + 1 : NULL;
}

bool
command_is_noun(const char *word)
{
	for (size_t i = 0; i < commands_n; i++) {
		if (command_verb(&commands[i], word) != NULL)
			return true;
	}
	return false;
}
