"""An agent that is killed comes back with its open breakers, gates, budgets and modes (DESIGN §5 Breaker)."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import jackstay
from e2e_bot import HOST, client_for, place, release, routed
from harness import AgentProcess
from jackstay_agent.control import ask
from jackstay_agent.sandbox import SandboxProcess
from jackstay_protocols.errors import Refused


@pytest.fixture
def own_agent(sandbox: SandboxProcess) -> Iterator[AgentProcess]:
    with AgentProcess(routed(sandbox.url, "[errors.breakers.api_calls]\nopen_s = 60\n")) as running:
        yield running


def desk(agent: AgentProcess, verb: str, **args: Any) -> dict[str, Any]:
    return ask(agent.runtime_dir / agent.name / "control.sock", verb, args)


def look(agent: AgentProcess, client: jackstay.Client, path: str = "/api/v3/time", deadline_s: float = 0.3) -> Any:
    return client.request("GET", f"{HOST}{path}", deadline_s=deadline_s)


def until_kept(agent: AgentProcess, word: str) -> None:
    """The file is written off the loop: at once, but not before the call returns."""
    path = Path(agent.runtime_dir) / agent.name / "state" / "decisions.json"
    limit_at = time.monotonic() + 5
    while not (path.exists() and word in path.read_text(encoding="utf-8")):
        assert time.monotonic() < limit_at, "nothing was kept"


def states(agent: AgentProcess) -> dict[str, str]:
    return {each["class"]: each["state"] for each in desk(agent, "breakers.list")["breakers"]}


def test_kill_9_forgets_no_breaker_no_gate_and_no_mode(sandbox: SandboxProcess, own_agent: AgentProcess) -> None:
    """Opened by 503s, closed by a 429, held by an operator: all three stand in the next life, with the time left."""
    page = {"status": 503, "body": "<html>no</html>", "headers": [["Content-Type", "text/html"]]}
    with client_for(own_agent) as client:
        sandbox.admin.fault("answer", route="POST /api/v3/order", count=5, **page)
        for number in range(5):
            place(client, sandbox, f"bad-{number}")
            release(own_agent)
        assert states(own_agent)["orders"] == "open"
        sandbox.admin.fault("rate_limit", route="GET /api/v3/time", count=1, duration_s=60)
        look(own_agent, client)
        desk(own_agent, "mode.hold", venue="kraken", mode="conservative", why="CPI", for_s=600)
        until_kept(own_agent, "CPI")
    sent = len(sandbox.admin.ledger())
    own_agent.kill()
    own_agent.start()
    assert own_agent.events("decisions.restored")[-1]["breakers"] == ["api.binance.com orders"]
    assert states(own_agent)["orders"] == "open", "shown before anybody asked"
    (hold,) = desk(own_agent, "mode.list")["holds"]
    assert (hold["venue"], hold["mode"], hold["why"]) == ("kraken", "conservative", "CPI")
    assert 550 < hold["left_s"] < 600
    with client_for(own_agent) as client:
        with pytest.raises(Refused) as caught:
            look(own_agent, client)
        assert caught.value.reason == "gated"
        assert caught.value.retry_after_s == pytest.approx(57, abs=5)
        desk(own_agent, "limits.release", all=True, why="next")
        with pytest.raises(Refused) as caught:
            place(client, sandbox, "still", deadline_s=1)
        assert caught.value.reason == "breaker_open"
    assert len(sandbox.admin.ledger()) == sent


def test_a_restarted_agent_does_not_spend_a_budget_twice(sandbox: SandboxProcess) -> None:
    """What the first life spent of a minute's weight is spent in the second."""
    few = "[venues.binance.limits]\nweight_1m = 40\norders_10s = 0\n"
    with AgentProcess(routed(sandbox.url, few)) as agent:
        with client_for(agent) as client:
            for _ in range(30):
                assert look(agent, client, deadline_s=2).status == 200
        assert agent.stop() == 0
        agent.start()
        with client_for(agent) as client:
            for _ in range(6):
                assert look(agent, client).status == 200
            with pytest.raises(Refused) as caught:
                look(agent, client)
        assert caught.value.reason == "rate_limited", "36 of 40: the rest is the de-risking share"


def test_a_damaged_memory_is_set_aside(sandbox: SandboxProcess, own_agent: AgentProcess) -> None:
    """The agent starts without it and says so."""
    own_agent.stop()
    path = Path(own_agent.runtime_dir) / own_agent.name / "state" / "decisions.json"
    path.write_bytes(path.read_bytes()[:-7])
    own_agent.start()
    assert "set aside" in own_agent.events("decisions.forgot")[-1]["why"]
    with client_for(own_agent) as client:
        assert look(own_agent, client, deadline_s=2).status == 200
