"""A plain curl session trades against the sandbox, as printed in docs/examples."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from jackstay_agent.sandbox import SandboxProcess

SCRIPT = Path(__file__).parents[3] / "docs" / "examples" / "sandbox_curl.sh"


@pytest.mark.skipif(not (shutil.which("curl") and shutil.which("openssl")), reason="curl or openssl is not installed")
def test_a_curl_session(sandbox: SandboxProcess) -> None:
    """Orders are placed, found, cancelled and filled with curl; a lost answer is seen for what it is."""
    done = subprocess.run(["bash", str(SCRIPT), sandbox.url], capture_output=True, text=True, timeout=60, check=True)
    told = {}
    for part in done.stdout.split("## ")[1:]:
        title, _, lines = part.partition("\n")
        told[title.split(",")[0]] = [json.loads(line) for line in lines.splitlines() if line.startswith(("{", "["))]
    assert [each["status"] for each in told["an order"]] == ["NEW", "NEW", "CANCELED"]
    filled, (trade,) = told["a market order"]
    assert (filled["status"], trade["orderId"]) == ("FILLED", filled["orderId"])
    _, lost = told["an order whose answer is lost: it was executed all the same"]
    assert (lost["clientOrderId"], lost["status"]) == ("curl-2", "NEW")
    assert "no answer" in done.stdout
    rows, checks = told["what the exchange saw"]
    assert [(row["client_order_id"], row["status"], row["executed"]) for row in rows] == [
        ("curl-1", 200, True), ("", 200, True), ("curl-2", "reset", True)]  # fmt: skip
    assert not any(checks.values())
