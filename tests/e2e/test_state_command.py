"""`jackstay state`: an operator looks, asks what would be done, mends, and reads the history."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from e2e_bot import RESOLVING, client_for, place, routed
from harness import AgentProcess, cli
from jackstay_agent.sandbox import SandboxProcess
from sandbox_client import Plain, limit_order

CONFIG = (
    RESOLVING + '[account]\nexclusive = true\nclient_id_prefixes = ["own-"]\n[state]\nsettle_s = 0.2\ngap_s = 0.1\n'
)


@pytest.fixture
def watched(sandbox: SandboxProcess) -> Iterator[AgentProcess]:
    with AgentProcess(routed(sandbox.url, f'"ws-api.binance.com:443" = "{sandbox.url}"\n{CONFIG}')) as running:
        yield running


def test_an_operator_looks_and_mends(sandbox: SandboxProcess, watched: AgentProcess) -> None:
    """Exit codes, plain and JSON, a dry run before anything is done, and the count has to be right."""

    def state(*args: str, code: int = 0) -> str:
        done = cli("state", *args, "-a", watched.name, runtime_dir=watched.runtime_dir)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    with client_for(watched) as bot:
        assert place(bot, sandbox, "own-known").status == 200
        assert "consistent" in state("check")
        Plain(sandbox).call("POST", "/api/v3/order", limit_order("own-lost", price="21000"))
        shown = json.loads(state("check", "--json", code=1))
        assert [(each["kind"], each["subject"]) for each in shown["discrepancies"]] == [("orphan", "own-lost")]
        assert "orphan" in state("summary", code=1)
        assert "own-lost" in state("diff", "--component", "orders")
        assert "left alone" in state("reconcile", "--dry-run")
        assert "would cancel own-lost" in state("reconcile", "--dry-run", "--cancel-orphans")
        assert "--expect N" in state("reconcile", code=2)
        wrong = state("reconcile", "--expect", "7", "--why", "test", "--cancel-orphans", code=1)
        assert "1 discrepancies stand" in wrong
        assert "reconciled" in state("reconcile", "--expect", "1", "--why", "nobody's", "--cancel-orphans")
        assert "0 stand" in state("diff")
        history = json.loads(state("history", "--hours", "1", "--json"))["results"]
        assert [each["consistent"] for each in history][-1] is True
        assert any(not each["consistent"] for each in history)
        state("summary")
    orders = {each["clientOrderId"]: each["status"] for each in sandbox.admin.orders()}
    assert orders == {"own-known": "NEW", "own-lost": "CANCELED"}
    (word,) = watched.events("operator.reconcile")
    assert word["why"] == "nobody's"
    assert "uid" in word["by"]
