"""Another version takes over: looked at before, handed over under load, rolled back; old and new understand another."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from e2e_bot import RESOLVING, client_for, order_request, place, routed
from harness import AgentProcess, child_env, cli
from installations import earlier_source
from jackstay_agent.control import ask
from jackstay_agent.outbox.schema import SCHEMA_VERSION, kept_copy
from jackstay_agent.sandbox import SandboxProcess
from jackstay_protocols.errors import TradingBotError

ROOT = Path(__file__).resolve().parents[2]
#: An earlier state of this repository: before the agent's last word, handover and the lifeline.
EARLIER = "5ffd68e70af5fe07da74768c4c8822b0cdd6407e"

#: of the venue's own; one test needs them
LIMITS_OFF = "[venues.binance.limits]\nweight_1m = 0\norders_10s = 0\n"

pytestmark = pytest.mark.timeout(120)


def installation(source: Path, folder: Path, version: str = "") -> Path:
    """A `jackstay` that starts the code below ``source``, as a second environment would; it says ``version``."""
    folder.mkdir(parents=True, exist_ok=True)
    rooms = os.pathsep.join(str(source / room) for room in ("agent", "client", "protocols"))
    if version:
        facts = folder / f"jackstay-{version}.dist-info"
        facts.mkdir()
        (facts / "METADATA").write_text(f"Metadata-Version: 2.1\nName: jackstay\nVersion: {version}\n")
        rooms = f"{folder}{os.pathsep}{rooms}"
    program = folder / "jackstay"
    program.write_text(
        f'#!/bin/sh\nPYTHONPATH="{rooms}" exec "{sys.executable}" -m jackstay_agent.cli "$@"\n', encoding="utf-8"
    )
    program.chmod(0o755)
    return program


@pytest.fixture(scope="session")
def earlier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source of the earlier version; skips where its history is not here (a shallow clone, a release archive)."""
    return earlier_source(EARLIER, tmp_path_factory.mktemp("earlier"), "agent", "client", "protocols")


@pytest.fixture
def own_agent(sandbox: SandboxProcess) -> Iterator[AgentProcess]:
    with AgentProcess(routed(sandbox.url, RESOLVING + LIMITS_OFF)) as running:
        yield running


def run(program: Path, *args: str, agent: AgentProcess) -> subprocess.CompletedProcess[str]:
    env = child_env() | {"JACKSTAY_RUNTIME_DIR": str(agent.runtime_dir)}
    env.pop("PYTHONPATH")
    return subprocess.run([str(program), *args], capture_output=True, text=True, timeout=90, env=env, check=False)


def until(true: Callable[[], Any], what: str, limit_s: float = 30.0) -> None:
    end = time.monotonic() + limit_s
    while not true():
        assert time.monotonic() < end, what
        time.sleep(0.02)


def config_of(agent: AgentProcess) -> tuple[str, str]:
    return "--config", str(agent.config_path)


class Trading:
    """A thread that places orders one after the other and keeps what became of each."""

    def __init__(self, agent: AgentProcess, sandbox: SandboxProcess, prefix: str) -> None:
        self.agent, self.sandbox, self.prefix = agent, sandbox, prefix
        self.placed: list[str] = []
        self.errors: list[str] = []
        self.longest_s = 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Trading:
        self._thread.start()
        self.wait_for(20)
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def wait_for(self, more: int) -> None:
        until, since = time.monotonic() + 30, len(self.placed)
        while len(self.placed) < since + more:
            assert time.monotonic() < until, (self.errors[:3], self.agent.log()[-2000:])
            time.sleep(0.01)

    def _run(self) -> None:
        with client_for(self.agent, bot_id="trader") as client:
            number = 0
            while not self._stop.is_set():
                name, number, began = f"{self.prefix}{number}", number + 1, time.monotonic()
                try:
                    if place(client, self.sandbox, name, deadline_s=30).status == 200:
                        self.placed.append(name)
                except TradingBotError as error:
                    self.errors.append(f"{name}: {error}")
                self.longest_s = max(self.longest_s, time.monotonic() - began)

    def judge(self) -> None:
        """Every call was answered, and the venue has each order once."""
        assert not self.errors, self.errors[:3]
        rows = self.sandbox.admin.ledger(method="POST", path="/api/v3/order")
        taken = [row["client_order_id"] for row in rows if row["status"] == 200]
        accepted = [name for name in taken if name.startswith(self.prefix)]
        assert sorted(accepted) == sorted(self.placed)


def test_the_new_version_is_asked_before_anything_is_touched(
    sandbox: SandboxProcess, own_agent: AgentProcess, tmp_path: Path
) -> None:
    """`upgrade --check` of another installation: configuration, journal and wire are looked at, the agent lives on."""
    new = installation(ROOT, tmp_path / "new", "9.9.9")
    left = own_agent.runtime_dir / own_agent.name / "state" / "upgrade-check.sqlite-wal"
    left.write_bytes(b"of a check that was killed")
    with client_for(own_agent) as client:
        assert place(client, sandbox, "checked").status == 200
        done = run(new, "upgrade", own_agent.name, "--check", "--json", *config_of(own_agent), agent=own_agent)
    told = json.loads(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
    assert told["version"] == "9.9.9"
    assert [each["name"] for each in told["checks"]] == ["configuration", "wire", "journal"]
    assert "1 rows read" in told["checks"][2]["what"]
    assert own_agent.status()["requests"]["ok"] >= 1
    assert not list(own_agent.runtime_dir.rglob("upgrade-check*")), "the copy is gone"


def test_a_version_that_cannot_take_over_says_why(own_agent: AgentProcess, tmp_path: Path) -> None:
    """A configuration that it does not understand: exit code 1 and the line; a handover to it changes nothing."""
    good = own_agent.config_path.read_text()
    new = installation(ROOT, tmp_path / "new", "9.9.9")
    own_agent.config_path.write_text(good + "\n[agent]\nlog_levle = 'info'\n")
    done = run(new, "upgrade", own_agent.name, "--check", *config_of(own_agent), agent=own_agent)
    assert done.returncode == 1
    assert "did you mean 'log_level'" in done.stdout
    handed = run(new, "handover", own_agent.name, agent=own_agent)
    assert handed.returncode == 1
    assert "could not take over, nothing was changed" in handed.stderr
    own_agent.config_path.write_text(good)
    for what, said in programs_that_are_none(tmp_path).items():
        refused = run(new, "handover", own_agent.name, "--to", str(what), agent=own_agent)
        assert (refused.returncode, said in refused.stderr) == (1, True), refused.stderr
    slow = tmp_path / "slow"
    slow.write_text(f"#!/bin/sh\ntouch {tmp_path}/asked\nwhile [ ! -e {tmp_path}/go ]; do sleep 0.05; done\nexit 7\n")
    slow.chmod(0o755)
    with ThreadPoolExecutor(1) as threads:
        first = threads.submit(run, new, "handover", own_agent.name, "--to", str(slow), agent=own_agent)
        until((tmp_path / "asked").exists, "the first is being looked at")
        second = run(new, "handover", own_agent.name, agent=own_agent)
        (tmp_path / "go").touch()
        assert f"a handover to {slow} is under way" in second.stderr
        assert "exit code 7" in first.result().stderr
    assert own_agent.status()["version"] != "9.9.9"


def test_a_handover_between_two_installations_costs_a_trading_bot_a_pause(
    sandbox: SandboxProcess, own_agent: AgentProcess, tmp_path: Path
) -> None:
    """There and back under orders: the same process id, another version, no call lost, none sent twice."""
    new = installation(ROOT, tmp_path / "new", "9.9.9")
    old = installation(ROOT, tmp_path / "old", "1.1.1")
    pid = own_agent.pid
    with Trading(own_agent, sandbox, "hand") as bot:
        for program, version in ((new, "9.9.9"), (old, "1.1.1")):
            done = run(program, "handover", own_agent.name, "--to", str(program), "--json", agent=own_agent)
            told = json.loads(done.stdout) if done.returncode == 0 else {}
            assert told.get("version") == version, done.stdout + done.stderr + own_agent.log()[-2000:]
            print(f"handover to {version}: {told['gap_ms']} ms")
            bot.wait_for(20)
            status = own_agent.status()
            assert (status["version"], status["pid"]) == (version, pid)
    print(f"longest call {bot.longest_s * 1000:.0f} ms, {len(bot.placed)} orders")
    bot.judge()


def test_a_stop_that_is_asked_for_meanwhile_is_a_stop(
    sandbox: SandboxProcess, own_agent: AgentProcess, tmp_path: Path
) -> None:
    """SIGTERM while it drains for a handover: what is under way is seen through, and no other program begins."""
    new = installation(ROOT, tmp_path / "new", "9.9.9")
    sandbox.admin.fault("latency", route="GET /api/v3/time", count=1, ms=4000)
    with ThreadPoolExecutor(2) as threads, client_for(own_agent) as client:
        slow = threads.submit(client.request, "GET", "https://api.binance.com/api/v3/time", deadline_s=20)
        until(lambda: own_agent.status()["in_flight"] == 1, "the slow request is under way")
        handing = threads.submit(run, new, "handover", own_agent.name, agent=own_agent)
        own_agent.event("operator.handover", within_s=30)
        assert own_agent.process is not None
        own_agent.process.send_signal(signal.SIGTERM)
        assert own_agent.process.wait(30) == 0
        assert slow.result().status == 200
        assert not own_agent.events("agent.took_over")
        own_agent.start()  # whatever starts it now is what the unit names
        assert own_agent.status()["version"] != "9.9.9"
        assert "ended before it became another version" in handing.result().stderr


@pytest.mark.soak
def test_what_waits_for_the_budget_waits_for_the_next_version(sandbox: SandboxProcess, tmp_path: Path) -> None:
    """More orders than ten seconds allow: those that wait have not left, hold up no drain, and are sent by the next."""
    new = installation(ROOT, tmp_path / "new", "9.9.9")
    with AgentProcess(routed(sandbox.url, RESOLVING)) as agent, Trading(agent, sandbox, "wait") as bot:
        until = time.monotonic() + 30
        while not agent.status()["requests"]["waited"]:
            assert time.monotonic() < until
        done = run(new, "handover", agent.name, "--to", str(new), "--json", agent=agent)
        assert done.returncode == 0, done.stderr
        assert not agent.events("agent.stop_timeout")
        bot.wait_for(5)
    bot.judge()


@pytest.mark.soak
def test_a_program_that_cannot_start_gives_the_place_back(own_agent: AgentProcess, tmp_path: Path) -> None:
    """It passed its check and is gone when it is executed: the old version runs again."""
    new = installation(ROOT, tmp_path / "new", "9.9.9")
    text = new.read_text()
    new.write_text(text.replace("exec ", '[ "$1" = upgrade ] && rm -f "$0"; exec '))
    done = run(
        installation(ROOT, tmp_path / "other"), "handover", own_agent.name, "--to", str(new), "--json", agent=own_agent
    )
    assert done.returncode == 0, done.stderr
    assert own_agent.status()["version"] == json.loads(done.stdout)["from_version"]
    assert "starting the old version again" in own_agent.log()


@pytest.mark.parametrize("agent_is", ["old", "new"])
@pytest.mark.parametrize("client_is", ["old", "new"])
def test_old_and_new_speak_to_each_other(
    sandbox: SandboxProcess, earlier: Path, tmp_path: Path, client_is: str, agent_is: str
) -> None:
    """All four pairs of client and agent: an order and a question are answered, a restart is survived."""
    sources = {"old": earlier, "new": ROOT}
    with VersionedAgent(sources[agent_is], routed(sandbox.url)) as agent:
        name = f"{client_is}-{agent_is}"
        bot = OneShot(sources[client_is], agent)
        assert bot.place(f"{name}-1") == [200]
        agent.stop()
        agent.start()
        assert bot.place(f"{name}-2", f"{name}-3") == [200, 200]
    rows = sandbox.admin.ledger(method="POST", path="/api/v3/order")
    assert [row["client_order_id"] for row in rows] == [f"{name}-{number}" for number in (1, 2, 3)]


def test_an_upgrade_from_the_earlier_version_by_restart(
    sandbox: SandboxProcess, earlier: Path, own_agent: AgentProcess
) -> None:
    """It knows no handover and says so; a restart leads its journal on, and back again: what it knew is known."""
    own_agent.stop()
    own_agent.source = earlier
    own_agent.start()
    with client_for(own_agent) as client:
        assert place(client, sandbox, "before").status == 200
    done = cli("handover", own_agent.name, runtime_dir=own_agent.runtime_dir)
    assert done.returncode == 1
    assert "systemctl restart" in done.stderr
    checked = cli("upgrade", own_agent.name, "--check", *config_of(own_agent), runtime_dir=own_agent.runtime_dir)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    for source in (None, earlier):
        own_agent.stop()
        own_agent.source = source
        own_agent.start()
        why = ask(own_agent.runtime_dir / own_agent.name / "control.sock", "why", {"id": "before"})
        assert json.dumps(why).count("before")
        with client_for(own_agent) as client:
            assert place(client, sandbox, f"after-{source is None}").status == 200


def programs_that_are_none(folder: Path) -> dict[Path, str]:
    """What `--to` is given by mistake, and what is said of it."""
    (folder / "folder").mkdir()
    texts = {
        "dangling": ("#!/no/such/interpreter\n", "cannot be executed: No such file or directory"),
        "silent": ("#!/bin/sh\nexit 7\n", "exit code 7"),
        "chatty": ("#!/bin/sh\necho '[1]'\necho 'no such command' >&2\n", "no such command"),
        "odd": ('#!/bin/sh\necho \'{"ok": 1, "checks": [3]}\'\n', "it does not say why"),
    }
    for name, (text, _said) in texts.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    said = {folder / name: words for name, (_text, words) in texts.items()}
    return said | dict.fromkeys((folder / "none", folder / "folder"), "cannot be executed from here")


# ---------------------------------------------------------------- rollback


def schema_1(path: Path) -> None:
    """The journal as a version before the step to schema 2 left it."""
    with closing(sqlite3.connect(path, isolation_level=None)) as conn:
        conn.execute("PRAGMA journal_mode=DELETE")
        conn.execute("ALTER TABLE intents DROP COLUMN attempts")
        conn.execute("PRAGMA user_version=1")


def test_a_rollback_forgets_nothing(sandbox: SandboxProcess, own_agent: AgentProcess) -> None:
    """A schema step keeps a copy; the rollback pours today's rows into it and sets today's file aside."""
    state = own_agent.runtime_dir / own_agent.name / "state"
    journal = state / "outbox.sqlite"
    with client_for(own_agent) as client:
        assert place(client, sandbox, "first").status == 200
    own_agent.stop()
    schema_1(journal)
    own_agent.start()  # the step to today's schema
    assert kept_copy(journal, 1).stat().st_mode & 0o777 == 0o600
    with client_for(own_agent) as client:
        assert place(client, sandbox, "second").status == 200
    refused = cli("rollback", own_agent.name, "--yes", runtime_dir=own_agent.runtime_dir)
    assert refused.returncode == 1, "an agent runs"
    assert "already runs" in refused.stderr
    own_agent.kill()  # what it had in its WAL comes along too
    shown = cli("rollback", own_agent.name, "--dry-run", "--json", runtime_dir=own_agent.runtime_dir)
    plan = json.loads(shown.stdout)
    assert (plan["schema"], plan["to_schema"], plan["rows"], plan["done"]) == (SCHEMA_VERSION, 1, 2, False)
    wrong = cli("rollback", own_agent.name, "--yes", "--expect", "7", runtime_dir=own_agent.runtime_dir)
    assert wrong.returncode == 1
    done = cli("rollback", own_agent.name, "--yes", "--expect", "2", "--json", runtime_dir=own_agent.runtime_dir)
    told = json.loads(done.stdout)
    assert told["done"], done.stderr
    assert Path(told["set_aside"]).exists()
    with closing(sqlite3.connect(journal)) as conn:
        assert conn.execute("PRAGMA user_version").fetchone()[0] == 1
        columns = {row[1] for row in conn.execute("PRAGMA table_info(intents)")}
        assert "attempts" not in columns
        assert conn.execute("SELECT count(*) FROM intents").fetchone()[0] == 2
    own_agent.start()  # upwards again: every row is sound
    why = ask(own_agent.runtime_dir / own_agent.name / "control.sock", "why", {"id": "second"})
    assert json.dumps(why).count("second")
    assert not own_agent.events("outbox.row_damaged")


def test_without_a_schema_step_there_is_nothing_to_roll_back(own_agent: AgentProcess) -> None:
    """It says that the earlier version can be started as it is."""
    own_agent.stop()
    done = cli("rollback", own_agent.name, "--yes", runtime_dir=own_agent.runtime_dir)
    assert done.returncode == 1
    assert "the schema did not change" in done.stderr


# ---------------------------------------------------------------- other versions as processes


class VersionedAgent(AgentProcess):
    def __init__(self, source: Path, config: str) -> None:
        super().__init__(config)
        self.source = source


class OneShot:
    """A bot of some version's client: places orders, prints the statuses, ends."""

    CODE = (
        "import json, sys, jackstay\n"
        "with jackstay.Client(bot_id='pair') as client:\n"
        "    for method, url, headers, body in json.loads(sys.stdin.read()):\n"
        "        headers = [tuple(each) for each in headers]\n"
        "        print(client.request(method, url, headers=headers, body=body, deadline_s=10).status)\n"
    )

    def __init__(self, source: Path, agent: AgentProcess) -> None:
        rooms = os.pathsep.join(str(source / room) for room in ("client", "protocols"))
        self.env = agent.env | {"PYTHONPATH": rooms}

    def place(self, *names: str) -> list[int]:
        asked: list[Any] = []
        for name in names:
            method, url, headers, body = order_request(name)
            asked.append((method, url, headers, body.decode()))
        done = subprocess.run(
            [sys.executable, "-c", self.CODE],
            input=json.dumps(asked),
            capture_output=True,
            text=True,
            timeout=60,
            env=self.env,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return [int(line) for line in done.stdout.split()]
