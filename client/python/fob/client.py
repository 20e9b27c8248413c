"""fob.Client: calls that wait for their answer."""

from __future__ import annotations

import atexit
import ctypes
import threading
import warnings
from types import TracebackType
from typing import Any, Callable, Generic, Iterable, Iterator, Sequence, TypeVar

from fob import _abi, _give, _take, results
from fob._handle import Handle, OnConnection, Options, Path, closed, forked
from fob._library import lib
from fob.enums import Environment, HealthStatus, ImportOutcome, Kind
from fob.errors import from_c
from fob.requests import ImportAccount, Secret, VerifyRequest

T = TypeVar("T")

# Clients whose callback is called by a thread of libfob: that must end before the interpreter does, and not be ended by
# a garbage collection that runs on it. So they live until they are closed.
_with_thread: set[Client] = set()


@atexit.register
def _close_threads() -> None:
    for client in list(_with_thread):
        client.close()


class Client:
    """A client of fobd, for any number of threads. It connects by itself, and again when a connection is lost.

        with fob.Client("ipc:///run/fob/verify.sock") as client:
            if client.verify(key, operation="charges.create").allows:
                ...

    addresses: ipc://PATH, tcp://HOST:PORT or tls+tcp://HOST:PORT. Of several, which must serve the same databases, the
        first that can be connected to is used. live, test: addresses for one environment only.
    tls_ca, tls_certificate, tls_server_name: PEM files: the CA of the server, and (certificate, key) of our own; the
        name in the server's certificate, by default the host of the address.
    timeout: seconds that a call may take, 5 by default and 60 at most. Each call can have its own.
    connect_wait: seconds that a call waits for a connection; by default until its timeout.
    fail_fast: while fobd is down, calls end at once.
    in_flight, queue: see fob_options_set_in_flight() and fob_options_set_queue() in fob.h.
    on_connection: called on a thread of libfob when a connection is made or lost.

    Every call raises a FobError when there is no answer. A client does not survive fork(): in the child its calls raise
    FailedPreconditionError, and the child makes a client of its own.
    """

    def __init__(self, *addresses: str, live: str | None = None, test: str | None = None, tls_ca: Path | None = None,
                 tls_certificate: tuple[Path, Path] | None = None, tls_server_name: str | None = None,
                 timeout: float | None = None, connect_wait: float | None = None, fail_fast: bool = False,
                 in_flight: int | None = None, queue: int | None = None,
                 on_connection: OnConnection | None = None) -> None:
        self._handle: Handle | None = None
        options = Options(
            addresses, live=live, test=test, tls_ca=tls_ca, tls_certificate=tls_certificate,
            tls_server_name=tls_server_name, timeout=timeout, connect_wait=connect_wait, fail_fast=fail_fast,
            in_flight=in_flight, queue=queue, on_connection=on_connection, loop=False)
        self._idle = threading.Condition(threading.Lock())
        self._under_way = 0
        self._handle = options.open()
        if on_connection is not None:
            _with_thread.add(self)

    # ---- its life ----

    def __enter__(self) -> Client:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 traceback: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Refuse new calls, wait for those of other threads, which end by their timeouts, and close."""
        handle = self._handle
        if handle is not None:
            handle.check_can_be_freed()
            if not handle.of_this_process():
                self._handle = None
                return
        _with_thread.discard(self)
        with self._idle:
            handle, self._handle = self._handle, None
            # An exception of a signal's handler may have come between the two halves of a call's count. Then nothing is
            # freed: better a client too many than one that is freed under a call.
            idle = self._idle.wait_for(lambda: self._under_way == 0, _abi.TIMEOUT_MAX_MS / 1000 + 5)
        if handle is not None and idle:
            handle.free()

    def __del__(self) -> None:
        handle, self._handle = getattr(self, "_handle", None), None
        if handle is not None and handle.of_this_process():
            warnings.warn("%r was not closed" % self, ResourceWarning, source=self)
            handle.free()

    def _enter(self) -> int | None:
        handle = self._handle
        if handle is not None and not handle.of_this_process():
            raise forked()  # before the lock, which another thread of the parent may have held
        with self._idle:
            if self._handle is None:
                raise closed()
            self._under_way += 1
            return self._handle.pointer

    def _leave(self) -> None:
        with self._idle:
            self._under_way -= 1
            if self._under_way == 0:
                self._idle.notify_all()

    def _call(self, function: Callable[..., int], *arguments: Any) -> None:
        error = _abi.error()
        pointer = self._enter()
        try:
            fault = function(pointer, *arguments, error)
        finally:
            self._leave()
        if fault:
            raise from_c(fault, error)

    def _make(self, function: Callable[..., int], free: Callable[[int], None], take: Callable[[int], T],
              *arguments: Any) -> T:
        """A call whose result libfob makes, and frees; secrets are wiped there then."""
        out = ctypes.c_void_p()
        self._call(function, *arguments, out)
        assert out.value is not None
        try:
            return take(out.value)
        finally:
            free(out.value)

    # ---- verify ----

    def verify(self, key: Secret, *, operation: str | None = None, require_environment: Environment = Environment.ANY,
               timeout: float | None = None, traceparent: str | None = None) -> results.Verification:
        """Whose key is this, and may it do `operation` (None: authenticate only)? A denied key is an answer, too."""
        request = _give.verify(operation, require_environment, timeout, traceparent)
        return self._verify(request, _give.secret(request, key))

    def verify_authorization(self, header: Secret | None, *, operation: str | None = None,
                             require_environment: Environment = Environment.ANY, timeout: float | None = None,
                             traceparent: str | None = None) -> results.Verification:
        """The same with the raw value of an Authorization header, "Basic ...". None: there was none, so MALFORMED."""
        request = _give.verify(operation, require_environment, timeout, traceparent)
        return self._verify(request, _give.authorization(request, header))

    def _verify(self, request: _abi.verify_request, _keep: object) -> results.Verification:
        v = _give.new(_abi.verification)
        self._call(lib.fob_verify, request, v)
        return _take.verification(v)

    def verify_batch(self, keys: Iterable[VerifyRequest | Secret], *, operation: str | None = None,
                     require_environment: Environment = Environment.ANY, timeout: float | None = None,
                     traceparent: str | None = None) -> list[results.Answer]:
        """Verify 1 to 256 keys in one message; each has its own answer. `operation` and `require_environment` are for
        plain keys. Raises a FobError when none was answered."""
        request, _keep = _give.verify_batch(keys, operation, require_environment, timeout, traceparent)
        verifications = (_abi.verification * request.n)()
        faults = (ctypes.c_int * request.n)()
        self._call(lib.fob_verify_batch, request, verifications, faults)
        return _take.answers(verifications, faults, request.n)

    # ---- changes (an admin listener) ----
    #
    # token: 32 random bytes, kept secret. With the same token and arguments the same reply comes back for 24 hours.
    # None: libfob makes one and resends under it, so that a lost connection never applies a change twice.
    # on_behalf_of: the person for whom the caller asks. The change's event names it; fobd cannot check it.

    def create_account(self, account: str, environment: Environment, *, token: bytes | None = None,
                       timeout: float | None = None, traceparent: str | None = None,
                       on_behalf_of: str | None = None) -> results.CreatedAccount:
        """Make an account in one environment, with its two keys. Hand over the secrets, then wipe() the result."""
        return self._make(lib.fob_create_account, lib.fob_created_account_free, _take.created_account_at,
                          _give.account(environment, account, token, timeout, traceparent, on_behalf_of))

    def roll_key(self, account: str, environment: Environment, *, grace_s: int | None = None,
                 expected_generation: int = 0, authorizing_secret: Secret | None = None, token: bytes | None = None,
                 timeout: float | None = None, traceparent: str | None = None,
                 on_behalf_of: str | None = None) -> results.RolledKey:
        """Make a new secret key. The old one works for grace_s more seconds: None is fobd's default, 24 hours, and 0
        ends a leaked key at once. AbortedError: expected_generation is not the current one."""
        request, _keep = _give.roll(environment, account, grace_s, expected_generation, authorizing_secret, token,
                                    timeout, traceparent, on_behalf_of)
        return self._make(lib.fob_roll_key, lib.fob_rolled_key_free, _take.rolled_key_at, request)

    def revoke_key(self, account: str, environment: Environment, kind: Kind, generation: int, *,
                   token: bytes | None = None, timeout: float | None = None,
                   traceparent: str | None = None, on_behalf_of: str | None = None) -> results.Key:
        """End one key now."""
        out = _give.new(_abi.key)
        self._call(lib.fob_revoke_key,
                   _give.revoke(environment, account, kind, generation, token, timeout, traceparent, on_behalf_of),
                   out)
        return _take.key(out)

    def suspend_account(self, account: str, environment: Environment, *, token: bytes | None = None,
                        timeout: float | None = None, traceparent: str | None = None,
                        on_behalf_of: str | None = None) -> results.Account:
        """Deny all keys of an account until it is resumed."""
        return self._set_account(lib.fob_suspend_account, environment, account, token, timeout, traceparent,
                                 on_behalf_of)

    def resume_account(self, account: str, environment: Environment, *, token: bytes | None = None,
                       timeout: float | None = None, traceparent: str | None = None,
                       on_behalf_of: str | None = None) -> results.Account:
        """Let the keys of a suspended account be verified again."""
        return self._set_account(lib.fob_resume_account, environment, account, token, timeout, traceparent,
                                 on_behalf_of)

    def _set_account(self, function: Callable[..., int], *arguments: Any) -> results.Account:
        out = _give.new(_abi.account)
        self._call(function, _give.account(*arguments), out)
        return _take.account(out)

    def import_accounts(self, environment: Environment, accounts: Sequence[ImportAccount], *,
                        token: bytes | None = None, timeout: float | None = None,
                        traceparent: str | None = None, on_behalf_of: str | None = None) -> list[ImportOutcome]:
        """Take 1 to 256 accounts of another system over, committed together. Says what became of each."""
        request = _give.import_accounts(environment, accounts, token, timeout, traceparent, on_behalf_of)
        outcomes = (_abi.c_enum * request.n)()
        self._call(lib.fob_import_accounts, request, outcomes)
        return _take.outcomes(outcomes, request.n)

    # ---- lists ----

    def list_keys(self, account: str, environment: Environment, *, after: bytes = b"", page_size: int = 0,
                  timeout: float | None = None, traceparent: str | None = None) -> Listing[results.Key]:
        """All keys of an account. `timeout` is for each page, of `page_size` (0: 100)."""
        return Listing(self, lib.fob_list_keys, lib.fob_key_page_free, _take.key_page_at,
                       _give.listing(environment, account, page_size, timeout, traceparent), after)

    def list_accounts(self, environment: Environment, *, after: bytes = b"", page_size: int = 0,
                      timeout: float | None = None, traceparent: str | None = None) -> Listing[results.Account]:
        """All accounts of one environment."""
        return Listing(self, lib.fob_list_accounts, lib.fob_account_page_free, _take.account_page_at,
                       _give.listing(environment, None, page_size, timeout, traceparent), after)

    def list_events(self, environment: Environment, *, account: str | None = None, after: bytes = b"",
                    page_size: int = 0, timeout: float | None = None,
                    traceparent: str | None = None) -> Listing[results.Event]:
        """Events, oldest first, of one account or of all. It ends where there is nothing newer; to go on later, give
        its `cursor` as `after`."""
        return Listing(self, lib.fob_list_events, lib.fob_event_page_free, _take.event_page_at,
                       _give.listing(environment, account, page_size, timeout, traceparent), after)

    # ---- the server ----

    def health(self, service: str = "", *, environment: Environment = Environment.ANY, timeout: float | None = None,
               traceparent: str | None = None) -> HealthStatus:
        """Of all, or of "fob.v1.Keys", "fob.v1.Admin", "live" or "test". `environment` says whose address to ask at."""
        status = _abi.c_enum()
        self._call(lib.fob_health, _give.health(service, environment, timeout, traceparent), status)
        return _take.health(status.value)

    def stats(self, *, environment: Environment = Environment.ANY, timeout: float | None = None,
              traceparent: str | None = None) -> results.Stats:
        """The server's counters."""
        return self._make(lib.fob_stats, lib.fob_stats_free, _take.stats_at,
                          _give.stats(environment, timeout, traceparent))

    def read_backup(self, environment: Environment, backup: bytes, offset: int, *, timeout: float | None = None,
                    traceparent: str | None = None) -> results.BackupPart:
        """One part of a backup, at an admin listener. fob_read_backup() in fob.h says how to read all of one; the
        command `fob backup` does so."""
        return self._make(lib.fob_read_backup, lib.fob_backup_part_free, _take.backup_part_at,
                          _give.backup(environment, backup, offset, timeout, traceparent))


class Listing(Generic[T], Iterator[T]):
    """An iterator over a list, which is asked for a page at a time."""

    def __init__(self, client: Client, function: Callable[..., int], free: Callable[[int], None],
                 take: Callable[[int], list[T]], request: _abi.list_request, after: bytes) -> None:
        self._client, self._function, self._free, self._take = client, function, free, take
        self._request = request
        self._next = _give.cursor(after)
        self._page: Iterator[T] = iter(())
        self.cursor = after  # of what was read: the start of a page that was not read to its end

    def __iter__(self) -> Listing[T]:
        return self

    def __next__(self) -> T:
        while True:
            for item in self._page:
                return item
            self.cursor = _give.cursor_bytes(self._next)
            if self._next.done:
                raise StopIteration
            self._page = iter(self._client._make(self._function, self._free, self._take, self._request, self._next))
