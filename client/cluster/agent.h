/*
 * agent.h - between one fobd and one etcd: fobd's transactions go to etcd, its asks to other nodes; what
 * these answer goes back. Decides nothing.
 */
#ifndef CLUSTER_AGENT_H
#define CLUSTER_AGENT_H

#include "client/cluster/settings.h"

struct agent;

/* ${settings} is borrowed until agent_free() or agent_reload(). Returns: NULL when out of memory. */
struct agent *agent_new(const struct settings *settings);
void agent_free(struct agent *agent); /* takes NULL */

/* New settings: the endpoints, the certificates' files, which are read again. The socket and the environment stay. */
void agent_reload(struct agent *agent, const struct settings *settings);

/* Wait for something to do, or until ${fd} can be read, at most ${timeout_ms}; and do it. */
void agent_turn(struct agent *agent, int fd, int timeout_ms);

#endif
