"""``[hours.NAME]``: which markets have hours, and are they open? (DESIGN §5 Protection: per venue or symbol group)

The first table that fits a venue and a symbol counts, in the order of the file; what no table fits is always open. A
venue is known by several words (its profile, its feed, its host), any of which a table may name.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from fnmatch import fnmatchcase

import msgspec

from jackstay_protocols.errors import ValidationError

from .core.hours import Hours
from .time_zones import time_zone

NEVER = float("inf")
TOPICS_KNOWN_MAX = 8192


class HoursSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One table. ``venues`` and ``symbols`` are shell patterns; an empty list fits all, both empty is refused."""

    sessions: list[str]  # 'mon-fri 09:30-16:00', 'sun 17:00-fri 17:00', '24/7'
    timezone: str = "UTC"  # IANA name: the market's own
    holidays: list[str] = []  # local dates without trading
    special: list[str] = []  # '2026-11-27 09:30-13:00': these sessions instead of the usual ones
    venues: list[str] = []  # profile, feed or host
    symbols: list[str] = []  # symbols as the venue writes them, or a feed's topics

    def made(self, name: str) -> Hours:
        """Raises ValidationError naming the key that is wrong."""
        if not self.venues and not self.symbols:
            raise ValidationError(f"hours.{name} fits nothing; name 'venues' or 'symbols' (shell patterns)")
        zone = time_zone(self.timezone)
        if zone is None:
            raise ValidationError(
                f"hours.{name}.timezone is {self.timezone!r}; an IANA name like 'America/New_York' is expected"
            )
        try:
            return Hours(self.sessions, zone, holidays=self.holidays, special=self.special)
        except ValidationError as error:
            raise ValidationError(f"hours.{name}: {error}") from None


class Market:
    """One feed's topics and their calendars, remembered per topic."""

    def __init__(self, hours: TradingHours, names: Collection[str]) -> None:
        self._hours = hours
        self._names = frozenset(names)
        self._known: dict[str, Hours | None] = {}

    def open(self, topic: str) -> bool:
        """Is this topic's market open now?"""
        hours = self._calendar(topic)
        return hours is None or self._hours.open_now(hours)

    def changes_in_s(self, topics: Iterable[str]) -> float:
        """Seconds until the first of these topics' markets opens or closes; infinite without hours."""
        calendars = (self._calendar(topic) for topic in topics)
        return self._hours.changes_in_s(each for each in calendars if each is not None)

    def _calendar(self, topic: str) -> Hours | None:
        if topic not in self._known:
            if len(self._known) >= TOPICS_KNOWN_MAX:
                self._known.clear()
            self._known[topic] = self._hours.of(self._names, topic)
        return self._known[topic]


class TradingHours:
    """All tables of a configuration. ``wall``: Unix seconds."""

    def __init__(self, tables: Mapping[str, HoursSettings], wall: Callable[[], float]) -> None:
        self._tables = [(each, each.made(name)) for name, each in tables.items()]
        self._wall = wall

    def __bool__(self) -> bool:
        return bool(self._tables)

    def of(self, names: Collection[str], symbol: str = "") -> Hours | None:
        """The calendar of a symbol at a venue known by ``names``; None: always open.

        Without a symbol only tables count that are for the whole venue.
        """
        for table, hours in self._tables:
            venue = not table.venues or any(fnmatchcase(name, each) for name in names for each in table.venues)
            if venue and (not table.symbols or any(fnmatchcase(symbol, each) for each in table.symbols)):
                return hours
        return None

    def open(self, names: Collection[str], symbol: str = "") -> bool:
        """Is it open now?"""
        hours = self.of(names, symbol)
        return hours is None or self.open_now(hours)

    def open_now(self, hours: Hours) -> bool:
        return hours.open_at(self._wall())

    def market(self, names: Collection[str]) -> Market | None:
        """What one feed needs to know; None where no table could be for it."""
        fits = any(
            not each.venues or any(fnmatchcase(n, v) for n in names for v in each.venues) for each, _ in self._tables
        )
        return Market(self, names) if fits else None

    def changes_in_s(self, calendars: Iterable[Hours]) -> float:
        """Seconds until the first of these opens or closes; infinite without one."""
        now_s = self._wall()
        changes = [at_s for hours in set(calendars) if (at_s := hours.next_change(now_s)) is not None]
        return min(changes, default=NEVER) - now_s
