/*
 * list.c - ListKeys, ListAccounts, ListEvents, a page at a time. Each page is from one snapshot, which is released before
 * the reply is encoded. A page token is the last position on the page before.
 */
#include "service/rpc/handlers.h"

#include <string.h>

#include "fob/v1/admin.pb-c.h"
#include "service/base/bytes.h"
#include "service/rpc/message.h"
#include "service/rpc/worker.h"
#include "service/store/walk.h"

/* The page at hand. */
struct page {
	struct call *call;
	struct engine *engine;
	int64_t now_ms;
	size_t size;  /* at most so many items */
	size_t n;     /* so far */
	bool more;    /* there are more behind this page */
	bool full;    /* the scratch memory is used up */
	void **items; /* messages */
	uint8_t last[LIMIT_ACCOUNT];
	size_t last_len;
	/* events only */
	const char *account; /* NULL: all */
	unsigned scanned;
};

/* Returns 0, or a negated fault. */
static int
page_begin(struct page *page, struct call *call, int environment, uint32_t page_size)
{
	int fault;

	*page = (struct page){ .call = call, .size = page_size != 0 ? page_size : LIMIT_PAGE_DEFAULT };
	if (page_size > LIMIT_PAGE)
		return call_fault(call, FAULT_INVALID_ARGUMENT, "page_size: at most %d", LIMIT_PAGE);
	if ((page->engine = call_engine(call, environment, &fault)) == NULL)
		return fault;
	page->now_ms = clock_now_ms(&page->engine->clock);
	if ((page->items = scratch_alloc(&call->scratch, page->size * sizeof(*page->items))) == NULL)
		return call_fault(call, FAULT_RESOURCE_EXHAUSTED, "the page needs more memory than a request may have");
	return 0;
}

/* May what ${txn}, which was begun after *${fresh_until_ms} was loaded, shows be told? */
static int
page_judge(struct page *page, int64_t fresh_until_ms, struct store_txn *txn)
{
	enum environment environment = page->engine->environment;
	struct call *call = page->call;
	int fault;

	if (order_is_stale(fresh_until_ms, clock_boot_ms()))
		return -FAULT_STALE;
	if ((fault = call_position(call, page->engine, fresh_until_ms, txn)) != 0)
		return fault;
	call_tell_position(call, environment);
	if (fresh_until_ms == 0 || !position_is_behind(&call->at[environment], &call->min[environment]))
		return 0;
	order_look(writer_order(page->engine->writer));
	return -FAULT_BEHIND;
}

static int
page_read(struct page *page, struct store_txn **txn)
{
	int64_t fresh_until_ms = atomic_load(&page->engine->fresh_until_ms);
	int fault;

	if ((*txn = worker_reader(page->call->worker, page->engine)) == NULL)
		return call_fault(page->call, FAULT_INTERNAL, "out of memory");
	if ((fault = store_read(*txn)) != 0)
		return fault;
	if ((fault = page_judge(page, fresh_until_ms, *txn)) != 0)
		store_read_end(*txn);
	return fault;
}

static int
page_end(struct page *page, struct store_txn *txn, int fault)
{
	store_read_end(txn);
	if (fault == 0 && page->full)
		return call_fault(
		    page->call, FAULT_RESOURCE_EXHAUSTED, "the page needs more memory than a request may have");
	return fault;
}

/* Memory for one more message, or NULL when the walk has to end. */
static void *
page_add(struct page *page, size_t size)
{
	void *item;

	if (page->n == page->size) {
		page->more = true;
		return NULL;
	}
	if ((item = scratch_alloc(&page->call->scratch, size)) == NULL) {
		page->full = true;
		return NULL;
	}
	page->items[page->n++] = item;
	return item;
}

static bool
page_copy(struct page *page, ProtobufCBinaryData *field)
{
	if (message_copy(page->call, field, field->data, field->len))
		return true;
	page->full = true;
	return false;
}

static bool
page_token(struct page *page, ProtobufCBinaryData *token)
{
	return message_copy(page->call, token, page->last, page->last_len);
}

static int
bad_token(struct call *call)
{
	return call_fault(call, FAULT_INVALID_ARGUMENT, "page_token: not a token of this list");
}

/* ---- keys ---- */

#define KEY_TOKEN_LEN 5 /* kind, generation */

static bool
visit_key(void *arg, const uint8_t digest[RECORD_DIGEST_LEN], const struct record_key *key)
{
	struct page *page = arg;
	Fob__V1__Key *out;

	if ((out = page_add(page, sizeof(*out))) == NULL)
		return false;
	message_key(page->engine, digest, key, page->now_ms, out);
	page->last[0] = (uint8_t)key->kind;
	bytes_put32(page->last + 1, key->generation);
	page->last_len = KEY_TOKEN_LEN;
	return page_copy(page, &out->account) && page_copy(page, &out->last4);
}

int
list_keys(struct call *call, const ProtobufCMessage *request, ProtobufCMessage *response)
{
	const Fob__V1__ListKeysRequest *in = (const Fob__V1__ListKeysRequest *)request;
	Fob__V1__ListKeysResponse *out = (Fob__V1__ListKeysResponse *)response;
	char account[LIMIT_ACCOUNT + 1];
	struct record_account record;
	struct store_txn *txn;
	struct page page;
	enum kind kind = 0;
	uint32_t generation = 0;
	int fault;

	if ((fault = message_take_account(call, &in->account, account)) != 0 ||
	    (fault = page_begin(&page, call, (int)in->environment, in->page_size)) != 0)
		return fault;
	if (in->page_token.len > 0) {
		if (in->page_token.len != KEY_TOKEN_LEN || in->page_token.data[0] > KIND_PUBLISHABLE ||
		    (generation = bytes_get32(in->page_token.data + 1)) == UINT32_MAX)
			return bad_token(call);
		kind = in->page_token.data[0];
	}
	if ((fault = page_read(&page, &txn)) != 0)
		return fault;
	if ((fault = store_account(txn, account, &record)) == -FAULT_NOT_FOUND)
		call_fault(call, FAULT_NOT_FOUND, "no account %s in this environment", account);
	if (fault == 0)
		fault = store_each_key(txn, account, kind, generation, visit_key, &page);
	if ((fault = page_end(&page, txn, fault)) != 0)
		return fault;
	out->keys = (Fob__V1__Key **)page.items;
	out->n_keys = page.n;
	if (page.more && !page_token(&page, &out->next_page_token))
		return call_fault(call, FAULT_RESOURCE_EXHAUSTED, "the page needs more memory than a request may have");
	return 0;
}

/* ---- accounts ---- */

static bool
visit_account(void *arg, const struct record_account *account)
{
	struct page *page = arg;
	Fob__V1__Account *out;

	if ((out = page_add(page, sizeof(*out))) == NULL)
		return false;
	message_account(page->engine, account, out);
	/* A grace that has ended does not count, even if the sweeper has not ended it yet; ListKeys does the same. */
	out->keys_in_grace = 0;
	for (unsigned i = 0; i < account->n_grace; i++)
		out->keys_in_grace += page->now_ms < account->grace[i].expires_ms;
	page->last_len = out->account.len;
	memcpy(page->last, out->account.data, page->last_len);
	return page_copy(page, &out->account);
}

int
list_accounts(struct call *call, const ProtobufCMessage *request, ProtobufCMessage *response)
{
	const Fob__V1__ListAccountsRequest *in = (const Fob__V1__ListAccountsRequest *)request;
	Fob__V1__ListAccountsResponse *out = (Fob__V1__ListAccountsResponse *)response;
	char after[LIMIT_ACCOUNT + 1] = "";
	struct store_txn *txn;
	struct page page;
	int fault;

	if ((fault = page_begin(&page, call, (int)in->environment, in->page_size)) != 0)
		return fault;
	if (in->page_token.len > 0) {
		if (!record_account_ok(in->page_token.data, in->page_token.len))
			return bad_token(call);
		memcpy(after, in->page_token.data, in->page_token.len);
	}
	if ((fault = page_read(&page, &txn)) != 0)
		return fault;
	fault = store_each_account(txn, after, visit_account, &page);
	if ((fault = page_end(&page, txn, fault)) != 0)
		return fault;
	out->accounts = (Fob__V1__Account **)page.items;
	out->n_accounts = page.n;
	if (page.more && !page_token(&page, &out->next_page_token))
		return call_fault(call, FAULT_RESOURCE_EXHAUSTED, "the page needs more memory than a request may have");
	return 0;
}

/* ---- events ---- */

/* Who asked, and for whom. Returns false when the scratch memory is used up. */
static bool
tell_origin(struct page *page, const struct record_event *event, Fob__V1__Event *told)
{
	const struct peer *by = &event->by;
	Fob__V1__Origin *out;

	if (!by->known && by->address[0] == '\0')
		return true;
	if ((out = scratch_alloc(&page->call->scratch, sizeof(*out))) == NULL) {
		page->full = true;
		return false;
	}
	fob__v1__origin__init(out);
	out->uid = by->uid;
	out->pid = by->pid;
	message_text(&out->address, by->address);
	message_text(&out->certificate, by->certificate);
	message_text(&out->on_behalf_of, event->on_behalf_of);
	told->origin = out;
	return page_copy(page, &out->address) && page_copy(page, &out->certificate) &&
	    page_copy(page, &out->on_behalf_of);
}

static bool
visit_event(void *arg, const struct record_event *event)
{
	struct page *page = arg;
	Fob__V1__Event *out;

	/* Events that the filter leaves out count, too, so that the work for one page is bounded. */
	if (page->scanned == LIMIT_SCAN) {
		page->more = true;
		return false;
	}
	if (page->account == NULL || strcmp(page->account, event->account) == 0) {
		if ((out = page_add(page, sizeof(*out))) == NULL)
			return false;
		fob__v1__event__init(out);
		out->sequence = event->sequence;
		out->time_ms = event->time_ms;
		out->type = (Fob__V1__EventType)event->type;
		out->kind = (Fob__V1__KeyKind)event->kind;
		out->generation = event->generation;
		out->expires_ms = event->expires_ms;
		message_text(&out->account, event->account);
		if (event->kind != 0)
			message_bytes(&out->last4, event->last4, sizeof(event->last4));
		if (!page_copy(page, &out->account) || !page_copy(page, &out->last4) || !tell_origin(page, event, out))
			return false;
	}
	page->scanned++;
	bytes_put64(page->last, event->sequence);
	return true;
}

int
list_events(struct call *call, const ProtobufCMessage *request, ProtobufCMessage *response)
{
	const Fob__V1__ListEventsRequest *in = (const Fob__V1__ListEventsRequest *)request;
	Fob__V1__ListEventsResponse *out = (Fob__V1__ListEventsResponse *)response;
	char account[LIMIT_ACCOUNT + 1];
	struct store_txn *txn;
	struct page page;
	uint64_t after = 0;
	int fault;

	if ((fault = page_begin(&page, call, (int)in->environment, in->page_size)) != 0)
		return fault;
	if (in->account.len > 0) {
		if ((fault = message_take_account(call, &in->account, account)) != 0)
			return fault;
		page.account = account;
	}
	if (in->page_token.len > 0) {
		if (in->page_token.len != 8)
			return bad_token(call);
		after = bytes_get64(in->page_token.data);
	}
	bytes_put64(page.last, after);
	page.last_len = 8;
	if ((fault = page_read(&page, &txn)) != 0)
		return fault;
	fault = store_each_event(txn, after, visit_event, &page);
	if ((fault = page_end(&page, txn, fault)) != 0)
		return fault;
	out->events = (Fob__V1__Event **)page.items;
	out->n_events = page.n;
	out->more = page.more;
	if (!page_token(&page, &out->next_page_token))
		return call_fault(call, FAULT_RESOURCE_EXHAUSTED, "the page needs more memory than a request may have");
	return 0;
}
