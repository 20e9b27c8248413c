/*
 * listen_connection.c - a connection that comes or goes, as nng tells of it: who made it, and is there room for it?
 * Called by nng, as listen.c asks it to; calls arrivals.c and pipes.c. Reads nothing of what the connection brings.
 */
#include "service/net/listen_internal.h"

#include <string.h>

/* As the kernel knew it when the connection was made. Over TCP nobody knows. */
static struct peer
peer_of(nng_pipe pipe)
{
	uint64_t uid, pid;

	if (nng_pipe_get_uint64(pipe, NNG_OPT_IPC_PEER_UID, &uid) != 0 ||
	    nng_pipe_get_uint64(pipe, NNG_OPT_IPC_PEER_PID, &pid) != 0)
		return (struct peer){ 0 };
	return (struct peer){ .known = true, .uid = (uid_t)uid, .pid = (pid_t)pid };
}

static bool
end_of(nng_pipe pipe, const char *which, uint8_t address[16], uint16_t *port)
{
	nng_sockaddr sa;

	if (nng_pipe_get_addr(pipe, which, &sa) != 0)
		return false;
	memset(address, 0, 16);
	if (sa.s_family == NNG_AF_INET6) {
		memcpy(address, sa.s_in6.sa_addr, 16);
		*port = sa.s_in6.sa_port;
	} else if (sa.s_family == NNG_AF_INET) {
		memset(address + 10, 0xff, 2);
		memcpy(address + 12, &sa.s_in.sa_addr, 4);
		*port = sa.s_in.sa_port;
	} else {
		return false;
	}
	return true;
}

/* A pipe is a connection that has greeted. */
static void
greeted(nng_pipe pipe)
{
	struct arrival_ends ends;

	if (end_of(pipe, NNG_OPT_REMADDR, ends.peer, &ends.peer_port) &&
	    end_of(pipe, NNG_OPT_LOCADDR, ends.own, &ends.own_port))
		arrivals_greeted(&ends);
}

void
listen_pipe_event(nng_pipe pipe, nng_pipe_ev event, void *arg)
{
	struct transport *t = arg;
	struct peer peer;

	if (event == NNG_PIPE_EV_ADD_PRE)
		greeted(pipe);
	if (event == NNG_PIPE_EV_REM_POST) {
		pipes_remove(t->pipes, (uint32_t)nng_pipe_id(pipe));
		return;
	}
	if (event != NNG_PIPE_EV_ADD_PRE)
		return;
	peer = peer_of(pipe);
	if (!pipes_add(t->pipes, (uint32_t)nng_pipe_id(pipe), &peer)) {
		atomic_fetch_add(&t->refused, 1);
		nng_pipe_close(pipe);
	}
}
