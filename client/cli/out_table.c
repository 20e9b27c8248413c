/*
 * out_table.c - columns (see out.h). At a terminal times are shown as UTC and as how far away they are; where that is
 * too wide for it, only as the latter. The cells may hold secrets, and are wiped.
 */
#include "client/cli/out_internal.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "client/cli/text.h"
#include "client/fob.h"

#define CELL_SIZE 128
#define ROWS 128
#define NO_TIME INT64_MIN

struct cell {
	enum out_colour colour;
	int64_t ms; /* NO_TIME: the text is all there is */
	char text[CELL_SIZE];
};

static struct {
	const char *const *titles;
	size_t columns, rows, next; /* next: cell of the row under way */
	bool titled;
	enum out_times times;
	size_t width[OUT_COLUMNS];
	struct cell cells[ROWS][OUT_COLUMNS];
} table;

/* The titles are written with the next rows. */
static void
times_are(enum out_times times)
{
	table.times = times;
	table.titled = false;
	for (size_t i = 0; i < table.columns; i++)
		table.width[i] = strlen(table.titles[i]);
}

void
out_table(const char *const *titles, size_t n)
{
	assert(n >= 1 && n <= OUT_COLUMNS);
	table.titles = titles;
	table.columns = n;
	table.rows = table.next = 0;
	times_are(out_terminal_width() > 0 ? OUT_TIMES_BOTH : OUT_TIMES_AT);
}

static struct cell *
cell_begin(void)
{
	return &table.cells[table.rows][table.next];
}

static void
cell_end(void)
{
	if (++table.next < table.columns)
		return;
	table.next = 0;
	if (++table.rows == ROWS)
		out_rows();
}

void
out_cell(enum out_colour colour, const char *fmt, ...)
{
	struct cell *cell = cell_begin();
	char raw[CELL_SIZE];
	va_list args;

	va_start(args, fmt);
	vsnprintf(raw, sizeof(raw), fmt, args);
	va_end(args);
	text_escape(raw, cell->text, sizeof(cell->text));
	fob_wipe(raw, sizeof(raw));
	cell->colour = colour;
	cell->ms = NO_TIME;
	cell_end();
}

void
out_cell_time(int64_t ms)
{
	struct cell *cell = cell_begin();

	cell->colour = OUT_PLAIN;
	cell->ms = ms;
	cell_end();
}

/* Write the times out, and widen the columns. Returns the width of a line. */
static size_t
measure(void)
{
	size_t all = 0;

	for (size_t r = 0; r < table.rows; r++) {
		for (size_t c = 0; c < table.columns; c++) {
			struct cell *cell = &table.cells[r][c];
			size_t len;

			if (cell->ms != NO_TIME)
				out_describe_time(cell->ms, table.times, cell->text, sizeof(cell->text));
			len = strlen(cell->text);
			table.width[c] = len > table.width[c] ? len : table.width[c];
		}
	}
	for (size_t c = 0; c < table.columns; c++)
		all += table.width[c] + (c + 1 < table.columns ? 2 : 0);
	return all;
}

static void
line(const struct cell *cells)
{
	for (size_t c = 0; c < table.columns; c++) {
		enum out_colour colour = cells != NULL ? cells[c].colour : OUT_DIM;
		const char *text = cells != NULL ? cells[c].text : table.titles[c];

		if (c + 1 < table.columns)
			out_padded(colour, text, table.width[c]);
		else
			out_coloured(colour, text);
	}
	out_text("\n");
}

void
out_rows(void)
{
	assert(table.next == 0);
	if (measure() > out_terminal_width() && table.times == OUT_TIMES_BOTH) {
		times_are(OUT_TIMES_AWAY);
		(void)measure();
	}
	if (!table.titled)
		line(NULL);
	table.titled = true;
	for (size_t r = 0; r < table.rows; r++)
		line(table.cells[r]);
	fob_wipe(table.cells, sizeof(table.cells[0]) * table.rows);
	table.rows = 0;
}

void
out_table_fini(void)
{
	fob_wipe(&table, sizeof(table));
}
