/*
 * row.c - a node's row as bytes (see row.h). Believes nothing whose MAC does not fit.
 */
#include "service/cluster/row.h"

#include <assert.h>
#include <sodium.h>
#include <string.h>

#include "service/base/bytes.h"

#define VERSION 1

static void
make_mac(const uint8_t key[ROW_KEY_LEN], const uint8_t cluster[16], const char *name, const uint8_t *bytes, size_t len,
    uint8_t mac[ROW_MAC_LEN])
{
	crypto_generichash_state state;
	uint8_t name_len[4];

	/* With the name's length, so that no name and row can be taken for another pair. */
	bytes_put32(name_len, (uint32_t)strlen(name));
	crypto_generichash_init(&state, key, ROW_KEY_LEN, ROW_MAC_LEN);
	crypto_generichash_update(&state, cluster, 16);
	crypto_generichash_update(&state, name_len, sizeof(name_len));
	crypto_generichash_update(&state, (const uint8_t *)name, strlen(name));
	crypto_generichash_update(&state, bytes, len);
	crypto_generichash_final(&state, mac, ROW_MAC_LEN);
}

size_t
row_put(const uint8_t key[ROW_KEY_LEN], const uint8_t cluster[16], const char *name, const struct row *row,
    uint8_t bytes[ROW_MAX])
{
	size_t address_len = strlen(row->address);
	uint8_t *p = bytes;

	assert(address_len <= ROW_ADDRESS_MAX);
	*p++ = VERSION;
	bytes_put64(p, row->applied);
	p += 8;
	memcpy(p, row->tag, ROW_TAG_LEN);
	p += ROW_TAG_LEN;
	bytes_put32(p, row->max_staleness_ms);
	p += 4;
	bytes_put64(p, (uint64_t)row->wall_ms);
	p += 8;
	memcpy(p, row->boot, ROW_BOOT_LEN);
	p += ROW_BOOT_LEN;
	*p++ = row->pepper_lines;
	*p++ = row->entry_version;
	*p++ = (uint8_t)address_len;
	memcpy(p, row->address, address_len);
	p += address_len;
	make_mac(key, cluster, name, bytes, (size_t)(p - bytes), p);
	return (size_t)(p - bytes) + ROW_MAC_LEN;
}

int
row_get(const uint8_t key[ROW_KEY_LEN], const uint8_t cluster[16], const char *name, const uint8_t *bytes, size_t len,
    struct row *row)
{
	uint8_t mac[ROW_MAC_LEN];
	const uint8_t *p = bytes;
	size_t address_len;

	if (len < ROW_FIXED_LEN + ROW_MAC_LEN || len > ROW_MAX || bytes[0] != VERSION)
		return -1;
	address_len = bytes[ROW_FIXED_LEN - 1];
	if (len != ROW_FIXED_LEN + address_len + ROW_MAC_LEN)
		return -1;
	make_mac(key, cluster, name, bytes, len - ROW_MAC_LEN, mac);
	if (sodium_memcmp(mac, bytes + len - ROW_MAC_LEN, ROW_MAC_LEN) != 0)
		return -1;
	if (memchr(bytes + ROW_FIXED_LEN, '\0', address_len) != NULL)
		return -1;
	memset(row, 0, sizeof(*row));
	p++;
	row->applied = bytes_get64(p);
	p += 8;
	memcpy(row->tag, p, ROW_TAG_LEN);
	p += ROW_TAG_LEN;
	row->max_staleness_ms = bytes_get32(p);
	p += 4;
	row->wall_ms = (int64_t)bytes_get64(p);
	p += 8;
	memcpy(row->boot, p, ROW_BOOT_LEN);
	p += ROW_BOOT_LEN;
	row->pepper_lines = *p++;
	row->entry_version = *p++;
	p++;
	memcpy(row->address, p, address_len);
	return 0;
}
