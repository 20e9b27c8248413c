/*
 * socket_file.h - the file that a unix socket is. nng unlinks whatever is at the path, so we look first.
 */
#ifndef SOCKET_FILE_H
#define SOCKET_FILE_H

#include <stddef.h>

#include "service/base/config.h"

/*
 * socket_file_folder(path, why, why_len):
 * Make the folder of ${path}, 0750, if it is not there and its parent is: where /run is empty at each start, as in a
 * container, nobody else would. Call it before confine_process(), which then allows that folder and no other.
 * Returns: 0; -1 with one line at ${why}.
 */
int socket_file_folder(const char *path, char *why, size_t why_len);

/*
 * socket_file_check(path, why, why_len):
 * May nng listen at ${path}? Only a socket that nobody listens on may be unlinked for it, and not every user may write
 * in its folder.
 * Returns: 0; -1 with one line at ${why}.
 */
int socket_file_check(const char *path, char *why, size_t why_len);

/* Is what nng has made there ours, and open to those only whom ${config} names? Returns: as above. */
int socket_file_made(const struct config_listener *config, const char *path, char *why, size_t why_len);

#endif
