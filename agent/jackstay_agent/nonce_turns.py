"""One signed request of a key after the other, where the venue counts numbers per key (Kraken; step 6 of the journey).

Two requests on two connections may arrive in the other order than they left in, and the venue then refuses the earlier
one (`EAPI:Invalid nonce`). So the next one is signed when the one before it is answered, or when that has taken so long
that it must have arrived: a hanging request delays the others by the wait and no more. Cancels go first and wait less.

Knows nothing of signing. A key's rate limits allow a few requests a second, so that the wait costs nothing in practice.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from .flight import Reply

WAIT_S = 0.25  # several round trips to a venue far away
WAIT_DERISK_S = 0.1


@dataclass(slots=True)
class Line:
    """One key's. ``waiting``: in the order in which they will leave."""

    under_way: int = 0
    waiting: deque[Reply[None]] = field(default_factory=deque)


class NonceTurns:
    """`mine` before signing, `over` after the answer, by whatever name a key has."""

    def __init__(self, call_later: Callable[[float, Callable[[], None]], Any]) -> None:
        self._call_later = call_later
        self._lines: dict[str, Line] = {}

    async def mine(self, key: str, *, derisk: bool) -> None:
        """Wait for one's turn; returns when the request may be signed and leave at once."""
        line = self._lines.setdefault(key, Line())
        if not line.under_way:
            line.under_way = 1
            return
        turn: Reply[None] = Reply()
        if derisk:
            line.waiting.appendleft(turn)
        else:
            line.waiting.append(turn)
        self._call_later(WAIT_DERISK_S if derisk else WAIT_S, lambda: self._late(line, turn))
        try:
            await turn
        except BaseException:
            if turn.done:
                self.over(key)
            else:
                line.waiting.remove(turn)
            raise

    def over(self, key: str) -> None:
        """It was answered, or is given up: the next one leaves."""
        line = self._lines[key]
        line.under_way -= 1
        if line.under_way:
            return
        if line.waiting:
            self._begin(line, line.waiting[0])
        else:
            del self._lines[key]

    def _late(self, line: Line, turn: Reply[None]) -> None:
        if turn in line.waiting:
            self._begin(line, turn)

    def _begin(self, line: Line, turn: Reply[None]) -> None:
        line.waiting.remove(turn)
        line.under_way += 1
        turn.set(None)
