/*
 * verify.c - fob verify: whose key is this, and may it do that?
 * The key comes from a file, from stdin or from a hidden prompt, and is wiped.
 * Only FOB_VERDICT_VALID is exit code 0; everything else that was answered is 3.
 */
#include "client/cli/cli.h"

#include "client/cli/out.h"

const char verify_help[] =
    "Usage: fob verify [--secret-file FILE|-] [--basic] [--operation NAME] [--require live|test]\n"
    "\n"
    "Whose key is this, and may it do that? The key is read from standard input,\n"
    "from a file, or, at a terminal, from a prompt that does not show it. It is\n"
    "never an argument.\n"
    "\n"
    "  --secret-file FILE      read it from FILE; - is standard input\n"
    "  --basic                 what is read is the value of an Authorization header:\n"
    "                          Basic and base64 of KEY:\n"
    "  --operation NAME        may it do that? A publishable key may only do what\n"
    "                          fobd's configuration lists\n"
    "  --require live|test     WRONG_ENVIRONMENT for a key of the other environment\n"
    "\n"
    "Verdicts: VALID (exit code 0), MALFORMED, NOT_FOUND, EXPIRED, REVOKED,\n"
    "SUSPENDED, WRONG_ENVIRONMENT, FORBIDDEN (all 3). No verdict at all is 2: the\n"
    "key was not judged, so deny. A key that was rolled says superseded, and until\n"
    "when it is valid.\n"
    "\n"
    "Examples:\n"
    "  fob verify --secret-file key.txt\n"
    "  fob verify --operation charges.create --require live < key.txt\n"
    "  printf 'Basic %s' \"$(printf '%s:' \"$(cat key.txt)\" | base64 -w0)\" | fob verify --basic\n";

/* What is not known is null. */
static const char *
known(const char *s)
{
	return s[0] != '\0' ? s : NULL;
}

/* A key that was revoked does not live until it would have expired. */
static int64_t
expires_ms(const struct fob_verification *v)
{
	return v->verdict == FOB_VERDICT_REVOKED ? 0 : v->expires_ms;
}

static void
show_json(const struct fob_verification *v)
{
	json_t *o = json_pack("{s:s, s:s?, s:s?, s:s?, s:b, s:s?, s:I, s:I, s:b, s:s?}", "verdict",
	    fob_verdict_name(v->verdict), "detail", known(v->detail), "account", known(v->account), "environment",
	    v->environment != FOB_ENVIRONMENT_ANY ? fob_environment_name(v->environment) : NULL, "livemode",
	    (int)v->livemode, "kind", v->kind != FOB_KIND_ANY ? fob_kind_name(v->kind) : NULL, "generation",
	    (json_int_t)v->generation, "current_generation", (json_int_t)v->current_generation, "superseded",
	    (int)v->superseded, "last4", known(v->last4));

	out_json_time(o, "created", v->created_ms);
	out_json_time(o, "expires", expires_ms(v));
	out_json(o);
}

static void
show(const struct fob_verification *v)
{
	out_pair(fob_allows(v) ? OUT_GOOD : OUT_BAD, "verdict", "%s", fob_verdict_name(v->verdict));
	if (v->detail[0] != '\0')
		out_pair(OUT_PLAIN, "detail", "%s", v->detail);
	if (v->account[0] != '\0')
		out_pair(OUT_PLAIN, "account", "%s", v->account);
	if (v->environment != FOB_ENVIRONMENT_ANY) {
		out_pair(OUT_PLAIN, "environment", "%s", fob_environment_name(v->environment));
		out_pair(OUT_PLAIN, "livemode", "%s", v->livemode ? "true" : "false");
	}
	if (v->kind != FOB_KIND_ANY)
		out_pair(OUT_PLAIN, "kind", "%s", fob_kind_name(v->kind));
	if (v->generation != 0) {
		out_pair(OUT_PLAIN, "generation", "%u", (unsigned)v->generation);
		out_pair(OUT_PLAIN, "current generation", "%u", (unsigned)v->current_generation);
		out_pair(v->superseded ? OUT_WARN : OUT_PLAIN, "superseded", "%s", v->superseded ? "true" : "false");
		out_pair(OUT_PLAIN, "last4", "%s", v->last4);
		out_pair_time("created", v->created_ms);
		out_pair_time("expires", expires_ms(v));
	}
}

static int
ask(struct cli *cli, const struct input *in, struct fob_verify_request *request)
{
	struct fob_verification v = { FOB_VERIFICATION_INIT };
	struct fob_error error;
	int rc;

	if (cli->options[OPT_BASIC] != NULL) {
		request->authorization = in->bytes;
		request->authorization_len = in->len;
	} else {
		request->secret = in->bytes;
		request->secret_len = in->len;
	}
	if ((rc = fob_verify(cli->client, request, &v, &error)) != 0)
		return cli_fault(cli, NULL, rc, &error);
	if (out_is_json())
		show_json(&v);
	else
		show(&v);
	return fob_allows(&v) ? CLI_OK : CLI_DENIED;
}

int
cli_verify(struct cli *cli)
{
	struct fob_verify_request request = { FOB_VERIFY_REQUEST_INIT, .operation = cli->options[OPT_OPERATION] };
	const char *what = cli->options[OPT_BASIC] != NULL ? "Authorization value" : "key";
	static struct input in;
	int rc = CLI_LOCAL;

	if (cli->options[OPT_REQUIRE] != NULL &&
	    cli_environment(cli, OPT_REQUIRE, &request.require_environment) != CLI_OK)
		return CLI_LOCAL;
	if (input_read(cli->options[OPT_SECRET_FILE], what, &in) == 0 && (rc = cli_connect(cli)) == CLI_OK)
		rc = ask(cli, &in, &request);
	input_fini(&in);
	return rc;
}
