"""Stop losses, take profits, pairs and self-trade prevention, in the engine."""

from __future__ import annotations

from decimal import Decimal as D

import pytest

from jackstay_agent.sandbox.engine.exchange import Exchange, spot_exchange
from jackstay_agent.sandbox.engine.model import Order, OrderRequest, Reject


@pytest.fixture
def venue() -> Exchange:
    """Two traders and a maker with a ladder from 49900 to 50100; the last price is 50000."""
    funds = {who: {"USDT": D(1_000_000), "BTC": D(100)} for who in ("ann", "bob", "maker")}
    venue = spot_exchange(lambda: 1_000, funds)
    for step in range(1, 11):
        place(venue, "maker", "SELL", "1", str(50_000 + 10 * step))
        place(venue, "maker", "BUY", "1", str(50_000 - 10 * step))
    return venue


def place(
    venue: Exchange, who: str, side: str, quantity: str, price: str = "0", kind: str = "LIMIT", **more: object
) -> Order:
    return venue.place(OrderRequest(who, "BTCUSDT", side, kind, D(quantity), D(price), **more)).order  # type: ignore[arg-type]


def move(venue: Exchange, side: str, quantity: str) -> None:
    """Push the price with a market order."""
    place(venue, "ann", side, quantity, kind="MARKET")


def money(venue: Exchange, who: str, asset: str) -> tuple[D, D]:
    balance = venue.wallets.of(who, asset)
    return balance.free, balance.locked


def pair(venue: Exchange, side: str, limit: str, stop: str, stop_limit: str = "0") -> tuple[Order, Order]:
    kind = "STOP_LOSS_LIMIT" if D(stop_limit) else "STOP_LOSS"
    first = OrderRequest("bob", "BTCUSDT", side, "LIMIT_MAKER", D(1), D(limit))
    second = OrderRequest("bob", "BTCUSDT", side, kind, D(1), D(stop_limit), stop_price=D(stop))
    _, resting, waiting = venue.place_pair(first, second, "")
    return resting, waiting


@pytest.mark.parametrize(
    ("kind", "side", "stop", "push"),
    [("STOP_LOSS", "SELL", "49970", "SELL"), ("STOP_LOSS", "BUY", "50030", "BUY"),
     ("TAKE_PROFIT", "SELL", "50030", "BUY"), ("TAKE_PROFIT", "BUY", "49970", "SELL")],
)  # fmt: skip
def test_market_triggers(venue: Exchange, kind: str, side: str, stop: str, push: str) -> None:
    """A conditional market order waits off the book, fires when the price is reached, and takes what the book gives."""
    order = place(venue, "bob", side, "0.5", kind=kind, stop_price=D(stop))
    assert (order.status, order.working) == ("NEW", False)
    move(venue, push, "2")
    assert order.status == "NEW"
    move(venue, push, "1")
    assert (order.status, order.working, order.filled) == ("FILLED", True, D("0.5"))


def test_limit_trigger_rests(venue: Exchange) -> None:
    """A fired stop limit rests at its limit price when nobody takes it there."""
    order = place(venue, "bob", "SELL", "1", "50200", kind="TAKE_PROFIT_LIMIT", stop_price=D(50_020))
    assert money(venue, "bob", "BTC") == (D(99), D(1))
    move(venue, "BUY", "2")
    assert (order.status, order.working) == ("NEW", True)
    assert (D(50_200), D(1)) in venue.market("BTCUSDT").book.asks.depth(50)


def test_triggers_set_off_triggers(venue: Exchange) -> None:
    """A fired stop moves the price and so fires the next one."""
    second = place(venue, "bob", "SELL", "1", kind="STOP_LOSS", stop_price=D(49_970))
    first = place(venue, "bob", "SELL", "2", kind="STOP_LOSS", stop_price=D(49_990))
    move(venue, "SELL", "1")
    assert (first.status, second.status) == ("FILLED", "FILLED")


def test_a_reached_stop_is_refused(venue: Exchange) -> None:
    """A stop price the market has already reached is refused."""
    with pytest.raises(Reject, match="would_trigger"):
        place(venue, "bob", "SELL", "1", kind="STOP_LOSS", stop_price=D(50_010))


def test_waiting_orders_can_be_cancelled(venue: Exchange) -> None:
    """Cancelling a waiting order frees what it held and it never fires."""
    order = place(venue, "bob", "SELL", "1", kind="STOP_LOSS", stop_price=D(49_990))
    venue.cancel("bob", "BTCUSDT", order.id)
    move(venue, "SELL", "3")
    assert (order.status, money(venue, "bob", "BTC")) == ("CANCELED", (D(100), D(0)))


def test_a_stop_buy_without_funds_expires(venue: Exchange) -> None:
    """A market stop of a buyer who can no longer pay expires when it fires."""
    order = place(venue, "bob", "BUY", "1", kind="STOP_LOSS", stop_price=D(50_010))
    place(venue, "bob", "BUY", "20", "49000")
    move(venue, "BUY", "1")
    assert order.status == "EXPIRED"


def test_pair_limit_fills(venue: Exchange) -> None:
    """When the limit leg of a pair trades, the stop leg expires; money was locked once."""
    resting, waiting = pair(venue, "SELL", "50005", "49950")
    assert money(venue, "bob", "BTC") == (D(99), D(1))
    move(venue, "BUY", "1")
    assert (resting.status, waiting.status) == ("FILLED", "EXPIRED")
    assert money(venue, "bob", "BTC") == (D(99), D(0))


def test_pair_stop_fires(venue: Exchange) -> None:
    """When the stop leg fires, the limit leg expires first and its money pays for the stop."""
    resting, waiting = pair(venue, "BUY", "49900", "50030", "50060")
    assert money(venue, "bob", "USDT") == (D(1_000_000) - 50_060, D(50_060))
    move(venue, "BUY", "3")
    assert (resting.status, waiting.status) == ("EXPIRED", "FILLED")
    assert money(venue, "bob", "USDT")[1] == 0


def test_pair_is_cancelled_whole(venue: Exchange) -> None:
    """Cancelling one leg cancels both."""
    resting, waiting = pair(venue, "SELL", "50005", "49950")
    venue.cancel("bob", "BTCUSDT", waiting.id)
    assert (resting.status, waiting.status, money(venue, "bob", "BTC")) == ("CANCELED", "CANCELED", (D(100), D(0)))


def test_pair_prices_must_surround_the_market(venue: Exchange) -> None:
    """A pair whose prices are on one side of the market is refused and changes nothing."""
    with pytest.raises(Reject, match="bad_list"):
        pair(venue, "SELL", "50005", "50100")
    assert venue.orders.open_of("bob") == []


@pytest.mark.parametrize(
    ("mode", "maker", "taker"),
    [("EXPIRE_MAKER", "EXPIRED_IN_MATCH", "FILLED"), ("EXPIRE_TAKER", "NEW", "EXPIRED_IN_MATCH"),
     ("EXPIRE_BOTH", "EXPIRED_IN_MATCH", "EXPIRED_IN_MATCH"), ("NONE", "FILLED", "FILLED")],
)  # fmt: skip
def test_self_trade_prevention(venue: Exchange, mode: str, maker: str, taker: str) -> None:
    """Two orders of one account that meet end as the taker's mode says."""
    resting = place(venue, "bob", "SELL", "1", "50005")
    taking = place(venue, "bob", "BUY", "1", "50050", stp=mode)
    assert (resting.status, taking.status) == (maker, taker)
    locked = money(venue, "bob", "BTC")[1]
    assert locked == (1 if maker == "NEW" else 0)
    assert money(venue, "bob", "USDT")[1] == 0
