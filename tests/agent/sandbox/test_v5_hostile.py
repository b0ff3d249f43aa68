"""Whatever a client sends, the OKX and Bybit faces answer in their own words; nothing raises, nothing is half done."""

from __future__ import annotations

import asyncio
import json
from decimal import Decimal
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jackstay_agent.sandbox.answers import Call, form
from jackstay_agent.sandbox.faces import bybit, bybit_socket, okx, okx_socket
from jackstay_agent.sandbox.faults import FaultBox
from jackstay_agent.sandbox.streams import Listener, StreamHub
from jackstay_agent.sandbox.venue import Venue
from v5_client import bybit_headers, bybit_order, okx_headers, okx_order

NOW = 1_800_000_000_000
NAMES = """instId instType ordId clOrdId algoId algoClOrdId side ordType sz px tdMode limit after before begin end
    bar timeOut tag triggerPx orderPx slTriggerPx slOrdPx newSz newPx posSide lever posMode category symbol orderId
    orderLinkId orderType qty price triggerPrice triggerDirection positionIdx cursor startTime endTime interval
    timeWindow product accountType settleCoin buyLeverage sellLeverage mode openOnly request tgtCcy marketUnit
    reduceOnly""".split()
GOOD = """BTC-USDT BTC-USDT-SWAP BTCUSDT SPOT SWAP spot linear buy sell Buy Sell limit market Limit Market cash cross
    trigger conditional ioc post_only PostOnly IOC 0.01 1 40000 50000 60000 0 -1 1000000000000000001 USDT UNIFIED 1m
    D name1 net_mode long_short_mode 3 true""".split()
VALUES = st.one_of(st.sampled_from(GOOD), st.text(max_size=8), st.integers(), st.floats(), st.none(), st.booleans(),
                   st.just("²"), st.just("9" * 5000))  # fmt: skip
ORDERS = (
    {},
    okx_order(),
    okx_order(instId="BTC-USDT-SWAP", tdMode="cross"),
    bybit_order(),
    bybit_order(category="linear"),
)
# an order that would do, with a few things wrong with it
PARAMS = st.builds(
    lambda order, odd: order | odd, st.sampled_from(ORDERS), st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=5)
)


class World:
    """Both faces over one venue without sockets."""

    def __init__(self) -> None:
        spot = Venue(clock=lambda: NOW, enforce_limits=False)
        linear = Venue(kind="usdm", clock=lambda: NOW, beside=spot)
        for venue in (spot, linear):
            venue.open_books()
        self.server: Any = SimpleNamespace(venue=spot, usdm=linear, hub=StreamHub(FaultBox(1)))
        self.okx, self.bybit = okx.OkxFace(self.server), bybit.BybitFace(self.server)

    def money(self) -> list[Decimal]:
        """Everything there is of each asset: whatever is traded, it stays."""
        return [self.server.venue.exchange.wallets.total(asset) for asset in ("USDT", "BTC")]


WORLD = World()
MONEY = WORLD.money()


def ask(face: Any, prefix: str, method: str, path: str, body: str, query: str) -> tuple[int, Any]:
    target = f"{prefix}{path}"
    if face is WORLD.okx:
        headers = okx_headers(method, f"{target}?{query}" if query else target, body, NOW)
    else:
        headers = bybit_headers(query if method == "GET" else body, NOW)
    call = Call(method, target, query, body.encode(), headers, form(query), NOW)
    assert face.facts(call).told
    answer = face.answer(call)
    return answer.status, json.loads(answer.body)


def query_of(params: dict[str, Any]) -> str:
    return urlencode({name: str(each) for name, each in params.items()}, errors="replace")


@settings(max_examples=400, deadline=None)
@given(route=st.sampled_from([*okx.ROUTES]), params=st.lists(PARAMS, min_size=1, max_size=3))
def test_okx_answers(route: tuple[str, str], params: list[dict[str, Any]]) -> None:
    """Every OKX path answers any parameters with a code."""
    method, path = route
    value = params if len(params) > 1 else params[0]
    body = json.dumps(value) if method == "POST" else ""
    query = (
        urlencode({name: str(each) for name, each in params[0].items()}, errors="replace") if method == "GET" else ""
    )
    status, told = ask(WORLD.okx, "/api/v5/", method, path, body, query)
    assert status in (200, 400), told
    assert told["code"].isdigit()


@settings(max_examples=400, deadline=None)
@given(route=st.sampled_from([*bybit.ROUTES]), params=PARAMS, more=st.lists(PARAMS, max_size=3))
def test_bybit_answers(route: tuple[str, str], params: dict[str, Any], more: list[dict[str, Any]]) -> None:
    """Every Bybit path answers any parameters with a code."""
    method, path = route
    value = params | ({"request": more} if "batch" in path else {})
    body = json.dumps(value) if method == "POST" else ""
    query = query_of(params) if method == "GET" else ""
    status, told = ask(WORLD.bybit, "/v5/", method, path, body, query)
    assert (status, isinstance(told["retCode"], int)) == (200, True)
    assert WORLD.money() == MONEY


@pytest.mark.parametrize(
    "body", ["", "null", "[]", "[1,2]", "{", '"x"', "[[]]", '{"request":7}', '{"request":[7]}', "\x00"]
)
def test_bodies_that_are_no_orders(body: str) -> None:
    """A body that holds no order is refused, and has one row in the ledger."""
    for face, prefix, path in (
        (WORLD.okx, "/api/v5/", "trade/batch-orders"),
        (WORLD.bybit, "/v5/", "order/create-batch"),
    ):
        status, told = ask(face, prefix, "POST", path, body, "")
        assert status in (200, 400)
        assert told.get("code", told.get("retCode")) not in ("0", 0)


def test_odd_headers() -> None:
    """Headers beyond the alphabet are wrong, not fatal."""
    odd = "\udc80²"
    for name in ("OK-ACCESS-KEY", "OK-ACCESS-SIGN", "OK-ACCESS-TIMESTAMP", "OK-ACCESS-PASSPHRASE", "expTime"):
        headers = okx_headers("GET", "/api/v5/account/balance", "", NOW) | {name: odd}
        call = Call("GET", "/api/v5/account/balance", "", b"", headers, {}, NOW)
        WORLD.okx.facts(call)
        assert json.loads(WORLD.okx.answer(call).body)["code"] != "0"
    for name in ("X-BAPI-API-KEY", "X-BAPI-SIGN", "X-BAPI-TIMESTAMP", "X-BAPI-RECV-WINDOW"):
        headers = bybit_headers("", NOW) | {name: odd}
        call = Call("GET", "/v5/account/info", "", b"", headers, {}, NOW)
        WORLD.bybit.facts(call)
        assert json.loads(WORLD.bybit.answer(call).body)["retCode"] != 0


class _Wire:
    """A transport that counts what is said."""

    def __init__(self) -> None:
        self.said = 0

    def write(self, data: bytes) -> None:
        self.said += 1

    def is_closing(self) -> bool:
        return False

    def get_write_buffer_size(self) -> int:
        return 0


WORDS = st.one_of(st.text(max_size=20), st.integers(), st.none(), PARAMS, st.lists(st.text(max_size=5), max_size=3))
MESSAGES = st.one_of(
    st.text(max_size=30),
    st.builds(
        lambda op, args: json.dumps({"op": op, "args": args}),
        st.sampled_from(["login", "auth", "subscribe", "unsubscribe", "ping", "order", "order.create", "?"]),
        st.one_of(st.lists(WORDS, max_size=3), WORDS),
    ),
)


@settings(max_examples=100, deadline=None)
@given(texts=st.lists(MESSAGES, min_size=1, max_size=4))
def test_sockets_answer(texts: list[str]) -> None:
    """Any text over a socket is survived, by every door, before a login."""
    request: Any = None

    async def scene() -> None:
        for path in ("/v5/public/spot", "/v5/private", "/v5/trade", "okx"):
            wire: Any = _Wire()
            listener = Listener(wire, 1, combined=False)
            call = Call("GET", path, "", b"", {}, {}, NOW)
            talk: Any = (
                okx_socket.Conversation(WORLD.okx, WORLD.server, request, listener)
                if path == "okx"
                else bybit_socket.Conversation(WORLD.bybit, WORLD.server, request, listener, call)
            )
            for text in texts:
                await talk.hear(text)

    asyncio.run(scene())
