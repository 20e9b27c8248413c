/*
 * boot.h - which start of this machine this is: /proc/sys/kernel/random/boot_id. Two processes that have the same one, and
 * the same folder locked one after the other, were never alive together.
 */
#ifndef BOOT_H
#define BOOT_H

#include <stdint.h>

#define BOOT_ID_LEN 16

/* Read it. To be called once, before the process is confined and has threads. Where it cannot be read, it is random. */
void boot_read(void);
/* As it was read; random if it was not. */
void boot_id(uint8_t id[BOOT_ID_LEN]);

#endif
