"""Bots that hang, die, leave and come back, as real processes under a real agent."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import jackstay
from harness import AgentProcess, cli
from jackstay_agent.control import ask
from jackstay_protocols.endpoints import AgentPaths, state_folder

BOT = """
import signal, sys, time, jackstay
client = jackstay.Client(bot_id="b", beat_within_s=0.5)
client.status()
print("here", flush=True)
if "left" in sys.argv:
    client.close(reason="deploy", back_within_s=float(sys.argv[-1]))
    time.sleep(60)
if "stuck" in sys.argv:
    time.sleep(60)
while True:
    client.beat()
    time.sleep(0.1)
"""


class Bot:
    """A bot as a process; ``words`` make it misbehave."""

    def __init__(self, agent: AgentProcess, *words: str) -> None:
        self.process = subprocess.Popen([sys.executable, "-c", BOT, *words], env=agent.env, stdout=subprocess.PIPE)
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == b"here\n"

    def signal(self, number: int) -> None:
        os.kill(self.process.pid, number)

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(10)
        if self.process.stdout is not None:
            self.process.stdout.close()


@pytest.fixture
def bots() -> Iterator[Callable[..., Bot]]:
    """Makes bots that are ended with the test."""
    made: list[Bot] = []

    def make(agent: AgentProcess, *words: str) -> Bot:
        made.append(Bot(agent, *words))
        return made[-1]

    yield make
    for each in made:
        each.end()


def wait_for(agent: AgentProcess, event: str, count: int = 1, within_s: float = 8.0) -> list[dict[str, Any]]:
    """The agent's own log is what an operator would see."""
    until = time.monotonic() + within_s
    while time.monotonic() < until:
        found = agent.events(event)
        if len(found) >= count:
            return found
        time.sleep(0.02)
    raise AssertionError(f"no {event} within {within_s} s:\n{agent.log()}")


def wait_until_kept(agent: AgentProcess, word: str) -> None:
    """What is armed and who is here reaches the disk within a tick."""
    path = state_folder(AgentPaths(agent.name, agent.runtime_dir / agent.name), agent.env) / "watchdog.json"
    until = time.monotonic() + 5.0
    while time.monotonic() < until:
        if path.exists() and word in path.read_text():
            return
        time.sleep(0.02)
    raise AssertionError(f"{word!r} is not in {path}")


def run(agent: AgentProcess, *words: str) -> subprocess.CompletedProcess[str]:
    return cli(*words, runtime_dir=agent.runtime_dir)


def test_a_stopped_bot_is_stalled_and_named_and_back_when_it_runs_again(bots: Callable[..., Bot]) -> None:
    """SIGSTOP: late, then stalled, with the process's state as the reason; SIGCONT: back."""
    with AgentProcess() as agent:
        bot = bots(agent)
        bot.signal(signal.SIGSTOP)
        (stalled,) = wait_for(agent, "bot.stalled")
        assert stalled["process"] == "stopped"
        assert "stopped" in stalled["why"]
        assert wait_for(agent, "would.cancel")
        bot.signal(signal.SIGCONT)
        wait_for(agent, "bot.back")
        facts = json.loads(run(agent, "bot", "list", "--json").stdout)
        assert facts["b"]["state"] == "well"


def test_a_bot_whose_thread_sleeps_is_stalled_although_its_process_runs(bots: Callable[..., Bot]) -> None:
    """No helper thread smiles in its stead."""
    with AgentProcess() as agent:
        bots(agent, "stuck")
        (stalled,) = wait_for(agent, "bot.stalled")
        assert stalled["process"] == "running"


def test_a_killed_bot_is_dead_after_the_grace_and_not_before(bots: Callable[..., Bot]) -> None:
    """kill -9 is told at once; what a restart within the grace costs is nothing."""
    with AgentProcess("[watchdog]\nrestart_grace_s = 1.0\n") as agent:
        bot = bots(agent)
        bot.end()
        (gone,) = wait_for(agent, "bot.gone")
        assert gone["how"] == "gone"
        assert not agent.events("bot.dead")
        wait_for(agent, "bot.dead")
        bots(agent)
        wait_for(agent, "bot.back")


def test_a_deploy_is_no_death(bots: Callable[..., Bot]) -> None:
    """After a goodbye nothing is late; one that is overdue counts as dead."""
    with AgentProcess("[watchdog]\nrestart_grace_s = 0.2\n") as agent:
        bot = bots(agent, "left", "1.5")
        wait_for(agent, "bot.goodbye")
        bot.end()
        (dead,) = wait_for(agent, "bot.dead")
        assert "back within 1.5 s" in dead["why"]
        assert not agent.events("bot.late")


def test_who_asks_after_a_goodbye_is_told_that_the_bot_left() -> None:
    """Without waiting for the agent's next tick, whenever between two of them the bot comes or goes."""
    with AgentProcess() as agent:
        socket = AgentPaths(agent.name, agent.runtime_dir / agent.name).control
        for number in range(40):
            name = f"bot{number}"
            with jackstay.Client(agent.name, runtime_dir=agent.runtime_dir, bot_id=name) as client:
                client.status()
                assert ask(socket, "watchdog")["bots"][name]["state"] == "well"
            assert ask(socket, "watchdog")["bots"][name]["state"] == "left"


def test_an_agent_that_comes_back_expects_the_bots_it_knew_and_stays_armed(bots: Callable[..., Bot]) -> None:
    """The bot is stopped, the agent is killed and started again: the new one notices the bot all the same."""
    with AgentProcess() as agent:
        bot = bots(agent)
        armed = run(agent, "arm", "--preset", "hedged", "--silence", "1s", "--why", "two legs", "--json")
        assert armed.returncode == 0, armed.stderr
        wait_until_kept(agent, "hedged")
        bot.signal(signal.SIGSTOP)
        agent.kill()
        agent.start()
        stalled = wait_for(agent, "bot.stalled")
        assert stalled[-1]["preset"] == "hedged"
        assert agent.status()["preset"] == "hedged"
        bot.signal(signal.SIGCONT)
        wait_for(agent, "bot.back")
        assert not agent.events("bot.takeover")


def test_a_hold_and_an_expected_restart_are_an_operators_word(bots: Callable[..., Bot]) -> None:
    """Both are recorded with the uid, bounded, and refused for a bot that is not there."""
    with AgentProcess() as agent:
        bot = bots(agent)
        assert run(agent, "bot", "hold", "b", "--for", "3h", "--why", "x").returncode == 1
        assert run(agent, "bot", "hold", "nobody", "--for", "1m", "--why", "x").returncode == 1
        assert run(agent, "bot", "hold", "b", "--for", "sometime", "--why", "x").returncode == 2
        held = run(agent, "bot", "hold", "b", "--for", "30m", "--why", "a breakpoint")
        assert held.returncode == 0, held.stderr
        wait_for(agent, "bot.held")
        bot.signal(signal.SIGSTOP)
        shown = run(agent, "watchdog")
        assert "s by uid " in shown.stdout
        assert run(agent, "bot", "release", "b").returncode == 0
        wait_for(agent, "bot.stalled")
        (word,) = agent.events("operator.bot_held")
        assert word["why"] == "a breakpoint"
        assert f"uid {os.getuid()}" in word["by"]
        assert run(agent, "bot", "release", "b").returncode == 1
        bot.signal(signal.SIGCONT)
        wait_for(agent, "bot.back")
        assert run(agent, "bot", "expect-restart", "b", "--within", "5m").returncode == 0
        before = len(agent.events("bot.late"))
        bot.end()
        wait_for(agent, "bot.gone")
        until = time.monotonic() + 1.2
        while time.monotonic() < until:
            time.sleep(0.05)  # that nothing comes can only be waited for
        assert len(agent.events("bot.late")) == before


def test_arming_shows_the_evidence_first(bots: Callable[..., Bot]) -> None:
    """A dry run changes nothing; an unknown preset is a usage error."""
    with AgentProcess() as agent:
        bots(agent)
        dry = json.loads(run(agent, "arm", "--preset", "hedged", "--dry-run", "--json").stdout)
        assert dry["armed"] is False
        assert "b" in dry["bots"]
        assert agent.status()["preset"] == "observe"
        assert run(agent, "arm", "--preset", "reckless").returncode == 2
        assert run(agent, "arm", "--preset", "hedged", "--silence", "0s").returncode == 1
