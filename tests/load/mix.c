/*
 * mix.c - reads a mix and picks from it. Called by fob_load.c for its flag and by load.c for every call; calls nothing.
 */
#include "tests/load/mix.h"

#include <assert.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WEIGHT_MAX 1000000

static const char *const names[OPS] = { "verify", "roll", "bad" };

const char *
op_name(enum op op)
{
	assert((unsigned)op < OPS);
	return names[op];
}

static int
weight_parse(const char *p, size_t len, unsigned *weight)
{
	unsigned long w = 0;
	size_t i;

	for (i = 0; i < len; i++) {
		if (p[i] < '0' || p[i] > '9' || (w = w * 10 + (unsigned long)(p[i] - '0')) > WEIGHT_MAX)
			return -1;
	}
	*weight = (unsigned)w;
	return len == 0 ? -1 : 0;
}

/* One "name" or "name=weight" of ${len} bytes. */
static int
part_parse(const char *p, size_t len, struct mix *mix, bool seen[OPS], char *why, size_t why_len)
{
	const char *equals = memchr(p, '=', len);
	size_t name_len = equals == NULL ? len : (size_t)(equals - p);
	unsigned op;

	for (op = 0; op < OPS; op++) {
		if (strlen(names[op]) == name_len && memcmp(names[op], p, name_len) == 0)
			break;
	}
	if (op == OPS || seen[op]) {
		snprintf(why, why_len, "\"%.*s\" %s", (int)(name_len < 40 ? name_len : 40), p,
		    op == OPS ? "is no operation: verify, roll, bad" : "is given twice");
		return -1;
	}
	seen[op] = true;
	mix->weights[op] = 1;
	if (equals != NULL && weight_parse(equals + 1, len - name_len - 1, &mix->weights[op]) != 0) {
		snprintf(why, why_len, "the weight of \"%s\" is a number from 0 to %d", names[op], WEIGHT_MAX);
		return -1;
	}
	mix->sum += mix->weights[op];
	return 0;
}

int
mix_parse(const char *text, struct mix *mix, char *why, size_t why_len)
{
	bool seen[OPS] = { false };
	const char *comma;
	size_t len;

	memset(mix, 0, sizeof(*mix));
	for (;;) {
		comma = strchr(text, ',');
		len = comma == NULL ? strlen(text) : (size_t)(comma - text);
		if (part_parse(text, len, mix, seen, why, why_len) != 0)
			return -1;
		if (comma == NULL)
			break;
		text = comma + 1;
	}
	if (mix->sum == 0) {
		snprintf(why, why_len, "all weights are 0");
		return -1;
	}
	return 0;
}

enum op
mix_pick(const struct mix *mix, struct rng *rng)
{
	uint64_t at;
	unsigned op;

	if (mix->weights[OP_VERIFY] == mix->sum)
		return OP_VERIFY;
	at = rng_below(rng, mix->sum);
	for (op = 0; at >= mix->weights[op]; op++)
		at -= mix->weights[op];
	return (enum op)op;
}
