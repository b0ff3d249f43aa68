"""How long this bot is silent when all is well: the evidence that arming stands on (DESIGN §5, `jackstay arm`).

Every silence that ended by itself, the bot being back in the same process, is legitimate. The longest ones of the last
day are kept with what was open at their end, so that any length and preset can be tried on them: what would have been
done, had it been armed? A silence that goes on, or ended in a death, is no excuse for longer ones and is kept apart.

Bounded: the longest ROWS_MAX of the window; a shorter one that fell out could not have been stopped by a longer
setting than those that are kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from jackstay_protocols.errors import ValidationError
from jackstay_protocols.types import OrderClass

from .liveness import BotState
from .protection import Preset, measures

WINDOW_S: Final = 24 * 3600.0
ROWS_MAX: Final = 512
WORTH_S: Final = 0.5  # nobody arms less; below it nothing is written down
SPAN_S: Final = 3600.0  # what was watched is summed by the hour


@dataclass(frozen=True, slots=True)
class Silence:
    """``began_wall``: UTC seconds. ``lease_s``: what the bot had announced before it. ``open_orders``: per class, the
    most that was seen open in it: what was cancelled or filled meanwhile is not open at its end any more.
    """

    began_wall: float
    length_s: float
    lease_s: float
    open_orders: dict[OrderClass, int]


@dataclass(frozen=True, slots=True)
class WouldHave:
    """One silence of the past under a setting: what would have been cancelled, class by class."""

    silence: Silence
    cancelled: dict[OrderClass, int]


class Silences:
    """Of one bot."""

    def __init__(self) -> None:
        self._kept: list[Silence] = []
        self._watched: dict[int, float] = {}  # hour of the wall clock -> seconds of a living bot
        self.seen = 0

    def ended(self, silence: Silence) -> None:
        """A silence that ended with a life sign of the same process."""
        self._count(silence.began_wall + silence.length_s, silence.length_s)
        if silence.length_s < WORTH_S:
            return
        self.seen += 1
        self._kept.append(silence)
        if len(self._kept) > 2 * ROWS_MAX:
            self._trim(silence.began_wall)

    def longest(self, wall: float) -> Silence | None:
        """The longest legitimate silence of the window, or None."""
        return max(self._recent(wall), key=lambda each: each.length_s, default=None)

    def watched_s(self, wall: float) -> float:
        """For how many seconds of the window this bot was seen to live: how much the evidence can know."""
        since = (wall - WINDOW_S) // SPAN_S
        return min(WINDOW_S, sum(seconds for hour, seconds in self._watched.items() if hour >= since))

    def would_have(self, wall: float, silence_s: float | None, preset: Preset) -> list[WouldHave]:
        """What this setting would have cancelled in the window, newest first; holds harm nobody and are not counted."""
        classes = measures(BotState.STALLED, preset).cancel if preset is not Preset.OBSERVE else frozenset()
        found = []
        for each in reversed(self._recent(wall)):
            limit_s = 2 * each.lease_s if silence_s is None else max(silence_s, each.lease_s)
            hit = {kind: count for kind, count in each.open_orders.items() if kind in classes and count}
            if each.length_s > limit_s and hit:
                found.append(WouldHave(each, hit))
        return found

    def snapshot(self, wall: float) -> list[Any]:
        """Plain values for a restart."""
        self._trim(wall)
        return [
            [s.began_wall, s.length_s, s.lease_s, {kind.value: n for kind, n in s.open_orders.items()}]
            for s in self._kept
        ]

    def snapshot_watched(self) -> dict[str, float]:
        """Plain values for a restart."""
        return {str(hour): seconds for hour, seconds in self._watched.items()}

    def restore(self, rows: list[Any], watched: dict[str, Any] | None = None) -> None:
        """Take up a snapshot, or raise ValidationError and keep nothing of it. ``watched`` None: from an agent that
        did not count it.
        """
        try:
            kept = [
                Silence(float(at), float(length), float(lease), {OrderClass(k): int(n) for k, n in counts.items()})
                for at, length, lease, counts in rows
            ]
            hours = {int(hour): float(seconds) for hour, seconds in (watched or {}).items()}
        except (TypeError, ValueError, AttributeError) as error:
            raise ValidationError(f"the history of silences is damaged ({type(error).__name__})") from error
        self._kept, self._watched = kept, hours

    def _count(self, wall: float, seconds: float) -> None:
        hour = int(wall // SPAN_S)
        self._watched[hour] = self._watched.get(hour, 0.0) + seconds
        for old in [each for each in self._watched if each < hour - WINDOW_S // SPAN_S]:
            del self._watched[old]

    def _recent(self, wall: float) -> list[Silence]:
        return [each for each in self._kept if each.began_wall + each.length_s > wall - WINDOW_S]

    def _trim(self, wall: float) -> None:
        recent = self._recent(wall)
        if len(recent) > ROWS_MAX:
            shortest = sorted(recent, key=lambda each: each.length_s)[: len(recent) - ROWS_MAX]
            gone = set(map(id, shortest))
            recent = [each for each in recent if id(each) not in gone]
        self._kept = recent
