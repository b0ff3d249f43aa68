"""Every operation of the binance profiles, asked of a real server that checks signatures and answers like the venue."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import hypothesis  # noqa: F401  (its pytest plugin imports it at the very end otherwise, where CPython 3.11 may trip)
import pytest

from jackstay_agent.sandbox import SandboxProcess
from jackstay_agent.venues.answers import Answer, Denied, Done, NotFound, NotOpen, OrderStatus, ServerTime, VenueStatus
from jackstay_agent.venues.credentials import Credentials
from jackstay_agent.venues.operations import Operations
from jackstay_agent.venues.outgoing import FORM, OutgoingRequest
from jackstay_agent.venues.profile import shipped_profiles
from sandbox_client import KEY, SECRET


@pytest.fixture(scope="module")
def venue() -> Iterator[SandboxProcess]:
    with SandboxProcess(quiet=True) as process:
        yield process


class Asker:
    """Sends what the operations build, and gives their reading of the answer."""

    def __init__(self, sandbox: SandboxProcess, profile: str, secret: str = SECRET) -> None:
        self.operations = Operations(
            shipped_profiles()[profile],
            Credentials(KEY, secret, origin="a test"),
            wall_ms=lambda: int(time.time() * 1000),
        )
        self._port = sandbox.port

    def send(self, request: OutgoingRequest) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=10)
        try:
            headers = {name.decode(): value.decode() for name, value in request.headers}
            connection.request(request.method, request.target, request.body or None, headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def ask(self, name: str, family: str = "", **given: str | int) -> Answer:
        status, body = self.send(self.operations.request(name, family=family, **given))
        return self.operations.read(name, status, body, family=family, asked=given)

    def place(self, path: str, **params: str) -> dict[str, Any]:
        body = "&".join(f"{name}={value}" for name, value in params.items()).encode()
        request = OutgoingRequest("POST", path, [(b"Content-Type", FORM)], body)
        ids = self.operations.with_client_ids(request, ["js-1"])
        status, answer = self.send(self.operations.sign(ids))
        assert status == 200, answer
        return dict(json.loads(answer))


def test_binance_from_placing_to_cancelled(venue: SandboxProcess) -> None:
    """The bot's unsigned order with a minted id is found by that id, in the lists, cancelled, and found again."""
    spot = Asker(venue, "binance")
    order = {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "quantity": "0.01", "price": "30000"}
    placed = spot.place("/api/v3/order", **order, timeInForce="GTC")
    found: Any = spot.ask("query_order", "plain", symbol="BTCUSDT", client_id="js-1")
    assert (found.venue_id, found.quantity, found.price) == (str(placed["orderId"]), Decimal("0.01"), Decimal(30000))
    assert found.status is OrderStatus.OPEN
    assert spot.ask("query_order", "plain", symbol="BTCUSDT", venue_id=found.venue_id) == found
    assert spot.ask("open_orders", "plain", symbol="BTCUSDT") == [found]
    assert found in spot.ask("order_history", "plain", symbol="BTCUSDT", since_ms=found.time_ms, limit=10)  # type: ignore[operator]
    assert isinstance(spot.ask("cancel", "plain", symbol="BTCUSDT", client_id="js-1"), Done)
    gone: Any = spot.ask("query_order", "plain", symbol="BTCUSDT", client_id="js-1")
    assert (gone.client_id, gone.status) == ("js-1", OrderStatus.CANCELLED)
    assert isinstance(spot.ask("cancel", "plain", symbol="BTCUSDT", client_id="js-1"), NotOpen)
    assert isinstance(spot.ask("query_order", "plain", symbol="BTCUSDT", client_id="never"), NotFound)
    assert isinstance(spot.ask("cancel_all", "plain", symbol="BTCUSDT"), NotOpen)


def test_binance_fills_balances_time_and_status(venue: SandboxProcess) -> None:
    """What was traded comes back as fills, and money as Decimal."""
    spot = Asker(venue, "binance")
    placed = spot.place("/api/v3/order", symbol="BTCUSDT", side="BUY", type="MARKET", quantity="0.01")
    fills: Any = spot.ask("fills_since", symbol="BTCUSDT", venue_id=placed["orderId"])
    assert sum(fill.quantity for fill in fills) == Decimal("0.01")
    assert {fill.side for fill in fills} == {"buy"}
    balances: Any = spot.ask("balances")
    assert all(each.total == each.free + each.locked for each in balances)
    assert {each.asset for each in balances} >= {"BTC", "USDT"}
    told: Any = spot.ask("server_time")
    assert isinstance(told, ServerTime)
    assert abs(told.time_ms - time.time() * 1000) < 5000
    assert spot.ask("status") == VenueStatus("online", "0")
    for probe in ("probe.orders", "probe.account", "probe.market_data"):
        assert isinstance(spot.ask(probe), Done)


def test_binance_order_lists(venue: SandboxProcess) -> None:
    """An OCO is a family of its own: found by the list's id, cancelled as a list."""
    spot = Asker(venue, "binance")
    spot.place("/api/v3/order", symbol="BTCUSDT", side="BUY", type="MARKET", quantity="0.01")
    spot.place(
        "/api/v3/order/oco", symbol="BTCUSDT", side="SELL", quantity="0.01", price="90000", stopPrice="30000",
        stopLimitPrice="29000", stopLimitTimeInForce="GTC",
    )  # fmt: skip
    found: Any = spot.ask("query_order", "list", client_id="js-1")
    assert (found.client_id, found.status, found.quantity) == ("js-1", OrderStatus.OPEN, None)
    assert spot.ask("open_orders", "list") == [found]
    assert isinstance(spot.ask("cancel", "list", symbol="BTCUSDT", client_id="js-1"), Done)
    gone: Any = spot.ask("query_order", "list", client_id="js-1")
    assert gone.status is OrderStatus.OTHER  # all done: its legs tell how
    assert isinstance(spot.ask("query_order", "list", client_id="never"), NotFound)


def test_usdm_has_two_families(venue: SandboxProcess) -> None:
    """A live stop is absent from the plain family and found in the algo family, each with its own cancels."""
    usdm = Asker(venue, "binance-usdm")
    usdm.place(
        "/fapi/v1/order", symbol="BTCUSDT", side="BUY", type="LIMIT", quantity="0.01", price="30000", timeInForce="GTC"
    )
    usdm.place(
        "/fapi/v1/algoOrder", algoType="CONDITIONAL", symbol="BTCUSDT", side="SELL", type="STOP_MARKET",
        triggerPrice="30000", quantity="0.01", reduceOnly="true",
    )  # fmt: skip
    plain: Any = usdm.ask("query_order", "plain", symbol="BTCUSDT", client_id="js-1")
    stop: Any = usdm.ask("query_order", "algo", client_id="js-1")
    assert (plain.type, plain.stop_price, plain.reduce_only) == ("limit", None, False)
    assert (stop.type, stop.stop_price, stop.reduce_only) == ("stop_market", Decimal(30000), True)
    assert usdm.ask("open_orders", "plain", symbol="BTCUSDT") == [plain]
    assert usdm.ask("open_orders", "algo", symbol="BTCUSDT") == [stop]
    assert isinstance(usdm.ask("cancel_all", "plain", symbol="BTCUSDT"), Done)
    assert isinstance(usdm.ask("cancel", "algo", client_id="js-1"), Done)
    assert isinstance(usdm.ask("cancel", "algo", client_id="js-1"), NotOpen)
    assert isinstance(usdm.ask("query_order", "algo", client_id="never"), NotFound)
    history: Any = usdm.ask("order_history", "algo", symbol="BTCUSDT")
    assert [each.status for each in history] == [OrderStatus.CANCELLED]


def test_usdm_positions_balances_and_switch(venue: SandboxProcess) -> None:
    """Signed position, wallet, the dead-man switch armed and disarmed, the probes."""
    usdm = Asker(venue, "binance-usdm")
    usdm.place("/fapi/v1/order", symbol="BTCUSDT", side="SELL", type="MARKET", quantity="0.02")
    positions: Any = usdm.ask("positions", symbol="BTCUSDT")
    assert [(each.symbol, each.quantity) for each in positions] == [("BTCUSDT", Decimal("-0.02"))]
    fills: Any = usdm.ask("fills_since", symbol="BTCUSDT", since_ms=0)
    assert fills[-1].side == "sell"
    balances: Any = usdm.ask("balances")
    assert [each.asset for each in balances] == ["USDT"]
    for window_ms in (60_000, 0):
        assert isinstance(usdm.ask("deadman", symbol="BTCUSDT", window_ms=window_ms), Done)
    assert isinstance(usdm.ask("server_time"), ServerTime)
    for probe in ("probe.orders", "probe.account", "probe.market_data"):
        assert isinstance(usdm.ask(probe), Done)


@pytest.mark.parametrize("profile", ["binance", "binance-usdm"])
def test_a_wrong_secret_is_no_answer(venue: SandboxProcess, profile: str) -> None:
    """An order that could not be asked for is not "not found"."""
    refused = Asker(venue, profile, secret="wrong").ask("query_order", "plain", symbol="BTCUSDT", client_id="js-1")
    assert isinstance(refused, Denied)
    assert not refused.clock


@pytest.mark.parametrize("profile", ["binance", "binance-usdm"])
def test_a_clock_that_is_off_is_told_by_the_venue(venue: SandboxProcess, profile: str) -> None:
    """A timestamp outside the window asks for a new measurement."""
    late = Asker(venue, profile)
    late.operations = Operations(
        late.operations.profile, Credentials(KEY, SECRET), wall_ms=lambda: int(time.time() * 1000) - 60_000
    )
    refused = late.ask("query_order", "plain", symbol="BTCUSDT", client_id="js-1")
    assert isinstance(refused, Denied)
    assert refused.clock
