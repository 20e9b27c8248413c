/*
 * peer.c - asks of other nodes, and which connection carries each (see peer.h). Sends no ask twice.
 */
#include "client/cluster/peer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define METHOD "fob.v1.Peer/Ask"
#define OUT_MAX (4U << 20) /* the other node does not read */

struct link {
	struct peer_link *link; /* NULL: a free place */
	unsigned n_asks;
	int64_t used_ms; /* when an ask last began or ended */
	bool retired;    /* for no more asks */
};

struct ask {
	struct link *on;
	uint64_t id;
	uint32_t request; /* its id on the wire */
	int64_t due_ms;
};

struct peers {
	struct peer_link_files files;
	struct peers_callbacks callbacks;
	struct link links[PEERS_ADDRESSES];
	struct ask asks[PEERS_UNDER_WAY]; /* in no order */
	unsigned n_asks;
};

struct peers *
peers_new(const struct peer_link_files *files, const struct peers_callbacks *callbacks)
{
	struct peers *p = calloc(1, sizeof(*p));

	if (p == NULL)
		return NULL;
	p->files = *files;
	p->callbacks = *callbacks;
	return p;
}

void
peers_free(struct peers *p)
{
	if (p == NULL)
		return;
	for (unsigned i = 0; i < PEERS_ADDRESSES; i++)
		peer_link_free(p->links[i].link);
	free(p);
}

unsigned
peers_under_way(const struct peers *p)
{
	return p->n_asks;
}

/* ---- the end of an ask ---- */

static void
refuse(struct peers *p, uint64_t id, const char *why)
{
	p->callbacks.on_answer(p->callbacks.arg, id, &(ProtobufCBinaryData){ 0 }, why);
}

/* Ask number ${i} is over: the last one takes its place. Returns: its id. */
static uint64_t
finish(struct peers *p, unsigned i, int64_t now_ms)
{
	uint64_t id = p->asks[i].id;

	p->asks[i].on->n_asks--;
	p->asks[i].on->used_ms = now_ms;
	p->asks[i] = p->asks[--p->n_asks];
	return id;
}

static void
close_link(struct peers *p, struct link *link, int64_t now_ms, const char *why)
{
	for (unsigned i = p->n_asks; i-- > 0;)
		if (p->asks[i].on == link)
			refuse(p, finish(p, i, now_ms), why);
	peer_link_free(link->link);
	*link = (struct link){ 0 };
}

static void
on_reply(struct peers *p, uint64_t id, const Fob__Rpc__V1__Response *r)
{
	Fob__V1__AskResponse *answer = NULL;
	char why[200];

	if (r->code != FOB__RPC__V1__CODE__OK)
		snprintf(why, sizeof(why), "it answers with code %d: %.*s", (int)r->code, (int)r->message.len,
		    r->message.data != NULL ? (const char *)r->message.data : "");
	else if ((answer = fob__v1__ask_response__unpack(NULL, r->body.len, r->body.data)) == NULL ||
	    answer->sealed.len == 0)
		snprintf(why, sizeof(why), "its answer is not one of Ask");
	else if (answer->sealed.len > PEERS_SEALED_MAX)
		snprintf(why, sizeof(why), "its answer is too large: %zu bytes", answer->sealed.len);
	else {
		p->callbacks.on_answer(p->callbacks.arg, id, &answer->sealed, "");
		fob__v1__ask_response__free_unpacked(answer, NULL);
		return;
	}
	if (answer != NULL)
		fob__v1__ask_response__free_unpacked(answer, NULL);
	refuse(p, id, why);
}

/* ---- the beginning of one ---- */

/* The one to this address, or a free place, or that of the one that is idle for longest. NULL: all are in use. */
static struct link *
find_link(struct peers *p, const char *address)
{
	struct link *best = NULL;

	for (struct link *l = p->links; l < p->links + PEERS_ADDRESSES; l++)
		if (l->link != NULL && !l->retired && strcmp(l->link->address.text, address) == 0)
			return l;
	for (struct link *l = p->links; l < p->links + PEERS_ADDRESSES; l++) {
		if (l->link == NULL)
			return l;
		if (l->n_asks == 0 && l->link->phase != PEER_LINK_RESOLVES &&
		    (best == NULL || l->used_ms < best->used_ms))
			best = l;
	}
	return best;
}

/* Returns: a connection to ${address}; NULL with a sentence at ${why}. */
static struct link *
link_to(struct peers *p, const ProtobufCBinaryData *address, int64_t now_ms, char *why, size_t why_len)
{
	char text[ADDRESS_TEXT_MAX + 1] = "";
	struct link *link;

	if (address->len > 0 && address->len < sizeof(text) && memchr(address->data, '\0', address->len) == NULL)
		memcpy(text, address->data, address->len);
	if (!address_is_good(text) || strncmp(text, "ipc://", strlen("ipc://")) == 0) {
		snprintf(why, why_len, "it has no address that can be connected to");
		return NULL;
	}
	if ((link = find_link(p, text)) == NULL) {
		snprintf(why, why_len, "asks of %d other addresses are under way", PEERS_ADDRESSES);
		return NULL;
	}
	if (link->link != NULL && !link->retired && strcmp(link->link->address.text, text) == 0)
		return link;
	close_link(p, link, now_ms, "");
	link->link = peer_link_new(text, &p->files, now_ms, why, why_len);
	return link->link != NULL ? link : NULL;
}

/* Returns: 0; -1 when out of memory. */
static int
send_ask(
    struct link *link, Fob__V1__Environment environment, const Fob__V1__Ask *ask, uint32_t timeout_ms, uint32_t *id)
{
	Fob__V1__AskRequest request = FOB__V1__ASK_REQUEST__INIT;
	uint8_t *body;
	size_t len;
	int rv;

	request.environment = environment;
	request.sealed = ask->sealed;
	len = fob__v1__ask_request__get_packed_size(&request);
	if ((body = malloc(len)) == NULL)
		return -1;
	fob__v1__ask_request__pack(&request, body);
	rv = wire_request(&link->link->wire, METHOD, timeout_ms, body, len, id);
	free(body);
	return rv;
}

void
peers_ask(struct peers *p, Fob__V1__Environment environment, const Fob__V1__Ask *ask, int64_t now_ms)
{
	uint32_t timeout_ms = ask->timeout_ms == 0 ? PEERS_TIMEOUT_MS :
	    ask->timeout_ms > PEERS_TIMEOUT_MAX_MS ? PEERS_TIMEOUT_MAX_MS :
						     ask->timeout_ms;
	char why[200] = "out of memory";
	struct link *link;
	uint32_t request;

	if (p->n_asks == PEERS_UNDER_WAY)
		snprintf(why, sizeof(why), "%d asks are under way", PEERS_UNDER_WAY);
	else if ((link = link_to(p, &ask->address, now_ms, why, sizeof(why))) != NULL) {
		if (link->link->wire.out.len + link->link->out.len > OUT_MAX)
			snprintf(why, sizeof(why), "it does not read what it is sent");
		else if (send_ask(link, environment, ask, timeout_ms, &request) == 0) {
			p->asks[p->n_asks++] = (struct ask){
				.on = link, .id = ask->id, .request = request, .due_ms = now_ms + timeout_ms
			};
			link->n_asks++;
			link->used_ms = now_ms;
			return;
		}
	}
	refuse(p, ask->id, why);
}

/* ---- the loop ---- */

/* Returns: 0; -1 when what has come is not the protocol. */
static int
take_replies(struct peers *p, struct link *link, int64_t now_ms)
{
	Fob__Rpc__V1__Response *reply;
	enum wire_event event;
	uint32_t request;

	while ((event = wire_next(&link->link->wire, &request, &reply)) != WIRE_NOTHING) {
		if (event == WIRE_BROKEN)
			return -1;
		if (event == WIRE_UP)
			continue;
		/* One that nobody waits for any more is passed over. */
		for (unsigned i = 0; i < p->n_asks; i++) {
			if (p->asks[i].on == link && p->asks[i].request == request) {
				on_reply(p, finish(p, i, now_ms), reply);
				break;
			}
		}
		fob__rpc__v1__response__free_unpacked(reply, NULL);
	}
	return 0;
}

static bool
is_done_with(const struct link *link, int64_t now_ms)
{
	return link->n_asks == 0 && link->link->phase != PEER_LINK_RESOLVES &&
	    (link->retired || now_ms - link->used_ms >= PEERS_IDLE_MS);
}

static void
turn(struct peers *p, struct link *link, int64_t now_ms)
{
	int rv = peer_link_turn(link->link, now_ms);

	if (take_replies(p, link, now_ms) != 0)
		close_link(p, link, now_ms, "what answers there does not speak Fob's protocol");
	else if (rv != 0)
		close_link(p, link, now_ms, link->link->why);
	else if (is_done_with(link, now_ms))
		close_link(p, link, now_ms, "");
}

void
peers_turn(struct peers *p, int64_t now_ms)
{
	for (struct link *l = p->links; l < p->links + PEERS_ADDRESSES; l++)
		if (l->link != NULL)
			turn(p, l, now_ms);
	for (unsigned i = p->n_asks; i-- > 0;)
		if (now_ms >= p->asks[i].due_ms)
			refuse(p, finish(p, i, now_ms), "no answer in time");
}

void
peers_forget(struct peers *p, int64_t now_ms)
{
	while (p->n_asks > 0)
		finish(p, 0, now_ms);
}

void
peers_reload(struct peers *p, const struct peer_link_files *files)
{
	p->files = *files;
	for (struct link *l = p->links; l < p->links + PEERS_ADDRESSES; l++)
		l->retired = l->link != NULL;
}

unsigned
peers_fds(const struct peers *p, struct pollfd *fds)
{
	unsigned n = 0;

	for (const struct link *l = p->links; l < p->links + PEERS_ADDRESSES; l++)
		if (l->link != NULL && l->link->fd >= 0)
			fds[n++] = (struct pollfd){ .fd = l->link->fd, .events = peer_link_events(l->link) };
	return n;
}

int64_t
peers_due_ms(const struct peers *p)
{
	int64_t due_ms = INT64_MAX, at_ms;

	for (const struct link *l = p->links; l < p->links + PEERS_ADDRESSES; l++) {
		if (l->link == NULL)
			continue;
		at_ms = l->n_asks > 0 ? INT64_MAX : l->retired ? 0 : l->used_ms + PEERS_IDLE_MS;
		/* A resolver that runs cannot be given up: its time comes first. */
		if (l->link->phase == PEER_LINK_RESOLVES || peer_link_due_ms(l->link) < at_ms)
			at_ms = peer_link_due_ms(l->link);
		due_ms = at_ms < due_ms ? at_ms : due_ms;
	}
	for (unsigned i = 0; i < p->n_asks; i++)
		due_ms = p->asks[i].due_ms < due_ms ? p->asks[i].due_ms : due_ms;
	return due_ms;
}
