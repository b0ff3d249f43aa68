"""Accounts and API keys: who may do what. Several keys may share one account, each with its own permissions.

A key may want nonces: numbers that rise strictly with every request it signs. Kraken's keys always do; any other key
does so on request, so that requests that overtake each other can be rehearsed on every face.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

DEFAULT_KEY = "sandbox-key"
DEFAULT_SECRET = "sandbox-secret"
DEFAULT_PASSPHRASE = "sandbox-passphrase"  # of every key, where a venue (OKX) wants one
DEFAULT_ACCOUNT = "main"
FUNDS = {"USDT": Decimal(100_000), "BTC": Decimal(10), "ETH": Decimal(100), "BNB": Decimal(0)}
ALL_PERMISSIONS = frozenset({"read", "cancel", "trade", "withdraw"})
A_BOTS_PERMISSIONS = ALL_PERMISSIONS - {"withdraw"}  # what a bot's key should have, and no more
NONCES_KEPT_MAX = 10_000


@dataclass(slots=True, frozen=True)
class ApiKey:
    """A key, its secret, the account it acts for, and what it may do. `alias` is how the ledger calls it.

    `wants_nonces`: on every face a signed request's nonce must rise. `nonce_window`: how far below the highest one an
    unused nonce may lie; 0 is none (Kraken support, "What is a nonce window?").
    """

    key: str
    secret: str
    account: str = DEFAULT_ACCOUNT
    permissions: frozenset[str] = A_BOTS_PERMISSIONS
    wants_nonces: bool = False
    nonce_window: int = 0
    passphrase: str = DEFAULT_PASSPHRASE

    @property
    def alias(self) -> str:
        return self.key if self.key == DEFAULT_KEY else f"{self.account}:{self.key[:4]}…"


class Nonces:
    """The nonces one key has used: the highest, and those inside its window."""

    __slots__ = ("_recent", "highest")

    def __init__(self) -> None:
        self.highest = -1
        self._recent: dict[int, None] = {}

    def take(self, nonce: int, window: int) -> bool:
        """Use a nonce; False when it was used before or lies too low."""
        if nonce in self._recent or nonce <= self.highest - window:
            return False
        if nonce <= self.highest and not window:
            return False
        self.highest = max(self.highest, nonce)
        if window:
            self._recent[nonce] = None
            if len(self._recent) > NONCES_KEPT_MAX:
                del self._recent[next(iter(self._recent))]
        return True


class KeyRing:
    """All keys of the venue."""

    def __init__(self, keys: list[ApiKey]) -> None:
        self._keys = {key.key: key for key in keys}
        self._nonces: dict[str, Nonces] = {}

    def take_nonce(self, key: ApiKey, nonce: int) -> bool:
        """Use up a nonce of the key; False when it does not rise (or lies below the key's window, or was used)."""
        return self._nonces.setdefault(key.key, Nonces()).take(nonce, key.nonce_window)

    def highest_nonces(self) -> dict[str, int]:
        return {key: nonces.highest for key, nonces in self._nonces.items()}

    def restore_nonces(self, highest: dict[str, int]) -> None:
        """What an earlier life knew; the unused ones inside a window are not remembered."""
        for key, value in highest.items():
            self._nonces.setdefault(key, Nonces()).highest = value

    def forget_nonces(self) -> None:
        self._nonces.clear()

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
    """`KEY:SECRET[:ACCOUNT[:permission+permission[:nonce[=WINDOW]]]]` as on the command line. ValueError says what is
    wrong."""
    parts = text.split(":")
    if not 2 <= len(parts) <= 5 or not all(parts):
        raise ValueError(
            f"account {text.split(':', maxsplit=1)[0]!r}: expected KEY:SECRET[:ACCOUNT[:read+trade…[:nonce[=WINDOW]]]]"
        )
    permissions, window = A_BOTS_PERMISSIONS, ""
    if len(parts) == 5:
        word, _, window = parts[4].partition("=")
        if word != "nonce" or not (window or "0").isdigit():
            raise ValueError(f"account {parts[0]!r} ends in {parts[4]!r}: expected nonce or nonce=WINDOW")
    if len(parts) >= 4:
        permissions = frozenset(parts[3].split("+"))
        if not permissions <= ALL_PERMISSIONS:
            raise ValueError(f"unknown permission in {parts[3]!r}: expected of {'+'.join(sorted(ALL_PERMISSIONS))}")
    account = parts[2] if len(parts) > 2 else DEFAULT_ACCOUNT
    return ApiKey(parts[0], parts[1], account, permissions, len(parts) == 5, int(window or 0))
