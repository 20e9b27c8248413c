"""A struct fob_client: made from options, freed once, and not touched by a child process after fork()."""

from __future__ import annotations

import ctypes
import os
import threading
from os import PathLike, fspath
from typing import Any, Callable, Optional, Union

from fob import _abi, _give
from fob._library import lib
from fob.enums import ConnectionState, Environment
from fob.errors import FailedPreconditionError, FobError, InvalidArgumentError, from_c, from_fault

Path = Union[str, "PathLike[str]"]
# Called with the address, the new state, and why a connection was lost or could not be made.
OnConnection = Callable[[str, ConnectionState, Optional[FobError]], None]

forks = 0


def _count_fork() -> None:
    global forks
    forks += 1


os.register_at_fork(after_in_child=_count_fork)


class Options:
    """struct fob_options, as keyword arguments. See fob.Client for what they mean."""

    def __init__(self, addresses: tuple[str, ...], *, live: str | None, test: str | None, tls_ca: Path | None,
                 tls_certificate: tuple[Path, Path] | None, tls_server_name: str | None, timeout: float | None,
                 connect_wait: float | None, fail_fast: bool, in_flight: int | None, queue: int | None,
                 on_connection: OnConnection | None, loop: bool) -> None:
        self._pointer = lib.fob_options_new()
        if not self._pointer:
            raise MemoryError
        for address in addresses:
            self._set("add_address", address, _give.text(address, "address"))
        for environment, own in ((Environment.LIVE, live), (Environment.TEST, test)):
            if own is not None:
                self._set("set_environment_address", own, environment, _give.text(own, "address"))
        if not (addresses or live is not None or test is not None):
            raise InvalidArgumentError("no address is given")
        self._set_tls(tls_ca, tls_certificate, tls_server_name)
        if timeout is not None:
            self._set("set_timeout_ms", timeout, _give.milliseconds(timeout))
        if connect_wait is not None:
            self._set("set_connect_wait_ms", connect_wait, _give.milliseconds(connect_wait, "connect_wait"))
        self._set("set_fail_fast", fail_fast, bool(fail_fast))
        if in_flight is not None:
            self._set("set_in_flight", in_flight, _give.number(in_flight, "in_flight"))
        if queue is not None:
            self._set("set_queue", queue, _give.number(queue, "queue"))
        self._set("set_loop", loop, loop)
        self._callback = StateCallback(on_connection) if on_connection is not None else None
        if self._callback is not None:
            self._set("set_state_callback", None, self._callback.c, None)

    def _set_tls(self, ca: Path | None, certificate: tuple[Path, Path] | None, server_name: str | None) -> None:
        if ca is not None:
            self._set("set_tls_ca", ca, _give.text(fspath(ca), "tls_ca"))
        if certificate is not None:
            own, key = certificate
            self._set("set_tls_certificate", own, _give.text(fspath(own), "tls_certificate"),
                      _give.text(fspath(key), "tls_certificate"))
        if server_name is not None:
            self._set("set_tls_server_name", server_name, _give.text(server_name, "tls_server_name"))

    def _set(self, setter: str, value: object, *arguments: Any) -> None:
        fault = getattr(lib, "fob_options_" + setter)(self._pointer, *arguments)
        if fault:
            raise from_fault(fault, "%s: %r is refused" % (setter.partition("_")[2], value))

    def __del__(self) -> None:
        pointer, self._pointer = getattr(self, "_pointer", None), None
        if pointer:
            lib.fob_options_free(pointer)

    def open(self) -> Handle:
        return Handle(self._pointer, self._callback)


class StateCallback:
    """What libfob calls when a connection is made or lost."""

    def __init__(self, on_connection: OnConnection) -> None:
        self._on_connection = on_connection
        self.thread = 0  # that it runs on
        self.c = _abi.state_cb(self._called)

    def _called(self, _arg: object, address: bytes, state: int, reason: int) -> None:
        error = _abi.error.from_address(reason)
        self.thread = threading.get_ident()
        try:
            self._on_connection(address.decode(), ConnectionState(state),
                                from_c(error.fault, error) if error.message else None)
        finally:
            self.thread = 0


class Handle:
    """A struct fob_client. Whoever has it sees to it that no call is under way when it is freed."""

    def __init__(self, options: int, callback: StateCallback | None) -> None:
        out, error = ctypes.c_void_p(), _abi.error()
        fault = lib.fob_client_new(options, out, error)
        if fault:
            raise from_c(fault, error)
        self.pointer = out.value
        self._callback = callback  # lives as long as libfob may call it
        self.forks = forks

    def of_this_process(self) -> bool:
        return self.forks == forks

    def check_can_be_freed(self) -> None:
        if self._callback is not None and self._callback.thread == threading.get_ident():
            raise FailedPreconditionError("a client cannot be closed from within its on_connection")

    def free(self) -> None:
        pointer, self.pointer = self.pointer, None
        if pointer is not None and self.of_this_process():
            lib.fob_client_free(pointer)


def closed() -> FailedPreconditionError:
    return FailedPreconditionError("the client is closed")


def forked() -> FailedPreconditionError:
    return FailedPreconditionError("the client was made before fork(): make one in each process")
