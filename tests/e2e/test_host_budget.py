"""Four agents on one host with one budget, judged by the venue's ledger: never over it, nearly all of it, one dying."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from e2e_bot import HOST, client_for, routed
from harness import AgentProcess, cli
from jackstay_agent.sandbox import SandboxProcess
from jackstay_protocols.errors import TradingBotError

LIMIT, PER_S = 200, 1.5
ON_THE_WAY_S = 0.05  # between leaving an agent and the venue's clock, on a busy machine
PROFILE = f"""
name = "binance"
extends = "binance"
[budgets.weight_short]
limit = {LIMIT}
per_s = {PER_S}
reserved = 0.02 # what leaves within the window may arrive a moment closer together
"""


def config(folder: Path, sandbox: SandboxProcess, extra: str = "") -> str:
    (folder / "profiles").mkdir(exist_ok=True)
    (folder / "profiles" / "binance.toml").write_text(PROFILE, encoding="utf-8")
    return routed(
        sandbox.url,
        f'[agent]\nprofiles_dir = "{folder / "profiles"}"\n[budgets]\nshared = true\n{extra}'
        "[venues.binance.limits]\nweight_1m = 0\norders_10s = 0\n",
    )


class Greedy:
    """A bot that asks as often as its agent lets it."""

    def __init__(self, agent: AgentProcess, threads: int = 6) -> None:
        self.agent = agent
        self.asked = 0
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(threads)]
        for thread in self._threads:
            thread.start()

    def _ask(self) -> None:
        with client_for(self.agent) as client:
            while not self._stop.is_set():
                try:
                    client.request("GET", f"{HOST}/api/v3/time", deadline_s=2.0)
                    self.asked += 1
                except TradingBotError:
                    if self._stop.wait(0.01):
                        return

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(10)


@pytest.fixture
def agents(sandbox: SandboxProcess, tmp_path: Path) -> Iterator[list[AgentProcess]]:
    """Four of one host: they share a runtime folder, as they would share the system's."""
    with ExitStack() as stack:
        text = config(tmp_path, sandbox)
        first = stack.enter_context(AgentProcess(text, name="a0"))
        others = [
            stack.enter_context(AgentProcess(text, name=f"a{number}", runtime_dir=first.runtime_dir))
            for number in (1, 2, 3)
        ]
        yield [first, *others]


def most_in_a_window(times: list[float]) -> int:
    """As the venue saw it; agents answer for what they let go, not for how long it was on the way."""
    first, most = 0, 0
    for number, at in enumerate(times):
        while times[first] <= at - PER_S + ON_THE_WAY_S:
            first += 1
        most = max(most, number - first + 1)
    return most


def share_used(times: list[float], since: float, until: float) -> float:
    return len([at for at in times if since <= at < until]) / (LIMIT * (until - since) / PER_S)


@pytest.mark.serial
def test_four_agents_with_one_budget_never_exceed_it_and_reach_95_percent(
    sandbox: SandboxProcess, agents: list[AgentProcess]
) -> None:
    """Over three windows; then one is killed, its leases return by themselves, and three use what four did."""
    bots = [Greedy(each) for each in agents]
    time.sleep(4 * PER_S)  # the time that is measured
    agents[0].kill()
    killed = time.monotonic()
    time.sleep(3 * PER_S)
    for bot in bots:
        bot.stop()
    times = [row["at"] for row in sandbox.admin.ledger() if row["path"] == "/api/v3/time"]
    assert most_in_a_window(times) <= LIMIT
    # a greedy bot spends a window at its start, so stretches are measured from the middle of one to that of another
    four = share_used(times, times[0] + 0.5 * PER_S, times[0] + 3.5 * PER_S)
    after = times[0] + (int((killed - times[0]) / PER_S) + 0.5) * PER_S
    three = share_used(times, after, after + 2 * PER_S)
    print(f"four agents used {four:.3f} of the budget, three after a death {three:.3f}")
    assert four >= 0.95
    assert three >= 0.95
    each = [bot.asked for bot in bots[1:]]
    assert min(each) >= 0.4 * sum(each) / len(each), "nobody starves"


def test_an_agent_alone_shares_with_nobody_and_limits_says_so(sandbox: SandboxProcess, tmp_path: Path) -> None:
    """`jackstay limits` shows the book and what this agent spent; a book that cannot be used is a degraded mode."""
    book = tmp_path / "book" / "budgets.sqlite"
    text = config(tmp_path, sandbox, f'file = "{book}"\n')
    with AgentProcess(text) as agent, client_for(agent) as client:
        for _ in range(20):
            assert client.request("GET", f"{HOST}/api/v3/time").status == 200
        facts = json.loads(cli("limits", "--json", runtime_dir=agent.runtime_dir).stdout)
        assert facts["book"] == {"file": str(book), "degraded": None}
        (budget,) = facts["upstreams"][0]["budgets"]
        assert budget["shared"]
        assert 20 <= budget["used"] <= 21  # the agent's own look at the venue's status is one
        assert "host's book" in cli("limits", runtime_dir=agent.runtime_dir).stdout
        assert oct(book.stat().st_mode & 0o777) == "0o600"


def test_without_its_book_an_agent_goes_on_with_a_fair_part_and_says_so(
    sandbox: SandboxProcess, tmp_path: Path
) -> None:
    """The file is a folder: neither a standstill nor a stampede, an event, and a line in `limits`."""
    book = tmp_path / "book.sqlite"
    book.mkdir()
    text = config(tmp_path, sandbox, f'file = "{book}"\n')
    with AgentProcess(text) as agent, client_for(agent) as client:
        assert client.request("GET", f"{HOST}/api/v3/time").status == 200
        assert agent.events("budgets.degraded")
        assert "not usable" in cli("limits", runtime_dir=agent.runtime_dir).stdout


def test_a_relative_file_is_refused() -> None:
    """Agents start in different folders: it would be a book each."""
    from jackstay_agent.config import Config, ConfigError

    with pytest.raises(ConfigError, match="absolute path"):
        Config.from_toml('[budgets]\nfile = "book.sqlite"\n')
