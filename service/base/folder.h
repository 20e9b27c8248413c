/*
 * folder.h - a folder, and the names in it: synced, because a file that was made, linked or renamed survives
 * a power cut only when its folder was synced, too; locked; why a name in it cannot be opened; and what an
 * error of the file system means.
 */
#ifndef FOLDER_H
#define FOLDER_H

#include <stddef.h>

/* Sync the folder at ${path}. Returns 0, or an errno value. */
int folder_sync(const char *path);
/* Sync the folder that ${path} is in. Returns 0, or an errno value. */
int folder_sync_around(const char *path);

/*
 * folder_lock_around(path, wait_ms):
 * Lock the folder that ${path} is in against others that do the same (flock), and wait for them for at most
 * ${wait_ms}. Where the file system has no locks for folders there is none, and this goes on without.
 * Returns: a descriptor, whose close(2) or whose process's end unlocks; -1 with errno, EWOULDBLOCK after the wait.
 */
int folder_lock_around(const char *path, int wait_ms);

/*
 * folder_explain(path, error, text, len):
 * Say at ${text} why opening ${path} for reading failed with the errno value ${error}: strerror(3), and if the
 * file's mode does not explain a refusal, that fobd is confined to the folders of its start. errno is kept.
 */
void folder_explain(const char *path, int error, char *text, size_t len);

/*
 * folder_fault(error):
 * What the errno value ${error} of a call on a file means for whoever opens a database.
 * Returns: 0 for 0; -FAULT_FULL; -FAULT_DISK: the storage fails, is read-only or is gone, so that a change of the settings
 *          would not help; -FAULT_IO: anything else.
 */
int folder_fault(int error);

#endif
