"""Amending in the engine: in place, with the money that belongs to it, or not at all; and orders that end at once."""

from __future__ import annotations

from decimal import Decimal

import pytest

from jackstay_agent.sandbox.engine.exchange import Exchange, spot_exchange
from jackstay_agent.sandbox.engine.model import Order, OrderChange, OrderRequest, Reject

FUNDS = {"USDT": Decimal(10_000), "BTC": Decimal(1)}


@pytest.fixture
def venue() -> Exchange:
    return spot_exchange(lambda: 1, {"a": dict(FUNDS), "b": dict(FUNDS)})


def place(venue: Exchange, account: str, side: str, quantity: str, price: str, **more: str | Decimal) -> Order:
    kind = str(more.pop("type", "LIMIT"))
    return venue.place(
        OrderRequest(account, "BTCUSDT", side, kind, Decimal(quantity), Decimal(price), **more)  # type: ignore[arg-type]
    ).order


def locked(venue: Exchange, asset: str = "USDT") -> Decimal:
    return venue.wallets.of("a", asset).locked


def test_money_follows_a_partly_filled_order(venue: Exchange) -> None:
    """The filled part is kept and paid; only what remains is locked, at the new price."""
    order = place(venue, "a", "BUY", "0.01", "50000")
    place(venue, "b", "SELL", "0.004", "50000")
    assert (order.status, locked(venue)) == ("PARTIALLY_FILLED", Decimal(300))
    venue.amend(order, Decimal(40000), Decimal("0.02"))
    assert (order.remaining, locked(venue)) == (Decimal("0.016"), Decimal(640))
    assert [level.price for level in venue.markets["BTCUSDT"].book.bids.levels()] == [Decimal(40000)]
    assert venue.wallets.total("USDT") == Decimal(20_000) + Decimal(10) ** 12
    venue.cancel("a", "BTCUSDT", order.id)
    assert locked(venue) == 0


def test_an_order_amended_through_the_book_trades(venue: Exchange) -> None:
    """A better price meets what rests there."""
    order = place(venue, "a", "BUY", "0.01", "40000")
    place(venue, "b", "SELL", "0.01", "50000")
    assert venue.amend(order, Decimal(50000), Decimal("0.01")).status == "FILLED"
    kinds = [event.kind for event in venue.drain() if isinstance(event, OrderChange) and event.order is order]
    assert kinds == ["NEW", "AMENDMENT", "TRADE"]


@pytest.mark.parametrize(
    ("price", "quantity", "reason"),
    [("50000", "1", "insufficient_balance"), ("40000.001", "0.01", "filter"), ("60000", "0.01", "would_match")],
)
def test_what_is_refused_changes_nothing(venue: Exchange, price: str, quantity: str, reason: str) -> None:
    """Price, size, money and the book are as before."""
    order = place(venue, "a", "BUY", "0.01", "40000", type="LIMIT_MAKER")
    place(venue, "b", "SELL", "0.01", "55000")
    with pytest.raises(Reject) as caught:
        venue.amend(order, Decimal(price), Decimal(quantity))
    assert caught.value.reason == reason
    assert (order.price, order.quantity, order.status, locked(venue)) == (
        Decimal(40000), Decimal("0.01"), "NEW", Decimal(400),
    )  # fmt: skip
    assert venue.markets["BTCUSDT"].book.bids.depth(1) == [(Decimal(40000), Decimal("0.01"))]


def test_no_more_than_what_is_filled_ends_it(venue: Exchange) -> None:
    """Amended down to its filled part an order is cancelled."""
    order = place(venue, "a", "BUY", "0.01", "50000")
    place(venue, "b", "SELL", "0.004", "50000")
    assert venue.amend(order, Decimal(50000), Decimal("0.004")).status == "CANCELED"


def test_a_waiting_order_keeps_waiting(venue: Exchange) -> None:
    """A new trigger price; one that is already reached is refused."""
    stop = place(venue, "a", "SELL", "0.01", "0", type="STOP_LOSS", stop_price=Decimal(45000))
    venue.amend(stop, Decimal(0), Decimal("0.02"), Decimal(46000))
    assert (stop.stop_price, stop.working, locked(venue, "BTC")) == (Decimal(46000), False, Decimal("0.02"))
    with pytest.raises(Reject):
        venue.amend(stop, Decimal(0), Decimal("0.02"), Decimal(60000))
    assert stop.stop_price == Decimal(46000)
    place(venue, "b", "BUY", "0.03", "46000")
    place(venue, "a", "SELL", "0.01", "46000")
    assert stop.status == "FILLED"


def test_an_order_that_ends_at_once_is_on_record(venue: Exchange) -> None:
    """It locks nothing, rests nowhere, and is found as cancelled."""
    request = OrderRequest("a", "BTCUSDT", "BUY", "LIMIT_MAKER", Decimal("0.01"), Decimal(60000), client_id="x")
    order = venue.place_ended(request)
    assert venue.orders.find("a", "BTCUSDT", None, "x") is order
    assert (order.status, locked(venue), len(venue.markets["BTCUSDT"].book.bids)) == ("CANCELED", 0, 0)
