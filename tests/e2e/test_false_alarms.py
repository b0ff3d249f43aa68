"""A false alarm costs nothing, with real processes: sleeping loops, error waits, frozen machines, deploys."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from e2e_bot import RESOLVING, routed
from harness import AgentProcess, cli
from jackstay_agent.sandbox import SandboxProcess
from sandbox_client import Plain, signed

#: Bots as they are found, with the one line that leads them through the agent; sleeps are the field's, made short.
LOOPS = """
import json, os, sys, time
import ccxt, jackstay
from jackstay.adapters.ccxt import attach

def bot(name, sleep_s, wait_s):
    os.environ["JACKSTAY_BOT"] = name
    exchange = ccxt.binance({"apiKey": "sandbox-key", "secret": "sandbox-secret", "enableRateLimit": False,
        "options": {"fetchMarkets": {"types": ["spot"]}, "fetchCurrencies": False, "fetchMargins": False}})
    attach(exchange)
    while True:
        try:
            exchange.create_order("BTC/USDT", "limit", "buy", 0.001, 40000 + len(name), {"newClientOrderId": name})
            break
        except ccxt.NetworkError:  # four begin at once: on a busy machine the agent may not greet each within a second
            time.sleep(0.1)
    while True:
        os.write(1, f"{name} {time.monotonic():.3f}\\n".encode())  # in one piece: its brothers write too
        try:
            exchange.fetch_open_orders("BTC/USDT")
        except ccxt.BaseError as error:
            time.sleep(wait_s)  # as freqtrade's worker does after an operational error
            continue
        time.sleep(sleep_s)

for name, sleep_s, wait_s in json.loads(sys.argv[1]):
    if os.fork() == 0:
        bot(name, sleep_s, wait_s)
while True:
    try:
        os.wait()
    except ChildProcessError:
        break
"""
BOTS = [["five", 0.6, 3.0], ["thirty", 1.2, 3.0], ["threehundred", 2.5, 3.0], ["errorwait", 0.1, 2.5]]
NAMES = {str(name) for name, *_ in BOTS}

#: New versions of one bot, one after the other: every second one says goodbye, the others are killed.
DEPLOYS = """
import json, os, signal, sys
sys.path[:0] = json.loads(os.environ["TEST_PATH"])
import jackstay
from e2e_bot import place
from jackstay_protocols.errors import AgentGone

for number in range(int(sys.argv[1])):
    pid = os.fork()
    if pid == 0:
        client = jackstay.Client(bot_id="b")
        while True:
            try:
                place(client, None, f"d{number}", deadline_s=10.0)
                break
            except AgentGone as gone:  # on a busy machine it may not greet within a second: nothing was sent
                assert gone.outcome != "unknown", gone
        if number % 2:
            client.close(reason="deploy", back_within_s=30.0)
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(pid, 0)
    print(number, flush=True)
client = jackstay.Client(bot_id="b")
client.beat()
print("here", flush=True)
sys.stdin.read()
"""
LOAD = """
import json, os, sys
sys.path[:0] = json.loads(os.environ["TEST_PATH"])
import jackstay
client = jackstay.Client(bot_id="load")
print("here", flush=True)
while True:
    try:
        client.request("GET", "https://api.binance.com/api/v3/time", deadline_s=10.0)
    except jackstay.AgentGone:
        pass  # it did not greet within a second, on a busy machine
"""


@pytest.fixture(scope="module")
def sandbox() -> Iterator[SandboxProcess]:
    with SandboxProcess(seed=1, quiet=True) as exchange:
        yield exchange


@contextmanager
def child(agent: AgentProcess, script: str, *words: str) -> Iterator[subprocess.Popen[bytes]]:
    env = agent.env | {"TEST_PATH": json.dumps(sys.path)}
    process = subprocess.Popen(
        [sys.executable, "-c", script, *words],
        env=env,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def open_orders(sandbox: SandboxProcess) -> set[str]:
    status, listed, _headers = Plain(sandbox).send("GET", f"/api/v3/openOrders?{signed({'symbol': 'BTCUSDT'})}")
    assert status == 200
    return {each["clientOrderId"] for each in listed}


def line(process: subprocess.Popen[bytes]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().decode().strip()


def watched(agent: AgentProcess) -> dict[str, Any]:
    done = cli("watchdog", "--json", runtime_dir=agent.runtime_dir)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout)["bots"])


def until_watched(agent: AgentProcess, longest_s: dict[str, float], within_s: float = 12.0) -> None:
    """Until the evidence has a silence of at least this length of each."""
    until = time.monotonic() + within_s
    while True:
        seen = {bot: each["longest_silence_s"] or 0.0 for bot, each in watched(agent).items()}
        # what is heard is noticed at the next tick: a silence is measured shorter than the sleep by up to one
        if all(seen.get(bot, 0.0) >= 0.99 * length_s for bot, length_s in longest_s.items()):
            return
        assert time.monotonic() < until, (longest_s, seen)


def test_loops_that_sleep_are_watched_first_and_then_never_hit(sandbox: SandboxProcess) -> None:
    """Sync ccxt loops that sleep, one in its error wait, all silent beyond their lease: arming below their sleeps is
    refused by the evidence, above it costs nothing; nor does freezing everything for longer than what is armed.
    """
    config = RESOLVING + "[bot]\nbeat_within_s = 0.3\n"
    with AgentProcess(routed(sandbox.url, config)) as agent, child(agent, LOOPS, json.dumps(BOTS)) as family:
        here: set[str] = set()
        while here != NAMES:
            here |= {line(family).split()[0]}
        sandbox.admin.fault("answer", route="GET /api/v3/openOrders", status=400, count=2)
        until_watched(agent, {"five": 0.6, "thirty": 1.2, "threehundred": 2.5})
        short = cli("arm", "--preset", "directional", "--silence", "1s", runtime_dir=agent.runtime_dir)
        assert short.returncode == 1
        assert "living bot" in short.stderr
        assert agent.status()["preset"] == "observe"
        done = cli("arm", "--preset", "directional", "--silence", "4s", runtime_dir=agent.runtime_dir)
        assert done.returncode == 0, done.stderr
        assert "threehundred: watched for" in done.stdout
        assert "a short watch" in done.stdout
        before = agent.events("bot.late")
        os.killpg(family.pid, signal.SIGSTOP)
        agent.signal(signal.SIGSTOP)
        time.sleep(6.0)  # a frozen machine is only frozen by time
        agent.signal(signal.SIGCONT)
        os.killpg(family.pid, signal.SIGCONT)
        until = time.monotonic() + 10.0
        while len(agent.events("bot.late")) < len(before) + 4:  # it goes on watching, loop after loop
            assert time.monotonic() < until, agent.log()[-4000:]
            time.sleep(0.05)
        assert open_orders(sandbox) == NAMES
        assert not sandbox.admin.ledger(method="DELETE")
        asked = sandbox.admin.ledger(method="GET", path="/api/v3/openOrders")
        assert [row["status"] for row in asked].count(400) == 2  # somebody was in its error wait
        assert agent.events("loop.lagged")
        assert not agent.events("protect.cancelling")
        assert max(each["longest_silence_s"] or 0.0 for each in watched(agent).values()) < 4.0


#: The field's own lengths, in two houses: what is armed for the one would be far too long for the other.
HOUSES = {
    35.0: [["five", 5.0, 30.0], ["errorwait", 5.0, 30.0]],
    330.0: [["thirty", 30.0, 30.0], ["threehundred", 300.0, 30.0]],
}
FROZEN_S = 60.0


@pytest.mark.soak
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("silence_s", HOUSES)
def test_loops_of_full_length_are_never_hit(sandbox: SandboxProcess, silence_s: float) -> None:
    """Unmodified ccxt loops that sleep 5, 30 and 300 s, in freqtrade's error wait of 30 s; watched, armed just above
    their longest silence, frozen for 60 s together with the agent, and watched again. RHYTHMS=FILE keeps what was
    measured between two calls, for tests/agent/test_false_alarms.py.
    """
    sandbox.admin.reset()
    bots = HOUSES[silence_s]
    names, told = {str(name) for name, *_ in bots}, list[tuple[str, float]]()
    with AgentProcess(routed(sandbox.url, RESOLVING)) as agent, child(agent, LOOPS, json.dumps(bots)) as family:
        reader = threading.Thread(target=_read, args=(family, told), daemon=True)
        reader.start()
        until(lambda: {name for name, _at in told} == names, 30.0)
        sandbox.admin.fault("answer", route="GET /api/v3/openOrders", status=400, count=4)
        longest = {str(name): float(sleep_s) for name, sleep_s, _wait in bots}
        if "errorwait" in longest:
            longest["errorwait"] = 30.0
        until_watched(agent, longest, 400.0)
        refused = cli("arm", "--preset", "directional", "--silence", f"{silence_s / 2}s", runtime_dir=agent.runtime_dir)
        assert refused.returncode == 1, refused.stdout
        armed = cli("arm", "--preset", "directional", "--silence", f"{silence_s}s", runtime_dir=agent.runtime_dir)
        assert armed.returncode == 0, armed.stderr
        rhythms = {name: gaps(told, name) for name in names}
        os.killpg(family.pid, signal.SIGSTOP)
        agent.signal(signal.SIGSTOP)
        time.sleep(FROZEN_S)  # a frozen machine is only frozen by time
        agent.signal(signal.SIGCONT)
        os.killpg(family.pid, signal.SIGCONT)
        thawed = len(told)
        until(lambda: {name for name, _at in told[thawed:]} == names, 400.0)
        until(
            lambda: len([0 for name, _at in told[thawed:] if name == min(longest, key=longest.__getitem__)]) > 12, 400.0
        )
        assert open_orders(sandbox) == names
        assert not sandbox.admin.ledger(method="DELETE")
        assert agent.events("loop.lagged")
        assert not agent.events("protect.cancelling")
        for name in names:
            rhythms[name] += gaps(told[thawed:], name)
        print({name: (len(each), max(each, default=0.0)) for name, each in rhythms.items()})
        if kept := os.environ.get("RHYTHMS"):
            before = json.loads(Path(kept).read_text()) if Path(kept).exists() else {}
            Path(kept).write_text(json.dumps(before | rhythms, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def _read(family: subprocess.Popen[bytes], told: list[tuple[str, float]]) -> None:
    while words := line(family).split():
        told.append((words[0], float(words[1])))


def gaps(told: list[tuple[str, float]], name: str) -> list[float]:
    """Seconds between two calls of this bot."""
    at = [each for whose, each in told if whose == name]
    return [round(later - earlier, 3) for earlier, later in pairwise(at)]


def until(condition: Callable[[], bool], within_s: float) -> None:
    limit_at = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < limit_at
        time.sleep(0.05)


def test_fifty_deploys_under_load_keep_every_order(sandbox: SandboxProcess) -> None:
    """Each version places an order and goes, with a goodbye or by kill -9; armed, inside the restart's grace."""
    sandbox.admin.reset()
    config = RESOLVING + "[watchdog]\nrestart_grace_s = 10.0\n[venues.binance.limits]\norders_10s = 0\nweight_1m = 0\n"
    with (
        AgentProcess(routed(sandbox.url, config)) as agent,
        child(agent, LOAD) as load,
        child(agent, DEPLOYS, "50") as deploys,
    ):
        assert line(load) == "here"
        armed = cli("arm", "--preset", "directional", "--silence", "5s", runtime_dir=agent.runtime_dir)
        assert armed.returncode == 0, armed.stderr
        told = [line(deploys) for _ in range(51)]
        assert told[-1] == "here", agent.log()[-4000:]
        assert open_orders(sandbox) == {f"d{number}" for number in range(50)}
        assert not sandbox.admin.ledger(method="DELETE")
        assert len(agent.events("bot.goodbye")) == 25
        assert not agent.events("bot.dead")
        assert load.poll() is None
