/*
 * backup.c - ReadBackup: a part of a backup, which the engine makes (engine/snapshot.h). Waits for nothing: while the
 * copy is being made the reply says so.
 */
#include "service/rpc/handlers.h"

#include <string.h>

#include "fob/v1/admin.pb-c.h"
#include "service/base/log.h"
#include "service/base/names.h"
#include "service/rpc/message.h"

/* Who takes a copy of a whole database is logged, as for a change. */
static void
log_begin(const struct call *call, const struct engine *engine)
{
	LOG(LOG_INFO, "backup is being read", LOG_S("environment", environment_name(engine->environment)),
	    LOG_ASKED_BY(call));
}

static void
fill(const struct snapshot_part *part, uint8_t *bytes, uint8_t *sha256, Fob__V1__ReadBackupResponse *out)
{
	message_bytes(&out->data, bytes, part->len);
	out->size = part->size;
	out->revision = part->revision;
	out->event_sequence = part->event_sequence;
	memcpy(sha256, part->sha256, sizeof(part->sha256));
	message_bytes(&out->sha256, sha256, sizeof(part->sha256));
}

int
backup_read(struct call *call, const ProtobufCMessage *request, ProtobufCMessage *response)
{
	const Fob__V1__ReadBackupRequest *in = (const Fob__V1__ReadBackupRequest *)request;
	Fob__V1__ReadBackupResponse *out = (Fob__V1__ReadBackupResponse *)response;
	struct snapshot_part part;
	struct engine *engine;
	uint8_t *bytes;
	why_text why;
	int fault;

	if ((engine = call_engine(call, (int)in->environment, &fault)) == NULL)
		return fault;
	if (engine->snapshot == NULL)
		return call_fault(call, FAULT_UNAVAILABLE, "no backup can be made here");
	if (in->backup.len != SNAPSHOT_ID_LEN)
		return call_fault(call, FAULT_INVALID_ARGUMENT, "backup: exactly %d random bytes", SNAPSHOT_ID_LEN);
	if ((bytes = scratch_alloc(&call->scratch, LIMIT_BACKUP_PART + sizeof(part.sha256))) == NULL)
		return call_fault(call, FAULT_RESOURCE_EXHAUSTED, "the part needs more memory than a request may have");
	fault = snapshot_read(engine->snapshot, in->backup.data, in->offset, bytes, LIMIT_BACKUP_PART, &part, why);
	if (fault != 0)
		return call_fault(call, (enum fault) - fault, "%s", why);
	if (part.ready)
		fill(&part, bytes, bytes + LIMIT_BACKUP_PART, out);
	if (in->offset == 0 && part.ready)
		log_begin(call, engine);
	return 0;
}
