"""The venue in one place: engine, background market, keys, limits, ledger. No sockets; the server drives it."""

from __future__ import annotations

import time
from collections.abc import Callable
from decimal import Decimal
from random import Random
from typing import TYPE_CHECKING

from .accounts import DEFAULT_ACCOUNT, DEFAULT_KEY, DEFAULT_SECRET, FUNDS, ApiKey, KeyRing
from .engine.background import BackgroundMarket
from .engine.candles import Candles
from .engine.exchange import Exchange, spot_exchange
from .engine.model import Event, Trade
from .ledger import Ledger
from .weights import Limits

if TYPE_CHECKING:
    from .faces.binance_user import UserStreams


def wall_ms() -> int:
    return time.time_ns() // 1_000_000


class Venue:
    """Everything a face needs. `clock` gives milliseconds since the epoch; `seed` decides all chance."""

    def __init__(
        self,
        *,
        seed: int = 1,
        keys: list[ApiKey] | None = None,
        enforce_limits: bool = True,
        clock: Callable[[], int] = wall_ms,
    ) -> None:
        self.seed = seed
        self.clock = clock
        self.keys = KeyRing(keys or [ApiKey(DEFAULT_KEY, DEFAULT_SECRET)])
        self.limits = Limits(enforced=enforce_limits)
        self.ledger = Ledger()
        self.users: UserStreams
        self.on_event: list[Callable[[Event], None]] = []
        self.build()

    def build(self, funds: dict[str, dict[str, Decimal]] | None = None) -> None:
        """A fresh engine: no orders, every account with its first funds, books quoted by the background market."""
        self.spot: Exchange = spot_exchange(self.clock, funds or self._first_funds())
        self.background = BackgroundMarket(self.spot, Random(self.seed))
        self.candles = {name: Candles() for name in self.spot.markets}

    def _first_funds(self) -> dict[str, dict[str, Decimal]]:
        return {account: dict(FUNDS) for account in [*self.keys.accounts(), DEFAULT_ACCOUNT]}

    def open_books(self) -> None:
        self.background.seed_books()
        self.publish()

    def reset(self) -> None:
        """As on the first day: orders, balances, ledger and counters are gone."""
        self.build()
        self.ledger.clear()
        self.limits.reset()
        self.open_books()

    def tick(self) -> None:
        """One step of the background market."""
        self.background.tick()
        self.publish()

    def publish(self) -> None:
        """Hand everything that happened since the last call to the listeners (streams, state, candles)."""
        for event in self.spot.drain():
            if isinstance(event, Trade):
                self.candles[event.symbol].add(event)
            for listener in self.on_event:
                listener(event)

    def forget_changes(self) -> None:
        """Everything changed so far is saved, or nobody wants it saved."""
        self.spot.orders.touched.clear()
        self.spot.orders.new_fills.clear()
        self.spot.wallets.touched.clear()
        self.ledger.touched.clear()
