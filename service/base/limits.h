/*
 * limits.h - every limit of the service that is not a setting, in one place. README.md shows this table to users.
 * Sizes are bytes, without a terminating NUL; times carry their unit.
 */
#ifndef LIMITS_H
#define LIMITS_H

#define LIMIT_REQUEST 65536       /* one message on the wire, envelope included */
#define LIMIT_ARENA (2U << 20)    /* memory for decoding and answering one request */
#define LIMIT_BATCH 256           /* items of a VerifyKeys */
#define LIMIT_IMPORT 256          /* items of an ImportAccounts */
#define LIMIT_IMPORTED_SECRET 128 /* an imported key's whole secret, when it is verified */
#define LIMIT_ACCOUNT 64
#define LIMIT_OPERATION 64
#define LIMIT_OPERATIONS 256 /* names in publishable_operations */
#define LIMIT_PAGE 1000
#define LIMIT_PAGE_DEFAULT 100
#define LIMIT_SCAN 10000     /* events looked at for one page of a filtered list */
#define LIMIT_TOKEN 32       /* exactly */
#define LIMIT_MESSAGE 240    /* a Response's message */
#define LIMIT_TRACEPARENT 55 /* exactly, W3C version 00 */

#define LIMIT_TIMEOUT_MS 60000
#define LIMIT_TIMEOUT_DEFAULT_MS 5000
#define LIMIT_GRACE_S 86400 /* 24 hours: the API's documented rule */
#define LIMIT_IN_GRACE 8    /* keys of one slot */
#define LIMIT_TOKEN_KEPT_MS (24 * 3600 * 1000LL)

#define LIMIT_IN_FLIGHT 64 /* changes of one connection that are not answered */
#define LIMIT_CONNECTIONS 8192
/* Descriptors of connections that have left and are being closed; with fobd's own fewer than 1,024. */
#define LIMIT_LEFT(connections) ((connections) < 768 ? (connections) : 768)
#define LIMIT_DESCRIPTORS_OWN 256 /* listeners, databases and their locks, nng's eventfds, libraries */
#define LIMIT_BACKLOG 4096       /* connections that wait to be accepted, of one listener */
#define LIMIT_UNGREETED 1024     /* connections of one listener that have not greeted; the oldest is closed */
#define LIMIT_GREETING_MS 10000  /* to greet, TLS handshake included */
#define LIMIT_FRAME (256U << 10) /* a frame's payload: a longer one closes the connection */
#define LIMIT_READ (32U << 10)   /* read of one connection before the others have their turn */
#define LIMIT_UNSENT (64U << 10) /* of replies, with which no further request is looked at until they have left */
#define LIMIT_BUFFERS (64U << 20) /* of all connections' messages: the connection that holds the most is closed */
#define LIMIT_SEND_MS 200         /* without progress of a reply, after which the connection is closed */
#define LIMIT_QUEUE 4096 /* mutations waiting for one environment's writer */
#define LIMIT_COMMIT 512 /* mutations in one commit */
#define LIMIT_LISTENERS 16
#define LIMIT_ALLOW_USERS 64 /* names in a listener's allow_users */

#endif
