"""What takes the OKX face's own time, on a clock of the test's: dead-man switch, forgotten orders, idle connections."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest

from jackstay_agent.sandbox.answers import Call
from jackstay_agent.sandbox.faces.okx import OkxFace
from jackstay_agent.sandbox.faces.okx_socket import IDLE_MAX_MS, Conversation
from jackstay_agent.sandbox.faults import FaultBox
from jackstay_agent.sandbox.streams import Listener, StreamHub
from jackstay_agent.sandbox.venue import Venue
from v5_client import okx_headers, okx_order


class World:
    """A venue without sockets whose time is `now`."""

    def __init__(self) -> None:
        self.now = 1_800_000_000_000
        spot = Venue(clock=lambda: self.now, enforce_limits=True)
        linear = Venue(kind="usdm", clock=lambda: self.now, beside=spot)
        for venue in (spot, linear):
            venue.open_books()
        self.server: Any = SimpleNamespace(venue=spot, usdm=linear, hub=StreamHub(FaultBox(1)))
        self.face = OkxFace(self.server)

    def ask(self, method: str, path: str, params: Any = None, query: str = "") -> Any:
        target, body = f"/api/v5/{path}", "" if params is None else json.dumps(params)
        headers = okx_headers(method, f"{target}?{query}" if query else target, body, self.now)
        pairs = dict(pair.split("=") for pair in query.split("&")) if query else {}
        call = Call(method, target, query, body.encode(), headers, pairs, self.now)
        self.face.facts(call)
        return json.loads(self.face.answer(call).body)

    def names(self) -> list[str]:
        return sorted(row["clOrdId"] for row in self.ask("GET", "trade/orders-pending")["data"])


@pytest.fixture
def world() -> World:
    return World()


def test_the_switch_fires_once(world: World) -> None:
    """Plain orders of both markets die at the end of the time; algo orders stay; a new one must be armed anew."""
    world.ask("POST", "trade/order", okx_order("spot"))
    world.ask("POST", "trade/order", okx_order("swap", instId="BTC-USDT-SWAP", tdMode="cross", sz="1"))
    algo = {"instId": "BTC-USDT", "tdMode": "cash", "side": "sell", "ordType": "trigger", "sz": "0.01",
            "triggerPx": "40000", "orderPx": "-1", "algoClOrdId": "stop"}  # fmt: skip
    assert world.ask("POST", "trade/order-algo", algo)["code"] == "0"
    armed = world.ask("POST", "trade/cancel-all-after", {"timeOut": "10"})["data"][0]
    assert armed["triggerTime"] == str(world.now + 10_000)
    world.now += 9_999
    assert not world.face.expire()
    world.now += 1
    assert world.face.expire()
    assert world.names() == []
    waiting = world.ask("GET", "trade/orders-algo-pending", query="ordType=trigger")["data"]
    assert [row["algoClOrdId"] for row in waiting] == ["stop"]
    world.ask("POST", "trade/order", okx_order("later"))
    world.now += 60_000
    assert not world.face.expire()
    assert world.names() == ["later"]


def test_the_switch_is_renewed_disarmed_and_tagged(world: World) -> None:
    """Renewing moves the end, 0 disarms, a tag limits what dies; other times are refused."""
    world.ask("POST", "trade/order", okx_order("tagged", tag="mine"))
    world.ask("POST", "trade/order", okx_order("other"))
    for wrong in ("9", "121", "-1", "soon", ""):
        assert world.ask("POST", "trade/cancel-all-after", {"timeOut": wrong})["code"] == "51000"
        world.now += 1000
    world.ask("POST", "trade/cancel-all-after", {"timeOut": "10", "tag": "mine"})
    world.now += 9_000
    world.ask("POST", "trade/cancel-all-after", {"timeOut": "10", "tag": "mine"})
    world.now += 9_000
    assert not world.face.expire()
    world.now += 1_000
    assert world.face.expire()
    assert world.names() == ["other"]
    world.ask("POST", "trade/cancel-all-after", {"timeOut": "10"})
    world.now += 1_000
    world.ask("POST", "trade/cancel-all-after", {"timeOut": "0"})
    world.now += 60_000
    assert not world.face.expire()


def test_the_switch_has_an_allowance_of_its_own(world: World) -> None:
    """Once a second."""
    codes = [world.ask("POST", "trade/cancel-all-after", {"timeOut": "0"})["code"] for _ in range(2)]
    assert codes == ["0", "50011"]


def test_cancelled_orders_without_a_fill_are_forgotten(world: World) -> None:
    """After two hours the venue no longer knows them."""
    world.ask("POST", "trade/order", okx_order("gone"))
    world.ask("POST", "trade/cancel-order", {"instId": "BTC-USDT", "clOrdId": "gone"})
    world.now += 7_199_999
    assert world.ask("GET", "trade/order", query="instId=BTC-USDT&clOrdId=gone")["code"] == "0"
    world.now += 2
    assert world.ask("GET", "trade/order", query="instId=BTC-USDT&clOrdId=gone")["code"] == "51603"


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


def test_an_idle_connection_is_closed(world: World) -> None:
    """Thirty seconds without a word in either direction end it; anything sent keeps it."""
    wire: Any = _Wire()
    listener = Listener(wire, 1, combined=False)
    request: Any = None
    talk = Conversation(world.face, world.server, request, listener)
    world.now += IDLE_MAX_MS
    talk.close_if_idle(world.now)
    assert not wire.closed
    listener.send(b"x")
    world.now += 1
    talk.close_if_idle(world.now)
    world.now += IDLE_MAX_MS + 1
    talk.close_if_idle(world.now)
    assert wire.closed
    assert wire.data.startswith(b"x\x88")
    assert (4004).to_bytes(2, "big") in wire.data
