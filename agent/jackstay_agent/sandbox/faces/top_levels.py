"""The best levels of a book as listeners last heard of them, and what has changed since: snapshots and deltas that fit.

Compares whole tops instead of collecting changes, so that a level that moves into or out of the depth is told too.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from ..engine.model import ZERO
from .instruments import Instrument

Levels = list[tuple[Decimal, Decimal]]


@dataclass(slots=True, frozen=True)
class Delta:
    """New quantities by price, zero for a level that is gone; `before` and `seq` are the states it leads between."""

    before: int
    seq: int
    bids: Levels
    asks: Levels


class TopLevels:
    """One instrument's book down to a depth."""

    def __init__(self, instrument: Instrument, depth: int) -> None:
        self.instrument = instrument
        self.depth = depth
        self.seq = 0
        self.bids: dict[Decimal, Decimal] = {}
        self.asks: dict[Decimal, Decimal] = {}
        self.advance()

    def advance(self) -> Delta | None:
        """Look at the book anew: what changed since the last look, None for nothing."""
        market = self.instrument.market
        bids, asks = dict(market.book.bids.depth(self.depth)), dict(market.book.asks.depth(self.depth))
        told = Delta(self.seq, market.update_id, _changes(self.bids, bids), _changes(self.asks, asks))
        if not told.bids and not told.asks and self.seq:
            return None
        self.bids, self.asks, self.seq = bids, asks, market.update_id
        return told


def _changes(before: dict[Decimal, Decimal], now: dict[Decimal, Decimal]) -> Levels:
    gone = [(price, ZERO) for price in before if price not in now]
    return gone + [(price, quantity) for price, quantity in now.items() if before.get(price) != quantity]
