"""The agent is down, or stopped: no order of that time is ever sent."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator

import pytest

from e2e_bot import client_for, place, release, routed
from harness import AgentProcess
from jackstay_agent.sandbox import SandboxProcess
from jackstay_protocols.errors import AgentGone, DeadlineExceeded, Outcome


@pytest.fixture
def own_agent(sandbox: SandboxProcess) -> Iterator[AgentProcess]:
    with AgentProcess(routed(sandbox.url)) as running:
        yield running


def test_agent_down_then_back(sandbox: SandboxProcess, own_agent: AgentProcess) -> None:
    """100 order calls without an agent all end in AgentGone; the agent that comes later sends none of them."""
    with client_for(own_agent) as client:
        assert place(client, sandbox, "warm").status == 200
        own_agent.kill()
        failures = []
        for number in range(100):
            with pytest.raises((AgentGone, DeadlineExceeded)) as caught:
                place(client, sandbox, f"down-{number}", deadline_s=0.05)
            failures.append(caught.value)
        own_agent.start()
        release(own_agent)  # a kill can take the row that says how "warm" ended along: it is unknown then
        assert place(client, sandbox, "after", deadline_s=5.0).status == 200
    sent = {row["client_order_id"] for row in sandbox.admin.ledger(method="POST", path="/api/v3/order")}
    assert sent == {"warm", "after"}
    assert all(failure.outcome is not Outcome.OK for failure in failures)


def test_agent_stopped_then_continued(sandbox: SandboxProcess, own_agent: AgentProcess) -> None:
    """100 order calls into a SIGSTOPped agent end at their deadline; on SIGCONT it refuses every one as expired."""
    with client_for(own_agent) as client:
        assert place(client, sandbox, "warm").status == 200
        os.kill(own_agent.pid, signal.SIGSTOP)
        try:
            for number in range(100):
                with pytest.raises((AgentGone, DeadlineExceeded)):
                    place(client, sandbox, f"stopped-{number}", deadline_s=0.03)
        finally:
            os.kill(own_agent.pid, signal.SIGCONT)
        assert place(client, sandbox, "after", deadline_s=5.0).status == 200
    deadline = time.monotonic() + 5
    while own_agent.status()["gateway"]["refused_expired"] < 100:
        assert time.monotonic() < deadline, own_agent.status()["gateway"]
    sent = {row["client_order_id"] for row in sandbox.admin.ledger(method="POST", path="/api/v3/order")}
    assert sent == {"warm", "after"}
