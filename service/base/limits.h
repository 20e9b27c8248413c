/*
 * limits.h - every limit of the service, and the defaults of those that are settings. OPERATIONS.md shows
 * them to users. Sizes are bytes, without a terminating NUL; the names of times end in their unit.
 */
#ifndef LIMITS_H
#define LIMITS_H

#define LIMIT_REQUEST 65536       /* one request, its envelope included, SP's header not */
#define LIMIT_EXCHANGE (LIMIT_FRAME - 4) /* the same on a listener of role "cluster" or "peer" */
#define LIMIT_ARENA (2U << 20)    /* memory to decode and answer one request */
#define LIMIT_BATCH 256           /* items of a VerifyKeys */
#define LIMIT_IMPORT 256          /* items of an ImportAccounts */
#define LIMIT_IMPORTED_SECRET 128 /* the whole secret of an imported key, at VerifyKey */
#define LIMIT_ACCOUNT 64
#define LIMIT_OPERATION 64
#define LIMIT_OPERATIONS 256 /* names in publishable_operations */
#define LIMIT_PAGE 1000
#define LIMIT_PAGE_DEFAULT 100
#define LIMIT_SCAN 10000     /* events read for one page of a filtered list */
#define LIMIT_TOKEN 32       /* exactly */
#define LIMIT_MESSAGE 240    /* a Response's message */
#define LIMIT_TRACEPARENT 55 /* exactly, W3C version 00 */
#define LIMIT_ON_BEHALF_OF 64

#define LIMIT_TIMEOUT_MS 60000
#define LIMIT_TIMEOUT_DEFAULT_MS 5000
/* In a cluster: how long a node may answer without having heard of the others. */
#define LIMIT_STALENESS_MIN_MS 1000
#define LIMIT_STALENESS_DEFAULT_MS 10000
#define LIMIT_STALENESS_MAX_MS 60000
#define LIMIT_GRACE_S 86400 /* 24 hours: the API's documented rule */
#define LIMIT_IN_GRACE 8    /* keys of one slot */
#define LIMIT_TOKEN_KEPT_MS (24 * 3600 * 1000LL)

#define LIMIT_IN_FLIGHT 64 /* unanswered changes of one connection */
#define LIMIT_CONNECTIONS 8192
/* Descriptors of closed connections that nng has not closed yet. With fobd's own they are fewer than 1,024. */
#define LIMIT_LEFT(connections) ((connections) < 768 ? (connections) : 768)
#define LIMIT_DESCRIPTORS_OWN 256 /* listeners, databases and their locks, nng's eventfds, libraries */
#define LIMIT_BACKLOG 4096        /* connections of one listener that wait to be accepted */
#define LIMIT_UNGREETED 1024      /* connections of one listener before their greeting; at it the oldest is closed */
#define LIMIT_GREETING_MS 10000   /* from accept to the greeting, TLS handshake included */
#define LIMIT_FULL_MS 200         /* how long newcomers wait for room when `connections` are open */
#define LIMIT_FRAME (256U << 10)  /* payload of a frame; a longer one closes the connection */
#define LIMIT_READ (32U << 10)    /* bytes read from one connection before the others have their turn */
#define LIMIT_UNSENT (4U << 10)   /* reply bytes of one connection; at it they leave before its next request is read */
#define LIMIT_BUFFERS (64U << 20) /* message buffers of all connections; at it the one that holds most is closed */
#define LIMIT_SEND_MS 200         /* without progress on a reply; then the connection is closed */
#define LIMIT_QUEUE 4096          /* mutations waiting for one environment's writer */
#define LIMIT_COMMIT 512          /* mutations in one commit */
#define LIMIT_BACKUP_PART (128U << 10) /* bytes of a backup in one reply */
#define LIMIT_BACKUP_KEPT_MS 60000     /* after the last request for a part */
#define LIMIT_LISTENERS 16
#define LIMIT_ADVERTISE 127 /* of a peer listener's address */
#define LIMIT_ALLOW_USERS 64 /* names in a listener's allow_users */

#endif
