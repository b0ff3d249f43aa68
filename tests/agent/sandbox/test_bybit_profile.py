"""The shipped bybit profile asks the Bybit face: every operation, read back as the agent reads it."""

from __future__ import annotations

import json
import time
from decimal import Decimal
from typing import Any

import pytest

from jackstay_agent.sandbox import SandboxProcess
from jackstay_agent.venues.answers import Denied, Done, NotFound, NotOpen, OrderStatus, ServerTime, VenueStatus
from jackstay_agent.venues.outgoing import JSON, OutgoingRequest
from operations_client import OperationsClient
from v5_client import bybit_order


@pytest.fixture
def bybit(sandbox: SandboxProcess) -> OperationsClient:
    return OperationsClient(sandbox, "bybit")


def place(bybit: OperationsClient, path: str, value: Any) -> Any:
    """The bot's own unsigned order, given names and a signature by the profile."""
    request = OutgoingRequest("POST", path, [(b"Content-Type", JSON)], json.dumps(value).encode())
    count = len(value.get("request", [value]))
    named = bybit.operations.with_client_ids(request, [f"js-{number}" for number in range(1, count + 1)])
    read: Any = bybit.operations.read_place(named)
    status, body = bybit.send(bybit.operations.sign(named))
    assert status == 200, body
    answer = json.loads(body)
    assert answer["retCode"] == 0, answer
    return read


def test_from_placing_to_cancelled(bybit: OperationsClient) -> None:
    """A batch the bot placed is found by its minted ids, listed, cancelled, and found again."""
    two = [bybit_order(), bybit_order(price="41000")]
    read = place(bybit, "/v5/order/create-batch", {"category": "spot", "request": two})
    assert [each.client_id for each in read] == ["js-1", "js-2"]
    one = {"symbol": "BTCUSDT", "category": "spot", "client_id": "js-1"}
    found: Any = bybit.ask("query_order", "plain", **one)
    assert (found.status, found.quantity, found.price) == (OrderStatus.OPEN, Decimal("0.01"), Decimal(40000))
    by_id: Any = bybit.ask("query_order", "plain", category="spot", symbol="BTCUSDT", venue_id=found.venue_id)
    assert by_id == found
    listed: Any = bybit.ask("open_orders", "plain", category="spot")
    assert [each.client_id for each in listed] == ["js-2", "js-1"]
    assert isinstance(bybit.ask("query_closed_order", "plain", **one), NotFound)
    assert isinstance(bybit.ask("cancel", "plain", **one), Done)
    gone: Any = bybit.ask("query_closed_order", "plain", **one)
    assert gone.status is OrderStatus.CANCELLED
    history: Any = bybit.ask("order_history", "plain", category="spot", symbol="BTCUSDT")
    assert [each.client_id for each in history] == ["js-1"]
    assert isinstance(bybit.ask("cancel", "plain", **one), NotOpen)
    assert isinstance(bybit.ask("query_order", "plain", **(one | {"client_id": "never"})), NotFound)
    assert isinstance(bybit.ask("cancel_all", "plain", category="spot", symbol="BTCUSDT"), Done)
    assert bybit.ask("open_orders", "plain", category="spot") == []


def test_every_sweep_is_answered(bybit: OperationsClient) -> None:
    """Seeing a whole account takes one list a category, each of which the venue answers."""
    place(bybit, "/v5/order/create", bybit_order(category="linear"))
    found: list[Any] = []
    for sweep in bybit.operations.sweeps:
        listed: Any = bybit.ask("open_orders", "plain", **sweep)
        found += listed
        if sweep["category"] not in ("spot",):
            assert bybit.ask("positions", **sweep) == []
    assert [each.client_id for each in found] == ["js-1"]


def test_a_conditional_order_is_open(bybit: OperationsClient) -> None:
    """A waiting stop is of the plain family and open, with its trigger price."""
    stop = bybit_order(category="linear", side="Sell", orderType="Market", price="", triggerPrice="40000",
                       triggerDirection=2)  # fmt: skip
    place(bybit, "/v5/order/create", stop)
    found: Any = bybit.ask("query_order", "plain", category="linear", symbol="BTCUSDT", client_id="js-1")
    assert (found.status, found.stop_price) == (OrderStatus.OPEN, Decimal(40000))


def test_fills_money_and_positions(bybit: OperationsClient) -> None:
    """What was traded comes back as fills with fees, and money and positions as Decimal."""
    place(bybit, "/v5/order/create", bybit_order(orderType="Market", qty="0.1", price="", marketUnit="baseCoin"))
    since = int(time.time() * 1000) - 60_000
    fills: Any = bybit.ask("fills_since", category="spot", symbol="BTCUSDT", since_ms=since)
    assert sum(fill.quantity for fill in fills) == Decimal("0.1")
    assert {(fill.side, fill.fee_asset, fill.fee > 0) for fill in fills} == {("buy", "BTC", True)}
    balances: Any = bybit.ask("balances")
    assert {each.asset: each.total for each in balances}["BTC"] == Decimal("10.0999")
    swap = bybit_order(category="linear", side="Sell", orderType="Market", qty="0.2", price="")
    place(bybit, "/v5/order/create", swap)
    positions: Any = bybit.ask("positions", category="linear", settle_coin="USDT")
    assert [(each.symbol, each.quantity) for each in positions] == [("BTCUSDT", Decimal("-0.2"))]


def test_time_status_switch_and_probes(bybit: OperationsClient) -> None:
    """The venue's clock and state are read, the switch is set, the probes are answered."""
    told: Any = bybit.ask("server_time")
    assert isinstance(told, ServerTime)
    assert abs(told.time_ms - time.time() * 1000) < 5000
    status: Any = bybit.ask("status")
    assert isinstance(status, VenueStatus)
    assert status.status == "online"
    assert isinstance(bybit.ask("deadman", window_ms=60_000), Done)
    for probe in ("probe.orders", "probe.account", "probe.market_data"):
        assert isinstance(bybit.ask(probe), Done)


def test_a_wrong_secret_and_a_wrong_clock_are_no_answers(sandbox: SandboxProcess) -> None:
    """Neither is "not found"; the clock's is told apart, so that it can be measured anew."""
    asked = {"category": "spot", "symbol": "BTCUSDT", "client_id": "js-1"}
    refused = OperationsClient(sandbox, "bybit", secret="wrong").ask("query_order", "plain", **asked)
    assert isinstance(refused, Denied)
    assert not refused.clock
    refused = OperationsClient(sandbox, "bybit", late_ms=60_000).ask("query_order", "plain", **asked)
    assert isinstance(refused, Denied)
    assert refused.clock
