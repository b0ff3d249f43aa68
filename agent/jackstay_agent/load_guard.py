"""The agent watches itself: memory, loop lag, requests under way; and sheds the lowest lanes when one nears its limit.

The decision is core/overload.py. Here it gets its measures four times a second, an event for each change of level, and
a line in status. Said to a bot as a typed refusal (reason ``overloaded``) at once, before anything is recorded.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from jackstay_protocols.errors import Lane, Outcome, Reason
from jackstay_protocols.messages import Refusal

from .core.event_sink import EventSink
from .core.overload import RAISED_AT, SHED, Overload, OverloadSettings

SMOOTH = 0.25  # the share of the newest of four ticks a second
TRIM_EVERY_S = 30.0
RETRY_AFTER_S = 1.0


class Process(Protocol):
    def resident_bytes(self) -> int: ...
    def trim(self) -> None: ...


class LoadGuard:
    """`sheds` is asked for every request. Requests under way are counted there and then, the rest by `tick`: a burst
    of questions between two ticks must not fill the room of orders.
    """

    def __init__(
        self,
        settings: OverloadSettings,
        *,
        clock: Callable[[], float],
        process: Process | None,
        in_flight: Callable[[], int],
        on_event: EventSink,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._process = process
        self._in_flight = in_flight
        self._on_event = on_event
        self._judge = Overload(settings)
        self._trimmed_at = -TRIM_EVERY_S
        self._since = 0.0
        self._room = dict.fromkeys(Lane, float("inf"))  # lane -> requests under way at which it is turned away
        if settings.enabled:
            for at, below, here in zip(RAISED_AT[1:], SHED, SHED[1:], strict=False):
                self._room |= dict.fromkeys(here - below, at * settings.in_flight_max)
        self.shedding: frozenset[Lane] = SHED[0]
        self.lag_s = 0.0
        self.shed = dict.fromkeys((Lane.ORDER, Lane.QUERY, Lane.OTHER), 0)

    def sheds(self, lane: Lane) -> bool:
        """Whether a request of this lane is turned away now. The hot path asks: two look-ups."""
        return lane in self.shedding or self._in_flight() > self._room[lane]

    def refusal(self, lane: Lane) -> Refusal:
        """For a request of a lane that is being shed."""
        self.shed[lane] += 1
        return Refusal(
            Reason.OVERLOADED,
            f"the agent is overloaded ({self._words(now=True)}): requests of lane {lane} are turned away;"
            " what reduces risk passes",
            RETRY_AFTER_S,
            Outcome.FAILED,
        )

    def tick(self, late_s: float) -> None:
        """Four times a second; ``late_s`` is how late this one is."""
        settings = self._settings
        late_s = min(max(0.0, late_s), 2 * settings.lag_s_max)  # a suspend of the machine counts as one bad tick
        self.lag_s += SMOOTH * (late_s - self.lag_s)
        if not settings.enabled:
            return
        now, before = self._clock(), self._judge.level
        memory_mb = self._process.resident_bytes() / 1e6 if self._process is not None else 0.0
        level = self._judge.judge(now, {"memory": memory_mb, "lag": self.lag_s, "in_flight": float(self._in_flight())})
        self._trim(now)
        if level == before:
            return
        self.shedding = SHED[level]
        self._since = now
        facts = {
            "level": level,
            "was": before,
            "sheds": sorted(map(str, self.shedding)),
            "why": self._words(),
            "shed_so_far": sum(self.shed.values()),
        }
        self._on_event("overload.raised" if level > before else "overload.lowered" if level else "overload.over", facts)

    def _trim(self, now: float) -> None:
        tight = self._judge.pressures["memory"] >= RAISED_AT[1]
        if tight and self._process is not None and now - self._trimmed_at >= TRIM_EVERY_S:
            self._trimmed_at = now
            self._process.trim()

    def _words(self, *, now: bool = False) -> str:
        """The worst measure and its limit; ``now``: with the requests under way of this moment."""
        shares = self._judge.pressures | (
            {"in_flight": self._in_flight() / self._settings.in_flight_max} if now else {}
        )
        name = max(shares, key=shares.__getitem__)
        limit = {
            "memory": f"{self._settings.memory_mb_max:g} MB",
            "lag": f"{self._settings.lag_s_max:g} s",
            "in_flight": f"{self._settings.in_flight_max} requests",
        }[name]
        return f"{name.replace('_', ' ')} at {shares[name]:.0%} of {limit}"

    def status(self) -> dict[str, Any]:
        return {
            "level": self._judge.level,
            "sheds": sorted(map(str, self.shedding)),
            "why": self._words() if self._judge.level else "",
            "since_s": round(self._clock() - self._since, 1) if self._judge.level else None,
            "pressure": {name: round(share, 4) for name, share in self._judge.pressures.items()},
            "lag_s": round(self.lag_s, 4),
            "shed": {str(lane): count for lane, count in self.shed.items()},
        }
