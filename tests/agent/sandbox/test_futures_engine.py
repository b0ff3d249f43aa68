"""The futures engine: positions, margin, reduce-only, algo orders, the dead-man switch, and a conservation property."""

from __future__ import annotations

from decimal import Decimal as D
from random import Random

import pytest

from jackstay_agent.sandbox.engine.futures import Countdown, FuturesExchange, futures_exchange
from jackstay_agent.sandbox.engine.model import Order, OrderRequest, Reject
from jackstay_agent.sandbox.futures_state import FuturesNotes


class Clock:
    def __init__(self) -> None:
        self.now = 1_000

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def venue(clock: Clock) -> FuturesExchange:
    """Ann trades against a maker with one coin every ten dollars on both sides of 50000."""
    venue = futures_exchange(clock, ["ann", "bob", "maker"], D(1_000_000))
    for step in range(1, 30):
        place(venue, "maker", "SELL", "1", str(50_000 + 10 * step))
        place(venue, "maker", "BUY", "1", str(50_000 - 10 * step))
    return venue


def place(venue: FuturesExchange, who: str, side: str, quantity: str, price: str = "0", **more: object) -> Order:
    kind = "LIMIT" if D(price) else "MARKET"
    return venue.place(OrderRequest(who, "BTCUSDT", side, kind, D(quantity), D(price), **more)).order  # type: ignore[arg-type]


def held(venue: FuturesExchange, who: str, side: str = "BOTH") -> tuple[D, D]:
    position = venue.positions.position(who, "BTCUSDT", side)
    return position.quantity, position.entry


def algo(venue: FuturesExchange, side: str, kind: str, trigger: str, quantity: str = "0", **more: object) -> int:
    return venue.place_algo(
        OrderRequest("ann", "BTCUSDT", side, kind, D(quantity), stop_price=D(trigger), **more)  # type: ignore[arg-type]
    )


def test_open_enlarge_reduce_flip(venue: FuturesExchange) -> None:
    """A position takes the mean price as it grows, realises profit as it shrinks, and starts anew when it flips."""
    place(venue, "ann", "BUY", "2")
    assert held(venue, "ann") == (D(2), D(50_015))
    place(venue, "ann", "SELL", "1")
    assert held(venue, "ann") == (D(1), D(50_015))
    fees = (D(50_010) + 50_020 + 49_990) * D("0.0004")
    assert venue.wallets.of("ann", "USDT").free == D(1_000_000) - 25 - fees
    place(venue, "ann", "SELL", "3")
    assert held(venue, "ann")[0] == D(-2)


def test_margin(venue: FuturesExchange) -> None:
    """What would enlarge a position beyond the margin is refused; what closes it never is."""
    with pytest.raises(Reject, match="insufficient_margin"):
        place(venue, "ann", "BUY", "500", "45000")
    order = place(venue, "ann", "BUY", "100", "45000")
    assert venue.positions.available("ann") == D(1_000_000) - 100 * 45_000 / D(20)
    venue.cancel("ann", "BTCUSDT", order.id)
    assert venue.positions.available("ann") == D(1_000_000)


def test_reduce_only(venue: FuturesExchange) -> None:
    """A reduce-only order is refused without a position, never flips one, and expires when it is gone."""
    with pytest.raises(Reject, match="reduce_only"):
        place(venue, "ann", "SELL", "1", reduce_only=True)
    place(venue, "ann", "BUY", "1")
    resting = place(venue, "ann", "SELL", "1", "50200", reduce_only=True)
    order = place(venue, "ann", "SELL", "3", reduce_only=True)
    assert (order.status, order.filled, held(venue, "ann")[0]) == ("EXPIRED", D(1), D(0))
    place(venue, "bob", "BUY", "25", "50200")
    assert (resting.status, held(venue, "ann")[0]) == ("EXPIRED", D(0))


def test_hedge_sides_are_apart(venue: FuturesExchange) -> None:
    """In hedge mode long and short are two positions."""
    place(venue, "ann", "BUY", "1", position_side="LONG")
    place(venue, "ann", "SELL", "2", position_side="SHORT")
    assert (held(venue, "ann", "LONG")[0], held(venue, "ann", "SHORT")[0]) == (D(1), D(-2))


def test_algo_closes_the_position(venue: FuturesExchange) -> None:
    """A stop with closePosition waits in its own family, and when it fires the whole position is closed."""
    place(venue, "ann", "BUY", "2")
    number = algo(venue, "SELL", "STOP_MARKET", "49980", close_position=True)
    assert venue.orders.open_of("ann") == []
    place(venue, "bob", "SELL", "2")
    waiting = venue.algos.find("ann", number, None)
    assert (waiting.status, held(venue, "ann")[0]) == ("FINISHED", D(0))
    assert venue.orders.get(waiting.order_id).status == "FILLED"  # type: ignore[union-attr]
    assert [change.status for change in venue.algos.changes] == ["NEW", "TRIGGERED", "FINISHED"]


def test_algo_refusals(venue: FuturesExchange) -> None:
    """A reached trigger and a client id in use are refused; a cancelled algo does not fire."""
    with pytest.raises(Reject, match="would_trigger"):
        algo(venue, "SELL", "STOP_MARKET", "50500", "1")
    number = algo(venue, "SELL", "STOP_MARKET", "49980", "1", client_id="x")
    with pytest.raises(Reject, match="duplicate_algo_id"):
        algo(venue, "SELL", "STOP_MARKET", "49980", "1", client_id="x")
    venue.algos.cancel(venue.algos.find("ann", number, None), 1_000)
    place(venue, "bob", "SELL", "5")
    assert held(venue, "ann")[0] == 0


def test_dead_man_switch(venue: FuturesExchange, clock: Clock) -> None:
    """When the countdown is not renewed the symbol's orders are cancelled, algo orders stay; zero disarms it."""
    order, number = place(venue, "ann", "BUY", "1", "45000"), algo(venue, "SELL", "STOP_MARKET", "40000", "1")
    venue.countdown("ann", "BTCUSDT", 1_000)
    clock.now += 999
    venue.countdown("ann", "BTCUSDT", 1_000)
    clock.now += 999
    assert venue.fire_countdowns() == []
    clock.now += 1
    assert venue.fire_countdowns() == [order]
    assert (order.status, venue.algos.find("ann", number, None).status) == ("CANCELED", "NEW")
    venue.countdown("ann", "BTCUSDT", 1_000)
    venue.countdown("ann", "BTCUSDT", 0)
    clock.now += 5_000
    place(venue, "ann", "BUY", "1", "45000")
    assert venue.fire_countdowns() == []


def test_random_trading_conserves_money() -> None:
    """Over 20,000 random orders positions add up to zero and wallets plus open profit stay constant."""
    chance = Random(5)
    who = ("ann", "bob", "cy")
    venue = futures_exchange(lambda: 1_000, list(who), D(10_000_000))
    total = venue.wallets.total("USDT")
    for number in range(20_000):
        side, quantity = chance.choice(("BUY", "SELL")), str(D(chance.randint(1, 3000)) / 1000)
        price = "0" if chance.random() < 0.1 else str(50_000 + chance.randint(-20, 20))
        try:
            place(venue, chance.choice(who), side, quantity, price, reduce_only=chance.random() < 0.2)
        except Reject as reject:
            if reject.reason not in ("reduce_only", "insufficient_margin"):
                raise
        if number % 10 == 0:
            venue.cancel_all(chance.choice(who), "BTCUSDT")
        if number % 500 == 0:
            positions = [each for name in who for each in venue.positions.positions(name)]
            assert sum((each.quantity for each in positions), D(0)) == 0
            last = venue.market("BTCUSDT").last_price
            open_profit = sum((each.profit(last) for each in positions), D(0))
            assert abs(venue.wallets.total("USDT") + open_profit - total) < D("0.000001")
            for name in who:
                open_locks = sum((order.locked for order in venue.orders.open_of(name)), D(0))
                assert abs(venue.positions.order_margin(name) - open_locks) < D("0.000001")
            venue.drain()


def test_the_notes_name_whose_switch_is_armed(venue: FuturesExchange) -> None:
    """A switch of the same length and time that is another one's by now is written down anew."""
    notes = FuturesNotes()
    venue.countdowns["ann", "BTCUSDT"] = Countdown(1000, 2000)
    assert notes(venue)["switches"] == {"ann|BTCUSDT": [1000, 2000]}
    venue.countdowns = {("bob", "BTCUSDT"): Countdown(1000, 2000)}
    assert notes(venue)["switches"] == {"bob|BTCUSDT": [1000, 2000]}
