/*
 * checker.c - the judge of a run (see checker.h). It knows everything at once, which no node does.
 */
#include "tests/cluster/checker.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/cluster/events.h"

void
checker_init(struct checker *c)
{
	memset(c, 0, sizeof(*c));
}

void
checker_fini(struct checker *c)
{
	free(c->log);
	free(c->token_at);
	free(c->account_at);
	free(c->acked);
	free(c->took_us);
}

void
checker_violation(struct checker *c, int64_t now_us, const char *format, ...)
{
	va_list args;
	int n;

	if (c->violations++ > 0)
		return;
	n = snprintf(c->first, sizeof(c->first), "at %.3f s: ", (double)now_us / 1e6);
	va_start(args, format);
	vsnprintf(c->first + n, sizeof(c->first) - (size_t)n, format, args);
	va_end(args);
}

/* ---- entries ---- */

static void
make_tag(const struct entry *e, uint8_t tag[ROW_TAG_LEN])
{
	const uint8_t *p = (const uint8_t *)e;
	uint64_t h[2] = { UINT64_C(0xcbf29ce484222325), UINT64_C(0x9e3779b97f4a7c15) };

	for (size_t i = 0; i < offsetof(struct entry, tag); i++) {
		h[0] = (h[0] ^ p[i]) * UINT64_C(0x100000001b3);
		h[1] = (h[1] + p[i]) * UINT64_C(0xbf58476d1ce4e5b9) ^ h[0] >> 29;
	}
	memcpy(tag, h, ROW_TAG_LEN);
}

void
entry_seal_of(struct entry *e)
{
	make_tag(e, e->tag);
}

bool
entry_fits(const struct entry *e, uint64_t number, const uint8_t before[ROW_TAG_LEN])
{
	uint8_t tag[ROW_TAG_LEN];

	make_tag(e, tag);
	return e->number == number && memcmp(e->before, before, ROW_TAG_LEN) == 0 &&
	    memcmp(e->tag, tag, ROW_TAG_LEN) == 0;
}

/* ---- the log ---- */

static void
make_room(struct checker *c, uint32_t token, uint32_t account)
{
	uint32_t n;

	if (token >= c->tokens) {
		n = token * 2 + 64;
		c->token_at = sim_realloc(c->token_at, n * sizeof(*c->token_at));
		c->acked = sim_realloc(c->acked, n * sizeof(*c->acked));
		memset(c->token_at + c->tokens, 0, (n - c->tokens) * sizeof(*c->token_at));
		memset(c->acked + c->tokens, 0, (n - c->tokens) * sizeof(*c->acked));
		c->tokens = n;
	}
	if (account >= c->accounts) {
		n = account * 2 + 64;
		c->account_at = sim_realloc(c->account_at, n * sizeof(*c->account_at));
		memset(c->account_at + c->accounts, 0, (n - c->accounts) * sizeof(*c->account_at));
		c->accounts = n;
	}
}

static void
add(struct checker *c, int64_t now_us, const struct entry *e)
{
	if (c->n == c->room) {
		c->room = c->room * 2 + 64;
		c->log = sim_realloc(c->log, c->room * sizeof(*c->log));
	}
	c->log[c->n++] = *e;
	for (uint32_t i = 0; i < e->n; i++) {
		make_room(c, e->changes[i].token, e->changes[i].account);
		if (c->token_at[e->changes[i].token] != 0)
			checker_violation(c, now_us, "token %" PRIu32 " is in entries %" PRIu64 " and %" PRIu64,
			    e->changes[i].token, c->token_at[e->changes[i].token], e->number);
		c->token_at[e->changes[i].token] = e->number;
		if (c->account_at[e->changes[i].account] == 0)
			c->account_at[e->changes[i].account] = e->number;
	}
}

void
checker_applied(struct checker *c, int64_t now_us, unsigned node, const struct entry *e)
{
	if (e->number == c->n + 1)
		add(c, now_us, e);
	else if (e->number > c->n || memcmp(&c->log[e->number - 1], e, sizeof(*e)) != 0)
		checker_violation(c, now_us, "node %u has applied another entry %" PRIu64 " than the others", node, e->number);
}

bool
checker_has_token(const struct checker *c, uint32_t token, uint64_t applied)
{
	return token < c->tokens && c->token_at[token] != 0 && c->token_at[token] <= applied;
}

bool
checker_is_revoked(const struct checker *c, uint32_t account, uint64_t applied)
{
	return account < c->accounts && c->account_at[account] != 0 && c->account_at[account] <= applied;
}

/* ---- answers ---- */

void
checker_acknowledged(struct checker *c, int64_t now_us, int64_t since_us, unsigned node, uint32_t token, uint64_t applied)
{
	if (!checker_has_token(c, token, applied)) {
		checker_violation(c, now_us, "node %u acknowledges token %" PRIu32 ", which it has not applied", node, token);
		return;
	}
	if (c->token_at[token] > c->acked_to)
		c->acked_to = c->token_at[token];
	if (c->acked[token])
		return;
	c->acked[token] = true;
	c->changes++;
	if (c->n_took == c->took_room) {
		c->took_room = c->took_room * 2 + 256;
		c->took_us = sim_realloc(c->took_us, c->took_room * sizeof(*c->took_us));
	}
	c->took_us[c->n_took++] = now_us - since_us;
}

void
checker_refused(struct checker *c, int64_t now_us, unsigned node, uint32_t token, uint64_t must_see, uint64_t applied)
{
	c->refusals++;
	if (applied < must_see)
		checker_violation(c, now_us,
		    "node %u refuses with entry %" PRIu64 ", after %" PRIu64 " was acknowledged", node, applied, must_see);
	if (token < c->tokens && c->acked[token])
		checker_violation(c, now_us, "node %u refuses token %" PRIu32 ", which was acknowledged", node, token);
}

void
checker_answered(struct checker *c, int64_t now_us, unsigned node, uint64_t must_see, uint64_t applied)
{
	c->answered++;
	if (applied >= must_see)
		return;
	c->stale++;
	checker_violation(c, now_us,
	    "STALE: node %u answers a verify with entry %" PRIu64 ", after %" PRIu64 " was acknowledged", node, applied,
	    must_see);
}

void
checker_compare(struct checker *c, int64_t now_us, const struct etcd *etcd)
{
	uint64_t n = 0;

	for (size_t i = 0; i < etcd->now.n; i++) {
		const struct item *item = &etcd->now.items[i];

		if (item->key->len < 4 || memcmp(item->key->bytes, "log/", 4) != 0)
			continue;
		if (n < c->n && (item->value->len != sizeof(struct entry) ||
		    memcmp(item->value->bytes, &c->log[n], sizeof(struct entry)) != 0))
			checker_violation(c, now_us, "etcd's entry %" PRIu64 " is not the nodes'", n + 1);
		n++;
	}
	if (n < c->n || c->acked_to > n)
		checker_violation(c, now_us, "the log has %" PRIu64 " entries, where %" PRIu64 " were applied", n, c->n);
}
