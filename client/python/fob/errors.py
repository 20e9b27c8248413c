"""Faults: libfob could not say anything about the key. A verdict, such as REVOKED, is never raised."""

from __future__ import annotations

from fob import _abi
from fob._library import lib
from fob.enums import Fault


class FobError(Exception):
    """A call has failed. `fault` says how, `message` is for people and logs and never holds a secret."""

    fault: Fault = Fault.UNKNOWN

    def __init__(self, message: str, fault: Fault | None = None) -> None:
        super().__init__(message)
        self.message = message
        if fault is not None:
            self.fault = fault

    def __str__(self) -> str:
        return "%s: %s" % (self.fault, self.message) if self.message else str(self.fault)

    @property
    def http_status(self) -> int:
        """What the end user gets: 503, or 500 where a retry cannot help."""
        status: int = lib.fob_http_status(self.fault, 0)
        return status


class CallCancelledError(FobError):
    """The client was closed. A change may or may not have been made."""

    fault = Fault.CANCELLED


class InvalidArgumentError(FobError, ValueError):
    """The request can never succeed as it is."""

    fault = Fault.INVALID_ARGUMENT


class DeadlineExceededError(FobError):
    """No answer in time. A change may or may not have been made."""

    fault = Fault.DEADLINE_EXCEEDED


class NotFoundError(FobError):
    """No such account, key or method. Of a key that is verified, the verdict NOT_FOUND says so."""

    fault = Fault.NOT_FOUND


class AlreadyExistsError(FobError):
    """The account exists, or the token was used for another request."""

    fault = Fault.ALREADY_EXISTS


class PermissionDeniedError(FobError):
    """Not on this listener, or not with this secret."""

    fault = Fault.PERMISSION_DENIED


class ResourceExhaustedError(FobError):
    """A limit. The message says which, and when to try again."""

    fault = Fault.RESOURCE_EXHAUSTED


class FailedPreconditionError(FobError):
    """Not now: the client is closed or another process's, or the server's state does not allow it."""

    fault = Fault.FAILED_PRECONDITION


class AbortedError(FobError):
    """expected_generation is not the current one."""

    fault = Fault.ABORTED


class OutOfRangeError(FobError):
    fault = Fault.OUT_OF_RANGE


class UnimplementedError(FobError):
    """The server does not know the method."""

    fault = Fault.UNIMPLEMENTED


class InternalError(FobError):
    """A bug, or out of memory, or a reply that could not be decoded."""

    fault = Fault.INTERNAL


class UnavailableError(FobError):
    """Not connected, draining, or the store of that environment has failed."""

    fault = Fault.UNAVAILABLE


class DataLossError(FobError):
    fault = Fault.DATA_LOSS


class UnauthenticatedError(FobError):
    fault = Fault.UNAUTHENTICATED


_BY_FAULT: dict[int, type[FobError]] = {c.fault: c for c in FobError.__subclasses__()}


def from_fault(fault: int, message: str = "") -> FobError:
    """The error of a negative number that libfob returned."""
    return _BY_FAULT.get(fault, FobError)(message)


def from_c(fault: int, error: _abi.error) -> FobError:
    message: bytes = error.message
    return from_fault(fault, message.decode(errors="replace"))
