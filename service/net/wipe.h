/*
 * wipe.h - memory is wiped when it is freed, by whichever library: linking wipe.c into an executable replaces free for
 * the whole process, a liberty only an executable may take. Never link it into a library.
 */
#ifndef WIPE_H
#define WIPE_H

#include <stdbool.h>

/*
 * Do the libraries' calls of free end here? False under a sanitizer, which has an allocator of its own. Threads: any.
 */
bool wipe_in_effect(void);

#endif
