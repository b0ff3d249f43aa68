"""When which part of an account is looked at next.

Checks are spread out: each part has its own phase, so that they never ask the venue in one burst. While a user stream
is up the venue is asked less often, because the stream tells. A trigger (a reconnect, an unknown that was settled, a
barrier, an operator, a bot's report) brings a part forward, but never closer than ``gap_s`` to its last look.

``now`` is an argument; a part is any hashable value with a place in ``order``.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass


@dataclass(slots=True)
class Due:
    every_s: float
    streamed_s: float
    next_at: float
    last_at: float = float("-inf")
    why: str = "schedule"


class CheckSchedule:
    """The parts and their times. ``gap_s``: the least pause between two looks at one part."""

    def __init__(self, gap_s: float) -> None:
        self._gap_s = gap_s
        self._parts: dict[Hashable, Due] = {}

    def add(self, part: Hashable, now: float, every_s: float, streamed_s: float, phase: float) -> None:
        """``phase``: 0 to 1 of the period until the first look."""
        self._parts[part] = Due(every_s, streamed_s, now + every_s * phase)

    def trigger(self, part: Hashable, now: float, why: str, delay_s: float = 0.0) -> None:
        """Look at it soon; unknown parts are no error (a venue without positions has none to look at)."""
        due = self._parts.get(part)
        if due is None:
            return
        at = max(now + delay_s, due.last_at + self._gap_s)
        if at < due.next_at:
            due.next_at, due.why = at, why

    def due(self, now: float) -> list[tuple[Hashable, str]]:
        """What to look at now, most overdue first, each with why."""
        late = sorted((each.next_at, number) for number, each in enumerate(self._parts.values()) if each.next_at <= now)
        parts = list(self._parts.items())
        return [(parts[number][0], parts[number][1].why) for _at, number in late]

    def begun(self, part: Hashable, now: float, *, streamed: bool) -> None:
        """It is being looked at: the next time is a period later."""
        due = self._parts[part]
        due.last_at, due.why = now, "schedule"
        due.next_at = now + (due.streamed_s if streamed else due.every_s)

    def next_at(self) -> float | None:
        """The earliest time at which anything is due."""
        return min((each.next_at for each in self._parts.values()), default=None)
