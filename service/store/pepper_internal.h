/*
 * pepper_internal.h - what the pepper's files share: pepper.c computes, pepper_file.c reads and writes the file,
 * pepper_text.c knows its lines. No other file includes it.
 */
#ifndef PEPPER_INTERNAL_H
#define PEPPER_INTERNAL_H

#include "service/store/pepper.h"

#define PEPPER_MAGIC "fob-pepper-v1"
#define PEPPER_LINE_LEN (sizeof(PEPPER_MAGIC " ") - 1 + 64 + 1)
#define PEPPER_FILE_MAX (PEPPER_LINES_MAX * 256) /* with room for blanks and empty lines */

/* What the lines of a file hold. The owner wipes it. */
struct pepper_masters {
	uint8_t bytes[PEPPER_LINES_MAX][32];
	unsigned n;
};

/*
 * pepper_text_read(text, len, masters, why, why_len):
 * Decode a pepper file's text. A byte order mark, blanks around a line, CRLF, empty lines and a missing end of the last
 * line are accepted, as editors and secret stores leave them.
 * Returns: 0; -1 with what is wrong with which line at ${why}, which has nothing of its content.
 */
int pepper_text_read(const char *text, size_t len, struct pepper_masters *masters, char *why, size_t why_len);
/* Encode ${masters} as a file's text, without what pepper_text_read() accepts beyond that. Returns its length. */
size_t pepper_text_write(const struct pepper_masters *masters, char text[PEPPER_LINES_MAX * PEPPER_LINE_LEN]);

/* The keys of ${masters}, all in use. NULL without locked memory. */
struct pepper *pepper_from_masters(const struct pepper_masters *masters);

#endif
