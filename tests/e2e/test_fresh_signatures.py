"""What the agent signs is signed when it leaves: a wait for a connection to a slow venue ages no signature."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlencode

from e2e_bot import HOST, RESOLVING, client_for, order_params, quick_profiles, routed
from harness import AgentProcess
from jackstay_agent.sandbox import SandboxProcess

ORDER = "/api/v3/order"
WINDOW_MS = 500  # of e2e_bot.QUICK_PROFILE
ONE = "[connections]\nconnections_min = 1\nconnections_max = 1\n"


def test_an_order_that_waited_for_a_connection_reaches_the_venue_young(sandbox: SandboxProcess, tmp_path: Path) -> None:
    """The only connection is taken by a slow question for three recvWindows: the order behind it is accepted."""
    config = quick_profiles(tmp_path / "p") + routed(sandbox.url, RESOLVING + ONE)
    with (
        AgentProcess(config) as agent,
        client_for(agent) as client,
        ThreadPoolExecutor(1) as aside,
    ):
        sandbox.admin.fault("latency", route="GET /api/v3/depth", count=1, ms=3.0 * WINDOW_MS)
        slow = aside.submit(client.request, "GET", f"{HOST}/api/v3/depth?symbol=BTCUSDT", deadline_s=30)
        while not sandbox.admin.ledger(path="/api/v3/depth"):
            assert not slow.done(), slow.result()
        body = urlencode(order_params("waited")).encode()
        form = [("Content-Type", "application/x-www-form-urlencoded")]
        answer = client.request("POST", f"{HOST}{ORDER}", headers=form, body=body, sign=True, deadline_s=30)
        assert slow.result(30).status == 200
    assert answer.status == 200, answer.body
    (row,) = sandbox.admin.ledger(method="POST", path=ORDER)
    assert row["at"] > sandbox.admin.ledger(path="/api/v3/depth")[0]["at"] + 2.0 * WINDOW_MS / 1000
