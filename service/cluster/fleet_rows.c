/*
 * fleet_rows.c - the other nodes, as their rows in etcd tell: who has acknowledged which entry, who keeps one waiting, and
 * when a row may be removed (see fleet.h). A row that is not there in a newer state is gone for good, as no key of a row
 * is used twice.
 */
#include "service/cluster/fleet_internal.h"

#include <string.h>

/*
 * W: a clock may run 1 % slow where the proof was sent, and 1 % fast here: D(1 + 0.01) / (1 - 0.01), which is more than 1.02 D.
 * Both clocks are read in whole milliseconds.
 */
int64_t
fleet_wait_of(uint32_t max_staleness_ms)
{
	return (int64_t)max_staleness_ms * 101 / 99 + 2;
}

/* ${hint}: where the one before was found. etcd gives rows in the order of their names, so the next one is mostly there. */
static struct member *
find(struct fleet *f, const char *name, size_t len, unsigned *hint)
{
	for (unsigned k = 0; k < f->n_members; k++) {
		unsigned i = (*hint + k) % f->n_members;

		if (memcmp(f->members[i].name, name, len) == 0 && f->members[i].name[len] == '\0') {
			*hint = i + 1;
			return &f->members[i];
		}
	}
	return NULL;
}

/* "nodes/NAME" or "mark/NAME"; NULL: it is another key. */
static const char *
name_in(const struct fleet_kv *kv, const char *folder, size_t *len)
{
	size_t n = strlen(folder);

	if (kv->key_len <= n || kv->key_len - n >= FLEET_KEY_MAX || memcmp(kv->key, folder, n) != 0)
		return NULL;
	*len = kv->key_len - n;
	return (const char *)kv->key + n;
}

/* What a row says that is there. One that cannot be read never acknowledges, and is waited for as long as any may need. */
static void
read_row(struct fleet *f, struct member *m, const struct fleet_kv *kv)
{
	struct row row;

	if (row_get(f->options.row_key, f->options.cluster, m->name, kv->value, kv->len, &row) != 0) {
		m->valid = false;
		m->wait_ms = fleet_wait_of(STALENESS_MAX_MS);
		return;
	}
	if (m->valid && row.applied < m->applied)
		return;
	m->valid = true;
	m->row = row;
	m->applied = row.applied;
	m->wait_ms = fleet_wait_of(row.max_staleness_ms);
}

static void
add_member(struct fleet *f, const char *name, size_t len, const struct fleet_kv *kv)
{
	struct member *m;

	if (f->n_members == FLEET_NODES) {
		f->too_many = true;
		return;
	}
	m = &f->members[f->n_members++];
	memset(m, 0, sizeof(*m));
	memcpy(m->name, name, len);
	m->create_revision = kv->create_revision;
	read_row(f, m, kv);
}

static bool
is_in(const struct fleet_result *r, const char *member, size_t *hint)
{
	size_t len = strlen(member), name_len;
	const char *name;

	for (size_t k = 0; k < r->n_kvs; k++) {
		size_t i = (*hint + k) % r->n_kvs;

		if ((name = name_in(&r->kvs[i], "nodes/", &name_len)) != NULL && name_len == len &&
		    memcmp(name, member, len) == 0) {
			*hint = i + 1;
			return true;
		}
	}
	return false;
}

static void
drop_missing(struct fleet *f, const struct fleet_result *r)
{
	unsigned n = 0;
	size_t hint = 0;

	for (unsigned i = 0; i < f->n_members; i++)
		if (is_in(r, f->members[i].name, &hint))
			f->members[n++] = f->members[i];
	f->n_members = n;
}

void
fleet_saw_rows(struct fleet *f, const struct fleet_result *r, bool complete, int64_t now_ms)
{
	bool newer = r->revision >= f->rows_revision && complete;
	struct member *m;
	const char *name;
	unsigned hint = 0;
	size_t len;

	if (newer) {
		drop_missing(f, r);
		f->too_many = false;
		f->rows_revision = r->revision;
		f->rows_known = true;
	}
	for (size_t i = 0; i < r->n_kvs; i++) {
		if ((name = name_in(&r->kvs[i], "nodes/", &len)) != NULL) {
			if ((m = find(f, name, len, &hint)) != NULL)
				read_row(f, m, &r->kvs[i]);
			else if (newer)
				add_member(f, name, len, &r->kvs[i]);
		} else if ((name = name_in(&r->kvs[i], "mark/", &len)) != NULL &&
		    (m = find(f, name, len, &hint)) != NULL && !m->marked) {
			m->marked = true;
			m->mark_seen_ms = now_ms;
		}
	}
}

/* ---- waiting ---- */

static bool
is_self(const struct fleet *f, const struct member *m)
{
	return strcmp(m->name, f->name) == 0;
}

/* Does this row keep ${w} from being effective? */
static bool
blocks(const struct fleet *f, const struct member *m, const struct wait *w)
{
	uint64_t applied = is_self(f, m) ? f->applied : m->applied;

	return m->create_revision <= w->revision && applied < w->number;
}

static bool
is_effective(const struct fleet *f, const struct wait *w, int64_t now_ms, int64_t *by_ms)
{
	int64_t at_ms;

	/* Of rows that there was no room for nothing is known. */
	*by_ms = w->learned_ms + (f->too_many ? fleet_wait_of(STALENESS_MAX_MS) : 0);
	for (unsigned i = 0; i < f->n_members; i++) {
		if (!blocks(f, &f->members[i], w))
			continue;
		at_ms = w->learned_ms + f->members[i].wait_ms;
		*by_ms = at_ms > *by_ms ? at_ms : *by_ms;
	}
	return now_ms >= *by_ms;
}

bool
fleet_wait(struct fleet *f, uint64_t number, int64_t revision, int64_t learned_ms, unsigned most)
{
	if (number <= f->effective_to)
		return true;
	for (unsigned i = 0; i < f->n_waits; i++)
		if (f->waits[i].number == number)
			return true;
	if (f->n_waits >= most)
		return false;
	f->waits[f->n_waits++] = (struct wait){ .number = number, .revision = revision, .learned_ms = learned_ms };
	return true;
}

void
fleet_tidy_waits(struct fleet *f, int64_t now_ms)
{
	unsigned n = 0;
	int64_t by_ms;

	for (unsigned i = 0; i < f->n_waits; i++)
		if (is_effective(f, &f->waits[i], now_ms, &by_ms) && f->waits[i].number > f->effective_to)
			f->effective_to = f->waits[i].number;
	/* Acknowledgements are of all entries up to one: what came before one that is effective is so, too. */
	for (unsigned i = 0; i < f->n_waits; i++)
		if (f->waits[i].number > f->effective_to)
			f->waits[n++] = f->waits[i];
	f->n_waits = n;
	fleet_use_proofs(f);
}

bool
fleet_effective(const struct fleet *f, uint64_t number, int64_t now_ms, int64_t *by_ms)
{
	*by_ms = now_ms;
	if (number <= f->effective_to)
		return true;
	for (unsigned i = 0; i < f->n_waits; i++)
		if (f->waits[i].number >= number && is_effective(f, &f->waits[i], now_ms, by_ms))
			return true;
	for (unsigned i = 0; i < f->n_waits; i++)
		if (f->waits[i].number == number)
			return is_effective(f, &f->waits[i], now_ms, by_ms);
	*by_ms = INT64_MAX;
	return false;
}

/* ---- marking and removing ---- */

static bool
must_be_marked(const struct fleet *f, const struct member *m, int64_t now_ms)
{
	if (m->marked || is_self(f, m))
		return false;
	for (unsigned i = 0; i < f->n_waits; i++)
		if (blocks(f, m, &f->waits[i]) && now_ms >= f->waits[i].learned_ms + FLEET_MARK_MS)
			return true;
	return false;
}

static bool
may_be_removed(const struct member *m, int64_t now_ms)
{
	return m->forgotten || (m->marked && now_ms >= m->mark_seen_ms + m->wait_ms);
}

const struct member *
fleet_member_to_mend(const struct fleet *f, int64_t now_ms, bool *remove)
{
	for (unsigned i = 0; i < f->n_members; i++) {
		const struct member *m = &f->members[i];

		*remove = may_be_removed(m, now_ms);
		if (*remove || must_be_marked(f, m, now_ms))
			return m;
	}
	return NULL;
}

/* When the next one is due by time alone, or a wait ends. */
int64_t
fleet_mend_ms(const struct fleet *f)
{
	int64_t at_ms = INT64_MAX, t;

	for (unsigned i = 0; i < f->n_members; i++) {
		const struct member *m = &f->members[i];

		t = m->forgotten ? 0 : m->marked ? m->mark_seen_ms + m->wait_ms : INT64_MAX;
		at_ms = t < at_ms ? t : at_ms;
		for (unsigned k = 0; k < f->n_waits; k++) {
			if (!blocks(f, m, &f->waits[k]))
				continue;
			t = f->waits[k].learned_ms + (m->marked || is_self(f, m) ? m->wait_ms : FLEET_MARK_MS);
			at_ms = t < at_ms ? t : at_ms;
		}
	}
	return at_ms;
}

bool
fleet_all_have(const struct fleet *f, uint64_t number)
{
	for (unsigned i = 0; i < f->n_members; i++)
		if (!is_self(f, &f->members[i]) && f->members[i].applied < number)
			return false;
	return f->rows_known && !f->too_many;
}

const struct member *
fleet_predecessor(const struct fleet *f)
{
	size_t replica = FLEET_ID_LEN * 2 + 1; /* "REPLICA." */

	for (unsigned i = 0; i < f->n_members; i++) {
		const struct member *m = &f->members[i];

		if (m->valid && !is_self(f, m) && strcmp(m->name, f->old_name) != 0 &&
		    strncmp(m->name, f->name, replica) == 0 &&
		    memcmp(m->row.boot, f->options.boot, ROW_BOOT_LEN) == 0)
			return m;
	}
	return NULL;
}

bool
fleet_have_pepper_lines(const struct fleet *f, uint8_t lines)
{
	for (unsigned i = 0; i < f->n_members; i++)
		if (!f->members[i].valid || f->members[i].row.pepper_lines < lines)
			return false;
	return f->rows_known && !f->too_many && f->n_members > 0;
}

bool
fleet_has_source(const struct fleet *f)
{
	uint8_t cluster[FLEET_ID_LEN];
	char address[ROW_ADDRESS_MAX + 1];

	return fleet_source(f, 0, cluster, address);
}

bool
fleet_source(const struct fleet *f, unsigned tried, uint8_t cluster[FLEET_ID_LEN], char address[ROW_ADDRESS_MAX + 1])
{
	const struct member *sources[FLEET_NODES];
	unsigned n = 0;

	for (unsigned i = 0; i < f->n_members; i++) {
		const struct member *m = &f->members[i];

		if (m->valid && !m->marked && !is_self(f, m) && m->row.address[0] != '\0' && m->applied >= f->applied)
			sources[n++] = m;
	}
	if (n == 0)
		return false;
	memcpy(cluster, f->options.cluster, FLEET_ID_LEN);
	memcpy(address, sources[tried % n]->row.address, ROW_ADDRESS_MAX + 1);
	return true;
}

/* ---- for Status ---- */

static uint8_t
nibble(char c)
{
	return (uint8_t)(c <= '9' ? c - '0' : c - 'a' + 10);
}

/* REPLICA.LIFE in hex; false: it is no name of a row. */
static bool
read_name(const char *name, uint8_t replica[FLEET_ID_LEN], uint64_t *life)
{
	static const char form[] = "hhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhh.hhhhhhhhhhhhhhhh";

	if (strlen(name) != sizeof(form) - 1)
		return false;
	for (size_t i = 0; i < sizeof(form) - 1; i++)
		if (form[i] == 'h' ? strchr("0123456789abcdef", name[i]) == NULL : name[i] != form[i])
			return false;
	for (int i = 0; i < FLEET_ID_LEN; i++)
		replica[i] = (uint8_t)(nibble(name[i * 2]) << 4 | nibble(name[i * 2 + 1]));
	*life = 0;
	for (const char *p = name + FLEET_ID_LEN * 2 + 1; *p != '\0'; p++)
		*life = *life << 4 | nibble(*p);
	return true;
}

bool
fleet_address(const struct fleet *f, const uint8_t replica[FLEET_ID_LEN], char address[ROW_ADDRESS_MAX + 1])
{
	uint8_t id[FLEET_ID_LEN];
	uint64_t life;

	for (unsigned i = 0; i < f->n_members; i++) {
		const struct member *m = &f->members[i];

		if (!m->valid || m->marked || is_self(f, m) || m->row.address[0] == '\0' ||
		    !read_name(m->name, id, &life) || memcmp(id, replica, sizeof(id)) != 0)
			continue;
		memcpy(address, m->row.address, ROW_ADDRESS_MAX + 1);
		return true;
	}
	return false;
}

bool
fleet_forget(struct fleet *f, const uint8_t replica[FLEET_ID_LEN])
{
	uint8_t id[FLEET_ID_LEN];
	uint64_t life;
	bool found = false;

	for (unsigned i = 0; i < f->n_members; i++) {
		struct member *m = &f->members[i];

		if (is_self(f, m) || !read_name(m->name, id, &life) || memcmp(id, replica, sizeof(id)) != 0)
			continue;
		m->forgotten = found = true;
	}
	return found;
}

size_t
fleet_nodes(const struct fleet *f, struct fleet_node *nodes, size_t most)
{
	for (size_t i = 0; i < f->n_members && i < most; i++) {
		const struct member *m = &f->members[i];

		memset(&nodes[i], 0, sizeof(nodes[i]));
		nodes[i].is_valid = read_name(m->name, nodes[i].replica, &nodes[i].life) && m->valid;
		nodes[i].is_self = is_self(f, m);
		nodes[i].is_marked = m->marked;
		nodes[i].row = m->row;
		if (nodes[i].is_self)
			nodes[i].row.applied = f->applied;
	}
	return f->n_members;
}
