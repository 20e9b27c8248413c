"""Fob from Python: whose API key is this, and may it do that?

    import fob

    with fob.Client("ipc:///run/fob/verify.sock") as client:
        verification = client.verify(key, operation="charges.create")
        if verification.allows:
            serve(verification.account)

A verdict is an answer, also when it is no: see Verification. A fault, which is no answer, is raised as a FobError. The
two never mix. fob.aio has the client for asyncio, fob.asgi the middleware for ASGI.

It is libfob through ctypes: fob.h is the reference for what each call does.
"""

from fob._library import version, wipe
from fob.client import Client, Listing
from fob.enums import (ConnectionState, Environment, EventType, Fault, HealthStatus, ImportOutcome, KeyState, Kind,
                       OperationClass, Verdict)
from fob.errors import (AbortedError, AlreadyExistsError, CallCancelledError, DataLossError, DeadlineExceededError,
                        FailedPreconditionError, FobError, InternalError, InvalidArgumentError, NotFoundError,
                        OutOfRangeError, PermissionDeniedError, ResourceExhaustedError, UnauthenticatedError,
                        UnavailableError, UnimplementedError)
from fob.requests import ImportAccount, VerifyRequest
from fob.results import (Account, Answer, BackupPart, CreatedAccount, EnvironmentStats, Event, Key, NewKey, RolledKey,
                         Stats, Verification)

__all__ = [
    "AbortedError", "Account", "AlreadyExistsError", "Answer", "BackupPart", "CallCancelledError", "Client",
    "ConnectionState", "CreatedAccount", "DataLossError", "DeadlineExceededError", "Environment", "EnvironmentStats",
    "Event", "EventType", "FailedPreconditionError", "Fault", "FobError", "HealthStatus", "ImportAccount",
    "ImportOutcome", "InternalError", "InvalidArgumentError", "Key", "KeyState", "Kind", "Listing", "NewKey",
    "NotFoundError", "OperationClass", "OutOfRangeError", "PermissionDeniedError", "ResourceExhaustedError",
    "RolledKey", "Stats", "UnauthenticatedError", "UnavailableError", "UnimplementedError", "Verdict", "Verification",
    "VerifyRequest", "version", "wipe",
]
