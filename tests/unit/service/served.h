/*
 * served.h - a harness behind a server: a verify listener on a unix socket, and a peer's question over nng. Include it after
 * <cmocka.h>. A failed check ends the test.
 */
#ifndef SERVED_H
#define SERVED_H

#include <nng/nng.h>
#include <nng/protocol/reqrep0/req.h>

#include "service/net/server.h"
#include "tests/unit/service/harness.h"

#define SERVED_URL 1024

/* Writes the listener's address to ${url}, which the configuration borrows. The server is to be closed. */
static inline struct server *
served_open(struct harness *h, char url[SERVED_URL])
{
	struct server *server;
	char why[512] = "";

	snprintf(url, SERVED_URL, "ipc://%s/verify.sock", h->folder);
	h->config.listeners[0] = (struct config_listener){ .url = url, .role = ROLE_VERIFY, .mode = 0660 };
	h->config.n_listeners = 1;
	if (server_open(&h->service, &h->config, &server, why, sizeof(why)) != 0)
		fail_msg("%s", why);
	return server;
}

/* Returns the verdict; or the code of a fault, negated. */
static inline int
served_verdict(nng_socket socket, const char *secret, const char *operation)
{
	Fob__V1__VerifyKeyRequest in = FOB__V1__VERIFY_KEY_REQUEST__INIT;
	Fob__Rpc__V1__Response *response;
	Fob__V1__VerifyKeyResponse *body;
	int answer = -FAULT_INTERNAL;
	size_t len;
	uint8_t *bytes;
	void *reply;

	in.credential_case = FOB__V1__VERIFY_KEY_REQUEST__CREDENTIAL_SECRET;
	in.secret = harness_text(secret);
	in.operation = harness_text(operation);
	bytes = harness_request("fob.v1.Keys/VerifyKey", &in.base, 0, &len);
	if (nng_send(socket, bytes, len, 0) == 0 && nng_recv(socket, &reply, &len, NNG_FLAG_ALLOC) == 0) {
		response = fob__rpc__v1__response__unpack(NULL, len, reply);
		assert_non_null(response);
		answer = -(int)response->code;
		if (answer == 0) {
			body = fob__v1__verify_key_response__unpack(NULL, response->body.len, response->body.data);
			assert_non_null(body);
			answer = (int)body->verdict;
			fob__v1__verify_key_response__free_unpacked(body, NULL);
		}
		fob__rpc__v1__response__free_unpacked(response, NULL);
		nng_free(reply, len);
	}
	free(bytes);
	return answer;
}

#endif
