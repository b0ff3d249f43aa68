"""jackstay_agent.own_process in the agent's own process."""

from __future__ import annotations

import gc
import re

from harness import AgentProcess

PROGRAM = """
import atexit, gc, os, sys
from jackstay_agent.cli import main
def told():
    began = len(gc.get_objects())  # of all generations, without what is frozen
    os.write(2, f"frozen {gc.get_freeze_count()}, walked {began}, at {gc.get_threshold()}".encode())
atexit.register(told)
main()
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
