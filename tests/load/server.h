/*
 * server.h - a baseline's server, in a process of its own as fobd is.
 */
#ifndef LOAD_SERVER_H
#define LOAD_SERVER_H

#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Runs in the child process and never returns. It calls server_is_ready(${ready}) when it listens. When it cannot, it
 * says why on standard error and ends the process.
 */
typedef void (*server_main)(const void *arg, int ready);

/*
 * server_start(main, arg):
 * Run ${main} in a child process, which ends when the caller's process ends. To be called before any thread is made.
 * Returns: its pid, when it listens. Otherwise the process ends with 1.
 */
pid_t server_start(server_main main, const void *arg);
void server_is_ready(int ready);
void server_stop(pid_t pid);

#ifdef __cplusplus
}
#endif

#endif
