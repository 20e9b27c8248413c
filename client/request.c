/*
 * request.c - one call, from start to end (see request.h). Hands out nothing that the codec has not checked.
 */
#include "client/request.h"

#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "client/error.h"

int
request_deadline(const struct fob_client *c, uint32_t timeout_ms, int64_t *deadline_ms, struct fob_error *error)
{
	*deadline_ms = 0;
	if (timeout_ms > FOB_TIMEOUT_MAX_MS)
		return error_set(error, FOB_EINVALID_ARGUMENT, "a timeout is at most %d ms", FOB_TIMEOUT_MAX_MS);
	*deadline_ms = transport_now_ms() + (timeout_ms == 0 ? c->timeout_ms : timeout_ms);
	return 0;
}

const char *
request_traceparent(char to[FOB_TRACEPARENT_LEN + 1], const char *from)
{
	if (from == NULL || strnlen(from, FOB_TRACEPARENT_LEN + 1) != FOB_TRACEPARENT_LEN ||
	    strspn(from, "0123456789abcdef-") != FOB_TRACEPARENT_LEN)
		return NULL;
	memcpy(to, from, FOB_TRACEPARENT_LEN + 1);
	return to;
}

void
request_token(const void *given, uint8_t token[FOB_TOKEN_LEN])
{
	if (given != NULL)
		memcpy(token, given, FOB_TOKEN_LEN);
	else
		randombytes_buf(token, FOB_TOKEN_LEN);
}

static bool
is_change(enum method method)
{
	return method == METHOD_CREATE_ACCOUNT || method == METHOD_ROLL_KEY || method == METHOD_REVOKE_KEY ||
	    method == METHOD_SUSPEND_ACCOUNT || method == METHOD_RESUME_ACCOUNT || method == METHOD_IMPORT_ACCOUNTS ||
	    method == METHOD_CLUSTER_INIT || method == METHOD_CLUSTER_FORGET;
}

/* What another server answers as well. The calls about a cluster are to one node. */
static bool
moves(enum method method)
{
	return method == METHOD_VERIFY_KEYS ||
	    (is_change(method) && method != METHOD_CLUSTER_INIT && method != METHOD_CLUSTER_FORGET);
}

int
request_new(
    struct fob_client *c, enum method method, struct terms terms, struct request **request, struct fob_error *error)
{
	struct request *r;
	int64_t deadline_ms;
	int rc;

	*request = NULL;
	if ((unsigned)terms.environment >= ENVIRONMENTS)
		return error_set(error, FOB_EINVALID_ARGUMENT, "the environment is none of ANY, LIVE, TEST");
	if (terms.on_behalf_of != NULL && strnlen(terms.on_behalf_of, FOB_ON_BEHALF_OF_SIZE) == FOB_ON_BEHALF_OF_SIZE)
		return error_set(error, FOB_EINVALID_ARGUMENT, "on_behalf_of is longer than %d characters",
		    FOB_ON_BEHALF_OF_SIZE - 1);
	if ((rc = request_deadline(c, terms.timeout_ms, &deadline_ms, error)) != 0)
		return rc;
	if ((r = calloc(1, sizeof(*r))) == NULL)
		return error_set(error, FOB_EINTERNAL, "out of memory");
	r->method = method;
	r->call.method = codec_method_name(method);
	r->call.environment = terms.environment;
	r->call.deadline_ms = deadline_ms;
	r->call.change = is_change(method);
	r->call.moves = c->several && moves(method);
	r->call.traceparent = request_traceparent(r->traceparent, terms.traceparent);
	if (terms.on_behalf_of != NULL)
		r->call.on_behalf_of = strcpy(r->on_behalf_of, terms.on_behalf_of);
	*request = r;
	return 0;
}

void
request_free(struct request *r)
{
	if (r == NULL)
		return;
	codec_body_free(&r->call.body);
	switch (r->method) {
	case METHOD_CREATE_ACCOUNT:
		codec_created_free(r->result.created);
		break;
	case METHOD_ROLL_KEY:
		codec_rolled_free(r->result.rolled);
		break;
	case METHOD_IMPORT_ACCOUNTS:
		free(r->result.outcomes);
		break;
	case METHOD_VERIFY_KEYS:
		free(r->result.items);
		break;
	case METHOD_LIST_KEYS:
	case METHOD_LIST_ACCOUNTS:
	case METHOD_LIST_EVENTS:
		free(r->result.page);
		break;
	case METHOD_STATS:
		free(r->result.stats);
		break;
	case METHOD_READ_BACKUP:
		free(r->result.backup);
		break;
	case METHOD_CLUSTER_STATUS:
		free(r->result.cluster);
		break;
	default:
		break;
	}
	free(r);
}

static int
request_decode(struct request *r, const uint8_t *p, size_t len)
{
	struct fob_error *error = &r->call.error;

	switch (r->method) {
	case METHOD_VERIFY_KEY:
		break; /* verify_reply()'s */
	case METHOD_VERIFY_KEYS:
		return codec_decode_verify_items(p, len, r->result.items, r->n, error);
	case METHOD_CREATE_ACCOUNT:
		return codec_decode_created(p, len, &r->result.created, error);
	case METHOD_ROLL_KEY:
		return codec_decode_rolled(p, len, &r->result.rolled, error);
	case METHOD_REVOKE_KEY:
		return codec_decode_key(p, len, &r->result.key, error);
	case METHOD_SUSPEND_ACCOUNT:
	case METHOD_RESUME_ACCOUNT:
		return codec_decode_account(r->method, p, len, &r->result.account, error);
	case METHOD_LIST_KEYS:
	case METHOD_LIST_ACCOUNTS:
	case METHOD_LIST_EVENTS:
		return codec_decode_page(r->method, p, len, r->page_size, &r->cursor, &r->result.page, error);
	case METHOD_HEALTH:
		return codec_decode_health(p, len, &r->result.health, error);
	case METHOD_STATS:
		return codec_decode_stats(p, len, &r->result.stats, error);
	case METHOD_READ_BACKUP:
		return codec_decode_backup(p, len, &r->result.backup, error);
	case METHOD_IMPORT_ACCOUNTS:
		return codec_decode_import(p, len, r->n, r->result.outcomes, error);
	case METHOD_CLUSTER_INIT:
		return codec_decode_cluster_init(p, len, &r->result.identity, error);
	case METHOD_CLUSTER_FORGET:
		return codec_decode_cluster_forget(p, len, error);
	case METHOD_CLUSTER_STATUS:
		return codec_decode_cluster_status(p, len, &r->result.cluster, error);
	}
	return error_set(error, FOB_EINTERNAL, "no such method");
}

static bool
some_unavailable(const struct request *r)
{
	for (size_t i = 0; i < r->n; i++) {
		if (*r->result.items[i].fault == FOB_EUNAVAILABLE)
			return true;
	}
	return false;
}

bool
request_reply(struct call *call, const uint8_t *p, size_t len)
{
	struct request *r = (struct request *)call;

	r->fault = request_decode(r, p, len);
	call->elsewhere = call->moves && r->method == METHOD_VERIFY_KEYS && r->fault == 0 && some_unavailable(r);
	return r->fault == FOB_EUNAVAILABLE || call->elsewhere;
}

/*
 * The server may refuse to look at a change after an earlier attempt lost its reply with the connection. That attempt
 * may have been applied, so the call ends as a missed deadline does, which leaves it open. A refusal by the rules was
 * made with the token at hand, and stands.
 */
static void
leave_open(struct request *r)
{
	char why[sizeof(r->call.error.message)];

	if (!r->call.unanswered || !r->call.change ||
	    (r->fault != FOB_EUNAVAILABLE && r->fault != FOB_ERESOURCE_EXHAUSTED))
		return;
	memcpy(why, r->call.error.message, sizeof(why));
	r->fault = error_set(&r->call.error, FOB_EDEADLINE_EXCEEDED,
	    "it is not known whether it was applied: the connection was lost before the reply, and then: %s", why);
}

/* A call that got no answer has only ever seen replies that were faults, so its result is zero already. */
void
request_settle(struct request *r, int fault)
{
	if (fault != 0)
		r->fault = fault;
	leave_open(r);
}

int
request_run(struct fob_client *c, struct request *r, int made, struct fob_error *error)
{
	if (made != 0)
		return made;
	r->call.reply = request_reply;
	request_settle(r, transport_run(c->transport, &r->call));
	if (r->fault != 0 && error != NULL)
		*error = r->call.error;
	return r->fault;
}

static void request_end(struct call *call, int fault);

int
request_launch(struct fob_client *c, struct request *r, int made, union callback callback, void *arg, uint64_t *number,
    struct fob_error *error)
{
	int rc = made;

	if (number != NULL)
		*number = 0;
	if (rc == 0) {
		r->callback = callback;
		r->arg = arg;
		r->call.reply = request_reply;
		r->call.end = request_end;
		if ((rc = transport_submit(c->transport, &r->call, number)) == 0)
			return 0;
		if (error != NULL)
			*error = r->call.error;
		if (number != NULL)
			*number = 0;
	}
	request_free(r);
	return rc;
}

static void
request_callback(struct request *r)
{
	const struct fob_error *error = &r->call.error;
	const union callback *cb = &r->callback;
	const bool ok = r->fault == 0;

	switch (r->method) {
	case METHOD_CREATE_ACCOUNT:
		cb->created(r->arg, r->fault, r->result.created, error);
		break;
	case METHOD_ROLL_KEY:
		cb->rolled(r->arg, r->fault, r->result.rolled, error);
		break;
	case METHOD_REVOKE_KEY:
		cb->key(r->arg, r->fault, ok ? &r->result.key : NULL, error);
		break;
	case METHOD_SUSPEND_ACCOUNT:
	case METHOD_RESUME_ACCOUNT:
		cb->account(r->arg, r->fault, ok ? &r->result.account : NULL, error);
		break;
	case METHOD_IMPORT_ACCOUNTS:
		cb->import(r->arg, r->fault, r->result.outcomes, r->n, error);
		break;
	case METHOD_LIST_KEYS:
		cb->keys(r->arg, r->fault, ok ? &r->result.page->keys : NULL, &r->cursor, error);
		break;
	case METHOD_LIST_ACCOUNTS:
		cb->accounts(r->arg, r->fault, ok ? &r->result.page->accounts : NULL, &r->cursor, error);
		break;
	case METHOD_LIST_EVENTS:
		cb->events(r->arg, r->fault, ok ? &r->result.page->events : NULL, &r->cursor, error);
		break;
	case METHOD_HEALTH:
		cb->health(r->arg, r->fault, r->result.health, error);
		break;
	case METHOD_STATS:
		cb->stats(r->arg, r->fault, r->result.stats, error);
		break;
	case METHOD_CLUSTER_INIT:
		cb->identity(r->arg, r->fault, ok ? &r->result.identity : NULL, error);
		break;
	case METHOD_CLUSTER_FORGET:
		cb->forgotten(r->arg, r->fault, error);
		break;
	case METHOD_CLUSTER_STATUS:
		cb->cluster(r->arg, r->fault, r->result.cluster, error);
		break;
	case METHOD_VERIFY_KEY:
	case METHOD_VERIFY_KEYS:
	case METHOD_READ_BACKUP: /* synchronous only */
		break;
	}
}

static void
request_end(struct call *call, int fault)
{
	struct request *r = (struct request *)call;

	request_settle(r, fault);
	request_callback(r);
	request_free(r);
}
