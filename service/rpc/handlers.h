/*
 * handlers.h - the methods of the services; contracts in proto/fob/v1/, form in call.h. verify.c has Keys, admin.c
 * and import.c the mutations, cluster.c, cluster_admin.c and peer.c what concerns a cluster, list.c the lists, backup.c ReadBackup, health.c Health.
 */
#ifndef HANDLERS_H
#define HANDLERS_H

#include "service/rpc/call.h"

int verify_key(struct call *call, const ProtobufCMessage *request, ProtobufCMessage *response);
int verify_keys(struct call *call, const ProtobufCMessage *request, ProtobufCMessage *response);

int admin_create_account(struct call *call, const ProtobufCMessage *request, ProtobufCMessage *response);
int admin_roll_key(struct call *call, const ProtobufCMessage *request, ProtobufCMessage *response);
int admin_revoke_key(struct call *call, const ProtobufCMessage *request, ProtobufCMessage *response);
int admin_suspend_account(struct call *call, const ProtobufCMessage *request, ProtobufCMessage *response);
int admin_resume_account(struct call *call, const ProtobufCMessage *request, ProtobufCMessage *response);
int import_accounts(struct call *call, const ProtobufCMessage *request, ProtobufCMessage *response);

int list_keys(struct call *call, const ProtobufCMessage *request, ProtobufCMessage *response);
int list_accounts(struct call *call, const ProtobufCMessage *request, ProtobufCMessage *response);
int list_events(struct call *call, const ProtobufCMessage *request, ProtobufCMessage *response);

int backup_read(struct call *call, const ProtobufCMessage *request, ProtobufCMessage *response);

int admin_init_cluster(struct call *call, const ProtobufCMessage *request, ProtobufCMessage *response);
int admin_forget_node(struct call *call, const ProtobufCMessage *request, ProtobufCMessage *response);
int admin_cluster_status(struct call *call, const ProtobufCMessage *request, ProtobufCMessage *response);
int cluster_exchange(struct call *call, const ProtobufCMessage *request, ProtobufCMessage *response);
int peer_ask(struct call *call, const ProtobufCMessage *request, ProtobufCMessage *response);

int health_check(struct call *call, const ProtobufCMessage *request, ProtobufCMessage *response);
int health_stats(struct call *call, const ProtobufCMessage *request, ProtobufCMessage *response);

#endif
