"""Venues that a strategy needs together: trouble at one keeps new entries away from the others (DESIGN §5, Modes).

A two-legged bot that enters one leg while the other venue is silent holds a naked position. So while any venue of a
group is in trouble, entries are refused at all of them; exits, hedges and cancels pass, for they close what is open.

Pure: trouble is noted by name and taken back by the same name; who notices it is elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from jackstay_protocols.errors import ValidationError

HOLDS: Final = ("all", "others")
TROUBLES_MAX: Final = 1_024


@dataclass(frozen=True, slots=True)
class Group:
    """``hold``: "all" venues of the group, or the "others" than the one in trouble."""

    venues: Sequence[str]
    hold: str = "all"

    def check(self, name: str) -> None:
        """Raises ValidationError naming what is wrong."""
        if len(set(self.venues)) < 2 or len(set(self.venues)) != len(self.venues):
            raise ValidationError(f"venues = {list(self.venues)!r}; two or more different venues are expected")
        if self.hold not in HOLDS:
            raise ValidationError(f"hold = {self.hold!r}; {' or '.join(HOLDS)} is expected")
        if not name.isprintable() or not name:
            raise ValidationError("a group needs a name")


class Troubles:
    """What is wrong where, and which venues are held for it."""

    def __init__(self, groups: Mapping[str, Group]) -> None:
        self._groups = dict(groups)
        self._members = {venue for group in groups.values() for venue in group.venues}
        self._wrong: dict[str, dict[str, str]] = {}

    def note(self, venue: str, what: str, why: str) -> None:
        """Something is wrong at this venue; the same ``what`` again replaces its reason."""
        if venue in self._members:
            wrong = self._wrong.setdefault(venue, {})
            if what in wrong or len(wrong) < TROUBLES_MAX:
                wrong[what] = why

    def over(self, venue: str, what: str) -> None:
        """That is over."""
        wrong = self._wrong.get(venue)
        if wrong is not None:
            wrong.pop(what, None)
            if not wrong:
                del self._wrong[venue]

    def wrong(self, venue: str) -> dict[str, str]:
        """Everything that is wrong there now."""
        return dict(self._wrong.get(venue, {}))

    def holds(self) -> dict[tuple[str, str], str]:
        """(group, venue) -> why entries are held there."""
        found: dict[tuple[str, str], str] = {}
        for name, group in self._groups.items():
            for troubled in group.venues:
                wrong = self._wrong.get(troubled)
                if not wrong:
                    continue
                why = f"{troubled}: {next(iter(wrong.values()))}"
                for venue in group.venues:
                    if group.hold == "all" or venue != troubled:
                        found.setdefault((name, venue), why)
        return found
