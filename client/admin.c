/*
 * admin.c - changes, lists and health: each call in its synchronous and its asynchronous form.
 */
#include "client/request.h"

#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "client/error.h"
#include "client/sized.h"

/* ---- changes ---- */

/*
 * Each ..._make() takes the caller's request and makes a struct request of it, which is the caller's to free, also after
 * a fault.
 */
static int
account_make(struct fob_client *c, enum method method, const struct fob_account_request *given, struct request **r,
    struct fob_error *error)
{
	struct fob_account_request request;
	uint8_t token[FOB_TOKEN_LEN];
	int rc;

	*r = NULL;
	error_clear(error);
	if ((rc = SIZED_TAKE(&request, given, "fob_account_request", error)) != 0 ||
	    (rc = request_new(c, method, CHANGE_TERMS(request), r, error)) != 0)
		return rc;
	request_token(request.token, token);
	rc = codec_encode_account(method, &request, token, &(*r)->call.body, error);
	sodium_memzero(token, sizeof(token));
	return rc;
}

static int
roll_make(struct fob_client *c, const struct fob_roll_request *given, struct request **r, struct fob_error *error)
{
	struct fob_roll_request request;
	uint8_t token[FOB_TOKEN_LEN];
	int rc;

	*r = NULL;
	error_clear(error);
	if ((rc = SIZED_TAKE(&request, given, "fob_roll_request", error)) != 0 ||
	    (rc = request_new(c, METHOD_ROLL_KEY, CHANGE_TERMS(request), r, error)) != 0)
		return rc;
	request_token(request.token, token);
	rc = codec_encode_roll(&request, token, &(*r)->call.body, error);
	sodium_memzero(token, sizeof(token));
	return rc;
}

static int
revoke_make(struct fob_client *c, const struct fob_revoke_request *given, struct request **r, struct fob_error *error)
{
	struct fob_revoke_request request;
	uint8_t token[FOB_TOKEN_LEN];
	int rc;

	*r = NULL;
	error_clear(error);
	if ((rc = SIZED_TAKE(&request, given, "fob_revoke_request", error)) != 0 ||
	    (rc = request_new(c, METHOD_REVOKE_KEY, CHANGE_TERMS(request), r, error)) != 0)
		return rc;
	request_token(request.token, token);
	rc = codec_encode_revoke(&request, token, &(*r)->call.body, error);
	sodium_memzero(token, sizeof(token));
	return rc;
}

static int
import_make(struct fob_client *c, const struct fob_import_request *request, struct request **r, struct fob_error *error)
{
	uint8_t token[FOB_TOKEN_LEN];
	int rc;

	*r = NULL;
	if ((rc = request_new(c, METHOD_IMPORT_ACCOUNTS, CHANGE_TERMS(*request), r, error)) != 0)
		return rc;
	request_token(request->token, token);
	rc = codec_encode_import(request, token, &(*r)->call.body, error);
	sodium_memzero(token, sizeof(token));
	if (rc != 0)
		return rc;
	(*r)->n = request->n;
	if (((*r)->result.outcomes = calloc(request->n, sizeof((*r)->result.outcomes[0]))) == NULL)
		return error_set(error, FOB_EINTERNAL, "out of memory");
	return 0;
}

int
fob_create_account(struct fob_client *c, const struct fob_account_request *given, struct fob_created_account **out,
    struct fob_error *error)
{
	struct request *r;
	int rc = account_make(c, METHOD_CREATE_ACCOUNT, given, &r, error);

	*out = NULL;
	if ((rc = request_run(c, r, rc, error)) == 0) {
		*out = r->result.created;
		r->result.created = NULL;
	}
	request_free(r);
	return rc;
}

int
fob_create_account_async(struct fob_client *c, const struct fob_account_request *given, fob_created_account_cb cb,
    void *arg, uint64_t *number, struct fob_error *error)
{
	struct request *r;
	int rc = account_make(c, METHOD_CREATE_ACCOUNT, given, &r, error);

	return request_launch(c, r, rc, (union callback){ .created = cb }, arg, number, error);
}

void
fob_created_account_free(struct fob_created_account *created)
{
	codec_created_free(created);
}

int
fob_roll_key(
    struct fob_client *c, const struct fob_roll_request *given, struct fob_rolled_key **out, struct fob_error *error)
{
	struct request *r;
	int rc = roll_make(c, given, &r, error);

	*out = NULL;
	if ((rc = request_run(c, r, rc, error)) == 0) {
		*out = r->result.rolled;
		r->result.rolled = NULL;
	}
	request_free(r);
	return rc;
}

int
fob_roll_key_async(struct fob_client *c, const struct fob_roll_request *given, fob_rolled_key_cb cb, void *arg,
    uint64_t *number, struct fob_error *error)
{
	struct request *r;
	int rc = roll_make(c, given, &r, error);

	return request_launch(c, r, rc, (union callback){ .rolled = cb }, arg, number, error);
}

void
fob_rolled_key_free(struct fob_rolled_key *rolled)
{
	codec_rolled_free(rolled);
}

int
fob_revoke_key(
    struct fob_client *c, const struct fob_revoke_request *given, struct fob_key *out, struct fob_error *error)
{
	struct request *r = NULL;
	int rc;

	sized_clear(out, sizeof(*out));
	error_clear(error);
	if ((rc = sized_check(out, "struct fob_key", error)) == 0)
		rc = revoke_make(c, given, &r, error);
	if ((rc = request_run(c, r, rc, error)) == 0)
		sized_give(out, &r->result.key, sizeof(r->result.key));
	request_free(r);
	return rc;
}

int
fob_revoke_key_async(struct fob_client *c, const struct fob_revoke_request *given, fob_key_cb cb, void *arg,
    uint64_t *number, struct fob_error *error)
{
	struct request *r;
	int rc = revoke_make(c, given, &r, error);

	return request_launch(c, r, rc, (union callback){ .key = cb }, arg, number, error);
}

static int
account_run(struct fob_client *c, enum method method, const struct fob_account_request *given, struct fob_account *out,
    struct fob_error *error)
{
	struct request *r = NULL;
	int rc;

	sized_clear(out, sizeof(*out));
	error_clear(error);
	if ((rc = sized_check(out, "struct fob_account", error)) == 0)
		rc = account_make(c, method, given, &r, error);
	if ((rc = request_run(c, r, rc, error)) == 0)
		sized_give(out, &r->result.account, sizeof(r->result.account));
	request_free(r);
	return rc;
}

int
fob_suspend_account(
    struct fob_client *c, const struct fob_account_request *given, struct fob_account *out, struct fob_error *error)
{
	return account_run(c, METHOD_SUSPEND_ACCOUNT, given, out, error);
}

int
fob_resume_account(
    struct fob_client *c, const struct fob_account_request *given, struct fob_account *out, struct fob_error *error)
{
	return account_run(c, METHOD_RESUME_ACCOUNT, given, out, error);
}

int
fob_suspend_account_async(struct fob_client *c, const struct fob_account_request *given, fob_account_cb cb, void *arg,
    uint64_t *number, struct fob_error *error)
{
	struct request *r;
	int rc = account_make(c, METHOD_SUSPEND_ACCOUNT, given, &r, error);

	return request_launch(c, r, rc, (union callback){ .account = cb }, arg, number, error);
}

int
fob_resume_account_async(struct fob_client *c, const struct fob_account_request *given, fob_account_cb cb, void *arg,
    uint64_t *number, struct fob_error *error)
{
	struct request *r;
	int rc = account_make(c, METHOD_RESUME_ACCOUNT, given, &r, error);

	return request_launch(c, r, rc, (union callback){ .account = cb }, arg, number, error);
}

int
fob_import_accounts(struct fob_client *c, const struct fob_import_request *given, enum fob_import_outcome *outcomes,
    struct fob_error *error)
{
	struct fob_import_request request;
	struct request *r;
	int rc;

	error_clear(error);
	if ((rc = SIZED_TAKE(&request, given, "fob_import_request", error)) != 0)
		return rc;
	memset(outcomes, 0, request.n * sizeof(*outcomes));
	rc = import_make(c, &request, &r, error);
	if ((rc = request_run(c, r, rc, error)) == 0)
		memcpy(outcomes, r->result.outcomes, r->n * sizeof(*outcomes));
	request_free(r);
	return rc;
}

int
fob_import_accounts_async(struct fob_client *c, const struct fob_import_request *given, fob_import_cb cb, void *arg,
    uint64_t *number, struct fob_error *error)
{
	struct fob_import_request request;
	struct request *r = NULL;
	int rc;

	error_clear(error);
	if ((rc = SIZED_TAKE(&request, given, "fob_import_request", error)) == 0)
		rc = import_make(c, &request, &r, error);
	return request_launch(c, r, rc, (union callback){ .import = cb }, arg, number, error);
}

/* ---- lists ---- */

static int
list_make(struct fob_client *c, enum method method, const struct fob_list_request *given,
    const struct fob_cursor *cursor, struct request **r, struct fob_error *error)
{
	const struct fob_cursor start = { .done = false };
	struct fob_list_request request;
	int rc;

	*r = NULL;
	error_clear(error);
	if ((rc = SIZED_TAKE(&request, given, "fob_list_request", error)) != 0 ||
	    (rc = request_new(c, method, TERMS(request), r, error)) != 0)
		return rc;
	(*r)->page_size = request.page_size;
	(*r)->cursor = cursor != NULL ? *cursor : start;
	return codec_encode_list(method, &request, &(*r)->cursor, &(*r)->call.body, error);
}

/* Returns the page, which is the caller's, or NULL: then *${fault} says why not. */
static union codec_page *
list_run(struct fob_client *c, enum method method, const struct fob_list_request *given, struct fob_cursor *cursor,
    int *fault, struct fob_error *error)
{
	union codec_page *page = NULL;
	struct request *r;
	int rc = list_make(c, method, given, cursor, &r, error);

	if ((rc = request_run(c, r, rc, error)) == 0) {
		*cursor = r->cursor;
		page = r->result.page;
		r->result.page = NULL;
	}
	request_free(r);
	*fault = rc;
	return page;
}

int
fob_list_keys(struct fob_client *c, const struct fob_list_request *given, struct fob_cursor *cursor,
    struct fob_key_page **out, struct fob_error *error)
{
	int fault;
	union codec_page *page = list_run(c, METHOD_LIST_KEYS, given, cursor, &fault, error);

	*out = page != NULL ? &page->keys : NULL;
	return fault;
}

int
fob_list_accounts(struct fob_client *c, const struct fob_list_request *given, struct fob_cursor *cursor,
    struct fob_account_page **out, struct fob_error *error)
{
	int fault;
	union codec_page *page = list_run(c, METHOD_LIST_ACCOUNTS, given, cursor, &fault, error);

	*out = page != NULL ? &page->accounts : NULL;
	return fault;
}

int
fob_list_events(struct fob_client *c, const struct fob_list_request *given, struct fob_cursor *cursor,
    struct fob_event_page **out, struct fob_error *error)
{
	int fault;
	union codec_page *page = list_run(c, METHOD_LIST_EVENTS, given, cursor, &fault, error);

	*out = page != NULL ? &page->events : NULL;
	return fault;
}

int
fob_list_keys_async(struct fob_client *c, const struct fob_list_request *given, const struct fob_cursor *cursor,
    fob_key_page_cb cb, void *arg, uint64_t *number, struct fob_error *error)
{
	struct request *r;
	int rc = list_make(c, METHOD_LIST_KEYS, given, cursor, &r, error);

	return request_launch(c, r, rc, (union callback){ .keys = cb }, arg, number, error);
}

int
fob_list_accounts_async(struct fob_client *c, const struct fob_list_request *given, const struct fob_cursor *cursor,
    fob_account_page_cb cb, void *arg, uint64_t *number, struct fob_error *error)
{
	struct request *r;
	int rc = list_make(c, METHOD_LIST_ACCOUNTS, given, cursor, &r, error);

	return request_launch(c, r, rc, (union callback){ .accounts = cb }, arg, number, error);
}

int
fob_list_events_async(struct fob_client *c, const struct fob_list_request *given, const struct fob_cursor *cursor,
    fob_event_page_cb cb, void *arg, uint64_t *number, struct fob_error *error)
{
	struct request *r;
	int rc = list_make(c, METHOD_LIST_EVENTS, given, cursor, &r, error);

	return request_launch(c, r, rc, (union callback){ .events = cb }, arg, number, error);
}

void
fob_key_page_free(struct fob_key_page *page)
{
	free(page);
}

void
fob_account_page_free(struct fob_account_page *page)
{
	free(page);
}

void
fob_event_page_free(struct fob_event_page *page)
{
	free(page);
}

/* ---- backup ---- */

int
fob_read_backup(
    struct fob_client *c, const struct fob_backup_request *given, struct fob_backup_part **out, struct fob_error *error)
{
	struct fob_backup_request request;
	struct request *r = NULL;
	int rc;

	*out = NULL;
	error_clear(error);
	if ((rc = SIZED_TAKE(&request, given, "fob_backup_request", error)) == 0 &&
	    (rc = request_new(c, METHOD_READ_BACKUP, TERMS(request), &r, error)) == 0)
		rc = codec_encode_backup(&request, &r->call.body, error);
	if ((rc = request_run(c, r, rc, error)) == 0) {
		*out = r->result.backup;
		r->result.backup = NULL;
	}
	request_free(r);
	return rc;
}

void
fob_backup_part_free(struct fob_backup_part *part)
{
	free(part);
}

/* ---- health ---- */

static int
health_make(struct fob_client *c, const struct fob_health_request *given, struct request **r, struct fob_error *error)
{
	struct fob_health_request request;
	int rc;

	*r = NULL;
	error_clear(error);
	if ((rc = SIZED_TAKE(&request, given, "fob_health_request", error)) != 0 ||
	    (rc = request_new(c, METHOD_HEALTH, TERMS(request), r, error)) != 0)
		return rc;
	return codec_encode_health(request.service, &(*r)->call.body, error);
}

int
fob_health(
    struct fob_client *c, const struct fob_health_request *given, enum fob_health_status *out, struct fob_error *error)
{
	struct request *r;
	int rc = health_make(c, given, &r, error);

	*out = FOB_HEALTH_STATUS_UNKNOWN;
	if ((rc = request_run(c, r, rc, error)) == 0)
		*out = r->result.health;
	request_free(r);
	return rc;
}

int
fob_health_async(struct fob_client *c, const struct fob_health_request *given, fob_health_cb cb, void *arg,
    uint64_t *number, struct fob_error *error)
{
	struct request *r;
	int rc = health_make(c, given, &r, error);

	return request_launch(c, r, rc, (union callback){ .health = cb }, arg, number, error);
}

static int
stats_make(struct fob_client *c, const struct fob_stats_request *given, struct request **r, struct fob_error *error)
{
	struct fob_stats_request request;
	int rc;

	*r = NULL;
	error_clear(error);
	if ((rc = SIZED_TAKE(&request, given, "fob_stats_request", error)) != 0 ||
	    (rc = request_new(c, METHOD_STATS, TERMS(request), r, error)) != 0)
		return rc;
	return codec_encode_stats(&(*r)->call.body, error);
}

int
fob_stats(struct fob_client *c, const struct fob_stats_request *given, struct fob_stats **out, struct fob_error *error)
{
	struct request *r;
	int rc = stats_make(c, given, &r, error);

	*out = NULL;
	if ((rc = request_run(c, r, rc, error)) == 0) {
		*out = r->result.stats;
		r->result.stats = NULL;
	}
	request_free(r);
	return rc;
}

int
fob_stats_async(struct fob_client *c, const struct fob_stats_request *given, fob_stats_cb cb, void *arg,
    uint64_t *number, struct fob_error *error)
{
	struct request *r;
	int rc = stats_make(c, given, &r, error);

	return request_launch(c, r, rc, (union callback){ .stats = cb }, arg, number, error);
}

void
fob_stats_free(struct fob_stats *stats)
{
	free(stats);
}
