"""What takes the Bybit face's own time, on a clock of the test's: allowances, disconnection protection, idle ends."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest

from jackstay_agent.sandbox.answers import Answer, Call
from jackstay_agent.sandbox.faces.bybit import BybitFace
from jackstay_agent.sandbox.faces.bybit_socket import IDLE_MAX_MS, Conversation, idle_ms
from jackstay_agent.sandbox.faults import FaultBox
from jackstay_agent.sandbox.streams import Listener, StreamHub
from jackstay_agent.sandbox.venue import Venue
from v5_client import bybit_headers, bybit_order


class World:
    """A venue without sockets whose time is `now`."""

    def __init__(self) -> None:
        self.now = 1_800_000_000_000
        spot = Venue(clock=lambda: self.now, enforce_limits=True)
        linear = Venue(kind="usdm", clock=lambda: self.now, beside=spot)
        for venue in (spot, linear):
            venue.open_books()
        self.server: Any = SimpleNamespace(venue=spot, usdm=linear, hub=StreamHub(FaultBox(1)))
        self.face = BybitFace(self.server)

    def answer(self, method: str, path: str, params: Any = None, query: str = "") -> Answer:
        body = json.dumps(params or {}) if method == "POST" else ""
        headers = bybit_headers(query or body, self.now)
        pairs = dict(pair.split("=") for pair in query.split("&")) if query else {}
        call = Call(method, f"/v5/{path}", query, body.encode(), headers, pairs, self.now)
        self.face.facts(call)
        return self.face.answer(call)

    def ask(self, method: str, path: str, params: Any = None, query: str = "") -> Any:
        return json.loads(self.answer(method, path, params, query).body)

    def names(self) -> list[str]:
        both = [
            self.ask("GET", "order/realtime", query=f"category={name}&settleCoin=USDT") for name in ("spot", "linear")
        ]
        return sorted(row["orderLinkId"] for each in both for row in each["result"]["list"])


@pytest.fixture
def world() -> World:
    return World()


def test_allowances_and_their_headers(world: World) -> None:
    """Ten contract orders a second; the headers count down and tell when to come again; spot has its own twenty."""
    order = bybit_order(category="linear")
    left = [dict(world.answer("POST", "order/create", order).headers)["X-Bapi-Limit-Status"] for _ in range(10)]
    assert left == [str(number) for number in range(9, -1, -1)]
    over = world.answer("POST", "order/create", order)
    headers = dict(over.headers)
    assert json.loads(over.body)["retCode"] == 10006
    assert int(headers["X-Bapi-Limit-Reset-Timestamp"]) == world.now + 1000
    assert world.ask("POST", "order/create", bybit_order())["retCode"] == 0
    batch = {"category": "linear", "request": [order] * 11}
    assert world.ask("POST", "order/create-batch", batch)["retCode"] == 10006
    world.now += 1000
    assert world.ask("POST", "order/create", order)["retCode"] == 0


def test_too_frequent_addresses_are_shut_out(world: World) -> None:
    """The 601st request in five seconds gets 403, and so does everyone for ten minutes."""
    assert {world.answer("GET", "market/time").status for _ in range(600)} == {200}
    assert world.answer("GET", "market/time").body == b"access too frequent, please try again later"
    world.now += 599_999
    assert world.answer("GET", "market/time").status == 403
    world.now += 1
    assert world.answer("GET", "market/time").status == 200


def test_disconnection_protection(world: World) -> None:
    """Fires when the last protected connection has been gone for the window; for its product; waiting stops stay."""
    protection, connection, second = world.face.protection, object(), object()
    for wrong in ({"timeWindow": 2}, {"timeWindow": 301}, {"timeWindow": 10, "product": "CAKES"}):
        assert world.ask("POST", "order/disconnected-cancel-all", wrong)["retCode"] == 10001
    window = {"timeWindow": 10, "product": "DERIVATIVES"}
    assert world.ask("POST", "order/disconnected-cancel-all", window)["retCode"] == 0
    world.ask("POST", "order/create", bybit_order("spot"))
    world.ask("POST", "order/create", bybit_order("swap", category="linear"))
    stop = {"orderType": "Market", "price": "", "triggerPrice": "40000", "triggerDirection": 2, "side": "Sell"}
    world.ask("POST", "order/create", bybit_order("stop", category="linear") | stop)
    world.now += 60_000
    assert not world.face.expire()  # no timer runs while nobody was ever there
    protection.joined("main", "linear", connection)
    protection.joined("main", "linear", second)
    protection.left(connection, world.now)
    world.now += 60_000
    assert not world.face.expire()  # one is still there
    protection.left(second, world.now)
    world.now += 9_999
    assert not world.face.expire()
    protection.joined("main", "linear", connection)
    world.now += 60_000
    assert not world.face.expire()  # it came back in time
    protection.left(connection, world.now)
    world.now += 10_000
    assert world.face.expire()
    assert world.names() == ["spot", "stop"]
    assert not world.face.expire()


class _Wire:
    """A transport that remembers."""

    def __init__(self) -> None:
        self.data = b""
        self.closed = False

    def write(self, data: bytes) -> None:
        self.data += data

    def is_closing(self) -> bool:
        return self.closed

    def get_write_buffer_size(self) -> int:
        return 0

    def close(self) -> None:
        self.closed = True


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("30s", 30_000),
        ("2m", 120_000),
        ("29s", IDLE_MAX_MS),
        ("11m", IDLE_MAX_MS),
        ("", IDLE_MAX_MS),
        ("x", IDLE_MAX_MS),
    ],
)
def test_how_long_a_connection_may_be_idle(text: str, expected: int) -> None:
    """Half a minute to ten minutes, as asked; ten minutes for anything else."""
    assert idle_ms(text) == expected


def test_an_idle_connection_is_closed(world: World) -> None:
    """Whoever says nothing for the time asked for is disconnected."""
    wire, request = _Wire(), None
    transport: Any = wire
    asked: Any = request
    call = Call("GET", "/v5/private", "max_active_time=30s", b"", {}, {}, world.now)
    talk = Conversation(world.face, world.server, asked, Listener(transport, 1, combined=False), call)
    world.now += 30_000
    talk.close_if_idle(world.now)
    assert not wire.closed
    world.now += 1
    talk.close_if_idle(world.now)
    assert wire.closed
