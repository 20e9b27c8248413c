/*
 * agent.h - the loop between one fobd and one etcd: what fobd asks for goes to etcd, and what etcd answers to fobd. It
 * decides nothing, and sees sealed bytes only.
 */
#ifndef CLUSTER_AGENT_H
#define CLUSTER_AGENT_H

#include "client/cluster/settings.h"

struct agent;

/* ${settings} is borrowed until agent_free(). NULL without memory. */
struct agent *agent_new(const struct settings *settings);
void agent_free(struct agent *agent);

/* Go on until one of the signals of the descriptor ${signals}, a signalfd, has come. Returns its number. */
int agent_run(struct agent *agent, int signals);

/* Read the TLS files anew: begin with new connections to etcd, as another session of fobd's. Returns 0; -1 without memory. */
int agent_reload(struct agent *agent);

#endif
