/*
 * import_line.h - the lines of a file that `fob account import` reads: NDJSON or CSV, and what is wrong with one that
 * is refused. Nothing of a line is ever repeated, as it may hold what it should not, except a field's name that is
 * clearly one.
 * Threads: none.
 */
#ifndef CLI_IMPORT_LINE_H
#define CLI_IMPORT_LINE_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "client/fob.h"

#define IMPORT_LINE_MAX 4096
#define IMPORT_COLUMNS 32 /* of a CSV file */

struct import_key {
	bool given;
	uint8_t sha256[FOB_SHA256_LEN];
	char last4[FOB_LAST4_SIZE];
};

struct import_line {
	char account[FOB_ACCOUNT_SIZE];
	int64_t created_ms;
	struct import_key secret, publishable;
};

struct import_reader {
	FILE *file; /* NULL: not opened */
	bool csv;
	char separator;  /* of CSV's fields: what its first line has of ',', ';' and tab */
	uint64_t line;   /* the number of the line that was read last */
	uint64_t offset; /* bytes read */
	size_t n_columns;
	int columns[IMPORT_COLUMNS]; /* of CSV, by their place: which field it is */
	char said[192];              /* what is wrong with a line, where that needs a name */
	char text[IMPORT_LINE_MAX + 1];
};

enum import_result { IMPORT_LINE, IMPORT_NOTHING, IMPORT_REFUSED, IMPORT_END, IMPORT_FAILED };

/* Whether a file's name says that it is CSV. */
bool import_is_csv(const char *name);

/* Takes over ${file}, which import_reader_fini() closes. */
void import_reader_init(struct import_reader *reader, FILE *file, bool csv);
void import_reader_fini(struct import_reader *reader);

/*
 * import_reader_next(reader, line, why):
 * Read the next line, whose number is then reader->line.
 * Returns: IMPORT_LINE: ${line} is filled; IMPORT_NOTHING: an empty line, a row of empty cells, or CSV's names;
 *          IMPORT_REFUSED, and IMPORT_FAILED after which nothing can be read: *${why} is a sentence that stays until the
 *          next call; IMPORT_END.
 */
enum import_result import_reader_next(struct import_reader *reader, struct import_line *line, const char **why);

/* ${line} as libfob takes it, which borrows from it. */
void import_line_account(const struct import_line *line, struct fob_import_account *account);

#endif
