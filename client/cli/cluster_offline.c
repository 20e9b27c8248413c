/*
 * cluster_offline.c - fob cluster join and leave: what is done to the database of a node that does not run. Each replaces
 * this process by fobd.
 */
#include "client/cli/cluster.h"

#include "client/cli/out.h"

const char cluster_join_help[] = "Usage: fob cluster join [--config FILE] live|test\n"
				 "\n"
				 "Make the database of a new node of a cluster, on its machine, while no fobd runs\n"
				 "there. The pepper's file of the other nodes has to be there. Where there is no\n"
				 "database, the node fetches a copy when fobd and fob-cluster run, from another\n"
				 "node that has a listener of role \"peer\". Where a copy was put at the\n"
				 "environment's path (fob backup), it begins with that. Run it as the user that\n"
				 "fobd runs as: it makes files there.\n"
				 "\n"
				 "  --config FILE  fobd's settings (default: /etc/fob/fobd.conf)\n"
				 "\n"
				 "Example:\n"
				 "  fob cluster join live\n";

const char cluster_leave_help[] = "Usage: fob cluster leave [--config FILE] live|test\n"
				  "\n"
				  "Let a database be in no cluster any more, while no fobd serves it: from then on\n"
				  "it is served alone, or can begin a new cluster. Only for the last node of a\n"
				  "cluster that is given up: the others would go on without this one's changes.\n"
				  "Asks first, at a terminal; elsewhere it takes --yes. To stop a node, or to take\n"
				  "it away for good, stop its fobd: that takes it out of the cluster.\n"
				  "\n"
				  "  --config FILE  fobd's settings (default: /etc/fob/fobd.conf)\n"
				  "\n"
				  "Example:\n"
				  "  fob cluster leave live\n";

int
cli_cluster_join(struct cli *cli)
{
	return cli_become_fobd(cli, "--join");
}

int
cli_cluster_leave(struct cli *cli)
{
	if (cli_may_confirm(cli) != CLI_OK ||
	    cli_confirm(cli, "Does no other node of the cluster of %s go on, so that this one can be served alone?",
		cli->args[0]) != CLI_OK)
		return CLI_LOCAL;
	return cli_become_fobd(cli, "--leave");
}
