"""What a venue's mode lets through (DESIGN §5 Protection, Modes; journey step 4).

The table `ADMITS` is the whole decision. Several parties may hold a mode at once (an operator, the venue's own status,
a degraded feed); each takes back only its own, and a request passes if every held mode lets it pass. The de-risking
lane and questions pass in every mode (DESIGN §3 rule 4).

HALTED is the operator's full stop: only the de-risking lane and questions pass. CONSERVATIVE stops entries and keeps
the ways out open. In doubt what an order is for, it counts as an entry.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from jackstay_protocols.errors import Lane, ValidationError
from jackstay_protocols.types import OrderClass

from .bounds import LONGEST_S, check_instant
from .events import EventLog

HOLDERS_MAX = 64


class Mode(StrEnum):
    NORMAL = "normal"
    CONSERVATIVE = "conservative"  # no new entries
    MAINTENANCE = "maintenance"  # the venue takes no orders
    CANCEL_ONLY = "cancel_only"  # the venue takes cancels only
    POST_ONLY = "post_only"  # the venue takes resting orders only
    HALTED = "halted"  # an operator said stop


_ALL: Final = frozenset(OrderClass)
_NONE: Final[frozenset[OrderClass]] = frozenset()
_WAYS_OUT: Final = frozenset({OrderClass.EXIT, OrderClass.PROTECTIVE, OrderClass.HEDGE})

#: mode -> classes of orders (outside the de-risking lane) it admits. POST_ONLY admits them if they are post-only.
ADMITS: Final[dict[Mode, frozenset[OrderClass]]] = {
    Mode.NORMAL: _ALL,
    Mode.CONSERVATIVE: _WAYS_OUT,
    Mode.MAINTENANCE: _NONE,
    Mode.CANCEL_ONLY: _NONE,
    Mode.POST_ONLY: _ALL,
    Mode.HALTED: _NONE,
}


@dataclass(frozen=True, slots=True)
class Hold:
    """Who holds a mode, why, since when and until when (None: until taken back)."""

    holder: str
    mode: Mode
    why: str
    since: float
    until: float | None


@dataclass(frozen=True, slots=True)
class ModeEvent:
    """``kind``: held, released or expired."""

    kind: str
    at: float
    hold: Hold


class Modes:
    """The modes held over one venue."""

    def __init__(self) -> None:
        self._holds: dict[str, Hold] = {}
        self._events: EventLog[ModeEvent] = EventLog()

    def hold(self, mode: Mode, now: float, *, holder: str, why: str, until: float | None = None) -> None:
        """Hold a mode in one's name; a second call replaces one's first. NORMAL takes one's hold back."""
        if until is not None:
            check_instant(f"mode {mode}", "until", until)
            until = min(until, now + LONGEST_S)
        if mode is Mode.NORMAL:
            self.release(holder, now)
            return
        if holder not in self._holds and len(self._holds) >= HOLDERS_MAX:
            raise ValidationError(f"{len(self._holds)} parties hold a mode already; release one first")
        hold = self._holds[holder] = Hold(holder, mode, why, now, until)
        self._events.add(ModeEvent("held", now, hold))

    def release(self, holder: str, now: float) -> bool:
        """Take one's hold back; True if there was one."""
        hold = self._holds.pop(holder, None)
        if hold is not None:
            self._events.add(ModeEvent("released", now, hold))
        return hold is not None

    def held(self, now: float) -> list[Hold]:
        """The holds that stand now, oldest first."""
        for hold in list(self._holds.values()):
            if hold.until is not None and now >= hold.until:
                del self._holds[hold.holder]
                self._events.add(ModeEvent("expired", now, hold))
        return list(self._holds.values())

    def mode(self, now: float) -> Mode:
        """The strictest held mode, for showing; NORMAL if none."""
        return strictest(self.held(now))

    def refusal(self, now: float, lane: Lane, order_class: OrderClass, *, post_only: bool = False) -> Hold | None:
        """The hold that stops a request, or None: it passes. Only orders (Lane.ORDER) can be stopped."""
        if not self._holds or lane is not Lane.ORDER:
            return None
        for hold in self.held(now):
            if order_class not in ADMITS[hold.mode] or (hold.mode is Mode.POST_ONLY and not post_only):
                return hold
        return None

    def drain_events(self) -> list[ModeEvent]:
        return self._events.drain()

    def snapshot(self, now: float) -> list[Any]:
        """Plain values for a restart; time is kept as seconds left."""
        return [[h.holder, h.mode.value, h.why, None if h.until is None else h.until - now] for h in self.held(now)]

    def restore(self, rows: list[Any], now: float, *, elapsed_s: float = 0.0) -> None:
        """Take up a snapshot taken ``elapsed_s`` ago, or raise ValidationError and hold nothing of it."""
        try:
            plain = [(str(h), Mode(m), str(w), None if s is None else float(s)) for h, m, w, s in rows]
        except (TypeError, ValueError) as error:
            raise ValidationError(f"mode snapshot is damaged ({type(error).__name__}): start without it") from error
        for holder, mode, why, left_s in plain:
            if left_s is None:
                self.hold(mode, now, holder=holder, why=why)
            elif left_s > elapsed_s:
                self.hold(mode, now, holder=holder, why=why, until=now + left_s - elapsed_s)


def strictest(holds: Iterable[Hold]) -> Mode:
    """The mode to show where several are held."""
    held = {hold.mode for hold in holds}
    return next((mode for mode in _STRICTEST_FIRST if mode in held), Mode.NORMAL)


_STRICTEST_FIRST: Final = (Mode.HALTED, Mode.MAINTENANCE, Mode.CANCEL_ONLY, Mode.CONSERVATIVE, Mode.POST_ONLY)
