/*
 * thread.c - a thread of the library in a program that is not ours (see thread.h).
 */
#include "proto/c/thread.h"

#include <signal.h>

int
thread_start(pthread_t *thread, void *(*run)(void *), void *arg)
{
	sigset_t all, before;
	int rv;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	rv = pthread_create(thread, NULL, run, arg);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return rv;
}
