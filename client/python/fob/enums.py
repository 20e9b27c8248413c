"""The enums of fob.h. str() of a member is the stable name that libfob and the command line have for it.

A number that this package does not know is the enum's zero, as fob.h says: a new verdict denies.
"""

from __future__ import annotations

import enum
from typing import Any


class _Enum(enum.IntEnum):
    @classmethod
    def _missing_(cls, value: object) -> Any:
        return cls(0) if isinstance(value, int) and value != 0 else None

    def __str__(self) -> str:
        return self.name

    def __format__(self, spec: str) -> str:
        return format(str(self), spec)


class _Lower(_Enum):
    """An enum whose stable names are in lower case."""

    def __str__(self) -> str:
        return self.name if self.name == "UNKNOWN" else self.name.lower()


class Environment(_Lower):
    ANY = 0
    LIVE = 1
    TEST = 2


class Kind(_Lower):
    ANY = 0
    SECRET = 1
    PUBLISHABLE = 2


class Verdict(_Enum):
    """The answer about a key. Only VALID lets a request through."""

    DENIED = 0
    VALID = 1
    MALFORMED = 2
    NOT_FOUND = 3
    EXPIRED = 4
    REVOKED = 5
    SUSPENDED = 6
    WRONG_ENVIRONMENT = 7
    FORBIDDEN = 8


class KeyState(_Lower):
    UNKNOWN = 0
    CURRENT = 1
    GRACE = 2
    EXPIRED = 3
    REVOKED = 4


class EventType(_Lower):
    UNKNOWN = 0
    ACCOUNT_CREATED = 1
    KEY_ROLLED = 2
    KEY_EXPIRED = 3
    KEY_REVOKED = 4
    ACCOUNT_SUSPENDED = 5
    ACCOUNT_RESUMED = 6
    ACCOUNT_IMPORTED = 7
    RESTORED = 8


class HealthStatus(_Enum):
    """Only SERVING is healthy."""

    UNKNOWN = 0
    SERVING = 1
    NOT_SERVING = 2


class ConnectionState(_Enum):
    LOST = 0
    MADE = 1


class ImportOutcome(_Lower):
    """What became of an account of an import. Only IMPORTED and UNCHANGED are success."""

    UNKNOWN = 0
    IMPORTED = 1
    UNCHANGED = 2
    ACCOUNT_CONFLICT = 3
    KEY_CONFLICT = 4
    BAD_ACCOUNT = 5
    BAD_KEY = 6
    BAD_TIME = 7


class OperationClass(_Lower):
    OTHER = 0
    VERIFY = 1
    VERIFY_BATCH = 2
    CHANGE = 3
    LIST = 4
    BACKUP = 5
    HEALTH = 6
    CLUSTER = 7


class Fault(_Enum):
    """Why there is no answer: libfob's negative numbers."""

    CANCELLED = -1
    UNKNOWN = -2
    INVALID_ARGUMENT = -3
    DEADLINE_EXCEEDED = -4
    NOT_FOUND = -5
    ALREADY_EXISTS = -6
    PERMISSION_DENIED = -7
    RESOURCE_EXHAUSTED = -8
    FAILED_PRECONDITION = -9
    ABORTED = -10
    OUT_OF_RANGE = -11
    UNIMPLEMENTED = -12
    INTERNAL = -13
    UNAVAILABLE = -14
    DATA_LOSS = -15
    UNAUTHENTICATED = -16

    @classmethod
    def _missing_(cls, value: object) -> Any:
        return cls.UNKNOWN if isinstance(value, int) and value < 0 else None
