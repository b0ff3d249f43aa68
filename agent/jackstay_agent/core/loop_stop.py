"""Ten identical rejects in a row are a loop, and stopped (DESIGN §3 rule 9).

A business reject trips no breaker, so nothing else would stop a bot that sends the same refused order for twenty hours.
Equal means: equal order fields (without id, timestamp, nonce, signature) *and* the same reason; the caller makes the
key of them. A stop ends when a field changes (another key), something succeeds in the same scope, a configured time
passes, or an operator releases it. Cancels are stopped only per order id, and only once there is evidence that the
order is terminal: until then the caller says ``stoppable=False`` and nothing but the count is kept.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

from .bounds import LONGEST_S, check_number, check_whole
from .events import EventLog


@dataclass(frozen=True, slots=True)
class LoopSettings:
    rejects_max: int = 10
    stop_s: float = 60.0  # then one more is let through; if it is refused alike, the stop stands again
    keys_max: int = 4096  # the longest untouched key is forgotten first

    def __post_init__(self) -> None:
        check_whole("LoopSettings", "rejects_max", self.rejects_max, 1, 1_000_000)
        check_number("LoopSettings", "stop_s", self.stop_s, 0.0, LONGEST_S)
        check_whole("LoopSettings", "keys_max", self.keys_max, 1, 1_000_000)


@dataclass(frozen=True, slots=True)
class LoopStopped:
    """The refusal: this equal request was refused ``count`` times for ``reason``."""

    count: int
    reason: str
    retry_after_s: float


@dataclass(frozen=True, slots=True)
class LoopEvent:
    """``kind``: stopped or released."""

    kind: str
    at: float
    scope: str
    key: Any
    reason: str
    count: int


class _Run:
    __slots__ = ("count", "reason", "until")

    def __init__(self, reason: str) -> None:
        self.reason = reason
        self.count = 0
        self.until: float | None = None  # not None: stopped


class LoopStop:
    """Counts identical rejects. ``scope`` is what a success clears: venue, account and symbol together are good."""

    def __init__(self, settings: LoopSettings | None = None) -> None:
        self.settings = settings or LoopSettings()
        self._runs: OrderedDict[tuple[str, Hashable], _Run] = OrderedDict()
        self._events: EventLog[LoopEvent] = EventLog()

    def refusal(self, now: float, scope: str, key: Hashable) -> LoopStopped | None:
        """None: it may go. Past the stop's time one request goes as a probe, and the stop stands again behind it."""
        run = self._runs.get((scope, key)) if self._runs else None
        if run is None or run.until is None:
            return None
        if now < run.until:
            return LoopStopped(run.count, run.reason, run.until - now)
        run.until = now + self.settings.stop_s
        return None

    def rejected(self, now: float, scope: str, key: Hashable, reason: str, *, stoppable: bool = True) -> bool:
        """A business reject came back; True if that stops the loop now."""
        run = self._runs.get((scope, key))
        if run is None or run.reason != reason:
            run = self._runs[(scope, key)] = _Run(reason)
            while len(self._runs) > self.settings.keys_max:
                self._runs.popitem(last=False)
        self._runs.move_to_end((scope, key))
        run.count += 1
        if run.count < self.settings.rejects_max or not stoppable:
            return False
        first = run.until is None
        run.until = now + self.settings.stop_s
        if first:
            self._events.add(LoopEvent("stopped", now, scope, key, reason, run.count))
        return first

    def succeeded(self, now: float, scope: str) -> None:
        """Something worked in this scope: balances, positions or rules may have changed."""
        if self._runs:
            self.release(now, scope)

    @property
    def idle(self) -> bool:
        """Nothing is counted, so nobody has to be asked about."""
        return not self._runs

    def release(self, now: float, scope: str, key: Hashable | None = None) -> int:
        """An operator's word, for one key or a whole scope; says how many stops it lifted."""
        lifted = 0
        for place in [p for p in self._runs if p[0] == scope and (key is None or p[1] == key)]:
            run = self._runs.pop(place)
            if run.until is not None:
                lifted += 1
                self._events.add(LoopEvent("released", now, scope, place[1], run.reason, run.count))
        return lifted

    def stopped(self, now: float) -> list[tuple[str, Hashable, LoopStopped]]:
        """What is stopped now, for showing."""
        return [
            (scope, key, LoopStopped(run.count, run.reason, run.until - now))
            for (scope, key), run in self._runs.items()
            if run.until is not None and now < run.until
        ]

    def drain_events(self) -> list[LoopEvent]:
        return self._events.drain()
