/*
 * session.c - sessions of people who signed in (see session.h). Knows no cookie and no request.
 */
#include "client/http/session.h"

#include <sodium.h>
#include <stdio.h>
#include <string.h>

#define ID_LEN 32

static void
to_text(const uint8_t bytes[ID_LEN], char out[SESSION_TEXT_SIZE])
{
	sodium_bin2base64(out, SESSION_TEXT_SIZE, bytes, ID_LEN, sodium_base64_VARIANT_URLSAFE_NO_PADDING);
}

/* An id is random, so a plain digest cannot be searched for what it was made from. */
static void
digest(const char *id, uint8_t out[SESSION_DIGEST_LEN])
{
	crypto_generichash(out, SESSION_DIGEST_LEN, (const uint8_t *)id, strlen(id), NULL, 0);
}

void
sessions_init(struct sessions *sessions, int64_t idle_ms)
{
	memset(sessions, 0, sizeof(*sessions));
	sessions->idle_ms = idle_ms;
}

void
sessions_fini(struct sessions *sessions)
{
	sodium_memzero(sessions, sizeof(*sessions));
}

int64_t
session_left_ms(const struct sessions *sessions, const struct session *s, int64_t now_ms)
{
	int64_t idle = s->used_ms + sessions->idle_ms - now_ms, all = s->begin_ms + SESSION_MAX_MS - now_ms;

	return idle < all ? idle : all;
}

static void
end_overdue(struct sessions *sessions, int64_t now_ms)
{
	for (size_t i = 0; i < SESSIONS_MAX; i++)
		if (sessions->all[i].open && session_left_ms(sessions, &sessions->all[i], now_ms) <= 0)
			session_end(&sessions->all[i]);
}

/* A place that is free; else that of the session which was not used for longest. */
static struct session *
place(struct sessions *sessions)
{
	struct session *oldest = &sessions->all[0];

	for (size_t i = 0; i < SESSIONS_MAX; i++) {
		if (!sessions->all[i].open)
			return &sessions->all[i];
		if (sessions->all[i].used_ms < oldest->used_ms)
			oldest = &sessions->all[i];
	}
	return oldest;
}

void
session_begin(struct sessions *sessions, const char *user, int64_t now_ms, char id[SESSION_TEXT_SIZE])
{
	uint8_t random[ID_LEN];
	struct session *s;

	end_overdue(sessions, now_ms);
	s = place(sessions);
	session_end(s);
	randombytes_buf(random, sizeof(random));
	to_text(random, id);
	sodium_memzero(random, sizeof(random));
	digest(id, s->id);
	snprintf(s->user, sizeof(s->user), "%s", user);
	s->begin_ms = s->used_ms = now_ms;
	s->open = true;
}

struct session *
session_find(struct sessions *sessions, const char *id, int64_t now_ms)
{
	struct session *found = NULL;
	uint8_t wanted[SESSION_DIGEST_LEN];

	end_overdue(sessions, now_ms);
	digest(id, wanted);
	for (size_t i = 0; i < SESSIONS_MAX; i++)
		if (sessions->all[i].open && sodium_memcmp(sessions->all[i].id, wanted, sizeof(wanted)) == 0)
			found = &sessions->all[i];
	sodium_memzero(wanted, sizeof(wanted));
	return found;
}

void
session_use(struct session *s, int64_t now_ms)
{
	s->used_ms = now_ms;
}

void
session_end(struct session *s)
{
	if (s != NULL)
		sodium_memzero(s, sizeof(*s));
}

void
session_csrf(const char *id, char out[SESSION_TEXT_SIZE])
{
	/* Its length is at least crypto_generichash_KEYBYTES_MIN. */
	static const uint8_t purpose[] = "fob-http: CSRF token";
	uint8_t token[ID_LEN];

	crypto_generichash(token, sizeof(token), (const uint8_t *)id, strlen(id), purpose, sizeof(purpose) - 1);
	to_text(token, out);
	sodium_memzero(token, sizeof(token));
}

bool
session_csrf_ok(const char *id, const char *given)
{
	char expected[SESSION_TEXT_SIZE];
	bool ok;

	session_csrf(id, expected);
	ok = given != NULL && strlen(given) == sizeof(expected) - 1 &&
	    sodium_memcmp(given, expected, sizeof(expected) - 1) == 0;
	sodium_memzero(expected, sizeof(expected));
	return ok;
}
