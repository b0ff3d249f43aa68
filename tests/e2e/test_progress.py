"""A long verification shows how far it is on a terminal, and nothing of it anywhere else."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from harness import child_env
from terminal import Terminal

SCRIPT = """
import time
from jackstay_agent.cli.progress import progress
with progress("verifying", 100) as more:
    for _ in range(20):
        time.sleep({pause})
        more(5)
print("result")
"""


def test_long_work_shows_a_bar_that_goes_away() -> None:
    """After half a second the bar is there; at the end only the result is."""
    terminal = Terminal([sys.executable, "-c", SCRIPT.format(pause=0.1)], columns=80, rows=24, env=child_env())
    try:
        terminal.shows(lambda lines: any("verifying" in line and "%" in line for line in lines))
        lines = terminal.shows(lambda lines: any(line.startswith("result") for line in lines))
        assert not any("verifying" in line for line in lines)
    finally:
        terminal.close()


def test_quick_work_and_pipes_stay_without_it(tmp_path: Path) -> None:
    """Nothing on stderr that a program would have to read past."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(pause=0.03)], capture_output=True, text=True, env=child_env(), check=True
    )
    assert (done.stdout, done.stderr) == ("result\n", "")


WAITS = """
import sys, time
from pathlib import Path
from jackstay_agent.cli.progress import waiting
with waiting("the venue is asked"):
    {until}
print("result")
"""


def test_what_is_waited_for_is_said_and_goes_away(tmp_path: Path) -> None:
    """An answer that takes longer than half a second: a word on the terminal meanwhile, only the result at the end."""
    script = WAITS.format(until=f"while not Path({str(tmp_path / 'go')!r}).exists(): time.sleep(0.02)")
    terminal = Terminal([sys.executable, "-c", script], columns=80, rows=24, env=child_env())
    try:
        terminal.shows(lambda lines: any("the venue is asked" in line for line in lines))
        (tmp_path / "go").touch()
        lines = terminal.shows(lambda lines: any(line.startswith("result") for line in lines))
        assert not any("is asked" in line for line in lines)
    finally:
        terminal.close()


def test_in_a_pipe_nobody_is_told_to_wait() -> None:
    """Whatever it takes."""
    script = WAITS.format(until="time.sleep(0.8)")
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=child_env(), check=True)
    assert (done.stdout, done.stderr) == ("result\n", "")
