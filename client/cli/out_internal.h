/*
 * out_internal.h - what out.c and out_table.c share.
 */
#ifndef CLI_OUT_INTERNAL_H
#define CLI_OUT_INTERNAL_H

#include "client/cli/out.h"

/* Times as UTC, as how far away they are, or as both. */
enum out_times { OUT_TIMES_AT, OUT_TIMES_AWAY, OUT_TIMES_BOTH };

void out_describe_time(int64_t ms, enum out_times times, char *out, size_t size);

/* Escaped text, and the same with blanks up to ${width} and two more. */
void out_coloured(enum out_colour colour, const char *text);
void out_padded(enum out_colour colour, const char *text, size_t width);

/* Columns of the terminal that stdout is; 0: it is none. */
size_t out_terminal_width(void);

/* Wipe the cells. */
void out_table_fini(void);

#endif
