/*
 * codec_cluster.c - the part of the codec that is about a cluster (see codec.h).
 */
#include "client/codec_internal.h"

#include <stdlib.h>
#include <string.h>

#include "client/error.h"
#include "fob/v1/admin.pb-c.h"

/* ---- requests ---- */

int
codec_encode_cluster_init(const struct fob_cluster_init_request *request, const uint8_t *token, struct codec_body *body,
    struct fob_error *error)
{
	Fob__V1__InitClusterRequest m = FOB__V1__INIT_CLUSTER_REQUEST__INIT;
	int rc;

	*body = (struct codec_body){ 0 };
	if ((rc = codec_environment_check(request->environment, error)) != 0)
		return rc;
	m.request_token = codec_borrow(token, FOB_TOKEN_LEN);
	m.environment = (Fob__V1__Environment)request->environment;
	m.again = request->again;
	return codec_pack(&m.base, body, error);
}

int
codec_encode_cluster_forget(
    const struct fob_cluster_forget_request *request, struct codec_body *body, struct fob_error *error)
{
	Fob__V1__ForgetNodeRequest m = FOB__V1__FORGET_NODE_REQUEST__INIT;
	int rc;

	*body = (struct codec_body){ 0 };
	if ((rc = codec_environment_check(request->environment, error)) != 0)
		return rc;
	if (request->replica == NULL)
		return error_set(
		    error, FOB_EINVALID_ARGUMENT, "replica: the %d bytes of a node are needed", FOB_CLUSTER_ID_LEN);
	m.environment = (Fob__V1__Environment)request->environment;
	m.replica = codec_borrow(request->replica, FOB_CLUSTER_ID_LEN);
	return codec_pack(&m.base, body, error);
}

int
codec_encode_cluster_status(
    const struct fob_cluster_status_request *request, struct codec_body *body, struct fob_error *error)
{
	Fob__V1__ClusterStatusRequest m = FOB__V1__CLUSTER_STATUS_REQUEST__INIT;
	int rc;

	*body = (struct codec_body){ 0 };
	if ((rc = codec_environment_check(request->environment, error)) != 0)
		return rc;
	m.environment = (Fob__V1__Environment)request->environment;
	return codec_pack(&m.base, body, error);
}

/* ---- replies ---- */

static int
id_from(const ProtobufCBinaryData *from, uint8_t to[FOB_CLUSTER_ID_LEN])
{
	if (from->len != FOB_CLUSTER_ID_LEN)
		return -1;
	memcpy(to, from->data, FOB_CLUSTER_ID_LEN);
	return 0;
}

int
codec_decode_cluster_init(const uint8_t *reply, size_t len, struct fob_cluster_identity *out, struct fob_error *error)
{
	const Fob__V1__InitClusterResponse *m;
	struct codec_reply r;
	int rc;

	*out = (struct fob_cluster_identity){ FOB_CLUSTER_IDENTITY_INIT };
	if ((rc = codec_reply_open(&r, reply, len, &fob__v1__init_cluster_response__descriptor, error)) == 0) {
		m = (const Fob__V1__InitClusterResponse *)r.inner;
		if (id_from(&m->cluster, out->cluster) != 0 || id_from(&m->replica, out->replica) != 0) {
			*out = (struct fob_cluster_identity){ FOB_CLUSTER_IDENTITY_INIT };
			rc = codec_undecodable(error, "it has not the ids of the cluster and the node");
		}
	}
	codec_reply_close(&r);
	return rc;
}

int
codec_decode_cluster_forget(const uint8_t *reply, size_t len, struct fob_error *error)
{
	struct codec_reply r;
	int rc = codec_reply_open(&r, reply, len, &fob__v1__forget_node_response__descriptor, error);

	codec_reply_close(&r);
	return rc;
}

static int
node_from(const Fob__V1__ClusterNode *m, struct fob_cluster_node *n)
{
	n->size = sizeof(*n);
	if (id_from(&m->replica, n->replica) != 0)
		return -1;
	n->applied = m->applied;
	n->wall_ms = m->wall_ms;
	n->max_staleness_ms = m->max_staleness_ms;
	n->pepper_lines = m->pepper_lines;
	n->self = m->self != 0;
	n->marked = m->marked != 0;
	n->valid = m->valid != 0;
	codec_text_copy(n->address, sizeof(n->address), &m->address);
	return 0;
}

/* The status, the pointers to its nodes, the nodes. */
static int
status_from(const Fob__V1__ClusterStatusResponse *m, struct fob_cluster_status **out, struct fob_error *error)
{
	const size_t n = m->n_nodes;
	const struct fob_cluster_node **pointers;
	struct fob_cluster_node *nodes;
	struct fob_cluster_status *s;

	if ((s = calloc(1, sizeof(*s) + n * (sizeof(*pointers) + sizeof(*nodes)))) == NULL)
		return error_set(error, FOB_EINTERNAL, "out of memory");
	pointers = (const struct fob_cluster_node **)(s + 1);
	nodes = (struct fob_cluster_node *)(pointers + n);
	s->size = sizeof(*s);
	s->applied = m->applied;
	s->head = m->head;
	s->fresh_ms = m->fresh_ms;
	s->agent_connected = m->agent_connected != 0;
	codec_text_copy(s->closed, sizeof(s->closed), &m->closed);
	s->n_nodes = n;
	s->nodes = pointers;
	if (id_from(&m->cluster, s->cluster) != 0 || id_from(&m->replica, s->replica) != 0 || m->fresh_ms < 0) {
		free(s);
		return codec_undecodable(error, "it is no state of a cluster");
	}
	for (size_t i = 0; i < n; i++) {
		if (node_from(m->nodes[i], &nodes[i]) != 0) {
			free(s);
			return codec_undecodable(error, "a node in it is none");
		}
		pointers[i] = &nodes[i];
	}
	*out = s;
	return 0;
}

int
codec_decode_cluster_status(const uint8_t *reply, size_t len, struct fob_cluster_status **out, struct fob_error *error)
{
	struct codec_reply r;
	int rc;

	*out = NULL;
	if ((rc = codec_reply_open(&r, reply, len, &fob__v1__cluster_status_response__descriptor, error)) == 0)
		rc = status_from((const Fob__V1__ClusterStatusResponse *)r.inner, out, error);
	codec_reply_close(&r);
	return rc;
}
