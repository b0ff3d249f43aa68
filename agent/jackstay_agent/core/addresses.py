"""Which addresses a name has, from several looks at it: when has a connection's address left (DESIGN §5 Connections)?

One look proves nothing: large venues answer each question with a few of many addresses, in turn. An address has left
when it was in none of the answers for ``forget_s``. A resolver that does not answer changes nothing, and what it said
last is still good for dialling.

Pure: `now` is an argument, in seconds of any one clock.
"""

from __future__ import annotations

from collections.abc import Iterable

ADDRESSES_MAX = 256


class Addresses:
    """One name's."""

    __slots__ = ("_forget_s", "_looked_at", "_seen")

    def __init__(self, forget_s: float) -> None:
        self._forget_s = forget_s
        self._looked_at = 0.0
        self._seen: dict[str, float] = {}

    def seen(self, addresses: Iterable[str], now: float) -> None:
        """One answer of the resolver; an empty one is none."""
        found = list(addresses)
        if not found:
            return
        self._looked_at = now
        for address in found:
            self._seen.pop(address, None)
            self._seen[address] = now  # newest last
        for address, at in list(self._seen.items()):
            if now - at > self._forget_s or len(self._seen) > ADDRESSES_MAX:
                del self._seen[address]

    def left(self, address: str) -> bool:
        """Has the name not had this address for long? False as long as nothing is known."""
        return bool(self._seen) and address not in self._seen
