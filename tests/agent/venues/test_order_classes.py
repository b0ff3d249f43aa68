"""What ccxt really sends, and what each shipped profile reads out of it: which class, which marks, which lane."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ccxt_requests import exchange, operations, sent
from jackstay_agent.core.order_class import ClassRules, OrderFacts, classify_order, reduces
from jackstay_agent.venues.placing import PlacedOrder
from jackstay_agent.venues.profile import load_profile, shipped_profiles
from jackstay_protocols.errors import ValidationError
from jackstay_protocols.types import OrderClass as C

SPOT, SWAP = "BTC/USDT", "BTC/USDT:USDT"
BUY, SELL = (SPOT, "limit", "buy", 1, 100), (SPOT, "limit", "sell", 1, 100)
LONG, SHORT = (SWAP, "limit", "buy", 1, 100), (SWAP, "limit", "sell", 1, 100)
MARKETS = {"binance": "BTCUSDT", "binanceusdm": "BTCUSDT", "bybit": "BTCUSDT", "okx": "BTC-USDT", "kraken": "XBTUSDT"}


def read(name: str, profile: str, arguments: tuple[Any, ...], **params: Any) -> PlacedOrder:
    swap = arguments[0] == SWAP
    market = "BTC-USDT-SWAP" if (name, swap) == ("okx", True) else MARKETS[name]
    made = exchange(name, market, swap=swap)
    found = operations(profile).read_place(sent(lambda: made.create_order(*arguments, params)))
    assert isinstance(found, list), found
    return found[0]


def facts(order: PlacedOrder) -> OrderFacts:
    return OrderFacts(order.side, "", order.client_id, order.reduce_only, order.marks)


@pytest.mark.parametrize(
    ("name", "profile", "arguments", "params", "expected", "derisks"),
    [
        ("binance", "binance", BUY, {}, C.ENTRY, False),
        ("binance", "binance", SELL, {}, C.EXIT, False),
        ("binance", "binance", SELL, {"stopLossPrice": 90}, C.PROTECTIVE, False),
        ("binance", "binance", SELL, {"takeProfitPrice": 110}, C.PROTECTIVE, False),
        ("binanceusdm", "binance-usdm", LONG, {}, C.UNKNOWN, False),
        ("binanceusdm", "binance-usdm", SHORT, {"reduceOnly": True}, C.EXIT, True),
        ("binanceusdm", "binance-usdm", LONG, {"positionSide": "LONG"}, C.ENTRY, False),
        ("binanceusdm", "binance-usdm", SHORT, {"positionSide": "LONG"}, C.EXIT, False),
        ("bybit", "bybit", BUY, {}, C.ENTRY, False),
        ("bybit", "bybit", SELL, {"isLeverage": 1}, C.UNKNOWN, False),
        ("bybit", "bybit", LONG, {"reduceOnly": True}, C.EXIT, True),
        ("bybit", "bybit", BUY, {"reduceOnly": True}, C.ENTRY, False),
        ("bybit", "bybit", SHORT, {"triggerPrice": 90, "triggerDirection": 2, "reduceOnly": True}, C.PROTECTIVE, True),
        ("okx", "okx", BUY, {}, C.ENTRY, False),
        ("okx", "okx", SHORT, {"reduceOnly": True}, C.EXIT, True),
        ("okx", "okx", LONG, {"reduceOnly": True, "posSide": "long"}, C.ENTRY, False),
        ("okx", "okx", SHORT, {"stopLossPrice": 90, "reduceOnly": True}, C.PROTECTIVE, True),
        ("kraken", "kraken", BUY, {}, C.ENTRY, False),
        ("kraken", "kraken", SELL, {"stopLossPrice": 90}, C.PROTECTIVE, False),
        ("kraken", "kraken", SELL, {"leverage": "2"}, C.UNKNOWN, False),
    ],
)
def test_each_venues_words_are_understood(name, profile, arguments, params, expected, derisks):
    """As ccxt writes them; the de-risking lane takes only what the venue itself keeps from enlarging anything."""
    order = read(name, profile, arguments, **params)
    assert classify_order(facts(order), ClassRules()) is expected
    assert reduces(facts(order)) is derisks


@pytest.mark.parametrize(
    ("name", "profile"), [("binance", "binance"), ("bybit", "bybit"), ("okx", "okx"), ("kraken", "kraken")]
)
def test_post_only_orders_are_known(name, profile):
    """They alone pass while a venue takes resting orders only."""
    assert "post_only" in read(name, profile, BUY, postOnly=True).marks
    assert "post_only" not in read(name, profile, BUY).marks


def test_an_algo_order_triggers_without_saying_so():
    """Its family is the evidence."""
    order = read("binanceusdm", "binance-usdm", SHORT, stopLossPrice=90, reduceOnly=True)
    assert order.family == "algo"
    assert "trigger" in order.marks


def test_a_batch_is_read_item_by_item():
    """Each order has its own marks, beside those of the request."""
    made = exchange("bybit", "BTCUSDT", swap=True)
    orders = [
        {"symbol": SWAP, "type": "limit", "side": "sell", "amount": 1, "price": 100, "params": {"reduceOnly": only}}
        for only in (True, False)
    ]
    request = sent(lambda: made.create_orders(orders))
    assert json.loads(request.body)["category"] == "linear"
    found = operations("bybit").read_place(request)
    assert [reduces(facts(each)) for each in found] == [True, False]


def test_an_unknown_mark_is_refused_with_its_line():
    """The nearest one that is known is named."""
    text = 'name = "x"\n[families.plain]\nmarks = { triger = {} }\n'
    with pytest.raises(
        ValidationError, match=r"line 3, families.plain.marks: unknown mark 'triger'; did you mean 'trigger'"
    ):
        load_profile(text, "x.toml")


def test_every_family_of_a_spot_venue_says_so():
    """A sale on a market that is not known to be spot would be of unknown class."""
    for profile in ("binance", "kraken", "sandbox"):
        for family in shipped_profiles()[profile].data.families.values():
            assert "spot" in family.marks
