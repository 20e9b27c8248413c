/*
 * notify.h - tell a service manager what a daemon does, as sd_notify(3) documents it. Without a manager nothing happens.
 */
#ifndef DAEMON_NOTIFY_H
#define DAEMON_NOTIFY_H

/* Each sends its state, to the socket that NOTIFY_SOCKET names. A manager that does not listen is no error. */
void notify_ready(void);
void notify_reloading(void);
void notify_stopping(void);

/*
 * notify_alive(at_most_ms):
 * Where the manager's watchdog is on, say that this process is alive, if it is time for that.
 * Threads: one.
 * Returns: how long until it is time again, at most ${at_most_ms}.
 */
int notify_alive(int at_most_ms);

#endif
