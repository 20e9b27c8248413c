/*
 * cluster.c - fob cluster init and reinit, and what it shares with its siblings (see cluster.h).
 */
#include "client/cli/cluster.h"

#include <sodium.h>

#include "client/cli/out.h"

const char cluster_init_help[] = "Usage: fob cluster init --environment live|test [--token-file FILE]\n"
				 "\n"
				 "Make the database of an environment the first node of a new cluster. From then\n"
				 "on it serves only while fob-cluster, the agent beside fobd, can reach the\n"
				 "cluster's log in etcd: start the agent first. Other machines join by `fob cluster\n"
				 "join`.\n"
				 "\n"
				 "  --environment live|test which environment\n"
				 "  --token-file FILE       makes a rerun safe, as for `fob account create`\n"
				 "\n"
				 "Example:\n"
				 "  fob cluster init --environment live\n";

const char cluster_reinit_help[] = "Usage: fob cluster reinit --environment live|test [--token-file FILE]\n"
				   "\n"
				   "The cluster's log is lost, or was restored from an older snapshot, so that its\n"
				   "nodes have closed: make the database of the fobd that is asked the first node of a\n"
				   "new cluster. Choose the node with the newest entry (fob cluster status), and empty\n"
				   "the cluster's prefix in etcd first. All other nodes have to join anew. Refused\n"
				   "while this node serves. Asks first, at a terminal; elsewhere it takes --yes.\n"
				   "\n"
				   "  --environment live|test which environment\n"
				   "  --token-file FILE       makes a rerun safe, as for `fob account create`\n"
				   "\n"
				   "Example:\n"
				   "  fob cluster reinit --environment live\n";

void
cluster_id_hex(const uint8_t id[FOB_CLUSTER_ID_LEN], char out[CLUSTER_ID_HEX_SIZE])
{
	sodium_bin2hex(out, CLUSTER_ID_HEX_SIZE, id, FOB_CLUSTER_ID_LEN);
}

int
cluster_status_of(struct cli *cli, enum fob_environment env, struct fob_cluster_status **out, size_t *absent)
{
	const struct fob_cluster_status_request request = { FOB_CLUSTER_STATUS_REQUEST_INIT, .environment = env };
	struct fob_error error;
	int rc;

	if ((rc = fob_cluster_status(cli->client, &request, out, &error)) == 0)
		return CLI_OK;
	if (rc == FOB_EFAILED_PRECONDITION && cli->options[OPT_ENVIRONMENT] == NULL) {
		++*absent;
		return CLI_OK;
	}
	return cli_fault(cli, fob_environment_name(env), rc, &error);
}

int
cluster_all_absent(const struct cli *cli, const enum fob_environment *envs, size_t n, size_t absent, int rc)
{
	if (absent < n)
		return rc;
	out_say("%s: FAILED_PRECONDITION: %s%s in no cluster", cli->name, fob_environment_name(envs[0]),
	    n == 2 ? " and test are" : " is");
	return CLI_CONFLICT;
}

int
cluster_begin(struct cli *cli, enum fob_environment envs[2], size_t *n)
{
	int rc;

	if ((rc = cli_environments(cli, envs, n)) != CLI_OK || (rc = cli_connect(cli)) != CLI_OK)
		return rc;
	return cli_served(cli, envs, n);
}

/* ---- init ---- */

static void
identity_show(enum fob_environment env, const struct fob_cluster_identity *identity)
{
	char cluster[CLUSTER_ID_HEX_SIZE], replica[CLUSTER_ID_HEX_SIZE];

	cluster_id_hex(identity->cluster, cluster);
	cluster_id_hex(identity->replica, replica);
	if (out_is_json()) {
		out_json(json_pack("{s:s, s:s, s:s}", "environment", fob_environment_name(env), "cluster", cluster,
		    "replica", replica));
		return;
	}
	out_pair(OUT_PLAIN, "environment", "%s", fob_environment_name(env));
	out_pair(OUT_GOOD, "cluster", "%s", cluster);
	out_pair(OUT_PLAIN, "this replica", "%s", replica);
}

static int
init_run(struct cli *cli, enum fob_environment env, bool again, struct token *token)
{
	const struct fob_cluster_init_request request = { FOB_CLUSTER_INIT_REQUEST_INIT, .environment = env,
		.again = again, .token = token->bytes };
	struct fob_cluster_identity identity = { FOB_CLUSTER_IDENTITY_INIT };
	struct fob_error error;
	int rc, code;

	if ((rc = fob_cluster_init(cli->client, &request, &identity, &error)) != 0) {
		code = cli_fault(cli, fob_environment_name(env), rc, &error);
		if (!cli_settled(rc))
			cli_unsettled(cli, token);
		return code;
	}
	identity_show(env, &identity);
	return CLI_OK;
}

/* Connected. */
static int
init_with_token(struct cli *cli, enum fob_environment env, bool again)
{
	struct token token;
	int rc;

	if (token_init(&token, cli->options[OPT_TOKEN_FILE]) != 0)
		return CLI_LOCAL;
	rc = init_run(cli, env, again, &token);
	token_fini(&token);
	return rc;
}

int
cli_cluster_init(struct cli *cli)
{
	enum fob_environment env;
	int rc;

	if (cli_environment(cli, OPT_ENVIRONMENT, &env) != CLI_OK)
		return CLI_LOCAL;
	if ((rc = cli_connect(cli)) != CLI_OK)
		return rc;
	return init_with_token(cli, env, false);
}

int
cli_cluster_reinit(struct cli *cli)
{
	enum fob_environment env;
	int rc;

	if (cli_environment(cli, OPT_ENVIRONMENT, &env) != CLI_OK || cli_may_confirm(cli) != CLI_OK)
		return CLI_LOCAL;
	if ((rc = cli_connect(cli)) != CLI_OK)
		return rc;
	if (cli_confirm(cli, "Give up the cluster of %s, and make a new one that all other nodes have to join anew?",
		fob_environment_name(env)) != CLI_OK)
		return CLI_LOCAL;
	return init_with_token(cli, env, true);
}
