/*
 * descriptors.h - the descriptors that this process has open.
 */
#ifndef DESCRIPTORS_H
#define DESCRIPTORS_H

/* As many as there may be, when there is none left to look with. */
unsigned descriptors_count(void);
/* Call ${visit}, if not NULL, with each descriptor that is open. Returns how many there are, as above. */
unsigned descriptors_each(void (*visit)(void *arg, int fd), void *arg);

#endif
