/*
 * rotation.c - when the steps of a pepper's rotation are made, and what the log says of it (see internal.h). What a step
 * does to records is store/rotate.c's.
 */
#include "service/engine/internal.h"

#include "service/base/log.h"
#include "service/store/cluster.h"
#include "service/store/rotate.h"

static void
report(const struct writer *w, enum log_level level, const char *what, const char *reason)
{
	const struct record_rotation *r = store_rotation(w->store);

	LOG(level, what, LOG_S("environment", writer_environment(w)), LOG_I("keys_rotated", r->keys),
	    LOG_I("records_rotated", r->records), LOG_S("reason", reason));
}

void
rotation_committed(struct writer *w)
{
	if (store_is_rotating(w->store) && store_rotated(w->store))
		report(w, LOG_INFO, "pepper rotated", NULL);
}

/* Some records in a commit of their own. Returns 0, or a negative fault. */
static int
go_on(struct writer *w)
{
	int fault;

	if ((fault = commit_begin(w)) != 0)
		return fault;
	if ((fault = store_rotate(w->txn)) != 0) {
		store_abort(w->txn);
		return fault;
	}
	/* It has to be under the newest line at the end, even if no entry of the log has come meanwhile. */
	if (w->order != NULL && (fault = store_put_cluster(w->txn, &w->order->cluster)) != 0) {
		store_abort(w->txn);
		return fault;
	}
	return commit_state(w, &w->state);
}

static void
tell_begun(struct writer *w)
{
	census_restart(w);
	LOG(LOG_INFO, "pepper rotation begins", LOG_S("environment", writer_environment(w)),
	    LOG_I("lines", pepper_newest(store_pepper(w->store))));
}

static int
begin(struct writer *w)
{
	int fault;

	if ((fault = store_begin_rotation(w->txn)) != 0)
		return fault;
	tell_begun(w);
	return 0;
}

void
rotation_begun(struct writer *w)
{
	store_publish_rotation(w->store);
	tell_begun(w);
}

/*
 * Offer the store the pepper's file that was read anew. A line that comes while a rotation is under way waits for its end.
 * Queued mutations do not depend on it, as they hold only digests under the first line, so a rotation may begin between
 * any two commits.
 */
static void
offer_file(struct writer *w)
{
	struct pepper *file = w->rotation.file;
	int added;

	w->rotation.file = NULL;
	if (file == NULL || (added = store_offer_pepper(w->store, file)) == 0)
		return;
	if (added < 0) {
		LOG(LOG_ERROR, "the pepper's new file is refused, and the pepper in use stays in use",
		    LOG_S("environment", writer_environment(w)),
		    LOG_S("reason",
			"a line that the file had is missing or changed: put it back, and add a new line at the end"));
		return;
	}
	if (store_is_rotating(w->store))
		LOG(LOG_INFO, "the next pepper rotation begins at the end of this one",
		    LOG_S("environment", writer_environment(w)));
	w->rotation.next_report_ms = 0;
}

bool
rotation_is_due(const struct writer *w)
{
	bool may_begin = store_may_rotate(w->store) && w->order == NULL;

	return (store_is_rotating(w->store) || may_begin) && !store_failed(w->store) &&
	    clock_boot_ms() >= w->rotation.retry_ms;
}

/* Until a step that failed succeeds, everything else goes on under the pepper or peppers that are in use. */
void
rotation_run(struct writer *w)
{
	bool begins, is_time_to_report;
	int fault;

	offer_file(w);
	if (!rotation_is_due(w))
		return;
	begins = store_may_rotate(w->store);
	is_time_to_report = clock_boot_ms() >= w->rotation.next_report_ms;
	if ((fault = begins ? begin(w) : go_on(w)) != 0)
		w->rotation.retry_ms = clock_boot_ms() + RETRY_MS;
	if (!is_time_to_report || (fault == 0 && !store_is_rotating(w->store)))
		return;
	w->rotation.next_report_ms = clock_boot_ms() + UPKEEP_MS;
	if (fault != 0)
		report(w, LOG_ERROR, begins ? "pepper rotation cannot begin" : "pepper rotation cannot go on",
		    commit_fault_text(fault));
	else if (!begins)
		report(w, LOG_INFO, "pepper rotation", NULL);
}

static void
rotated_key(void *arg, const struct pepper *pepper, uint32_t serial, const uint8_t old[RECORD_DIGEST_LEN],
    const uint8_t digest[RECORD_DIGEST_LEN])
{
	lastused_rotate(arg, pepper, serial, old, digest);
}

void
rotation_init(struct writer *w)
{
	store_on_rotated_key(w->store, rotated_key, w->lastused);
}
