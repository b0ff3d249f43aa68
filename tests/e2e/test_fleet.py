"""`jackstay --all`: several agents of one host as real processes, one of them dead, one frozen, one never started."""

from __future__ import annotations

import json
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from e2e_bot import client_for
from harness import AgentProcess, cli
from jackstay_agent.cli import main
from jackstay_agent.last_seen import EVERY_S, FILE
from jackstay_protocols.endpoints import AgentPaths, state_folder

Done = subprocess.CompletedProcess[str]


class Host:
    """A machine with agents of its own: runtime and config folder in one place."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.etc = folder / "etc"
        self.etc.mkdir()
        self.agents: dict[str, AgentProcess] = {}

    def start(self, name: str, config: str = "") -> AgentProcess:
        (self.etc / f"{name}.toml").write_text(config, encoding="utf-8")
        agent = self.agents[name] = AgentProcess(config, name=name, runtime_dir=self.folder)
        agent.start()
        return agent

    def run(self, *words: str) -> Done:
        return cli(*words, runtime_dir=self.folder, env={"JACKSTAY_CONFIG_DIR": str(self.etc)})


@pytest.fixture(scope="module")
def host() -> Iterator[Host]:
    """alpha is well, bravo was killed, charlie is frozen, delta is configured and was never started."""
    with tempfile.TemporaryDirectory(prefix="js-") as folder:
        one = Host(Path(folder))
        for name in ("alpha", "bravo", "charlie"):
            one.start(name)
        one.agents["bravo"].kill()
        one.agents["charlie"].signal(signal.SIGSTOP)
        (one.etc / "delta.toml").write_text("", encoding="utf-8")
        (one.etc / "defaults.toml").write_text("", encoding="utf-8")
        yield one
        for agent in one.agents.values():
            agent.stop()


def test_every_expected_agent_is_in_the_list(host: Host) -> None:
    """A dead one is GONE with its last known state, a frozen one unresponsive; the exit code is the worst: 3."""
    done = host.run("--all", "status", "--timeout", "0.5")
    assert done.returncode == 3
    lines = done.stdout.splitlines()
    assert lines[0].startswith("alpha    ok    running")
    assert lines[1].startswith("bravo    GONE")
    assert "last seen running" in lines[2]
    assert f"pid {host.agents['bravo'].pid}" in lines[2]
    assert lines[3].startswith("charlie  UNRESPONSIVE")
    assert "is stopped" in lines[3]
    assert lines[5].startswith("delta    GONE")
    assert lines[-1] == "4 agents, 1 up, 0 ask for attention, 3 do not answer"


def test_the_list_as_json(host: Host) -> None:
    """One object: each agent's presence, exit code, and status or last state."""
    done = host.run("--all", "status", "--json", "--timeout", "0.5")
    facts = json.loads(done.stdout)
    assert facts["exit"] == done.returncode == 3
    found = {name: (each["presence"], each["exit"]) for name, each in facts["agents"].items()}
    assert found == {"alpha": ("up", 0), "bravo": ("gone", 3), "charlie": ("unresponsive", 3), "delta": ("gone", 3)}
    assert facts["agents"]["alpha"]["healthy"] is True
    assert facts["agents"]["bravo"]["last"]["pid"] == host.agents["bravo"].pid
    assert facts["agents"]["delta"]["expected_by"] == [str(host.etc / "delta.toml")]


def test_a_looking_command_goes_on_past_the_dead(host: Host) -> None:
    """Every agent has its part, in text and in JSON."""
    done = host.run("--all", "orders", "unknown", "--json")
    facts = json.loads(done.stdout)
    assert done.returncode == facts["exit"] == 3
    assert facts["agents"]["alpha"] == {
        "presence": "up",
        "exit": 0,
        "answer": {"unknown": [], "total": 0},
        "error": "",
    }
    assert {name for name, each in facts["agents"].items() if each["exit"] == 3} == {"bravo", "charlie", "delta"}
    shown = host.run("--all", "orders", "unknown").stdout
    assert [line for line in shown.splitlines() if line.startswith("== ")] == [f"== {name}" for name in facts["agents"]]


def test_nothing_is_changed_while_one_does_not_answer(host: Host) -> None:
    """Exit 3 before the first change: a round that stops in the middle is worse than one that never began."""
    done = host.run("--all", "stop")
    assert done.returncode == 3
    assert "nothing was changed" in done.stderr
    assert host.agents["alpha"].status()["state"] == "running"


def test_what_no_agent_knows_is_not_called_absent_while_one_is_silent(host: Host) -> None:
    """`why` of an unknown id: 3, for a dead agent may know it."""
    done = host.run("--all", "why", "nobody")
    assert done.returncode == 3
    assert "bravo GONE" in done.stderr


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("status", "alpha"), "leave 'alpha' out"),
        (("orders", "unknown", "-a", "alpha"), "leave 'alpha' out"),
        (("run",), "not about one agent"),
        (("version",), "not about one agent"),
        (("sandbox", "ledger"), "not about one agent"),
        (("errors", "--follow"), "--follow"),
        (("breakers", "--json", "list"), "options of 'list' go after it"),
        (("nonsense",), "no such command"),
        ((), "a command is expected"),
    ],
)
def test_what_cannot_be_asked_of_all_is_a_usage_error(words: tuple[str, ...], says: str) -> None:
    """Exit 2, nothing asked, and the message says what to leave out."""
    done = CliRunner().invoke(main, ["--all", *words])
    assert done.exit_code == 2, done.output
    assert says in done.output


def test_no_agent_anywhere(tmp_path: Path) -> None:
    """Nothing expected is exit 3 too: an empty list is no good news."""
    done = cli("--all", "status", runtime_dir=tmp_path)
    assert done.returncode == 3
    assert "no agent is configured" in done.stderr


def test_a_changing_round_stops_at_the_first_that_refuses() -> None:
    """One by one: done, stopped, not taken; --keep-going goes on; what was stopped in order is not called dead."""
    with tempfile.TemporaryDirectory(prefix="js-") as folder:
        host = Host(Path(folder))
        for name in ("alpha", "bravo", "charlie"):
            host.start(name)
        try:
            with client_for(host.agents["bravo"], bot_id="grid2") as client:
                client.beat()
                # a bot is known to one agent: the command goes there without being told
                done = host.run("--all", "bot", "hold", "grid2", "--for", "1m", "--why", "look", "--json")
                facts = json.loads(done.stdout)
                assert list(facts["agents"]) == ["bravo"]
                assert done.returncode == 0
                assert host.run("--all", "bot", "release", "grid2").returncode == 0
            words = ("--all", "cancel", "--bot", "grid2", "--why", "x", "--yes", "--expect", "0")
            done = host.run(*words)
            assert done.returncode == 1
            assert "stopped at alpha; done: none; not taken: bravo, charlie" in done.stderr
            done = host.run("--all", "--keep-going", *words[1:])
            assert done.returncode == 1
            assert [line for line in done.stdout.splitlines() if line.startswith("== ")] == [
                "== alpha",
                "== bravo",
                "== charlie",
            ]
            done = host.run("--all", "stop", "--json")
            assert done.returncode == 0
            assert all(each["answer"]["stopping"] for each in json.loads(done.stdout)["agents"].values())
            for agent in host.agents.values():
                assert agent.process is not None
                assert agent.process.wait(15) == 0
            shown = host.run("--all", "status")
            assert shown.returncode == 3
            assert shown.stdout.count("STOPPED") == 3
            assert shown.stdout.count("stopped in order") == 3
        finally:
            for agent in host.agents.values():
                agent.stop()


def test_the_last_word_of_a_dead_agent_knows_the_bot_that_had_just_come() -> None:
    """It is written when a bot comes, not only every few seconds."""
    with AgentProcess(name="brief") as agent, client_for(agent, bot_id="late1") as client:
        client.status()
        word = state_folder(AgentPaths(agent.name, agent.runtime_dir / agent.name), agent.env) / FILE
        limit_at = time.monotonic() + EVERY_S / 2
        while "late1" not in word.read_text(encoding="utf-8"):
            assert time.monotonic() < limit_at, "the bot is not in the agent's last word"
            time.sleep(0.01)
        agent.kill()
        done = cli("--all", "status", runtime_dir=agent.runtime_dir)
        assert "bot late1 well" in done.stdout, done.stdout
