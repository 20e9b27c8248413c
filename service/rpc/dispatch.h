/*
 * dispatch.h - bytes to bytes: the envelope, the method, the deadline. Knows no socket, and no clock but the time that
 * it is given, so that the whole path of a request can be tested, fuzzed and measured by itself.
 */
#ifndef DISPATCH_H
#define DISPATCH_H

#include "service/rpc/worker.h"

/*
 * dispatch(worker, origin, bytes, len, now_ns):
 * Answer one request: the transport's reply() is called exactly once, whatever the bytes are: on this thread, now or in
 * dispatch_end(), or later on the writer's. ${now_ns} is clock_boot_ns() when the bytes were read,
 * the same in all calls until dispatch_end().
 * Ownership: ${bytes} are borrowed until dispatch_end(), ${origin} until this returns, ${origin}->peer until the reply.
 */
void dispatch(struct worker *worker, const struct origin *origin, const uint8_t *bytes, size_t len, int64_t now_ns);

/*
 * A VerifyKey may be kept, to be looked up together with those that follow: its ${bytes} are borrowed until dispatch_end(),
 * which comes when no more requests are at hand.
 */
void dispatch_end(struct worker *worker);

/* The request that came sealed in that of ${call}: see peer.h. It is answered in its place. */
void dispatch_asked(struct call *call, const uint8_t *bytes, size_t len);

/* Answer without looking at the request: for a transport that refuses it. */
void dispatch_refuse(struct worker *worker, const struct origin *origin, enum fault fault, const char *message);

/* Assert that every method of every service has its handler. At start. */
void dispatch_check(void);

#endif
