"""From libfob's structs to results. A struct may be shorter than ours, when libfob is older than this package: what it
lacks is zero."""

from __future__ import annotations

import ctypes
from ctypes import Structure, c_size_t
from typing import Any, Callable, TypeVar

from fob import _abi, results
from fob.enums import Environment, EventType, HealthStatus, ImportOutcome, KeyState, Kind, OperationClass, Verdict
from fob.errors import from_fault

S = TypeVar("S", bound=Structure)
T = TypeVar("T")

_verdicts = {int(v): v for v in Verdict}
_environments = {int(e): e for e in Environment}
_kinds = {int(k): k for k in Kind}


def view(struct: type[S], address: int) -> S:
    """The struct at ${address}: borrowed, or a copy with zeros behind what is there."""
    size = c_size_t.from_address(address).value
    if size >= ctypes.sizeof(struct):
        return struct.from_address(address)
    copy = struct()
    ctypes.memmove(ctypes.addressof(copy), address, size)
    return copy


def _text(value: bytes) -> str:
    return value.decode("utf-8", "replace")


def verification(v: Any) -> results.Verification:
    return results.Verification(
        _verdicts.get(v.verdict, Verdict.DENIED), _environments.get(v.environment, Environment.ANY),
        _kinds.get(v.kind, Kind.ANY), v.livemode, v.superseded, v.generation, v.current_generation, v.created_ms,
        v.expires_ms, _text(v.account), _text(v.last4), _text(v.detail))


def verification_at(address: int) -> results.Verification:
    return verification(view(_abi.verification, address))


def key(k: _abi.key) -> results.Key:
    return results.Key(_text(k.account), Environment(k.environment), Kind(k.kind), KeyState(k.state), k.generation,
                       k.created_ms, k.expires_ms, k.ended_ms, k.last_used_ms, _text(k.last4))


def key_at(address: int) -> results.Key:
    return key(view(_abi.key, address))


def account(a: _abi.account) -> results.Account:
    return results.Account(_text(a.account), Environment(a.environment), a.suspended, a.secret_generation,
                           a.publishable_generation, a.keys_in_grace, a.created_ms, a.suspended_ms)


def account_at(address: int) -> results.Account:
    return account(view(_abi.account, address))


def event_at(address: int) -> results.Event:
    e = view(_abi.event, address)
    return results.Event(e.sequence, e.time_ms, EventType(e.type), Kind(e.kind), e.generation, e.expires_ms,
                         _text(e.account), _text(e.last4), e.uid if e.has_user else None,
                         e.pid if e.has_user and e.pid else None, _text(e.address), _text(e.certificate),
                         _text(e.on_behalf_of))


def _secret(address: int) -> bytearray:
    """A copy that can be wiped. There is never one as bytes."""
    length = 0
    while length < _abi.SECRET_SIZE and ctypes.c_byte.from_address(address + length).value:
        length += 1
    secret = bytearray(length)
    ctypes.memmove((ctypes.c_char * length).from_buffer(secret), address, length)
    return secret


def _new_key_at(address: int) -> results.NewKey:
    new = view(_abi.new_key, address)
    return results.NewKey(key_at(new.key), _secret(new.secret))


def created_account_at(address: int) -> results.CreatedAccount:
    made = view(_abi.created_account, address)
    return results.CreatedAccount(account_at(made.account), _new_key_at(made.secret_key),
                                  _new_key_at(made.publishable_key))


def rolled_key_at(address: int) -> results.RolledKey:
    rolled = view(_abi.rolled_key, address)
    return results.RolledKey(_new_key_at(rolled.new_key), key_at(rolled.old_key) if rolled.old_key else None)


def _page(struct: type[Structure], member: str, one: Callable[[int], T]) -> Callable[[int], list[T]]:
    def take(address: int) -> list[T]:
        page: Any = view(struct, address)
        items = getattr(page, member)
        return [one(items[i]) for i in range(page.n)]
    return take


key_page_at = _page(_abi.key_page, "keys", key_at)
account_page_at = _page(_abi.account_page, "accounts", account_at)
event_page_at = _page(_abi.event_page, "events", event_at)


def outcomes(numbers: Any, n: int) -> list[ImportOutcome]:
    return [ImportOutcome(numbers[i]) for i in range(n)]


def outcomes_at(address: int, n: int) -> list[ImportOutcome]:
    return outcomes((_abi.c_enum * n).from_address(address), n)


def backup_part_at(address: int) -> results.BackupPart:
    part = view(_abi.backup_part, address)
    return results.BackupPart(part.total, ctypes.string_at(part.data, part.len) if part.len else b"",
                              bytes(part.sha256), part.revision, part.event_sequence)


def health(status: int) -> HealthStatus:
    return HealthStatus(status)


def _environment_stats_at(address: int) -> results.EnvironmentStats:
    e = view(_abi.environment_stats, address)
    plain = {f[0]: getattr(e, f[0]) for f in _abi.environment_stats._fields_ if f[0] != "size"}
    plain.update(environment=Environment(e.environment), verdicts={v: e.verdicts[v] for v in Verdict},
                 group_sizes=tuple(e.group_sizes), keys_by_state={s: e.keys_by_state[s] for s in KeyState})
    return results.EnvironmentStats(**plain)


def stats_at(address: int) -> results.Stats:
    s = view(_abi.stats, address)
    return results.Stats(
        _text(s.version), s.start_ms, s.requests, tuple(s.codes), s.connections, s.open_descriptors, s.in_flight,
        s.connections_refused, s.connections_dropped, s.unrecognised,
        tuple(_environment_stats_at(s.environments[i]) for i in range(s.n_environments)),
        {(c, e): tuple(s.answered[c][e]) for c in OperationClass for e in Environment},
        {c: tuple(s.durations[c]) for c in OperationClass}, {c: s.durations_ns[c] for c in OperationClass})


def answers(verifications: Any, faults: Any, n: int) -> list[results.Answer]:
    return [results.Answer(None, from_fault(faults[i])) if faults[i] else
            results.Answer(verification(verifications[i]), None) for i in range(n)]


def answers_at(verifications: int, faults: int, n: int) -> list[results.Answer]:
    """The structs are as far apart as the request says, and shorter where libfob is older; what it lacks was zeroed."""
    return answers((_abi.verification * n).from_address(verifications), (ctypes.c_int * n).from_address(faults), n)
