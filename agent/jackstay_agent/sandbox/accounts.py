"""Accounts and API keys: who may do what. Several keys may share one account, each with its own permissions."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

DEFAULT_KEY = "sandbox-key"
DEFAULT_SECRET = "sandbox-secret"
DEFAULT_PASSPHRASE = "sandbox-passphrase"  # of every key, where a venue (OKX) wants one
DEFAULT_ACCOUNT = "main"
FUNDS = {"USDT": Decimal(100_000), "BTC": Decimal(10), "ETH": Decimal(100), "BNB": Decimal(0)}
ALL_PERMISSIONS = frozenset({"read", "cancel", "trade", "withdraw"})


@dataclass(slots=True, frozen=True)
class ApiKey:
    """A key, its secret, the account it acts for, and what it may do. `alias` is how the ledger calls it."""

    key: str
    secret: str
    account: str = DEFAULT_ACCOUNT
    permissions: frozenset[str] = ALL_PERMISSIONS
    passphrase: str = DEFAULT_PASSPHRASE

    @property
    def alias(self) -> str:
        return self.key if self.key == DEFAULT_KEY else f"{self.account}:{self.key[:4]}…"


class KeyRing:
    """All keys of the venue."""

    def __init__(self, keys: list[ApiKey]) -> None:
        self._keys = {key.key: key for key in keys}

    def get(self, key: str) -> ApiKey | None:
        return self._keys.get(key)

    def add(self, key: ApiKey) -> None:
        self._keys[key.key] = key

    def alias(self, key: str) -> str:
        """The key's name for the ledger: never a secret, never a whole foreign key."""
        known = self._keys.get(key)
        if known is not None:
            return known.alias
        return f"unknown:{key[:4]}…" if key else ""

    def accounts(self) -> list[str]:
        return sorted({key.account for key in self._keys.values()})


def parse_account(text: str) -> ApiKey:
    """`KEY:SECRET[:ACCOUNT[:permission+permission]]` as given on the command line. ValueError says what is wrong."""
    parts = text.split(":")
    if not 2 <= len(parts) <= 4 or not all(parts):
        raise ValueError(f"account {text.split(':', maxsplit=1)[0]!r}: expected KEY:SECRET[:ACCOUNT[:read+trade…]]")
    permissions = ALL_PERMISSIONS
    if len(parts) == 4:
        permissions = frozenset(parts[3].split("+"))
        if not permissions <= ALL_PERMISSIONS:
            raise ValueError(f"unknown permission in {parts[3]!r}: expected of {'+'.join(sorted(ALL_PERMISSIONS))}")
    return ApiKey(parts[0], parts[1], parts[2] if len(parts) > 2 else DEFAULT_ACCOUNT, permissions)
