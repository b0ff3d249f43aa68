"""When this venue itself stood still: a busy machine, a stopped process, a long collection.

What arrived meanwhile was read late, and how old it is then is nobody's doing but the venue's: whoever judges the age
of a request takes that time off it.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque

LOOK_S = 0.05
SHORT_S = 0.1  # a loop is late by less all the time
KEPT = 1_000


class Stalls:
    """`watch` is a task of the venue's loop; times are monotonic seconds."""

    def __init__(self) -> None:
        self._looked_at = time.monotonic()
        self._spans: deque[tuple[float, float]] = deque(maxlen=KEPT)

    async def watch(self) -> None:
        self._looked_at = time.monotonic()
        while True:
            await asyncio.sleep(LOOK_S)
            now = time.monotonic()
            if now - self._looked_at > LOOK_S + SHORT_S:
                self._spans.append((self._looked_at, now))
            self._looked_at = now

    def within_s(self, since: float, until: float) -> float:
        """For how much of this time the loop stood still; one that nobody has looked at yet counts too."""
        spans = [*self._spans]
        if until - self._looked_at > LOOK_S + SHORT_S:
            spans.append((self._looked_at, until))
        return sum(max(0.0, min(until, end) - max(since, begin)) for begin, end in spans)
