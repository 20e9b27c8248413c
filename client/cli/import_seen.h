/*
 * import_seen.h - what a dry run of `fob account import` has seen of a file, so that it tells of each line which fobd
 * would refuse because of an earlier one. Some 150 bytes an account; only hashes are kept.
 * Threads: none.
 */
#ifndef CLI_IMPORT_SEEN_H
#define CLI_IMPORT_SEEN_H

#include <stddef.h>
#include <stdint.h>

#include "client/cli/import_line.h"
#include "client/fob.h"

struct import_seen_entry {
	uint64_t hash[2]; /* both 0: none */
	uint64_t value;
};

/* All zero: nothing was seen. */
struct import_seen {
	struct import_seen_entry *entries; /* ${size} of them, a power of two */
	size_t size, n;
};

void import_seen_fini(struct import_seen *seen);

/*
 * import_seen_judge(seen, line, outcome):
 * What fobd would answer for ${line}, if it had nothing but the lines before; they are remembered, this one too unless
 * it is refused.
 * Returns: 0; -1 when out of memory.
 */
int import_seen_judge(struct import_seen *seen, const struct import_line *line, enum fob_import_outcome *outcome);

#endif
