/*
 * admin.c - the Admin calls as JSON (see admin.h). It decides nothing: fobd does. A secret goes from libfob's
 * reply to ours; neither is logged.
 */
#include "client/http/admin.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/http/admin_json.h"
#include "client/http/headers.h"
#include "client/http/json.h"

struct ask;

struct admin_call {
	const char *path, *what; /* ${what}: for the log; NULL: it changes nothing */
	unsigned takes, needs;
	/* Calls libfob. Returns 0 or a fault. */
	int (*start)(struct ask *ask, const struct admin_fields *fields, struct fob_error *error);
};

/* A call that is under way, and for whom. */
struct ask {
	struct http_request *request;
	const struct admin_path *path;
	enum fob_environment environment;
	char account[FOB_ACCOUNT_SIZE], user[SESSION_USER_SIZE], peer[PEER_TEXT_SIZE];
	char traceparent[FOB_TRACEPARENT_LEN + 1];
};

/* ---- the answer ---- */

int
admin_http_status(int fault)
{
	switch (fault) {
	case FOB_EINVALID_ARGUMENT:
	case FOB_EOUT_OF_RANGE:
		return 400;
	case FOB_EPERMISSION_DENIED:
		return 403;
	case FOB_ENOT_FOUND:
		return 404;
	case FOB_EALREADY_EXISTS:
	case FOB_EABORTED:
	case FOB_EFAILED_PRECONDITION:
		return 409;
	case FOB_ERESOURCE_EXHAUSTED:
		return 429;
	case FOB_EUNIMPLEMENTED:
		return 501;
	case FOB_EDEADLINE_EXCEEDED:
		return 504;
	case FOB_EUNAVAILABLE:
	case FOB_ECANCELLED:
		return 503;
	default:
		return 500;
	}
}

/* fobd logs the change with the same traceparent, and this process as the one who asked on the user's behalf. */
static void
log_change(const struct ask *ask, const char *outcome)
{
	if (ask->path->call->what != NULL)
		log_line(LOG_INFO, ask->path->call->what, "outcome", outcome, "environment",
		    fob_environment_name(ask->environment), "account", ask->account, "user",
		    ask->user[0] != '\0' ? ask->user : "by the token", "peer", ask->peer, "traceparent",
		    ask->traceparent, NULL);
}

/* After this ${ask} is gone. */
static void
fail(struct ask *ask, int fault, const struct fob_error *error)
{
	log_change(ask, fob_fault_name(fault));
	operator_refuse(ask->request, admin_http_status(fault), fob_fault_name(fault), error->message);
	free(ask);
}

static void
answer(struct ask *ask, json_t *body)
{
	log_change(ask, "OK");
	json_reply(ask->request, &(const struct http_reply){ .status = 200 }, body);
	free(ask);
}

static void
on_created(void *arg, int fault, const struct fob_created_account *made, const struct fob_error *error)
{
	if (fault != 0)
		fail(arg, fault, error);
	else
		answer(arg,
		    json_pack("{s:o, s:o, s:o}", "account", admin_json_account(made->account), "secret_key",
			admin_json_new_key(made->secret_key), "publishable_key",
			admin_json_new_key(made->publishable_key)));
}

static void
on_rolled(void *arg, int fault, const struct fob_rolled_key *rolled, const struct fob_error *error)
{
	if (fault != 0)
		fail(arg, fault, error);
	else
		answer(arg,
		    json_pack("{s:o, s:o}", "new_key", admin_json_new_key(rolled->new_key), "old_key",
			admin_json_key(rolled->old_key)));
}

static void
on_key(void *arg, int fault, const struct fob_key *key, const struct fob_error *error)
{
	if (fault != 0)
		fail(arg, fault, error);
	else
		answer(arg, json_pack("{s:o}", "key", admin_json_key(key)));
}

static void
on_account(void *arg, int fault, const struct fob_account *account, const struct fob_error *error)
{
	if (fault != 0)
		fail(arg, fault, error);
	else
		answer(arg, json_pack("{s:o}", "account", admin_json_account(account)));
}

static void
on_keys(
    void *arg, int fault, const struct fob_key_page *page, const struct fob_cursor *next, const struct fob_error *error)
{
	if (fault != 0)
		fail(arg, fault, error);
	else
		answer(arg, admin_json_keys(page, next));
}

static void
on_accounts(void *arg, int fault, const struct fob_account_page *page, const struct fob_cursor *next,
    const struct fob_error *error)
{
	if (fault != 0)
		fail(arg, fault, error);
	else
		answer(arg, admin_json_accounts(page, next));
}

static void
on_events(void *arg, int fault, const struct fob_event_page *page, const struct fob_cursor *next,
    const struct fob_error *error)
{
	if (fault != 0)
		fail(arg, fault, error);
	else
		answer(arg, admin_json_events(page, next));
}

/* ---- the calls ---- */

static struct fob_client *
client(const struct ask *ask)
{
	return backend_client(ask->path->backend);
}

static struct fob_account_request
account_request(const struct ask *ask, const struct admin_fields *f)
{
	return (struct fob_account_request){ FOB_ACCOUNT_REQUEST_INIT, .environment = f->environment,
		.account = f->account, .token = f->token, .traceparent = ask->traceparent, .on_behalf_of = ask->user };
}

static int
create(struct ask *ask, const struct admin_fields *f, struct fob_error *error)
{
	const struct fob_account_request r = account_request(ask, f);

	return fob_create_account_async(client(ask), &r, on_created, ask, NULL, error);
}

static int
suspend(struct ask *ask, const struct admin_fields *f, struct fob_error *error)
{
	const struct fob_account_request r = account_request(ask, f);

	return fob_suspend_account_async(client(ask), &r, on_account, ask, NULL, error);
}

static int
resume(struct ask *ask, const struct admin_fields *f, struct fob_error *error)
{
	const struct fob_account_request r = account_request(ask, f);

	return fob_resume_account_async(client(ask), &r, on_account, ask, NULL, error);
}

static int
roll(struct ask *ask, const struct admin_fields *f, struct fob_error *error)
{
	const struct fob_roll_request r = { FOB_ROLL_REQUEST_INIT, .environment = f->environment, .account = f->account,
		.kind = f->kind, .grace_s = f->grace_s, .expected_generation = f->expected_generation,
		.authorizing_secret = f->authorizing_secret,
		.authorizing_secret_len = f->authorizing_secret != NULL ? strlen(f->authorizing_secret) : 0,
		.token = f->token, .traceparent = ask->traceparent, .on_behalf_of = ask->user };

	return fob_roll_key_async(client(ask), &r, on_rolled, ask, NULL, error);
}

static int
revoke(struct ask *ask, const struct admin_fields *f, struct fob_error *error)
{
	const struct fob_revoke_request r = { FOB_REVOKE_REQUEST_INIT, .environment = f->environment,
		.account = f->account, .kind = f->kind, .generation = f->generation, .token = f->token,
		.traceparent = ask->traceparent, .on_behalf_of = ask->user };

	return fob_revoke_key_async(client(ask), &r, on_key, ask, NULL, error);
}

static struct fob_list_request
list_request(const struct ask *ask, const struct admin_fields *f)
{
	return (struct fob_list_request){ FOB_LIST_REQUEST_INIT, .environment = f->environment, .account = f->account,
		.page_size = f->page_size, .traceparent = ask->traceparent };
}

static int
list_keys(struct ask *ask, const struct admin_fields *f, struct fob_error *error)
{
	const struct fob_list_request r = list_request(ask, f);

	return fob_list_keys_async(client(ask), &r, &f->cursor, on_keys, ask, NULL, error);
}

static int
list_accounts(struct ask *ask, const struct admin_fields *f, struct fob_error *error)
{
	const struct fob_list_request r = list_request(ask, f);

	return fob_list_accounts_async(client(ask), &r, &f->cursor, on_accounts, ask, NULL, error);
}

static int
list_events(struct ask *ask, const struct admin_fields *f, struct fob_error *error)
{
	const struct fob_list_request r = list_request(ask, f);

	return fob_list_events_async(client(ask), &r, &f->cursor, on_events, ask, NULL, error);
}

#define PAGED (ADMIN_ENVIRONMENT | ADMIN_PAGE_SIZE | ADMIN_PAGE_TOKEN)
#define OF_ACCOUNT (ADMIN_REQUEST_TOKEN | ADMIN_ENVIRONMENT | ADMIN_ACCOUNT)
#define ROLL (OF_ACCOUNT | ADMIN_KIND | ADMIN_GRACE | ADMIN_EXPECTED_GENERATION | ADMIN_AUTHORIZING_SECRET)
#define REVOKE (OF_ACCOUNT | ADMIN_KIND | ADMIN_GENERATION)

static const struct admin_call calls[ADMIN_PATHS] = {
	{ "/v1/accounts/create", "account create", OF_ACCOUNT, OF_ACCOUNT, create },
	{ "/v1/accounts/suspend", "account suspend", OF_ACCOUNT, OF_ACCOUNT, suspend },
	{ "/v1/accounts/resume", "account resume", OF_ACCOUNT, OF_ACCOUNT, resume },
	{ "/v1/accounts/list", NULL, PAGED, ADMIN_ENVIRONMENT, list_accounts },
	{ "/v1/keys/roll", "key roll", ROLL, OF_ACCOUNT, roll },
	{ "/v1/keys/revoke", "key revoke", REVOKE, REVOKE, revoke },
	{ "/v1/keys/list", NULL, PAGED | ADMIN_ACCOUNT, ADMIN_ENVIRONMENT | ADMIN_ACCOUNT, list_keys },
	{ "/v1/events/list", NULL, PAGED | ADMIN_ACCOUNT, ADMIN_ENVIRONMENT, list_events },
};

/* ---- the request ---- */

/* The caller's, or one of our own, so that fobd's log line can be found from ours. */
static void
set_traceparent(const struct http_request *request, char out[FOB_TRACEPARENT_LEN + 1])
{
	const char *given;
	uint8_t random[24];
	char hex[2 * sizeof(random) + 1];

	if (headers_once(request->headers, request->n_headers, "traceparent", &given) == 0 && given != NULL &&
	    strlen(given) == FOB_TRACEPARENT_LEN && strspn(given, "0123456789abcdef-") == FOB_TRACEPARENT_LEN) {
		memcpy(out, given, FOB_TRACEPARENT_LEN + 1);
		return;
	}
	randombytes_buf(random, sizeof(random));
	sodium_bin2hex(hex, sizeof(hex), random, sizeof(random));
	snprintf(out, FOB_TRACEPARENT_LEN + 1, "00-%.32s-%.16s-01", hex, hex + 32);
}

static void
start(const struct admin_path *path, struct http_request *request, const struct admin_fields *fields, const char *user)
{
	struct ask *ask = calloc(1, sizeof(*ask));
	struct fob_error error;
	int fault;

	if (ask == NULL) {
		operator_refuse(request, 503, "INTERNAL", "out of memory; try again");
		return;
	}
	*ask = (struct ask){ .request = request, .path = path, .environment = fields->environment };
	snprintf(ask->account, sizeof(ask->account), "%s", fields->account != NULL ? fields->account : "");
	snprintf(ask->user, sizeof(ask->user), "%s", user);
	peer_format(&request->peer, ask->peer);
	set_traceparent(request, ask->traceparent);
	backend_flush(path->backend);
	if ((fault = path->call->start(ask, fields, &error)) != 0)
		fail(ask, fault, &error);
}

static void
handle_post(const struct admin_path *path, struct http_request *request)
{
	char user[SESSION_USER_SIZE];
	struct admin_fields fields;
	json_t *object = NULL;
	const char *why;

	if (operator_admit(path->op, request, user) != 0)
		return;
	if (json_read(request->body, request->body_len, &object, &why) != 0 ||
	    admin_json_read(object, path->call->takes, path->call->needs, &fields, &why) != 0)
		operator_refuse(request, 400, "INVALID_ARGUMENT", why);
	else
		start(path, request, &fields, user);
	sodium_memzero(&fields, sizeof(fields));
	json_decref(object);
}

static void
handle(struct http_request *request, void *arg)
{
	static const struct http_header allow[] = { { "Allow", "POST" } };
	const struct http_reply reply = { .status = 405, .headers = allow, .n_headers = 1 };

	if (strcmp(request->method, "POST") == 0)
		handle_post(arg, request);
	else
		http_reply(request, &reply);
}

void
admin_paths(struct operator_role *op, struct backend *backend, struct admin_path paths[ADMIN_PATHS],
    struct http_handler handlers[ADMIN_PATHS])
{
	for (size_t i = 0; i < ADMIN_PATHS; i++) {
		paths[i] = (struct admin_path){ .call = &calls[i], .op = op, .backend = backend };
		handlers[i] = (struct http_handler){ .path = calls[i].path, .handle = handle, .arg = &paths[i] };
	}
}
