"""The engine as its callers see it: matching, locks, refusals, and time in force."""

from __future__ import annotations

from decimal import Decimal as D
from random import Random

import pytest

from jackstay_agent.sandbox.engine.background import BackgroundMarket
from jackstay_agent.sandbox.engine.exchange import Exchange, spot_exchange
from jackstay_agent.sandbox.engine.model import OrderChange, OrderRequest, Placed, Reject, Trade


@pytest.fixture
def venue() -> Exchange:
    """Two traders, an empty book."""
    funds = {"ann": {"USDT": D(100_000), "BTC": D(10)}, "bob": {"USDT": D(100_000), "BTC": D(10)}}
    return spot_exchange(lambda: 1_000, funds)


def place(
    venue: Exchange, who: str, side: str, quantity: str, price: str = "0", kind: str = "LIMIT", **more: str
) -> Placed:
    return venue.place(OrderRequest(who, "BTCUSDT", side, kind, D(quantity), D(price), **more))


def money(venue: Exchange, who: str, asset: str) -> tuple[D, D]:
    balance = venue.wallets.of(who, asset)
    return balance.free, balance.locked


def test_price_then_time(venue: Exchange) -> None:
    """The best price trades first, and at one price the oldest order."""
    late = place(venue, "ann", "SELL", "0.1", "50001")
    first, second = (place(venue, "ann", "SELL", "0.1", "50000") for _ in range(2))
    taken = place(venue, "bob", "BUY", "0.25", "50001", tif="IOC")
    assert [fill.price for fill in taken.fills] == [D(50000), D(50000), D(50001)]
    assert [each.order.status for each in (first, second, late)] == ["FILLED", "FILLED", "PARTIALLY_FILLED"]


def test_locks_and_fees(venue: Exchange) -> None:
    """A buy locks its price, pays the better one, and both sides pay a fee from what they receive."""
    place(venue, "ann", "SELL", "1", "40000")
    taken = place(venue, "bob", "BUY", "2", "45000")
    assert money(venue, "bob", "USDT") == (D(100_000) - 40000 - 45000, D(45000))
    assert money(venue, "bob", "BTC") == (D("10.999"), D(0))
    assert money(venue, "ann", "USDT") == (D(139_960), D(0))
    venue.cancel("bob", "BTCUSDT", taken.order.id)
    assert money(venue, "bob", "USDT") == (D(60_000), D(0))


@pytest.mark.parametrize(
    ("tif", "filled", "status"), [("IOC", "1", "EXPIRED"), ("FOK", "0", "EXPIRED"), ("GTC", "1", "PARTIALLY_FILLED")]
)
def test_time_in_force(venue: Exchange, tif: str, filled: str, status: str) -> None:
    """IOC takes what is there, FOK all or nothing, GTC rests with the remainder."""
    place(venue, "ann", "SELL", "1", "40000")
    order = place(venue, "bob", "BUY", "2", "40000", tif=tif).order
    assert (order.filled, order.status) == (D(filled), status)


def test_market_by_quote(venue: Exchange) -> None:
    """A market buy for an amount of money spends no more than that amount."""
    place(venue, "ann", "SELL", "1", "40000")
    place(venue, "ann", "SELL", "1", "45000")
    order = venue.place(OrderRequest("bob", "BTCUSDT", "BUY", "MARKET", quote_quantity=D(62_500))).order
    assert (order.filled, order.cost, order.status) == (D("1.5"), D(62_500), "FILLED")


def test_market_into_nothing(venue: Exchange) -> None:
    """A market order that finds no book expires unfilled and holds nothing."""
    order = place(venue, "bob", "SELL", "1", kind="MARKET").order
    assert (order.status, order.filled, money(venue, "bob", "BTC")) == ("EXPIRED", D(0), (D(10), D(0)))


@pytest.mark.parametrize(
    ("request_", "reason", "detail"),
    [
        (("BUY", "1", "40000.001"), "filter", "PRICE_FILTER"),
        (("BUY", "0.000001", "40000"), "filter", "LOT_SIZE"),
        (("BUY", "0.0001", "40000"), "filter", "NOTIONAL"),
        (("BUY", "1", "9999"), "filter", "PERCENT_PRICE_BY_SIDE"),
        (("BUY", "3", "40000"), "insufficient_balance", "USDT"),
        (("SELL", "11", "60000"), "insufficient_balance", "BTC"),
    ],
)
def test_refusals_change_nothing(venue: Exchange, request_: tuple[str, str, str], reason: str, detail: str) -> None:
    """A refused order names its reason and leaves no trace."""
    before = money(venue, "bob", "USDT"), money(venue, "bob", "BTC")
    with pytest.raises(Reject) as caught:
        place(venue, "bob", *request_)
    assert (caught.value.reason, caught.value.detail) == (reason, detail)
    assert (money(venue, "bob", "USDT"), money(venue, "bob", "BTC")) == before
    assert venue.orders.open_of("bob") == []


def test_maker_only(venue: Exchange) -> None:
    """A maker-only order that would trade is refused."""
    place(venue, "ann", "SELL", "1", "40000")
    with pytest.raises(Reject, match="would_match"):
        place(venue, "bob", "BUY", "1", "40000", kind="LIMIT_MAKER")
    assert place(venue, "bob", "BUY", "1", "39999", kind="LIMIT_MAKER").order.status == "NEW"


def test_client_ids_are_unique_among_open_orders_only(venue: Exchange) -> None:
    """A client id in use is refused; once its order is over it is accepted again, and names the newer order."""
    first = place(venue, "bob", "BUY", "1", "40000", client_id="x").order
    with pytest.raises(Reject, match="duplicate_client_id"):
        place(venue, "bob", "BUY", "1", "40000", client_id="x")
    venue.cancel("bob", "BTCUSDT", client_id="x")
    second = place(venue, "bob", "BUY", "1", "40000", client_id="x").order
    assert second.id > first.id
    assert venue.orders.find("bob", "BTCUSDT", None, "x") is second


def test_others_orders_are_invisible(venue: Exchange) -> None:
    """One account can neither find nor cancel another's order."""
    order = place(venue, "ann", "BUY", "1", "40000").order
    with pytest.raises(Reject, match="unknown_order"):
        venue.cancel("bob", "BTCUSDT", order.id)


def test_events_tell_the_story(venue: Exchange) -> None:
    """Every trade and every step of an order is told in order."""
    place(venue, "ann", "SELL", "1", "40000")
    place(venue, "bob", "BUY", "1", "40000")
    told = [
        (e.kind, e.order.account) if isinstance(e, OrderChange) else "trade"
        for e in venue.drain()
        if isinstance(e, OrderChange | Trade)
    ]
    assert told == [("NEW", "ann"), ("NEW", "bob"), "trade", ("TRADE", "ann"), ("TRADE", "bob")]


def test_background_market_is_seeded() -> None:
    """The same seed gives the same prices; another seed others; a resting order near the price is filled."""

    def run(seed: int) -> tuple[list[D], str]:
        venue = spot_exchange(lambda: 1_000, {"bob": {"USDT": D(100_000)}})
        market = BackgroundMarket(venue, Random(seed))
        market.seed_books()
        order = place(venue, "bob", "BUY", "0.1", "49990").order
        prices = []
        for _ in range(100):
            market.tick()
            prices.append(venue.market("BTCUSDT").last_price)
        return prices, order.status

    assert run(1) == run(1)
    assert run(1)[0] != run(2)[0]
    assert run(1)[1] == "FILLED"
