"""From arguments to libfob's structs. What ctypes would cut or wrap without a word is refused here: text with a NUL,
numbers that do not fit.

A secret is handed over where it is, not copied: Python could not overwrite the copy.
"""

from __future__ import annotations

import ctypes
import math
from ctypes import Structure, c_ssize_t, py_object
from typing import Any, Iterable, Sequence, TypeVar

from fob import _abi
from fob.enums import Environment, Kind
from fob.errors import InvalidArgumentError
from fob.requests import ImportAccount, Secret, VerifyRequest

S = TypeVar("S", bound=Structure)

# Where the UTF-8 of a str is, within the str. Of the stable ABI, so every CPython has it.
_utf8 = ctypes.pythonapi.PyUnicode_AsUTF8AndSize
_utf8.restype = ctypes.c_void_p
_utf8.argtypes = [py_object, ctypes.POINTER(c_ssize_t)]

_EMPTY = b""


def new(struct: type[S]) -> S:
    """As the macro FOB_..._INIT does."""
    return struct(ctypes.sizeof(struct))


def environment(value: Environment) -> int:
    # A number would pass as the enum's zero, which means any.
    if not isinstance(value, Environment):
        raise TypeError("an environment is a fob.Environment, not %s" % type(value).__name__)
    return int(value)


def _kind(value: Kind) -> int:
    if not isinstance(value, Kind):
        raise TypeError("a kind is a fob.Kind, not %s" % type(value).__name__)
    return int(value)


def text(value: str | None, what: str) -> bytes | None:
    if value is None:
        return None
    if not isinstance(value, str):
        raise TypeError("%s is a str, not %s" % (what, type(value).__name__))
    if "\0" in value:
        raise InvalidArgumentError("%s holds a NUL" % what)
    try:
        return value.encode()
    except UnicodeEncodeError:
        raise InvalidArgumentError("%s is not Unicode text" % what) from None


def number(value: int, what: str, most: int = 0xffffffff) -> int:
    if not isinstance(value, int):
        raise TypeError("%s is an int, not %s" % (what, type(value).__name__))
    if not 0 <= value <= most:
        raise InvalidArgumentError("%s is not from 0 to %d" % (what, most))
    return value


def milliseconds(seconds: float | None, what: str = "timeout") -> int:
    """0, which means the default, for None only."""
    if seconds is None:
        return 0
    if not 0 < seconds <= _abi.TIMEOUT_MAX_MS / 1000:
        raise InvalidArgumentError("%s is not more than 0 and at most %d seconds" % (what, _abi.TIMEOUT_MAX_MS // 1000))
    return math.ceil(seconds * 1000)


def _bytes(value: bytes | None, what: str, length: int) -> bytes | None:
    if value is None:
        return None
    if not isinstance(value, bytes):
        raise TypeError("%s is bytes, not %s" % (what, type(value).__name__))
    if len(value) != length:
        raise InvalidArgumentError("%s is not %d bytes long" % (what, length))
    return value


def _secret(value: Secret, what: str) -> tuple[Any, int, object]:
    """What a member of type c_char_p is set to, the length, and what must live until the call has returned."""
    if isinstance(value, bytes):
        return value, len(value), value
    if isinstance(value, str):
        length = c_ssize_t()
        try:
            return _utf8(value, length), length.value, value
        except UnicodeEncodeError:  # it has the secret in it
            raise InvalidArgumentError("%s is not Unicode text" % what) from None
    if isinstance(value, bytearray):
        if not value:
            return _EMPTY, 0, value
        here = (ctypes.c_char * len(value)).from_buffer(value)  # while it lives the bytearray keeps its place
        return ctypes.addressof(here), len(value), here
    raise TypeError("%s is a str, bytes or bytearray, not %s" % (what, type(value).__name__))


def secret(request: Any, value: Secret) -> object:
    """Set the request's secret. Keep what is returned until the call has returned."""
    request.secret, request.secret_len, keep = _secret(value, "the key")
    return keep


def authorization(request: Any, value: Secret | None) -> object:
    """Set the request's Authorization header, or that there is none. Keep what is returned, as with secret()."""
    request.authorization, request.authorization_len, keep = _secret(_EMPTY if value is None else value, "the header")
    return keep


def terms(request: Any, timeout: float | None, traceparent: str | None) -> None:
    if timeout is not None:
        request.timeout_ms = milliseconds(timeout)
    if traceparent is not None:
        request.traceparent = text(traceparent, "traceparent")


def change_terms(request: Any, token: bytes | None, timeout: float | None, traceparent: str | None,
                 on_behalf_of: str | None) -> None:
    request.token = _bytes(token, "token", _abi.TOKEN_LEN)
    request.on_behalf_of = text(on_behalf_of, "on_behalf_of")
    terms(request, timeout, traceparent)


def verify(operation: str | None, require_environment: Environment, timeout: float | None,
           traceparent: str | None) -> _abi.verify_request:
    request = _abi.verify_request(_VERIFY_SIZE)
    if operation is not None:
        request.operation = text(operation, "operation")
    if require_environment is not Environment.ANY:
        request.require_environment = environment(require_environment)
    if timeout is not None or traceparent is not None:
        terms(request, timeout, traceparent)
    return request


_VERIFY_SIZE = ctypes.sizeof(_abi.verify_request)


def _batch_item(item: Any, given: VerifyRequest) -> object:
    item.operation = text(given.operation, "operation")
    item.require_environment = environment(given.require_environment)
    if (given.secret is None) == (given.authorization is None):
        raise InvalidArgumentError("a VerifyRequest has exactly one of secret and authorization")
    if given.secret is not None:
        return secret(item, given.secret)
    return authorization(item, given.authorization)


def verify_batch(keys: Iterable[VerifyRequest | Secret], operation: str | None, require_environment: Environment,
                 timeout: float | None, traceparent: str | None) -> tuple[_abi.verify_batch_request, object]:
    """The request, and what must live until the call has returned."""
    keys = list(keys)
    if not 1 <= len(keys) <= _abi.BATCH_MAX:
        raise InvalidArgumentError("a batch has 1 to %d keys" % _abi.BATCH_MAX)
    its_operation, its_environment = text(operation, "operation"), environment(require_environment)
    items, keep = (_abi.verify_request * len(keys))(), []
    for item, key in zip(items, keys):
        item.size = _VERIFY_SIZE
        if isinstance(key, VerifyRequest):
            keep.append(_batch_item(item, key))
        else:
            item.operation, item.require_environment = its_operation, its_environment
            keep.append(secret(item, key))
    batch = new(_abi.verify_batch_request)
    batch.request_size, batch.result_size = _VERIFY_SIZE, ctypes.sizeof(_abi.verification)
    batch.requests, batch.n = items, len(keys)
    terms(batch, timeout, traceparent)
    return batch, (items, keep)


def account(environment_: Environment, account_: str, token: bytes | None, timeout: float | None,
            traceparent: str | None, on_behalf_of: str | None) -> _abi.account_request:
    request = new(_abi.account_request)
    request.environment, request.account = environment(environment_), text(account_, "account")
    change_terms(request, token, timeout, traceparent, on_behalf_of)
    return request


def roll(environment_: Environment, account_: str, grace_s: int | None, expected_generation: int,
         authorizing_secret: Secret | None, token: bytes | None, timeout: float | None,
         traceparent: str | None, on_behalf_of: str | None) -> tuple[_abi.roll_request, object]:
    """The request, and what must live until the call has returned."""
    request, keep = new(_abi.roll_request), None
    request.environment, request.account = environment(environment_), text(account_, "account")
    if grace_s is not None:  # in fob.h 0 is the default, and none at all is a number of its own
        request.grace_s = number(grace_s, "grace_s", _abi.GRACE_MAX_S) or _abi.GRACE_NONE_S
    request.expected_generation = number(expected_generation, "expected_generation")
    if authorizing_secret is not None:
        request.authorizing_secret, request.authorizing_secret_len, keep = _secret(authorizing_secret, "the key")
    change_terms(request, token, timeout, traceparent, on_behalf_of)
    return request, keep


def revoke(environment_: Environment, account_: str, kind: Kind, generation: int, token: bytes | None,
           timeout: float | None, traceparent: str | None, on_behalf_of: str | None) -> _abi.revoke_request:
    request = new(_abi.revoke_request)
    request.environment, request.account = environment(environment_), text(account_, "account")
    request.kind, request.generation = _kind(kind), number(generation, "generation")
    change_terms(request, token, timeout, traceparent, on_behalf_of)
    return request


def _import_item(item: Any, given: ImportAccount) -> None:
    item.size = ctypes.sizeof(_abi.import_account)
    item.account = text(given.account, "account")
    item.created_ms = number(given.created_ms, "created_ms", 0x7fffffffffffffff)
    item.secret_sha256 = _bytes(given.secret_sha256, "secret_sha256", _abi.SHA256_LEN)
    item.secret_last4 = text(given.secret_last4, "secret_last4")
    item.publishable_sha256 = _bytes(given.publishable_sha256, "publishable_sha256", _abi.SHA256_LEN)
    item.publishable_last4 = text(given.publishable_last4, "publishable_last4")


def import_accounts(environment_: Environment, accounts: Sequence[ImportAccount], token: bytes | None,
                    timeout: float | None, traceparent: str | None, on_behalf_of: str | None) -> _abi.import_request:
    if not 1 <= len(accounts) <= _abi.IMPORT_MAX:
        raise InvalidArgumentError("an import has 1 to %d accounts" % _abi.IMPORT_MAX)
    items = (_abi.import_account * len(accounts))()
    for item, given in zip(items, accounts):
        _import_item(item, given)
    request = new(_abi.import_request)
    request.account_size, request.environment = ctypes.sizeof(_abi.import_account), environment(environment_)
    request.accounts, request.n = items, len(accounts)
    change_terms(request, token, timeout, traceparent, on_behalf_of)
    return request


def listing(environment_: Environment, account_: str | None, page_size: int, timeout: float | None,
            traceparent: str | None) -> _abi.list_request:
    request = new(_abi.list_request)
    request.environment, request.account = environment(environment_), text(account_, "account")
    request.page_size = number(page_size, "page_size")
    terms(request, timeout, traceparent)
    return request


def cursor(value: bytes) -> _abi.cursor:
    start = _abi.cursor()
    if len(value) > len(start.bytes):
        raise InvalidArgumentError("this is not a cursor")
    start.len = len(value)
    start.bytes[:len(value)] = value
    return start


def cursor_bytes(value: _abi.cursor) -> bytes:
    return bytes(value.bytes[:value.len])


def backup(environment_: Environment, backup_: bytes, offset: int, timeout: float | None,
           traceparent: str | None) -> _abi.backup_request:
    request = new(_abi.backup_request)
    request.environment, request.backup = environment(environment_), _bytes(backup_, "backup", _abi.BACKUP_LEN)
    request.offset = number(offset, "offset", 0xffffffffffffffff)
    terms(request, timeout, traceparent)
    return request


def health(service: str, environment_: Environment, timeout: float | None,
           traceparent: str | None) -> _abi.health_request:
    request = new(_abi.health_request)
    request.service, request.environment = text(service, "service"), environment(environment_)
    terms(request, timeout, traceparent)
    return request


def stats(environment_: Environment, timeout: float | None, traceparent: str | None) -> _abi.stats_request:
    request = new(_abi.stats_request)
    request.environment = environment(environment_)
    terms(request, timeout, traceparent)
    return request
