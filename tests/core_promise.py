"""The stage of the core promise: a bot that is stopped before a fault and until after its end, an agent that may die.

Each `Case` says how its fault is made, how it ends, and what is true at the venue afterwards. The bot is a process of
its own, stopped by SIGSTOP; a reader of market data in another process goes on, as a dashboard would.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jackstay
from harness import AgentProcess, cli
from jackstay_agent.control import ask
from jackstay_agent.sandbox import SandboxProcess
from jackstay_protocols.errors import AgentGone

CONFIG = """
[upstreams]
"api.binance.com" = "{main}"
"ws-api.binance.com" = "{main}"
"stream.binance.com" = "{prices}"
"data-stream.binance.vision" = "{main}"
[venues.binance]
live = false
[venues.binance.keys]
env = "SANDBOX"
[venues.binance.maintenance]
watch_s = 5.0
[feeds.spot]
url = "wss://stream.binance.com:9443/ws"
dialect = "binance"
[feeds.backup]
url = "wss://data-stream.binance.vision/ws"
dialect = "binance"
[recovery.network_disconnection]
retry_s = 0.1
[recovery.exchange_maintenance]
poll_s = 0.2
alternatives = ["kraken"]
[recovery.data_feed_interruption]
return_within_s = 120.0
poll_s = 0.2
[recovery.data_feed_interruption.fallbacks]
spot = ["backup"]
[recovery.partial_fill]
enabled = true
age_s = 0.5
fraction = 0.3
"""

#: A resting order; then, on "post", an order whose price the venue will refuse, and on "queue", three that it takes.
BOT = """
import json, os, sys
sys.path[:0] = json.loads(os.environ["TEST_PATH"])
from urllib.parse import urlencode
import jackstay
from e2e_bot import HOST, order_params, place

client = jackstay.Client(bot_id="b", beat_within_s=60.0)
assert place(client, None, "resting").status == 200
print("here", flush=True)
for line in sys.stdin:
    names = {"post": ["crooked"], "queue": ["q1", "q2", "q3"]}[line.strip()]
    for name in names:
        order = order_params(name) | ({"price": "40000.005"} if name == "crooked" else {})
        client.post("POST", HOST + "/api/v3/order", headers=[("Content-Type", "application/x-www-form-urlencoded")],
                    body=urlencode(order).encode(), sign=True, ttl_s=300)
    print("posted", flush=True)
"""


class Stage:
    """Two venue processes (orders; prices), an agent, a bot, a reader."""

    def __init__(self, folder: Path, config: str = "", *, mortal: bool = False) -> None:
        self.main = SandboxProcess(seed=1, quiet=True, state=folder / "venue").start()
        self.prices = SandboxProcess(seed=2, quiet=True).start()
        self.prices_flow()
        self.main.admin.seq_rate(20)
        self.agent = AgentProcess(CONFIG.format(main=self.main.url, prices=self.prices.url) + config)
        self.kills = folder / "kills"
        self.kills.write_text("", encoding="utf-8")
        if mortal:
            self.agent.program = (str(Path(__file__).with_name("kill_at_step.py")),)
            self.agent.more_env = {"KILL_AT_STEPS": str(self.kills)}
        self.deaths = 0
        self._marks: list[tuple[str, str]] = []
        self._readers = [threading.Thread(target=self._read, args=(feed,), daemon=True) for feed in ("spot", "backup")]
        self._over = False

    def __enter__(self) -> Stage:
        self.agent.start()
        env = self.agent.env | {"TEST_PATH": json.dumps(sys.path)}
        pipe = subprocess.PIPE
        self.bot = subprocess.Popen([sys.executable, "-c", BOT], env=env, stdin=pipe, stdout=pipe, text=True)
        assert self._line() == "here"
        for each in self._readers:
            each.start()
        self.event("user_stream.connected")
        self.until(lambda: all(self._flows(feed) for feed in ("spot", "backup")), "both feeds flow")
        return self

    def __exit__(self, *_: object) -> None:
        self._over = True
        for each in self._readers:
            each.join(10)
        self.bot.kill()
        self.bot.communicate()
        self.agent.__exit__(None, None, None)
        self.main.stop()
        self.prices.stop()

    def prices_flow(self) -> None:
        self.prices.admin.seq_rate(20)

    # ---- the bot

    def say(self, word: str) -> None:
        assert self.bot.stdin is not None
        self.bot.stdin.write(word + "\n")
        self.bot.stdin.flush()
        assert self._line() == "posted"

    def stop_bot(self) -> None:
        os.kill(self.bot.pid, signal.SIGSTOP)
        self.until(self.bot_is_stopped, "the bot is stopped")
        self.mark("the bot is stopped")

    def mark(self, what: str) -> None:
        """A line of the time line that the agent cannot know."""
        self._marks.append((datetime.now(UTC).isoformat()[11:23], what))

    def bot_is_stopped(self) -> bool:
        return Path(f"/proc/{self.bot.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"

    def _line(self) -> str:
        assert self.bot.stdout is not None
        return self.bot.stdout.readline().strip()

    # ---- what is seen

    def event(self, name: str, within_s: float = 60.0, **fields: str) -> dict[str, Any]:
        found: list[dict[str, Any]] = []

        def seen() -> bool:
            found[:] = [each for each in self.agent.events(name) if fields.items() <= each.items()]
            return bool(found)

        self.until(seen, f"{name} {fields}", within_s)
        return found[-1]

    def until(self, condition: Callable[[], bool], what: str, within_s: float = 60.0) -> None:
        """An agent that died meanwhile is started again, as a supervisor would."""
        limit_at = time.monotonic() + within_s
        while not condition():
            assert self.agent.process is not None
            if self.agent.process.poll() is not None:
                self.deaths += 1
                self.mark("the agent was killed")
                self.agent.start()
            assert time.monotonic() < limit_at, f"not: {what}\n{self.agent.log()[-6000:]}"
            time.sleep(0.02)

    def verb(self, name: str, **args: Any) -> dict[str, Any]:
        return ask(self.agent.runtime_dir / self.agent.name / "control.sock", name, args)

    def order(self, client_id: str) -> str:
        """The venue's own word on an order, asked beside the agent."""
        found = [each["status"] for each in self.main.admin.orders() if each["clientOrderId"] == client_id]
        assert len(found) <= 1, f"{client_id} is there {len(found)} times"
        return found[0] if found else "absent"

    def open(self) -> set[str]:
        return {
            each["clientOrderId"] for each in self.main.admin.orders() if each["status"] in ("NEW", "PARTIALLY_FILLED")
        }

    def agrees(self) -> None:
        """The agent's picture is the venue's: a look of the state monitor, no unknowns, no mode held."""
        where = self.agent.runtime_dir
        self.until(lambda: bool(self.verb("state.check")["consistent"]), "agent and venue agree")
        status = self.agent.status()
        assert status["queue"].get("unknown", 0) == 0, status["queue"]
        assert [each for each in status["modes"] if each["by"].startswith("recovery")] == []
        assert self.bot_is_stopped(), "the bot slept through all of it"
        done = cli("cancel", "--bot", "b", "--dry-run", "--json", runtime_dir=where)
        told = json.loads(done.stdout or "{}")
        seen = {each["id"] for each in (*told.get("orders", []), *told.get("kept", []))}
        assert seen == self.open(), f"{seen} and {self.open()}: {done.stdout}{done.stderr}"

    def time_line(self, scenario: str) -> list[str]:
        """What happened: by the agent's log, and by what was done to it, in order."""
        rows = [f"{at} {what}" for at, what in self._marks]
        for line in self.agent.log().splitlines():
            if not line.startswith("{"):
                continue
            row = json.loads(line)
            if row.get("scenario") == scenario and row["event"].startswith("recovery."):
                rows.append(
                    f"{row['timestamp'][11:23]} {row['event'].removeprefix('recovery.')} {row.get('step', '')}".rstrip()
                )
        return sorted(rows, key=lambda each: each[:12])

    def steps(self, scenario: str) -> list[str]:
        return [each["step"] for each in self.agent.events("recovery.step") if each["scenario"] == scenario]

    def _flows(self, feed: str) -> bool:
        sockets = self.agent.status()["feeds"].get(feed, {}).get("sockets", [])
        return any(each["state"] == "live" for each in sockets)

    def _read(self, feed: str) -> None:
        """Market data, for ever, also when the agent comes and goes."""
        name, where = f"eyes-{feed}", self.agent.runtime_dir
        with jackstay.Client(self.agent.name, runtime_dir=where, bot_id=name, kind="reader") as client:
            while not self._over:
                try:
                    for _ in client.subscribe(feed, ["btcusdt@seq"], timeout_s=0.5):
                        if self._over:
                            return
                except AgentGone:
                    time.sleep(0.05)  # it was killed, and is being started again


@dataclass(frozen=True)
class Case:
    """``prepare`` while the bot is awake; ``fault`` and ``mend`` while it is stopped; ``truth`` judged at the venue."""

    name: str
    steps: tuple[str, ...]
    fault: Callable[[Stage], None]
    truth: Callable[[Stage], None]
    mend: Callable[[Stage], None] | None = None
    mend_at: str = ""  # the step during which the fault ends
    prepare: Callable[[Stage], None] | None = None
    ends: str = "recovered"


def _venue_dies(stage: Stage) -> None:
    stage.main.admin.save()
    stage.main.kill()


def _resting_is_open(stage: Stage) -> None:
    assert stage.order("resting") == "NEW"


def _part_is_filled(stage: Stage) -> None:
    (found,) = [each for each in stage.main.admin.orders() if each["clientOrderId"] == "resting"]
    stage.main.admin.fill(int(found["orderId"]), "0.00040000")


def _rest_is_cancelled(stage: Stage) -> None:
    (found,) = [each for each in stage.main.admin.orders() if each["clientOrderId"] == "resting"]
    assert found["status"] == "CANCELED"
    assert float(found["executedQty"]) == 0.0004
    told = stage.verb("watchdog")["directives"]["b"]
    assert [each["directive"] for each in told] == ["re_evaluate"], f"it waits for the bot: {told}"


def _crooked_waits(stage: Stage) -> None:
    _venue_dies(stage)
    stage.say("post")


def _crooked_is_refused_and_explained(stage: Stage) -> None:
    assert stage.order("crooked") == "absent"
    told = [each["directive"] for each in stage.verb("watchdog")["directives"]["b"]]
    assert told.count("adjust_parameters") >= 1


def _capital_is_told(stage: Stage) -> None:
    _resting_is_open(stage)
    assert "redistribute_capital" in [each["directive"] for each in stage.verb("watchdog")["directives"]["b"]]


def _on_the_primary(stage: Stage) -> None:
    _resting_is_open(stage)
    stage.until(lambda: stage._flows("spot"), "the primary delivers")


def _prices_return(stage: Stage) -> None:
    stage.prices.start()
    stage.prices_flow()


def _too_many(stage: Stage) -> None:
    stage.main.admin.fault("rate_limit", duration_s=1.5, count=1)
    cli("state", "check", runtime_dir=stage.agent.runtime_dir)  # a question of the agent's own meets it


CASES = {
    each.name: each
    for each in (
        Case(
            "network_disconnection",
            ("hold_entries", "reconnect", "resubscribe", "look_at_account", "release"),
            _venue_dies,
            _resting_is_open,
            mend=lambda stage: stage.main.start() and None,
            mend_at="reconnect",
        ),
        Case(
            "exchange_maintenance",
            ("detect", "hold_orders", "redistribute_capital", "wait_for_the_end", "cancel_for_stalled")
            + ("look_at_account", "barrier", "release"),
            lambda stage: stage.main.admin.mode("maintenance"),
            _capital_is_told,
            mend=lambda stage: stage.main.admin.mode("online"),
            mend_at="wait_for_the_end",
        ),
        Case(
            "data_feed_interruption",
            ("conservative", "switch", "tell", "come_back", "settle"),
            lambda stage: stage.prices.kill(),
            _on_the_primary,
            mend=_prices_return,
            mend_at="come_back",
        ),
        Case(
            "api_rate_limit", ("hold_entries", "wait_for_the_instant", "prove", "release"), _too_many, _resting_is_open
        ),
        Case(
            "partial_fill",
            ("cancel_remainder", "prove_terminal", "pull_fills", "hand_over"),
            _part_is_filled,
            _rest_is_cancelled,
        ),
        Case(
            "order_rejection",
            ("analyse", "suggest", "resubmit"),
            lambda stage: stage.main.start() and None,
            _crooked_is_refused_and_explained,
            prepare=_crooked_waits,
            ends="not_recovered",  # a suggestion recovers nothing: the bot decides
        ),
    )
}


def play(stage: Stage, case: Case, kills: list[tuple[str, str]]) -> None:
    """Stop the bot, make the fault, let the agent die at these (step, when), and wait for the end of it."""

    def died() -> bool:
        return not stage.kills.read_text(encoding="utf-8").strip()

    if case.prepare is not None:
        case.prepare(stage)
    stage.stop_bot()
    stage.kills.write_text("\n".join(f"{case.name} {step} {when}" for step, when in kills), encoding="utf-8")
    stage.mark("the fault begins")
    case.fault(stage)
    if case.mend is not None:
        stage.event("recovery.step", scenario=case.name, step=case.mend_at)
        if any(when == "during" for _step, when in kills):
            stage.until(died, "it died while the step waited", 120.0)
        case.mend(stage)
        stage.mark("the fault is over")
    stage.until(died, "each death was died", 120.0)
    stage.event(f"recovery.{case.ends}", scenario=case.name)
    assert stage.deaths == len(kills)
    case.truth(stage)
    stage.agrees()
    stage.mark("venue and agent agree, and the bot is still stopped")
