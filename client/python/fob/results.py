"""What calls return: frozen dataclasses with the members of fob.h's structs. Times are milliseconds since 1970, UTC; 0
is none. A property without "_ms" gives the same time as a datetime, or None. Secrets are left out of every repr()."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone

from fob._library import lib, wipe
from fob.enums import Environment, EventType, KeyState, Kind, OperationClass, Verdict
from fob.errors import FobError

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


def _time(ms: int) -> datetime | None:
    return _EPOCH + timedelta(milliseconds=ms) if ms else None


@dataclass(frozen=True)
class Verification:
    """The answer about a key."""

    verdict: Verdict
    environment: Environment
    kind: Kind
    livemode: bool
    superseded: bool  # in grace: roll over to the newer key before expires_ms
    generation: int
    current_generation: int
    created_ms: int
    expires_ms: int  # 0: does not end
    account: str
    last4: str
    detail: str  # why not, for people

    @property
    def allows(self) -> bool:
        """True for VALID, and for nothing else."""
        return self.verdict == Verdict.VALID

    @property
    def http_status(self) -> int:
        """What the end user gets: 200, 401 or 403."""
        status: int = lib.fob_http_status(0, self.verdict)
        return status

    @property
    def created(self) -> datetime | None:
        return _time(self.created_ms)

    @property
    def expires(self) -> datetime | None:
        return _time(self.expires_ms)

    def __bool__(self) -> bool:
        raise TypeError("a Verification is neither true nor false: use .allows")


class Answer:
    """The answer to one key of a batch: a verification or a fault."""

    __slots__ = ("_verification", "error")

    def __init__(self, verification: Verification | None, error: FobError | None) -> None:
        self._verification = verification
        self.error = error

    @property
    def allows(self) -> bool:
        """True for a verification that is VALID; false also on a fault."""
        return self.error is None and self._verification is not None and self._verification.allows

    def result(self) -> Verification:
        """The verification; raises the fault where there is none."""
        if self.error is not None:
            raise self.error
        assert self._verification is not None
        return self._verification

    def __bool__(self) -> bool:
        raise TypeError("an Answer is neither true nor false: use .allows or .result()")

    def __repr__(self) -> str:
        return "Answer(%r)" % (self.error or self._verification,)


@dataclass(frozen=True)
class Key:
    account: str
    environment: Environment
    kind: Kind
    state: KeyState
    generation: int
    created_ms: int
    expires_ms: int
    ended_ms: int
    last_used_ms: int  # to the minute
    last4: str

    @property
    def created(self) -> datetime | None:
        return _time(self.created_ms)

    @property
    def expires(self) -> datetime | None:
        return _time(self.expires_ms)

    @property
    def ended(self) -> datetime | None:
        return _time(self.ended_ms)

    @property
    def last_used(self) -> datetime | None:
        return _time(self.last_used_ms)


@dataclass(frozen=True)
class Account:
    account: str
    environment: Environment
    suspended: bool
    secret_generation: int
    publishable_generation: int
    keys_in_grace: int
    created_ms: int
    suspended_ms: int

    @property
    def created(self) -> datetime | None:
        return _time(self.created_ms)


@dataclass(frozen=True)
class Event:
    sequence: int
    time_ms: int
    type: EventType
    kind: Kind
    generation: int
    expires_ms: int
    account: str
    last4: str
    uid: int | None  # who asked, over a unix socket
    pid: int | None
    address: str  # over TCP
    certificate: str  # over TLS: the common name in it
    on_behalf_of: str  # the person whom the asker named; empty: nobody. fobd cannot check it

    @property
    def time(self) -> datetime | None:
        return _time(self.time_ms)


@dataclass(frozen=True)
class NewKey:
    """A key that was just made. `secret` cannot be had again: hand it over, then wipe()."""

    key: Key
    secret: bytearray = field(repr=False, compare=False)

    def wipe(self) -> None:
        """Overwrite the secret."""
        wipe(self.secret)


@dataclass(frozen=True)
class CreatedAccount:
    account: Account
    secret_key: NewKey
    publishable_key: NewKey

    def wipe(self) -> None:
        """Overwrite both secrets."""
        self.secret_key.wipe()
        self.publishable_key.wipe()


@dataclass(frozen=True)
class RolledKey:
    new_key: NewKey
    old_key: Key | None  # None: the account was imported without a secret key

    def wipe(self) -> None:
        """Overwrite the new key's secret."""
        self.new_key.wipe()


@dataclass(frozen=True)
class BackupPart:
    """A part of a backup. `total` 0: the server is still making it."""

    total: int
    data: bytes = field(repr=False)
    sha256: bytes = field(repr=False)
    revision: int
    event_sequence: int


@dataclass(frozen=True)
class EnvironmentStats:
    environment: Environment
    serving: bool
    verdicts: dict[Verdict, int]
    mutations: int
    replays: int
    refused: int
    commits: int
    keys_expired: int
    corrupt_records: int
    accounts: int
    keys: int
    used_bytes: int
    ceiling_bytes: int
    revision: int
    event_sequence: int
    queue_depth: int
    pepper_lines: int
    rotating: bool
    rotation_keys: int
    rotation_records: int
    rotation_of_records: int
    failures: int
    group_sizes: tuple[int, ...]  # commits: [i] of at most 2**i changes, and of more than [i - 1]
    keys_counted: bool  # False: keys_by_state is not known yet
    keys_by_state: dict[KeyState, int]
    superseded_in_use: int
    superseded_in_use_end_ms: int
    in_cluster: bool  # False: what follows is 0
    cluster_agent_connected: bool
    cluster_closed: bool  # it cannot serve again without being made anew
    cluster_nodes: int
    cluster_applied: int
    cluster_head: int
    cluster_fresh_ms: int


@dataclass(frozen=True)
class Stats:
    version: str
    start_ms: int
    requests: int
    codes: tuple[int, ...]  # replies by gRPC code
    connections: int
    open_descriptors: int
    in_flight: int
    connections_refused: int
    connections_dropped: int
    unrecognised: int
    environments: tuple[EnvironmentStats, ...]
    # Replies by gRPC code. Environment.ANY: none, or several.
    answered: dict[tuple[OperationClass, Environment], tuple[int, ...]]
    # [i] counts what took at most 2**i microseconds, and longer than [i - 1]; the last counts all that took longer.
    durations: dict[OperationClass, tuple[int, ...]]
    durations_ns: dict[OperationClass, int]
