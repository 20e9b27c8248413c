/*
 * cli.c - what the commands share: the connection, the faults in words, the environments, the questions (see cli.h).
 */
#include "client/cli/cli.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "client/cli/out.h"
#include "client/cli/text.h"

/* A reason that ${path} cannot be a socket to talk to, said at once instead of after the timeout; 0 or an errno. */
static int
socket_trouble(const char *path)
{
	struct stat st;

	if (stat(path, &st) != 0)
		return errno;
	if (!S_ISSOCK(st.st_mode))
		return ENOTSOCK;
	return access(path, W_OK) != 0 ? errno : 0;
}

static int
look_first(const struct cli *cli)
{
	const char *path = cli->address + strlen("ipc://");
	int rc;

	if (strncmp(cli->address, "ipc://", strlen("ipc://")) != 0 || (rc = socket_trouble(path)) == 0)
		return CLI_OK;
	out_say("cannot reach fobd at %s: %s%s", cli->address, strerror(rc),
	    rc == ENOENT     ? ". Is fobd running? --address and $FOB_ADDR say where to look" :
		rc == EACCES ? ". The socket is for fobd's own user and root" :
			       "");
	return CLI_FAULT;
}

/* What libfob would say in its own terms. Returns CLI_OK, or CLI_LOCAL with the reason said. */
static int
options_check(const struct cli *cli)
{
	static const enum cli_option of_tls[] = { OPT_TLS_CA, OPT_TLS_CERT, OPT_TLS_KEY, OPT_TLS_SERVER_NAME };
	bool is_tls = strncmp(cli->address, "tls+tcp://", strlen("tls+tcp://")) == 0;
	size_t path_max = sizeof(((struct sockaddr_un *)0)->sun_path) - 1, len = strlen(cli->address);

	for (size_t i = 0; i < sizeof(of_tls) / sizeof(of_tls[0]); i++) {
		if (is_tls || cli->options[of_tls[i]] == NULL)
			continue;
		out_say("--%s is for tls+tcp:// only, and the address is %s", cli_option_name(of_tls[i]), cli->address);
		return CLI_LOCAL;
	}
	if (is_tls && cli->options[OPT_TLS_CA] == NULL) {
		out_say("tls+tcp:// needs --tls-ca FILE: the CA that signed the server's certificate");
		return CLI_LOCAL;
	}
	if (strncmp(cli->address, "ipc://", strlen("ipc://")) == 0 && len - strlen("ipc://") > path_max) {
		out_say("the path of a socket has at most %zu bytes, and that of %s has %zu", path_max, cli->address,
		    len - strlen("ipc://"));
		return CLI_LOCAL;
	}
	return CLI_OK;
}

/* Options of the connection into ${o}. Returns the first option that was refused, or OPT_COUNT. */
static enum cli_option
connection_options(const struct cli *cli, struct fob_options *o)
{
	const char *cert = cli->options[OPT_TLS_CERT], *key = cli->options[OPT_TLS_KEY];

	if (fob_options_set_address(o, cli->address) != 0)
		return OPT_ADDRESS;
	/* A question is told at once that fobd is not there; a change that is under way goes on through its restart. */
	(void)fob_options_set_fail_fast(o, !cli->changes);
	if (fob_options_set_timeout_ms(o, cli->timeout_ms) != 0)
		return OPT_TIMEOUT;
	if (cli->options[OPT_TLS_CA] != NULL && fob_options_set_tls_ca(o, cli->options[OPT_TLS_CA]) != 0)
		return OPT_TLS_CA;
	if ((cert == NULL) != (key == NULL) || (cert != NULL && fob_options_set_tls_certificate(o, cert, key) != 0))
		return OPT_TLS_CERT;
	if (cli->options[OPT_TLS_SERVER_NAME] != NULL &&
	    fob_options_set_tls_server_name(o, cli->options[OPT_TLS_SERVER_NAME]) != 0)
		return OPT_TLS_SERVER_NAME;
	return OPT_COUNT;
}

int
cli_connect(struct cli *cli)
{
	struct fob_options *o;
	struct fob_error error;
	enum cli_option wrong;
	int rc = CLI_LOCAL;

	if (options_check(cli) != CLI_OK)
		return CLI_LOCAL;
	if ((o = fob_options_new()) == NULL) {
		out_say("out of memory");
		goto out;
	}
	wrong = connection_options(cli, o);
	if (wrong == OPT_ADDRESS) {
		out_say("%s is not an address: ipc://PATH, tcp://HOST:PORT or tls+tcp://HOST:PORT", cli->address);
	} else if (wrong == OPT_TLS_CERT) {
		out_say("--tls-cert and --tls-key go together, and name files");
	} else if (wrong != OPT_COUNT) {
		out_say("--%s cannot be used as it is", cli_option_name(wrong));
	} else if ((rc = look_first(cli)) == CLI_OK && (rc = fob_client_new(o, &cli->client, &error)) != 0) {
		cli->client = NULL;
		rc = cli_fault(cli, NULL, rc, &error);
	}
out:
	fob_options_free(o);
	return rc;
}

int
cli_code(int fault)
{
	switch (fault) {
	case 0:
		return CLI_OK;
	case FOB_EINVALID_ARGUMENT:
	case FOB_EOUT_OF_RANGE:
		return CLI_LOCAL;
	case FOB_ENOT_FOUND:
	case FOB_EPERMISSION_DENIED:
	case FOB_EUNAUTHENTICATED:
		return CLI_DENIED;
	case FOB_EALREADY_EXISTS:
	case FOB_EABORTED:
	case FOB_EFAILED_PRECONDITION:
		return CLI_CONFLICT;
	default:
		return CLI_FAULT;
	}
}

int
cli_worse(int a, int b)
{
	static const int rank[] = {
		[CLI_OK] = 0, [CLI_DENIED] = 1, [CLI_CONFLICT] = 2, [CLI_FAULT] = 3, [CLI_LOCAL] = 4
	};

	return rank[a] >= rank[b] ? a : b;
}

int
cli_fault(const struct cli *cli, const char *where, int fault, const struct fob_error *error)
{
	const char *message = error->message[0] != '\0' ? error->message : "no more is known";

	if (fault == FOB_EALREADY_EXISTS && cli->options[OPT_TOKEN_FILE] != NULL &&
	    strstr(message, "request_token") != NULL) {
		out_say("%s: %s: the token in %s was used for another command: name a file that is not there yet",
		    cli->name, fob_fault_name(fault), cli->options[OPT_TOKEN_FILE]);
		return cli_code(fault);
	}
	out_say("%s%s%s: %s: %s", cli->name, where != NULL ? ": " : "", where != NULL ? where : "",
	    fob_fault_name(fault), message);
	return cli_code(fault);
}

bool
cli_settled(int fault)
{
	/* UNAVAILABLE is settled: libfob says it of a call that was not sent, fobd of one that it did not take. */
	return fault != FOB_EDEADLINE_EXCEEDED && fault != FOB_EINTERNAL && fault != FOB_EUNKNOWN &&
	    fault != FOB_ECANCELLED && fault != FOB_EDATA_LOSS;
}

void
cli_unsettled(const struct cli *cli, struct token *token)
{
	bool given = token->path != NULL;
	const char *path;

	out_say("it may or may not have been applied");
	if ((path = token_keep(token)) == NULL)
		out_say("see what is there now, before running %s again", cli->name);
	else if (given)
		out_say("running the same command again, with the same --token-file, is safe for 24 hours: "
			"it is applied once, and the same reply comes back");
	else
		out_say("running the same command again with --token-file %s%s is safe for 24 hours: it is applied "
			"once, and the same reply comes back. Remove that file afterwards",
		    path, cli->rerun);
}

int
cli_may_show(const struct cli *cli)
{
	int rc = out_ready();

	if (rc == 0)
		return CLI_OK;
	out_say("%s: nothing was changed: standard output cannot be written to (%s), and the new secret would be lost",
	    cli->name, strerror(rc));
	return CLI_LOCAL;
}

int
cli_shown(const struct cli *cli, struct token *token)
{
	bool given = token->path != NULL;
	int rc = out_flush();
	const char *path;

	if (rc == 0) {
		out_say("this was the only time: fob cannot show a secret again");
		return CLI_OK;
	}
	out_say("THE NEW SECRET COULD NOT BE WRITTEN to standard output (%s), but %s has been applied", strerror(rc),
	    cli->name);
	if ((path = token_keep(token)) == NULL)
		out_say("that secret is lost: roll the key again");
	else
		out_say("run the same command again with %s%s%s within 24 hours: it shows the same secret and changes "
			"nothing",
		    given ? "the same --token-file" : "--token-file ", given ? "" : path, cli->rerun);
	return CLI_LOCAL;
}

int
cli_environment(const struct cli *cli, enum cli_option option, enum fob_environment *env)
{
	const char *s = cli->options[option];

	if (s != NULL && strcmp(s, "live") == 0) {
		*env = FOB_ENVIRONMENT_LIVE;
	} else if (s != NULL && strcmp(s, "test") == 0) {
		*env = FOB_ENVIRONMENT_TEST;
	} else {
		out_say("%s%s --%s live or --%s test; see fob %s --help", cli->name, s == NULL ? " needs" : " takes",
		    cli_option_name(option), cli_option_name(option), cli->name);
		return CLI_LOCAL;
	}
	return CLI_OK;
}

int
cli_environments(const struct cli *cli, enum fob_environment envs[2], size_t *n)
{
	*n = 2;
	envs[0] = FOB_ENVIRONMENT_LIVE;
	envs[1] = FOB_ENVIRONMENT_TEST;
	if (cli->options[OPT_ENVIRONMENT] == NULL)
		return CLI_OK;
	*n = 1;
	return cli_environment(cli, OPT_ENVIRONMENT, &envs[0]);
}

int
cli_served(const struct cli *cli, enum fob_environment envs[2], size_t *n)
{
	const struct fob_stats_request request = { FOB_STATS_REQUEST_INIT };
	struct fob_error error;
	struct fob_stats *stats;
	int rc;

	if (cli->options[OPT_ENVIRONMENT] != NULL)
		return CLI_OK;
	if ((rc = fob_stats(cli->client, &request, &stats, &error)) != 0)
		return cli_fault(cli, NULL, rc, &error);
	if (stats->n_environments == 1) {
		*n = 1;
		envs[0] = stats->environments[0]->environment;
		out_say("%s: this fobd serves %s only", cli->name, fob_environment_name(envs[0]));
	}
	fob_stats_free(stats);
	return CLI_OK;
}

int
cli_account(const struct cli *cli, const char *account)
{
	if (text_is_account(account))
		return CLI_OK;
	out_say("%s: an account is 1 to 64 characters of A-Z, a-z, 0-9, '.', '_' and '-'", cli->name);
	return CLI_LOCAL;
}

int
cli_may_confirm(const struct cli *cli)
{
	if (cli->options[OPT_YES] != NULL || input_can_ask())
		return CLI_OK;
	out_say("%s asks first, and there is no terminal to ask at: add --yes if you mean it", cli->name);
	return CLI_LOCAL;
}

int
cli_confirm(const struct cli *cli, const char *fmt, ...)
{
	char question[256];
	va_list args;

	if (cli->options[OPT_YES] != NULL)
		return CLI_OK;
	va_start(args, fmt);
	vsnprintf(question, sizeof(question), fmt, args);
	va_end(args);
	out_ask("%s [y/N] ", question);
	if (input_yes())
		return CLI_OK;
	out_say("nothing was changed");
	return CLI_LOCAL;
}
