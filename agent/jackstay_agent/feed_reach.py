"""One host's reach, shared by all sockets that go there: while it is away, one of them knocks and the others wait.

Fifty sockets that lose a venue together would each back off on their own, and their attempts add up to a storm, or use
up the attempts the venue allows, so that the return finds none left. The one that knocks backs off as `core/redial`
says; its success lets the others dial, spread over a moment.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from .core.redial import DialBudget

SPREAD_PER_SOCKET_S = 0.02
SPREAD_S_MAX = 2.0


class Reach:
    """``budget``: the dials all of them may make; a host's own limits are per address, not per feed."""

    def __init__(self, budget: DialBudget, random: Callable[[], float]) -> None:
        self.budget = budget
        self.attempts = 0
        self._random = random
        self._away = False
        self._knocks: object | None = None
        self._waiting = 0
        self._changed = asyncio.Event()

    @property
    def away(self) -> bool:
        return self._away

    async def turn(self, who: object) -> None:
        """Returns when this one may dial: the host is there, or nobody else knocks."""
        if self._may(who):
            return
        self._waiting += 1
        crowd = self._waiting
        try:
            while not self._may(who):
                self._changed.clear()
                await self._changed.wait()
        finally:
            self._waiting -= 1
        if not self._away:
            await asyncio.sleep(self._random() * min(SPREAD_S_MAX, SPREAD_PER_SOCKET_S * crowd))

    def _may(self, who: object) -> bool:
        if self._away and self._knocks is None:
            self._knocks = who
        return not self._away or self._knocks is who

    def failed(self, who: object) -> None:
        """A dial failed: from now on this one knocks, unless another does already."""
        self._away = True
        if self._knocks is None:
            self._knocks = who

    def succeeded(self) -> None:
        self._away = False
        self._knocks = None
        self._changed.set()

    def left(self, who: object) -> None:
        """One that wants nothing any more; if it was the one that knocks, another takes over."""
        if self._knocks is who:
            self._knocks = None
            self._changed.set()
