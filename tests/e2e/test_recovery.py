"""Recovery by detection: faults come while the bot is stopped, and the agent brings the truth back by itself."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from e2e_bot import client_for, place
from harness import AgentProcess, cli
from jackstay_agent.sandbox import SandboxProcess
from sandbox_client import Plain, limit_order, signed

CONFIG = """
[upstreams]
"api.binance.com" = "{url}"
"ws-api.binance.com" = "{url}"
"stream.binance.com" = "{url}"
[venues.binance]
live = false
[venues.binance.keys]
env = "SANDBOX"
[feeds.spot]
url = "wss://stream.binance.com:9443/ws"
dialect = "binance"
[recovery.exchange_maintenance]
poll_s = 0.2
alternatives = ["kraken"]
"""

FUTURES = """
[upstreams]
"fapi.binance.com" = "{url}"
[venues.binance-usdm]
live = false
[venues.binance-usdm.keys]
env = "SANDBOX"
[recovery.exchange_maintenance]
poll_s = 0.2
"""

#: It subscribes, places one resting order, and writes down every directive; the test stops and wakes it.
BOT = """
import json, os, sys, threading, time
sys.path[:0] = json.loads(os.environ["TEST_PATH"])
import jackstay
from e2e_bot import HOST, KEY, place

client = jackstay.Client(bot_id="b", beat_within_s=1.0)
place(client, None, "resting")
print("here", flush=True)
while True:
    for directive in client.directives(timeout_s=0.05):
        print(json.dumps([directive.name, directive.fields]), flush=True)
    client.beat()
"""


class Stage:
    def __init__(self, sandbox: SandboxProcess, config: str = "") -> None:
        self.sandbox = sandbox
        self.plain = Plain(sandbox)
        self.agent = AgentProcess(CONFIG.format(url=sandbox.url) + config)

    def __enter__(self) -> Stage:
        self.agent.start()
        env = self.agent.env | {"TEST_PATH": json.dumps(sys.path)}
        self.bot = subprocess.Popen([sys.executable, "-c", BOT], env=env, stdout=subprocess.PIPE, text=True)
        assert self.bot.stdout is not None
        assert self.bot.stdout.readline() == "here\n"
        self.event("user_stream.connected")
        return self

    def __exit__(self, *_: object) -> None:
        self.bot.kill()
        self.bot.wait(10)
        assert self.bot.stdout is not None
        self.bot.stdout.close()
        self.agent.__exit__(None, None, None)

    def stop_bot(self) -> None:
        os.kill(self.bot.pid, signal.SIGSTOP)

    def wake_bot(self) -> None:
        os.kill(self.bot.pid, signal.SIGCONT)

    def directive(self) -> list[Any]:
        assert self.bot.stdout is not None
        return list(json.loads(self.bot.stdout.readline()))

    def event(self, name: str, within_s: float = 20.0, **fields: str) -> dict[str, Any]:
        return self.agent.event(name, within_s, **fields)

    def run(self, *words: str) -> dict[str, Any]:
        done = cli("recover", *words, "--json", runtime_dir=self.agent.runtime_dir)
        assert done.returncode == 0, done.stderr
        return dict(json.loads(done.stdout))

    def modes(self) -> list[str]:
        found = json.loads(cli("mode", "--json", runtime_dir=self.agent.runtime_dir).stdout)
        return [f"{each['venue']} {each['mode']} {each['by']}" for each in found["holds"]]

    def open(self) -> set[str]:
        status, listed, _headers = self.plain.send("GET", f"/api/v3/openOrders?{signed({'symbol': 'BTCUSDT'})}")
        assert status == 200
        return {each["clientOrderId"] for each in listed}


@pytest.fixture
def stage() -> Iterator[Stage]:
    with SandboxProcess(seed=1, quiet=True) as sandbox, Stage(sandbox) as made:
        yield made


def test_a_venue_that_dies_and_returns_is_found_again_while_the_bot_is_stopped(stage: Stage) -> None:
    """Reconnected, resubscribed, the account looked at; each step told. Calls wait meanwhile, as always."""
    stage.stop_bot()
    stage.sandbox.kill()
    stage.event("recovery.begun", scenario="network_disconnection", what="binance")
    assert stage.modes() == []
    stage.sandbox.start()
    stage.event("recovery.recovered", scenario="network_disconnection")
    steps = [each["step"] for each in stage.agent.events("recovery.step")]
    assert steps == ["hold_entries", "reconnect", "resubscribe", "look_at_account", "release"]
    assert stage.modes() == []


def test_maintenance_is_waited_out_and_the_bot_hears_of_its_capital_when_it_wakes(stage: Stage) -> None:
    """A 503 with the venue's words starts it; its end is the venue's own status; the directive is not lost."""
    facts = stage.run("run", "exchange_maintenance", "venue=binance", "announced=true")
    assert facts["state"] == "running"
    stage.event("recovery.recovered", scenario="exchange_maintenance")
    name, fields = stage.directive()
    assert name == "redistribute_capital"
    assert fields["alternatives"] == ["kraken"]
    assert "USDT" in fields["exposure"]
    assert stage.modes() == []


def in_a_planned_window(sandbox: SandboxProcess, more: str = "") -> AgentProcess:
    """A venue that is online, while its calendar says it is closed."""
    now = datetime.now(UTC)
    begins, ends = (f"{now + timedelta(hours=hours):%Y-%m-%d %H:%M}" for hours in (-1, 1))
    window = f'[venues.binance.maintenance]\nwindows = ["{begins} - {ends}"]\n'
    return AgentProcess(CONFIG.format(url=sandbox.url) + more + window)


def test_a_planned_window_is_one_recovery_whatever_happens_to_the_agent() -> None:
    """Killed and started again inside the window: the same recovery goes on, no second one is begun for it."""
    with SandboxProcess(seed=1, quiet=True) as sandbox, in_a_planned_window(sandbox) as agent:
        agent.event("recovery.step", step="wait_for_the_end", within_s=20)
        agent.kill()
        agent.start()
        agent.event("recovery.begun", resumed=True, within_s=20)  # type: ignore[arg-type]
        begun = agent.events("maintenance.window")
        while len(agent.events("maintenance.window")) == len(begun) == 1:
            time.sleep(0.02)  # the second agent has looked at its calendar
        shown = json.loads(cli("recover", "--json", runtime_dir=agent.runtime_dir).stdout)
        assert [each["scenario"] for each in shown["running"]] == ["exchange_maintenance"]
        assert [each["resumed"] for each in agent.events("recovery.begun")] == [False, True]


def test_a_planned_window_holds_entries_also_where_its_recovery_is_switched_off() -> None:
    """The calendar is the operator's word: without the scenario it holds the mode until the window's end."""
    off = "enabled = false\n"  # of [recovery.exchange_maintenance], the last table
    with SandboxProcess(seed=1, quiet=True) as sandbox, in_a_planned_window(sandbox, off) as agent:
        held = agent.event("mode.held", by="maintenance calendar", within_s=20)
        assert (held["venue"], held["mode"]) == ("binance", "maintenance")
        assert not agent.events("recovery.begun")


def test_a_partial_fill_is_cancelled_on_request_with_the_venue_as_witness(stage: Stage) -> None:
    """By client id, asked for by an operator; the bot gets what was filled and what remains."""
    stage.run("run", "partial_fill", "venue=binance", "symbol=BTCUSDT", "order_id=resting")
    stage.event("recovery.recovered", scenario="partial_fill")
    assert "resting" not in stage.open()
    name, fields = stage.directive()
    assert name == "re_evaluate"
    assert fields["status"] == "cancelled"
    assert float(fields["remaining"]) > 0


def test_fills_are_found_by_the_venues_id_where_only_the_venue_knows_it(stage: Stage) -> None:
    """An order the agent has nothing of (it died before it wrote): the venue's fills do not name the client's id."""
    order = limit_order("unwritten", price="31000.00", quantity="0.001")
    assert stage.plain.send("POST", "/api/v3/order", signed(order))[0] == 200
    (found,) = [each for each in stage.sandbox.admin.orders() if each["clientOrderId"] == "unwritten"]
    stage.sandbox.admin.fill(int(found["orderId"]), "0.0004")
    gone = signed({"symbol": "BTCUSDT", "origClientOrderId": "unwritten"})
    assert stage.plain.send("DELETE", "/api/v3/order", gone)[0] == 200
    stage.run("run", "partial_fill", "venue=binance", "symbol=BTCUSDT", "order_id=unwritten")
    told = stage.event("recovery.told.re_evaluate", order_id="unwritten")
    assert (float(told["filled"]), float(told["average_price"])) == (0.0004, 31000.0)
    stage.event("recovery.recovered", scenario="partial_fill")


def test_a_venue_that_says_cancelled_while_the_order_lives_is_not_believed() -> None:
    """Its 200 with the word CANCELED is asked after; the order is still on the book, so nothing was recovered, and the
    bot is told nothing of a rest it could place anew.
    """
    lie = json.dumps({"symbol": "BTCUSDT", "orderId": 1, "origClientOrderId": "resting", "status": "CANCELED"})
    quick = "[recovery.partial_fill]\nwithin_s = 2.0\n"
    with SandboxProcess(seed=1, quiet=True) as sandbox, Stage(sandbox, quick) as stage:
        sandbox.admin.fault("answer", route="DELETE /api/v3/order", status=200, body=lie)
        stage.run("run", "partial_fill", "venue=binance", "symbol=BTCUSDT", "order_id=resting")
        ended = stage.event("recovery.not_recovered", scenario="partial_fill")
        assert "still open after the cancel" in ended["why"]
        rows = sandbox.admin.ledger(method="DELETE", path="/api/v3/order")
        assert {(row["status"], row["executed"]) for row in rows} == {(200, False)}
        assert stage.open() == {"resting"}
        assert not stage.agent.events("directive.sent")


def test_a_directive_outlives_agent_and_bot_until_the_bots_code_has_it(stage: Stage) -> None:
    """The bot dies before it reads it, the agent is killed too: the next bot hears it once, and it is over."""
    stage.stop_bot()
    stage.run("run", "partial_fill", "venue=binance", "symbol=BTCUSDT", "order_id=resting")
    sent = stage.event("directive.sent", directive="re_evaluate")
    kept = stage.agent.runtime_dir / stage.agent.name / "state" / "directives.json"
    until = time.monotonic() + 5.0
    while not kept.exists() or sent["id"] not in kept.read_text():
        assert time.monotonic() < until, "it is not on the disk"
        time.sleep(0.02)
    stage.bot.kill()
    stage.agent.kill()
    (kept.parent / "watchdog.json").unlink(missing_ok=True)  # as if it died before the bot itself was kept
    stage.agent.start()
    assert stage.agent.status()["directives"]["b"][0]["directive"] == "re_evaluate"
    stage.bot.wait(10)
    assert "not acknowledged" in cli("bot", "list", runtime_dir=stage.agent.runtime_dir).stdout
    with client_for(stage.agent, bot_id="b") as client:
        heard = [each for each in client.directives(timeout_s=1.0) if each.name == "re_evaluate"]
        assert [each.fields["order_id"] for each in heard] == ["resting"]
        client.beat()
        acknowledged = stage.event("directive.acknowledged", directive="re_evaluate")
        assert acknowledged["id"] == sent["id"]
        assert "b" not in stage.agent.status()["directives"]


def test_a_limit_of_the_venue_is_waited_out(stage: Stage) -> None:
    """429 with Retry-After: nothing before its instant, then the proof, then entries again."""
    stage.stop_bot()
    stage.sandbox.admin.fault("rate_limit", duration_s=1.5, count=1)
    cli("state", "check", runtime_dir=stage.agent.runtime_dir)  # a question of the agent's own meets the limit
    stage.event("recovery.begun", scenario="api_rate_limit", by="the agent")
    stage.event("recovery.recovered", scenario="api_rate_limit")
    assert stage.modes() == []


def test_an_operator_sees_and_ends_a_run_and_wrong_words_are_refused(stage: Stage) -> None:
    """A scenario nobody knows, a context without its key, one that is not under way."""
    where = stage.agent.runtime_dir
    assert cli("recover", "run", "nonsense", runtime_dir=where).returncode == 1
    missing = cli("recover", "run", "partial_fill", "venue=binance", runtime_dir=where)
    assert missing.returncode == 1
    assert "symbol" in missing.stderr
    assert cli("recover", "run", "partial_fill", "symbol", runtime_dir=where).returncode == 2
    assert cli("recover", "cancel", "partial_fill", "binance", runtime_dir=where).returncode == 1
    stage.run("run", "api_rate_limit", "venue=binance", "retry_after_s=600")
    (running,) = stage.run()["running"]
    assert running["step"] == "wait_for_the_instant"
    assert cli("recover", "run", "api_rate_limit", "venue=binance", runtime_dir=where).returncode == 1
    assert cli("recover", "cancel", "api_rate_limit", "binance", runtime_dir=where).returncode == 0


def test_an_agent_that_dies_in_the_middle_goes_on_with_the_plan(stage: Stage) -> None:
    """Killed while it waits for the venue: the next one resumes after the last finished step and gets it done."""
    stage.stop_bot()
    stage.sandbox.kill()
    stage.event("recovery.step", scenario="network_disconnection", step="reconnect")
    stage.agent.kill()
    stage.agent.start()
    resumed = stage.event("recovery.begun", scenario="network_disconnection", by="the agent")
    assert resumed["resumed"] is True
    stage.sandbox.start()
    stage.event("recovery.recovered", scenario="network_disconnection")
    assert [each["step"] for each in stage.agent.events("recovery.step")].count("hold_entries") == 1


def test_a_rejected_order_gets_a_word_for_its_bot() -> None:
    """The bot is told the remedy; nothing is placed again."""
    with SandboxProcess(seed=1, quiet=True) as sandbox, Stage(sandbox) as stage:
        stage.sandbox.admin.fault("reject", reason="insufficient_balance", count=1)
        with client_for(stage.agent, bot_id="other") as client:
            assert place(client, None, "refused").status == 400
        stage.event("recovery.not_recovered", scenario="order_rejection")
        name, fields = stage.directive()
        assert name == "adjust_parameters"
        assert fields["remedy"] == "funds"


def test_what_did_not_recover_holds_nothing_and_a_person_may_overrule_any_holder(stage: Stage) -> None:
    """An operator ends a maintenance that goes on; and takes back, by name, what a part of the agent holds."""
    where = stage.agent.runtime_dir
    stage.sandbox.admin.fault("answer", route="GET /sapi/v1/system/status", body='{"status":1}')
    words = ("recover", "run", "exchange_maintenance", "venue=binance", "announced=true")
    done = cli(*words, runtime_dir=where)
    assert done.returncode == 0 or "is under way" in done.stderr  # the agent's own look at the status was faster
    stage.event("mode.held", by="recovery exchange_maintenance")
    assert any("recovery exchange_maintenance" in each for each in stage.modes())
    by_name = ("mode", "release", "binance", "--by", "recovery exchange_maintenance", "--why", "looked")
    assert cli(*by_name, runtime_dir=where).returncode == 0
    assert stage.modes() == []
    assert cli(*by_name, runtime_dir=where).returncode == 1
    assert cli("recover", "cancel", "exchange_maintenance", "binance", runtime_dir=where).returncode == 0
    stage.event("recovery.not_recovered", scenario="exchange_maintenance")
    assert stage.modes() == []


def test_capital_redistribution_carries_the_exposure_per_symbol_as_the_venue_sees_it() -> None:
    """A futures account: the signed position and the balance of the directive are those of the venue's own answer."""
    with SandboxProcess(seed=1, quiet=True) as sandbox:
        agent = AgentProcess(FUTURES.format(url=sandbox.url))
        with agent, client_for(agent, bot_id="b") as client:
            assert client.beat(timeout_s=10.0)
            plain = Plain(sandbox)
            for side, quantity in (("BUY", "0.010"), ("SELL", "0.014")):
                order = {"symbol": "BTCUSDT", "side": side, "type": "MARKET", "quantity": quantity}
                assert plain.call("POST", "/fapi/v1/order", order)[0] == 200
            words = ("recover", "run", "exchange_maintenance", "venue=binance-usdm", "announced=true")
            done = cli(*words, runtime_dir=agent.runtime_dir)
            assert done.returncode == 0, done.stderr
            told = next(each for each in client.directives(timeout_s=20.0) if each.name == "redistribute_capital")
            positions = plain.call("GET", "/fapi/v3/positionRisk")[1]
            balances = plain.call("GET", "/fapi/v3/balance")[1]
            shown = {each["symbol"]: Decimal(each["positionAmt"]) for each in positions}
            shown |= {each["asset"]: Decimal(each["balance"]) for each in balances}
            held = {name: amount for name, amount in shown.items() if amount}
            assert held["BTCUSDT"] == Decimal("-0.004")
            assert {name: Decimal(amount) for name, amount in told.fields["exposure"].items()} == held
            assert told.fields["unknown"] == []
