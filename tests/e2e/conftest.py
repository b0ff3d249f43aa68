"""A sandbox exchange and an agent as real processes; each test module gets its own pair."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from e2e_bot import release, routed
from harness import AgentProcess
from jackstay_agent.sandbox import SandboxProcess


@pytest.fixture(scope="module")
def sandbox() -> Iterator[SandboxProcess]:
    with SandboxProcess(seed=1) as exchange:
        yield exchange


@pytest.fixture(autouse=True)
def _clean_exchange(request: pytest.FixtureRequest) -> None:
    """No test inherits another's faults, orders, ledger or unknown orders."""
    if "sandbox" in request.fixturenames:
        request.getfixturevalue("sandbox").admin.reset()
    if "agent" in request.fixturenames:
        release(request.getfixturevalue("agent"))


@pytest.fixture(scope="module")
def agent(sandbox: SandboxProcess) -> Iterator[AgentProcess]:
    with AgentProcess(routed(sandbox.url)) as running:
        yield running
