"""The examples in the documentation run, against a real agent and a simulated exchange."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from e2e_bot import RESOLVING, routed
from harness import AgentProcess
from jackstay_agent.sandbox import SandboxProcess

EXAMPLES = Path(__file__).resolve().parents[2] / "docs" / "examples"


@pytest.fixture
def own_agent(sandbox: SandboxProcess) -> Iterator[AgentProcess]:
    """A log and a breaker that no other test wrote into."""
    with AgentProcess(routed(sandbox.url)) as running:
        yield running


def test_the_ccxt_bot_places_looks_and_cancels(sandbox: SandboxProcess, agent: AgentProcess) -> None:
    """One order placed, one cancelled, by the exchange's own ledger; nothing on stderr."""
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / "ccxt_bot.py")],
        env=agent.env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "cancelled canceled" in done.stdout
    assert len(sandbox.admin.ledger(method="POST", path="/api/v3/order")) == 1
    assert len(sandbox.admin.ledger(method="DELETE", path="/api/v3/order")) == 1


def consumers(agent: AgentProcess, *quantities: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / "consumers.py"), *quantities],
        env=agent.env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


def errors_told(agent: AgentProcess) -> list[dict[str, Any]]:
    return [event for event in agent.events("bot.error") if event["bot"] == "consumers"]


def test_the_four_consumers_trade_and_refuse(sandbox: SandboxProcess, own_agent: AgentProcess) -> None:
    """A small order is placed and cancelled, one above the limit never leaves, one without funds is refused."""
    lines = consumers(own_agent, "0.001", "500", "0.03")
    assert lines[0].startswith("0.001 placed")
    assert lines[0].endswith("then canceled")
    assert lines[1] == "500 RiskManagementError outcome=None cause=-"
    assert lines[2].startswith("0.03 placed")
    assert "'api_calls': 'closed'" in lines[3]
    assert lines[4] == "patterns ['risk:RiskManagementError']"
    assert len(sandbox.admin.ledger(method="POST", path="/api/v3/order")) == 2
    (told,) = errors_told(own_agent)
    assert (told["component"], told["error_type"], told["severity"]) == ("risk", "RiskManagementError", "high")


def test_the_consumers_ask_about_an_order_whose_answer_was_lost(
    sandbox: SandboxProcess, own_agent: AgentProcess
) -> None:
    """It was executed, its answer died: found by its own id, cancelled, sent once."""
    sandbox.admin.fault("reset_after", route="POST /api/v3/order", count=1)
    lines = consumers(own_agent, "0.001")
    assert lines[0].startswith("0.001 placed")
    assert len(sandbox.admin.ledger(method="POST", path="/api/v3/order")) == 1
    assert sandbox.admin.checks()["sent_twice"] == []


def test_the_consumers_cause_travels_to_the_agent(sandbox: SandboxProcess, own_agent: AgentProcess) -> None:
    """A venue's refusal: the bot has the library's exception as the cause, the agent its name; no breaker opens."""
    refusal = b'{"code":-2010,"msg":"Account has insufficient balance for requested action."}'
    sandbox.admin.fault("answer", status=400, body=refusal.decode(), route="POST /api/v3/order", count=6)
    lines = consumers(own_agent, *["0.001"] * 6)
    assert lines[:6] == ["0.001 ExecutionError outcome=rejected cause=InsufficientFunds"] * 6
    assert "'api_calls': 'closed'" in lines[6]
    told = errors_told(own_agent)
    assert len(told) == 6
    assert all(each["causes"][0].startswith("InsufficientFunds: ") for each in told)


def test_the_consumers_data_module_survives_bad_answers(sandbox: SandboxProcess, own_agent: AgentProcess) -> None:
    """One broken answer to a question costs a retry, nothing else."""
    sandbox.admin.fault("venue_error", name="503", route="GET /api/v3/depth", count=1)
    lines = consumers(own_agent, "0.001")
    assert lines[0].startswith("0.001 placed")


def run(agent: AgentProcess, *args: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / args[0]), *args[1:]],
        env=agent.env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


def test_the_httpx_bot_places_and_cancels(sandbox: SandboxProcess, agent: AgentProcess) -> None:
    """One transport, and an order's whole life."""
    assert run(agent, "httpx_bot.py") == ["placed NEW", "cancelled CANCELED"]
    assert len(sandbox.admin.ledger(method="POST", path="/api/v3/order")) == 1


@pytest.fixture
def signing_agent(sandbox: SandboxProcess) -> Iterator[AgentProcess]:
    """One with a key of its own, so that bots need none."""
    with AgentProcess(routed(sandbox.url, RESOLVING)) as running:
        yield running


def test_the_asyncio_bot_places_once_whatever_it_asks(sandbox: SandboxProcess, signing_agent: AgentProcess) -> None:
    """Two requests with one idempotency key are one order."""
    lines = run(signing_agent, "asyncio_bot.py")
    assert lines == ["prices 3", "placed once True", "cancelled CANCELED"]
    assert len(sandbox.admin.ledger(method="POST", path="/api/v3/order")) == 1


def test_the_bot_from_scratch_trades_without_a_key(sandbox: SandboxProcess, signing_agent: AgentProcess) -> None:
    """It keeps one order, leaves none, and says goodbye."""
    lines = run(signing_agent, "scratch_bot.py", "3")
    assert lines[0].startswith("placed at ")
    assert lines[-1].startswith("cancelled ")
    assert [order for order in sandbox.admin.orders() if order["status"] in ("NEW", "PARTIALLY_FILLED")] == []
    (goodbye,) = signing_agent.events("bot.goodbye")
    assert (goodbye["bot"], goodbye["reason"], goodbye["orders"]) == ("scratch", "done", "keep")
