/*
 * judge.c - outcomes (see judge.h). NOT_SENT only where etcd cannot have made the transaction.
 */
#include "client/cluster/judge.h"

#include <string.h>

#define UNKNOWN FOB__V1__RESULT__OUTCOME__UNKNOWN
#define DONE FOB__V1__RESULT__OUTCOME__DONE
#define NOT_SENT FOB__V1__RESULT__OUTCOME__NOT_SENT
#define NO_SPACE FOB__V1__RESULT__OUTCOME__NO_SPACE

static struct judgement
judge_status(const struct grpc_status *s)
{
	switch (s->code) {
	case GRPC_RESOURCE_EXHAUSTED:
		if (strstr(s->reason, "database space exceeded") != NULL)
			return (struct judgement){ NO_SPACE, false, true };
		return (struct judgement){ NOT_SENT, false, true }; /* too many requests, or a message that is too large */
	case GRPC_INVALID_ARGUMENT:
	case GRPC_NOT_FOUND:
	case GRPC_PERMISSION_DENIED:
	case GRPC_FAILED_PRECONDITION:
	case GRPC_OUT_OF_RANGE:
	case GRPC_UNIMPLEMENTED:
	case GRPC_UNAUTHENTICATED:
		return (struct judgement){ NOT_SENT, false, true };
	default: /* DEADLINE_EXCEEDED, UNAVAILABLE and all that may be said after the transaction was proposed */
		return (struct judgement){ UNKNOWN, s->code == GRPC_UNAVAILABLE, true };
	}
}

struct judgement
judge(const struct judge_end *end)
{
	if (end->broken)
		return (struct judgement){ end->sent ? UNKNOWN : NOT_SENT, true, true };
	/*
	 * Of streams that end together libcurl 7.88 loses the trailers, and with them the status. A whole message is enough: a
	 * server sends the one of a unary call when the call has succeeded, and an error's status comes with the headers.
	 */
	if (end->http_status == 200 && end->grpc.code == GRPC_NONE && end->whole)
		return (struct judgement){ DONE, false, false };
	if (end->http_status != 200 || end->grpc.code == GRPC_NONE)
		return (struct judgement){ UNKNOWN, true, true };
	if (end->grpc.code != GRPC_OK)
		return judge_status(&end->grpc);
	return end->whole ? (struct judgement){ DONE, false, false } : (struct judgement){ UNKNOWN, true, true };
}
