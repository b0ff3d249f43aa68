"""Numbers that only ever rise, for venues that want one with each signed request (Kraken: a nonce per key).

A nonce follows the clock (ms) and never repeats or falls, not after a restart, not after a clock step: every value is
below a *high-water mark* that is persisted before the first value under it is used, so a restart begins above whatever
may have been used. Persisting is an argument; it is called seldom (once per ``ahead``), not per nonce.
"""

from __future__ import annotations

from collections.abc import Callable

from jackstay_protocols.errors import ValidationError

NONCE_MAX = 2**63 - 1  # venues keep 64 bits
AHEAD = 10_000  # ten seconds of a millisecond clock


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
