/*
 * order_ask.c - what this node asks of others, by its agent (see internal.h): requests are sealed here, and responses
 * opened. Knows no method.
 */
#include "service/engine/internal.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fob/rpc/v1/rpc.pb-c.h"
#include "fob/v1/cluster.pb-c.h"

#define GRACE_MS 2000 /* an agent that has not answered so long after the time limit never will */

static void
drop_bytes(struct ask *ask)
{
	if (ask->bytes != NULL)
		sodium_memzero(ask->bytes, ask->len);
	free(ask->bytes);
	ask->bytes = NULL;
	ask->len = 0;
}

/* The memory, and its length; NULL without memory. drop_text() wipes it: it may hold a token. */
static uint8_t *
pack(const ProtobufCMessage *message, size_t *len)
{
	uint8_t *text;

	*len = protobuf_c_message_get_packed_size(message);
	if ((text = malloc(*len + 1)) != NULL)
		protobuf_c_message_pack(message, text);
	return text;
}

static void
drop_text(uint8_t *text, size_t len)
{
	if (text != NULL)
		sodium_memzero(text, len);
	free(text);
}

/* Pack ${asked} and seal it into ${ask}. Returns false without memory. */
static bool
seal(const struct order *o, struct ask *ask, const Fob__V1__Asked *asked)
{
	struct ask_place place = { .environment = store_environment(o->writer->store) };
	uint8_t *text;
	size_t len;

	memcpy(place.cluster, ask->cluster, sizeof(place.cluster));
	if ((text = pack(&asked->base, &len)) != NULL && (ask->bytes = malloc(len + ASK_SEAL_LEN)) != NULL) {
		ask->len = ask_seal(o->ask_key, &place, text, len, ask->bytes);
		memcpy(ask->nonce, ask_nonce(ask->bytes), sizeof(ask->nonce));
	}
	drop_text(text, len);
	return ask->bytes != NULL;
}

static ProtobufCBinaryData
text_of(const char *text)
{
	return (ProtobufCBinaryData){ .data = (uint8_t *)(uintptr_t)text, .len = text != NULL ? strlen(text) : 0 };
}

static void
fill_by(Fob__V1__AskedBy *by, const struct peer *peer)
{
	fob__v1__asked_by__init(by);
	by->known = peer->known;
	by->uid = peer->uid;
	by->pid = peer->pid;
	by->address = text_of(peer->address);
	by->certificate = text_of(peer->certificate);
}

/* The request that goes into ${ask}, sealed. Returns false without memory. */
static bool
make_asked(const struct order *o, struct ask *ask, const struct ask_request *request)
{
	Fob__Rpc__V1__Request envelope = FOB__RPC__V1__REQUEST__INIT;
	Fob__V1__Asked asked = FOB__V1__ASKED__INIT;
	Fob__V1__AskedBy by;
	bool done;

	envelope.method = text_of(request->method);
	envelope.timeout_ms = request->timeout_ms;
	envelope.traceparent = text_of(request->traceparent);
	envelope.on_behalf_of = text_of(request->on_behalf_of);
	envelope.body.data = (uint8_t *)(uintptr_t)request->body;
	envelope.body.len = request->len;
	if (request->by != NULL) {
		fill_by(&by, request->by);
		asked.by = &by;
	}
	asked.request.data = pack(&envelope.base, &asked.request.len);
	done = asked.request.data != NULL && seal(o, ask, &asked);
	drop_text(asked.request.data, asked.request.len);
	return done;
}

struct ask *
ask_begin(struct order *o, const struct ask_request *request)
{
	struct ask *ask = o->asks;

	while (ask < o->asks + ORDER_ASKS && ask->state != ASK_FREE)
		ask++;
	if (ask == o->asks + ORDER_ASKS)
		return NULL;
	*ask = (struct ask){ .timeout_ms = request->timeout_ms };
	memcpy(ask->cluster, request->cluster, sizeof(ask->cluster));
	snprintf(ask->address, sizeof(ask->address), "%s", request->address);
	if (!make_asked(o, ask, request))
		return NULL;
	ask->id = ++o->last_ask;
	ask->until_ms = clock_boot_ms() + request->timeout_ms + GRACE_MS;
	ask->state = ASK_WANTED;
	return ask;
}

void
ask_end(struct ask *ask)
{
	drop_bytes(ask);
	ask->state = ASK_FREE;
}

static void
fail(struct ask *ask, const char *why)
{
	drop_bytes(ask);
	snprintf(ask->why, sizeof(ask->why), "%s", why);
	ask->state = ASK_FAILED;
}

bool
ask_is_over(struct ask *ask)
{
	if ((ask->state == ASK_WANTED || ask->state == ASK_SENT) && clock_boot_ms() >= ask->until_ms)
		fail(ask, "no answer in time");
	return ask->state == ASK_ANSWERED || ask->state == ASK_FAILED;
}

bool
order_ask_is_over(struct order *o, struct ask *ask)
{
	bool over;

	pthread_mutex_lock(&o->lock);
	over = ask_is_over(ask);
	pthread_mutex_unlock(&o->lock);
	return over;
}

void
order_end_ask(struct order *o, struct ask *ask)
{
	pthread_mutex_lock(&o->lock);
	ask_end(ask);
	pthread_mutex_unlock(&o->lock);
}

/* ---- the agent ---- */

const struct ask *
order_next_ask(struct order *o)
{
	for (struct ask *ask = o->asks; ask < o->asks + ORDER_ASKS; ask++)
		if (ask->state == ASK_WANTED) {
			ask->state = ASK_SENT;
			return ask;
		}
	return NULL;
}

bool
order_has_ask(const struct order *o)
{
	for (const struct ask *ask = o->asks; ask < o->asks + ORDER_ASKS; ask++)
		if (ask->state == ASK_WANTED)
			return true;
	return false;
}

void
asks_lost(struct order *o)
{
	for (struct ask *ask = o->asks; ask < o->asks + ORDER_ASKS; ask++)
		if (ask->state == ASK_SENT)
			fail(ask, "fob-cluster was started anew");
}

void
order_ask_done(struct order *o, uint64_t id, const uint8_t *sealed, size_t len, const char *why)
{
	struct ask_place place = { .environment = store_environment(o->writer->store) };
	struct ask *ask = o->asks;
	uint8_t *text;

	while (ask < o->asks + ORDER_ASKS && !(ask->state == ASK_SENT && ask->id == id))
		ask++;
	if (ask == o->asks + ORDER_ASKS)
		return;
	if (len == 0) {
		fail(ask, why);
		return;
	}
	place.request = ask->nonce;
	memcpy(place.cluster, ask->cluster, sizeof(place.cluster));
	if ((text = malloc(len)) == NULL || ask_open(o->ask_key, &place, sealed, len, text) != 0) {
		fail(ask, text == NULL ? "out of memory" : "the answer was not sealed by a node of this cluster");
		free(text);
		return;
	}
	drop_bytes(ask);
	ask->bytes = text;
	ask->len = len - ASK_SEAL_LEN;
	ask->state = ASK_ANSWERED;
}
