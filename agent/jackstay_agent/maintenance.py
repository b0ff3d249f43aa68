"""Sees a venue's maintenance before an order does: the calendar's windows, and the venue's own status.

A window that begins, or a status that says maintenance, starts the recovery scenario ExchangeMaintenance, whether or
not the bot is awake. A venue that takes cancels alone, or resting orders alone, is held in that mode in the venue's own
name until it says otherwise. What 503s and other answers say is the recovery room's. Where the venue does not answer,
nothing is concluded: that is the network's matter.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from .core.modes import Mode
from .core.windows import Windows
from .flight import Flight
from .maintenance_settings import MaintenanceCalendar
from .transport.http import HttpAnswer, HttpFailure
from .venue_modes import VenueModes
from .venues.answers import VenueStatus
from .venues.operations import Operations
from .venues.outgoing import OutgoingRequest

HOLDER = "venue status"
PLANNED = "maintenance calendar"
ASK_WITHIN_S = 5.0
AGAIN_AFTER_S = 5.0  # a window whose recovery could not begin: another of this venue is under way, or just over
SCENARIO = "exchange_maintenance"
#: The venue's word -> the mode it is held in. Under maintenance the scenario holds it; limit_only refuses nobody.
HELD_IN = {"cancel_only": Mode.CANCEL_ONLY, "post_only": Mode.POST_ONLY}


@dataclass(slots=True)
class Watched:
    """One venue. ``said``: its last word on itself, "": none yet; ``announced``: the end of the window in force."""

    calendar: MaintenanceCalendar
    windows: Windows
    said: str = ""
    ask_at: float = 0.0
    asking: bool = False
    announced: float | None = None
    announce_at: float = 0.0


class MaintenanceWatch:
    """``reading(venue)``: how its answers are read; ``can_recover(venue)``: whether a recovery can look after it, which
    wants a key of the agent's own; ``detected(scenario, context)`` starts one, False: not now.
    """

    def __init__(
        self,
        calendars: Mapping[str, MaintenanceCalendar],
        *,
        reading: Callable[[str], Operations | None],
        can_recover: Callable[[str], bool],
        ask: Callable[[str, OutgoingRequest, float], Awaitable[HttpAnswer | HttpFailure | None]],
        modes: VenueModes,
        detected: Callable[[str, dict[str, Any]], bool],
        clock: Callable[[], float],
        wall: Callable[[], float],
        on_event: Callable[[str, dict[str, Any]], None],
    ) -> None:
        self._venues = {venue: Watched(each, each.made()) for venue, each in calendars.items()}
        self._reading = reading
        self._can_recover = can_recover
        self._ask = ask
        self._modes = modes
        self._detected = detected
        self._clock = clock
        self._wall = wall
        self._on_event = on_event

    def start(self) -> None:
        """What an earlier agent held by the venue's word is asked anew."""
        self._modes.release_all(HOLDER)
        self._modes.release_all(PLANNED)

    def tick(self) -> None:
        now, wall = self._clock(), self._wall()
        for venue, watched in self._venues.items():
            self._look_ahead(venue, watched, now, wall)
            if watched.calendar.watch_s and not watched.asking and now >= watched.ask_at:
                watched.ask_at = now + watched.calendar.watch_s
                self._begin(venue, watched, now)

    def status(self) -> dict[str, dict[str, Any]]:
        """By venue: its own word, and the window that is or comes next (UTC seconds)."""
        wall = self._wall()
        return {
            venue: {
                "status": watched.said,
                "window_until": watched.windows.ends_at(wall),
                "next_window": watched.windows.next_start(wall),
            }
            for venue, watched in self._venues.items()
        }

    # ---- inside

    def _look_ahead(self, venue: str, watched: Watched, now: float, wall: float) -> None:
        lead_s = watched.calendar.lead_s
        ends_at = watched.windows.ends_at(wall) or watched.windows.ends_at(wall + lead_s)
        if ends_at is None:
            starts_at = watched.windows.next_start(wall)  # a window shorter than the lead
            if starts_at is not None and starts_at <= wall + lead_s:
                ends_at = watched.windows.ends_at(starts_at)
        if ends_at is None or ends_at == watched.announced or now < watched.announce_at:
            return
        if not self._can_recover(venue):  # nobody looks at the account afterwards, so the window's end is the end
            why = "a planned window; without a recovery only the calendar tells its end"
            self._modes.hold(venue, Mode.MAINTENANCE, holder=PLANNED, why=why, for_s=ends_at - wall)
        elif not self._detected(SCENARIO, {"venue": venue, "announced": True, "ends_at": ends_at}):
            watched.announce_at = now + AGAIN_AFTER_S
            return
        watched.announced = ends_at
        self._on_event("maintenance.window", {"venue": venue, "ends_in_s": round(ends_at - wall, 1), "lead_s": lead_s})

    def _begin(self, venue: str, watched: Watched, now: float) -> None:
        operations = self._reading(venue)
        if operations is None or not operations.is_open("status"):
            return
        watched.asking = True
        Flight(self._learn(venue, watched, operations, now), lambda error: self._broken(venue, watched, error)).step()

    async def _learn(self, venue: str, watched: Watched, operations: Operations, now: float) -> None:
        question = operations.request("status")
        answer = await self._ask(operations.profile.base_url, question, now + ASK_WITHIN_S)
        self._done(watched)
        told = operations.read("status", answer.status, answer.body) if isinstance(answer, HttpAnswer) else None
        if isinstance(told, VenueStatus):
            self._heard(venue, watched, told)

    def _broken(self, venue: str, watched: Watched, error: BaseException) -> None:
        self._done(watched)
        self._on_event("maintenance.broken", {"venue": venue, "error": f"{type(error).__name__}: {error}"[:200]})

    def _done(self, watched: Watched) -> None:
        watched.asking = False

    def _heard(self, venue: str, watched: Watched, told: VenueStatus) -> None:
        before, watched.said = watched.said, told.status
        if told.status != before and not (before == "" and told.status == "online"):
            words = {"venue": venue, "status": told.status, "was": before, "words": told.venue_status[:100]}
            self._on_event("venue.status", words)
        mode = HELD_IN.get(told.status)
        if mode is None:
            self._modes.release(venue, HOLDER)
        elif told.status != before:
            self._modes.hold(venue, mode, holder=HOLDER, why=f"the venue says {told.venue_status[:100]}")
        if told.status == "maintenance":
            self._detected(SCENARIO, {"venue": venue, "announced": True})
