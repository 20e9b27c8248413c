/*
 * notify.h - tell a service manager what a daemon does, as sd_notify(3) documents it. Without a manager nothing
 * happens.
 */
#ifndef PROGRAM_NOTIFY_H
#define PROGRAM_NOTIFY_H

/* Each sends its state, to the socket that NOTIFY_SOCKET names. A manager that does not listen is no error. */
void notify_ready(void);
void notify_reloading(void);
void notify_stopping(void);

#endif
