/*
 * out.h - everything that the command line writes. Words go to stderr, answers to stdout: as columns or as JSON.
 * All text is escaped here (text_escape), so that nothing that came from a server or from argv reaches a terminal raw.
 * Threads: none; the command line has one.
 */
#ifndef CLI_OUT_H
#define CLI_OUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <jansson.h>

enum out_colour { OUT_PLAIN, OUT_GOOD, OUT_WARN, OUT_BAD, OUT_DIM };

/*
 * out_setup(json, colour):
 * Before anything else. Gives stdout a buffer of our own and makes jansson's memory forget: both hold secrets.
 * ${colour} is what the user allows; it is used where the stream is a terminal.
 */
void out_setup(bool json, bool colour);
bool out_is_json(void);

/* "fob: " and one line on stderr. */
void out_say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* The same without "fob: " and without a newline: a question. */
void out_ask(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* A line on stderr, which is a terminal, that the next one replaces; and take the last one away. */
void out_progress(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void out_progress_clear(void);
/* Our own text to stdout, as it is: help. */
void out_text(const char *text);

/*
 * Columns: out_table(titles, n) starts a table, then ${n} cells a row, then out_rows() writes the rows so far.
 * Columns are as wide as the widest cell so far; the titles are written with the first rows.
 */
#define OUT_COLUMNS 10
void out_table(const char *const *titles, size_t n);
void out_cell(enum out_colour colour, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* A time as UTC; on a terminal with how far away it is, or only that where lines would be too long. */
void out_cell_time(int64_t ms);
void out_rows(void);

/* "name    value", for a single thing. */
void out_pair(enum out_colour colour, const char *name, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
void out_pair_time(const char *name, int64_t ms);
/* An empty line, between two things. */
void out_gap(void);

/*
 * JSON. Each function takes over the reference it is given; NULL, which is how jansson says "no memory", counts as a
 * failed write. A list of any length is one object and needs the memory of one item:
 *	out_open(); out_member("account", x); out_array("keys"); out_item(x)...; out_array_end(); out_close();
 */
void out_json(json_t *object);
void out_open(void);
void out_member(const char *name, json_t *value);
void out_array(const char *name);
void out_item(json_t *value);
void out_array_end(void);
void out_close(void);

/* Adds NAME_ms (integer) and NAME (ISO 8601, or null for 0) to ${object}, which may be NULL. */
void out_json_time(json_t *object, const char *name, int64_t ms);

/*
 * out_ready():
 * See that a few kilobytes can be written to standard output: that it is open, has a reader, and has space, of which
 * some is reserved where it is a regular file.
 * Returns: 0; the errno that a write would get.
 */
int out_ready(void);

/*
 * out_flush():
 * Hand all that was written to the system.
 * Returns: 0; the errno of the first write that failed, from then on for ever. Says nothing.
 */
int out_flush(void);

/* Wipe the buffers. Call last, after out_flush(). */
void out_fini(void);

#endif
