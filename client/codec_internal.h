/*
 * codec_internal.h - what codec.c and codec_cluster.c share: packing a request, reading a reply. Nobody else includes it.
 */
#ifndef CLIENT_CODEC_INTERNAL_H
#define CLIENT_CODEC_INTERNAL_H

#include "client/arena.h"
#include "client/codec.h"

/* protobuf-c's field is not const, and packing only reads it. */
ProtobufCBinaryData codec_borrow(const void *p, size_t len);

/* Returns: 0; FOB_EINVALID_ARGUMENT too large; FOB_EINTERNAL out of memory. */
int codec_pack(const ProtobufCMessage *message, struct codec_body *body, struct fob_error *error);

/* Returns: 0; FOB_EINVALID_ARGUMENT neither LIVE nor TEST. */
int codec_environment_check(enum fob_environment environment, struct fob_error *error);

/* For people: cut at a character to fit ${size} with its NUL, and what could not be shown becomes a question mark. */
void codec_text_copy(char *to, size_t size, const ProtobufCBinaryData *from);

/* Returns: FOB_EINTERNAL, with ${what} in ${error}. */
int codec_undecodable(struct fob_error *error, const char *what);

/* A reply while it is being read: everything in ${inner} lives in ${arena}. */
struct codec_reply {
	struct arena arena;
	ProtobufCMessage *inner;
};

/*
 * codec_reply_open(r, p, len, type, error):
 * Unpack the envelope, and its message of ${type}. On every return the caller calls codec_reply_close().
 * Returns: 0; the fault that the envelope says; FOB_EUNKNOWN; FOB_EINTERNAL.
 */
int codec_reply_open(struct codec_reply *r, const uint8_t *p, size_t len, const ProtobufCMessageDescriptor *type,
    struct fob_error *error);
void codec_reply_close(struct codec_reply *r);

#endif
