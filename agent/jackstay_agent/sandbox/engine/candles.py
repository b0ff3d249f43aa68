"""Candles and 24 h statistics from the engine's trades: one-minute bars, longer intervals added up from them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

from .model import ZERO, Trade

MINUTE = 60_000
BARS_KEPT_MAX = 1500
INTERVALS = {
    "1m": 1, "3m": 3, "5m": 5, "15m": 15, "30m": 30, "1h": 60, "2h": 120, "4h": 240, "6h": 360, "8h": 480,
    "12h": 720, "1d": 1440, "3d": 4320, "1w": 10080,
}  # fmt: skip


@dataclass(slots=True)
class Bar:
    """One candle; `opened_at` is its first millisecond."""

    opened_at: int
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal = ZERO
    quote_volume: Decimal = ZERO
    trades: int = 0
    taker_volume: Decimal = ZERO
    taker_quote_volume: Decimal = ZERO
    first_trade: int = -1
    last_trade: int = -1

    def add(self, trade: Trade) -> None:
        cost = trade.price * trade.quantity
        self.high = max(self.high, trade.price)
        self.low = min(self.low, trade.price)
        self.close = trade.price
        self.volume += trade.quantity
        self.quote_volume += cost
        self.trades += 1
        if not trade.buyer_is_maker:
            self.taker_volume += trade.quantity
            self.taker_quote_volume += cost
        self.first_trade = trade.id if self.first_trade < 0 else self.first_trade
        self.last_trade = trade.id

    def join(self, later: Bar) -> None:
        self.high = max(self.high, later.high)
        self.low = min(self.low, later.low)
        self.close = later.close
        self.volume += later.volume
        self.quote_volume += later.quote_volume
        self.trades += later.trades
        self.taker_volume += later.taker_volume
        self.taker_quote_volume += later.taker_quote_volume
        self.first_trade = later.first_trade if self.first_trade < 0 else self.first_trade
        self.last_trade = later.last_trade if later.last_trade >= 0 else self.last_trade


class Candles:
    """One symbol's minute bars, newest last; minutes without a trade have no bar of their own."""

    def __init__(self) -> None:
        self._bars: deque[Bar] = deque(maxlen=BARS_KEPT_MAX)

    def add(self, trade: Trade) -> None:
        opened_at = trade.at - trade.at % MINUTE
        if not self._bars or self._bars[-1].opened_at < opened_at:
            self._bars.append(Bar(opened_at, trade.price, trade.price, trade.price, trade.price))
        self._bars[-1].add(trade)

    def bars(self, interval: str, limit: int) -> list[Bar]:
        """The latest `limit` candles of that interval, oldest first. KeyError for an unknown interval."""
        length = INTERVALS[interval] * MINUTE
        joined: list[Bar] = []
        for bar in self._bars:
            opened_at = bar.opened_at - bar.opened_at % length
            if joined and joined[-1].opened_at == opened_at:
                joined[-1].join(bar)
            else:
                copy = Bar(opened_at, bar.open, bar.high, bar.low, bar.close)
                copy.join(bar)
                joined.append(copy)
        return joined[-limit:]

    def day(self, now: int, last_price: Decimal) -> Bar:
        """The last 24 hours as one bar; flat at the last price when nothing was traded."""
        return _sum((bar for bar in self._bars if bar.opened_at > now - 1440 * MINUTE), now, last_price)


def _sum(bars: Iterable[Bar], now: int, last_price: Decimal) -> Bar:
    total: Bar | None = None
    for bar in bars:
        if total is None:
            total = Bar(bar.opened_at, bar.open, bar.high, bar.low, bar.close)
        total.join(bar)
    return total or Bar(now - 1440 * MINUTE, last_price, last_price, last_price, last_price)
