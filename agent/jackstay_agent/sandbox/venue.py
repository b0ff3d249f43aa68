"""The venue in one place: engine, background market, keys, limits, ledger. No sockets; the server drives it."""

from __future__ import annotations

import time
from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING

from .accounts import DEFAULT_ACCOUNT, DEFAULT_KEY, DEFAULT_SECRET, FUNDS, ApiKey, KeyRing
from .engine.background import BackgroundMarket
from .engine.candles import Candles
from .engine.exchange import Exchange, spot_exchange
from .engine.futures import FuturesExchange, futures_exchange
from .engine.model import Event, Trade
from .engine.trading import Hours
from .ledger import Ledger
from .weights import Limits

if TYPE_CHECKING:
    from .faces.binance_user import UserStreams


class WallClock:
    """Wall time in milliseconds, wrong by `offset_ms` on request."""

    def __init__(self) -> None:
        self.offset_ms = 0

    def __call__(self) -> int:
        return time.time_ns() // 1_000_000 + self.offset_ms


class Venue:
    """One market of the exchange, spot or usdm, with all a face needs. Several share keys and ledger.

    `clock` gives milliseconds since the epoch; `seed` decides all chance. `make` builds the engine of another kind of
    market for these accounts.
    """

    def __init__(
        self,
        *,
        kind: str = "spot",
        seed: int = 1,
        keys: list[ApiKey] | None = None,
        enforce_limits: bool = True,
        clock: Callable[[], int] | None = None,
        beside: Venue | None = None,
        make: Callable[[list[str]], Exchange] | None = None,
    ) -> None:
        self.kind = kind
        self._make = make
        self.seed = seed
        self.clock = clock or WallClock()
        self.keys: KeyRing = beside.keys if beside else KeyRing(keys or [ApiKey(DEFAULT_KEY, DEFAULT_SECRET)])
        self.ledger: Ledger = beside.ledger if beside else Ledger()
        spot = kind == "spot"
        # request weight a minute and orders per ten seconds: Binance spot and USDⓈ-M limits
        self.limits = Limits(
            enforced=enforce_limits, weight_max=6000 if spot else 2400, orders_10s_max=100 if spot else 300
        )
        self.users: UserStreams
        self.on_event: list[Callable[[Event], None]] = []
        # a fault's hand on what is told: True keeps the event back
        self.keep_back: Callable[[Event], bool] | None = None
        # opening hours by symbol; they outlive a reset
        self.hours: dict[str, Hours] = {}
        self.build()

    def build(self) -> None:
        """A fresh engine: no orders, every account with its first funds."""
        self.exchange: Exchange = self._fresh()
        self.exchange.trading.hours = self.hours
        self.background = BackgroundMarket(self.exchange, Random(f"{self.kind}-{self.seed}"))
        self.candles = {name: Candles() for name in self.exchange.markets}

    def _fresh(self) -> Exchange:
        accounts = sorted({*self.keys.accounts(), DEFAULT_ACCOUNT})
        if self._make is not None:
            return self._make(accounts)
        if self.kind == "usdm":
            return futures_exchange(self.clock, accounts, FUNDS["USDT"])
        return spot_exchange(self.clock, {account: dict(FUNDS) for account in accounts})

    @property
    def futures(self) -> FuturesExchange:
        """The engine of the usdm market."""
        assert isinstance(self.exchange, FuturesExchange)
        return self.exchange

    def open_books(self) -> None:
        self.background.seed_books()
        self.publish()

    def reset(self) -> None:
        """As on the first day: orders, balances, ledger and counters are gone."""
        self.build()
        self.ledger.clear()
        self.keys.forget_nonces()
        self.limits.reset()
        self.open_books()

    def tick(self) -> None:
        """One step of the background market."""
        self.background.tick()
        self.publish()

    def publish(self) -> None:
        """Hand everything that happened since the last call to the listeners (streams, state, candles)."""
        for event in self.exchange.drain():
            if isinstance(event, Trade):
                self.candles[event.symbol].add(event)
            if self.keep_back is None or not self.keep_back(event):
                self.tell(event)

    def tell(self, event: Event) -> None:
        """Tell every listener of one event."""
        for listener in self.on_event:
            listener(event)

    def forget_changes(self, *, ledger: bool = True) -> None:
        """Everything changed so far is saved, or nobody wants it saved."""
        self.exchange.orders.touched.clear()
        self.exchange.orders.new_fills.clear()
        self.exchange.wallets.touched.clear()
        if ledger:
            self.ledger.touched.clear()
