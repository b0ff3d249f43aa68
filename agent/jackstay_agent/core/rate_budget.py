"""One budget of a venue: how much may still be spent now, and when there will be room.

Three kinds: `Window` (so much in any stretch of time), `Bucket` (a counter that decays evenly), `Leased` (what a
shared book of the host has granted). A budget never says no to the de-risking lane; it counts it, over the limit if
need be, and the others pay.
"""

from __future__ import annotations

from typing import Any, Protocol

from .rate_bucket import Bucket
from .rate_lease import Leased
from .rate_rule import BudgetRule
from .rate_window import Window

__all__ = ["Bucket", "Budget", "BudgetRule", "Leased", "Window", "make_budget"]


class Budget(Protocol):
    rule: BudgetRule

    def fits_at(self, now: float, weight: float, ahead: float) -> float:
        """The instant at which ``weight`` fits behind ``ahead`` waiting weight: ``now`` if at once, inf if never."""

    def take_if(self, now: float, weight: float, ahead: float) -> float:
        """Spend if it fits, in one step; the answer is that of `fits_at`."""

    def take(self, now: float, weight: float) -> bool:
        """Spend without asking; True if that is over the limit."""

    def give_back(self, now: float, taken_at: float, weight: float) -> None:
        """What was taken was not sent."""

    def correct(self, now: float, used: float, in_flight: float | None) -> None:
        """The venue's own count. Higher than ours: others spend too, believe it. Lower: believe it only if the caller
        knows how much is in flight, uncounted by the venue so far.
        """

    def used(self, now: float) -> float: ...

    def dump(self, now: float) -> list[Any]: ...

    def load(self, rows: list[Any], now: float) -> None: ...


def make_budget(rule: BudgetRule) -> Budget:
    if rule.kind == "window":
        return Window(rule)
    return Bucket(rule) if rule.kind == "bucket" else Leased(rule)
