/*
 * nng_req.c - read an API key from standard input and ask fobd whose it is, without libfob: a bare nng REQ socket and
 * protobuf-c. The same can be done in every language that has an SP library and protobuf; see proto/PROTOCOL.md.
 *
 *	protoc-c --c_out=. -Iproto fob/rpc/v1/rpc.proto fob/v1/types.proto fob/v1/keys.proto
 *	cc -o nng_req nng_req.c fob/rpc/v1/rpc.pb-c.c fob/v1/types.pb-c.c fob/v1/keys.pb-c.c -I. -lnng -lprotobuf-c
 *	./nng_req ipc:///run/fob/verify.sock < key.txt
 *
 * Exit status: 0 the key is valid, 1 it is not, 2 nothing is known of it.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <nng/nng.h>
#include <nng/protocol/reqrep0/req.h>

#include "fob/rpc/v1/rpc.pb-c.h"
#include "fob/v1/keys.pb-c.h"

#define TIMEOUT_MS 5000

/* A whole request: the method's message inside of the envelope. Returns its length. */
static size_t
request_pack(const char *key, uint8_t request[1024])
{
	Fob__V1__VerifyKeyRequest inner = FOB__V1__VERIFY_KEY_REQUEST__INIT;
	Fob__Rpc__V1__Request outer = FOB__RPC__V1__REQUEST__INIT;
	uint8_t body[512];

	inner.credential_case = FOB__V1__VERIFY_KEY_REQUEST__CREDENTIAL_SECRET;
	inner.secret = (ProtobufCBinaryData){ .data = (uint8_t *)(uintptr_t)key, .len = strlen(key) };
	inner.operation = (char *)(uintptr_t) "charges.create";
	outer.method = (char *)(uintptr_t) "fob.v1.Keys/VerifyKey";
	outer.body = (ProtobufCBinaryData){ .data = body, .len = fob__v1__verify_key_request__pack(&inner, body) };
	outer.timeout_ms = TIMEOUT_MS;
	return fob__rpc__v1__request__pack(&outer, request);
}

/* Says what is in a reply. Only OK with VALID lets a request through: each number that is not known denies. */
static int
reply_show(const uint8_t *reply, size_t len)
{
	Fob__Rpc__V1__Response *outer = fob__rpc__v1__response__unpack(NULL, len, reply);
	Fob__V1__VerifyKeyResponse *inner = NULL;
	int status = 2;

	if (outer != NULL && outer->code == FOB__RPC__V1__CODE__OK)
		inner = fob__v1__verify_key_response__unpack(NULL, outer->body.len, outer->body.data);
	if (inner == NULL) {
		fprintf(stderr, "fault: %s\n", outer != NULL ? outer->message : "the reply cannot be read");
	} else if (inner->verdict != FOB__V1__VERDICT__VALID) {
		printf("verdict %d: %s\n", (int)inner->verdict, inner->detail);
		status = 1;
	} else {
		printf("%s, %s mode\n", inner->account, inner->livemode ? "live" : "test");
		status = 0;
	}
	if (inner != NULL)
		fob__v1__verify_key_response__free_unpacked(inner, NULL);
	if (outer != NULL)
		fob__rpc__v1__response__free_unpacked(outer, NULL);
	return status;
}

int
main(int argc, char *argv[])
{
	uint8_t request[1024], *reply = NULL;
	nng_socket socket;
	char key[128];
	size_t len;
	int rc, status;

	if (argc != 2 || fgets(key, sizeof(key), stdin) == NULL) {
		fprintf(stderr, "usage: nng_req ADDRESS < KEY\n");
		return 2;
	}
	key[strcspn(key, "\n")] = '\0';
	if ((rc = nng_req0_open(&socket)) != 0) {
		fprintf(stderr, "%s\n", nng_strerror(rc));
		return 2;
	}
	if ((rc = nng_socket_set_ms(socket, NNG_OPT_RECVTIMEO, TIMEOUT_MS)) != 0 ||
	    (rc = nng_dial(socket, argv[1], NULL, 0)) != 0 ||
	    (rc = nng_send(socket, request, request_pack(key, request), 0)) != 0 ||
	    (rc = nng_recv(socket, &reply, &len, NNG_FLAG_ALLOC)) != 0) {
		fprintf(stderr, "%s: %s\n", argv[1], nng_strerror(rc));
		status = 2;
	} else {
		status = reply_show(reply, len);
		nng_free(reply, len);
	}
	explicit_bzero(key, sizeof(key));
	explicit_bzero(request, sizeof(request));
	nng_close(socket);
	return status;
}
