"""What the agent can do is what it says: without a key that may cancel, every place where an operator looks says so."""

from __future__ import annotations

import json
import os
import re
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

READ_ONLY = ("--account", "sandbox-key:sandbox-secret:main:read")
#: It trades with its own key, rests an order, and beats until it is stopped.
BOT = """
import json, os, sys, time
sys.path[:0] = json.loads(os.environ["TEST_PATH"])
import jackstay
from e2e_bot import place

client = jackstay.Client(bot_id="b", beat_within_s=0.3)
answer = place(client, None, "resting")
print("here", answer.status, flush=True)
while True:
    client.beat()
    time.sleep(0.1)
"""


class Stage:
    """An agent, and a bot of it with an order at the venue."""

    def __init__(self, config: str, *sandbox_args: str) -> None:
        self.sandbox = SandboxProcess(seed=1, quiet=True, extra_args=sandbox_args)
        self._config = config

    def __enter__(self) -> Stage:
        self.sandbox.start()
        self.agent = AgentProcess(routed(self.sandbox.url, self._config))
        self.agent.start()
        env = self.agent.env | {"TEST_PATH": json.dumps(sys.path)}
        self.bot = subprocess.Popen([sys.executable, "-c", BOT], env=env, stdout=subprocess.PIPE, text=True)
        assert self.bot.stdout is not None
        assert self.bot.stdout.readline().startswith("here")
        return self

    def __exit__(self, *_: object) -> None:
        self.bot.kill()
        self.bot.wait(10)
        assert self.bot.stdout is not None
        self.bot.stdout.close()
        self.agent.__exit__(None, None, None)
        self.sandbox.stop()

    def say(self, *words: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        done = cli(*words, runtime_dir=self.agent.runtime_dir)
        assert done.returncode == code, done.stderr
        return done

    def event(self, name: str, within_s: float = 8.0) -> dict[str, Any]:
        return self.agent.event(name, within_s)

    def grade(self, wanted: str) -> dict[str, Any]:
        """The status, once it shows this grade."""
        until = time.monotonic() + 8.0
        while (status := self.agent.status())["grade"] != wanted:
            assert time.monotonic() < until, f"{status['grade']}: {status['powers']}"
            time.sleep(0.05)
        return status


@pytest.fixture
def keyless() -> Iterator[Stage]:
    with Stage("") as stage:
        yield stage


def test_armed_without_a_key_every_command_and_event_says_that_nothing_can_be_cancelled(keyless: Stage) -> None:
    """arm, watchdog, bot list, status, events; the orders out of reach are named when the bot stalls."""
    stage = keyless
    status = stage.grade("carry")
    assert status["powers"]["venues"]["binance"]["may_cancel"] is False
    armed = stage.say("arm", "--preset", "directional", "--silence", "1s", "--anyway")
    assert "armed: directional" in armed.stdout
    for said in (armed, stage.say("watchdog"), stage.say("bot", "list")):
        assert "WARNING: binance: the agent has no key there" in said.stderr
        assert "cancel nothing" in said.stderr
        assert "jackstay keys add" in said.stderr
    assert "preset directional is armed, and" in stage.say("status", code=1).stdout
    assert stage.event("protection.powerless")["level"] == "warning"
    os.kill(stage.bot.pid, signal.SIGSTOP)
    told = stage.event("protect.powerless")
    assert told["powerless"] == {"binance": "the agent has no key for this venue"}
    assert told["out_of_reach"] == ["resting"]
    assert not stage.agent.events("protect.done"), "nothing was asked of the venue, so nothing is done"
    stage.say("arm", "--preset", "observe")
    would = stage.event("would.cancel")
    assert would["ids"] == []
    assert would["powerless"]
    assert would["out_of_reach"] == ["resting"]
    assert "WARNING" not in stage.say("watchdog").stderr


def test_a_key_that_may_trade_is_grade_protect_and_nothing_is_warned_of() -> None:
    """The venue's own word on the key; the status shows by venue why; a restarted agent asks anew."""
    with Stage(RESOLVING) as stage:
        stage.grade("protect")
        assert "WARNING" not in stage.say("arm", "--preset", "directional", "--anyway").stderr
        stage.agent.kill()
        stage.agent.start()
        stage.grade("protect")
        assert not stage.agent.events("protection.powerless")


def test_a_key_that_may_only_read_is_grade_resolve_and_warned_of() -> None:
    """Another key than the bot's, and the venue says that it may only read."""
    with Stage(RESOLVING, *READ_ONLY) as stage:
        status = stage.grade("resolve")
        until = time.monotonic() + 8.0
        while status["powers"]["venues"]["binance"]["may_cancel"] is None:
            assert time.monotonic() < until, status["powers"]
            status = stage.agent.status()
        said = stage.say("arm", "--preset", "market_maker", "--anyway")
        assert "may only read: nothing can be cancelled there" in said.stderr


def test_a_stopped_bots_silence_grows_and_its_process_is_named_once(keyless: Stage) -> None:
    """`bot list` is of now, not of the moment it stalled."""
    stage = keyless
    os.kill(stage.bot.pid, signal.SIGSTOP)
    stage.event("bot.stalled")

    def shown() -> str:
        return stage.say("bot", "list").stdout

    first, until = shown(), time.monotonic() + 8.0
    assert first.count("stopped") == 1, first
    assert re.search(r"stalled .*silent for", first)
    while (later := shown()) == first:
        assert time.monotonic() < until, "the silence stands still"
    assert float(later.split("silent for ")[1].split(" s")[0]) > float(first.split("silent for ")[1].split(" s")[0])
    assert "requests requests" not in stage.say("status", code=1).stdout
