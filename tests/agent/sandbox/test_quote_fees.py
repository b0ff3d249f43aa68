"""The engine with fees in the quote currency, and orders changed in place: money is conserved whatever happens."""

from __future__ import annotations

from decimal import Decimal
from random import Random

import pytest

from jackstay_agent.sandbox.engine.exchange import Exchange, spot_exchange
from jackstay_agent.sandbox.engine.model import Order, OrderRequest, Reject, Symbol
from jackstay_agent.sandbox.engine.settlement import QuoteFeeSettlement

RATE = Decimal("0.0026")
FUNDS = {"BTC": Decimal(10), "USD": Decimal(10_000)}
SYMBOL = Symbol(
    "BTCUSD", "BTC", "USD", Decimal("0.1"), Decimal("0.00000001"), Decimal(100), quantity_min=Decimal("0.001"),
    notional_min=Decimal("0.1"), percent_up=Decimal(1000), percent_down=Decimal(0),
)  # fmt: skip


def venue(*accounts: str) -> Exchange:
    exchange = spot_exchange(lambda: 1, {name: dict(FUNDS) for name in accounts}, [SYMBOL])
    exchange.settlement = QuoteFeeSettlement(exchange.wallets, RATE)
    return exchange


def limit(account: str, side: str, quantity: str, price: str) -> OrderRequest:
    return OrderRequest(account, "BTCUSD", side, "LIMIT", Decimal(quantity), Decimal(price))


def test_both_pay_in_quote() -> None:
    """The buyer pays price and fee, the seller receives price less fee, and the base arrives whole."""
    exchange = venue("buyer", "seller")
    exchange.place(limit("seller", "SELL", "2", "100"))
    exchange.place(limit("buyer", "BUY", "2", "110"))
    buyer, seller = (exchange.wallets.assets(name) for name in ("buyer", "seller"))
    assert (buyer["BTC"].total, buyer["USD"].total) == (12, 10_000 - 200 - Decimal("0.52"))
    assert (seller["BTC"].total, seller["USD"].total) == (8, 10_000 + 200 - Decimal("0.52"))
    assert (buyer["USD"].locked, seller["BTC"].locked) == (0, 0)
    assert [fill.fee_asset for _, fill in exchange.orders.fills] == ["USD", "USD"]


def test_an_order_needs_its_fee() -> None:
    """Money for the price alone is not enough; with the fee on top it is."""
    exchange = venue("buyer")
    with pytest.raises(Reject, match="insufficient_balance"):
        exchange.place(limit("buyer", "BUY", "1", "10000"))
    order = exchange.place(limit("buyer", "BUY", "1", "9974")).order
    assert exchange.wallets.of("buyer", "USD").locked == Decimal("9974") * (1 + RATE)
    exchange.cancel("buyer", "BTCUSD", order.id)
    assert exchange.wallets.of("buyer", "USD").locked == 0


def test_shrinking_keeps_the_place() -> None:
    """An order made smaller is still filled before a later one at its price; made dearer in size it goes to the end."""
    for quantity, first in (("1", "one"), ("3", "two")):
        exchange = venue("one", "two", "taker")
        early = exchange.place(limit("one", "SELL", "2", "100")).order
        exchange.place(limit("two", "SELL", "2", "100"))
        exchange.shrink(early, Decimal(quantity))
        exchange.place(limit("taker", "BUY", "0.5", "100"))
        assert exchange.wallets.of(first, "BTC").total == Decimal("9.5")
        assert exchange.market("BTCUSD").book.asks.depth(1) == [(Decimal(100), Decimal(quantity) + 2 - Decimal("0.5"))]


def test_shrinking_a_filled_part_away() -> None:
    """What is filled stays filled: a new size at or below it ends the order, above it holds the money of the rest."""
    exchange = venue("maker", "taker")
    order = exchange.place(limit("maker", "SELL", "4", "100")).order
    exchange.place(limit("taker", "BUY", "1", "100"))
    exchange.shrink(order, Decimal(2))
    assert (order.remaining, exchange.wallets.of("maker", "BTC").locked) == (1, 1)
    exchange.shrink(order, Decimal(1))
    assert (order.status, exchange.wallets.of("maker", "BTC").locked) == ("CANCELED", 0)


def change(exchange: Exchange, chance: Random, order: Order) -> None:
    quantity = Decimal(chance.randint(1, 3000)) / 1000
    price = Decimal(chance.randint(900, 1100)) / 10
    what = chance.randrange(4)
    if what == 0:
        exchange.cancel(order.account, order.symbol, order.id)
    elif what == 1:
        exchange.shrink(order, quantity)
    elif what == 2:
        exchange.expire(order)
    else:
        exchange.amend(order, price, quantity)


@pytest.mark.parametrize("seed", range(5))
def test_money_is_conserved(seed: int) -> None:
    """After thousands of random orders, changes and cancels every asset's total is what it was, nothing is locked that
    no open order holds, the book's levels are the sums of their orders and are not crossed."""
    chance, accounts = Random(seed), ("a", "b", "c")
    exchange = venue(*accounts)
    before = {asset: exchange.wallets.total(asset) for asset in FUNDS}
    for _ in range(3000):
        account, side = chance.choice(accounts), chance.choice(("BUY", "SELL"))
        mine = exchange.orders.open_of(account)
        try:
            if mine and chance.random() < 0.4:
                change(exchange, chance, chance.choice(mine))
            else:
                kind = chance.choice(("LIMIT", "LIMIT", "LIMIT_MAKER", "MARKET"))
                price = Decimal(0) if kind == "MARKET" else Decimal(chance.randint(900, 1100)) / 10
                quantity = Decimal(chance.randint(1, 2000)) / 1000
                exchange.place(OrderRequest(account, "BTCUSD", side, kind, quantity, price, stp="EXPIRE_TAKER"))
        except Reject:
            continue
    book = exchange.market("BTCUSD").book
    for side_ in (book.bids, book.asks):
        assert all(level.total == sum(each.remaining for each in level.orders.values()) for level in side_.levels())
    bid, ask = book.bids.best(), book.asks.best()
    assert bid is None or ask is None or bid.price < ask.price
    assert {asset: exchange.wallets.total(asset) for asset in FUNDS} == before
    for account in accounts:
        open_ = exchange.orders.open_of(account)
        held = sum(order.locked for order in open_)
        assert held == sum(balance.locked for balance in exchange.wallets.assets(account).values())
        exchange.cancel_all(account, "BTCUSD")
        assert all(balance.locked == 0 for balance in exchange.wallets.assets(account).values())
