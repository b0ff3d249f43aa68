"""jackstay_agent.own_process in the agent's own process."""

from __future__ import annotations

import gc
import re
import subprocess
import sys

import pytest

from harness import AgentProcess, child_env

PROGRAM = """
import atexit, gc, os, sys
from jackstay_agent.cli import main
def told():
    began = len(gc.get_objects())  # of all generations, without what is frozen
    os.write(2, f"frozen {gc.get_freeze_count()}, walked {began}, at {gc.get_threshold()}".encode())
atexit.register(told)
main()
"""

GROWN_MB_MAX = 8.0
# Large ones that come in a row, each with something small and lasting behind it, as answers have it.
LARGE_AND_SMALL = """
import psutil
from jackstay_agent.own_process import starting
starting()
process = psutil.Process()
kept = []
before = process.memory_info().rss
for _ in range(4):
    large = [bytearray(b"x") * (12 << 20) for _ in range(3)]
    kept.append(bytearray(100_000))
    del large
print((process.memory_info().rss - before) / 1e6)
"""


def test_a_running_agents_modules_are_no_work_for_the_collector() -> None:
    """From the start on what an agent is made of is frozen; what comes later is collected as ever."""
    agent = AgentProcess()
    agent.program = ("-c", PROGRAM)
    with agent:
        agent.status()
        agent.stop()
        last_word = agent.log()
    found = re.search(r"frozen (\d+), walked (\d+)", last_word)
    assert found, "the program has its last word"
    frozen, walked = map(int, found.groups())
    assert frozen > 30_000
    assert walked < frozen / 3
    assert f"at {gc.get_threshold()}" in last_word  # full collections are back, as rare as Python wants them


@pytest.mark.skipif(sys.platform != "linux", reason="the allocator is glibc's")
def test_memory_of_large_answers_goes_back_to_the_system() -> None:
    """A few answers of many megabytes leave the process as it was."""
    done = subprocess.run(
        [sys.executable, "-c", LARGE_AND_SMALL], env=child_env(), capture_output=True, text=True, check=True
    )
    assert float(done.stdout) < GROWN_MB_MAX
