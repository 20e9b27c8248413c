"""What calls are given besides plain values."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Union

from fob.enums import Environment

Secret = Union[str, bytes, bytearray]  # only a bytearray can be overwritten after use: see wipe()


@dataclass(frozen=True, eq=False)
class VerifyRequest:
    """One key of a batch: exactly one of `secret` and `authorization`, the raw value of that header ("Basic ...")."""

    secret: Secret | None = field(default=None, repr=False)
    authorization: Secret | None = field(default=None, repr=False)
    operation: str | None = None
    require_environment: Environment = Environment.ANY


@dataclass(frozen=True)
class ImportAccount:
    """An account of another system. Of a key only the SHA-256 of the whole secret is given, and its last 4 letters."""

    account: str
    created_ms: int = 0  # 0: now
    secret_sha256: bytes | None = None
    secret_last4: str | None = None
    publishable_sha256: bytes | None = None
    publishable_last4: str | None = None
