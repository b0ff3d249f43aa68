"""The venue's own dead-man switch on the USDⓈ-M face: armed by a person, renewed, adopted, fired when all is gone."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest

from harness import AgentProcess, cli
from jackstay_agent.sandbox import SandboxProcess
from sandbox_client import Plain, signed

pytestmark = pytest.mark.serial  # a countdown at the venue goes on, however busy the machine is
CONFIG = """
[upstreams]
"fapi.binance.com" = "{url}"
[venues.binance-usdm]
live = false
limits = {{ weight_1m = {weight} }}
[venues.binance-usdm.keys]
env = "SANDBOX"
"""

BOT = """
import json, os, sys, time
sys.path[:0] = json.loads(os.environ["TEST_PATH"])
import jackstay
from e2e_bot import KEY, signed

client = jackstay.Client(bot_id="b", beat_within_s=0.5)
for i, price in enumerate(("30000.0", "31000.0")):
    answer = client.request(
        "POST", "https://fapi.binance.com/fapi/v1/order", headers=[("X-MBX-APIKEY", KEY)], deadline_s=10, tag="entry",
        body=signed({"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "0.01",
                     "price": price, "newClientOrderId": f"e{i}"}).encode(),
    )
    assert answer.status == 200, answer.body
print("here", flush=True)
while True:
    client.beat()
    time.sleep(0.1)
"""


@pytest.fixture
def sandbox() -> Iterator[SandboxProcess]:
    with SandboxProcess(seed=1, quiet=True) as exchange:
        yield exchange


class Stage:
    def __init__(self, sandbox: SandboxProcess, *, weight: int = 1_000_000) -> None:
        self.plain = Plain(sandbox)
        self.agent = AgentProcess(CONFIG.format(url=sandbox.url, weight=weight))
        self.bot: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Stage:
        self.agent.start()
        env = self.agent.env | {"TEST_PATH": json.dumps(sys.path)}
        self.bot = subprocess.Popen([sys.executable, "-c", BOT], env=env, stdout=subprocess.PIPE)
        assert self.bot.stdout is not None
        assert self.bot.stdout.readline() == b"here\n"
        return self

    def __exit__(self, *_: object) -> None:
        if self.bot is not None:
            self.bot.kill()
            self.bot.wait(10)
            assert self.bot.stdout is not None
            self.bot.stdout.close()
        self.agent.__exit__(None, None, None)

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        return cli("deadman", *words, runtime_dir=self.agent.runtime_dir)

    def open(self) -> set[str]:
        status, listed, _headers = self.plain.send("GET", f"/fapi/v1/openOrders?{signed({'symbol': 'BTCUSDT'})}")
        assert status == 200, listed
        return {each["clientOrderId"] for each in listed}

    def stop_loss(self) -> None:
        params = {
            "algoType": "CONDITIONAL",
            "symbol": "BTCUSDT",
            "side": "SELL",
            "type": "STOP_MARKET",
            "triggerPrice": "20000.0",
            "closePosition": "true",
            "clientAlgoId": "stop",
        }
        status, told, _headers = self.plain.send("POST", "/fapi/v1/algoOrder", signed(params))
        assert status == 200, told

    def stays_open(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            assert self.open() == {"e0", "e1"}
            time.sleep(0.1)  # that nothing fires can only be watched

    def until_fired(self, within_s: float) -> float:
        began = time.monotonic()
        while self.open():
            assert time.monotonic() - began < within_s, self.agent.log()[-3000:]
            time.sleep(0.02)
        return time.monotonic() - began

    def switches(self) -> list[dict[str, Any]]:
        return list(json.loads(self.run("status", "--json").stdout)["switches"])


def test_it_is_renewed_while_all_is_well_and_fires_when_the_agent_is_gone_for_good(sandbox: SandboxProcess) -> None:
    """The venue itself cancels, within the window, although bot and agent are both dead."""
    with Stage(sandbox) as stage:
        shown = json.loads(stage.run("arm", "binance-usdm", "--window", "2.5s", "--dry-run", "--json").stdout)
        assert {each["id"] for each in shown["would_die"]} == {"e0", "e1"}
        assert stage.switches() == []
        armed = stage.run("arm", "binance-usdm", "--window", "2.5s", "--yes", "--expect", "2")
        assert armed.returncode == 0, armed.stderr
        stage.stays_open(3.5)
        assert stage.switches()[0]["renewals"] >= 3
        assert stage.bot is not None
        stage.bot.kill()
        stage.agent.kill()
        assert stage.until_fired(10.0) <= 3.5


def test_an_agent_that_comes_back_within_the_window_adopts_it(sandbox: SandboxProcess) -> None:
    """Killed and started again: the countdown goes on being renewed, and disarming ends it."""
    with Stage(sandbox) as stage:
        assert stage.run("arm", "binance-usdm", "--window", "4s", "--yes", "--expect", "2").returncode == 0
        stage.agent.kill()
        stage.agent.start()
        (adopted,) = stage.agent.events("deadman.adopted")
        assert adopted["state"] == "armed"
        stage.stays_open(4.5)
        assert stage.run("disarm", "binance-usdm", "--why", "done").returncode == 0
        assert stage.switches() == []
        stage.stays_open(4.5)


def count_down(stage: Stage, sandbox: SandboxProcess) -> float:
    """When the venue last had its countdown set, by its own wall clock."""
    rows = sandbox.admin.ledger(method="POST", path="/fapi/v1/countdownCancelAll")
    return max(float(row["wall"]) for row in rows)


#: All of them in `make soak-tests`; every phase on virtual time in tests/agent/test_deadman.py.
PHASES = [pytest.param(0.1, marks=pytest.mark.soak), 0.5, pytest.param(0.8, marks=pytest.mark.soak)]


@pytest.mark.parametrize("phase", PHASES)
def test_an_agent_that_dies_at_any_phase_and_returns_in_time_keeps_it_from_firing(
    sandbox: SandboxProcess, phase: float
) -> None:
    """Killed, and away until that share of the window is over since the venue last heard of it."""
    with Stage(sandbox) as stage:
        window_s = 8.0
        assert stage.run("arm", "binance-usdm", "--window", f"{window_s}s", "--yes", "--expect", "2").returncode == 0
        stage.agent.kill()
        while time.time() < count_down(stage, sandbox) + phase * window_s:
            assert stage.open() == {"e0", "e1"}
            time.sleep(0.05)  # a phase of a window is only reached by time
        before = len(sandbox.admin.ledger(method="POST", path="/fapi/v1/countdownCancelAll"))
        stage.agent.start()
        (adopted,) = stage.agent.events("deadman.adopted")
        assert adopted["state"] == "armed"
        limit_at = time.monotonic() + window_s
        while len(sandbox.admin.ledger(method="POST", path="/fapi/v1/countdownCancelAll")) == before:
            assert time.monotonic() < limit_at, stage.agent.log()[-3000:]
            time.sleep(0.02)
        assert stage.open() == {"e0", "e1"}
        assert not stage.agent.events("deadman.lapsed")


def test_an_agent_that_returns_too_late_says_that_it_fired_and_arms_nothing(sandbox: SandboxProcess) -> None:
    """After firing, arming again is a person's word."""
    with Stage(sandbox) as stage:
        assert stage.run("arm", "binance-usdm", "--window", "1.5s", "--yes", "--expect", "2").returncode == 0
        stage.agent.kill()
        stage.until_fired(10.0)
        before = sandbox.admin.ledger(method="POST", path="/fapi/v1/countdownCancelAll")
        stage.agent.start()
        assert stage.agent.event("deadman.lapsed", 10.0)
        after = sandbox.admin.ledger(method="POST", path="/fapi/v1/countdownCancelAll")
        assert len(after) == len(before)
        assert [each["state"] for each in stage.switches()] != ["armed"]


def test_a_gate_that_outlasts_the_window_is_told_half_a_window_before(sandbox: SandboxProcess) -> None:
    """429 for three windows (180 s against 60 s, on a scale of a tenth): what dies and when is said in time, by whoever
    reads the log; and the venue, which nobody may ask meanwhile, cancels.
    """
    with Stage(sandbox) as stage:
        window_s = 6.0
        assert stage.run("arm", "binance-usdm", "--window", f"{window_s}s", "--yes", "--expect", "2").returncode == 0
        sandbox.admin.fault("rate_limit", duration_s=3 * window_s, count=1)
        told = stage.agent.event("deadman.will_fire", 2 * window_s)
        assert told["in_s"] >= window_s / 2, told
        assert told["symbol"] == "BTCUSDT"
        stage.until_fired(3 * window_s)
        assert time.time() >= count_down(stage, sandbox) + window_s - 0.1


def test_a_stop_of_the_agent_leaves_it_armed_with_its_full_window(sandbox: SandboxProcess) -> None:
    """And says so; the venue cancels when nobody comes back."""
    with Stage(sandbox) as stage:
        assert stage.run("arm", "binance-usdm", "--window", "2s", "--yes", "--expect", "2").returncode == 0
        stopped_at = time.monotonic()
        assert stage.agent.stop() == 0, stage.agent.log()[-2500:]
        (left,) = stage.agent.events("deadman.left_armed")
        assert left["fires_in_s"] == pytest.approx(2.0, abs=0.3)
        stage.until_fired(5.0)
        assert time.monotonic() - stopped_at >= 1.5


def test_a_stalled_bot_is_not_covered_up_for(sandbox: SandboxProcess) -> None:
    """SIGSTOP: it is not renewed in the bot's name, the end is told before, then the venue cancels."""
    with Stage(sandbox) as stage:
        assert stage.run("arm", "binance-usdm", "--window", "2s", "--yes", "--expect", "2").returncode == 0
        assert stage.bot is not None
        os.kill(stage.bot.pid, signal.SIGSTOP)
        stage.until_fired(6.0)
        (told,) = stage.agent.events("deadman.will_fire")
        assert 0 < told["in_s"] <= 2.0
        os.kill(stage.bot.pid, signal.SIGCONT)


def test_open_stops_and_a_tenth_of_the_budget_refuse_it(sandbox: SandboxProcess) -> None:
    """Whether the countdown reaches conditional orders is not documented, so it counts as yes; it can be accepted."""
    with Stage(sandbox, weight=2400) as stage:
        stage.stop_loss()
        refused = stage.run("arm", "binance-usdm", "--window", "60s", "--yes", "--expect", "3")
        assert refused.returncode == 1
        assert "accept-losing-stops" in refused.stderr
        costly = stage.run("arm", "binance-usdm", "--window", "1s", "--accept-losing-stops", "--dry-run")
        assert costly.returncode == 1
        assert "rate budget" in costly.stderr
        done = stage.run("arm", "binance-usdm", "--window", "60s", "--accept-losing-stops", "--yes", "--expect", "3")
        assert done.returncode == 0, done.stderr
        assert stage.run("arm", "binance", "--window", "60s", "--dry-run").returncode == 1
        assert stage.run("arm", "binance-usdm", "--window", "60s", "--yes").returncode == 2
