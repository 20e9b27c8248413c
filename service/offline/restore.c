/*
 * restore.c - turn a copy into a database that fobd serves (see restore.h), and replay the events since the copy
 * was taken, with their own times and sequence numbers. Never changes anything unless all of it succeeds.
 */
#include "service/offline/restore_internal.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "service/base/clock.h"
#include "service/base/names.h"
#include "service/offline/event_line.h"
#include "service/store/apply.h"
#include "service/store/cluster.h"
#include "service/store/copy.h"
#include "service/store/walk.h"

int
restore_refuse(struct restore *r, const char *format, ...)
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
		return restore_refuse(r,
		    "event %" PRIu64 " is a restore, after which numbers were reused, and an earlier line has another "
		    "event %" PRIu64 ". If there is a backup that was made after that restore, use it with the lines "
		    "from here on. If not, remove the events of %s before this line that have number %" PRIu64
		    " or a higher one: that restore gave them up. What they ended must then be ended again by hand",
		    e->sequence, e->sequence, name, e->sequence);
	return restore_refuse(r,
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
		return restore_refuse(r,
		    "event %" PRIu64
		    " is from before a restore that the copy includes: give only the lines from that restore, event "
		    "%" PRIu64 ", on",
		    e->sequence, e->sequence);
	if (e->type == EVENT_RESTORED)
		return refuse_restored(r, e);
	if (of_copy)
		return restore_refuse(r,
		    "event %" PRIu64
		    " is not the same in the copy: the events are another database's, or are from before or after a "
		    "restore of this one",
		    e->sequence);
	return restore_refuse(r,
	    "event %" PRIu64
	    " is not the same in an earlier line: the lines are from two databases, or from before and after a "
	    "restore that is not among them",
	    e->sequence);
}

/* `fob events` shows no end of a grace with a revocation, which is why it is not compared there. */
static bool
is_same(const struct record_event *a, const struct record_event *b)
{
	return a->type == b->type && a->time_ms == b->time_ms && a->kind == b->kind && a->generation == b->generation &&
	    (a->expires_ms == b->expires_ms || a->type == EVENT_KEY_REVOKED) && memcmp(a->last4, b->last4, sizeof(a->last4)) == 0 &&
	    strcmp(a->account, b->account) == 0;
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
		return restore_refuse(r, "the copy's events cannot be read");
	if (wanted.found.sequence == e->sequence) {
		if (is_same(&wanted.found, e)) {
			r->overlaps = r->overlaps || e->sequence == r->copy.event_sequence;
			return 0;
		}
		return refuse_other(r, e, &wanted.found);
	}
	if (e->type == EVENT_RESTORED && e->sequence <= r->newest)
		return refuse_restored(r, e);
	if (e->sequence <= r->copy.event_sequence)
		return 0;
	return restore_refuse(r,
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
		return restore_refuse(r, "%s", why);
	if (text[len - 1] != '\n' && text[len - 1] != '}')
		return restore_refuse(r,
		    "the last line is cut off, as when the process that wrote it is killed. It may be removed; its event "
		    "is then not applied");
	if ((second = strstr(text + 1, "{\"environment\"")) != NULL)
		return restore_refuse(r,
		    "this line is cut off, and the next event begins on the same line. The first %zu bytes, up to that "
		    "event's brace, may be removed if a later line has the event that is cut off",
		    (size_t)(second - text));
	return restore_refuse(r, "%s", why);
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
		rc = restore_refuse(r, "event %" PRIu64 " where %" PRIu64 " was expected: the events between are missing",
		    e.sequence, r->state.event_sequence + 1);
	else
		rc = replay_event(r, &e);
	if (r->first == 0)
		r->first = e.sequence;
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
		rc = strlen(text) == (size_t)len ? take_line(r, text) : restore_refuse(r, "the line holds a NUL byte");
	}
	if (rc == 0 && ferror(events) != 0)
		rc = restore_refuse(r, "cannot be read");
	free(text);
	r->line = 0;
	return rc;
}

/*
 * Do the lines lead from this copy to the database that was lost? They do if the copy's own last event is among them,
 * and if all that follows fits. Otherwise what ended since may be missing, and would be valid again.
 */
static int
judge(struct restore *r)
{
	static const char give[] = "Give a file of events that has the copy's last event, number %" PRIu64
				   ". With --accept-revived it is restored all the same, and keys that have ended since "
				   "may be valid again";
	const char *name = environment_name(r->options->environment);
	char what[160];

	if (r->unfit > 0)
		return restore_refuse(r,
		    "events that fit nothing in the copy: %" PRIu64 ", as listed. They may be another database's, and keys "
		    "that have ended since would be valid again. With --accept-revived it is restored all the same",
		    r->unfit);
	/* A copy without events has no keys. */
	if (r->overlaps || r->copy.event_sequence == 0)
		return 0;
	if (r->newest == 0)
		snprintf(what, sizeof(what), "there is no event of %s", name);
	else if (r->newest < r->copy.event_sequence)
		snprintf(what, sizeof(what), "the events of %s end at number %" PRIu64 ", before the copy's last event",
		    name, r->newest);
	else
		snprintf(what, sizeof(what), "the events of %s begin at number %" PRIu64 ", behind the copy's last event",
		    name, r->first);
	snprintf(r->why, r->why_len, "%s. ", what);
	snprintf(r->why + strlen(r->why), r->why_len - strlen(r->why), give, r->copy.event_sequence);
	return -1;
}

static int
finish(struct restore *r)
{
	struct change *change = calloc(1, sizeof(*change));
	struct record_cluster cluster;
	int fault = -FAULT_INTERNAL;

	if (change != NULL) {
		change->time_ms = clock_wall_ms();
		/* Time never runs behind what was committed. */
		if (change->time_ms < r->state.newest_ms)
			change->time_ms = r->state.newest_ms;
		change->event = (struct record_event){ .type = EVENT_RESTORED, .time_ms = change->time_ms };
		store_unmark(r->txn);
		/* What was replayed is not in any cluster's log. */
		r->left_cluster = store_cluster(r->txn, &cluster) != -FAULT_NOT_FOUND;
		if ((fault = store_del_cluster(r->txn)) == 0 && (fault = store_apply(r->txn, change, &r->state)) == 0 &&
		    (fault = store_put_state(r->txn, &r->state)) == 0)
			fault = store_commit(r->txn);
		else
			store_abort(r->txn);
	} else {
		store_abort(r->txn);
	}
	free(change);
	return fault == 0 ? 0 : restore_refuse(r, "%s: the restored state cannot be written", r->options->path);
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
tell_rolled_all(struct restore *r, FILE *out)
{
	struct telling t = { .restore = r, .out = out };

	if (store_read(r->txn) != 0)
		return;
	(void)store_each_event(r->txn, r->copy.event_sequence, tell_rolled, &t);
	store_read_end(r->txn);
}

static void
tell(struct restore *r, bool accept_revived, FILE *out)
{
	const char *name = environment_name(r->options->environment);
	uint64_t last = r->copy.event_sequence + r->replayed;

	fprintf(out, "%s: restored from a copy of revision %" PRIu64 "; ", name, r->copy.revision);
	if (r->replayed > 0)
		fprintf(out, "events %" PRIu64 " to %" PRIu64 " replayed, %" PRIu64 " of them changed something. ",
		    r->copy.event_sequence + 1, last, r->applied);
	if (accept_revived)
		fprintf(out, "what ended after event %" PRIu64 " is valid again, as --accept-revived allows\n", last);
	else
		fprintf(out, "What ended after event %" PRIu64 " is not known, and is valid again\n", last);
	if (r->made.accounts + r->made.keys > 0)
		fprintf(out,
		    "%s: made or imported after the copy was taken, and missing: accounts %" PRIu64 ", keys %" PRIu64
		    "\n",
		    name, r->made.accounts, r->made.keys);
	made_tell(&r->made, name, out);
	tell_rolled_all(r, out);
	if (r->left_cluster)
		fprintf(out,
		    "%s: the copy is of a node of a cluster, and this database is in no cluster now. To replace a node, use "
		    "--join with a new copy; to make the cluster anew of this database, empty etcd's prefix and use fob "
		    "cluster init\n",
		    name);
}

int
restore_backup(const struct store_options *options, FILE *events, bool accept_revived, FILE *out, char *why,
    size_t why_len)
{
	struct restore r = { .options = options, .out = out, .why = why, .why_len = why_len };
	struct store *store;
	int rc = -1;

	if (store_open(options, &store, why, why_len) != 0)
		return -1;
	if ((r.txn = store_txn_new(store)) == NULL || store_write(r.txn) != 0) {
		restore_refuse(&r, "%s: the database cannot be written to", options->path);
		goto out;
	}
	if (store_state(r.txn, &r.state) != 0 || store_copy_mark(r.txn, &r.copy) != 0) {
		restore_refuse(&r, "%s: the database is damaged", options->path);
		store_abort(r.txn);
		goto out;
	}
	if ((events != NULL && take_all(&r, events) != 0) || (!accept_revived && judge(&r) != 0)) {
		store_abort(r.txn);
		goto out;
	}
	if ((rc = finish(&r)) == 0) {
		store_txn_free(r.txn);
		if ((r.txn = store_txn_new(store)) != NULL)
			tell(&r, accept_revived, out);
	}
out:
	store_txn_free(r.txn);
	store_close(store);
	made_fini(&r.made);
	return rc;
}
