"""A bot that comes back with an unknown order: no entries until it is known; an operator may open."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import jackstay
from e2e_bot import HOST, KEY, RESOLVING, client_for, own_price, routed, signed
from harness import AgentProcess, cli
from jackstay_agent.sandbox import SandboxProcess
from jackstay_protocols.errors import Refused, TradingBotError


@pytest.fixture
def sandbox() -> Iterator[SandboxProcess]:
    with SandboxProcess(seed=1, quiet=True) as exchange:
        yield exchange


def place(client: jackstay.Client, name: str, *, side: str = "BUY", tag: str = "entry") -> jackstay.Response:
    params: dict[str, Any] = {
        "symbol": "BTCUSDT",
        "side": side,
        "type": "LIMIT",
        "timeInForce": "GTC",
        "quantity": "0.001",
        "price": f"{own_price(name) + (0 if side == 'BUY' else 40000):.2f}",
        "newClientOrderId": name,
    }
    headers = [("X-MBX-APIKEY", KEY), ("Content-Type", "application/x-www-form-urlencoded")]
    return client.request(
        "POST", f"{HOST}/api/v3/order", headers=headers, body=signed(params).encode(), deadline_s=1.5, tag=tag
    )


def wait_for(agent: AgentProcess, name: str, within_s: float = 10.0) -> dict[str, Any]:
    until = time.monotonic() + within_s
    while time.monotonic() < until:
        found = agent.events(name)
        if found:
            return found[-1]
        time.sleep(0.02)
    raise AssertionError(f"no {name}:\n{agent.log()[-4000:]}")


def stalled_with_an_unknown_order(agent: AgentProcess, client: jackstay.Client, sandbox: SandboxProcess) -> str:
    """The reply to an order is lost, questions get 503, the bot says nothing for a while and then speaks again."""
    assert place(client, "known").status == 200
    fault = sandbox.admin.fault("answer", route="GET /api/v3/order", status=503)
    sandbox.admin.fault("drop_reply", route="POST /api/v3/order", count=1)
    with pytest.raises(TradingBotError):
        place(client, "lost")
    wait_for(agent, "bot.stalled")
    client.beat()
    up = wait_for(agent, "barrier.up")
    assert up["unknown"] == ["lost"]
    return fault


def test_entries_wait_for_what_is_unknown_and_what_closes_passes(sandbox: SandboxProcess) -> None:
    """503 to every question: the barrier outlasts its time, says so, and stays until an operator opens it."""
    with AgentProcess(routed(sandbox.url, "[watchdog]\nbarrier_s = 0.5\n" + RESOLVING)) as agent:
        with client_for(agent, beat_within_s=0.3) as client:
            stalled_with_an_unknown_order(agent, client, sandbox)
            with pytest.raises(Refused, match="barrier"):
                place(client, "entry")
            assert place(client, "exit", side="SELL", tag="exit").status == 200
            late = wait_for(agent, "barrier.timed_out")
            assert late["mode"] == "conservative"
            with pytest.raises(Refused, match="barrier"):
                place(client, "entry")
            shown = cli("barrier", runtime_dir=agent.runtime_dir)
            assert "unknown: lost" in shown.stdout
            assert cli("barrier", "release", "e2e", "--why", "looked", runtime_dir=agent.runtime_dir).returncode == 0
            assert cli("barrier", "release", "e2e", "--why", "looked", runtime_dir=agent.runtime_dir).returncode == 1
            word = wait_for(agent, "operator.barrier_released")
            assert f"uid {os.getuid()}" in word["by"]
            assert place(client, "other-side", side="SELL", tag="entry").status == 200


def test_the_barrier_falls_by_itself_when_the_venue_answers(sandbox: SandboxProcess) -> None:
    """The order is found; entries pass, and the bot need do nothing."""
    with AgentProcess(routed(sandbox.url, RESOLVING)) as agent, client_for(agent, beat_within_s=0.3) as client:
        fault = stalled_with_an_unknown_order(agent, client, sandbox)
        sandbox.admin.clear(fault)
        wait_for(agent, "barrier.passed", within_s=40.0)
        assert place(client, "entry").status == 200


def test_a_second_agent_that_claims_the_same_account_does_not_start(sandbox: SandboxProcess, tmp_path: Path) -> None:
    """It names the one that has it; that one gone, it starts."""
    config = routed(sandbox.url, '[account]\nexclusive = true\nid = "main"\n' + RESOLVING)
    with AgentProcess(config, name="first", runtime_dir=tmp_path) as first:
        mine = cli("config", "check", str(first.config_path), runtime_dir=tmp_path)
        assert (mine.returncode, mine.stderr) == (0, "")
        second = AgentProcess(config, name="second", runtime_dir=tmp_path)
        checked = cli("config", "check", str(second.config_path), runtime_dir=tmp_path)
        assert checked.returncode == 1
        assert "agent first, which runs on this host, claims it" in checked.stderr
        assert f"{first.config_path} claims it" in checked.stderr
        with pytest.raises(RuntimeError, match="agent first on this host claims it"):
            second.start()
        first.kill()
        second.start()
        assert json.loads(cli("status", "second", "--json", runtime_dir=tmp_path).stdout)["agent"] == "second"
        second.stop()
