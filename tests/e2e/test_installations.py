"""Two versions as pip installs them, each in a virtual environment of its own: looked at, handed over, gone back.

`make restarts` runs these; what they show in seconds with the checkout alone is in test_upgrade.py.
"""

from __future__ import annotations

import json
import os
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e_bot import RESOLVING, order_request, routed
from harness import AgentProcess, child_env
from installations import NEW, OLD, installed, wheels
from jackstay_agent.sandbox import SandboxProcess

pytestmark = [pytest.mark.soak, pytest.mark.timeout(600)]

LIMITS_OFF = "[venues.binance.limits]\nweight_1m = 0\norders_10s = 0\n"
BOT = """
import json, sys, jackstay
with jackstay.Client(bot_id="pair") as client:
    for line in sys.stdin:
        name, waits, method, url, headers, body = json.loads(line)
        headers = [tuple(each) for each in headers]
        if waits:
            status = client.request(method, url, headers=headers, body=body, deadline_s=30).status
        else:
            posted = client.post(method, url, headers=headers, body=body, ttl_s=30, deadline_s=30)
            status = client.outcome(posted, timeout_s=30).status
        print(json.dumps([name, status]), flush=True)
"""


@pytest.fixture(scope="module")
def environments(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """OLD and NEW, each in its own virtual environment."""
    folder = tmp_path_factory.mktemp("installations")
    found = wheels(folder)
    return {version: installed(folder / version, version, found) for version in (OLD, NEW)}


def alone() -> dict[str, str]:
    """Nothing of this checkout on the path."""
    return child_env() | {"PYTHONPATH": ""}


@pytest.fixture
def versioned(sandbox: SandboxProcess) -> Iterator[AgentProcess]:
    """Not started; nothing of this checkout is on its path."""
    sandbox.admin.reset()
    ways = f'"ws-api.binance.com" = "{sandbox.url}"\n"ws-api.binance.com:443" = "{sandbox.url}"\n'
    made = AgentProcess(routed(sandbox.url, ways + RESOLVING + LIMITS_OFF))
    made.more_env = {"PYTHONPATH": ""}
    yield made
    made.__exit__(None, None, None)


class Bot:
    """A process of some version's client that does one order after the other, and hears what became of it."""

    def __init__(self, environment: Path, agent: AgentProcess, prefix: str) -> None:
        env = alone() | {"JACKSTAY_AGENT": agent.name, "JACKSTAY_RUNTIME_DIR": str(agent.runtime_dir)}
        command = [str(environment / "bin" / "python"), "-c", BOT]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env)
        self.prefix = prefix
        self.done: list[str] = []
        self.wrong: list[object] = []

    def __enter__(self) -> Bot:
        return self

    def __exit__(self, *_: object) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.wait(60)
        self.process.stdout.close()

    def one(self) -> None:
        """Every other order is posted, and its outcome comes later."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        number = len(self.done) + len(self.wrong)
        name = f"{self.prefix}{number}"
        method, url, headers, body = order_request(name)
        words = [name, number % 2 == 0, method, url, headers, body.decode()]
        self.process.stdin.write(json.dumps(words, default=str) + "\n")
        self.process.stdin.flush()
        told = json.loads(self.process.stdout.readline() or '["", "the bot ended"]')
        self.done.append(name) if told == [name, 200] else self.wrong.append(told)

    def judge(self, sandbox: SandboxProcess) -> None:
        """Each order has its outcome, and the venue has each once."""
        assert not self.wrong, self.wrong[:3]
        rows = sandbox.admin.ledger(method="POST", path="/api/v3/order")
        assert sorted(row["client_order_id"] for row in rows if row["status"] == 200) == sorted(self.done)


def jackstay(environment: Path, *words: str, agent: AgentProcess) -> dict[str, object]:
    done = subprocess.run(
        [str(environment / "bin" / "jackstay"), *words, "--json"],
        capture_output=True,
        text=True,
        timeout=120,
        env=alone() | {"JACKSTAY_RUNTIME_DIR": str(agent.runtime_dir)},
        check=False,
    )
    looked = (0, 1) if words[0] == "status" else (0,)  # 1: something asks for attention
    assert done.returncode in looked, f"{done.stdout}{done.stderr}\n{agent.log()[-3000:]}"
    return dict(json.loads(done.stdout))


@pytest.mark.parametrize("client_is", [OLD, NEW])
@pytest.mark.parametrize("agent_is", [OLD, NEW])
def test_all_four_pairs_do_orders_and_hear_their_outcomes(
    environments: dict[str, Path], versioned: AgentProcess, sandbox: SandboxProcess, agent_is: str, client_is: str
) -> None:
    """Requests and posts of one version through the agent of the other, over a restart in between."""
    versioned.python = str(environments[agent_is] / "bin" / "python")
    versioned.start()
    assert jackstay(environments[agent_is], "status", agent=versioned)["version"] == agent_is
    with Bot(environments[client_is], versioned, "p") as bot:
        for _ in range(10):
            bot.one()
        versioned.stop()
        versioned.start()
        for _ in range(10):
            bot.one()
    bot.judge(sandbox)


@pytest.mark.parametrize("client_is", [OLD, NEW])
def test_an_agent_is_handed_from_one_installation_to_the_other_and_back(
    environments: dict[str, Path], versioned: AgentProcess, sandbox: SandboxProcess, client_is: str
) -> None:
    """`upgrade --check`, handover, and back again under orders: the same process, nothing lost, nothing twice."""
    versioned.python = str(environments[OLD] / "bin" / "python")
    versioned.start()
    told = jackstay(
        environments[NEW], "upgrade", versioned.name, "--check", "--config", str(versioned.config_path), agent=versioned
    )
    assert (told["ok"], told["version"]) == (True, NEW)
    over = threading.Event()
    with Bot(environments[client_is], versioned, "h") as bot:

        def trade() -> None:
            while not over.is_set() and not bot.wrong:
                bot.one()

        trading = threading.Thread(target=trade)
        trading.start()
        try:
            for version in (NEW, OLD, NEW):
                since = len(bot.done)
                gone = jackstay(environments[version], "handover", versioned.name, agent=versioned)
                status = jackstay(environments[version], "status", agent=versioned)
                assert (status["version"], status["pid"]) == (version, versioned.pid)
                while len(bot.done) < since + 20:
                    assert not bot.wrong, bot.wrong
                    over.wait(0.02)
                print(f"\nclient {client_is}: handed over to {version}, {gone['gap_ms']} ms without an agent", end="")
        finally:
            over.set()
            trading.join()
    bot.judge(sandbox)
    why = jackstay(environments[NEW], "why", bot.done[0], agent=versioned)
    assert bot.done[0] in json.dumps(why), "an order of the first version is known to the last"


def test_a_restart_under_the_other_version_goes_on_with_the_journal(
    environments: dict[str, Path], versioned: AgentProcess, sandbox: SandboxProcess
) -> None:
    """kill -9 between versions, there and back: each knows what the earlier one journaled."""
    with Bot(environments[NEW], versioned, "r") as bot:
        for version in (OLD, NEW, OLD):
            versioned.python = str(environments[version] / "bin" / "python")
            versioned.start()
            bot.one()
            why = jackstay(environments[version], "why", bot.done[0], agent=versioned)
            assert bot.done[0] in json.dumps(why)
            versioned.kill()
    bot.judge(sandbox)
    assert os.path.exists(versioned.runtime_dir / versioned.name / "state" / "outbox.sqlite")
