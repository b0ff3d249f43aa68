"""The engine against a naive model: 100,000 random operations, money and priority checked all along."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal as D
from random import Random

from jackstay_agent.sandbox.engine.exchange import Exchange, spot_exchange
from jackstay_agent.sandbox.engine.model import OrderRequest, Reject

OPERATIONS = 100_000
TRADERS = ("ann", "bob", "cy", "dee")
PRICES = [D(49_990 + step) for step in range(21)]


@dataclass
class Resting:
    number: int
    who: str
    side: str
    price: D
    left: D


class NaiveBook:
    """The slowest possible matching: a list, searched anew for the best order each time."""

    def __init__(self) -> None:
        self.resting: list[Resting] = []

    def place(self, number: int, who: str, side: str, price: D | None, quantity: D, tif: str) -> list[tuple[int, D, D]]:
        """(maker's number, price, quantity) of every match."""
        left, matches = quantity, []
        if tif == "FOK" and sum((r.left for r in self._against(side, price)), D(0)) < quantity:
            return []
        while left and (there := self._against(side, price)):
            best = min(there, key=lambda r: (r.price if side == "BUY" else -r.price, r.number))
            taken = min(left, best.left)
            matches.append((best.number, best.price, taken))
            left -= taken
            best.left -= taken
            if not best.left:
                self.resting.remove(best)
        if left and price is not None and tif == "GTC":
            self.resting.append(Resting(number, who, side, price, left))
        return matches

    def _against(self, side: str, price: D | None) -> list[Resting]:
        if side == "BUY":
            return [r for r in self.resting if r.side == "SELL" and (price is None or r.price <= price)]
        return [r for r in self.resting if r.side == "BUY" and (price is None or r.price >= price)]

    def cancel(self, number: int) -> bool:
        before = len(self.resting)
        self.resting = [r for r in self.resting if r.number != number]
        return len(self.resting) < before


class Run:
    """Both books side by side."""

    def __init__(self, seed: int) -> None:
        self.chance = Random(seed)
        self.venue = spot_exchange(lambda: 1_000, {who: {"USDT": D(10_000_000), "BTC": D(200)} for who in TRADERS})
        self.naive = NaiveBook()
        self.totals = {asset: self.venue.wallets.total(asset) for asset in ("USDT", "BTC")}
        self.seen_ids: set[int] = set()
        self.trades = self.refused = 0

    def step(self) -> None:
        dice = self.chance.random()
        if dice < 0.3 and self.naive.resting:
            self.cancel()
        elif dice < 0.33:
            self.cancel_missing()
        else:
            self.place(market=dice > 0.93)

    def place(self, *, market: bool) -> None:
        chance = self.chance
        who, side = chance.choice(TRADERS), chance.choice(("BUY", "SELL"))
        quantity, tif = D(chance.randint(1, 300)) / 100, chance.choice(("GTC", "GTC", "GTC", "IOC", "FOK"))
        price = D(0) if market else chance.choice(PRICES)
        try:
            placed = self.venue.place(
                OrderRequest(who, "BTCUSDT", side, "MARKET" if market else "LIMIT", quantity, price, tif=tif)
            )
        except Reject as reject:
            if reject.reason != "insufficient_balance":
                raise
            self.refused += 1
            return
        order = placed.order
        assert order.id not in self.seen_ids
        self.seen_ids.add(order.id)
        expected = self.naive.place(order.id, who, side, price or None, quantity, "IOC" if market else tif)
        trades = list(self.venue.market("BTCUSDT").trades)[-len(placed.fills) :] if placed.fills else []
        makers = [t.seller_order if side == "BUY" else t.buyer_order for t in trades]
        assert [(m, f.price, f.quantity) for m, f in zip(makers, placed.fills, strict=True)] == expected
        self.trades += len(expected)

    def cancel(self) -> None:
        resting = self.chance.choice(self.naive.resting)
        order = self.venue.cancel(resting.who, "BTCUSDT", resting.number)
        assert order.remaining == resting.left
        assert self.naive.cancel(resting.number)

    def cancel_missing(self) -> None:
        number = self.chance.choice((10**9, self.venue.next_order_id))
        try:
            self.venue.cancel("ann", "BTCUSDT", number)
        except Reject:
            return
        raise AssertionError("an order nobody placed was cancelled")

    def check(self) -> None:
        """Money is conserved, locks are what open orders need, the book is what the model says, and never crossed."""
        venue = self.venue
        assert {asset: venue.wallets.total(asset) for asset in self.totals} == self.totals
        for who in TRADERS:
            for asset, balance in venue.wallets.assets(who).items():
                assert balance.free >= 0
                assert balance.locked == needed(venue, who, asset)
        book = venue.market("BTCUSDT").book
        bids, asks = book.bids.depth(100), book.asks.depth(100)
        assert dict(bids) == self.level_totals("BUY")
        assert dict(asks) == self.level_totals("SELL")
        assert bids == sorted(bids, reverse=True)
        assert asks == sorted(asks)
        assert not bids or not asks or bids[0][0] < asks[0][0]

    def level_totals(self, side: str) -> dict[D, D]:
        totals: dict[D, D] = {}
        for resting in self.naive.resting:
            if resting.side == side:
                totals[resting.price] = totals.get(resting.price, D(0)) + resting.left
        return totals


def needed(venue: Exchange, who: str, asset: str) -> D:
    """What this account's open orders must hold of an asset."""
    orders = venue.orders.open_of(who)
    if asset == "USDT":
        return sum((order.price * order.remaining for order in orders if order.side == "BUY"), D(0))
    return sum((order.remaining for order in orders if order.side == "SELL" and asset == "BTC"), D(0))


def test_random_operations_agree_with_the_naive_model() -> None:
    """Over 100,000 operations the engine matches exactly like the model, conserves money and never crosses the book."""
    run = Run(seed=20)
    for number in range(OPERATIONS):
        run.step()
        if number % 500 == 0:
            run.check()
            run.venue.drain()
    run.check()
    assert run.trades > 10_000
