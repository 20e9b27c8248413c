/*
 * message.h - between records and the wire's messages, for all handlers.
 */
#ifndef MESSAGE_H
#define MESSAGE_H

#include "fob/v1/types.pb-c.h"
#include "service/rpc/call.h"

/* A field that borrows ${text}, or the first ${len} bytes of it. */
void message_text(ProtobufCBinaryData *field, const char *text);
void message_bytes(ProtobufCBinaryData *field, const void *bytes, size_t len);
/* A field that owns a copy in the call's scratch memory. Returns false when that is used up. */
bool message_copy(struct call *call, ProtobufCBinaryData *field, const void *bytes, size_t len);

/*
 * message_key(engine, digest, key, now_ms, out), message_account(engine, account, out):
 * Fill ${out}, which is initialised here and borrows its text from the record. A key whose grace has ended by ${now_ms}
 * is shown as expired, even if the sweeper has not ended it yet.
 */
void message_key(const struct engine *engine, const uint8_t digest[RECORD_DIGEST_LEN], const struct record_key *key,
    int64_t now_ms, Fob__V1__Key *out);
void message_account(const struct engine *engine, const struct record_account *account, Fob__V1__Account *out);

/*
 * message_take_account(call, field, account):
 * Check a request's account id and copy it to ${account}. Returns: 0, or a negated fault with its message set.
 */
int message_take_account(struct call *call, const ProtobufCBinaryData *field, char account[LIMIT_ACCOUNT + 1]);

#endif
