"""kill -9 at random moments of the order flow: nothing doubled, nothing acknowledged lost, every outcome delivered."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

import jackstay
from harness import AgentProcess, child_env
from intended import ORDER, agent_for, by_name, sized
from jackstay_agent.sandbox import SandboxProcess

BOT = Path(__file__).resolve().parents[1] / "kill_bot.py"


class Bot:
    """A bot process; what each of its lives said is kept."""

    def __init__(self, agent: AgentProcess, folder: Path) -> None:
        self.agent = agent
        self.folder = folder
        self.life = 0
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.life += 1
        tests = str(BOT.parent)
        env = child_env()
        env["PYTHONPATH"] = os.pathsep.join((tests, env["PYTHONPATH"]))
        with (self.folder / f"life-{self.life}").open("wb") as said:
            self.process = subprocess.Popen(
                [sys.executable, str(BOT), "t", str(self.agent.runtime_dir), str(self.life)], stdout=said, env=env
            )

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait(10)

    def said(self) -> list[list[str]]:
        lines = []
        for path in sorted(self.folder.glob("life-*")):
            text = path.read_text()
            lines += [line.split() for line in text[: text.rfind("\n") + 1].splitlines()]
        return lines


def heard(bot: Bot) -> int:
    return len(bot.said())


def test_kills_double_nothing_and_lose_no_outcome(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """The agent is killed again and again, its bot now and then (stopped first, so that replies queue up before it),
    while a part of the replies is lost: the ledger has no order twice, and what was accepted ends, told as it is.
    """
    agent_kills, bot_kills = sized(200, 6), sized(50, 2)
    chance = random.Random(4)
    (tmp_path / "said").mkdir()
    with SandboxProcess(seed=14, quiet=True) as venue, agent_for(venue, tmp_path) as agent:
        venue.admin.fault("reset_after", route=f"POST {ORDER}", probability=0.03)
        venue.admin.fault("reset_before", route=f"POST {ORDER}", probability=0.03)
        bot = Bot(agent, tmp_path / "said")
        request.addfinalizer(bot.kill)
        bot.start()
        kills = ["agent"] * agent_kills + ["bot"] * bot_kills
        chance.shuffle(kills)
        for victim in kills:
            before = heard(bot)
            until = time.monotonic() + 20
            while heard(bot) < before + chance.randrange(1, 30):
                assert time.monotonic() < until, agent.log()[-3000:]
                time.sleep(0.005)  # the flow goes on; the kill comes at a moment of chance
            if victim == "agent":
                agent.kill()
                agent.start()
            else:
                assert bot.process is not None
                bot.process.send_signal(signal.SIGSTOP)
                time.sleep(0.05 * chance.random())
                bot.kill()
                bot.start()
        bot.kill()
        venue.admin.clear()
        late: dict[str, str] = {}
        told_twice: Counter[str] = Counter()
        with jackstay.Client("t", runtime_dir=agent.runtime_dir, bot_id="killed") as client:
            until = time.monotonic() + 60
            while True:
                for news in client.outcomes(0.5):
                    told_twice[news.id] += 1
                    late[news.id] = str(news.outcome)
                client.status()
                queue = agent.status()["queue"]
                if not sum(queue["open"].values()) and not sum(queue["uncollected"].values()):
                    break
                assert time.monotonic() < until, queue
        rows = by_name(venue.admin.ledger(path=ORDER, method="POST"))
        checks = venue.admin.checks()

    said = bot.said()
    intended = {words[1] for words in said if words[0] == "intends"}
    assert set(rows) <= intended
    assert {name: len(each) for name, each in rows.items() if len(each) > 1} == {}
    assert (checks["sent_twice"], checks["executed_twice"]) == ([], [])
    executed = {name for name, (row,) in rows.items() if row["executed"]}
    for _, name, outcome in (words for words in said if words[0] == "told"):
        if outcome != "unknown":
            assert (outcome == "ok") == (name in executed), (name, outcome)
    news = dict(late) | {words[1]: words[2] for words in said if words[0] == "late"}
    accepted = {words[2]: words[1] for words in said if words[0] == "accepted"}
    assert set(accepted) <= set(news), "an accepted one was never told"
    wrong = {name: news[intent] for intent, name in accepted.items() if (news[intent] == "ok") != (name in executed)}
    assert wrong == {}
    assert max(told_twice.values(), default=1) == 1, "once per life of a bot"
    print(f"\n{agent_kills} kills of the agent, {bot_kills} of the bot; {len(intended)} intended, {len(rows)} received")
    print(f"{len(accepted)} accepted, all told; {len(executed)} executed")
