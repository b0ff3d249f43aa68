"""A small seeded market behind the bot's orders: it quotes both sides, drifts, and now and then takes.

Each tick moves a hidden fair price by a bounded random step, re-quotes a few levels around it and may send one
market order, so that tickers, depth and trades move and a resting order near the price is eventually filled.
"""

from __future__ import annotations

from decimal import Decimal
from random import Random

from .exchange import Exchange
from .model import MARKET_ACCOUNT, OrderRequest, Symbol

LEVELS = 10
TAKE_PROBABILITY = 0.3


class BackgroundMarket:
    """Market maker and taker for every symbol of an exchange, all chance drawn from one `Random`."""

    def __init__(self, exchange: Exchange, chance: Random) -> None:
        self._exchange = exchange
        self._chance = chance
        self._fair = {name: market.last_price for name, market in exchange.markets.items()}

    def seed_books(self) -> None:
        """Quotes on every book before anyone trades: a deep ladder, so that a market order finds a price."""
        for market in self._exchange.markets.values():
            self._quote(market.symbol, levels=20)

    def tick(self) -> None:
        """One step of every symbol."""
        now, trading = self._exchange.clock(), self._exchange.trading
        for name, market in self._exchange.markets.items():
            if not trading.trades(name, now):
                continue
            symbol = market.symbol
            # 2 basis points a step at most, and pulled back to the start so that a long run stays in range
            drift = Decimal(self._chance.randint(-20, 20)) / 100_000
            pull = (symbol.price_start - self._fair[name]) / symbol.price_start / 500
            self._fair[name] *= 1 + drift + pull
            if self._chance.random() < TAKE_PROBABILITY:
                self._take(symbol)
            self._exchange.cancel_all(MARKET_ACCOUNT, name)
            self._quote(symbol, levels=LEVELS)

    def follow(self, symbol: str, price: Decimal) -> None:
        """Set the hidden fair price: the next tick quotes around it (a price move on request)."""
        self._fair[symbol] = price

    def _quote(self, symbol: Symbol, levels: int) -> None:
        fair = self._fair[symbol.name]
        gap = fair / 10_000  # one basis point between levels
        for number in range(1, levels + 1):
            for side, sign in (("BUY", -1), ("SELL", 1)):
                price = symbol.in_ticks(fair + sign * gap * number) + (symbol.tick if sign > 0 else 0)
                size = symbol.in_steps(Decimal(self._chance.randint(20_000, 200_000)) / fair)
                self._place(symbol, side, "LIMIT", size, price)

    def _take(self, symbol: Symbol) -> None:
        side = "BUY" if self._chance.random() < 0.5 else "SELL"
        size = symbol.in_steps(Decimal(self._chance.randint(50, 50_000)) / self._fair[symbol.name])
        self._place(symbol, side, "MARKET", max(size, symbol.quantity_min), Decimal(0))

    def _place(self, symbol: Symbol, side: str, kind: str, size: Decimal, price: Decimal) -> None:
        self._exchange.place(
            OrderRequest(MARKET_ACCOUNT, symbol.name, side, kind, size, price, tif="GTC", client_id="")
        )
