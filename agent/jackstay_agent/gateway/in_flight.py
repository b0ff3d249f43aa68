"""How many calls of a door have no answer yet, and who is told when there are none: a stop waits for it."""

from __future__ import annotations

from collections.abc import Callable


class InFlight:
    """The count of one door. A call whose peer has gone is counted too: an order of its is still seen through."""

    def __init__(self) -> None:
        self._count = 0
        self._when_idle: Callable[[], None] | None = None

    def in_flight(self) -> int:
        return self._count

    def took_off(self) -> None:
        self._count += 1

    def landed(self) -> None:
        self._count -= 1
        if self._count == 0 and self._when_idle is not None:
            self._when_idle()

    def when_idle(self, callback: Callable[[], None]) -> None:
        """Call back once nothing is in flight; at once when nothing is."""
        self._when_idle = callback
        if self._count == 0:
            callback()
