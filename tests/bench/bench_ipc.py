"""IPC echo through the agent against bare pyzmq ROUTER/DEALER ping-pong with the same frames (DESIGN §8 row 1).

The echo is a beat that asks for an answer: door, codec, session and reply, no venue.
"""

from __future__ import annotations

import multiprocessing
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import zmq

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.figures import Row, arguments, finish, interleaved, latency_rows
from harness import AgentProcess
from jackstay_protocols.codec import decode, encode
from jackstay_protocols.endpoints import ipc
from jackstay_protocols.limits import TO_CLIENT_FRAME_BYTES_MAX
from jackstay_protocols.messages import TO_CLIENT, Beat, Hello, Welcome

REQUEST = encode(Beat(1), id=7)


def bare_server(address: str, reply: bytes) -> None:
    """What the prototype measured: a blocking ROUTER that answers at once."""
    socket = zmq.Context().socket(zmq.ROUTER)
    socket.bind(address)
    while True:
        identity, _frame = socket.recv_multipart()
        socket.send_multipart([identity, reply])


def bare_loop_server(address: str, reply: bytes) -> None:
    """The same on a uvloop reader of the socket's descriptor, as any asyncio agent has to do it."""
    import asyncio

    import uvloop

    async def serve() -> None:
        socket = zmq.Context().socket(zmq.ROUTER)
        socket.bind(address)

        def drain() -> None:
            while True:
                try:
                    identity, _frame = socket.recv_multipart(zmq.NOBLOCK)
                except zmq.Again:
                    return
                socket.send_multipart([identity, reply])

        asyncio.get_running_loop().add_reader(socket.getsockopt(zmq.FD), drain)
        await asyncio.Event().wait()

    uvloop.run(serve())


def ping_pong(address: str, calls: int, hello: bool) -> list[float]:
    context: Any = zmq.Context()
    socket = context.socket(zmq.DEALER)
    socket.setsockopt(zmq.LINGER, 0)
    socket.connect(address)
    if hello:
        socket.send(encode(Hello("bench", "primary", multiprocessing.current_process().pid or 1, "0", 1, 1), id=1))
        assert isinstance(decode(socket.recv(), TO_CLIENT, bytes_max=TO_CLIENT_FRAME_BYTES_MAX)[1], Welcome)
    times = []
    for number in range(calls + calls // 10):
        began = time.perf_counter()
        socket.send(REQUEST)
        socket.recv()
        if number >= calls // 10:
            times.append(time.perf_counter() - began)
    socket.close(0)
    context.term()
    return times


def main(argv: list[str] | None = None) -> list[Row]:
    options = arguments(argv)
    with tempfile.TemporaryDirectory(prefix="js-") as folder, AgentProcess(runtime_dir=Path(folder)) as agent:
        servers = []
        reply = encode(Beat(1), id=7)
        for name, target in (("block", bare_server), ("loop", bare_loop_server)):
            server = multiprocessing.get_context("spawn").Process(
                target=target, args=(f"ipc://{folder}/{name}.sock", reply), daemon=True
            )
            server.start()
            servers.append(server)
        try:
            runs = interleaved(
                {
                    "bare pyzmq": lambda: ping_pong(f"ipc://{folder}/block.sock", options.calls, False),
                    "bare pyzmq on uvloop": lambda: ping_pong(f"ipc://{folder}/loop.sock", options.calls, False),
                    "through the agent": lambda: ping_pong(
                        ipc(agent.runtime_dir / agent.name / "bot.sock"), options.calls, True
                    ),
                },
                options.rounds,
            )
        finally:
            for server in servers:
                server.kill()
                server.join()
    return finish(latency_rows("ipc echo", runs, "bare pyzmq"), options)


if __name__ == "__main__":
    main()
