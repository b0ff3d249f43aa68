"""What an idle agent costs: memory, processor time, start to ready (DESIGN §8)."""

from __future__ import annotations

import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.figures import Row, arguments, finish
from harness import AgentProcess, compiled_env

IDLE_S = 5.0


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
        process = psutil.Process(agent.pid)
        before = sum(process.cpu_times()[:2])
        time.sleep(IDLE_S)  # the measurement is a stretch of idle time
        idle.append((sum(process.cpu_times()[:2]) - before) / IDLE_S * 100)
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
