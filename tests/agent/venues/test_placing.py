"""What ccxt really sends when it places, read back: the resolver must know what to ask for, at every shipped venue."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qs

import pytest

from ccxt_requests import exchange, operations, sent
from jackstay_agent.venues.answers import Unreadable
from jackstay_agent.venues.outgoing import OutgoingRequest
from jackstay_agent.venues.placing import PlacedOrder
from jackstay_protocols.errors import ValidationError


def one(profile: str, request: OutgoingRequest) -> PlacedOrder:
    found = operations(profile).read_place(request)
    assert isinstance(found, list), found
    assert len(found) == 1
    return found[0]


SYMBOL, SWAP = "BTC/USDT", "BTC/USDT:USDT"
VENUES = [
    ("binance", exchange("binance", "BTCUSDT"), SYMBOL, "BTCUSDT", "plain"),
    ("binance-usdm", exchange("binanceusdm", "BTCUSDT", swap=True), SWAP, "BTCUSDT", "plain"),
    ("bybit", exchange("bybit", "BTCUSDT"), SYMBOL, "BTCUSDT", "plain"),
    ("okx", exchange("okx", "BTC-USDT"), SYMBOL, "BTC-USDT", "plain"),
    ("kraken", exchange("kraken", "XXBTZUSD"), SYMBOL, "XBTUSD", "plain"),
]


@pytest.mark.parametrize(("profile", "bot", "symbol", "venue_symbol", "family"), VENUES, ids=[v[0] for v in VENUES])
def test_what_ccxt_places_is_read(profile: str, bot: Any, symbol: str, venue_symbol: str, family: str) -> None:
    """A limit order with the bot's own id: every field the venue will be asked by."""
    order = one(
        profile,
        sent(lambda: bot.create_order(symbol, "limit", "sell", 0.25, 25000.5, {"clientOrderId": "myid0001"})),
    )
    assert (order.family, order.symbol, order.side, order.type) == (family, venue_symbol, "sell", "limit")
    assert (order.quantity, order.price, order.client_id) == (Decimal("0.25"), Decimal("25000.5"), "myid0001")


@pytest.mark.parametrize(("profile", "bot", "symbol", "venue_symbol", "family"), VENUES, ids=[v[0] for v in VENUES])
def test_a_market_order_has_no_price(profile: str, bot: Any, symbol: str, venue_symbol: str, family: str) -> None:
    """None, not zero: a list match must not look for one."""
    order = one(profile, sent(lambda: bot.create_order(symbol, "market", "sell", 0.25)))
    assert (order.type, order.quantity, order.price) == ("market", Decimal("0.25"), None)


def test_a_bot_of_binance_and_okx_sends_ids_of_its_own() -> None:
    """ccxt mints one there, and none at Bybit and Kraken."""
    ids = {
        profile: one(profile, sent(lambda: bot.create_order(symbol, "limit", "buy", 1, 25000))).client_id
        for profile, bot, symbol, _venue_symbol, _family in VENUES
    }
    assert {name: bool(each) for name, each in ids.items()} == {
        "binance": True, "binance-usdm": True, "okx": True, "bybit": False, "kraken": False,
    }  # fmt: skip


def test_usdm_stops_belong_to_the_algo_family() -> None:
    """ccxt sends them where they live since 2025-12-09."""
    bot = VENUES[1][1]
    call = sent(
        lambda: bot.create_order(SWAP, "market", "sell", 0.5, None, {"stopLossPrice": 20000, "reduceOnly": True})
    )
    order = one("binance-usdm", call)
    assert (order.family, order.type, order.stop_price, order.reduce_only) == (
        "algo", "stop_market", Decimal(20000), True,
    )  # fmt: skip
    assert order.client_id


def test_okx_algo_orders_have_a_family_of_their_own() -> None:
    """With the type that listing them asks for."""
    bot = VENUES[3][1]
    order = one("okx", sent(lambda: bot.create_order(SYMBOL, "limit", "sell", 0.5, 20000, {"triggerPrice": 21000})))
    assert (order.family, order.symbol, order.context) == ("algo", "BTC-USDT", {"algo_type": "trigger"})


def test_bybit_orders_know_their_category() -> None:
    """Every question about one wants it."""
    bot = VENUES[2][1]
    order = one("bybit", sent(lambda: bot.create_order(SYMBOL, "limit", "buy", 1, 25000)))
    assert order.context == {"category": "spot"}


BATCHES: list[tuple[str, OutgoingRequest]] = [
    (
        "binance-usdm",
        OutgoingRequest(
            "POST", "/fapi/v1/batchOrders", [],
            b"timestamp=1&batchOrders=%5B%7B%22symbol%22%3A%22BTCUSDT%22%2C%22side%22%3A%22BUY%22%2C%22type%22%3A%22LIMIT"
            b"%22%2C%22quantity%22%3A%221%22%2C%22price%22%3A%222%22%7D%2C%7B%22symbol%22%3A%22BTCUSDT%22%2C%22side%22%3A"
            b"%22SELL%22%2C%22type%22%3A%22LIMIT%22%2C%22quantity%22%3A%221%22%2C%22price%22%3A%223.10%22%2C"
            b"%22newClientOrderId%22%3A%22own%22%7D%5D",
        ),
    ),
    (
        "okx",
        OutgoingRequest(
            "POST", "/api/v5/trade/batch-orders", [],
            b'[{"instId":"BTCUSDT","side":"buy","ordType":"limit","sz":"1","px":"2"},'
            b'{"instId":"BTCUSDT","side":"sell","ordType":"limit","sz":"1","px":"3.10","clOrdId":"own"}]',
        ),
    ),
    (
        "bybit",
        OutgoingRequest(
            "POST", "/v5/order/create-batch", [],
            b'{"category":"linear","request":[{"symbol":"BTCUSDT","side":"Buy","orderType":"Limit","qty":"1","price":"2"},'
            b'{"symbol":"BTCUSDT","side":"Sell","orderType":"Limit","qty":"1","price":"3.10","orderLinkId":"own"}]}',
        ),
    ),
    (
        "kraken",
        OutgoingRequest(
            "POST", "/0/private/AddOrderBatch", [],
            b'{"pair":"BTC/USDT","orders":[{"type":"buy","ordertype":"limit","volume":1,"price":2},'
            b'{"type":"sell","ordertype":"limit","volume":"1","price":3.10,"cl_ord_id":"own"}]}',
        ),
    ),
]  # fmt: skip


@pytest.mark.parametrize(("profile", "request_"), BATCHES, ids=[each[0] for each in BATCHES])
def test_a_batch_is_so_many_orders(profile: str, request_: OutgoingRequest) -> None:
    """One intent per item; ids go in item by item, never over the bot's own, and change nothing else."""
    ours = operations(profile)
    symbol = "XBTUSDT" if profile == "kraken" else "BTCUSDT"  # Kraken's two names for one market are one here
    orders = ours.read_place(request_)
    assert isinstance(orders, list)
    assert [(each.symbol, each.side, each.quantity, each.price, each.client_id) for each in orders] == [
        (symbol, "buy", 1, 2, ""), (symbol, "sell", 1, Decimal("3.1"), "own"),
    ]  # fmt: skip
    named = ours.read_place(ours.with_client_ids(request_, ["js1", "js2"]))
    assert isinstance(named, list)
    assert [each.client_id for each in named] == ["js1", "own"]
    assert [(each.price, each.quantity) for each in named] == [(each.price, each.quantity) for each in orders]
    assert ours.with_client_ids(request_, ["", "js2"]) == request_


def test_only_the_items_id_changes_in_a_body() -> None:
    """Numbers keep their digits, unknown fields stay, the rest of a form is as it was."""
    body = b'{"symbol":"BTCUSDT","side":"Buy","orderType":"Limit","qty":"1","price":0.10000000000000000001,"x":[1.50]}'
    named = operations("bybit").with_client_ids(OutgoingRequest("POST", "/v5/order/create", [], body), ["js-1"])
    assert named.body == body[:-1] + b',"orderLinkId":"js-1"}'
    form = b"batchOrders=%5B%7B%22symbol%22%3A%22A%22%7D%5D&recvWindow=5"
    written = operations("binance-usdm").with_client_ids(
        OutgoingRequest("POST", "/fapi/v1/batchOrders", [], form), ["js-1"]
    )
    assert {name: values for name, values in parse_qs(written.body.decode()).items() if name != "batchOrders"} == {
        "recvWindow": ["5"]
    }
    assert json.loads(parse_qs(written.body.decode())["batchOrders"][0]) == [
        {"symbol": "A", "newClientOrderId": "js-1"}
    ]


def test_a_kraken_order_with_a_userref_keeps_it() -> None:
    """The venue takes one or the other."""
    request = OutgoingRequest(
        "POST", "/0/private/AddOrder", [], b"pair=XBTUSD&type=buy&ordertype=market&volume=1&userref=7"
    )
    assert operations("kraken").with_client_ids(request, ["js-1"]) == request


@pytest.mark.parametrize(
    ("profile", "path", "body"),
    [
        ("okx", "/api/v5/trade/order", b"{"),
        ("okx", "/api/v5/trade/order", b"{}"),
        ("okx", "/api/v5/trade/batch-orders", b"[]"),
        ("okx", "/api/v5/trade/batch-orders", b"[1,2]"),
        ("okx", "/api/v5/trade/batch-orders", b"[" + b"{}," * 300 + b"{}]"),
        ("bybit", "/v5/order/create-batch", b'{"category":"linear"}'),
        ("bybit", "/v5/order/create", b'{"symbol":"A","side":"Buy","orderType":"Limit","qty":true}'),
        ("bybit", "/v5/order/create", b'{"symbol":"A","side":"Both","orderType":"Limit","qty":"1"}'),
        ("binance-usdm", "/fapi/v1/batchOrders", b"batchOrders=%5B"),
        ("binance-usdm", "/fapi/v1/batchOrders", b"batchOrders"),
        ("binance-usdm", "/fapi/v1/order", b"symbol=A&side=BUY&type=LIMIT&quantity=NaN"),
        ("kraken", "/0/private/AddOrder", b"\xff\xfe=1"),
    ],
)
def test_what_is_no_order_is_unreadable(profile: str, path: str, body: bytes) -> None:
    """It can still be sent; nobody claims to recognise it."""
    assert isinstance(operations(profile).read_place(OutgoingRequest("POST", path, [], body)), Unreadable)


@pytest.mark.parametrize(
    ("profile", "path", "body", "headers"),
    [
        ("bybit", "/v5/order/create", b"{", []),
        ("bybit", "/v5/order/create", b"{}", [(b"X-BAPI-SIGN", b"0")]),
        ("okx", "/api/v5/trade/order", b"{}", [(b"OK-ACCESS-SIGN", b"0")]),
        ("kraken", "/0/private/AddOrder", b"pair=A", [(b"api-sign", b"0")]),
        ("binance", "/api/v3/order?signature=0", b"", []),
    ],
)
def test_an_id_is_not_put_into_what_is_signed_or_broken(
    profile: str, path: str, body: bytes, headers: list[tuple[bytes, bytes]]
) -> None:
    """The signature would be wrong, and the venue would refuse a good order."""
    with pytest.raises(ValidationError):
        operations(profile).with_client_ids(OutgoingRequest("POST", path, headers, body), ["js1"])
