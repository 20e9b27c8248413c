/*
 * answers.h - answers of other nodes that wait for the next Exchange, and what of them fits one. Pure.
 */
#ifndef CLUSTER_ANSWERS_H
#define CLUSTER_ANSWERS_H

#include <stddef.h>

#include "fob/v1/cluster.pb-c.h"

#define ANSWERS_AT_ONCE 8
#define ANSWERS_MAX 256
#define ANSWERS_WHY_MAX 200

struct answers {
	Fob__V1__Answer *waiting[ANSWERS_MAX]; /* the oldest first */
	size_t n;
};

/*
 * answers_add(answers, id, sealed, why):
 * Append one; both are copied. Of ${why} at most ANSWERS_WHY_MAX bytes, with ? for what is not printable ASCII. Beyond
 * ANSWERS_MAX, or out of memory, it is dropped: fobd has a time limit of its own.
 */
void answers_add(struct answers *answers, uint64_t id, const ProtobufCBinaryData *sealed, const char *why);

/*
 * answers_take(answers, room, out):
 * Take the oldest ones that fit ${room} bytes of an Exchange, at most ANSWERS_AT_ONCE.
 * Ownership: of ${out}'s, the caller's: free each as an unpacked message.
 * Returns:   how many.
 */
size_t answers_take(struct answers *answers, size_t room, Fob__V1__Answer *out[ANSWERS_AT_ONCE]);

void answers_clear(struct answers *answers);

#endif
