/*
 * session.h - sessions of people who signed in, in memory only. Pure: the caller brings the time, from a clock
 * that never goes back and does not stop while the machine sleeps.
 *
 * Of a session's id only a digest is kept, so that this process's memory holds nothing that could be replayed. The CSRF
 * token is a function of the id: whoever has the cookie could compute it, another site's page cannot read either.
 *
 * Threads: one at a time.
 */
#ifndef HTTP_SESSION_H
#define HTTP_SESSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SESSIONS_MAX 64
#define SESSION_MAX_MS (8 * 3600 * 1000LL) /* however busy it is */
#define SESSION_TEXT_SIZE 44               /* 32 bytes in base64url, and a NUL: of an id, of a CSRF token */
#define SESSION_USER_SIZE 65
#define SESSION_DIGEST_LEN 32

struct session {
	bool open;
	uint8_t id[SESSION_DIGEST_LEN]; /* its digest */
	char user[SESSION_USER_SIZE];   /* "": signed in by the token */
	int64_t begin_ms, used_ms;
};

struct sessions {
	struct session all[SESSIONS_MAX];
	int64_t idle_ms;
};

/* ${idle_ms}: a session that was not used for so long ends. */
void sessions_init(struct sessions *sessions, int64_t idle_ms);
void sessions_fini(struct sessions *sessions);

/*
 * session_begin(sessions, user, now_ms, id):
 * Begin a session of ${user}. If SESSIONS_MAX are open, the one that was not used for longest ends.
 * Ownership: ${id} is a secret: the caller wipes it.
 */
void session_begin(struct sessions *sessions, const char *user, int64_t now_ms, char id[SESSION_TEXT_SIZE]);

/*
 * session_find(sessions, id, now_ms):
 * The open session with this id, for whoever gives it. Does not count as use.
 * Returns: NULL when there is none, or it has ended.
 */
struct session *session_find(struct sessions *sessions, const char *id, int64_t now_ms);

/* It was used now. */
void session_use(struct session *session, int64_t now_ms);
/* How long it stays open if it is not used. */
int64_t session_left_ms(const struct sessions *sessions, const struct session *session, int64_t now_ms);
void session_end(struct session *session); /* takes NULL */

/* The CSRF token of the session ${id}. It is a secret: the caller wipes it. */
void session_csrf(const char *id, char out[SESSION_TEXT_SIZE]);
/* Is ${given}, which may be NULL, that token? Takes the same time for every wrong one. */
bool session_csrf_ok(const char *id, const char *given);

#endif
