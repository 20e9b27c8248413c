/*
 * descriptors.h - the descriptors that this process has open.
 */
#ifndef DESCRIPTORS_H
#define DESCRIPTORS_H

#include <stdbool.h>
#include <stdint.h>

/* As many as there may be, when there is none left to look with. */
unsigned descriptors_count(void);
/* Call ${visit}, if not NULL, with each descriptor that is open. Returns how many there are, as above. */
unsigned descriptors_each(void (*visit)(void *arg, int fd), void *arg);
/* The number that the kernel gives a socket and never again (SO_COOKIE). False: ${fd} is no socket. */
bool descriptors_cookie(int fd, uint64_t *cookie);

#endif
