"""An open breaker closes while the bot is silent: the agent probes it itself, and risks no order for it."""

from __future__ import annotations

import time
from typing import Any

from e2e_bot import HOST, RESOLVING, client_for, place, quick_profiles, release, routed
from harness import AgentProcess
from jackstay_agent.control import ask
from jackstay_agent.sandbox import SandboxProcess
from jackstay_protocols.errors import Refused

QUICK = "[errors.breakers.api_calls]\nopen_s = 0.5\nopen_growth = 1.0\nopen_spread = 0.0\n"
PAGE = {"status": 503, "body": "<html>no</html>", "headers": [["Content-Type", "text/html"]]}


def state(agent: AgentProcess, name: str) -> str:
    listed = ask(agent.runtime_dir / agent.name / "control.sock", "breakers.list")["breakers"]
    return next(str(each["state"]) for each in listed if each["class"] == name)


def until(condition: Any, within_s: float = 8.0) -> None:
    limit_at = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < limit_at
        time.sleep(0.02)


def trip_orders(client: Any, agent: AgentProcess, sandbox: SandboxProcess) -> None:
    sandbox.admin.fault("answer", route="POST /api/v3/order", count=5, **PAGE)
    for number in range(5):
        place(client, sandbox, f"bad-{number}")
        release(agent)
    assert [event["was"] for event in agent.events("breaker.open") if event["class"] == "orders"] == ["closed"]


def test_the_breaker_of_orders_closes_while_the_bot_is_silent(sandbox: SandboxProcess, tmp_path: Any) -> None:
    """A signed read asks for it; the next order passes, and no order was sent to find out."""
    config = routed(sandbox.url, RESOLVING + QUICK) + quick_profiles(tmp_path / "profiles")
    with AgentProcess(config) as agent, client_for(agent) as client:
        trip_orders(client, agent, sandbox)
        orders = len(sandbox.admin.ledger(method="POST"))
        until(lambda: state(agent, "orders") == "closed")
        assert len(sandbox.admin.ledger(method="POST")) == orders
        (probe,) = [event for event in agent.events("breaker.probed") if event["class"] == "orders"]
        assert (probe["answer"], probe["state"]) == ("HTTP 200", "closed")
        assert [row for row in sandbox.admin.ledger() if row["path"] == "/api/v3/openOrderList"]
        assert place(client, sandbox, "after").status == 200


def test_a_probe_that_fails_keeps_it_shut_and_comes_again(sandbox: SandboxProcess) -> None:
    """Market data needs no key: three failed probes, one each open time, then a good one closes it."""
    with AgentProcess(routed(sandbox.url, QUICK)) as agent, client_for(agent) as client:
        sandbox.admin.fault("answer", route="GET /api/v3/time", **PAGE)
        sandbox.admin.fault("answer", route="GET /api/v3/ticker/bookTicker", count=3, **PAGE)
        for _ in range(5):
            try:
                client.request("GET", f"{HOST}/api/v3/time", deadline_s=0.2)
            except Refused:
                break
        until(lambda: state(agent, "market_data") == "closed")
        rows = [row for row in sandbox.admin.ledger() if row["path"] == "/api/v3/ticker/bookTicker"]
        assert [row["status"] for row in rows] == [503, 503, 503, 200]
        pauses = [after["at"] - before["at"] for before, after in zip(rows, rows[1:], strict=False)]
        assert min(pauses) >= 0.5


def test_without_a_key_the_bots_next_order_is_the_probe(sandbox: SandboxProcess) -> None:
    """Nothing signed can be asked, and nothing is asked instead: market data would prove nothing about orders."""
    with AgentProcess(routed(sandbox.url, QUICK)) as agent, client_for(agent) as client:
        trip_orders(client, agent, sandbox)
        seen = len(sandbox.admin.ledger())
        until(lambda: state(agent, "orders") == "half_open")
        assert len(sandbox.admin.ledger()) == seen
        assert place(client, sandbox, "probe").status == 200
        assert state(agent, "orders") == "closed"
