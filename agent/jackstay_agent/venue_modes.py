"""Which modes are held over which venue, by whom, why and until when (DESIGN §5 Protection, Modes).

The decision is core/modes; this file gives it the clock, a place per venue and one for all of them, and turns what
happened into events. A mode held over a venue nobody has used yet holds once it is used.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from jackstay_protocols.errors import Lane, ValidationError
from jackstay_protocols.types import OrderClass

from .core.event_sink import EventSink
from .core.modes import Hold, Mode, Modes, strictest

EVERYWHERE = "*"
VENUES_MAX = 256


class VenueModes:
    """By venue name, which is its profile's, or the host where there is none."""

    def __init__(self, *, clock: Callable[[], float], on_event: EventSink) -> None:
        self._clock = clock
        self._on_event = on_event
        self._everywhere = Modes()
        self._venues: dict[str, Modes] = {}

    def refusal(self, venue: str, lane: Lane, order_class: OrderClass, *, post_only: bool) -> Hold | None:
        """The hold that stops an order there, or None."""
        now = self._clock()
        own = self._venues.get(venue)
        for modes in (self._everywhere,) if own is None else (self._everywhere, own):
            hold = modes.refusal(now, lane, order_class, post_only=post_only)
            if hold is not None:
                return hold
        return None

    def hold(self, venue: str, mode: Mode, *, holder: str, why: str, for_s: float | None = None) -> None:
        """Hold a mode in one's name over a venue or ``EVERYWHERE``. Raises ValidationError."""
        now = self._clock()
        self._of(venue).hold(mode, now, holder=holder, why=why, until=None if for_s is None else now + for_s)
        self.tell()

    def release(self, venue: str, holder: str) -> bool:
        """Take one's hold back; True if there was one."""
        modes = self._find(venue)
        done = modes is not None and modes.release(holder, self._clock())
        self.tell()
        return done

    def release_all(self, prefix: str, keep: Collection[str] = ()) -> None:
        """Take back every hold whose holder begins so, but those named in ``keep``: of a part of the agent that starts
        anew and does not need them.
        """
        for each in self.status():
            if each["by"].startswith(prefix) and each["by"] not in keep:
                self.release(each["venue"], each["by"])

    def mode(self, venue: str) -> Mode:
        """The strictest one that stands over a venue now."""
        return strictest(self.holds(venue))

    def holds(self, venue: str) -> list[Hold]:
        """What stands over a venue now, with what stands over all."""
        now, own = self._clock(), self._find(venue)
        found = self._everywhere.held(now)
        return found if own is None or own is self._everywhere else [*found, *own.held(now)]

    def tell(self) -> None:
        """Turn what happened into events; call it now and then, for holds that end by themselves."""
        for venue, modes in [(EVERYWHERE, self._everywhere), *self._venues.items()]:
            modes.held(self._clock())
            for event in modes.drain_events():
                hold = event.hold
                left_s = None if hold.until is None else round(hold.until - event.at, 3)
                facts = {"venue": venue, "mode": hold.mode.value, "by": hold.holder, "why": hold.why, "for_s": left_s}
                self._on_event(f"mode.{event.kind}", facts)

    def status(self) -> list[dict[str, Any]]:
        """Every hold that stands, as plain values."""
        now = self._clock()
        return [
            {
                "venue": venue,
                "mode": hold.mode.value,
                "by": hold.holder,
                "why": hold.why,
                "since_s": round(now - hold.since, 3),
                "left_s": None if hold.until is None else round(hold.until - now, 3),
            }
            for venue, modes in [(EVERYWHERE, self._everywhere), *self._venues.items()]
            for hold in modes.held(now)
        ]

    def snapshot(self) -> dict[str, Any]:
        now = self._clock()
        every = {EVERYWHERE: self._everywhere, **self._venues}
        return {venue: rows for venue, modes in every.items() if (rows := modes.snapshot(now))}

    def restore(self, data: dict[str, Any], *, elapsed_s: float) -> None:
        """Take up a snapshot, or raise ValidationError."""
        if not isinstance(data, dict):
            raise ValidationError("the snapshot of modes is no table: start without it")
        for venue, rows in data.items():
            modes = self._of(venue)
            modes.restore(rows, self._clock(), elapsed_s=elapsed_s)
            modes.drain_events()  # they are no news

    def _find(self, venue: str) -> Modes | None:
        return self._everywhere if venue == EVERYWHERE else self._venues.get(venue)

    def _of(self, venue: str) -> Modes:
        found = self._find(venue)
        if found is None:
            if len(self._venues) >= VENUES_MAX:
                raise ValidationError(f"modes are held over {VENUES_MAX} venues, that is the bound")
            found = self._venues[venue] = Modes()
        return found
