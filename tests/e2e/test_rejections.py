"""Rejected orders and partial fills at the venue: exact words for the bot, a stop for loops, hands off by default."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import pytest

import jackstay
from e2e_bot import HOST, RESOLVING, client_for, routed
from harness import AgentProcess
from jackstay_agent.sandbox import SandboxProcess
from jackstay_protocols.errors import Refused

FORM = [("Content-Type", "application/x-www-form-urlencoded")]
FILLS = 1000


@pytest.fixture(scope="module")
def sandbox() -> Iterator[SandboxProcess]:
    with SandboxProcess(seed=1, quiet=True) as exchange:
        yield exchange


def order(client: jackstay.Client, name: str, side: str, price: str, quantity: str) -> int:
    given = {"symbol": "BTCUSDT", "side": side, "type": "LIMIT", "timeInForce": "GTC", "newClientOrderId": name}
    body = urlencode(given | {"price": price, "quantity": quantity}).encode()
    answer = client.request("POST", f"{HOST}/api/v3/order", headers=FORM, body=body, sign=True, deadline_s=10)
    return int(answer.status)


def directive(client: jackstay.Client, name: str) -> dict[str, Any]:
    for each in client.directives(timeout_s=8.0):
        if each.name == name:
            return each.fields
    raise AssertionError(f"no {name}")


def test_tick_step_and_least_value_are_suggested_exactly_as_the_venue_wants_them(sandbox: SandboxProcess) -> None:
    """What is suggested is then taken by the venue; what may not be enlarged is named with the exact amount."""
    with AgentProcess(routed(sandbox.url, RESOLVING)) as agent, client_for(agent, bot_id="b") as client:
        assert order(client, "tick", "BUY", "40000.005", "0.001") == 400
        tick = directive(client, "adjust_parameters")
        assert tick["suggested"] == {"price": "40000.00"}
        assert order(client, "step", "SELL", "60000.00", "0.0010000123") == 400
        step = directive(client, "adjust_parameters")
        assert step["suggested"]["quantity"] == "0.00100"
        assert order(client, "least", "BUY", "40000.00", "0.0001") == 400
        least = directive(client, "adjust_parameters")
        assert (least["suggested"], least["needs"]) == ({}, {"quantity": "0.00013"}), "5 USDT at 40000, by steps"
        assert order(client, "tick2", "BUY", tick["suggested"]["price"], "0.001") == 200
        assert order(client, "step2", "SELL", "60000.00", step["suggested"]["quantity"]) == 200
        assert order(client, "least2", "BUY", "40000.01", least["needs"]["quantity"]) == 200


def test_ten_identical_rejects_are_stopped_and_the_bot_is_told_once(sandbox: SandboxProcess) -> None:
    """The eleventh does not reach the venue."""
    sandbox.admin.reset()
    with AgentProcess(routed(sandbox.url, RESOLVING)) as agent, client_for(agent, bot_id="b") as client:
        for number in range(10):
            assert order(client, f"loop{number}", "BUY", "41000.00", "9.0") == 400
        with pytest.raises(Refused):
            order(client, "loop10", "BUY", "41000.00", "9.0")
        assert len(sandbox.admin.ledger(method="POST", path="/api/v3/order")) == 10
        stop = directive(client, "stop_order")
        assert stop["order"]["price"] == "41000.00"
        names = [each.name for each in client.directives(timeout_s=0.5)]
        assert "stop_order" not in names


def test_a_market_makers_thousand_partial_fills_cost_no_cancel(sandbox: SandboxProcess) -> None:
    """Default configuration; the agent hears each of them."""
    sandbox.admin.reset()
    config = routed(sandbox.url, f'"ws-api.binance.com" = "{sandbox.url}"\n{RESOLVING}')
    with AgentProcess(config) as agent, client_for(agent, bot_id="mm") as client:
        until = time.monotonic() + 20.0
        while agent.status()["user_streams"]["binance"]["state"] != "live":
            assert time.monotonic() < until, agent.status()["user_streams"]
        quotes = 20
        for number in range(quotes):
            side, price = ("BUY", 40000 + number) if number % 2 else ("SELL", 60000 + number)
            assert order(client, f"q{number}", side, f"{price}.00", "0.1") == 200
        ids = [int(each["orderId"]) for each in sandbox.admin.orders()]
        for number in range(FILLS):
            sandbox.admin.fill(ids[number % quotes], "0.001")
        until = time.monotonic() + 20.0
        while agent.status()["user_streams"]["binance"]["events"] < FILLS:
            assert time.monotonic() < until, agent.status()["user_streams"]
            time.sleep(0.1)
        assert {each["executedQty"] for each in sandbox.admin.orders()} == {"0.05000000"}
        assert sandbox.admin.ledger(method="DELETE") == []
        assert not agent.events("recovery.begun")
        assert {each["status"] for each in sandbox.admin.orders()} == {"PARTIALLY_FILLED"}
