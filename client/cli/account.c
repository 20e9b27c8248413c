/*
 * account.c - fob account create, list, suspend, resume.
 * People see one account; fobd has two, one in each environment. Every command here goes through both unless told
 * otherwise, and what fails in one never hides what happened in the other.
 */
#include "client/cli/cli.h"

#include <string.h>

#include "client/cli/out.h"

const char account_create_help[] = "Usage: fob account create ACCOUNT [--environment live|test] [--token-file FILE]\n"
				   "\n"
				   "Make an account in both environments and print its four keys: secret and\n"
				   "publishable, live and test. This is the only time that they can be shown. Hand\n"
				   "them over, or keep the output of --output json where secrets belong.\n"
				   "\n"
				   "  ACCOUNT                 1 to 64 characters of A-Z, a-z, 0-9, '.', '_' and '-'\n"
				   "  --environment live|test only there\n"
				   "  --token-file FILE       makes a rerun safe: FILE (made if absent) holds the\n"
				   "                          request's token, and the same command with the same\n"
				   "                          FILE shows the same keys again for 24 hours. Keep it\n"
				   "                          as you keep a key, and remove it when you have the\n"
				   "                          keys\n"
				   "\n"
				   "If the account exists in one environment already, the other's keys are shown\n"
				   "all the same, and the exit code is 4.\n"
				   "\n"
				   "Examples:\n"
				   "  fob account create acct_42\n"
				   "  fob account create acct_42 --environment test --output json > keys.json\n";

const char account_list_help[] =
    "Usage: fob account list [--environment live|test]\n"
    "\n"
    "All accounts, in byte order, first live and then test: whether each is\n"
    "suspended, the current generation of its secret (SK GEN) and publishable key (PK\n"
    "GEN), and how many old keys are still in grace.\n"
    "\n"
    "Examples:\n"
    "  fob account list\n"
    "  fob account list --environment live --output json | jq -r '.accounts[] | select(.suspended) | .account'\n";

const char account_suspend_help[] = "Usage: fob account suspend ACCOUNT [--environment live|test] [--token-file FILE]\n"
				    "\n"
				    "Refuse all keys of an account from now on, in both environments, until `fob\n"
				    "account resume`. Keys are kept as they are, and a grace that ends meanwhile\n"
				    "ends. Asks first, at a terminal; elsewhere it takes --yes.\n"
				    "\n"
				    "  --environment live|test only there\n"
				    "  --token-file FILE       makes a rerun safe, as for `fob account create`\n"
				    "\n"
				    "Examples:\n"
				    "  fob account suspend acct_42\n"
				    "  fob account suspend acct_42 --environment live --yes\n";

const char account_resume_help[] = "Usage: fob account resume ACCOUNT [--environment live|test] [--token-file FILE]\n"
				   "\n"
				   "Take the keys of a suspended account again, in both environments.\n"
				   "\n"
				   "  --environment live|test only there\n"
				   "  --token-file FILE       makes a rerun safe, as for `fob account create`\n"
				   "\n"
				   "Example:\n"
				   "  fob account resume acct_42\n";

/* A fault in one of several environments, for programs. */
static json_t *
fault_json(enum fob_environment env, int fault, const struct fob_error *error)
{
	return json_pack("{s:s, s:s, s:s}", "environment", fob_environment_name(env), "fault", fob_fault_name(fault),
	    "message", error->message);
}

static json_t *
account_json(const struct fob_account *a)
{
	json_t *o = json_pack("{s:s, s:s, s:b, s:I, s:I, s:I}", "account", a->account, "environment",
	    fob_environment_name(a->environment), "suspended", (int)a->suspended, "secret_generation",
	    (json_int_t)a->secret_generation, "publishable_generation", (json_int_t)a->publishable_generation,
	    "keys_in_grace", (json_int_t)a->keys_in_grace);

	out_json_time(o, "created", a->created_ms);
	out_json_time(o, "suspended_since", a->suspended_ms);
	return o;
}

static void
account_table(void)
{
	static const char *const titles[] = { "ENV", "ACCOUNT", "STATE", "SK GEN", "PK GEN", "GRACE", "CREATED",
		"SUSPENDED" };

	out_table(titles, sizeof(titles) / sizeof(titles[0]));
}

static void
account_row(const struct fob_account *a)
{
	out_cell(OUT_PLAIN, "%s", fob_environment_name(a->environment));
	out_cell(OUT_PLAIN, "%s", a->account);
	out_cell(a->suspended ? OUT_BAD : OUT_GOOD, "%s", a->suspended ? "suspended" : "active");
	out_cell(OUT_PLAIN, "%u", (unsigned)a->secret_generation);
	out_cell(OUT_PLAIN, "%u", (unsigned)a->publishable_generation);
	out_cell(a->keys_in_grace > 0 ? OUT_WARN : OUT_PLAIN, "%u", (unsigned)a->keys_in_grace);
	out_cell_time(a->created_ms);
	out_cell_time(a->suspended_ms);
}

/* ---- create ---- */

static void
new_key_show(const struct fob_new_key *k)
{
	if (out_is_json()) {
		out_item(key_json(k->key, k->secret));
		return;
	}
	out_cell(OUT_PLAIN, "%s", fob_environment_name(k->key->environment));
	out_cell(OUT_PLAIN, "%s", fob_kind_name(k->key->kind));
	out_cell(OUT_PLAIN, "%u", (unsigned)k->key->generation);
	out_cell(OUT_PLAIN, "%s", k->secret);
}

/*
 * Create in one environment and show the keys at once: if the next environment hangs and the user loses patience, these
 * have been seen. Returns 0, or the fault, having said it.
 */
static int
create_in(struct cli *cli, enum fob_environment env, const struct token *token, json_t *faults)
{
	const struct fob_account_request request = { FOB_ACCOUNT_REQUEST_INIT, .environment = env,
		.account = cli->args[0], .token = token->bytes };
	struct fob_created_account *created;
	struct fob_error error;
	int rc = fob_create_account(cli->client, &request, &created, &error);

	if (rc != 0) {
		json_array_append_new(faults, fault_json(env, rc, &error));
		(void)cli_fault(cli, fob_environment_name(env), rc, &error);
	} else {
		new_key_show(created->secret_key);
		new_key_show(created->publishable_key);
		if (!out_is_json())
			out_rows();
		(void)out_flush();
	}
	fob_created_account_free(created);
	return rc;
}

static int
create_all(struct cli *cli, const enum fob_environment *envs, size_t n, struct token *token)
{
	static const char *const titles[] = { "ENV", "KIND", "GEN", "SECRET" };
	json_t *faults = json_array();
	bool shown = false, settled = true;
	int worst = CLI_OK;

	if (out_is_json()) {
		out_open();
		out_member("account", json_string(cli->args[0]));
		out_array("keys");
	} else {
		out_table(titles, sizeof(titles) / sizeof(titles[0]));
	}
	for (size_t i = 0; i < n && out_flush() == 0; i++) {
		int fault = create_in(cli, envs[i], token, faults);

		shown = shown || fault == 0;
		settled = settled && cli_settled(fault);
		worst = cli_worse(worst, cli_code(fault));
	}
	if (out_is_json()) {
		out_array_end();
		out_member("faults", faults);
		out_close();
	} else {
		json_decref(faults);
	}
	if (shown)
		worst = cli_worse(worst, cli_shown(cli, token));
	if (!settled)
		cli_unsettled(cli, token);
	return worst;
}

int
cli_account_create(struct cli *cli)
{
	enum fob_environment envs[2];
	struct token token;
	size_t n;
	int rc;

	if (cli_account(cli, cli->args[0]) != CLI_OK || cli_environments(cli, envs, &n) != CLI_OK)
		return CLI_LOCAL;
	if ((rc = cli_connect(cli)) != CLI_OK || (rc = cli_served(cli, envs, &n)) != CLI_OK)
		return rc;
	if (cli_may_show(cli) != CLI_OK || token_init(&token, cli->options[OPT_TOKEN_FILE]) != 0)
		return CLI_LOCAL;
	rc = create_all(cli, envs, n, &token);
	token_fini(&token);
	return rc;
}

/* ---- list ---- */

static int
list_in(struct cli *cli, enum fob_environment env)
{
	const struct fob_list_request request = { FOB_LIST_REQUEST_INIT, .environment = env,
		.page_size = FOB_PAGE_MAX };
	struct fob_cursor cursor = { 0 };
	struct fob_account_page *page;
	struct fob_error error;
	int rc;

	do {
		if ((rc = fob_list_accounts(cli->client, &request, &cursor, &page, &error)) != 0)
			return cli_fault(cli, fob_environment_name(env), rc, &error);
		for (size_t i = 0; i < page->n; i++) {
			if (out_is_json())
				out_item(account_json(page->accounts[i]));
			else
				account_row(page->accounts[i]);
		}
		fob_account_page_free(page);
	} while (!cursor.done && out_flush() == 0);
	return CLI_OK;
}

int
cli_account_list(struct cli *cli)
{
	enum fob_environment envs[2];
	int rc = CLI_OK;
	size_t n;

	if (cli_environments(cli, envs, &n) != CLI_OK)
		return CLI_LOCAL;
	if ((rc = cli_connect(cli)) != CLI_OK || (rc = cli_served(cli, envs, &n)) != CLI_OK)
		return rc;
	if (out_is_json()) {
		out_open();
		out_array("accounts");
	} else {
		account_table();
	}
	for (size_t i = 0; i < n; i++)
		rc = cli_worse(rc, list_in(cli, envs[i]));
	if (!out_is_json()) {
		out_rows();
	} else if (rc == CLI_OK) {
		/* Otherwise it stays open: half a list must not read as a whole one. */
		out_array_end();
		out_close();
	}
	return rc;
}

/* ---- suspend, resume ---- */

/* Returns 0, or the fault, having said it. */
static int
set_in(struct cli *cli, enum fob_environment env, bool suspend, const struct token *token, json_t *faults)
{
	const struct fob_account_request request = { FOB_ACCOUNT_REQUEST_INIT, .environment = env,
		.account = cli->args[0], .token = token->bytes };
	struct fob_account account = { FOB_ACCOUNT_INIT };
	struct fob_error error;
	int rc = suspend ? fob_suspend_account(cli->client, &request, &account, &error) :
			   fob_resume_account(cli->client, &request, &account, &error);

	if (rc != 0) {
		json_array_append_new(faults, fault_json(env, rc, &error));
		(void)cli_fault(cli, fob_environment_name(env), rc, &error);
	} else if (out_is_json()) {
		out_item(account_json(&account));
	} else {
		account_row(&account);
	}
	return rc;
}

static int
set_all(struct cli *cli, const enum fob_environment *envs, size_t n, bool suspend, struct token *token)
{
	json_t *faults = json_array();
	bool shown = false, settled = true;
	int worst = CLI_OK;

	if (out_is_json()) {
		out_open();
		out_array("accounts");
	} else {
		account_table();
	}
	for (size_t i = 0; i < n; i++) {
		int fault = set_in(cli, envs[i], suspend, token, faults);

		shown = shown || fault == 0;
		settled = settled && cli_settled(fault);
		worst = cli_worse(worst, cli_code(fault));
	}
	if (out_is_json()) {
		out_array_end();
		out_member("faults", faults);
		out_close();
	} else {
		json_decref(faults);
		if (shown)
			out_rows();
	}
	if (!settled)
		cli_unsettled(cli, token);
	return worst;
}

static int
set(struct cli *cli, bool suspend)
{
	enum fob_environment envs[2];
	struct token token;
	size_t n;
	int rc;

	if (cli_account(cli, cli->args[0]) != CLI_OK || cli_environments(cli, envs, &n) != CLI_OK ||
	    (suspend && cli_may_confirm(cli) != CLI_OK))
		return CLI_LOCAL;
	if ((rc = cli_connect(cli)) != CLI_OK || (rc = cli_served(cli, envs, &n)) != CLI_OK)
		return rc;
	if (suspend &&
	    cli_confirm(cli, "Suspend %s in %s, and refuse all its keys there?", cli->args[0],
		n == 2 ? "live and test" : fob_environment_name(envs[0])) != CLI_OK)
		return CLI_LOCAL;
	if (token_init(&token, cli->options[OPT_TOKEN_FILE]) != 0)
		return CLI_LOCAL;
	rc = set_all(cli, envs, n, suspend, &token);
	token_fini(&token);
	return rc;
}

int
cli_account_suspend(struct cli *cli)
{
	return set(cli, true);
}

int
cli_account_resume(struct cli *cli)
{
	return set(cli, false);
}
