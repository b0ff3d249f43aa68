"""A venue opens after maintenance: a stalled bot's entries go first, then what is unknown, then slowly the rest."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

import jackstay
from e2e_bot import HOST, client_for, order_params, place, quick_profiles
from harness import AgentProcess, cli
from jackstay_agent.control import ask
from jackstay_agent.sandbox import SandboxProcess
from jackstay_protocols.errors import Outcome, TradingBotError

CONFIG = """
[upstreams]
"api.binance.com" = "{url}"
[venues.binance]
live = false
[venues.binance.keys]
env = "SANDBOX"
[venues.binance.maintenance]
watch_s = 5.0
[recovery.exchange_maintenance]
poll_s = 0.2
"""
#: It has two entries, an exit and a stop; then it is stopped.
STALLED = """
import json, os, sys, time
sys.path[:0] = json.loads(os.environ["TEST_PATH"])
import jackstay
from e2e_bot import HOST, KEY, signed

client = jackstay.Client(bot_id="stalled", beat_within_s=0.5)
common = {"symbol": "BTCUSDT", "timeInForce": "GTC", "quantity": "0.001"}
for name, order in {
    "e0": {"side": "BUY", "type": "LIMIT", "price": "40000.00"},
    "e1": {"side": "BUY", "type": "LIMIT", "price": "41000.00"},
    "x0": {"side": "SELL", "type": "LIMIT", "price": "70000.00"},
    "s0": {"side": "SELL", "type": "STOP_LOSS_LIMIT", "price": "29000.00", "stopPrice": "30000.00"},
}.items():
    headers = [("X-MBX-APIKEY", KEY), ("Content-Type", "application/x-www-form-urlencoded")]
    body = signed(common | order | {"newClientOrderId": name}).encode()
    assert client.request("POST", HOST + "/api/v3/order", headers=headers, body=body, deadline_s=10).status == 200
print("here", flush=True)
while True:
    client.beat()
    time.sleep(0.1)
"""
QUEUED = [f"q{number}" for number in range(6)]


class Stage:
    """A venue, an armed agent, a bot that is stopped, and one that is well and has orders waiting."""

    def __init__(self, sandbox: SandboxProcess, folder: Path) -> None:
        self.sandbox = sandbox
        self.agent = AgentProcess(CONFIG.format(url=sandbox.url) + quick_profiles(folder))

    def __enter__(self) -> Stage:
        self.agent.start()
        env = self.agent.env | {"TEST_PATH": json.dumps(sys.path)}
        self.stalled = subprocess.Popen([sys.executable, "-c", STALLED], env=env, stdout=subprocess.PIPE)
        assert self.stalled.stdout is not None
        assert self.stalled.stdout.readline() == b"here\n", self.agent.log()[-4000:]
        where = self.agent.runtime_dir
        armed = cli("arm", "--preset", "directional", "--silence", "1s", "--anyway", runtime_dir=where)
        assert armed.returncode == 0, armed.stderr
        return self

    def __exit__(self, *_: object) -> None:
        self.stalled.kill()
        self.stalled.communicate()
        self.agent.__exit__(None, None, None)

    def queue(self, client: jackstay.Client) -> None:
        form = [("Content-Type", "application/x-www-form-urlencoded")]
        for name in QUEUED:
            body = urlencode(order_params(name)).encode()
            client.post("POST", HOST + "/api/v3/order", headers=form, body=body, sign=True, ttl_s=300)

    def until(self, condition: Callable[[], bool], what: str, within_s: float = 60.0) -> None:
        limit_at = time.monotonic() + within_s
        while not condition():
            assert time.monotonic() < limit_at, f"not: {what}\n{self.agent.log()[-6000:]}"
            time.sleep(0.05)

    def open(self) -> set[str]:
        found = (each for each in self.sandbox.admin.orders() if each["status"] == "NEW")
        return {str(each["clientOrderId"]) for each in found}

    def executed(self, since: int, method: str) -> list[dict[str, Any]]:
        rows = self.sandbox.admin.ledger(since=since, path="/api/v3/order", method=method)
        return [row for row in rows if row["executed"]]

    def close_and_open(self) -> int:
        """Maintenance, met while the one bot is stopped; what the agent tries meanwhile is refused. The ledger's end
        just before it is over.
        """
        os.kill(self.stalled.pid, signal.SIGSTOP)
        self.agent.event("protect.refused", 20.0, bot="stalled")
        self.agent.event("recovery.step", 30.0, scenario="exchange_maintenance", step="wait_for_the_end")
        assert {"e0", "e1", "x0", "s0"} <= self.open()
        end = int(self.sandbox.admin.ledger()[-1]["seq"])
        self.sandbox.admin.mode("online")
        return end

    def said(self) -> list[str]:
        """The reopening as the agent told it, in order."""
        words = []
        for line in self.agent.log().splitlines():
            row = json.loads(line) if line.startswith("{") else {}
            if row.get("event") == "recovery.step" and row["scenario"] == "exchange_maintenance":
                words.append(row["step"])
            elif row.get("event") in ("maintenance.stalled_first", "barrier.up", "barrier.passed"):
                words.append(row["event"])
        return words


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with SandboxProcess(seed=1, quiet=True) as sandbox, Stage(sandbox, tmp_path / "profiles") as made:
        yield made


def test_a_stalled_bots_entries_go_before_anything_new_and_the_rest_comes_on_a_ramp(stage: Stage) -> None:
    """By the ledger: the two entries alone are cancelled, then the waiting orders come, a few a second."""
    with client_for(stage.agent, bot_id="well", beat_within_s=60.0) as client:
        client.beat()
        stage.sandbox.admin.mode("maintenance")
        stage.agent.event("mode.held", 30.0, by="recovery exchange_maintenance")
        stage.queue(client)
        end = stage.close_and_open()
        stage.until(lambda: {*QUEUED, "x0", "s0"} == stage.open(), "what waited is there")
        cancels, places = stage.executed(end, "DELETE"), stage.executed(end, "POST")
        assert {row["client_order_id"] for row in cancels} == {"e0", "e1"}
        assert [row["client_order_id"] for row in places] == QUEUED
        assert max(row["seq"] for row in cancels) < min(row["seq"] for row in places)
        steps = ["wait_for_the_end", "cancel_for_stalled", "maintenance.stalled_first", "look_at_account", "barrier"]
        assert stage.said()[-6:] == [*steps, "release"]
        (first,) = stage.agent.events("maintenance.stalled_first")
        assert (first["bots"], first["not_done"]) == (["stalled"], [])
        began = stage.agent.event("recovery.step", scenario="exchange_maintenance", step="release")
        begins_at = datetime.fromisoformat(str(began["timestamp"])).timestamp()
        for number, row in enumerate(places):
            seconds = row["wall"] - begins_at + 0.005
            assert number <= 1 + 2 * seconds + 0.8 * seconds**2, f"{number} requests {seconds:.3f} s after it opened"


def test_an_unknown_order_raises_the_barrier_before_anything_new(stage: Stage) -> None:
    """One call was never answered, and the venue does not say what became of it: what waits goes on waiting until it
    does, while the stalled bot's entries are gone already.
    """
    admin = stage.sandbox.admin
    with client_for(stage.agent, bot_id="well", beat_within_s=60.0) as client:
        admin.fault("stall", route="POST /api/v3/order", count=1)
        silent = admin.fault("answer", route="GET /api/v3/order", status=503)
        with pytest.raises(TradingBotError) as lost:
            place(client, None, "lost", deadline_s=0.5)
        assert lost.value.outcome is Outcome.UNKNOWN
        admin.mode("maintenance")
        words = ("recover", "run", "exchange_maintenance", "venue=binance", "announced=true")
        begun = cli(*words, runtime_dir=stage.agent.runtime_dir)
        assert begun.returncode == 0 or "is under way" in begun.stderr, begun.stderr
        stage.agent.event("mode.held", 30.0, by="recovery exchange_maintenance")
        stage.queue(client)
        end = stage.close_and_open()
        stage.agent.event("recovery.recovered", 60.0, scenario="exchange_maintenance")
        assert stage.agent.event("barrier.up")["unknown"] == ["lost"]
        assert stage.said()[-4:] == ["look_at_account", "barrier", "barrier.up", "release"]
        assert {row["client_order_id"] for row in stage.executed(end, "DELETE")} == {"e0", "e1"}
        ramps = ask(stage.agent.runtime_dir / stage.agent.name / "control.sock", "limits.list")
        assert "ramps" in json.dumps(ramps)
        assert stage.open() == {"x0", "s0"}, "entries wait behind the barrier"
        admin.clear(silent)
        stage.agent.event("barrier.passed", 60.0, bot="well")
        stage.until(lambda: {*QUEUED, "x0", "s0"} == stage.open(), "what waited is there")
        assert [row["client_order_id"] for row in stage.executed(end, "POST")] == QUEUED
