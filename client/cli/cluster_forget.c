/*
 * cluster_forget.c - fob cluster forget: a node that is off is taken out of the cluster.
 */
#include "client/cli/cluster.h"

#include <string.h>
#include <strings.h>

#include "client/cli/out.h"

const char cluster_forget_help[] = "Usage: fob cluster forget REPLICA --is-off [--environment live|test]\n"
				   "\n"
				   "Take a node that is off, and will stay off, out of the cluster at once: changes\n"
				   "wait for it no longer. A node that is cleanly stopped, or started again on its\n"
				   "machine, needs none of that. Asks first, at a terminal; elsewhere it takes --yes.\n"
				   "\n"
				   "  REPLICA                 the node's id, or its first digits, as `fob cluster\n"
				   "                          status` shows it\n"
				   "  --is-off                you have seen that the node is off. A node that is on\n"
				   "                          would answer with former states, such as VALID for a\n"
				   "                          key that was revoked, for up to its max_staleness\n"
				   "  --environment live|test only there\n"
				   "\n"
				   "Example:\n"
				   "  fob cluster forget 5f1c09ab --is-off\n";

/* The node that was found by the first digits of its id. */
struct found {
	unsigned n; /* different ones */
	enum fob_environment env;
	struct fob_cluster_node node;
};

static void
find_in(const struct fob_cluster_status *s, enum fob_environment env, const char *digits, struct found *found)
{
	char replica[CLUSTER_ID_HEX_SIZE];

	for (size_t i = 0; i < s->n_nodes; i++) {
		cluster_id_hex(s->nodes[i]->replica, replica);
		if (strncasecmp(replica, digits, strlen(digits)) != 0)
			continue;
		/* A node that was started again may have two rows for a while. */
		if (found->n == 0 || memcmp(found->node.replica, s->nodes[i]->replica, FOB_CLUSTER_ID_LEN) != 0)
			found->n++;
		found->env = env;
		found->node = *s->nodes[i];
	}
}

/* Returns CLI_OK, with one node at ${found}; or the exit code, having said why not. */
static int
find(struct cli *cli, struct found *found)
{
	struct fob_cluster_status *status;
	enum fob_environment envs[2];
	size_t n, absent = 0;
	int rc;

	if ((rc = cluster_begin(cli, envs, &n)) != CLI_OK)
		return rc;
	for (size_t i = 0; i < n; i++) {
		if ((rc = cluster_status_of(cli, envs[i], &status, &absent)) != CLI_OK)
			return rc;
		if (status != NULL)
			find_in(status, envs[i], cli->args[0], found);
		fob_cluster_status_free(status);
	}
	if ((rc = cluster_all_absent(cli, envs, n, absent, CLI_OK)) != CLI_OK)
		return rc;
	if (found->n == 0) {
		out_say("%s: NOT_FOUND: no node %s; `fob cluster status` shows them", cli->name, cli->args[0]);
		return CLI_DENIED;
	}
	if (found->n > 1) {
		out_say("%s: the ids of %u nodes begin with %s: give more digits", cli->name, found->n, cli->args[0]);
		return CLI_LOCAL;
	}
	if (!found->node.self)
		return CLI_OK;
	out_say("%s: %s is the node that was asked, so it is on", cli->name, cli->args[0]);
	return CLI_CONFLICT;
}

static int
forget_run(struct cli *cli, const struct found *found)
{
	const struct fob_cluster_forget_request request = { FOB_CLUSTER_FORGET_REQUEST_INIT, .environment = found->env,
		.replica = found->node.replica };
	const char *env = fob_environment_name(found->env);
	char replica[CLUSTER_ID_HEX_SIZE];
	struct fob_error error;
	int rc;

	if ((rc = fob_cluster_forget(cli->client, &request, &error)) != 0) {
		int code = cli_fault(cli, env, rc, &error);

		if (!cli_settled(rc))
			out_say("it may or may not have been applied: the same command can be given again");
		return code;
	}
	cluster_id_hex(found->node.replica, replica);
	if (out_is_json())
		out_json(json_pack("{s:s, s:s}", "environment", env, "forgotten", replica));
	else
		out_pair(OUT_PLAIN, env, "forgotten: %s", replica);
	return CLI_OK;
}

int
cli_cluster_forget(struct cli *cli)
{
	size_t digits = strspn(cli->args[0], "0123456789abcdefABCDEF");
	struct found found = { 0 };
	int rc;

	if (digits < CLUSTER_ID_SHORT || digits >= CLUSTER_ID_HEX_SIZE || cli->args[0][digits] != '\0') {
		out_say("%s: a node is named by %d to %d hexadecimal digits, as `fob cluster status` shows them",
		    cli->name, CLUSTER_ID_SHORT, CLUSTER_ID_HEX_SIZE - 1);
		return CLI_LOCAL;
	}
	if (cli->options[OPT_IS_OFF] == NULL) {
		out_say("%s: a node that is on would answer with former states, such as VALID for a key that was "
			"revoked: see that it is off, and will stay off, and say so with --is-off",
		    cli->name);
		return CLI_LOCAL;
	}
	if (cli_may_confirm(cli) != CLI_OK)
		return CLI_LOCAL;
	if ((rc = find(cli, &found)) != CLI_OK)
		return rc;
	if (cli_confirm(cli, "Forget node %s of %s%s%s, which is off and will stay off?", cli->args[0],
		fob_environment_name(found.env), found.node.address[0] != '\0' ? ", at " : "",
		found.node.address) != CLI_OK)
		return CLI_LOCAL;
	return forget_run(cli, &found);
}
