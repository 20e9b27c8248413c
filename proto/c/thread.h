/*
 * thread.h - a thread of the library in a program that is not ours.
 */
#ifndef THREAD_H
#define THREAD_H

#include <pthread.h>

/* Start a thread that no signal of the program is delivered to. Returns: 0; an errno. */
int thread_start(pthread_t *thread, void *(*run)(void *), void *arg);

#endif
