"""Numbers that only ever rise, for venues that want one with each signed request (Kraken: a nonce per key).

A nonce follows the clock (ms) and never repeats or falls, not after a restart, not after a clock step: every value is
below a *high-water mark* that is persisted before the first value under it is used, so a restart begins above whatever
may have been used. Persisting is an argument; it is called seldom (once per ``ahead``), not per nonce.
"""

from __future__ import annotations

import json
from collections.abc import Callable

from jackstay_protocols.errors import ValidationError

NONCE_MAX = 2**63 - 1  # venues keep 64 bits
AHEAD = 10_000  # ten seconds of a millisecond clock


KEYS_MAX = 1_024  # keys whose highest number is remembered; a bot has a few


def nonce_of(body: bytes) -> int | None:
    """The number that a signed form or JSON body carries; None where there is none that can be read."""
    if body[:1] == b"{":
        try:
            document = json.loads(body)
        except ValueError:
            return None
        text = str(document.get("nonce", ""))
    else:
        text = next((part[6:] for part in body.split(b"&") if part.startswith(b"nonce=")), b"").decode("latin-1")
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 20 else None


class LeftNonces:
    """The highest number that has left for each key, whoever signed it.

    A queued request that its bot signed keeps its number while it waits. Once a higher one of its key has left, the
    venue would refuse it as a replay: it is overtaken, and need not leave at all.
    """

    def __init__(self) -> None:
        self._highest: dict[str, int] = {}

    def leaves(self, key: str, nonce: int) -> int:
        """This one is on its way; returns what `returned` needs."""
        before = self._highest.pop(key, 0)
        self._highest[key] = max(before, nonce)
        if len(self._highest) > KEYS_MAX:
            del self._highest[next(iter(self._highest))]
        return before

    def returned(self, key: str, nonce: int, before: int) -> None:
        """Provably no byte of it left: it overtook nothing."""
        if self._highest.get(key) == nonce:
            self._highest[key] = before

    def overtaken(self, key: str, nonce: int) -> bool:
        return nonce < self._highest.get(key, 0)


class Nonces:
    """``mark``: the stored high-water mark, 0 at first. ``persist`` must have stored its argument when it returns."""

    def __init__(self, mark: int, persist: Callable[[int], None], *, ahead: int = AHEAD) -> None:
        if not 0 <= mark < NONCE_MAX:
            raise ValidationError(f"the nonce's high-water mark is {mark}; 0 to {NONCE_MAX - 1} is expected")
        if ahead < 1:
            raise ValidationError(f"Nonces.ahead is {ahead}; 1 or more is expected")
        self._last = mark
        self._mark = mark
        self._persist = persist
        self._ahead = ahead

    def take(self, now_ms: int) -> int:
        """The next nonce. Whatever ``persist`` raises is raised before a value is given out, and none is lost."""
        value = max(now_ms, self._last + 1)
        if value >= NONCE_MAX:
            raise ValidationError("no nonce is left under 64 bits: make a new key at the venue")
        if value > self._mark:
            mark = min(value + self._ahead, NONCE_MAX - 1)
            self._persist(mark)
            self._mark = mark
        self._last = value
        return value
