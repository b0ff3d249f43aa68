"""An operator's command while the data plane is flooded: control.sock's answer times (DESIGN §8: p99 within 50 ms).

The flood is one client that sends beats as fast as its socket takes them; beside it the same without a flood.
"""

from __future__ import annotations

import sys
import time
from contextlib import nullcontext
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.figures import Row, arguments, finish, interleaved, latency_rows
from flood import flooded
from harness import AgentProcess
from jackstay_agent.control import ask
from jackstay_protocols.endpoints import ipc

SECONDS = 5.0


def asked(agent: AgentProcess, *, beside: bool) -> list[float]:
    folder = agent.runtime_dir / agent.name
    times = []
    with flooded(ipc(folder / "bot.sock")) if beside else nullcontext():
        until = time.monotonic() + SECONDS
        while time.monotonic() < until:
            began = time.perf_counter()
            ask(folder / "control.sock", "status", timeout_s=10)
            times.append(time.perf_counter() - began)
    return times


def main(argv: list[str] | None = None) -> list[Row]:
    options = arguments(argv)
    with AgentProcess() as agent:
        ways = {"quiet": lambda: asked(agent, beside=False), "flooded": lambda: asked(agent, beside=True)}
        runs = interleaved(ways, options.rounds)
    return finish(latency_rows("control.sock, status", runs, "quiet"), options)


if __name__ == "__main__":
    main()
