"""Hears of trouble at venues and holds the others of their groups (core/groups decides).

Trouble is what the agent's own events tell: an open breaker, a lost or silent feed, an account's stream that is gone, a
mode that somebody holds over the venue. It ends with the event that says so. Holds are modes (CONSERVATIVE) in the
group's own name, so that `jackstay mode` shows them, and an operator sees which venue they are for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from .core.groups import Group, Troubles
from .core.modes import Mode
from .telling import Listener
from .venue_modes import VenueModes

HOLDER = "group "
#: Event -> (is it trouble?, the field that tells two of a kind apart).
EVENTS: Mapping[str, tuple[bool, str]] = {
    "breaker.open": (True, "class"),
    "breaker.closed": (False, "class"),
    "feed.lost": (True, "feed"),
    "feed.stale": (True, "feed"),
    "feed.dial_failed": (True, "feed"),
    "feed.resumed": (False, "feed"),
    "user_stream.lost": (True, ""),
    "user_stream.failed": (True, ""),
    "user_stream.connected": (False, ""),
    "mode.held": (True, "by"),
    "mode.released": (False, "by"),
    "mode.expired": (False, "by"),
}


class Groups(Listener):
    """``venue_of(fields)``: the venue an event is about, "" where it is about none."""

    def __init__(
        self,
        groups: Mapping[str, Group],
        modes: VenueModes,
        *,
        venue_of: Callable[[dict[str, Any]], str],
        soon: Callable[[Callable[[], None]], Any],
    ) -> None:
        self._troubles = Troubles(groups)
        self._groups = groups
        self._modes = modes
        self._venue_of = venue_of
        self._soon = soon
        self._held: dict[tuple[str, str], str] = {}
        self._called = False

    def start(self) -> None:
        """Holds of an earlier agent are not known to be needed now."""
        for name, group in self._groups.items():
            for venue in group.venues:
                self._modes.release(venue, HOLDER + name)

    def happened(self, name: str, fields: dict[str, Any], wall_us: int) -> None:
        known = EVENTS.get(name)
        if known is None or str(fields.get("by", "")).startswith(HOLDER):
            return
        venue = self._venue_of(fields)
        if not venue:
            return
        trouble, apart = known
        what = f"{name.partition('.')[0]} {fields.get(apart, '')}"
        if trouble:
            self._troubles.note(venue, what, _words(name, fields))
        else:
            self._troubles.over(venue, what)
        if not self._called:  # not from inside the event: holding a mode is an event itself
            self._called = True
            self._soon(self._apply)

    def _apply(self) -> None:
        self._called = False
        wanted = self._troubles.holds()
        for group, venue in self._held.keys() - wanted.keys():
            self._modes.release(venue, HOLDER + group)
        for (group, venue), why in wanted.items():
            if self._held.get((group, venue)) != why:
                self._modes.hold(venue, Mode.CONSERVATIVE, holder=HOLDER + group, why=why)
        self._held = wanted

    def status(self) -> dict[str, Any]:
        """Which groups hold what, and why."""
        return {
            name: {
                "venues": {venue: self._troubles.wrong(venue) for venue in group.venues},
                "holds": {venue: why for (of, venue), why in self._held.items() if of == name},
            }
            for name, group in self._groups.items()
        }


def _words(name: str, fields: dict[str, Any]) -> str:
    why = fields.get("why") or fields.get("error") or fields.get("mode") or ""
    return f"{name} {why}".strip()[:200]
