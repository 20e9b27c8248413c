/*
 * restore.c - turn a copy into a database that fobd serves (see restore.h), and replay the events since the copy
 * was taken, with their own times and sequence numbers. Never changes anything unless all of it succeeds.
 *
 * A replayed roll makes a key of its generation with a random digest, as the secret that was given out is not
 * known. What counts is that the old key ends. Accounts that were made or imported since are not made again:
 * their keys are not known, and a key that does not exist cannot become valid again.
 */
#include "service/offline/restore.h"

#include <inttypes.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "service/base/names.h"
#include "service/base/clock.h"
#include "service/keys/decide.h"
#include "service/offline/event_line.h"
#include "service/store/apply.h"
#include "service/store/copy.h"
#include "service/store/walk.h"

struct restore {
	const struct store_options *options;
	struct store_txn *txn;
	struct record_state state;
	struct record_copy copy;
	uint64_t line;   /* of the events, from 1; 0: errors name no line */
	uint64_t newest; /* the highest sequence number in the lines so far */
	/* Counts of events: that changed something; that made an account; of keys that the copy does not have. */
	uint64_t applied, made, unapplied;
	char *why;
	size_t why_len;
};

static int refuse(struct restore *r, const char *format, ...) __attribute__((format(printf, 2, 3)));

static int
refuse(struct restore *r, const char *format, ...)
{
	int n = r->line > 0 ? snprintf(r->why, r->why_len, "events, line %" PRIu64 ": ", r->line) : 0;
	va_list ap;

	if (n < 0 || (size_t)n >= r->why_len)
		return -1;
	va_start(ap, format);
	vsnprintf(r->why + n, r->why_len - (size_t)n, format, ap);
	va_end(ap);
	return -1;
}

/* ---- replay one event ---- */

/* Returns 0; 1: the copy has no key that the event ends; a negative fault. So do the next two. */
static int
decide_rolled(
    struct restore *r, const struct view *view, const struct record_event *e, struct change *change, why_text why)
{
	struct roll roll = { .account = e->account };
	struct record_account account;
	int fault;

	if ((fault = store_account(r->txn, e->account, &account)) != 0)
		return fault == -FAULT_NOT_FOUND ? 1 : fault;
	if (account.secret_generation + 1 != e->generation) {
		r->unapplied++;
		return 1;
	}
	roll.grace_ms = e->expires_ms > e->time_ms ? e->expires_ms - e->time_ms : 0;
	randombytes_buf(roll.secret.digest, sizeof(roll.secret.digest));
	memcpy(roll.secret.last4, e->last4, sizeof(roll.secret.last4));
	fault = decide_roll(view, &roll, change, why);
	/* The events have the end of a grace before the roll that took its place. */
	return fault == DECIDE_EXPIRY_FIRST ? -FAULT_RESOURCE_EXHAUSTED : fault;
}

static int
decide_expired(struct restore *r, const struct view *view, const struct record_event *e, struct change *change)
{
	uint8_t digest[RECORD_DIGEST_LEN];
	struct record_key key;
	int fault;

	if ((fault = store_slot(r->txn, e->account, e->kind, e->generation, digest)) != 0 ||
	    (fault = store_key(r->txn, digest, &key)) != 0)
		return fault == -FAULT_NOT_FOUND ? 1 : fault;
	if (key.state != KEY_GRACE || key.expires_ms > view->now_ms) {
		r->unapplied++;
		return 1;
	}
	return decide_expire(view, digest, change);
}

static int
decide_again(struct restore *r, const struct record_event *e, struct change *change, why_text why)
{
	const struct view view = { .txn = r->txn, .state = &r->state, .now_ms = e->time_ms };
	int fault;

	switch (e->type) {
	case EVENT_KEY_ROLLED:
		return decide_rolled(r, &view, e, change, why);
	case EVENT_KEY_EXPIRED:
		return decide_expired(r, &view, e, change);
	case EVENT_KEY_REVOKED:
		fault = decide_revoke(&view, e->account, e->kind, e->generation, change, why);
		break;
	case EVENT_ACCOUNT_SUSPENDED:
	case EVENT_ACCOUNT_RESUMED:
		fault = decide_suspend(&view, e->account, e->type == EVENT_ACCOUNT_SUSPENDED, change, why);
		break;
	default:
		r->made += e->type == EVENT_ACCOUNT_CREATED || e->type == EVENT_ACCOUNT_IMPORTED;
		return 1;
	}
	return fault == -FAULT_NOT_FOUND ? 1 : fault;
}

static int
replay(struct restore *r, const struct record_event *e)
{
	struct change *change = calloc(1, sizeof(*change));
	why_text why = "the database cannot be read";
	int fault;

	if (change == NULL)
		return refuse(r, "out of memory");
	if ((fault = decide_again(r, e, change, why)) == 0)
		r->applied++;
	if (fault >= 0) {
		if (fault > 0)
			memset(change, 0, sizeof(*change));
		change->time_ms = e->time_ms;
		change->event = *e;
		fault = store_apply(r->txn, change, &r->state);
	}
	free(change);
	return fault == 0 ? 0 : refuse(r, "event %" PRIu64 " cannot be applied: %s", e->sequence, why);
}

/* ---- all events ---- */

struct wanted {
	uint64_t sequence;
	struct record_event found;
};

static bool
take_event(void *arg, const struct record_event *event)
{
	struct wanted *wanted = arg;

	wanted->found = *event;
	return false;
}

/*
 * The file goes on past an earlier restore, ${e}. Sequence numbers were reused after it, so the lines from
 * before and from after it may describe different histories.
 */
static int
refuse_restored(struct restore *r, const struct record_event *e)
{
	const char *name = environment_name(r->options->environment);

	if (e->sequence > r->copy.event_sequence)
		return refuse(r,
		    "event %" PRIu64 " is a restore, after which numbers were reused, and an earlier line has another "
		    "event %" PRIu64 ". If there is a backup that was made after that restore, use it with the lines "
		    "from here on. If not, remove the events of %s before this line that have number %" PRIu64
		    " or a higher one: that restore gave them up. What they ended must then be ended again by hand",
		    e->sequence, e->sequence, name, e->sequence);
	return refuse(r,
	    "event %" PRIu64 " is a restore, after which numbers were reused, and the copy may be from before it. "
	    "If the copy was made after that restore, give the lines from here on. If not, use a backup that was, or "
	    "a backup from before event %" PRIu64,
	    e->sequence, e->sequence);
}

static int
refuse_other(struct restore *r, const struct record_event *e, const struct record_event *had)
{
	bool of_copy = e->sequence <= r->copy.event_sequence;

	if (of_copy && had->type == EVENT_RESTORED && e->time_ms <= had->time_ms)
		return refuse(r,
		    "event %" PRIu64
		    " is from before a restore that the copy includes: give only the lines from that restore, event "
		    "%" PRIu64 ", on",
		    e->sequence, e->sequence);
	if (e->type == EVENT_RESTORED)
		return refuse_restored(r, e);
	if (of_copy)
		return refuse(r,
		    "event %" PRIu64
		    " is not the same in the copy: the events are another database's, or are from before or after a "
		    "restore of this one",
		    e->sequence);
	return refuse(r,
	    "event %" PRIu64
	    " is not the same in an earlier line: the lines are from two databases, or from before and after a "
	    "restore that is not among them",
	    e->sequence);
}

/*
 * An event that the copy has, or that was replayed, stands in the lines once more. It must be the same event.
 * If not, the lines are from two databases or from before and after a restore, and to skip one of the two
 * events would leave valid what it ended. An event that is too old to be kept cannot be compared: it is
 * skipped if the copy was made with it.
 */
static int
compare(struct restore *r, const struct record_event *e)
{
	struct wanted wanted = { .sequence = e->sequence };

	if (store_each_event(r->txn, e->sequence - 1, take_event, &wanted) != 0)
		return refuse(r, "the copy's events cannot be read");
	if (wanted.found.sequence == e->sequence) {
		if (wanted.found.type == e->type && wanted.found.time_ms == e->time_ms &&
		    strcmp(wanted.found.account, e->account) == 0)
			return 0;
		return refuse_other(r, e, &wanted.found);
	}
	if (e->type == EVENT_RESTORED && e->sequence <= r->newest)
		return refuse_restored(r, e);
	if (e->sequence <= r->copy.event_sequence)
		return 0;
	return refuse(r,
	    "event %" PRIu64 " is here a second time, and is too old to be compared: remove one of the two lines",
	    e->sequence);
}

/*
 * A line that cannot be read. Two causes get an error of their own: the process that wrote the file was ended
 * within the last line, or was ended so and later appended to the file.
 */
static int
refuse_line(struct restore *r, const char *text, const char *why)
{
	size_t len = strlen(text);
	const char *second;

	if (text[0] != '{')
		return refuse(r, "%s", why);
	if (text[len - 1] != '\n' && text[len - 1] != '}')
		return refuse(r,
		    "the last line is cut off, as when the process that wrote it is killed. It may be removed; its event "
		    "is then not applied");
	if ((second = strstr(text + 1, "{\"environment\"")) != NULL)
		return refuse(r,
		    "this line is cut off, and the next event begins on the same line. The first %zu bytes, up to that "
		    "event's brace, may be removed if a later line has the event that is cut off",
		    (size_t)(second - text));
	return refuse(r, "%s", why);
}

static int
take_line(struct restore *r, const char *text)
{
	struct record_event e;
	const char *why;
	int rc;

	if (text[strspn(text, " \t\r\n")] == '\0')
		return 0;
	if ((rc = event_line_read(text, r->options->environment, &e, &why)) != 0)
		return rc < 0 ? refuse_line(r, text, why) : 0;
	if (e.sequence <= r->state.event_sequence)
		rc = compare(r, &e);
	else if (e.sequence != r->state.event_sequence + 1)
		rc = refuse(r, "event %" PRIu64 " where %" PRIu64 " was expected: the events between are missing",
		    e.sequence, r->state.event_sequence + 1);
	else
		rc = replay(r, &e);
	if (e.sequence > r->newest)
		r->newest = e.sequence;
	return rc;
}

static int
take_all(struct restore *r, FILE *events)
{
	char *text = NULL;
	size_t size = 0;
	ssize_t len;
	int rc = 0;

	while (rc == 0 && (len = getline(&text, &size, events)) >= 0) {
		r->line++;
		rc = strlen(text) == (size_t)len ? take_line(r, text) : refuse(r, "the line holds a NUL byte");
	}
	if (rc == 0 && ferror(events) != 0)
		rc = refuse(r, "cannot be read");
	free(text);
	r->line = 0;
	return rc;
}

static int
finish(struct restore *r)
{
	struct change *change = calloc(1, sizeof(*change));
	int fault = -FAULT_INTERNAL;

	if (change != NULL) {
		change->time_ms = clock_wall_ms();
		/* Time never runs behind what was committed. */
		if (change->time_ms < r->state.newest_ms)
			change->time_ms = r->state.newest_ms;
		change->event = (struct record_event){ .type = EVENT_RESTORED, .time_ms = change->time_ms };
		store_unmark(r->txn);
		if ((fault = store_apply(r->txn, change, &r->state)) == 0 &&
		    (fault = store_put_state(r->txn, &r->state)) == 0)
			fault = store_commit(r->txn);
		else
			store_abort(r->txn);
	} else {
		store_abort(r->txn);
	}
	free(change);
	return fault == 0 ? 0 : refuse(r, "%s: the restored state cannot be written", r->options->path);
}

/* ---- report ---- */

struct telling {
	struct restore *restore;
	FILE *out;
};

/* Name the accounts whose current secret is not known: they were rolled after the copy was taken. */
static bool
tell_rolled(void *arg, const struct record_event *e)
{
	struct telling *t = arg;
	struct record_account account;
	const char *name = environment_name(t->restore->options->environment);

	if (e->type == EVENT_KEY_ROLLED && store_account(t->restore->txn, e->account, &account) == 0 &&
	    account.secret_generation == e->generation)
		fprintf(t->out,
		    "%s: %s was rolled after the copy was taken, and its newest secret key is lost: fob key roll %s "
		    "--environment %s\n",
		    name, e->account, e->account, name);
	return true;
}

static void
tell(struct restore *r, bool replayed, FILE *out)
{
	struct telling t = { .restore = r, .out = out };
	const char *name = environment_name(r->options->environment);

	fprintf(out, "%s: restored from a copy of revision %" PRIu64 "; ", name, r->copy.revision);
	if (!replayed) {
		fprintf(out, "what ended after event %" PRIu64 " is valid again, as --accept-revived allows\n",
		    r->copy.event_sequence);
		return;
	}
	fprintf(out,
	    "events %" PRIu64 " to %" PRIu64 " replayed, %" PRIu64 " of them changed something. What ended after "
	    "event %" PRIu64 " is not known, and is valid again\n",
	    r->copy.event_sequence + 1, r->state.event_sequence - 1, r->applied, r->state.event_sequence - 1);
	if (r->made > 0)
		fprintf(out,
		    "%s: %" PRIu64
		    " accounts were made or imported after the copy was taken, and are missing: make or import "
		    "them again\n",
		    name, r->made);
	if (r->unapplied > 0)
		fprintf(out,
		    "%s: %" PRIu64
		    " events ended keys that were imported after the copy was taken: import those keys again, then end "
		    "them again\n",
		    name, r->unapplied);
	if (store_read(r->txn) != 0)
		return;
	(void)store_each_event(r->txn, r->copy.event_sequence, tell_rolled, &t);
	store_read_end(r->txn);
}

int
restore_backup(const struct store_options *options, FILE *events, FILE *out, char *why, size_t why_len)
{
	struct restore r = { .options = options, .why = why, .why_len = why_len };
	struct store *store;
	int rc = -1;

	if (store_open(options, &store, why, why_len) != 0)
		return -1;
	if ((r.txn = store_txn_new(store)) == NULL || store_write(r.txn) != 0) {
		refuse(&r, "%s: the database cannot be written to", options->path);
		goto out;
	}
	if (store_state(r.txn, &r.state) != 0 || store_copy_mark(r.txn, &r.copy) != 0) {
		refuse(&r, "%s: the database is damaged", options->path);
		store_abort(r.txn);
		goto out;
	}
	if (events != NULL && take_all(&r, events) != 0) {
		store_abort(r.txn);
		goto out;
	}
	if ((rc = finish(&r)) == 0) {
		store_txn_free(r.txn);
		if ((r.txn = store_txn_new(store)) != NULL)
			tell(&r, events != NULL, out);
	}
out:
	store_txn_free(r.txn);
	store_close(store);
	return rc;
}
