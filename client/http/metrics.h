/*
 * metrics.h - fobd's counters as Prometheus text. Pure: no socket, no clock, no state.
 *
 * The format is the text exposition format, version 0.0.4:
 * https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format
 * The names follow https://prometheus.io/docs/practices/naming/. README.md has the table of them. No label names an
 * account or a key.
 */
#ifndef HTTP_METRICS_H
#define HTTP_METRICS_H

#include <stddef.h>

#include "client/fob.h"

#define METRICS_TYPE "text/plain; version=0.0.4; charset=utf-8"

/*
 * metrics_text(stats, len):
 * Write all metrics. ${stats} NULL: fobd did not answer, and the text says only that (fob_up 0).
 * Ownership: ${stats} is borrowed; the caller frees the text.
 * Returns:   the text, *${len} bytes and a NUL; NULL when out of memory.
 */
char *metrics_text(const struct fob_stats *stats, size_t *len);

#endif
