/*
 * request.h - one call of fob.h, from start to end: made, encoded, submitted, answered, ended. Single verifies have a
 * struct of their own, in verify.c.
 */
#ifndef CLIENT_REQUEST_H
#define CLIENT_REQUEST_H

#include <pthread.h>

#include "client/codec.h"
#include "client/transport.h"

#define ENVIRONMENTS 3 /* FOB_ENVIRONMENT_ANY is one: whose server is not known */

struct fob_client {
	struct transport *transport;
	uint32_t timeout_ms;
	bool split;   /* environments have servers of their own */
	bool several; /* a list of servers has more than one */

	pthread_mutex_t mutex; /* of the batches that are under way in several messages, which fob_cancel() must find */
	struct batch *batches;
};

/* What every request says, whatever its type. */
struct terms {
	enum fob_environment environment;
	uint32_t timeout_ms;
	const char *traceparent;
	const char *on_behalf_of; /* a change only */
};
#define TERMS(request) \
	(struct terms) \
	{ \
		(request).environment, (request).timeout_ms, (request).traceparent, NULL \
	}
#define CHANGE_TERMS(request) \
	(struct terms) \
	{ \
		(request).environment, (request).timeout_ms, (request).traceparent, (request).on_behalf_of \
	}

union result {
	struct fob_created_account *created;
	struct fob_rolled_key *rolled;
	struct fob_key key;
	struct fob_account account;
	struct fob_stats *stats;
	struct fob_backup_part *backup;
	struct fob_cluster_identity identity;
	struct fob_cluster_status *cluster;
	enum fob_health_status health;
	union codec_page *page;
	enum fob_import_outcome *outcomes;
	struct codec_item *items; /* of a batch */
};

/* What a user's callback is called with, by method. */
union callback {
	fob_created_account_cb created;
	fob_rolled_key_cb rolled;
	fob_key_cb key;
	fob_account_cb account;
	fob_import_cb import;
	fob_key_page_cb keys;
	fob_account_page_cb accounts;
	fob_event_page_cb events;
	fob_health_cb health;
	fob_stats_cb stats;
	fob_cluster_identity_cb identity;
	fob_cluster_forget_cb forgotten;
	fob_cluster_status_cb cluster;
};

struct request {
	struct call call; /* first: the transport hands it back */
	enum method method;
	int fault;
	size_t n; /* outcomes or items */
	uint32_t page_size;
	struct fob_cursor cursor;
	char traceparent[FOB_TRACEPARENT_LEN + 1];
	char on_behalf_of[FOB_ON_BEHALF_OF_SIZE];
	union callback callback;
	void *arg;
	struct batch *batch; /* whose part this is */
	union result result;
};

/* When a call with ${timeout_ms} is over. Returns: 0; FOB_EINVALID_ARGUMENT. */
int request_deadline(const struct fob_client *c, uint32_t timeout_ms, int64_t *deadline_ms, struct fob_error *error);

/*
 * Returns ${to}, or NULL: there is none. It is often passed on from a peer, so one that is not of the form is left out
 * rather than refused.
 */
const char *request_traceparent(char to[FOB_TRACEPARENT_LEN + 1], const char *from);

/* The caller's token, or one of our own: in any case the same for every resend, being part of the encoded body. */
void request_token(const void *given, uint8_t token[FOB_TOKEN_LEN]);

/* Made, to be encoded. Returns: 0; FOB_EINVALID_ARGUMENT; FOB_EINTERNAL. */
int request_new(
    struct fob_client *c, enum method method, struct terms terms, struct request **request, struct fob_error *error);
/* What was handed out is not in the result any more. NULL is fine. */
void request_free(struct request *r);

/* Run what was made and encoded (${made} is 0) and wait for it. The request stays the caller's. */
int request_run(struct fob_client *c, struct request *r, int made, struct fob_error *error);

/* Submit what was made and encoded (${made} is 0). The request is freed by its end, or here when it was not taken. */
int request_launch(struct fob_client *c, struct request *r, int made, union callback callback, void *arg,
    uint64_t *number, struct fob_error *error);

/* For the parts of a batch: a reply is read, and what the call came to is in ${r}->fault. */
bool request_reply(struct call *call, const uint8_t *p, size_t len);
void request_settle(struct request *r, int fault);

/* Whose server ${request} is for. */
enum fob_environment verify_route(const struct fob_client *c, const struct fob_verify_request *request);

#endif
