/*
 * made.h - record a secret that a test program made or was given, for tests/lib/leaks.py, which searches all
 * output for it. Does nothing outside tests/run.
 */
#ifndef TESTS_MADE_H
#define TESTS_MADE_H

#define MADE_SECRET_LEN 44

/* Record ${secret}, MADE_SECRET_LEN bytes without a NUL. Allocates nothing. Threads: any. */
void made_secret(const char *secret);

#endif
