"""jackstay_agent.own_process in the agent's own process."""

from __future__ import annotations

import gc
import re
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

import jackstay
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
ARENA_BYTES = 64 << 20  # HEAP_MAX_SIZE of glibc's arena.c: what is not used yet is mapped without access
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


@pytest.mark.skipif(sys.platform != "linux", reason="the allocator is glibc's")
def test_all_threads_share_one_arena() -> None:
    """None of the agent's threads has memory of its own that it would keep: glibc reserves 64 MB for each arena."""
    with AgentProcess() as agent, jackstay.Client(agent.name, runtime_dir=agent.runtime_dir, bot_id="b") as client:
        client.status()
        assert psutil.Process(agent.pid).num_threads() > 2
        maps = Path(f"/proc/{agent.pid}/maps").read_text(encoding="ascii").splitlines()
        spans = [[int(end, 16) for end in line.split()[0].split("-")] for line in maps if " ---p " in line]
    assert not [begin for begin, end in spans if end - begin > ARENA_BYTES // 2 and end % ARENA_BYTES == 0]
