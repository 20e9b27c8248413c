/*
 * boot.c - the id of this start of the machine (see boot.h).
 */
#include "service/base/boot.h"

#include <sodium.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static uint8_t read_id[BOOT_ID_LEN];
static bool was_read;

void
boot_read(void)
{
	FILE *f = fopen("/proc/sys/kernel/random/boot_id", "re");
	char text[64] = "";
	size_t len = 0;

	if (f != NULL) {
		if (fgets(text, sizeof(text), f) == NULL)
			text[0] = '\0';
		fclose(f);
	}
	was_read = sodium_hex2bin(read_id, sizeof(read_id), text, strcspn(text, "\n"), "-", &len, NULL) == 0 &&
	    len == sizeof(read_id);
}

void
boot_id(uint8_t id[BOOT_ID_LEN])
{
	if (was_read)
		memcpy(id, read_id, BOOT_ID_LEN);
	else
		randombytes_buf(id, BOOT_ID_LEN);
}
