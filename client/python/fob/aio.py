"""fob.aio.Client: the same calls for asyncio, on the event loop's own thread. Any number can be awaited at once.

libfob's descriptor is watched by the loop, and libfob calls back from fob_client_dispatch(). There are no threads.
"""

from __future__ import annotations

import asyncio
import ctypes
import itertools
import warnings
from types import TracebackType
from typing import Any, AsyncIterator, Callable, Generic, Iterable, Sequence, TypeVar

from fob import _abi, _give, _take, results
from fob._handle import Handle, OnConnection, Options, Path, closed, forked
from fob._library import lib_held
from fob.enums import ConnectionState, Environment, HealthStatus, ImportOutcome, Kind
from fob.errors import FobError, from_c
from fob.requests import ImportAccount, Secret, VerifyRequest

__all__ = ["Client", "Listing"]

T = TypeVar("T")

# Each call has a number, which libfob hands back. An entry is there from before the call until its callback.
_calls: dict[int, tuple[asyncio.Future[Any], Callable[..., Any]]] = {}
_numbers = itertools.count(1)


def _ended(number: int, fault: int, error: int, *result: Any) -> None:
    """Called by libfob, within dispatch: what is raised here would reach nobody, so it becomes the call's."""
    future, take = _calls.pop(number)
    if future.done():  # the task was cancelled
        return
    try:
        if fault:
            future.set_exception(from_c(fault, _abi.error.from_address(error)))
        else:
            future.set_result(take(*result))
    except Exception as e:
        if not future.get_loop().is_closed():
            future.set_exception(e)


# They live as long as the process: libfob may call them at any time until a client is freed.
_on_result = _abi.result_cb(lambda number, fault, result, error: _ended(number, fault, error, result))
_on_health = _abi.health_cb(lambda number, fault, status, error: _ended(number, fault, error, status))
_on_batch = _abi.verify_batch_cb(
    lambda number, fault, results, faults, n, error: _ended(number, fault, error, results, faults, n))
_on_import = _abi.import_cb(lambda number, fault, outcomes, n, error: _ended(number, fault, error, outcomes, n))
_on_page = _abi.page_cb(lambda number, fault, page, cursor, error: _ended(number, fault, error, page, cursor))


class Client:
    """A client of fobd for one event loop.

        async with fob.aio.Client("ipc:///run/fob/verify.sock") as client:
            verification = await client.verify(key, operation="charges.create")

    The arguments are those of fob.Client; on_connection is called by the loop. The first call, or `async with`, binds
    the client to the running loop. There a host name of an address is resolved, which the loop waits for; a path or a
    numeric address needs no waiting. Cancelling a task cancels its call; a change that was on its way may be made all
    the same. At most `queue` calls (4,096) wait for their turn; one more is refused with ResourceExhaustedError.
    """

    def __init__(self, *addresses: str, live: str | None = None, test: str | None = None, tls_ca: Path | None = None,
                 tls_certificate: tuple[Path, Path] | None = None, tls_server_name: str | None = None,
                 timeout: float | None = None, connect_wait: float | None = None, fail_fast: bool = False,
                 in_flight: int | None = None, queue: int | None = None,
                 on_connection: OnConnection | None = None) -> None:
        self._handle: Handle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._fd = -1
        self._closed = False
        self._error = _abi.error()
        self._number_of_call = ctypes.c_uint64()
        self._options = Options(
            addresses, live=live, test=test, tls_ca=tls_ca, tls_certificate=tls_certificate,
            tls_server_name=tls_server_name, timeout=timeout, connect_wait=connect_wait, fail_fast=fail_fast,
            in_flight=in_flight, queue=queue, on_connection=self._later(on_connection), loop=True)

    @staticmethod
    def _later(on_connection: OnConnection | None) -> OnConnection | None:
        """Within dispatch no code of the user runs: it might dispatch, or close the client."""
        if on_connection is None:
            return None
        call = on_connection

        def later(address: str, state: ConnectionState, reason: FobError | None) -> None:
            asyncio.get_running_loop().call_soon(call, address, state, reason)
        return later

    # ---- its life ----

    async def __aenter__(self) -> Client:
        self._open()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None,
                        traceback: TracebackType | None) -> None:
        await self.aclose()

    def _open(self) -> int | None:
        handle = self._handle
        if handle is not None and not handle.of_this_process():
            raise forked()
        loop = asyncio.get_running_loop()
        if handle is None:
            if self._closed:
                raise closed()
            self._handle = handle = self._options.open()
            self._loop, self._fd = loop, lib_held.fob_client_fd(handle.pointer)
            loop.add_reader(self._fd, lib_held.fob_client_dispatch, handle.pointer)
        elif loop is not self._loop:
            raise RuntimeError("this client belongs to another event loop")
        return handle.pointer

    async def aclose(self) -> None:
        """End every call that is under way with CallCancelledError, and close."""
        self._closed = True
        handle, self._handle = self._handle, None
        if handle is not None:
            _close(self._loop, self._fd, handle)

    def __del__(self) -> None:
        handle, self._handle = getattr(self, "_handle", None), None
        if handle is None or not handle.of_this_process():
            return
        warnings.warn("%r was not closed" % self, ResourceWarning, source=self)
        assert self._loop is not None
        try:  # on whatever thread the garbage collection runs
            self._loop.call_soon_threadsafe(_close, self._loop, self._fd, handle)
        except RuntimeError:  # the loop is closed
            handle.free()

    # ---- calls ----

    async def _call(self, function: Callable[..., int], callback: Any, take: Callable[..., T], *arguments: Any) -> T:
        """The arguments are borrowed until the call was made: libfob has copied them then."""
        pointer = self._open()
        assert self._loop is not None
        number, future = next(_numbers), self._loop.create_future()
        _calls[number] = future, take
        fault = -1  # also if the function is not called
        try:
            fault = function(pointer, *arguments, callback, number, self._number_of_call, self._error)
        finally:
            if fault:
                del _calls[number]
        if fault:
            raise from_c(fault, self._error)
        call = self._number_of_call.value
        try:
            result: T = await future
            return result
        finally:
            if number in _calls and self._handle is not None and self._handle.of_this_process():
                lib_held.fob_cancel(pointer, call)

    async def verify(self, key: Secret, *, operation: str | None = None,
                     require_environment: Environment = Environment.ANY, timeout: float | None = None,
                     traceparent: str | None = None) -> results.Verification:
        """See fob.Client.verify()."""
        request = _give.verify(operation, require_environment, timeout, traceparent)
        return await self._verify(request, _give.secret(request, key))

    async def verify_authorization(self, header: Secret | None, *, operation: str | None = None,
                                   require_environment: Environment = Environment.ANY, timeout: float | None = None,
                                   traceparent: str | None = None) -> results.Verification:
        """See fob.Client.verify_authorization()."""
        request = _give.verify(operation, require_environment, timeout, traceparent)
        return await self._verify(request, _give.authorization(request, header))

    async def _verify(self, request: _abi.verify_request, _keep: object) -> results.Verification:
        return await self._call(lib_held.fob_verify_async, _on_result, _take.verification_at, request)

    async def verify_batch(self, keys: Iterable[VerifyRequest | Secret], *, operation: str | None = None,
                           require_environment: Environment = Environment.ANY, timeout: float | None = None,
                           traceparent: str | None = None) -> list[results.Answer]:
        """See fob.Client.verify_batch()."""
        request, _keep = _give.verify_batch(keys, operation, require_environment, timeout, traceparent)
        return await self._call(lib_held.fob_verify_batch_async, _on_batch, _take.answers_at, request)

    async def create_account(self, account: str, environment: Environment, *, token: bytes | None = None,
                             timeout: float | None = None, traceparent: str | None = None,
                             on_behalf_of: str | None = None) -> results.CreatedAccount:
        """See fob.Client.create_account()."""
        return await self._call(lib_held.fob_create_account_async, _on_result, _take.created_account_at,
                                _give.account(environment, account, token, timeout, traceparent, on_behalf_of))

    async def roll_key(self, account: str, environment: Environment, *, grace_s: int | None = None,
                       expected_generation: int = 0, authorizing_secret: Secret | None = None,
                       token: bytes | None = None, timeout: float | None = None,
                       traceparent: str | None = None, on_behalf_of: str | None = None) -> results.RolledKey:
        """See fob.Client.roll_key()."""
        request, _keep = _give.roll(environment, account, grace_s, expected_generation, authorizing_secret, token,
                                    timeout, traceparent, on_behalf_of)
        return await self._call(lib_held.fob_roll_key_async, _on_result, _take.rolled_key_at, request)

    async def revoke_key(self, account: str, environment: Environment, kind: Kind, generation: int, *,
                         token: bytes | None = None, timeout: float | None = None,
                         traceparent: str | None = None, on_behalf_of: str | None = None) -> results.Key:
        """See fob.Client.revoke_key()."""
        return await self._call(lib_held.fob_revoke_key_async, _on_result, _take.key_at,
                                _give.revoke(environment, account, kind, generation, token, timeout, traceparent,
                                             on_behalf_of))

    async def suspend_account(self, account: str, environment: Environment, *, token: bytes | None = None,
                              timeout: float | None = None, traceparent: str | None = None,
                              on_behalf_of: str | None = None) -> results.Account:
        """See fob.Client.suspend_account()."""
        return await self._call(lib_held.fob_suspend_account_async, _on_result, _take.account_at,
                                _give.account(environment, account, token, timeout, traceparent, on_behalf_of))

    async def resume_account(self, account: str, environment: Environment, *, token: bytes | None = None,
                             timeout: float | None = None, traceparent: str | None = None,
                             on_behalf_of: str | None = None) -> results.Account:
        """See fob.Client.resume_account()."""
        return await self._call(lib_held.fob_resume_account_async, _on_result, _take.account_at,
                                _give.account(environment, account, token, timeout, traceparent, on_behalf_of))

    async def import_accounts(self, environment: Environment, accounts: Sequence[ImportAccount], *,
                              token: bytes | None = None, timeout: float | None = None,
                              traceparent: str | None = None, on_behalf_of: str | None = None) -> list[ImportOutcome]:
        """See fob.Client.import_accounts()."""
        return await self._call(lib_held.fob_import_accounts_async, _on_import, _take.outcomes_at,
                                _give.import_accounts(environment, accounts, token, timeout, traceparent,
                                                      on_behalf_of))

    def list_keys(self, account: str, environment: Environment, *, after: bytes = b"", page_size: int = 0,
                  timeout: float | None = None, traceparent: str | None = None) -> Listing[results.Key]:
        """See fob.Client.list_keys()."""
        return Listing(self, lib_held.fob_list_keys_async, _take.key_page_at,
                       _give.listing(environment, account, page_size, timeout, traceparent), after)

    def list_accounts(self, environment: Environment, *, after: bytes = b"", page_size: int = 0,
                      timeout: float | None = None, traceparent: str | None = None) -> Listing[results.Account]:
        """See fob.Client.list_accounts()."""
        return Listing(self, lib_held.fob_list_accounts_async, _take.account_page_at,
                       _give.listing(environment, None, page_size, timeout, traceparent), after)

    def list_events(self, environment: Environment, *, account: str | None = None, after: bytes = b"",
                    page_size: int = 0, timeout: float | None = None,
                    traceparent: str | None = None) -> Listing[results.Event]:
        """See fob.Client.list_events()."""
        return Listing(self, lib_held.fob_list_events_async, _take.event_page_at,
                       _give.listing(environment, account, page_size, timeout, traceparent), after)

    async def health(self, service: str = "", *, environment: Environment = Environment.ANY,
                     timeout: float | None = None, traceparent: str | None = None) -> HealthStatus:
        """See fob.Client.health()."""
        return await self._call(lib_held.fob_health_async, _on_health, _take.health,
                                _give.health(service, environment, timeout, traceparent))

    async def stats(self, *, environment: Environment = Environment.ANY, timeout: float | None = None,
                    traceparent: str | None = None) -> results.Stats:
        """See fob.Client.stats()."""
        return await self._call(lib_held.fob_stats_async, _on_result, _take.stats_at,
                                _give.stats(environment, timeout, traceparent))


def _close(loop: asyncio.AbstractEventLoop | None, fd: int, handle: Handle) -> None:
    # In a child the loop's selector may be the parent's: it is left alone.
    if not handle.of_this_process():
        return
    if loop is not None and not loop.is_closed():
        loop.remove_reader(fd)
    handle.free()


class Listing(Generic[T], AsyncIterator[T]):
    """An asynchronous iterator over a list, which is asked for a page at a time. See fob.client.Listing."""

    def __init__(self, client: Client, function: Callable[..., int], take: Callable[[int], list[T]],
                 request: _abi.list_request, after: bytes) -> None:
        self._client, self._function, self._take, self._request = client, function, take, request
        self._next = _give.cursor(after)
        self._page: Iterable[T] = iter(())
        self.cursor = after

    def __aiter__(self) -> Listing[T]:
        return self

    async def __anext__(self) -> T:
        while True:
            for item in self._page:
                return item
            self.cursor = _give.cursor_bytes(self._next)
            if self._next.done:
                raise StopAsyncIteration
            page, self._next = await self._client._call(self._function, _on_page, self._take_page, self._request,
                                                        self._next)
            self._page = iter(page)

    def _take_page(self, page: int, cursor: int) -> tuple[list[T], _abi.cursor]:
        return self._take(page), _abi.cursor.from_buffer_copy(_abi.cursor.from_address(cursor))
