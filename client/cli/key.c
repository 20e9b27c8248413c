/*
 * key.c - fob key list, roll, revoke; and how a key reads, for account.c as well.
 * Never ends a key without a question or --yes, and then only the one that the question named.
 */
#include "client/cli/cli.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "client/cli/out.h"
#include "client/cli/text.h"

const char key_list_help[] = "Usage: fob key list ACCOUNT [--environment live|test]\n"
			     "\n"
			     "All keys of an account, ended ones included: their state, when they end, and in\n"
			     "which minute each was last used. So one sees whether an old key is still in use\n"
			     "before its grace ends. GEN is the generation. Secrets are never shown; LAST4 are\n"
			     "their last four characters.\n"
			     "\n"
			     "States: current; grace (superseded by a roll, still valid until END); expired and\n"
			     "revoked (for ever, since END).\n"
			     "\n"
			     "Examples:\n"
			     "  fob key list acct_42\n"
			     "  fob key list acct_42 --environment live --output json\n";

const char key_roll_help[] =
    "Usage: fob key roll ACCOUNT --environment live|test [--grace TIME] [--expected-generation N]\n"
    "                    [--authorize-from FILE|-] [--token-file FILE]\n"
    "\n"
    "Make a new secret key and print it, once. The old one stays valid for its\n"
    "grace: 24 hours, unless --grace asks for less. Earlier keys that are in grace\n"
    "keep their own end. Only secret keys roll.\n"
    "\n"
    "  --grace TIME            0 to 24h, with its unit: 90s, 30m, 24h. 0 ends the\n"
    "                          old key at once (it has leaked): that asks first, at\n"
    "                          a terminal; elsewhere it takes --yes\n"
    "  --expected-generation N only if N is the current generation; otherwise\n"
    "                          nothing happens and the exit code is 4\n"
    "  --authorize-from FILE   the current secret key, in FILE or on standard input\n"
    "                          (-), has to agree to the roll\n"
    "  --token-file FILE       makes a rerun safe: FILE (made if absent) holds the\n"
    "                          request's token, and the same command with the same\n"
    "                          FILE shows the same new key again for 24 hours, and\n"
    "                          rolls nothing. Keep it as you keep a key, and remove\n"
    "                          it when you have the new one\n"
    "\n"
    "Examples:\n"
    "  fob key roll acct_42 --environment live\n"
    "  fob key roll acct_42 --environment live --grace 2h --token-file roll.token\n"
    "  fob key roll acct_42 --environment test --grace 0 --yes --output json\n";

const char key_revoke_help[] =
    "Usage: fob key revoke ACCOUNT --environment live|test --kind secret|publishable --generation N\n"
    "       fob key revoke --secret-file FILE|-\n"
    "\n"
    "End one key now, and for ever: from when this command returns it is refused.\n"
    "Asks first, at a terminal; elsewhere it takes --yes. A current key has no\n"
    "successor until the next roll.\n"
    "\n"
    "  --environment, --kind, --generation\n"
    "                          which key: `fob key list ACCOUNT` shows them\n"
    "  --secret-file FILE|-    the key itself, found in the wild: in FILE, or on\n"
    "                          standard input (-; a hidden prompt at a terminal).\n"
    "                          Whose it is, fobd knows\n"
    "  --token-file FILE       makes a rerun safe, as for `fob key roll`\n"
    "\n"
    "Examples:\n"
    "  fob key revoke acct_42 --environment live --kind secret --generation 3\n"
    "  fob key revoke --secret-file leaked.txt --yes\n";

json_t *
key_json(const struct fob_key *key, const char *secret)
{
	json_t *o = json_pack("{s:s, s:s, s:s, s:I, s:s, s:s}", "account", key->account, "environment",
	    fob_environment_name(key->environment), "kind", fob_kind_name(key->kind), "generation",
	    (json_int_t)key->generation, "last4", key->last4, "state", fob_key_state_name(key->state));

	out_json_time(o, "created", key->created_ms);
	/* One that was revoked does not live until then. */
	out_json_time(o, "expires", key->state == FOB_KEY_STATE_REVOKED ? 0 : key->expires_ms);
	out_json_time(o, "ended", key->ended_ms);
	out_json_time(o, "last_used", key->last_used_ms);
	if (secret != NULL && json_object_set_new(o, "secret", json_string(secret)) != 0) {
		json_decref(o);
		return NULL;
	}
	return o;
}

static void
key_table(void)
{
	static const char *const titles[] = { "ENV", "KIND", "GEN", "LAST4", "STATE", "CREATED", "END", "LAST USED" };

	out_table(titles, sizeof(titles) / sizeof(titles[0]));
}

static void
key_row(const struct fob_key *k)
{
	bool in_grace = k->state == FOB_KEY_STATE_GRACE;
	enum out_colour colour = k->state == FOB_KEY_STATE_CURRENT ? OUT_GOOD : in_grace ? OUT_WARN : OUT_DIM;

	out_cell(OUT_PLAIN, "%s", fob_environment_name(k->environment));
	out_cell(OUT_PLAIN, "%s", fob_kind_name(k->kind));
	out_cell(OUT_PLAIN, "%u", (unsigned)k->generation);
	out_cell(OUT_PLAIN, "%s", k->last4);
	out_cell(colour, "%s", fob_key_state_name(k->state));
	out_cell_time(k->created_ms);
	out_cell_time(k->ended_ms != 0 ? k->ended_ms : k->expires_ms);
	out_cell_time(k->last_used_ms);
}

/* ---- list ---- */

/* One environment's keys. *${absent} counts the environments that do not have the account: no fault by itself. */
static int
list_in(struct cli *cli, enum fob_environment env, size_t *absent)
{
	const struct fob_list_request request = { FOB_LIST_REQUEST_INIT, .environment = env, .account = cli->args[0],
		.page_size = FOB_PAGE_MAX };
	struct fob_cursor cursor = { 0 };
	struct fob_key_page *page;
	struct fob_error error;
	int rc;

	do {
		rc = fob_list_keys(cli->client, &request, &cursor, &page, &error);
		if (rc == FOB_ENOT_FOUND) {
			++*absent;
			return CLI_OK;
		}
		if (rc != 0)
			return cli_fault(cli, fob_environment_name(env), rc, &error);
		for (size_t i = 0; i < page->n; i++) {
			if (out_is_json())
				out_item(key_json(page->keys[i], NULL));
			else
				key_row(page->keys[i]);
		}
		fob_key_page_free(page);
	} while (!cursor.done && out_flush() == 0);
	return CLI_OK;
}

int
cli_key_list(struct cli *cli)
{
	enum fob_environment envs[2];
	size_t n, absent = 0;
	int rc;

	if (cli_account(cli, cli->args[0]) != CLI_OK || cli_environments(cli, envs, &n) != CLI_OK)
		return CLI_LOCAL;
	if ((rc = cli_connect(cli)) != CLI_OK || (rc = cli_served(cli, envs, &n)) != CLI_OK)
		return rc;
	if (out_is_json()) {
		out_open();
		out_member("account", json_string(cli->args[0]));
		out_array("keys");
	} else {
		key_table();
	}
	for (size_t i = 0; i < n; i++)
		rc = cli_worse(rc, list_in(cli, envs[i], &absent));
	if (absent == n) {
		out_say("%s: NOT_FOUND: no account %s%s%s", cli->name, cli->args[0], n == 1 ? " in " : "",
		    n == 1 ? fob_environment_name(envs[0]) : "");
		rc = CLI_DENIED;
	}
	if (!out_is_json()) {
		if (absent < n)
			out_rows();
	} else if (rc == CLI_OK || absent == n) {
		/* Otherwise it stays open: half a list must not read as a whole one. */
		out_array_end();
		out_close();
	}
	return rc;
}

/*
 * Look up the key of ${generation} in its slot, or the current one for 0, so that a question can name it.
 * Returns CLI_OK, or the exit code with the reason said.
 */
static int
find(struct cli *cli, enum fob_environment env, enum fob_kind kind, uint32_t generation, const char *account,
    struct fob_key *key)
{
	const struct fob_list_request request = { FOB_LIST_REQUEST_INIT, .environment = env, .account = account,
		.page_size = FOB_PAGE_MAX };
	struct fob_cursor cursor = { 0 };
	struct fob_key_page *page;
	struct fob_error error;
	int rc;

	do {
		if ((rc = fob_list_keys(cli->client, &request, &cursor, &page, &error)) != 0)
			return cli_fault(cli, NULL, rc, &error);
		for (size_t i = 0; i < page->n; i++) {
			*key = *page->keys[i];
			if (key->kind == kind &&
			    (generation == 0 ? key->state == FOB_KEY_STATE_CURRENT : key->generation == generation)) {
				fob_key_page_free(page);
				return CLI_OK;
			}
		}
		fob_key_page_free(page);
	} while (!cursor.done);
	memset(key, 0, sizeof(*key));
	return CLI_OK;
}

/* ---- roll ---- */

static int
roll_options(const struct cli *cli, struct fob_roll_request *roll)
{
	int64_t ms;

	*roll = (struct fob_roll_request){ FOB_ROLL_REQUEST_INIT, .account = cli->args[0], .kind = FOB_KIND_SECRET };
	if (cli_account(cli, cli->args[0]) != CLI_OK ||
	    cli_environment(cli, OPT_ENVIRONMENT, &roll->environment) != CLI_OK)
		return CLI_LOCAL;
	if (cli->options[OPT_GRACE] != NULL) {
		if (text_duration_ms(cli->options[OPT_GRACE], &ms) != 0 || ms % 1000 != 0 ||
		    ms / 1000 > FOB_GRACE_MAX_S) {
			out_say("--grace is a time with its unit, in whole seconds from 0 to 24h: 90s, 30m, 24h");
			return CLI_LOCAL;
		}
		roll->grace_s = ms == 0 ? FOB_GRACE_NONE_S : (uint32_t)(ms / 1000);
	}
	if (cli->options[OPT_EXPECTED_GENERATION] != NULL &&
	    text_number(cli->options[OPT_EXPECTED_GENERATION], 1, UINT32_MAX, &roll->expected_generation) != 0) {
		out_say("--expected-generation is a number from 1 on, as `fob key list` shows it");
		return CLI_LOCAL;
	}
	return CLI_OK;
}

/*
 * Name the key that a roll without grace would end, and ask. The roll then ends that key or none: were another operator
 * to roll meanwhile, the leaked key would live on in grace and theirs would end. A rerun under a token must send what
 * the first run sent, so there the generation stays as it was given.
 */
static int
roll_confirm(struct cli *cli, struct fob_roll_request *roll)
{
	enum fob_environment env = roll->environment;
	struct fob_key key;
	int rc;

	if (roll->grace_s != FOB_GRACE_NONE_S || cli->options[OPT_YES] != NULL)
		return CLI_OK;
	if ((rc = find(cli, env, FOB_KIND_SECRET, roll->expected_generation, cli->args[0], &key)) != CLI_OK)
		return rc;
	if (key.generation == 0)
		return cli_confirm(
		    cli, "Roll the secret %s key of %s without grace?", fob_environment_name(env), cli->args[0]);
	if (cli->options[OPT_TOKEN_FILE] == NULL && roll->expected_generation == 0) {
		roll->expected_generation = key.generation;
		snprintf(cli->rerun, sizeof(cli->rerun), " --expected-generation %u", (unsigned)key.generation);
	}
	return cli_confirm(cli, "Roll, and end secret %s key %u (\xe2\x80\xa6%s) of %s at once?",
	    fob_environment_name(env), (unsigned)key.generation, key.last4, cli->args[0]);
}

static void
roll_show(const struct fob_rolled_key *rolled)
{
	const struct fob_key *new_key = rolled->new_key->key, *old = rolled->old_key;
	bool ended;

	if (out_is_json()) {
		json_t *o = json_object();

		json_object_set_new(o, "new_key", key_json(new_key, rolled->new_key->secret));
		json_object_set_new(o, "old_key", old != NULL ? key_json(old, NULL) : json_null());
		out_json(json_object_size(o) == 2 ? o : (json_decref(o), NULL));
		return;
	}
	out_pair(OUT_PLAIN, "account", "%s", new_key->account);
	out_pair(OUT_PLAIN, "key", "%s %s", fob_environment_name(new_key->environment), fob_kind_name(new_key->kind));
	out_pair(OUT_PLAIN, "generation", "%u", (unsigned)new_key->generation);
	out_pair(OUT_GOOD, "new secret", "%s", rolled->new_key->secret);
	if (old == NULL)
		return;
	ended = old->state == FOB_KEY_STATE_EXPIRED || old->state == FOB_KEY_STATE_REVOKED;
	out_pair(OUT_PLAIN, "old generation", "%u", (unsigned)old->generation);
	out_pair(OUT_PLAIN, "old last4", "%s", old->last4);
	out_pair(ended ? OUT_DIM : OUT_WARN, "old state", "%s", fob_key_state_name(old->state));
	out_pair_time(ended ? "old ended" : "old valid until", ended ? old->ended_ms : old->expires_ms);
}

static int
roll_run(struct cli *cli, struct fob_roll_request *roll, struct token *token)
{
	struct fob_rolled_key *rolled;
	struct fob_error error;
	int rc;

	roll->token = token->bytes;
	if ((rc = fob_roll_key(cli->client, roll, &rolled, &error)) != 0) {
		int code = cli_fault(cli, NULL, rc, &error);

		if (!cli_settled(rc))
			cli_unsettled(cli, token);
		return code;
	}
	roll_show(rolled);
	fob_rolled_key_free(rolled);
	return cli_shown(cli, token);
}

int
cli_key_roll(struct cli *cli)
{
	const char *from = cli->options[OPT_AUTHORIZE_FROM];
	static struct input secret;
	struct fob_roll_request roll;
	struct token token;
	int rc = CLI_LOCAL;

	if (roll_options(cli, &roll) != CLI_OK || (roll.grace_s == FOB_GRACE_NONE_S && cli_may_confirm(cli) != CLI_OK))
		return CLI_LOCAL;
	if (from != NULL) {
		if (input_read(from, "current secret key", &secret) != 0)
			goto out;
		roll.authorizing_secret = secret.bytes;
		roll.authorizing_secret_len = secret.len;
	}
	if ((rc = cli_connect(cli)) != CLI_OK || (rc = roll_confirm(cli, &roll)) != CLI_OK)
		goto out;
	rc = CLI_LOCAL;
	if (cli_may_show(cli) != CLI_OK || token_init(&token, cli->options[OPT_TOKEN_FILE]) != 0)
		goto out;
	rc = roll_run(cli, &roll, &token);
	token_fini(&token);
out:
	input_fini(&secret);
	return rc;
}

/* ---- revoke ---- */

/* Which key, from options. */
static int
revoke_options(const struct cli *cli, struct fob_key *key)
{
	const char *kind = cli->options[OPT_KIND], *generation = cli->options[OPT_GENERATION];

	if (cli_account(cli, cli->args[0]) != CLI_OK ||
	    cli_environment(cli, OPT_ENVIRONMENT, &key->environment) != CLI_OK)
		return CLI_LOCAL;
	if (kind != NULL && strcmp(kind, "secret") == 0) {
		key->kind = FOB_KIND_SECRET;
	} else if (kind != NULL && strcmp(kind, "publishable") == 0) {
		key->kind = FOB_KIND_PUBLISHABLE;
	} else {
		out_say("%s %s --kind secret or --kind publishable", cli->name, kind == NULL ? "needs" : "takes");
		return CLI_LOCAL;
	}
	if (generation == NULL || text_number(generation, 1, UINT32_MAX, &key->generation) != 0) {
		out_say("%s needs --generation, a number from 1 on, as `fob key list` shows it", cli->name);
		return CLI_LOCAL;
	}
	snprintf(key->account, sizeof(key->account), "%s", cli->args[0]);
	return CLI_OK;
}

/* Which key, from the key itself. One that has ended is known all the same, so its verdict is not looked at. */
static int
revoke_by_secret(struct cli *cli, const struct input *secret, struct fob_key *key)
{
	const struct fob_verify_request request = { FOB_VERIFY_REQUEST_INIT, .secret = secret->bytes,
		.secret_len = secret->len };
	struct fob_verification v = { FOB_VERIFICATION_INIT };
	struct fob_error error;
	int rc;

	if ((rc = fob_verify(cli->client, &request, &v, &error)) != 0)
		return cli_fault(cli, NULL, rc, &error);
	if (v.account[0] == '\0' || v.generation == 0) {
		out_say("%s: %s: that is not a key of any account here%s%s", cli->name, fob_verdict_name(v.verdict),
		    v.detail[0] != '\0' ? ": " : "", v.detail);
		return CLI_DENIED;
	}
	key->environment = v.environment;
	key->kind = v.kind;
	key->generation = v.generation;
	memcpy(key->account, v.account, sizeof(key->account));
	memcpy(key->last4, v.last4, sizeof(key->last4));
	return CLI_OK;
}

static int
revoke_confirm(struct cli *cli, struct fob_key *key)
{
	struct fob_key found = { 0 };
	int rc;

	if (cli->options[OPT_YES] != NULL)
		return CLI_OK;
	if (key->last4[0] == '\0') {
		if ((rc = find(cli, key->environment, key->kind, key->generation, key->account, &found)) != CLI_OK)
			return rc;
		if (found.generation == 0) {
			out_say("%s: NOT_FOUND: %s has no %s %s key %u", cli->name, key->account,
			    fob_kind_name(key->kind), fob_environment_name(key->environment),
			    (unsigned)key->generation);
			return CLI_DENIED;
		}
		memcpy(key->last4, found.last4, sizeof(key->last4));
	}
	return cli_confirm(cli, "Revoke %s %s key %u (\xe2\x80\xa6%s) of %s?", fob_kind_name(key->kind),
	    fob_environment_name(key->environment), (unsigned)key->generation, key->last4, key->account);
}

static int
revoke_run(struct cli *cli, const struct fob_key *key, struct token *token)
{
	const struct fob_revoke_request request = { FOB_REVOKE_REQUEST_INIT, .environment = key->environment,
		.account = key->account, .kind = key->kind, .generation = key->generation, .token = token->bytes };
	struct fob_key ended = { FOB_KEY_INIT };
	struct fob_error error;
	int rc;

	if ((rc = fob_revoke_key(cli->client, &request, &ended, &error)) != 0) {
		int code = cli_fault(cli, NULL, rc, &error);

		if (!cli_settled(rc))
			cli_unsettled(cli, token);
		return code;
	}
	if (out_is_json()) {
		out_json(key_json(&ended, NULL));
		return CLI_OK;
	}
	out_pair(OUT_PLAIN, "account", "%s", ended.account);
	out_pair(OUT_PLAIN, "key", "%s %s", fob_environment_name(ended.environment), fob_kind_name(ended.kind));
	out_pair(OUT_PLAIN, "generation", "%u", (unsigned)ended.generation);
	out_pair(OUT_PLAIN, "last4", "%s", ended.last4);
	out_pair(OUT_BAD, "state", "%s", fob_key_state_name(ended.state));
	out_pair_time("ended", ended.ended_ms);
	return CLI_OK;
}

int
cli_key_revoke(struct cli *cli)
{
	const char *from = cli->options[OPT_SECRET_FILE];
	static struct input secret;
	struct fob_key key = { FOB_KEY_INIT };
	struct token token;
	int rc = CLI_LOCAL;

	if (from != NULL &&
	    (cli->args[0] != NULL || cli->options[OPT_ENVIRONMENT] != NULL || cli->options[OPT_KIND] != NULL ||
		cli->options[OPT_GENERATION] != NULL)) {
		out_say("%s takes either --secret-file or an account with --environment, --kind and --generation",
		    cli->name);
		return CLI_LOCAL;
	}
	if (from == NULL && cli->args[0] == NULL) {
		out_say("%s needs an account, or --secret-file; see fob %s --help", cli->name, cli->name);
		return CLI_LOCAL;
	}
	if ((from == NULL && revoke_options(cli, &key) != CLI_OK) || cli_may_confirm(cli) != CLI_OK ||
	    (from != NULL && input_read(from, "secret", &secret) != 0))
		goto out;
	if ((rc = cli_connect(cli)) != CLI_OK ||
	    (from != NULL && (rc = revoke_by_secret(cli, &secret, &key)) != CLI_OK) ||
	    (rc = revoke_confirm(cli, &key)) != CLI_OK)
		goto out;
	rc = CLI_LOCAL;
	if (token_init(&token, cli->options[OPT_TOKEN_FILE]) != 0)
		goto out;
	rc = revoke_run(cli, &key, &token);
	token_fini(&token);
out:
	input_fini(&secret);
	return rc;
}
