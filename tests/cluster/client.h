/*
 * client.h - clients: they ask for changes, again at another node with the same token when a reply does not come or is no
 * verdict, and verify at all nodes.
 */
#ifndef CLUSTER_CLIENT_H
#define CLUSTER_CLIENT_H

#include <stdbool.h>
#include <stdint.h>

struct world;
struct node;
struct call;

struct client { /* one change that is wanted */
	uint32_t token, account;
	int64_t since_us;
	bool done;
	uint32_t tries;
};

struct clients {
	struct client *all;
	uint32_t n, room;
	uint32_t accounts;
	bool ended;
};

enum answer { ANSWER_DONE, ANSWER_REFUSED, ANSWER_UNAVAILABLE };

void clients_begin(struct world *world);
void clients_fini(struct clients *clients);
/* ${node} answers, and gives ${call} back. */
void client_answer(struct node *node, struct call *call, enum answer answer);

#endif
