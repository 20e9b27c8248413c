/*
 * cluster.c - the calls about a cluster, each in its synchronous and its asynchronous form.
 */
#include "client/request.h"

#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "client/error.h"
#include "client/sized.h"

/* Each ..._make() is as those of admin.c. */
static int
init_make(
    struct fob_client *c, const struct fob_cluster_init_request *given, struct request **r, struct fob_error *error)
{
	struct fob_cluster_init_request request;
	uint8_t token[FOB_TOKEN_LEN];
	int rc;

	*r = NULL;
	error_clear(error);
	if ((rc = SIZED_TAKE(&request, given, "fob_cluster_init_request", error)) != 0 ||
	    (rc = request_new(c, METHOD_CLUSTER_INIT, TERMS(request), r, error)) != 0)
		return rc;
	request_token(request.token, token);
	rc = codec_encode_cluster_init(&request, token, &(*r)->call.body, error);
	sodium_memzero(token, sizeof(token));
	return rc;
}

int
fob_cluster_init(struct fob_client *c, const struct fob_cluster_init_request *given, struct fob_cluster_identity *out,
    struct fob_error *error)
{
	struct request *r = NULL;
	int rc;

	sized_clear(out, sizeof(*out));
	error_clear(error);
	if ((rc = sized_check(out, "struct fob_cluster_identity", error)) == 0)
		rc = init_make(c, given, &r, error);
	if ((rc = request_run(c, r, rc, error)) == 0)
		sized_give(out, &r->result.identity, sizeof(r->result.identity));
	request_free(r);
	return rc;
}

int
fob_cluster_init_async(struct fob_client *c, const struct fob_cluster_init_request *given, fob_cluster_identity_cb cb,
    void *arg, uint64_t *number, struct fob_error *error)
{
	struct request *r;
	int rc = init_make(c, given, &r, error);

	return request_launch(c, r, rc, (union callback){ .identity = cb }, arg, number, error);
}

static int
forget_make(
    struct fob_client *c, const struct fob_cluster_forget_request *given, struct request **r, struct fob_error *error)
{
	struct fob_cluster_forget_request request;
	int rc;

	*r = NULL;
	error_clear(error);
	if ((rc = SIZED_TAKE(&request, given, "fob_cluster_forget_request", error)) != 0 ||
	    (rc = request_new(c, METHOD_CLUSTER_FORGET, TERMS(request), r, error)) != 0)
		return rc;
	return codec_encode_cluster_forget(&request, &(*r)->call.body, error);
}

int
fob_cluster_forget(struct fob_client *c, const struct fob_cluster_forget_request *given, struct fob_error *error)
{
	struct request *r;
	int rc = forget_make(c, given, &r, error);

	rc = request_run(c, r, rc, error);
	request_free(r);
	return rc;
}

int
fob_cluster_forget_async(struct fob_client *c, const struct fob_cluster_forget_request *given, fob_cluster_forget_cb cb,
    void *arg, uint64_t *number, struct fob_error *error)
{
	struct request *r;
	int rc = forget_make(c, given, &r, error);

	return request_launch(c, r, rc, (union callback){ .forgotten = cb }, arg, number, error);
}

static int
status_make(
    struct fob_client *c, const struct fob_cluster_status_request *given, struct request **r, struct fob_error *error)
{
	struct fob_cluster_status_request request;
	int rc;

	*r = NULL;
	error_clear(error);
	if ((rc = SIZED_TAKE(&request, given, "fob_cluster_status_request", error)) != 0 ||
	    (rc = request_new(c, METHOD_CLUSTER_STATUS, TERMS(request), r, error)) != 0)
		return rc;
	return codec_encode_cluster_status(&request, &(*r)->call.body, error);
}

int
fob_cluster_status(struct fob_client *c, const struct fob_cluster_status_request *given,
    struct fob_cluster_status **out, struct fob_error *error)
{
	struct request *r;
	int rc = status_make(c, given, &r, error);

	*out = NULL;
	if ((rc = request_run(c, r, rc, error)) == 0) {
		*out = r->result.cluster;
		r->result.cluster = NULL;
	}
	request_free(r);
	return rc;
}

int
fob_cluster_status_async(struct fob_client *c, const struct fob_cluster_status_request *given, fob_cluster_status_cb cb,
    void *arg, uint64_t *number, struct fob_error *error)
{
	struct request *r;
	int rc = status_make(c, given, &r, error);

	return request_launch(c, r, rc, (union callback){ .cluster = cb }, arg, number, error);
}

void
fob_cluster_status_free(struct fob_cluster_status *status)
{
	free(status);
}
