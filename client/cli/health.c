/*
 * health.c - fob health: is it serving?
 */
#include "client/cli/cli.h"

#include "client/cli/out.h"

const char health_help[] = "Usage: fob health [SERVICE]\n"
			   "\n"
			   "Is it serving? Exit code 0 for SERVING, 2 for NOT_SERVING or no answer, 3 for a\n"
			   "service that fobd does not know.\n"
			   "\n"
			   "  SERVICE                 fob.v1.Keys, fob.v1.Admin, live or test; all of them\n"
			   "                          by default\n"
			   "\n"
			   "Examples:\n"
			   "  fob health\n"
			   "  fob health live --address tcp://127.0.0.1:7400 --timeout 1s\n";

int
cli_health(struct cli *cli)
{
	const struct fob_health_request request = { FOB_HEALTH_REQUEST_INIT, .service = cli->args[0] };
	enum fob_health_status status;
	struct fob_error error;
	int rc;

	if ((rc = cli_connect(cli)) != CLI_OK)
		return rc;
	if ((rc = fob_health(cli->client, &request, &status, &error)) != 0)
		return cli_fault(cli, cli->args[0], rc, &error);
	if (out_is_json())
		out_json(json_pack("{s:s, s:s}", "service", cli->args[0] != NULL ? cli->args[0] : "", "status",
		    fob_health_status_name(status)));
	else
		out_pair(status == FOB_HEALTH_STATUS_SERVING ? OUT_GOOD : OUT_BAD,
		    cli->args[0] != NULL ? cli->args[0] : "all", "%s", fob_health_status_name(status));
	return status == FOB_HEALTH_STATUS_SERVING ? CLI_OK : CLI_FAULT;
}
