/*
 * entry_internal.h - for tests of entry.c: an entry's bytes before they are sealed.
 */
#ifndef ENTRY_INTERNAL_H
#define ENTRY_INTERNAL_H

#include "service/cluster/entry.h"

#define ENTRY_PLAIN_MAX (ENTRY_MAX - ENTRY_SEAL_LEN)

/* As entry_open() leaves it. ${len} is at most ENTRY_PLAIN_MAX. */
void entry_set_plain(struct entry *entry, const uint8_t *bytes, size_t len);
/* ENTRY_PLAIN_MAX bytes: what was added, and zeros behind it. */
const uint8_t *entry_plain(const struct entry *entry);

#endif
