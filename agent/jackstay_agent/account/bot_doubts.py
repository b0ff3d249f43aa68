"""What keeps a difference to a bot's picture from being called one at first sight.

A bot and its agent hear of the same change by different ways, so whoever hears first differs from the other for a
moment: a difference counts when it has lasted for the settling time. And a bot that asked for a cancel may count the
order as gone at once, while the venue has not answered yet: that order is leaving, and not unknown to its bot.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence

from ..core.discrepancy import Discrepancy, Kind

LEAVING_MAX = 4_096
LEAVING_S_MAX = 60.0  # a cancel without an answer for so long is no reason any more

Key = tuple[str, ...]


class BotDoubts:
    """Differences by venue since when they are there, and cancels that are under way."""

    def __init__(self, *, clock: Callable[[], float], settle_s: float) -> None:
        self._clock = clock
        self.settle_s = settle_s
        self._since: dict[str, dict[Key, float]] = {}
        self._leaving: OrderedDict[tuple[str, str, str], float] = OrderedDict()

    # ---- cancels under way

    def leaving(self, venue: str, name: str, symbol: str = "") -> None:
        """A cancel was sent: of one order, by either id, or of all of a symbol ("" names all there are)."""
        self._leaving[venue, name, symbol] = self._clock()
        if len(self._leaving) > LEAVING_MAX:
            self._leaving.popitem(last=False)

    def answered(self, venue: str, name: str, symbol: str = "") -> None:
        self._leaving.pop((venue, name, symbol), None)

    def is_leaving(self, venue: str, names: Sequence[str], symbol: str) -> bool:
        since = self._clock() - LEAVING_S_MAX
        keys = [*((venue, name, "") for name in names if name), (venue, "", symbol), (venue, "", "")]
        return any(self._leaving.get(key, -1.0) > since for key in keys)

    # ---- differences

    def lasting(self, venue: str, differ: Sequence[Discrepancy]) -> list[Discrepancy]:
        """Those of all that differ now which have lasted; the others are remembered."""
        now, before = self._clock(), self._since.get(venue, {})
        here = {each.key: each for each in differ if not self._is_excused(each)}
        since: dict[Key, float] = {key: before.get(key, now) for key in here}
        self._since[venue] = since
        return [each for key, each in here.items() if now - since[key] >= self.settle_s]

    def fresh(self, venue: str) -> bool:
        """Some may yet go away by themselves: compare again after the settling time."""
        now = self._clock()
        return any(now - since < self.settle_s for since in self._since.get(venue, {}).values())

    def _is_excused(self, each: Discrepancy) -> bool:
        if each.kind not in (Kind.UNKNOWN_TO_BOT, Kind.STATUS):
            return False
        names = [each.subject, each.views.get("venue", {}).get("venue_id", "")]
        return self.is_leaving(each.venue, names, each.symbol)
