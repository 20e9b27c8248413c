/*
 * folder.h - what files and folders share: syncing a folder, and what an error of the file system means. A file that
 * was made, linked or renamed survives a power cut only when its folder was synced, too.
 */
#ifndef FOLDER_H
#define FOLDER_H

/* Sync the folder at ${path}. Returns 0, or an errno value. */
int folder_sync(const char *path);
/* Sync the folder that ${path} is in. Returns 0, or an errno value. */
int folder_sync_around(const char *path);

/*
 * folder_fault(error):
 * What the errno value ${error} of a call on a file means for whoever opens a database.
 * Returns: 0 for 0; -FAULT_FULL; -FAULT_DISK: the storage fails, is read-only or is gone, so that a change of the
 *          settings would not help; -FAULT_IO: anything else.
 */
int folder_fault(int error);

#endif
