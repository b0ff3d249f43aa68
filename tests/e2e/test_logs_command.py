"""`jackstay logs`: an agent's log from the file its stderr went to, or from the system journal."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import AgentProcess, child_env, cli


@pytest.fixture(scope="module")
def agent() -> Iterator[AgentProcess]:
    with AgentProcess(name="mybot") as running:
        yield running


def test_a_running_agents_log_is_found_by_itself(agent: AgentProcess) -> None:
    """Its lines for people, as JSON for programs, and only those that were asked for."""
    done = cli("logs", "mybot", runtime_dir=agent.runtime_dir)
    assert done.returncode == 0, done.stderr
    assert "info    agent.started agent=mybot" in done.stdout
    rows = [json.loads(line) for line in cli("logs", "--json", runtime_dir=agent.runtime_dir).stdout.splitlines()]
    assert {"agent.started"} <= {each["event"] for each in rows}
    only = cli("logs", "mybot", "--event", "agent.", "--json", runtime_dir=agent.runtime_dir).stdout.splitlines()
    assert [json.loads(line)["event"] for line in only] == ["agent.started"]
    assert cli("logs", "mybot", "--level", "error", runtime_dir=agent.runtime_dir).stdout == ""


def test_it_goes_on_with_what_comes(agent: AgentProcess) -> None:
    """--follow shows a line that is written after it began."""
    tail = subprocess.Popen(
        [sys.executable, "-m", "jackstay_agent.cli", "logs", "mybot", "-f", "-n", "1"],
        stdout=subprocess.PIPE,
        text=True,
        env=agent.env | {"PYTHONUNBUFFERED": "1"},
    )
    try:
        assert tail.stdout is not None
        assert tail.stdout.readline()
        cli("mode", "hold", "--all", "conservative", "--why", "test", runtime_dir=agent.runtime_dir)
        while "mode" not in tail.stdout.readline():
            pass
    finally:
        tail.send_signal(signal.SIGINT)
        tail.communicate(timeout=20)
    assert tail.returncode == 1


def test_a_dead_agents_log_is_found_too() -> None:
    """After kill -9, when it is wanted most."""
    with AgentProcess(name="gone") as agent:
        agent.kill()
        done = cli("logs", "gone", "--event", "agent.started", runtime_dir=agent.runtime_dir)
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("agent.started") == 1


def test_what_cannot_be_read_is_said(tmp_path: Path) -> None:
    """A log that went into a pipe is nobody else's to read: where it goes, and what to do."""
    folder = tmp_path / "r"
    (folder / "piped" / "state").mkdir(parents=True)
    (folder / "piped" / "control.sock").touch()
    last = {"at_us": 1, "state": "running", "pid": 1, "log": "pipe:[77]"}
    (folder / "piped" / "state" / "last_seen.json").write_text(json.dumps(last), encoding="utf-8")
    done = cli("logs", "piped", runtime_dir=folder)
    assert done.returncode == 1
    assert "goes to pipe:[77]" in done.stderr
    assert "jackstay audit export piped" in done.stderr


def test_lines_that_are_no_facts_stay_and_rotation_is_followed(tmp_path: Path) -> None:
    """A traceback between the facts is shown as it is; with --since or --event only facts are."""
    path = tmp_path / "old.log"
    path.write_text(
        '{"event": "a.b", "level": "warning", "timestamp": "2026-11-28T03:10:00.1Z", "n": 1}\n'
        "Traceback (most recent call last):\n"
        '{"event": "c.d", "level": "info", "timestamp": "2026-11-28T03:11:00Z"}\n',
        encoding="utf-8",
    )
    done = cli("logs", "--file", str(path))
    assert done.stdout.splitlines() == [
        "2026-11-28T03:10:00Z warning a.b n=1",
        "Traceback (most recent call last):",
        "2026-11-28T03:11:00Z info    c.d ",
    ]
    assert cli("logs", "--file", str(path), "--since", "2026-11-28T03:10:30").stdout.count("\n") == 1
    assert cli("logs", "--file", str(path), "-n", "1").stdout.startswith("2026-11-28T03:11:00Z")


def test_under_systemd_it_is_the_journals(tmp_path: Path) -> None:
    """journalctl is asked for the unit's lines, plain."""
    program = tmp_path / "bin" / "journalctl"
    program.parent.mkdir()
    fact = {"event": "agent.started", "level": "info", "timestamp": "2026-11-28T03:10:00Z"}
    program.write_text(f"#!/bin/sh\necho \"$@\" > {tmp_path}/asked\necho '{json.dumps(fact)}'\n", encoding="utf-8")
    program.chmod(0o755)
    state = tmp_path / "r" / "unit" / "state"
    state.mkdir(parents=True)
    (state.parent / "control.sock").touch()
    (state / "last_seen.json").write_text(json.dumps({"at_us": 1, "log": "socket:[5]"}), encoding="utf-8")
    path = f"{program.parent}{os.pathsep}{child_env()['PATH']}"
    done = cli("logs", "unit", "--since", "1h", runtime_dir=tmp_path / "r", env={"PATH": path})
    assert "agent.started" in done.stdout or done.returncode == 0, done.stderr
    assert "--unit=jackstay@unit.service" in (tmp_path / "asked").read_text(encoding="utf-8")
