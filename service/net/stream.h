/*
 * stream.h - send or receive now, or not at all, with nng's streams, whose operations are all asynchronous.
 *
 * An aio without a callback completes within the call that begins it, on this thread, when the socket takes or has
 * something (nng 1.5.2 to 1.11: nni_task_dispatch() runs a task without a callback in place); otherwise it is cancelled
 * here. A completion with a callback would cost a switch to another thread.
 */
#ifndef STREAM_H
#define STREAM_H

#include <nng/nng.h>
#include <stddef.h>

enum stream_result { STREAM_DONE, STREAM_BUSY, STREAM_BROKEN };

/*
 * stream_try_send(stream, aio, bytes, len, n), stream_try_receive(stream, aio, to, room, n):
 * ${aio} has no callback, and is used by one thread at a time.
 * Returns: STREAM_DONE: *${n} > 0 bytes were moved, which may be fewer; STREAM_BUSY: none now; STREAM_BROKEN: none ever.
 */
enum stream_result stream_try_send(nng_stream *stream, nng_aio *aio, const void *bytes, size_t len, size_t *n);
enum stream_result stream_try_receive(nng_stream *stream, nng_aio *aio, void *to, size_t room, size_t *n);

/* Begin one that ends in ${aio}'s callback. */
void stream_send(nng_stream *stream, nng_aio *aio, const void *bytes, size_t len);
void stream_receive(nng_stream *stream, nng_aio *aio, void *to, size_t room);

#endif
