"""WebSockets as data: what may be an order is recognised, read as its REST route, and refused in the venue's words."""

from __future__ import annotations

import json

import pytest

from jackstay_agent.venues.profile import ProfileError, load_profile, shipped_profiles
from jackstay_agent.venues.sockets import answer_of, refusal_text, request_of, sounds_like_an_order

BINANCE = ("ws-api.binance.com", "/ws-api/v3")
BYBIT = ("stream.bybit.com", "/v5/trade")
OKX = ("ws.okx.com", "/ws/v5/private")
KRAKEN = ("ws-auth.kraken.com", "/v2")
PLACES = [
    ("binance", "stream.binance.com", "/ws/0", "data"),
    ("binance", "ws-api.binance.com", "/ws-api/v3", "orders"),
    ("binance-usdm", "fstream.binance.com", "/ws", "data"),
    ("binance-usdm", "ws-fapi.binance.com", "/ws-fapi/v1", "orders"),
    ("bybit", "stream.bybit.com", "/v5/private", "data"),
    ("bybit", "stream.bybit.com", "/v5/trade", "orders"),
    ("okx", "ws.okx.com", "/ws/v5/public", "data"),
    ("okx", "ws.okx.com", "/ws/v5/private", "orders"),
    ("okx", "ws.okx.com", "/ws/v5/business", "orders"),
    ("kraken", "ws.kraken.com", "/v2", "data"),
    ("kraken", "ws-auth.kraken.com", "/v2", "orders"),
    ("sandbox", "sandbox.localhost", "/ws-api/v3", "orders"),
]


@pytest.mark.parametrize(("venue", "host", "path", "carries"), PLACES)
def test_the_shipped_profiles_know_their_sockets(venue: str, host: str, path: str, carries: str) -> None:
    """Those that carry data only are told from those that take orders; kraken's first version is named by nobody."""
    socket = shipped_profiles()[venue].socket(host, path)
    assert socket is not None
    assert socket.carries == carries
    assert shipped_profiles()["kraken"].socket("ws-auth.kraken.com", "/") is None


ORDERS = [
    '{"method":"order.place","params":{}}', '{"op":"order.create","args":[]}', '{"op":"batch-orders","args":[]}',
    '{"event":"addOrder"}', '{"method":"private/buy"}', '{"op":"order","args":[]}', '{"method":"algoOrder.place"}',
    '{"method":"post","request":{}}', '[0,"on",null,{"type":"LIMIT"}]', '{"type":"newOrder"}', '{"req":"x"}',
    "not json", '{"op":"amend-order"}', '[{"method":"SUBSCRIBE"},{"method":"order.place"}]', '"text"x',
]  # fmt: skip
LISTENING = [
    '{"method":"SUBSCRIBE","params":["btcusdt@trade"],"id":1}', '{"op":"subscribe","args":["orderbook.50.BTCUSDT"]}',
    '{"op":"subscribe","args":[{"channel":"orders"}]}', '{"method":"subscribe","params":{"channel":"executions"}}',
    '{"op":"auth","args":["k",1,"s"]}', '{"op":"login","args":[]}', '{"method":"ping"}', "ping", '{"op":"ping"}',
    '{"method":"userDataStream.subscribe.signature","params":{}}', '{"method":"session.logon"}', '{"event":"ping"}',
    '{"type":"subscribe","product_ids":[]}', '{"method":"public/subscribe"}', '[{"op":"subscribe"}]', "",
]  # fmt: skip


@pytest.mark.parametrize("text", ORDERS)
def test_what_may_be_an_order_sounds_like_one(text: str) -> None:
    """Also what cannot be read at all: an order that passes unread is worse than a word too many."""
    assert sounds_like_an_order(text.encode())


@pytest.mark.parametrize("text", LISTENING)
def test_who_only_listens_is_let_through(text: str) -> None:
    """Subscribing to orders places none."""
    assert not sounds_like_an_order(text.encode())


def read(venue: str, place: tuple[str, str], message: str) -> tuple[str, str, bytes, str]:
    socket = shipped_profiles()[venue].socket(*place)
    assert socket is not None
    document = json.loads(message)
    return request_of(socket, document[socket.verb], document)


def test_an_order_message_is_the_rest_route_that_does_the_same() -> None:
    """Binance as a form with its key, Bybit the only element, OKX the list, Kraken under its REST names."""
    assert read(
        "binance",
        BINANCE,
        '{"id":"1","method":"order.place","params":{"symbol":"BTCUSDT","price":"1.10","apiKey":"k","x":true}}',
    ) == ("POST", "/api/v3/order", b"symbol=BTCUSDT&price=1.10&apiKey=k&x=true", "k")
    bybit = '{"reqId":"1","op":"order.create","args":[{"symbol":"BTCUSDT","qty":"1"}]}'
    assert read("bybit", BYBIT, bybit)[1:3] == (
        "/v5/order/create",
        b'{"symbol":"BTCUSDT","qty":"1"}',
    )
    okx = '{"id":"1","op":"batch-orders","args":[{"instId":"BTC-USDT"},{"instId":"ETH-USDT"}]}'
    assert read("okx", OKX, okx)[2] == b'[{"instId":"BTC-USDT"},{"instId":"ETH-USDT"}]'
    params = '{"order_type":"limit","side":"buy","order_qty":0.5,"symbol":"BTC/USD"}'
    kraken = f'{{"method":"add_order","req_id":1,"params":{params}}}'
    assert read("kraken", KRAKEN, kraken)[2] == b"ordertype=limit&type=buy&volume=0.5&pair=BTC%2FUSD"


@pytest.mark.parametrize("args", ["[]", "[{},{}]", "null", '"x"'])
def test_params_that_are_not_one_order_are_an_error_in_words(args: str) -> None:
    """Never half read."""
    with pytest.raises(ValueError, match="args of order.create"):
        read("bybit", BYBIT, f'{{"op":"order.create","reqId":"1","args":{args}}}')


@pytest.mark.parametrize(
    ("venue", "place", "message", "status", "body"),
    [
        ("binance", BINANCE, {"id": 1, "status": 200, "result": {"a": 1}}, 200, {"a": 1}),
        ("binance", BINANCE, {"status": 400, "error": {"code": -2010}}, 400, {"code": -2010}),
        ("bybit", BYBIT, {"retCode": 0, "data": {"o": 1}}, 200, {"retCode": 0, "result": {"o": 1}}),
        ("okx", OKX, {"code": "0", "data": []}, 200, {"code": "0", "data": []}),
        ("kraken", KRAKEN, {"success": True, "result": {"t": 1}}, 200, {"error": [], "result": {"t": 1}}),
        ("kraken", KRAKEN, {"success": False, "error": "EOrder:x"}, 200, {"error": ["EOrder:x"]}),
    ],
)
def test_an_answer_reads_as_the_rest_routes(venue, place, message, status, body) -> None:  # type: ignore[no-untyped-def]
    """So that one outcome table judges both ways."""
    socket = shipped_profiles()[venue].socket(*place)
    assert socket is not None
    told = answer_of(socket, message)
    assert (told[0], json.loads(told[1])) == (status, body)


@pytest.mark.parametrize(("venue", "host", "path", "carries"), [row for row in PLACES if row[3] == "orders"])
def test_every_trade_socket_can_refuse_in_its_own_form(venue: str, host: str, path: str, carries: str) -> None:
    """JSON that names the message, whatever the words hold; Kraken has no word for unknown."""
    socket = shipped_profiles()[venue].socket(host, path)
    assert socket is not None
    for kind in ("now", "wait", "final", "unknown"):
        text = refusal_text(socket, kind, "7", next(iter(socket.methods)), 'a "word" $id')
        if (venue, kind) == ("kraken", "unknown"):
            assert text == b""
            continue
        told = json.loads(text)
        assert told[socket.id] == "7"
        assert 'a "word" $id' in text.decode().replace("\\", "")


BAD = """
name = "acme"
hosts = ["api.acme.example"]
[routes]
"POST /order" = { lane = "order", kind = "place" }
[[sockets]]
"""


NAMED = 'at = ["ws.acme.example/"]\ncarries = "orders"\nverb = "op"\nid = "id"\nparams = "p"\n'
EMPTY = "codes = {now = [], wait = [], final = [], unknown = []}\n"
PLACING = 'methods = {place = "POST /order"}'
BROKEN = [
    ('at = ["ws.acme.example/*"]\ncarries = "both"', "data or orders is expected"),
    ('at = ["*.acme.example/*"]\ncarries = "data"', "HOST/PATH"),
    (f'at = ["ws.acme.example/*"]\ncarries = "orders"\n{PLACING}', "without verb, id"),
    (f'{NAMED}refusal = "{{}}"\n{EMPTY}methods = {{place = "PUT /order"}}', "which is not in"),
    (
        f'{NAMED}refusal = "{{$id"\ncodes = {{now = [1, 2], wait = [], final = [], unknown = []}}\n{PLACING}',
        "no JSON once",
    ),
    (f'{NAMED}refusal = "{{}}"\ncodes = {{now = []}}\n{PLACING}', "final, unknown, wait differ"),
]


@pytest.mark.parametrize(("table", "words"), BROKEN)
def test_a_broken_socket_table_is_told_in_words(table: str, words: str) -> None:
    """A socket whose orders could not be read and answered is no socket."""
    with pytest.raises(ProfileError, match=words):
        load_profile(BAD + table, "acme.toml")
