/*
 * cli.h - what the files of the `fob` command share: the options as given, the connection, and how a fault is told.
 * fob.c fills it in; commands.c has the tables of commands and options; one file per noun (account.c, import.c, key.c,
 * verify.c, events.c, health.c, backup.c, cluster.c, offline.c) holds the commands.
 * Threads: none, except those that libfob has.
 */
#ifndef CLI_H
#define CLI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <jansson.h>

#include "client/cli/input.h"
#include "client/fob.h"

#define CLI_ADDRESS_DEFAULT "ipc:///run/fob/admin.sock"
#define CLI_TIMEOUT_DEFAULT_MS 5000
/* Of `fob cluster wait`, whose --timeout is that of the whole wait. */
#define CLI_WAIT_DEFAULT_MS 60000
#define CLI_WAIT_MAX_MS (24 * 3600 * 1000)

/* The exit codes, as the manual page has them. */
enum cli_exit { CLI_OK = 0, CLI_LOCAL = 1, CLI_FAULT = 2, CLI_DENIED = 3, CLI_CONFLICT = 4 };

enum cli_option {
	/* Every command that asks fobd takes these. */
	OPT_ADDRESS,
	OPT_TIMEOUT,
	OPT_OUTPUT,
	OPT_YES,
	OPT_NO_COLOR,
	OPT_TLS_CA,
	OPT_TLS_CERT,
	OPT_TLS_KEY,
	OPT_TLS_SERVER_NAME,
	OPT_HELP,
	OPT_VERSION,
	/* These, the commands that list them. */
	OPT_ENVIRONMENT,
	OPT_KIND,
	OPT_GENERATION,
	OPT_EXPECTED_GENERATION,
	OPT_GRACE,
	OPT_AUTHORIZE_FROM,
	OPT_SECRET_FILE,
	OPT_TOKEN_FILE,
	OPT_BASIC,
	OPT_OPERATION,
	OPT_REQUIRE,
	OPT_ACCOUNT,
	OPT_FOLLOW,
	OPT_FORMAT,
	OPT_START_LINE,
	OPT_CONTINUE_ON_ERROR,
	OPT_DRY_RUN,
	OPT_CONFIG,
	OPT_EVENTS,
	OPT_ACCEPT_REVIVED,
	OPT_IS_OFF,
	OPT_COUNT
};
/* Sets of options are uint64_t, a bit each. */
#define CLI_BIT(option) (UINT64_C(1) << (option))
_Static_assert(OPT_COUNT <= 64, "options fit their bit set");

struct cli {
	const char *name;               /* of the command, "key roll" */
	bool changes;                   /* it makes changes */
	const char *options[OPT_COUNT]; /* as given: NULL if not, "" for one that takes no value */
	const char *args[2];            /* what is neither option nor command; NULL where there is none */
	const char *address;
	uint32_t timeout_ms;       /* of a call */
	uint32_t wait_ms;          /* of `fob cluster wait` */
	struct fob_client *client; /* after cli_connect() */
	char rerun[48];            /* what a rerun under the same token must add, " --expected-generation 3" */
};

/* Without its dashes. */
const char *cli_option_name(enum cli_option option);

/*
 * cli_connect(cli):
 * Make the client. Looks for the socket of an ipc:// address first, because libfob waits for a server to come.
 * Returns: CLI_OK, or the exit code with the reason said.
 */
int cli_connect(struct cli *cli);

/* The exit code that belongs to a fault. */
int cli_code(int fault);
/* Of two exit codes, the one that matters more to who runs several things in one command. */
int cli_worse(int a, int b);

/*
 * cli_fault(cli, where, fault, error):
 * Say what went wrong; ${where}, if not NULL, names the part ("live") of a command that has several.
 * Returns: the exit code.
 */
int cli_fault(const struct cli *cli, const char *where, int fault, const struct fob_error *error);

/* Whether a mutation that ended in ${fault}, or 0, surely was applied or surely was not. */
bool cli_settled(int fault);

/*
 * cli_unsettled(cli, token):
 * After a mutation that is not settled: say that it may have been applied all the same, and how to find out safely.
 */
void cli_unsettled(const struct cli *cli, struct token *token);

/*
 * cli_may_show(cli):
 * Before a change whose new secret is shown once: see that standard output can be written to.
 * Returns: CLI_OK; CLI_LOCAL, having said why not.
 */
int cli_may_show(const struct cli *cli);

/*
 * cli_shown(cli, token):
 * After secrets were written: see that they arrived, and say that it was the only time.
 * Returns: CLI_OK; CLI_LOCAL when they did not, having said how to get them.
 */
int cli_shown(const struct cli *cli, struct token *token);

/*
 * Options into values. Each says what is wrong with it and returns CLI_LOCAL, or CLI_OK.
 * cli_environments: the one of --environment, or both; *${n} of them. cli_environment: it must be given.
 */
int cli_environments(const struct cli *cli, enum fob_environment envs[2], size_t *n);
int cli_environment(const struct cli *cli, enum cli_option option, enum fob_environment *env);

/*
 * cli_served(cli, envs, n):
 * Once connected: of both environments leave those that this fobd serves, and say so if it is one. One that was asked
 * for by name stays, so that its absence is a fault.
 * Returns: CLI_OK; the exit code, having said it.
 */
int cli_served(const struct cli *cli, enum fob_environment envs[2], size_t *n);

/* See that it can be an account's id. */
int cli_account(const struct cli *cli, const char *account);

/* Refuses, with the reason said, when a question would have to be asked (no --yes) and nobody can be. */
int cli_may_confirm(const struct cli *cli);
/* Asks "... [y/N]" unless --yes. Returns CLI_OK, or CLI_LOCAL: no. */
int cli_confirm(const struct cli *cli, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Become fobd with ${flag}, our words, and the options that it shares with us. Returns only when that fails. */
int cli_become_fobd(const struct cli *cli, const char *flag);

/* The commands. Each returns an exit code, having said what there is to say. */
int cli_account_create(struct cli *cli);
int cli_account_list(struct cli *cli);
int cli_account_suspend(struct cli *cli);
int cli_account_resume(struct cli *cli);
int cli_account_import(struct cli *cli);
int cli_key_list(struct cli *cli);
int cli_key_roll(struct cli *cli);
int cli_key_revoke(struct cli *cli);
int cli_verify(struct cli *cli);
int cli_events(struct cli *cli);
int cli_health(struct cli *cli);
int cli_stats(struct cli *cli);
int cli_cluster_init(struct cli *cli);
int cli_cluster_reinit(struct cli *cli);
int cli_cluster_compare(struct cli *cli);
int cli_cluster_join(struct cli *cli);
int cli_cluster_leave(struct cli *cli);
int cli_cluster_status(struct cli *cli);
int cli_cluster_wait(struct cli *cli);
int cli_cluster_forget(struct cli *cli);
int cli_check(struct cli *cli);
int cli_backup(struct cli *cli);
int cli_restore(struct cli *cli);
int cli_pepper_rotate(struct cli *cli);

extern const char account_create_help[], account_list_help[], account_suspend_help[], account_resume_help[],
    account_import_help[];
extern const char cluster_reinit_help[], cluster_join_help[], cluster_leave_help[], cluster_compare_help[];
extern const char cluster_init_help[], cluster_status_help[], cluster_wait_help[], cluster_forget_help[];
extern const char key_list_help[], key_roll_help[], key_revoke_help[];
extern const char verify_help[], events_help[], health_help[], stats_help[], check_help[], backup_help[],
    restore_help[], pepper_rotate_help[];

/* A key as an object; a new reference, or NULL. ${secret} may be NULL. */
json_t *key_json(const struct fob_key *key, const char *secret);

#endif
