"""Faults that strike no single request: order events late or missing, streams reset or half-open, the server going
down, dead-man switches firing by themselves, and the venue's mode changing under its clients.

Each leaves a row of method FAULT in the ledger, so that what came before and after can be told apart.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from .engine.model import OPEN_STATUSES, Event, OrderChange
from .faults import Fault
from .venue import Venue

if TYPE_CHECKING:
    from .server import SandboxServer


class Incidents:
    """Acts on one server."""

    def __init__(self, server: SandboxServer) -> None:
        self._server = server
        self._resets = 0
        self._now: dict[str, Callable[[Fault], int]] = {
            "stream_reset": self._reset_streams,
            "stream_half_open": self._half_open,
            "server_shutdown": self._shut_down,
            "switches_fire": self._fire_switches,
        }

    def happen(self, fault: Fault) -> int:
        """Carry out a fault that happens once, now; returns how many connections or switches it struck."""
        struck = self._now[fault.kind](fault)
        self._server.note_fault(fault.kind)
        return struck

    # streams -----------------------------------------------------------------------------------------------------

    def _reset_streams(self, fault: Fault) -> int:
        return self._server.reset_streams(fault.connection)

    def _half_open(self, fault: Fault) -> int:
        """Connections that stand and carry nothing more, not even pongs."""
        there = [
            each for hub in self._server.hubs for each in hub.listeners if fault.connection in (0, each.connection)
        ]
        for listener in there:
            listener.fall_silent()
        return len(there)

    def _shut_down(self, fault: Fault) -> int:
        server, after_s = self._server, float(fault.params["after_s"])
        count = server.doorkeeper.shut_down(after_s, time.monotonic(), server.venue.clock())
        for face in server.faces:
            count += face.going_down(after_s)
        return count

    # dead-man switches ---------------------------------------------------------------------------------------------

    def _fire_switches(self, fault: Fault) -> int:
        """Every armed switch runs out now, as if nobody had renewed it in time."""
        server = self._server
        count = server.usdm.futures.hasten_countdowns() + sum(face.hasten() for face in server.faces)
        server.fire_switches()
        return count

    # order events --------------------------------------------------------------------------------------------------

    def keep_back(self, venue: Venue, event: Event) -> bool:
        """True when a fault wants this order event told later, or never."""
        faults = self._server.faults
        if not isinstance(event, OrderChange) or not faults.armed:
            return False
        is_end = event.status not in OPEN_STATUSES
        fault = faults.pick_event(event.order.symbol, is_fill=event.kind == "TRADE", is_end=is_end)
        if fault is None:
            return False
        self._server.note_fault(fault.kind, str(event.order.client_id), event.order.symbol)
        if fault.kind == "late_fills":
            loop = asyncio.get_running_loop()
            loop.call_later(fault.params["ms"] / 1000, partial(self._tell_late, self._resets, venue, event))
        return True

    def forget(self) -> None:
        """The venue begins anew: what is still to be told is told to nobody."""
        self._resets += 1

    def _tell_late(self, resets: int, venue: Venue, event: Event) -> None:
        if resets == self._resets:
            venue.tell(event)
            self._server.saved()

    # modes ---------------------------------------------------------------------------------------------------------

    def venues(self, market: str = "") -> list[Venue]:
        """The markets an administrator means: one by name, or all."""
        known: dict[str, Venue] = {"spot": self._server.venue, "usdm": self._server.usdm}
        known |= {face.name: face.venue for face in self._server.markets}
        if market and market not in known:
            raise ValueError(f"unknown market {market!r}: expected one of {', '.join(known)}")
        return [known[market]] if market else list(known.values())

    def set_mode(self, mode: str, *, market: str = "", symbol: str = "", for_s: float = 0.0) -> None:
        """The mode of a market, or of one of its symbols, for good or for a time. ValueError for unknown ones."""
        venues = self.venues(market)
        if symbol and not any(symbol in venue.exchange.markets for venue in venues):
            raise ValueError(f"unknown symbol {symbol!r}")
        for venue in venues:
            if not symbol or symbol in venue.exchange.markets:
                until = venue.clock() + int(for_s * 1000) if for_s else 0
                venue.exchange.trading.set(mode, symbol, until)
        self._mode_changed(f"mode:{mode}", symbol)

    def turn(self) -> None:
        """End the modes that have run out."""
        over = [venue.exchange.trading.expire(venue.clock()) for venue in self.venues()]
        if any(over):
            self._mode_changed("mode:online", "")

    def _mode_changed(self, name: str, symbol: str) -> None:
        self._server.note_fault(name, symbol=symbol)
        for face in self._server.faces:
            face.mode_changed()

    def shift_clock(self, offset_ms: int) -> None:
        """Every market's clock goes wrong by this much. ValueError for a venue whose clock is not its own."""
        clocks: list[Any] = [venue.clock for venue in self.venues()]
        if not all(hasattr(clock, "offset_ms") for clock in clocks):
            raise ValueError("this venue was given its clock: shift that one")
        for clock in clocks:
            clock.offset_ms = offset_ms
