"""The engine against a naive model: 100,000 random operations, money and priority checked all along."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal as D
from random import Random

from jackstay_agent.sandbox.engine.exchange import Exchange, spot_exchange
from jackstay_agent.sandbox.engine.model import OrderRequest, Reject
from jackstay_agent.sandbox.engine.triggers import reached

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
            # the list is in order of arrival, and min takes the first of equals
            best = min(there, key=lambda r: r.price if side == "BUY" else -r.price)
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

    def would_match(self, side: str, price: D) -> bool:
        return bool(self._against(side, price))

    def find(self, number: int) -> Resting | None:
        return next((r for r in self.resting if r.number == number), None)

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
        self.trades = self.duplicates = self.refused_amends = 0
        # client ids by who uses them, and the order that used each last
        self.names: dict[tuple[str, str], int] = {}

    def step(self) -> None:
        dice = self.chance.random()
        if dice < 0.3 and self.naive.resting:
            self.cancel()
        elif dice < 0.33:
            self.cancel_missing()
        elif dice < 0.37 and self.naive.resting:
            self.amend()
        elif dice < 0.372:
            self.cancel_all()
        else:
            self.place(market=dice > 0.93)

    def place(self, *, market: bool) -> None:
        chance = self.chance
        who, side = chance.choice(TRADERS), chance.choice(("BUY", "SELL"))
        quantity, tif = D(chance.randint(1, 300)) / 100, chance.choice(("GTC", "GTC", "GTC", "IOC", "FOK"))
        # most orders rest before they meet, so that queues are long enough to have an order
        price = D(0) if market else chance.choice(PRICES[:13] if side == "BUY" else PRICES[8:])
        maker = not market and chance.random() < 0.1
        kind, tif = ("MARKET" if market else "LIMIT_MAKER" if maker else "LIMIT"), "GTC" if maker else tif
        name = f"n{chance.randrange(20)}" if chance.random() < 0.3 else ""
        try:
            placed = self.venue.place(
                OrderRequest(who, "BTCUSDT", side, kind, quantity, price, tif=tif, client_id=name)
            )
        except Reject as reject:
            self.judge_refusal(reject.reason, who, name, side, price)
            return
        assert not (name and self.is_used(who, name)), "a client id was accepted twice"
        assert not (maker and self.naive.would_match(side, price))
        order = placed.order
        if name:
            self.names[who, name] = order.id
        assert order.id not in self.seen_ids
        self.seen_ids.add(order.id)
        expected = self.naive.place(order.id, who, side, price or None, quantity, "IOC" if market else tif)
        trades = list(self.venue.market("BTCUSDT").trades)[-len(placed.fills) :] if placed.fills else []
        makers = [t.seller_order if side == "BUY" else t.buyer_order for t in trades]
        assert [(m, f.price, f.quantity) for m, f in zip(makers, placed.fills, strict=True)] == expected
        self.trades += len(expected)

    def is_used(self, who: str, name: str) -> bool:
        """Does an open order of theirs have this client id?"""
        return self.naive.find(self.names.get((who, name), -1)) is not None

    def judge_refusal(self, reason: str, who: str, name: str, side: str, price: D) -> None:
        """A refusal must have had its reason."""
        if reason == "duplicate_client_id":
            assert self.is_used(who, name)
            self.duplicates += 1
        elif reason == "would_match":
            assert self.naive.would_match(side, price)
        elif reason != "insufficient_balance":
            raise AssertionError(reason)

    def amend(self) -> None:
        """A new price and size: the order goes to the end of its queue, unless it only became smaller."""
        resting = self.chance.choice(self.naive.resting)
        order = self.venue.orders.get(resting.number)
        assert order is not None
        if self.chance.random() < 0.5 and resting.left > D("0.02"):
            smaller = (resting.left / 2).quantize(D("0.01"))
            self.venue.shrink(order, order.filled + smaller)
            resting.left = smaller
            return
        price, left = self.chance.choice(PRICES), D(self.chance.randint(1, 300)) / 100
        try:
            self.venue.amend(order, price, order.filled + left)
        except Reject as reject:
            self.judge_refusal(reject.reason, resting.who, "", order.side, price)
            assert (order.price, order.remaining) == (resting.price, resting.left)
            self.refused_amends += 1
            return
        self.naive.cancel(resting.number)
        self.trades += len(self.naive.place(resting.number, resting.who, order.side, price, left, "GTC"))

    def cancel_all(self) -> None:
        who = self.chance.choice(TRADERS)
        mine = {r.number for r in self.naive.resting if r.who == who}
        assert {order.id for order in self.venue.cancel_all(who, "BTCUSDT")} == mine
        self.naive.resting = [r for r in self.naive.resting if r.who != who]

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
    assert min(run.duplicates, run.refused_amends) > 30


EXPECTED = {"insufficient_balance", "would_match", "would_trigger", "bad_list", "not_open", "filter"}
KINDS = ("STOP_LOSS", "TAKE_PROFIT", "STOP_LOSS_LIMIT", "TAKE_PROFIT_LIMIT")


class Wild:
    """Everything the engine can do, on two symbols, with nothing to predict it: only what must hold at any time."""

    def __init__(self, seed: int) -> None:
        self.chance = Random(seed)
        funds = {who: {"USDT": D(5_000_000), "BTC": D(100), "ETH": D(1000)} for who in TRADERS}
        self.venue = spot_exchange(lambda: self.now, funds)
        self.totals = {asset: self.venue.wallets.total(asset) for asset in ("USDT", "BTC", "ETH")}
        self.now = 1_000
        self.fired = self.pairs = self.prevented = 0
        self.last_id = 0

    def step(self) -> None:
        chance = self.chance
        self.now += chance.randrange(3)
        symbol, middle, unit = chance.choice((("BTCUSDT", 50_000, D("0.01")), ("ETHUSDT", 3_000, D("0.1"))))
        who, side = chance.choice(TRADERS), chance.choice(("BUY", "SELL"))
        quantity, price = chance.randint(1, 200) * unit, D(middle) + chance.randint(-15, 15)
        dice = chance.random()
        try:
            if dice < 0.45:
                kind = chance.choice(("LIMIT", "LIMIT", "LIMIT", "LIMIT_MAKER", "MARKET"))
                stp = chance.choice(("NONE", "EXPIRE_TAKER", "EXPIRE_MAKER", "EXPIRE_BOTH"))
                tif = chance.choice(("GTC", "GTC", "IOC", "FOK")) if kind == "LIMIT" else "GTC"
                limit = D(0) if kind == "MARKET" else price
                self.placed(OrderRequest(who, symbol, side, kind, quantity, limit, tif=tif, stp=stp))
            elif dice < 0.5:
                money = chance.randint(10, 100_000)
                self.placed(OrderRequest(who, symbol, side, "MARKET", quote_quantity=D(money)))
            elif dice < 0.62:
                kind = chance.choice(KINDS)
                limit = price + chance.randint(-5, 5) if kind.endswith("LIMIT") else D(0)
                self.placed(OrderRequest(who, symbol, side, kind, quantity, limit, stop_price=price))
            elif dice < 0.68:
                self.pair(who, symbol, side, quantity, D(middle))
            else:
                self.change(who, symbol, price)
        except Reject as reject:
            if reject.reason not in EXPECTED:
                raise

    def placed(self, request: OrderRequest) -> None:
        placed = self.venue.place(request)
        assert placed.order.id > self.last_id, "ids rise"
        self.last_id = placed.order.id
        self.prevented += placed.order.status == "EXPIRED_IN_MATCH"

    def pair(self, who: str, symbol: str, side: str, quantity: D, middle: D) -> None:
        up = 1 if side == "SELL" else -1
        limit = OrderRequest(who, symbol, side, "LIMIT_MAKER", quantity, middle + up * 18)
        stop = OrderRequest(
            who, symbol, side, "STOP_LOSS", quantity, stop_price=middle - up * self.chance.randint(1, 18)
        )
        self.venue.place_pair(limit, stop, "")
        self.last_id = self.venue.next_order_id - 1
        self.pairs += 1

    def change(self, who: str, symbol: str, price: D) -> None:
        mine = self.venue.orders.open_of(who, symbol)
        dice = self.chance.random()
        if not mine or dice < 0.02:
            self.venue.cancel_all(who, symbol)
            return
        order = self.chance.choice(mine)
        if dice < 0.6:
            self.venue.cancel(who, symbol, order.id)
        elif order.price:
            self.venue.amend(order, price, order.filled + order.remaining)

    def check(self) -> None:
        """Money, locks, books, triggers and pairs, all at once."""
        venue = self.venue
        assert {asset: venue.wallets.total(asset) for asset in self.totals} == self.totals
        for who in TRADERS:
            held: dict[str, D] = dict.fromkeys(self.totals, D(0))
            for order in venue.orders.open_of(who):
                assert 0 <= order.filled < order.quantity
                symbol = venue.market(order.symbol).symbol
                held[symbol.quote if order.side == "BUY" else symbol.base] += order.locked
            for asset, balance in venue.wallets.assets(who).items():
                assert balance.free >= 0
                assert balance.locked == held[asset]
        for name, market in venue.markets.items():
            working = [o for who in TRADERS for o in venue.orders.open_of(who, name) if o.working]
            for side, book in (("BUY", market.book.bids), ("SELL", market.book.asks)):
                levels: dict[D, D] = {}
                for order in working:
                    if order.side == side:
                        levels[order.price] = levels.get(order.price, D(0)) + order.remaining
                assert dict(book.depth(1000)) == levels
            best = [side.best() for side in (market.book.bids, market.book.asks)]
            assert not all(best) or best[0].price < best[1].price  # type: ignore[union-attr]
        for order in [o for who in TRADERS for o in venue.orders.open_of(who)]:
            partner = venue.lists.partner(order) if order.list_id >= 0 else None
            acted = order.filled or (order.stop_price and order.working)
            assert partner is None or partner.is_open or acted, "one leg ended and left the other"
            if not order.working:
                last = venue.market(order.symbol).last_price
                assert not reached(order.side, order.type, order.stop_price, last), "a trigger was reached and slept"

    def count_fired(self) -> None:
        self.fired += sum(getattr(event, "kind", "") == "TRIGGERED" for event in self.venue.drain())


def test_whatever_is_done_the_invariants_hold() -> None:
    """Over 100,000 operations of every kind nothing is lost or locked twice, no book is crossed, no trigger sleeps, no
    pair loses one leg, ids rise."""
    wild = Wild(seed=4)
    for number in range(OPERATIONS):
        wild.step()
        if number % 250 == 0:
            wild.count_fired()
            wild.check()
    wild.count_fired()
    wild.check()
    assert min(wild.fired, wild.pairs, wild.prevented) > 500
