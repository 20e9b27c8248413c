/*
 * wipe.h - memory that is overwritten when it is given back: libevent's and jansson's buffers hold keys.
 */
#ifndef HTTP_WIPE_H
#define HTTP_WIPE_H

/*
 * wipe_begin():
 * Have libevent and jansson allocate memory that is wiped when it is freed.
 * Threads: none yet, and neither library has been called.
 */
void wipe_begin(void);

#endif
