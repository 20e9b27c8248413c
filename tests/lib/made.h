/*
 * made.h - a secret that a test program made or was given is noted for tests/lib/leaks.py, which searches all that was
 * said for it. Outside a run of all tests nothing happens.
 */
#ifndef TESTS_MADE_H
#define TESTS_MADE_H

#define MADE_SECRET_LEN 44

/* Note ${secret}, which is of Fob's form and need not end in a NUL. Allocates nothing. Threads: any. */
void made_secret(const char *secret);

#endif
