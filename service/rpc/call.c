/*
 * call.c - a call's memory, its faults, and the engine that it names (see call.h).
 */
#include "service/rpc/call.h"

#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fob/rpc/v1/rpc.pb-c.h"
#include "fob/v1/types.pb-c.h"
#include "service/base/names.h"
#include "service/rpc/worker.h"
#include "service/store/cluster.h"

#define SPARE_CALLS 64 /* kept for the next changes; each holds a few pages */

int
call_init(struct call *call, struct service *service, struct worker *worker)
{
	memset(call, 0, sizeof(*call));
	call->service = service;
	call->worker = worker;
	return scratch_init(&call->scratch);
}

void
call_fini(struct call *call)
{
	scratch_fini(&call->scratch);
	sodium_memzero(&call->mutation, sizeof(call->mutation));
}

void
call_reset(struct call *call)
{
	if (call->worker == NULL || call->worker->kept.n == 0)
		scratch_reset(&call->scratch);
	if (call->mutation.decide != NULL)
		sodium_memzero(&call->mutation, sizeof(call->mutation));
	call->method = NULL;
	call->environment = 0;
	call->tells = 0;
	call->import = NULL;
	call->admitted = false;
	call->asked_of = NULL;
	call->message[0] = '\0';
	call->traceparent[0] = '\0';
}

struct call *
call_take(struct service *service)
{
	struct call *call;

	pthread_mutex_lock(&service->mutex);
	if ((call = service->spare_calls) != NULL) {
		service->spare_calls = call->next;
		service->n_spare_calls--;
	}
	pthread_mutex_unlock(&service->mutex);
	if (call != NULL)
		return call;
	if ((call = malloc(sizeof(*call))) == NULL)
		return NULL;
	if (call_init(call, service, NULL) != 0) {
		free(call);
		return NULL;
	}
	return call;
}

void
call_release(struct call *call)
{
	struct service *service = call->service;

	call_reset(call);
	pthread_mutex_lock(&service->mutex);
	if (service->n_spare_calls < SPARE_CALLS) {
		call->next = service->spare_calls;
		service->spare_calls = call;
		service->n_spare_calls++;
		call = NULL;
	}
	pthread_mutex_unlock(&service->mutex);
	if (call == NULL)
		return;
	call_fini(call);
	free(call);
}

void
call_free_spares(struct service *service)
{
	struct call *call;

	while ((call = service->spare_calls) != NULL) {
		service->spare_calls = call->next;
		call_fini(call);
		free(call);
	}
	service->n_spare_calls = 0;
}

void
call_time(const struct call *call)
{
	enum operation_class class = call->method->class;
	struct worker *worker = call->worker;

	if (class == CLASS_OTHER || class >= CLASSES_TIMED)
		return;
	if (worker != NULL)
		tally_time(&worker->tally.durations[class], clock_boot_ns() - worker->began_ns, 1, false);
	else
		tally_time(&call->service->tally.durations[class], clock_boot_ns() - call->began_ns, 1, true);
}

int
call_fault(struct call *call, enum fault fault, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(call->message, sizeof(call->message), format, args);
	va_end(args);
	return -(int)fault;
}

/* Storage faults have no code of their own: the service could not answer. */
int
call_code(int fault)
{
	switch (-fault) {
	case FAULT_FULL:
		return FOB__RPC__V1__CODE__RESOURCE_EXHAUSTED;
	case FAULT_CORRUPT:
	case FAULT_IO:
	case FAULT_DISK:
	case FAULT_READERS:
	case FAULT_STALE:
	case FAULT_BEHIND:
		return FOB__RPC__V1__CODE__UNAVAILABLE;
	default:
		return -fault;
	}
}

const char *
call_message(const struct call *call, int fault)
{
	if (call->message[0] != '\0')
		return call->message;
	switch (-fault) {
	case FAULT_CORRUPT:
		return "a record of the database is damaged";
	case FAULT_IO:
		return "the database has failed; fobd opens it anew by itself, as soon as it can";
	case FAULT_READERS:
		return "too many other processes read the database: every reader's slot is taken";
	case FAULT_STALE:
		return "this node has lost touch with its cluster, and so does not answer: ask another node";
	case FAULT_BEHIND:
		return "this node is behind what this client has seen of its cluster: ask again, or another node";
	case FAULT_FULL:
		return "no room";
	case FAULT_INTERNAL:
		return "out of memory";
	default:
		return "";
	}
}

struct engine *
call_engine(struct call *call, int environment, int *fault)
{
	struct engine *engine;

	if (environment != FOB__V1__ENVIRONMENT__LIVE && environment != FOB__V1__ENVIRONMENT__TEST) {
		*fault = call_fault(call, FAULT_INVALID_ARGUMENT, "environment: must be LIVE (1) or TEST (2)");
		return NULL;
	}
	call->environment = (unsigned)environment;
	engine = call->service->engines[environment - 1];
	if (engine != NULL && call->asked_of != NULL && writer_order(engine->writer) != call->asked_of) {
		*fault = call_fault(call, FAULT_PERMISSION_DENIED, "sealed with the pepper of another environment");
		return NULL;
	}
	if (engine == NULL && call->service->broken[environment - 1])
		*fault = call_fault(call, FAULT_UNAVAILABLE,
		    "the database of this environment is not open: it has failed, and fobd opens it as soon as it can");
	else if (engine == NULL)
		*fault = call_fault(call, FAULT_FAILED_PRECONDITION, "this server does not serve the %s environment",
		    environment_name((enum environment)(environment - 1)));
	return engine;
}

struct order *
call_order(struct call *call, int environment, int *fault)
{
	struct engine *engine = call_engine(call, environment, fault);
	struct order *order;

	if (engine == NULL)
		return NULL;
	if ((order = writer_order(engine->writer)) == NULL)
		*fault = call_fault(call, FAULT_FAILED_PRECONDITION, "this environment's database is in no cluster");
	return order;
}

int
call_read_position(struct call *call, enum environment environment, struct store_txn *txn)
{
	return store_position(txn, &call->at[environment]);
}
