/*
 * backend.h - fobd, as a thread's event loop reaches it: one libfob client a thread, in loop mode. The calls that are
 * made in one turn of the loop travel together.
 */
#ifndef HTTP_BACKEND_H
#define HTTP_BACKEND_H

#include <event2/event.h>

#include "client/fob.h"
#include "client/http/settings.h"

struct backend;

/*
 * backend_new(base, settings, backend, why, why_len):
 * Returns: 0; -1 with one line at ${why}. That fobd is down is no error.
 */
int backend_new(
    struct event_base *base, const struct settings *settings, struct backend **backend, char *why, size_t why_len);
/* Calls that are under way end with FOB_ECANCELLED. Takes NULL. */
void backend_free(struct backend *backend);

/*
 * The same as libfob's functions, on this thread's client; but in the role auth with FOB_EFAILED_PRECONDITION from when
 * it was found that the listener serves fob.v1.Admin.
 */
int backend_verify(struct backend *backend, const struct fob_verify_request *request, fob_verify_cb cb, void *arg,
    struct fob_error *error);
int backend_verify_batch(struct backend *backend, const struct fob_verify_batch_request *request,
    fob_verify_batch_cb cb, void *arg, struct fob_error *error);

/*
 * For other calls: the client, and what to call after an asynchronous call, so that it is sent in this turn of the
 * loop.
 */
struct fob_client *backend_client(struct backend *backend);
void backend_flush(struct backend *backend);

#endif
