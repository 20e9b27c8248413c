/*
 * entry.h - one entry of a cluster's log, as bytes: the changes of one commit, sealed. Nobody without the pepper can read,
 * forge, reorder or replay an entry: it is XChaCha20-Poly1305 under a subkey of the pepper's first line, with the cluster's
 * id, the environment, the entry's number, the tag of the entry before and its proposer as associated data. etcd and the
 * agents see its proposer and its size only.
 *
 *	version 1 (1), proposer 16, nonce 24, sealed items, tag 16
 *	item: length 4, kind 1, then the change's fields; see entry.c
 *
 * An item names existing keys by account, kind and generation, and holds no reference between records: each node finds
 * them in its own database, where a pepper's rotation may have come further than elsewhere. The digests of new keys are
 * under the lines of the pepper that are in use at that number, which is the same on all nodes.
 * Threads: any; no state is shared.
 */
#ifndef ENTRY_H
#define ENTRY_H

#include "service/cluster/row.h"
#include "service/store/change.h"

#define ENTRY_VERSION 1
#define ENTRY_TAG_LEN ROW_TAG_LEN
#define ENTRY_CLUSTER_LEN 16
#define ENTRY_PROPOSER_LEN 16
#define ENTRY_SEAL_LEN (1 + ENTRY_PROPOSER_LEN + PEPPER_SEAL_LEN) /* more than its items have */
#define ENTRY_MAX (192U << 10) /* an import of LIMIT_IMPORT accounts fits, and one message of the agent's holds it */

/* What an entry is bound to. */
struct entry_place {
	uint8_t cluster[ENTRY_CLUSTER_LEN];
	enum environment environment;
	uint64_t number;
	uint8_t before[ENTRY_TAG_LEN]; /* the tag of entry number - 1; zeros for the first */
};

struct entry;

/* An entry under construction. NULL without memory. entry_free() wipes it. */
struct entry *entry_new(void);
void entry_free(struct entry *entry);
void entry_clear(struct entry *entry);
/*
 * Add a change. Changes of one mutation belong together: what has been added since entry_mark() is taken out again by
 * entry_back(). Returns: 0; -FAULT_RESOURCE_EXHAUSTED: it does not fit any more, and nothing was added.
 */
int entry_add(struct entry *entry, const struct change *change);
void entry_mark(struct entry *entry);
void entry_back(struct entry *entry);
size_t entry_changes(const struct entry *entry);
/*
 * Seal it. ${proposer}: this node's replica. ${bytes}: ENTRY_MAX. Returns the length. The last ENTRY_TAG_LEN bytes are its
 * tag.
 */
size_t entry_seal(const struct entry *entry, const struct pepper *pepper, const struct entry_place *place,
    const uint8_t proposer[ENTRY_PROPOSER_LEN], uint8_t *bytes);

/*
 * entry_open(entry, pepper, place, bytes, len):
 * Replace the contents of ${entry} by those of a sealed one, to be read with entry_next().
 * Returns: 0; -FAULT_CORRUPT: it is not the entry of that place; -FAULT_UNIMPLEMENTED: of a newer version.
 */
int entry_open(struct entry *entry, const struct pepper *pepper, const struct entry_place *place, const uint8_t *bytes,
    size_t len);
/* The node that has proposed the entry which was opened; borrowed until the next call but entry_next(). */
const uint8_t *entry_proposer(const struct entry *entry);
/*
 * The next change. Of its keys that are not new, and of its account, what other records say is still missing: see
 * store_resolve(). Returns: 1; 0: there is none; -FAULT_CORRUPT.
 */
int entry_next(struct entry *entry, struct change *change);

#endif
