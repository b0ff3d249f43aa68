"""A ccxt-style bot's picture, in the agent's words."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from ccxt.async_support.base.ws.cache import ArrayCacheBySymbolById, ArrayCacheBySymbolBySide

from jackstay.adapters import ccxt_view
from jackstay_protocols.errors import ValidationError

EXCHANGE = SimpleNamespace(
    id="binance", markets={"BTC/USDT": {"id": "BTCUSDT"}}, orders=None, balance=None, positions=None
)


class Client:
    def __init__(self) -> None:
        self.told: dict[str, dict[str, Any]] = {}

    def report_state(self, component: str, state: dict[str, Any]) -> dict[str, Any]:
        self.told[component] = state
        return {"taken": True}


def test_open_orders_with_the_venues_symbol_and_amounts_as_text() -> None:
    """No float leaves the bot, and none is computed with."""
    order = {
        "id": "7", "clientOrderId": "a-1", "symbol": "BTC/USDT", "side": "buy", "status": "open", "amount": 0.1,
        "filled": 1e-8, "price": 20000.5, "info": {},
    }  # fmt: skip
    view = ccxt_view.orders_view(EXCHANGE, [order])
    assert view == {
        "orders": [
            {
                "client_order_id": "a-1", "order_id": "7", "symbol": "BTCUSDT", "side": "buy", "status": "open",
                "quantity": "0.1", "filled": "0.00000001", "price": "20000.5",
            }
        ],
        "complete": True,
    }  # fmt: skip
    raw = ccxt_view.orders_view(EXCHANGE, [order | {"info": {"instId": "BTC-USDT"}}])
    assert raw["orders"][0]["symbol"] == "BTC-USDT"
    assert ccxt_view.orders_view(EXCHANGE, [{"symbol": "X/Y:Y"}])["orders"][0]["symbol"] == "XY"


def test_balances_by_asset() -> None:
    """What ccxt adds beside the assets is left out."""
    balance = {
        "info": {},
        "free": {"BTC": 1},
        "timestamp": 1,
        "BTC": {"free": 0.5, "used": 0.5, "total": 1.0},
        "X": {"total": None},
    }
    assert ccxt_view.balances_view(balance) == {"balances": {"BTC": {"total": "1.0", "free": "0.5"}}}


def test_positions_are_signed() -> None:
    """Short is below zero; the sides of a hedged position are told apart."""
    positions = [
        {"symbol": "BTC/USDT", "contracts": 0.5, "side": "short"},
        {"symbol": "BTC/USDT", "contracts": 2, "side": "long", "hedged": True},
        {"symbol": "BTC/USDT", "contracts": None},
    ]
    view = ccxt_view.positions_view(EXCHANGE, positions)
    assert [(each["quantity"], each["part"]) for each in view["positions"]] == [("-0.5", ""), ("2", "long")]


def test_what_a_pro_object_has_cached_is_reported_and_never_called_complete() -> None:
    """Its cache is a window of the latest orders."""
    exchange = SimpleNamespace(
        id="binance", markets={}, orders=[{"id": "1", "symbol": "BTC/USDT"}], balance={"BTC": {"total": 1}},
        positions={"a": {"symbol": "BTC/USDT", "contracts": 1, "side": "long"}},
    )  # fmt: skip
    client = Client()
    assert set(ccxt_view.report(client, exchange, "binance", sequence=3)) == {"orders", "balances", "positions"}
    assert client.told["orders"]["complete"] is False
    assert all(each["venue"] == "binance" and each["sequence"] == 3 for each in client.told.values())


def kept(cache: Any, *items: dict[str, Any]) -> Any:
    for each in items:
        cache.append(each)
    return cache


SHORT = {"id": "", "symbol": "BTC/USDT", "contracts": 0.5, "side": "short"}
LONG = {"id": "", "symbol": "ETH/USDT", "contracts": 2, "side": "long"}


@pytest.mark.parametrize(
    "positions",
    [
        kept(ArrayCacheBySymbolBySide(), SHORT, LONG),
        {"future": kept(ArrayCacheBySymbolBySide(), SHORT, LONG), "delivery": ArrayCacheBySymbolBySide()},
        {"future": kept(ArrayCacheBySymbolBySide(), SHORT), "delivery": kept(ArrayCacheBySymbolBySide(), LONG)},
    ],
    ids=["one cache (okx, bybit)", "by type (binance)", "of two types"],
)
def test_positions_of_every_shape_of_cache(positions: Any) -> None:
    """ccxt.pro keeps one cache on some venues and one for each account type on others."""
    exchange = SimpleNamespace(id="x", markets=EXCHANGE.markets, positions=positions)
    client = Client()
    ccxt_view.report(client, exchange, "binance")
    told = [(each["symbol"], each["quantity"]) for each in client.told["positions"]["positions"]]
    assert told == [("BTCUSDT", "-0.5"), ("ETHUSDT", "2")]


def test_orders_of_ccxts_own_cache() -> None:
    """A list whose items live elsewhere than in the list."""
    orders = kept(ArrayCacheBySymbolById(10), {"id": "1", "symbol": "BTC/USDT"}, {"id": "2", "symbol": "BTC/USDT"})
    client = Client()
    ccxt_view.report(client, SimpleNamespace(id="x", markets={}, orders=orders), "binance")
    assert [each["order_id"] for each in client.told["orders"]["orders"]] == ["1", "2"]


def test_a_cached_balance_of_one_account_type() -> None:
    """binance, bybit and kraken keep it under the type's name; of two types neither is the account's."""
    spot = {"info": {}, "BTC": {"free": 0.5, "used": 0.5, "total": 1.0}, "free": {"BTC": 0.5}, "total": {"BTC": 1.0}}
    future = {"info": {}, "USDT": {"free": 7.0, "used": 0.0, "total": 7.0}, "total": {"USDT": 7.0}}
    client = Client()
    ccxt_view.report(client, SimpleNamespace(id="x", balance={"spot": spot}), "binance")
    assert client.told["balances"]["balances"] == {"BTC": {"total": "1.0", "free": "0.5"}}
    both = SimpleNamespace(id="x", balance={"spot": spot, "future": future})
    with pytest.raises(ValidationError, match="several account types"):
        ccxt_view.report(client, both, "binance")
    ccxt_view.report(client, both, "binance", balance=future)
    assert set(client.told["balances"]["balances"]) == {"USDT"}


def test_nothing_to_report_is_said() -> None:
    """Instead of an empty picture that would call every order unknown."""
    with pytest.raises(ValidationError, match="cached nothing"):
        ccxt_view.report(Client(), EXCHANGE, "binance")
