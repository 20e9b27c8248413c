/*
 * mix.h - what a load consists of: "verify=90,roll=5,bad=5".
 */
#ifndef LOAD_MIX_H
#define LOAD_MIX_H

#include <stddef.h>

#include "tests/load/rng.h"

enum op { OP_VERIFY, OP_ROLL, OP_BAD };
#define OPS 3

struct mix {
	unsigned weights[OPS];
	unsigned sum;
};

const char *op_name(enum op op);

/*
 * mix_parse(text, mix, why, why_len):
 * Names with weights from 0 to 1,000,000, each name at most once, not all 0; a name alone has weight 1.
 * Returns: 0; -1 with a line at ${why}.
 */
int mix_parse(const char *text, struct mix *mix, char *why, size_t why_len);

/* One of the operations, each as often as its weight says. */
enum op mix_pick(const struct mix *mix, struct rng *rng);

#endif
