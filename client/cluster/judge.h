/*
 * judge.h - what the end of a call to etcd means: whether a transaction was made, and whether another endpoint is to be
 * tried. Pure.
 */
#ifndef CLUSTER_JUDGE_H
#define CLUSTER_JUDGE_H

#include <stdbool.h>

#include "client/cluster/grpc.h"
#include "fob/v1/cluster.pb-c.h"

struct judge_end {
	bool sent;               /* the whole request was given to the connection */
	bool broken;             /* no connection, none any more, or no answer in time */
	long http_status;        /* of one that is not broken */
	bool whole;              /* a gRPC message has come */
	struct grpc_status grpc; /* of one that is not broken */
};

struct judgement {
	Fob__V1__Result__Outcome outcome; /* DONE: the message is still to be read */
	bool elsewhere;                   /* try another endpoint */
	bool trouble;                     /* the reason is worth telling */
};

struct judgement judge(const struct judge_end *end);

#endif
