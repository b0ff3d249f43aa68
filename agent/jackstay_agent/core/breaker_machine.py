"""The state of a circuit breaker: which it is, until when, and the only ways it moves.

`breaker.py` decides who gets a permit and what results mean; this part moves along the table of `breaker_state.LEGAL`,
numbers the generations, computes how long open lasts and takes the operator's word.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from .bounds import LONGEST_S, check_instant
from .breaker_probes import Probes
from .breaker_settings import BreakerSettings, capped_s
from .breaker_snapshot import restore, snapshot
from .breaker_state import CLOSED, HALF_OPEN, OPEN, SHUT, BreakerEvent, BreakerState, Permit, check_move
from .breaker_window import CountWindow, TimeWindow
from .events import EventLog


class BreakerMachine:
    """One breaker. All instants are seconds of the caller's monotonic clock."""

    def __init__(
        self,
        settings: BreakerSettings | None = None,
        *,
        name: str = "breaker",
        open_duration_s: Callable[[int], float] | None = None,
    ) -> None:
        """``open_duration_s(opens_in_a_row)`` replaces the computed open time; its answer is capped all the same."""
        self.settings = s = settings or BreakerSettings()
        self.name = name
        self._open_duration_s = open_duration_s
        windowed = s.failure_rate is not None or s.slow_rate is not None
        kind = CountWindow if s.window == "count" else TimeWindow
        self._window: CountWindow | TimeWindow | None = kind(s.window_size) if windowed else None
        self.timed = windowed  # how long a call took matters
        self._events: EventLog[BreakerEvent] = EventLog()
        self._counts = dict.fromkeys(("failed", "ignored", "late", "bypassed"), 0)
        self._ok = self._refused = 0  # the hottest counters are plain attributes
        self.state: BreakerState = CLOSED
        self.until: float | None = None  # when open (or an operator mode) ends by itself
        self.why = ""
        self.opens_in_a_row = 0
        self._consecutive = 0
        self._generation = 0
        self._slow_call_s = s.slow_call_s
        self._probes = Probes(s.half_open_permits, s.probe_lease_s)
        self._shut = False  # open or forced open
        #: The shared permit of the closed state, which may be used without asking; None: ask `acquire`.
        self.free: Permit | None = Permit(0, 0.0, False)

    def advance(self, now: float) -> None:
        """Let time pass: open ends, operator modes end, lost probes give their places back (`acquire` does it too)."""
        if self.state is HALF_OPEN:
            for _ in range(self._probes.reclaim(now)):
                self._note("probe_lost", now, HALF_OPEN, "lease over")
        elif self.until is not None and now >= self.until:
            to, what = (HALF_OPEN, "open time") if self._shut else (CLOSED, "operator mode")
            self._move(to, now, f"{what} over")

    def next_change_at(self) -> float | None:
        """The instant at which time alone changes something: when the owner should probe or call `advance`."""
        return self._probes.next_lease_end() if self.state is HALF_OPEN else self.until

    def open_duration_s(self, opens_in_a_row: int, jitter: float = 0.0) -> float:
        """How long the n-th open in a row lasts; ``jitter`` is the caller's chance in [0, 1)."""
        if self._open_duration_s is None:
            return self.settings.open_duration_s(opens_in_a_row, jitter)
        return capped_s(self._open_duration_s(opens_in_a_row), self.settings.open_cap_s)

    def _open(self, now: float, why: str, jitter: float) -> None:
        self.opens_in_a_row += 1
        self._move(OPEN, now, why, now + self.open_duration_s(self.opens_in_a_row, jitter))

    def open_until(self, instant: float, now: float, why: str = "told until when") -> None:
        """Open (or stay open) until at least ``instant``, at most 30 days; never shortens. Operator modes stay."""
        check_instant(f"breaker {self.name}", "open_until", instant)
        instant = min(instant, now + LONGEST_S)
        if self.state is OPEN:
            assert self.until is not None  # an open breaker always has an end; forced-open is another state
            if instant > self.until:
                self._move(OPEN, now, why, instant)
        elif self.state in (CLOSED, HALF_OPEN) and instant > now:
            self.opens_in_a_row += 1
            self._move(OPEN, now, why, instant)

    def force(self, state: BreakerState, now: float, *, why: str, until: float | None = None) -> None:
        """An operator's word: trip (OPEN), reset (CLOSED), FORCED_OPEN, DISABLED or METRICS_ONLY, perhaps until an
        instant. A forced-open breaker whose time is over is probed; the other modes end closed.
        """
        if until is not None:
            check_instant(f"breaker {self.name}", "until", until)
            until = min(until, now + LONGEST_S)
        if state is OPEN and until is None:
            self._open(now, why, 0.0)
        else:
            self._move(state, now, why, None if state is CLOSED else until)

    def _move(self, to: BreakerState, now: float, why: str, until: float | None = None) -> None:
        was = self.state
        check_move(self.name, was, to)
        self._enter(to, until, why)
        self._note("moved" if was is not to else "renewed", now, was, why)

    def _enter(self, to: BreakerState, until: float | None, why: str) -> None:
        """Begin a generation: what was admitted before changes nothing any more."""
        self._generation += 1
        self.state, self.until, self.why = to, until, why
        self._shut = to in SHUT
        self._probes.clear()
        self._forget()
        self.free = Permit(self._generation, 0.0, False) if to is CLOSED else None
        if to is CLOSED:
            self.opens_in_a_row = 0

    def _forget(self) -> None:
        self._consecutive = 0
        if self._window is not None:
            self._window.clear()

    # -- showing ------------------------------------------------------------------------------------------------

    @property
    def counts(self) -> dict[str, int]:
        """Results, refusals and lost events since the start, as a copy."""
        return {"ok": self._ok, "refused": self._refused, **self._counts, "events_lost": self._events.lost}

    def _note(self, kind: str, now: float, was: BreakerState, why: str) -> None:
        self._events.add(BreakerEvent(self.name, kind, now, was, self.state, why, self.until))

    @property
    def pending(self) -> Collection[BreakerEvent]:
        """The events that wait for `drain_events`; one object for life, so its truth may be looked at cheaply."""
        return self._events.pending

    def drain_events(self) -> list[BreakerEvent]:
        """The facts since the last call, oldest first."""
        return self._events.drain()

    def snapshot(self, now: float) -> dict[str, Any]:
        """Plain values for a restart; time is kept as seconds *left*, so a new clock does not matter."""
        return snapshot(self, now)

    def restore(self, data: dict[str, Any], now: float, *, elapsed_s: float = 0.0) -> None:
        """Take up a snapshot taken ``elapsed_s`` ago (probes then in flight are lost), or raise ValidationError."""
        restore(self, data, now, elapsed_s)
