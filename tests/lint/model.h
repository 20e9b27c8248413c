/*
 * model.h - included first by `clang --analyze`, which reads one file at a time and so does not see what functions of other
 * files return. Nothing is built with it. The files that define these functions are read without it (lint.mk).
 */
#ifdef LINT_CLIENT
#include "client/error.h"
#include "client/request.h"

#define error_set(error, fault, ...) ((error_set)(error, fault, __VA_ARGS__), (fault))
/* It passes on a failure to make the request. */
#define request_run(c, r, rc, error) ((rc) != 0 ? ((request_run)(c, r, rc, error), (rc)) : (request_run)(c, r, rc, error))
#endif

#ifdef LINT_RPC
#include "service/rpc/call.h"

#define call_fault(call, fault, ...) ((call_fault)(call, fault, __VA_ARGS__), -(int)(fault))
#endif
