"""Reduce-only orders have a way out: no breaker, mode or spent budget stops them, and rule 1 still does (DESIGN §3)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

import jackstay
from e2e_bot import KEY, client_for, signed
from harness import AgentProcess
from jackstay_agent.control import ask
from jackstay_agent.sandbox import SandboxProcess
from jackstay_protocols.errors import Outcome, Refused

HOST = "https://fapi.binance.com"
HEADERS = [("X-MBX-APIKEY", KEY), ("Content-Type", "application/x-www-form-urlencoded")]


@pytest.fixture
def own_agent(sandbox: SandboxProcess) -> Iterator[AgentProcess]:
    with AgentProcess(f'[upstreams]\n"fapi.binance.com" = "{sandbox.url}"\n') as running:
        yield running


@pytest.fixture
def client(own_agent: AgentProcess) -> Iterator[jackstay.Client]:
    with client_for(own_agent) as made:
        yield made


def order(client: jackstay.Client, side: str, quantity: str, **more: str) -> jackstay.Response:
    params = {"symbol": "BTCUSDT", "side": side, "type": "MARKET", "quantity": quantity, **more}
    return client.request("POST", f"{HOST}/fapi/v1/order", headers=HEADERS, body=signed(params).encode(), deadline_s=5)


def desk(agent: AgentProcess, verb: str, **args: Any) -> dict[str, Any]:
    return ask(agent.runtime_dir / agent.name / "control.sock", verb, args)


def refused(call: Any) -> str:
    with pytest.raises(Refused) as caught:
        call()
    return str(caught.value.reason)


def test_what_only_reduces_passes_breakers_and_modes(
    sandbox: SandboxProcess, own_agent: AgentProcess, client: jackstay.Client
) -> None:
    """With the orders' breaker tripped and the venue halted: an entry is refused, a reduce-only exit arrives."""
    assert order(client, "BUY", "0.3").status == 200
    desk(own_agent, "breakers.force", all=True, word="trip", why="test")
    assert refused(lambda: order(client, "SELL", "0.1")) == "breaker_open"
    assert order(client, "SELL", "0.1", reduceOnly="true").status == 200
    desk(own_agent, "breakers.force", all=True, word="reset", why="test")
    desk(own_agent, "mode.hold", all=True, mode="halted", why="test")
    assert refused(lambda: order(client, "SELL", "0.1", reduceOnly="false")) == "mode"
    assert order(client, "SELL", "0.05", reduceOnly="true").status == 200
    rows = [row for row in sandbox.admin.ledger(method="POST") if row["path"] == "/fapi/v1/order"]
    assert [row["status"] for row in rows] == [200, 200, 200]


def test_the_reserved_share_carries_it_when_the_budget_is_spent(
    sandbox: SandboxProcess, own_agent: AgentProcess, client: jackstay.Client
) -> None:
    """The venue says that this address is at its limit: questions wait, the exit goes."""
    assert order(client, "BUY", "0.2").status == 200
    used = {"status": 200, "body": '{"serverTime":1}', "headers": [["X-MBX-USED-WEIGHT-1M", "2399"]]}
    used["headers"] += [["Content-Type", "application/json"]]  # type: ignore[operator]
    sandbox.admin.fault("answer", route="GET /fapi/v1/time", count=1, **used)
    client.request("GET", f"{HOST}/fapi/v1/time")
    assert refused(lambda: client.request("GET", f"{HOST}/fapi/v1/time", deadline_s=0.2)) == "rate_limited"
    assert order(client, "SELL", "0.2", reduceOnly="true").status == 200


def test_rule_one_holds_in_the_lane(sandbox: SandboxProcess, own_agent: AgentProcess, client: jackstay.Client) -> None:
    """A reduce-only order whose answer was lost is not placed a second time, whatever lane it travels in."""
    assert order(client, "BUY", "0.2").status == 200
    sandbox.admin.fault("answer", route="POST /fapi/v1/order", count=1, status=503, body="<html>", headers=[])
    lost = order(client, "SELL", "0.1", reduceOnly="true")
    assert lost.verdict.outcome is Outcome.UNKNOWN
    assert refused(lambda: order(client, "SELL", "0.1", reduceOnly="true")) == "equal_pending"
