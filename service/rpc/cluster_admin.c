/*
 * cluster_admin.c - Admin/InitCluster and Admin/ClusterStatus: a database becomes the first node of a cluster, and what a
 * node knows of its cluster.
 */
#include "service/rpc/handlers.h"

#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "fob/v1/admin.pb-c.h"
#include "service/base/log.h"
#include "service/base/names.h"
#include "service/rpc/message.h"
#include "service/rpc/mutation.h"
#include "service/store/cluster.h"

/* ---- InitCluster ---- */

static int
decide_init_cluster(struct mutation *m, const struct view *view, struct change *change)
{
	Fob__V1__InitClusterResponse out = FOB__V1__INIT_CLUSTER_RESPONSE__INIT;
	const struct call *call = m->arg;
	bool again = ((const Fob__V1__InitClusterRequest *)call->request)->again != 0;
	struct record_cluster cluster;
	int fault;

	if ((fault = store_cluster(view->txn, &cluster)) == 0 && !again) {
		snprintf(m->why, sizeof(m->why), "this environment's database is in a cluster already");
		return -FAULT_FAILED_PRECONDITION;
	}
	if (fault == -FAULT_NOT_FOUND && again) {
		snprintf(m->why, sizeof(m->why), "this environment's database is in no cluster, so there is none to make again");
		return -FAULT_FAILED_PRECONDITION;
	}
	if (fault == 0 && again && sodium_is_zero(cluster.cluster, sizeof(cluster.cluster))) {
		snprintf(m->why, sizeof(m->why), "this node is new, and its database is empty: choose one that has the keys");
		return -FAULT_FAILED_PRECONDITION;
	}
	/* The other nodes of a cluster that is whole would go on in it. */
	if (again && !order_is_stale(atomic_load(&call->engine->fresh_until_ms), clock_boot_ms())) {
		snprintf(m->why, sizeof(m->why), "this node serves, so its cluster's log is not lost");
		return -FAULT_FAILED_PRECONDITION;
	}
	if (store_txn_is_rotating(view->txn)) {
		snprintf(m->why, sizeof(m->why), "a pepper rotation is under way: wait for its end");
		return -FAULT_FAILED_PRECONDITION;
	}
	memset(&cluster, 0, sizeof(cluster));
	randombytes_buf(cluster.cluster, sizeof(cluster.cluster));
	randombytes_buf(cluster.replica, sizeof(cluster.replica));
	if ((fault != -FAULT_NOT_FOUND && fault != 0) || (fault = store_put_cluster(view->txn, &cluster)) != 0) {
		snprintf(m->why, sizeof(m->why), "the database could not be read or written");
		return fault;
	}
	decide_nothing(view, change);
	message_bytes(&out.cluster, cluster.cluster, sizeof(cluster.cluster));
	message_bytes(&out.replica, cluster.replica, sizeof(cluster.replica));
	mutation_reply(m, change, &out.base);
	return 0;
}

/* It is committed: from here on the log in etcd orders this environment's changes. */
static void
initialised(const struct call *call)
{
	LOG(LOG_INFO, "cluster made", LOG_S("environment", environment_name(call->engine->environment)),
	    LOG_ASKED_BY(call));
	writer_join_cluster(call->engine->writer);
}

int
admin_init_cluster(struct call *call, const ProtobufCMessage *request, ProtobufCMessage *response)
{
	static const struct mutation_plan plan = {
		.method = "InitCluster", .decide = decide_init_cluster, .log = initialised, .weight = 1
	};
	static const struct mutation_plan again = { .method = "InitCluster",
		.decide = decide_init_cluster,
		.log = initialised,
		.weight = 1,
		.is_local = true };
	Fob__V1__InitClusterRequest *in = (Fob__V1__InitClusterRequest *)(uintptr_t)request;

	(void)response;
	return mutation_submit(
	    call, request, (int)in->environment, &in->request_token, in->again != 0 ? &again : &plan);
}

/* ---- ForgetNode ---- */

int
admin_forget_node(struct call *call, const ProtobufCMessage *request, ProtobufCMessage *response)
{
	const Fob__V1__ForgetNodeRequest *in = (const Fob__V1__ForgetNodeRequest *)request;
	struct order *order;
	int fault;

	(void)response;
	if ((order = call_order(call, (int)in->environment, &fault)) == NULL)
		return fault;
	if (in->replica.len != FLEET_ID_LEN)
		return call_fault(call, FAULT_INVALID_ARGUMENT, "replica: must be exactly %d bytes", FLEET_ID_LEN);
	if (!order_forget(order, in->replica.data))
		return call_fault(call, FAULT_NOT_FOUND, "this node knows of no other node with that replica id");
	LOG(LOG_WARN, "a node is taken out of the cluster",
	    LOG_S("environment", environment_name((enum environment)(in->environment - 1))), LOG_ASKED_BY(call));
	return 0;
}

/* ---- ClusterStatus ---- */

static bool
fill_nodes(struct call *call, const struct order_status *status, Fob__V1__ClusterStatusResponse *out)
{
	size_t n = status->n_nodes < FLEET_NODES ? status->n_nodes : FLEET_NODES;
	Fob__V1__ClusterNode *items = scratch_alloc(&call->scratch, (n + 1) * sizeof(*items));

	out->nodes = scratch_alloc(&call->scratch, (n + 1) * sizeof(*out->nodes));
	if (items == NULL || out->nodes == NULL)
		return false;
	for (size_t i = 0; i < n; i++) {
		const struct fleet_node *node = &status->nodes[i];

		fob__v1__cluster_node__init(&items[i]);
		message_bytes(&items[i].replica, node->replica, sizeof(node->replica));
		items[i].self = node->is_self;
		items[i].marked = node->is_marked;
		items[i].valid = node->is_valid;
		items[i].applied = node->row.applied;
		message_text(&items[i].address, node->row.address);
		items[i].wall_ms = node->row.wall_ms;
		items[i].max_staleness_ms = node->row.max_staleness_ms;
		items[i].pepper_lines = node->row.pepper_lines;
		out->nodes[out->n_nodes++] = &items[i];
	}
	return true;
}

int
admin_cluster_status(struct call *call, const ProtobufCMessage *request, ProtobufCMessage *response)
{
	const Fob__V1__ClusterStatusRequest *in = (const Fob__V1__ClusterStatusRequest *)request;
	Fob__V1__ClusterStatusResponse *out = (Fob__V1__ClusterStatusResponse *)response;
	struct order_status *status;
	struct order *order;
	int fault;

	if ((order = call_order(call, (int)in->environment, &fault)) == NULL)
		return fault;
	if ((status = scratch_alloc(&call->scratch, sizeof(*status))) == NULL)
		return call_fault(call, FAULT_RESOURCE_EXHAUSTED, "the status needs more memory than a request may have");
	order_status(order, status);
	message_bytes(&out->cluster, status->cluster, sizeof(status->cluster));
	message_bytes(&out->replica, status->replica, sizeof(status->replica));
	out->applied = status->applied;
	out->head = status->head;
	out->fresh_ms = status->fresh_ms;
	out->agent_connected = status->connected;
	message_text(&out->closed, status->closed != NULL ? status->closed : "");
	if (!fill_nodes(call, status, out))
		return call_fault(call, FAULT_RESOURCE_EXHAUSTED, "the status needs more memory than a request may have");
	return 0;
}
