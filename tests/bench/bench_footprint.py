"""What an idle agent costs: memory, processor time, start to ready (DESIGN §8)."""

from __future__ import annotations

import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.figures import Row, arguments, finish
from harness import AgentProcess, compiled_env

SETTLES_S = 1.0
IDLE_S = 10.0


def processor_s(pid: int) -> float:
    """What its threads have used so far, to the nanosecond: `cpu_times` counts in hundredths of a second."""
    return sum(int(each.read_text().split()[0]) for each in Path(f"/proc/{pid}/task").glob("*/schedstat")) / 1e9


def main(argv: list[str] | None = None) -> list[Row]:
    options = arguments(argv)
    starts, memory, idle = [], [], []
    folder = Path(tempfile.mkdtemp(prefix="js-pyc-"))
    for number in range(options.rounds + 1):
        agent = AgentProcess()
        agent.more_env = compiled_env(folder)
        if not number:
            agent.start()  # compiles, as an installation does
            agent.stop()
            continue
        starts.append(agent.start() * 1000)
        time.sleep(SETTLES_S)
        before = processor_s(agent.pid)
        time.sleep(IDLE_S)  # the measurement is a stretch of idle time
        idle.append((processor_s(agent.pid) - before) / IDLE_S * 100)
        memory.append(agent.rss_mb())
        agent.stop()
    shutil.rmtree(folder)
    return finish(
        [
            {"bench": "footprint", "what": "start to ready, ms", "median": round(statistics.median(starts), 1)},
            {"bench": "footprint", "what": "idle RSS, MB", "median": round(statistics.median(memory), 1)},
            {"bench": "footprint", "what": "idle CPU, % of a core", "median": round(statistics.median(idle), 2)},
        ],
        options,
    )


if __name__ == "__main__":
    main()
