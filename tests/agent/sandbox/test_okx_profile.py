"""The shipped okx profile asks the OKX face: every operation, read back as the agent reads it."""

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
from v5_client import okx_order


@pytest.fixture
def okx(sandbox: SandboxProcess) -> OperationsClient:
    return OperationsClient(sandbox, "okx")


def place(okx: OperationsClient, path: str, value: Any) -> Any:
    """The bot's own unsigned order, given a name and a signature by the profile."""
    request = OutgoingRequest("POST", path, [(b"Content-Type", JSON)], json.dumps(value).encode())
    count = len(value) if isinstance(value, list) else 1
    named = okx.operations.with_client_ids(request, [f"js{number}" for number in range(1, count + 1)])
    read: Any = okx.operations.read_place(named)
    status, body = okx.send(okx.operations.sign(named))
    assert status == 200, body
    answer = json.loads(body)
    assert answer["code"] == "0", answer
    return read


def test_from_placing_to_cancelled(okx: OperationsClient) -> None:
    """A batch the bot placed is found by its minted ids, listed, cancelled, and found again."""
    read = place(okx, "/api/v5/trade/batch-orders", [okx_order(), okx_order(px="41000")])
    assert [each.client_id for each in read] == ["js1", "js2"]
    found: Any = okx.ask("query_order", "plain", symbol="BTC-USDT", client_id="js1")
    assert (found.status, found.quantity, found.price) == (OrderStatus.OPEN, Decimal("0.01"), Decimal(40000))
    assert okx.ask("query_order", "plain", symbol="BTC-USDT", venue_id=found.venue_id) == found
    listed: Any = okx.ask("open_orders", "plain")
    assert [each.client_id for each in listed] == ["js2", "js1"]
    assert isinstance(okx.ask("cancel", "plain", symbol="BTC-USDT", client_id="js1"), Done)
    gone: Any = okx.ask("query_order", "plain", symbol="BTC-USDT", client_id="js1")
    assert gone.status is OrderStatus.CANCELLED
    history: Any = okx.ask("order_history", "plain", inst_type="SPOT", symbol="BTC-USDT")
    assert [each.client_id for each in history] == ["js1"]
    assert isinstance(okx.ask("cancel", "plain", symbol="BTC-USDT", client_id="js1"), NotOpen)
    assert isinstance(okx.ask("cancel", "plain", symbol="BTC-USDT", client_id="never"), NotOpen)
    assert isinstance(okx.ask("query_order", "plain", symbol="BTC-USDT", client_id="never"), NotFound)


def test_the_algo_family(okx: OperationsClient) -> None:
    """A stop is absent from the plain family and found, listed and cancelled in its own."""
    algo = {"instId": "BTC-USDT", "tdMode": "cash", "side": "sell", "ordType": "trigger", "sz": "0.01",
            "triggerPx": "40000", "orderPx": "-1"}  # fmt: skip
    place(okx, "/api/v5/trade/order-algo", algo)
    assert isinstance(okx.ask("query_order", "plain", symbol="BTC-USDT", client_id="js1"), NotFound)
    stop: Any = okx.ask("query_order", "algo", client_id="js1")
    assert (stop.status, stop.stop_price, stop.quantity) == (OrderStatus.OPEN, Decimal(40000), Decimal("0.01"))
    assert okx.ask("open_orders", "algo", algo_type="trigger") == [stop]
    assert isinstance(okx.ask("cancel", "algo", symbol="BTC-USDT", client_id="js1"), Done)
    assert isinstance(okx.ask("cancel", "algo", symbol="BTC-USDT", client_id="js1"), NotOpen)
    gone: Any = okx.ask("query_order", "algo", client_id="js1")
    assert gone.status is OrderStatus.CANCELLED


def test_fills_money_and_positions(okx: OperationsClient) -> None:
    """What was traded comes back as fills with fees, and money and positions as Decimal."""
    place(okx, "/api/v5/trade/order", okx_order(ordType="market", sz="0.1", px="", tgtCcy="base_ccy"))
    fills: Any = okx.ask("fills_since", symbol="BTC-USDT", since_ms=int(time.time() * 1000) - 60_000)
    assert sum(fill.quantity for fill in fills) == Decimal("0.1")
    assert {(fill.side, fill.fee_asset, fill.fee > 0) for fill in fills} == {("buy", "BTC", True)}
    balances: Any = okx.ask("balances")
    assert {each.asset: each.total for each in balances}["BTC"] == Decimal("10.0999")
    swap = okx_order(instId="BTC-USDT-SWAP", tdMode="cross", side="sell", ordType="market", sz="2", px="", clOrdId="s1")
    place(okx, "/api/v5/trade/order", swap)
    positions: Any = okx.ask("positions")
    assert [(each.symbol, each.quantity) for each in positions] == [("BTC-USDT-SWAP", Decimal(-2))]


def test_time_status_switch_and_probes(okx: OperationsClient) -> None:
    """The venue's clock and state are read, the switch is armed and disarmed, the probes are answered."""
    told: Any = okx.ask("server_time")
    assert isinstance(told, ServerTime)
    assert abs(told.time_ms - time.time() * 1000) < 5000
    status: Any = okx.ask("status")
    assert isinstance(status, VenueStatus)
    assert status.status == "online"
    for window_ms in (60_000, 0):
        assert isinstance(okx.ask("deadman", window_ms=window_ms), Done)
    for probe in ("probe.orders", "probe.account", "probe.market_data"):
        assert isinstance(okx.ask(probe), Done)


def test_a_wrong_secret_and_a_wrong_clock_are_no_answers(sandbox: SandboxProcess) -> None:
    """Neither is "not found"; the clock's is told apart, so that it can be measured anew."""
    refused = OperationsClient(sandbox, "okx", secret="wrong").ask("query_order", "plain", symbol="B", client_id="js1")
    assert isinstance(refused, Denied)
    assert not refused.clock
    late = OperationsClient(sandbox, "okx", late_ms=60_000)
    refused = late.ask("query_order", "plain", symbol="BTC-USDT", client_id="js1")
    assert isinstance(refused, Denied)
    assert refused.clock
