"""The promise itself: a bot hangs or dies with orders open, and exactly the armed classes go, judged by the venue."""

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

from e2e_bot import RESOLVING, routed
from harness import AgentProcess, cli
from jackstay_agent.sandbox import SandboxProcess
from sandbox_client import Plain, limit_order, signed

BUYS = [f"e{i}" for i in range(8)]

#: A bot with a mixed book. What it does then is the word on its command line; what makes it ill comes with "go".
BOT = """
import asyncio, json, os, select, signal, sys, threading, time
sys.path[:0] = json.loads(os.environ["TEST_PATH"])
import jackstay
from e2e_bot import HOST, KEY, signed

client = jackstay.Client(bot_id=sys.argv[1], beat_within_s=0.5)

def place(path, tag="", **params):
    headers = [("X-MBX-APIKEY", KEY), ("Content-Type", "application/x-www-form-urlencoded")]
    answer = client.request(
        "POST", HOST + path, headers=headers, body=signed(params).encode(), deadline_s=10, tag=tag
    )
    assert answer.status == 200, (params, answer.body)

def limit(name, side, price, tag="", **more):
    place("/api/v3/order", tag, symbol="BTCUSDT", side=side, type="LIMIT", timeInForce="GTC", quantity="0.001",
          price=price, newClientOrderId=name, **more)

if sys.argv[1] == "neighbour":
    limit("n1", "BUY", "30000.00")
    limit("n2", "SELL", "90000.00")
else:
    for i in range(8):
        limit(f"e{i}", "BUY", f"{40000 + i}.00")
    for i in range(3):
        limit(f"x{i}", "SELL", f"{70000 + i}.00")
    for i in range(3):
        place("/api/v3/order", symbol="BTCUSDT", side="SELL", type="STOP_LOSS_LIMIT", timeInForce="GTC",
              quantity="0.001", stopPrice=f"{30000 + i}.00", price=f"{29000 + i}.00", newClientOrderId=f"s{i}")
    place("/api/v3/orderList/oco", symbol="BTCUSDT", side="SELL", quantity="0.001", listClientOrderId="oco",
          aboveType="LIMIT_MAKER", abovePrice="80000.00", aboveClientOrderId="oco-up",
          belowType="STOP_LOSS_LIMIT", belowStopPrice="25000.00", belowPrice="24900.00", belowTimeInForce="GTC",
          belowClientOrderId="oco-down")
    limit("h0", "BUY", "35000.00", tag="hedge")
    limit("h1", "SELL", "75000.00", tag="hedge")
    limit("u0", "BUY", "36000.00", tag="unknown")
word = sys.argv[2]

async def stuck():
    asynchronous = jackstay.AsyncClient(bot_id=sys.argv[1], beat_within_s=0.5)
    await asynchronous.status()
    print("here", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    time.sleep(3600)  # in the loop that also has to beat

if word == "loop":
    client.close(reason="an asyncio bot takes over", orders="keep")
    asyncio.run(stuck())
if word == "progress":
    client.beat(progress=1)
print("here", flush=True)
number = 1
while word in ("deadlock", "progress") and not select.select([sys.stdin], [], [], 0.1)[0]:
    number += 1
    client.beat(progress=number if word == "progress" else None)
if word == "deadlock":
    lock = threading.Lock()
    lock.acquire()
    lock.acquire()
if word == "cancel":
    client.close(reason="going", orders="cancel")
    sys.exit(0)
if word == "keep":
    client.close(reason="deploy", orders="keep")
    sys.exit(0)
while True:
    client.beat()
    time.sleep(0.1)
"""
OWN = {*BUYS, "x0", "x1", "x2", "s0", "s1", "s2", "oco-up", "oco-down", "h0", "h1", "u0"}
OTHERS = {"n1", "n2", "human"}


@pytest.fixture(scope="module")
def sandbox() -> Iterator[SandboxProcess]:
    with SandboxProcess(seed=1, quiet=True) as exchange:
        yield exchange


class Stage:
    """An agent with a key that may cancel, the bot with its book, a neighbour on the same key, and a human."""

    def __init__(self, sandbox: SandboxProcess, config: str = "") -> None:
        self.plain = Plain(sandbox)
        self.agent = AgentProcess(routed(sandbox.url, RESOLVING + config))
        self._bots: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Stage:
        self.agent.start()
        return self

    def __exit__(self, *_: object) -> None:
        for each in self._bots:
            if each.poll() is None:
                each.kill()
            each.wait(10)
            for pipe in (each.stdin, each.stdout):
                assert pipe is not None
                pipe.close()
        self.agent.__exit__(None, None, None)

    def bot(self, name: str, word: str = "") -> subprocess.Popen[bytes]:
        env = self.agent.env | {"TEST_PATH": json.dumps(sys.path)}
        pipe = subprocess.PIPE
        bot = subprocess.Popen([sys.executable, "-c", BOT, name, word], env=env, stdin=pipe, stdout=pipe)
        self._bots.append(bot)
        assert bot.stdout is not None
        assert bot.stdout.readline() == b"here\n"
        return bot

    def human(self) -> None:
        params = limit_order("human", price="31000.00", quantity="0.001")
        assert self.plain.send("POST", "/api/v3/order", signed(params))[0] == 200

    def arm(self, preset: str, silence: str = "1s") -> None:
        done = cli("arm", "--preset", preset, "--silence", silence, "--anyway", runtime_dir=self.agent.runtime_dir)
        assert done.returncode == 0, done.stderr

    def open(self) -> set[str]:
        status, listed, _headers = self.plain.send("GET", f"/api/v3/openOrders?{signed({'symbol': 'BTCUSDT'})}")
        assert status == 200
        return {each["clientOrderId"] for each in listed}

    def until_open(self, wanted: set[str], within_s: float) -> float:
        """How long it took until exactly these were open."""
        began = time.monotonic()
        while (found := self.open()) != wanted:
            if time.monotonic() - began > within_s:
                raise AssertionError(
                    f"too many: {found - wanted}, too few: {wanted - found}\n{self.agent.log()[-6000:]}"
                )
            time.sleep(0.02)
        return time.monotonic() - began

    def event(self, name: str, within_s: float = 5.0) -> dict[str, Any]:
        return self.agent.event(name, within_s)


def mixed(stage: Stage, word: str = "") -> subprocess.Popen[bytes]:
    stage.human()
    stage.bot("neighbour")
    bot = stage.bot("b", word)
    assert stage.open() == OWN | OTHERS
    return bot


@pytest.mark.serial  # within the silence and half a second
@pytest.mark.parametrize(
    ("preset", "gone"),
    [
        ("directional", set(BUYS)),
        ("market_maker", {*BUYS, "x0", "x1", "x2"}),
        ("hedged", set()),
        ("observe", set()),
    ],
)
def test_of_a_mixed_book_exactly_the_armed_classes_go(sandbox: SandboxProcess, preset: str, gone: set[str]) -> None:
    """8 entries, 3 exits, 3 stops, an OCO pair, 2 hedges, 1 of unknown class, 2 of a neighbour, 1 of a human."""
    with Stage(sandbox) as stage:
        bot = mixed(stage)
        stage.arm(preset)
        os.kill(bot.pid, signal.SIGSTOP)
        if gone:
            stage.until_open((OWN | OTHERS) - gone, 30.0)
            done = stage.event("protect.done")
            assert set(done["cancelled"]) == gone
        elif preset == "observe":
            would = stage.event("would.cancel")
            assert set(would["ids"]) == set(BUYS)
        else:
            stage.event("protect.held")
        os.kill(bot.pid, signal.SIGCONT)
        stage.event("bot.back")
        assert stage.open() == (OWN | OTHERS) - gone


def another_under(pid: int) -> subprocess.Popen[bytes]:
    """Another program under a pid that is free; skips where the kernel does not let us choose."""
    for _ in range(50):
        try:
            with open("/proc/sys/kernel/ns_last_pid", "w", encoding="ascii") as last:
                last.write(str(pid - 1))
        except OSError as error:
            pytest.skip(f"the next pid cannot be chosen here ({error})")
        other = subprocess.Popen(["sleep", "60"])
        if other.pid == pid:
            return other
        other.kill()
        other.wait(10)
    pytest.skip("the pid was never free when it was asked for")


def test_another_program_under_the_bots_pid_does_not_speak_for_it(sandbox: SandboxProcess) -> None:
    """The bot died and its pid is taken at once: an end like any other; the stranger is left alone."""
    sandbox.admin.reset()
    with Stage(sandbox, "[watchdog]\nrestart_grace_s = 0.5\n") as stage:
        bot = mixed(stage)
        stage.arm("directional", "60s")
        stage.agent.signal(signal.SIGSTOP)  # so that it never sees the pid free
        bot.kill()
        bot.wait(10)
        other = another_under(bot.pid)
        try:
            stage.agent.signal(signal.SIGCONT)
            stage.until_open((OWN | OTHERS) - set(BUYS), 5.0)
            assert stage.event("bot.gone")["how"] == "reused"
            assert other.poll() is None
        finally:
            other.kill()
            other.wait(10)


#: Seconds that are configured for each: the armed silence, the grace for a restart, the longest without progress.
CAUSES = {"kill": 0.5, "zombie": 0.5, "stop": 1.0, "loop": 1.0, "deadlock": 1.0, "progress": 1.0}


@pytest.mark.serial
@pytest.mark.parametrize("cause", CAUSES)
def test_every_way_to_hang_or_die_is_noticed_in_time(sandbox: SandboxProcess, cause: str) -> None:
    """kill -9, a zombie, SIGSTOP, an asyncio loop blocked by time.sleep, a deadlock, no progress: exactly the entries
    are gone half a second after the configured time. The neighbour on the same key and the human are never touched, not
    even asked for, and the neighbour is well all the while.
    """
    sandbox.admin.reset()
    config = "[watchdog]\nrestart_grace_s = 0.5\nprogress_max_s = 1.0\n"
    with Stage(sandbox, config) as stage:
        bot = mixed(stage, cause)
        stage.arm("directional")
        assert stage.open() == OWN | OTHERS
        if cause in ("kill", "zombie"):
            bot.kill()
        if cause == "kill":
            bot.wait(10)
        if cause == "stop":
            os.kill(bot.pid, signal.SIGSTOP)
        if cause in ("loop", "deadlock", "progress"):
            assert bot.stdin is not None
            bot.stdin.write(b"go\n")
            bot.stdin.flush()
        took_s = stage.until_open((OWN | OTHERS) - set(BUYS), 10.0)
        print(f"{cause}: configured {CAUSES[cause]} s, done after {took_s:.2f} s")
        assert took_s <= CAUSES[cause] + 0.5
        assert {row["client_order_id"] for row in sandbox.admin.ledger(method="DELETE")} == set(BUYS)
        assert not [each for each in stage.agent.events("bot.late") if each["bot"] == "neighbour"]
        if cause in ("kill", "zombie"):
            assert stage.event("bot.gone")["how"] == ("gone" if cause == "kill" else "zombie")


@pytest.mark.parametrize(("word", "gone"), [("cancel", set(BUYS)), ("keep", set())])
def test_a_goodbye_is_done_as_the_bot_asked_under_observe_too(
    sandbox: SandboxProcess, word: str, gone: set[str]
) -> None:
    """Its own word on its own entries; never on stops, never on a neighbour's."""
    with Stage(sandbox, "[watchdog]\nrestart_grace_s = 0.2\n") as stage:
        bot = mixed(stage, word)
        assert bot.wait(10) == 0
        stage.event("bot.goodbye")
        if gone:
            stage.until_open((OWN | OTHERS) - gone, 5.0)
        else:
            until = time.monotonic() + 1.0
            while time.monotonic() < until:
                assert stage.open() == OWN | OTHERS
                time.sleep(0.1)  # that nothing happens can only be watched


def test_a_restarted_agent_still_knows_whose_orders_they_are(sandbox: SandboxProcess) -> None:
    """The bot is stopped, the agent killed and started again: the same eight go, by the evidence on the disk."""
    with Stage(sandbox) as stage:
        bot = mixed(stage)
        stage.arm("directional")
        state = stage.agent.runtime_dir / stage.agent.name / "state" / "watchdog.json"
        until = time.monotonic() + 5.0
        while "directional" not in state.read_text():
            assert time.monotonic() < until, "what was armed is not on the disk"
            time.sleep(0.02)
        evidence = state.with_name("state.sqlite-wal")
        size = evidence.stat().st_size
        while evidence.stat().st_size == size and time.monotonic() < until - 3.5:
            time.sleep(0.02)  # it is written once a second; the orders are in the journal besides
        os.kill(bot.pid, signal.SIGSTOP)
        stage.agent.kill()
        stage.agent.start()
        stage.until_open((OWN | OTHERS) - set(BUYS), 8.0)
        assert set(stage.event("protect.done")["cancelled"]) == set(BUYS)


def test_a_venue_that_fails_meanwhile_is_asked_until_it_answers(sandbox: SandboxProcess) -> None:
    """503 to some cancels, no answer to others: it goes on until the venue shows none of them."""
    with Stage(sandbox) as stage:
        bot = mixed(stage)
        stage.arm("directional")
        sandbox.admin.fault("answer", route="DELETE /api/v3/order", count=5, status=503)
        sandbox.admin.fault("drop_reply", route="DELETE /api/v3/order", count=2)
        os.kill(bot.pid, signal.SIGSTOP)
        stage.until_open((OWN | OTHERS) - set(BUYS), 15.0)


def test_an_operator_cancels_by_class_what_is_the_bots_own_and_types_the_count(sandbox: SandboxProcess) -> None:
    """Shown first; another number is refused; stops go only when they are named; a human's orders never."""
    with Stage(sandbox) as stage:
        mixed(stage)
        where = stage.agent.runtime_dir
        shown = json.loads(cli("cancel", "--bot", "b", "--dry-run", "--json", runtime_dir=where).stdout)
        assert {each["id"] for each in shown["orders"]} == set(BUYS)
        assert stage.open() == OWN | OTHERS
        words = ("cancel", "--bot", "b", "--class", "protective", "--why", "moved by hand", "--yes", "--expect")
        assert cli(*words, "3", runtime_dir=where).returncode == 1
        assert stage.open() == OWN | OTHERS
        done = cli(*words, "4", runtime_dir=where)  # three stops and the OCO pair as one list
        assert done.returncode == 0, done.stdout + done.stderr
        assert stage.open() == (OWN | OTHERS) - {"s0", "s1", "s2", "oco-up", "oco-down"}
        assert stage.event("operator.cancelled")["why"] == "moved by hand"
        assert cli("cancel", "--yes", "--why", "x", runtime_dir=where).returncode == 2
        assert cli("cancel", "--bot", "nobody", "--dry-run", runtime_dir=where).returncode == 1
