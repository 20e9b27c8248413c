/*
 * position.h - fob.rpc.v1.Position: which entry of its cluster's log a node has applied. A client tells each node the newest
 * one that it was told by any, and a node that is behind does not answer from its older state.
 */
#ifndef POSITION_H
#define POSITION_H

#include "proto/c/fields.h"

struct position {
	uint64_t cluster; /* of which cluster: numbers of two clusters say nothing of each other */
	uint64_t entry;   /* 0: there is none; the rest is then not looked at */
};

#define POSITION_FIELD_MAX (2 + 9 + FIELD_NUMBER_MAX) /* bytes of a field that is a Position */

/* A cluster's name in a position: of its id, at ${id}, the first 8 bytes. */
static inline uint64_t
position_cluster(const uint8_t *id)
{
	uint64_t v = 0;

	for (unsigned i = 0; i < 8; i++)
		v = v << 8 | id[i];
	return v;
}

/* Is ${at} older than ${min}, as far as they can be compared? */
static inline bool
position_is_behind(const struct position *at, const struct position *min)
{
	return at->entry < min->entry && at->cluster == min->cluster;
}

/* The field that is next, whose tag is passed. */
static inline struct position
position_read(struct fields *f)
{
	ProtobufCBinaryData bytes = fields_bytes(f);
	struct fields in = fields_of(bytes.data, bytes.len);
	struct position p = { 0, 0 };

	if (fields_next_is(&in, FIELD_TAG(1, FIELD_FIXED64)))
		p.cluster = fields_fixed64(&in);
	if (fields_next_is(&in, FIELD_TAG(2, FIELD_VARINT)))
		p.entry = (uint64_t)fields_number64(&in);
	f->odd = f->odd || !fields_are_usual(&in);
	return p;
}

/* Two fields that follow each other, the first with ${number}: live, and test. */
static inline void
positions_read(struct fields *f, unsigned number, struct position p[2])
{
	p[0] = p[1] = (struct position){ 0, 0 };
	for (unsigned i = 0; i < 2; i++)
		if (fields_next_is(f, (uint8_t)FIELD_TAG(number + i, FIELD_BYTES)))
			p[i] = position_read(f);
}

/* How many bytes the field takes: none without an entry. */
static inline size_t
position_size(const struct position *p)
{
	return p->entry == 0 ? 0 : (p->cluster != 0 ? 12U : 3U) + fields_varint_size(p->entry);
}

static inline uint8_t *
position_put(uint8_t *to, unsigned number, const struct position *p)
{
	size_t size = position_size(p);

	if (size == 0)
		return to;
	to = fields_put_head(to, number, size - 2);
	to = fields_put_fixed64(to, 1, p->cluster);
	return fields_put_number(to, 2, p->entry);
}

#endif
