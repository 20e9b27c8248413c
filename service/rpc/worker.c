/*
 * worker.c - a thread's memory and read transactions (see worker.h).
 */
#include "service/rpc/worker.h"

#include <string.h>

int
worker_init(struct worker *worker, struct service *service)
{
	/* The rest, which is large, is set when it is used. */
	memset(worker, 0, offsetof(struct worker, kept));
	worker->kept.n = 0;
	worker->service = service;
	if (call_init(&worker->call, service, worker) != 0)
		return -1;
	pthread_mutex_lock(&service->mutex);
	worker->next = service->workers;
	service->workers = worker;
	pthread_mutex_unlock(&service->mutex);
	return 0;
}

void
worker_fini(struct worker *worker)
{
	struct service *service = worker->service;
	struct worker **at;

	pthread_mutex_lock(&service->mutex);
	for (at = &service->workers; *at != NULL && *at != worker; at = &(*at)->next)
		;
	if (*at != NULL)
		*at = worker->next;
	pthread_mutex_unlock(&service->mutex);
	worker_free_readers(worker);
	call_fini(&worker->call);
}

struct store_txn *
worker_reader(struct worker *worker, struct engine *engine)
{
	struct store_txn **reader = &worker->readers[engine->environment];

	if (*reader == NULL)
		*reader = store_txn_new(engine->store);
	return *reader;
}

void
worker_free_reader(struct worker *worker, enum environment environment)
{
	store_txn_free(worker->readers[environment]);
	worker->readers[environment] = NULL;
}

void
worker_free_readers(struct worker *worker)
{
	for (int e = 0; e < ENVIRONMENTS; e++)
		worker_free_reader(worker, (enum environment)e);
}
