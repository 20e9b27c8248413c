/*
 * socket_file.h - the file that a unix socket is. nng takes the place of whatever it finds at the path, so we look first.
 */
#ifndef SOCKET_FILE_H
#define SOCKET_FILE_H

#include <stddef.h>

#include "service/config.h"

/*
 * socket_file_check(path, why, why_len):
 * May nng listen at ${path}, and unlink what is there? Not a file that is no socket, nor a socket that somebody listens
 * on; nor anything in a folder in which every user may write.
 * Returns: 0; -1 with one line at ${why}.
 */
int socket_file_check(const char *path, char *why, size_t why_len);

/* Once nng listens at ${path}: is it ours, with the mode that ${config} says? Returns: 0; -1 with one line at ${why}. */
int socket_file_made(const struct config_listener *config, const char *path, char *why, size_t why_len);

#endif
