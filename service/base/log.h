/*
 * log.h - one line per event to stderr, in logfmt or JSON. Never pass a secret, a token or a whole request.
 * Text from a peer is escaped.
 */
#ifndef LOG_H
#define LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum log_level { LOG_ERROR = 0, LOG_WARN = 1, LOG_INFO = 2, LOG_DEBUG = 3 };

/* A name and a value, made by one of the macros below: LOG_S("account", id), LOG_I("generation", 3). */
struct log_field {
	const char *name;
	enum { LOG_FIELD_STRING, LOG_FIELD_BYTES, LOG_FIELD_INT, LOG_FIELD_BOOL } type;
	const char *string;
	size_t len;
	int64_t number;
};

#define LOG_S(n, v) ((struct log_field){ .name = (n), .type = LOG_FIELD_STRING, .string = (v) })
#define LOG_B(n, v, l) \
	((struct log_field){ .name = (n), .type = LOG_FIELD_BYTES, .string = (const char *)(v), .len = (l) })
#define LOG_I(n, v) ((struct log_field){ .name = (n), .type = LOG_FIELD_INT, .number = (int64_t)(v) })
#define LOG_T(n, v) ((struct log_field){ .name = (n), .type = LOG_FIELD_BOOL, .number = (v) })

/* Left out of the line unless ${given}. */
#define LOG_I_IF(given, n, v) \
	((struct log_field){ .name = (n), .type = (given) ? LOG_FIELD_INT : LOG_FIELD_STRING, .number = (int64_t)(v) })

void log_setup(enum log_level level, bool json);
/* Are lines of ${level} written? Ask before computing fields on a hot path. */
bool log_enabled(enum log_level level);

/*
 * log_line(level, message, fields, n):
 * Write the line "time=... level=... msg=... name=value ..." with one write(2). It has at most 4 KiB; a
 * longer one is cut, and says so. Where stderr is the journal's stream, the priority stands before it: journal.h. A NULL string is left out. Never waits: when stderr is full or closed the
 * line is dropped.
 * Threads: any.
 */
void log_line(enum log_level level, const char *message, const struct log_field *fields, size_t n);

#define LOG(level, message, ...) \
	log_line(level, message, (const struct log_field[]){ __VA_ARGS__ }, \
	    sizeof((const struct log_field[]){ __VA_ARGS__ }) / sizeof(struct log_field))

/* The same without fields. */
#define LOG_TEXT(level, message) log_line(level, message, NULL, 0)

#endif
