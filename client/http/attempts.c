/*
 * attempts.c - how often may a sign-in fail (see attempts.h)?
 */
#include "client/http/attempts.h"

#include <string.h>

#define IPV6_NETWORK_LEN 8

static bool
same_peer(const struct peer *a, const struct peer *b)
{
	bool v4 = IN6_IS_ADDR_V4MAPPED(&a->address);

	if (a->is_unix || b->is_unix)
		return a->is_unix && b->is_unix;
	return memcmp(&a->address, &b->address, v4 ? sizeof(a->address) : IPV6_NETWORK_LEN) == 0;
}

/* Its failures of the window that is open; 0 once that is over. */
static unsigned
failures(const struct attempts_count *c, int64_t now_ms)
{
	return now_ms - c->since_ms < ATTEMPTS_WINDOW_MS ? c->failed : 0;
}

static unsigned
wait_s(const struct attempts_count *c, unsigned limit, int64_t now_ms)
{
	if (failures(c, now_ms) < limit)
		return 0;
	return (unsigned)((c->since_ms + ATTEMPTS_WINDOW_MS - now_ms + 999) / 1000);
}

static void
count(struct attempts_count *c, int64_t now_ms)
{
	if (failures(c, now_ms) == 0) {
		c->since_ms = now_ms;
		c->failed = 0;
	}
	c->failed++;
}

unsigned
attempts_wait_s(const struct attempts *attempts, const struct peer *peer, int64_t now_ms)
{
	unsigned longest = wait_s(&attempts->all, ATTEMPTS_ALL, now_ms);

	for (size_t i = 0; i < ATTEMPTS_ALL; i++) {
		const struct attempts_count *c = &attempts->peers[i];
		unsigned wait = same_peer(&c->peer, peer) ? wait_s(c, ATTEMPTS_PEER, now_ms) : 0;

		longest = wait > longest ? wait : longest;
	}
	return longest;
}

void
attempts_failed(struct attempts *attempts, const struct peer *peer, int64_t now_ms)
{
	struct attempts_count *mine = NULL, *over = &attempts->peers[0];

	for (size_t i = 0; i < ATTEMPTS_ALL; i++) {
		struct attempts_count *c = &attempts->peers[i];

		if (failures(c, now_ms) == 0)
			over = c;
		else if (same_peer(&c->peer, peer))
			mine = c;
	}
	if (mine == NULL) {
		mine = over;
		*mine = (struct attempts_count){ .peer = *peer };
	}
	count(mine, now_ms);
	count(&attempts->all, now_ms);
}
