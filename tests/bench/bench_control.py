"""An operator's command while the data plane is flooded: control.sock's answer times (DESIGN §8: p99 within 50 ms).

The flood is one client that sends beats as fast as its socket takes them; beside it the same without a flood.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import time
from pathlib import Path
from typing import Any

import zmq

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.figures import Row, arguments, finish, interleaved, latency_rows
from harness import AgentProcess
from jackstay_agent.control import ask
from jackstay_protocols.codec import encode
from jackstay_protocols.endpoints import ipc
from jackstay_protocols.messages import Beat, Hello

SECONDS = 5.0


def flood(address: str, ready: Any) -> None:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    socket = context.socket(zmq.DEALER)
    socket.setsockopt(zmq.LINGER, 0)
    socket.connect(address)
    socket.send(encode(Hello("flood", "primary", os.getpid(), "0", 1, 1), id=1))
    socket.recv()
    ready.set()
    frame = encode(Beat(1), id=0)
    while True:
        try:
            for _ in range(100):
                socket.send(frame, zmq.NOBLOCK)
        except zmq.Again:
            socket.poll(1, zmq.POLLOUT)


def asked(agent: AgentProcess, *, flooded: bool) -> list[float]:
    folder = agent.runtime_dir / agent.name
    ready = multiprocessing.Event()
    process = multiprocessing.Process(target=flood, args=(ipc(folder / "bot.sock"), ready), daemon=True)
    if flooded:
        process.start()
        assert ready.wait(20), "the flood found no agent"
    times = []
    until = time.monotonic() + SECONDS
    while time.monotonic() < until:
        began = time.perf_counter()
        ask(folder / "control.sock", "status", timeout_s=10)
        times.append(time.perf_counter() - began)
    if flooded:
        process.kill()
        process.join()
    return times


def main(argv: list[str] | None = None) -> list[Row]:
    options = arguments(argv)
    with AgentProcess() as agent:
        ways = {"quiet": lambda: asked(agent, flooded=False), "flooded": lambda: asked(agent, flooded=True)}
        runs = interleaved(ways, options.rounds)
    return finish(latency_rows("control.sock, status", runs, "quiet"), options)


if __name__ == "__main__":
    main()
