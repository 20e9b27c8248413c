/*
 * error.h - filling a struct fob_error. A NULL error is allowed everywhere: the caller wants no text.
 */
#ifndef CLIENT_ERROR_H
#define CLIENT_ERROR_H

#include "client/fob.h"

/*
 * error_set(error, fault, format, ...):
 * Write ${fault} and a sentence, cut to fit, to ${error}. No secret is ever an argument.
 * Returns: ${fault}, so that a function can return what it reports.
 */
int error_set(struct fob_error *error, int fault, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* No fault, no text. */
void error_clear(struct fob_error *error);

#endif
