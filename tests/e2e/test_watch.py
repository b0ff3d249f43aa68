"""`jackstay watch` on a real terminal of two sizes, and where there is none."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator

import pytest

import jackstay
from e2e_bot import client_for, place, routed
from harness import AgentProcess, cli
from jackstay_agent.cli.fleet import Expected, look_at
from jackstay_agent.cli.watch_view import Look, screen
from jackstay_agent.sandbox import SandboxProcess
from jackstay_protocols.endpoints import AgentPaths
from terminal import Terminal

SHOWN = ("bots", "requests", "queue", "modes", "breakers", "connections", "limits", "latest errors")
WATCH = [sys.executable, "-m", "jackstay_agent.cli", "watch", "mybot", "--every", "0.2"]


@pytest.fixture(scope="module")
def agent(sandbox: SandboxProcess) -> Iterator[AgentProcess]:
    with AgentProcess(routed(sandbox.url), name="mybot") as running:
        yield running


@pytest.fixture(scope="module")
def client(agent: AgentProcess) -> Iterator[jackstay.Client]:
    with client_for(agent, bot_id="grid1") as made:
        made.idle(600)
        made.request("GET", "https://api.binance.com/api/v3/time")
        made.report_error(ValueError("a strategy's own trouble"), component="strategy", operation="tick")
        made.idle(600)
        yield made


def whole(lines: list[str]) -> bool:
    """Every section once, no rest of an older picture below."""
    text = "\n".join(lines)
    return all(text.count(title) >= 1 for title in SHOWN) and text.count("latest errors") == 1


@pytest.mark.usefixtures("client")
@pytest.mark.parametrize(("columns", "rows"), [(80, 24), (200, 60)])
def test_everything_is_on_the_screen(agent: AgentProcess, columns: int, rows: int) -> None:
    """Bot, modes, connections, breakers, queue, limits, latest errors: at 80x24 and at 200x60, nothing torn."""
    terminal = Terminal(WATCH, columns=columns, rows=rows, env=agent.env)
    try:
        lines = terminal.shows(whole)
        text = "\n".join(lines)
        assert lines[0].startswith("mybot  running")
        assert "grid1" in text
        assert "normal everywhere" in text
        assert "closed: api.binance.com" in text
        assert "https://api.binance.com" in text
        assert "weight_1m" in text
        assert "ValueError a strategy's own trouble" in text
        beside = [line for line in lines if line.startswith("bots") and "connections" in line]
        assert bool(beside) is (columns == 200)  # two columns where there is room for them
        terminal.press("q")
        assert terminal.ended() == 0
        assert b"\x1b[?1049h" in terminal.raw, "a screen of its own"
        assert b"\x1b[?1049l" in terminal.raw, "and the one before comes back"
    finally:
        terminal.close()


@pytest.mark.usefixtures("client")
def test_a_resize_is_drawn_and_an_agent_that_dies_and_returns_is_followed(agent: AgentProcess) -> None:
    """80x24 becomes 200x60 without a key; kill -9 is GONE with the last state; the next agent is seen by itself."""
    terminal = Terminal([*WATCH[:-1], "0.5"], columns=80, rows=24, env=agent.env)
    try:
        terminal.shows(whole)
        terminal.resize(200, 60)
        terminal.shows(lambda lines: any(line.startswith("bots") and "connections" in line for line in lines))
        killed = agent.pid
        agent.kill()
        lines = terminal.shows(lambda lines: lines[0].startswith("mybot  GONE") and "last seen" in lines[1])
        assert f"pid {killed}" in lines[1]
        agent.start()
        terminal.shows(lambda lines: lines[0].startswith("mybot  running"))
        terminal.press("q")
        assert terminal.ended() == 0
    finally:
        terminal.close()


def test_plain_when_piped(agent: AgentProcess) -> None:
    """No control codes, one picture a look, an end after --count; as JSON one object a look."""
    done = cli("watch", "mybot", "--every", "0.1", "--count", "2", runtime_dir=agent.runtime_dir)
    assert done.returncode == 0
    assert "\x1b" not in done.stdout
    assert done.stdout.count("mybot  running") == 2
    assert all(title in done.stdout for title in SHOWN)
    done = cli("watch", "mybot", "--every", "0.1", "--count", "2", "--json", runtime_dir=agent.runtime_dir)
    looks = [json.loads(line) for line in done.stdout.splitlines()]
    assert [each["agent"] for each in looks] == ["mybot", "mybot"]
    assert looks[1]["rates"]["requests"] == 0.0


def test_all_agents_of_the_host(agent: AgentProcess) -> None:
    """`--all watch` and `watch --all` are one picture of all of them."""
    for words in (("watch", "--all", "--count", "1"), ("--all", "watch", "--count", "1")):
        done = cli(*words, runtime_dir=agent.runtime_dir)
        assert done.stdout.startswith("1 agents, 0 do not answer")
        assert re.search(r"^mybot  (ok|LOOK)", done.stdout, re.MULTILINE)  # its bot may be late: it did not beat


def test_it_fits_every_size(agent: AgentProcess, sandbox: SandboxProcess) -> None:
    """No size makes it higher or wider than the terminal; what is left out is told or goes from the bottom."""
    with client_for(agent, bot_id="other") as bot:
        place(bot, sandbox, "w-1")
    seen = look_at(Expected("mybot", AgentPaths("mybot", agent.runtime_dir / "mybot"), ()))
    errors = [
        {
            "at": "2026-11-28T03:10:00",
            "severity": "high",
            "component": "c",
            "error_type": "E",
            "message": f"m{n}\n" * 40,
        }
        for n in range(200)
    ]
    view = Look(seen, errors=errors)
    for width in (20, 79, 80, 139, 140, 200, 400):
        for height in (1, 2, 5, 10, 24, 60, 300):
            rows = screen(view, width, height)
            assert len(rows) <= height
            assert all(sum(len(text) for _style, text in row) <= width for row in rows)
            assert all("\n" not in text for row in rows for _style, text in row)
    text = "\n".join(cell for row in screen(view, 80, 24) for _style, cell in row)
    assert "more)" in text


def test_nothing_that_draws_is_loaded_before_it_is_used() -> None:
    """Beyond what structlog loads by itself, the agent's process and the start of a command have nothing of rich."""
    script = (
        "import sys, structlog\n"
        "before = set(sys.modules)\n"
        "import jackstay_agent.cli, jackstay_agent.cli.run, jackstay_agent.app, jackstay_agent.last_seen\n"
        "import jackstay_agent.cli.status, jackstay_agent.cli.fan_out, jackstay_agent.cli.watch\n"
        "new = {name for name in set(sys.modules) - before if name.partition('.')[0] in ('rich', 'matplotlib')}\n"
        "assert not new, new"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
