/*
 * stream.c - nng's streams, tried (see stream.h).
 */
#include "service/net/stream.h"

#include <stdint.h>

static void
set_bytes(nng_aio *aio, const void *bytes, size_t len)
{
	nng_iov iov = { .iov_buf = (void *)(uintptr_t)bytes, .iov_len = len };

	/* One of at most eight: it cannot fail. */
	(void)nng_aio_set_iov(aio, 1, &iov);
}

static enum stream_result
result(nng_aio *aio, size_t *n)
{
	int rc;

	nng_aio_cancel(aio);
	nng_aio_wait(aio);
	*n = 0;
	if ((rc = nng_aio_result(aio)) == 0 && (*n = nng_aio_count(aio)) > 0)
		return STREAM_DONE;
	return rc == NNG_ECANCELED ? STREAM_BUSY : STREAM_BROKEN;
}

enum stream_result
stream_try_send(nng_stream *stream, nng_aio *aio, const void *bytes, size_t len, size_t *n)
{
	stream_send(stream, aio, bytes, len);
	return result(aio, n);
}

enum stream_result
stream_try_receive(nng_stream *stream, nng_aio *aio, void *to, size_t room, size_t *n)
{
	stream_receive(stream, aio, to, room);
	return result(aio, n);
}

void
stream_send(nng_stream *stream, nng_aio *aio, const void *bytes, size_t len)
{
	set_bytes(aio, bytes, len);
	nng_stream_send(stream, aio);
}

void
stream_receive(nng_stream *stream, nng_aio *aio, void *to, size_t room)
{
	set_bytes(aio, to, room);
	nng_stream_recv(stream, aio);
}
