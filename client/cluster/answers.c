/*
 * answers.c - answers on their way to fobd, and how many bytes of them go at once (see answers.h).
 */
#include "client/cluster/answers.h"

#include <stdlib.h>
#include <string.h>

#include "client/cluster/messages.h"

/* The field's tag and length in front of an answer. */
#define AROUND 8

void
answers_add(struct answers *as, uint64_t id, const ProtobufCBinaryData *sealed, const char *why)
{
	Fob__V1__Answer *answer;

	if (as->n == ANSWERS_MAX || (answer = malloc(sizeof(*answer))) == NULL)
		return;
	fob__v1__answer__init(answer);
	answer->id = id;
	if (!messages_copy(&answer->sealed, sealed->data, sealed->len) ||
	    !messages_copy(&answer->why, why, strnlen(why, ANSWERS_WHY_MAX))) {
		fob__v1__answer__free_unpacked(answer, NULL);
		return;
	}
	/* It may hold what another node has sent. */
	for (size_t i = 0; i < answer->why.len; i++)
		if (answer->why.data[i] < ' ' || answer->why.data[i] > '~')
			answer->why.data[i] = '?';
	as->waiting[as->n++] = answer;
}

size_t
answers_take(struct answers *as, size_t room, Fob__V1__Answer *out[ANSWERS_AT_ONCE])
{
	size_t n = 0, size;

	for (; n < as->n && n < ANSWERS_AT_ONCE; n++) {
		size = fob__v1__answer__get_packed_size(as->waiting[n]) + AROUND;
		if (size > room)
			break;
		room -= size;
		out[n] = as->waiting[n];
	}
	as->n -= n;
	memmove(as->waiting, as->waiting + n, as->n * sizeof(as->waiting[0]));
	return n;
}

void
answers_clear(struct answers *as)
{
	while (as->n > 0)
		fob__v1__answer__free_unpacked(as->waiting[--as->n], NULL);
}
