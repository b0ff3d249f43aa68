"""The examples in the documentation run, against a real agent and a simulated exchange."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from harness import AgentProcess
from jackstay_agent.sandbox import SandboxProcess

EXAMPLES = Path(__file__).resolve().parents[2] / "docs" / "examples"


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
