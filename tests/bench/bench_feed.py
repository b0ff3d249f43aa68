"""Market data, side by side: exchange socket -> agent -> feed.sock -> reader, against sockets held by the bot itself.

    python tests/bench/bench_feed.py [--messages N] [--rounds N] [--symbols N] [--rate N] [--json FILE]

Exchange, agent and bot are processes of their own. Rounds are interleaved, so that a noisy minute hits all alike. The
bot's work per message is the same everywhere: take it, count it. CPU is the bot process's own (user and system).
``--rate`` offers messages at a fixed rate instead of as fast as the socket takes them.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing as mp
import os
import random
import statistics
import struct
import sys
import tempfile
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

END = b"END"
PAD = b"x" * 60
BURST = 50


def message(symbol: int, number: int) -> bytes:
    return (
        b'{"stream":"s%d@trade","data":{"e":"trade","E":1672515782136,"s":"S%d","t":%d,"p":"50000.01","q":"0.100",'
        b'"T":1672515782136,"m":true,"M":true,"pad":"%s"}}' % (symbol, symbol, number, PAD)
    )


def last(symbol: int) -> bytes:
    return b'{"stream":"s%d@trade","data":"END"}' % symbol


def raw(payload: bytes) -> bytes:
    """A server's text frame."""
    size = len(payload)
    return (bytes((0x81, size)) if size < 126 else struct.pack("!BBH", 0x81, 126, size)) + payload


# ---------------------------------------------------------------- the exchange


def exchange(port: Any, messages: int, symbols: int, rate: float) -> None:
    import picows
    import uvloop

    # Written as prepared blocks, so that the exchange is faster than every reader: the reader is what is measured.
    frames = [raw(message(number % symbols, number)) for number in range(1000)]
    blocks = [b"".join(frames[start : start + BURST]) for start in range(0, 1000, BURST)]

    class Line(picows.WSListener):
        def on_ws_connected(self, transport: picows.WSTransport) -> None:
            self.transport = transport
            self.room = asyncio.Event()
            self.room.set()
            self.task: asyncio.Task[None] | None = None

        def pause_writing(self) -> None:
            self.room.clear()

        def resume_writing(self) -> None:
            self.room.set()

        def on_ws_disconnected(self, transport: picows.WSTransport) -> None:
            self.room.set()
            if self.task is not None:
                self.task.cancel()

        def on_ws_frame(self, transport: picows.WSTransport, frame: picows.WSFrame) -> None:
            if frame.msg_type is picows.WSMsgType.CLOSE:
                transport.send_close(picows.WSCloseCode.OK)
                transport.disconnect()
            elif (
                frame.msg_type is picows.WSMsgType.TEXT and self.task is None and b"SUB" in frame.get_payload_as_bytes()
            ):
                self.task = asyncio.get_running_loop().create_task(self.pour())

        async def pour(self) -> None:
            await asyncio.sleep(0.2)
            write = self.transport.underlying_transport.write
            started, sent = time.perf_counter(), 0
            while sent < messages:
                if rate:
                    due = min(int((time.perf_counter() - started) * rate) - sent, messages - sent)
                    if due <= 0:
                        await asyncio.sleep(0.001)
                        continue
                    write(b"".join(frames[number % 1000] for number in range(sent, sent + due)))
                    sent += due
                else:
                    write(blocks[sent // BURST % len(blocks)])
                    sent += BURST
                    if sent % 200 == 0:
                        await asyncio.sleep(0)
                await self.room.wait()
            write(b"".join(raw(last(symbol)) for symbol in range(symbols)))

    async def serve() -> None:
        server = await picows.ws_create_server(lambda _request: Line(), "127.0.0.1", 0)
        port.value = server.sockets[0].getsockname()[1]
        await server.serve_forever()

    uvloop.run(serve())


# ---------------------------------------------------------------- the agent


def agent(port: int, path: str, cpu: Any) -> None:
    import uvloop
    import zmq

    from jackstay_agent.feeds import FeedManager, FeedSettings
    from jackstay_agent.gateway.door import Door
    from jackstay_agent.gateway.feed_door import FEED_SNDHWM, FeedDoor, FeedDoorSettings
    from jackstay_agent.transport.websocket import ws_connect
    from jackstay_protocols.clock import boot_s
    from jackstay_protocols.limits import TO_AGENT_FRAME_BYTES_MAX

    async def run() -> None:
        loop = asyncio.get_running_loop()
        context: zmq.Context[Any] = zmq.Context()
        doors: list[FeedDoor] = []
        feeds = FeedManager(
            {"sim": FeedSettings(url=f"ws://127.0.0.1:{port}/stream", dialect="binance", subscribes_per_s=0)},
            loop=loop,
            clock=boot_s,
            random=random.random,
            ws_dial=ws_connect,
            publish=lambda topic, seq, payloads: doors[0].publish(topic, seq, payloads),
            on_event=lambda name, fields: None,
        )
        feed_door = FeedDoor(
            FeedDoorSettings(agent="bench", queue_bytes_max=256 * 1024 * 1024),
            feeds=feeds,
            clock=boot_s,
            wall=time.time,
            call_later=loop.call_later,
        )
        doors.append(feed_door)
        router = Door(
            context,
            Path(path),
            loop=loop,
            on_frame=feed_door.on_frame,
            recv_bytes_max=TO_AGENT_FRAME_BYTES_MAX,
            sndhwm=FEED_SNDHWM,
        )
        router.open()
        feed_door.attach(router)
        while True:
            await asyncio.sleep(0.05)
            cpu.value = time.process_time()

    uvloop.run(run())


# ---------------------------------------------------------------- the bots


class Count:
    def __init__(self, symbols: int) -> None:
        self.left = symbols
        self.n = 0
        self.started = self.cpu = 0.0

    def first(self) -> None:
        self.started, self.cpu = time.perf_counter(), time.process_time()

    def result(self) -> dict[str, float]:
        spent = time.perf_counter() - self.started
        return {"messages": self.n, "per_s": self.n / spent, "cpu_us": (time.process_time() - self.cpu) / self.n * 1e6}


def bot_websockets(port: int, symbols: int, pipe: Connection) -> None:
    import uvloop
    import websockets

    async def run() -> dict[str, float]:
        count = Count(symbols)
        url = f"ws://127.0.0.1:{port}/"
        async with websockets.connect(url, compression=None, max_queue=1024) as ws:
            await ws.send("SUB")
            async for text in ws:
                if not count.n:
                    count.first()
                count.n += 1
                if text.endswith('"END"}'):
                    count.left -= 1
                    if not count.left:
                        return count.result()  # before the closing handshake, which is not measured
        raise RuntimeError("the exchange ended early")

    pipe.send(uvloop.run(run()))


def bot_aiohttp(port: int, symbols: int, pipe: Connection) -> None:
    import aiohttp
    import uvloop

    async def run() -> dict[str, float]:
        count = Count(symbols)
        async with aiohttp.ClientSession() as session, session.ws_connect(f"http://127.0.0.1:{port}/") as ws:
            await ws.send_str("SUB")
            async for part in ws:
                if not count.n:
                    count.first()
                count.n += 1
                if part.data.endswith('"END"}'):
                    count.left -= 1
                    if not count.left:
                        return count.result()  # before the closing handshake, which is not measured
        raise RuntimeError("the exchange ended early")

    pipe.send(uvloop.run(run()))


def bot_feed(path: str, symbols: int, pipe: Connection) -> None:
    import zmq

    from jackstay_protocols.codec import decode, encode
    from jackstay_protocols.limits import TO_CLIENT_FRAME_BYTES_MAX
    from jackstay_protocols.messages import TO_CLIENT, Feed, Hello, Lagged, Subscribe

    context: zmq.Context[Any] = zmq.Context()
    socket = context.socket(zmq.DEALER)
    socket.setsockopt(zmq.LINGER, 0)
    socket.connect(f"ipc://{path}")
    socket.send(encode(Hello("bench", "reader", os.getpid(), "b", 1, 1), id=1))
    socket.send(encode(Subscribe("sim", [f"s{n}@trade" for n in range(symbols)]), id=2))
    count, lagged, frames = Count(symbols), 0, 0
    while count.left:
        _header, part = decode(socket.recv(), TO_CLIENT, bytes_max=TO_CLIENT_FRAME_BYTES_MAX)
        if isinstance(part, Feed):
            if not count.n:
                count.first()
            frames += 1
            for payload in part.payloads:
                count.n += 1
                if payload == b'"END"':
                    count.left -= 1
        elif isinstance(part, Lagged):
            lagged += part.missed
    pipe.send({**count.result(), "lagged": lagged, "batch": count.n / frames})
    context.destroy(0)


# ---------------------------------------------------------------- rounds


def one(target: Any, *args: Any) -> dict[str, float] | None:
    here, there = mp.Pipe(duplex=False)
    process = mp.Process(target=target, args=(*args, there), daemon=True)
    process.start()
    result = here.recv() if here.poll(120) else None
    process.kill()
    process.join()
    return result


def wait_until(ready: Callable[[], bool], limit_s: float = 20.0) -> None:
    until = time.monotonic() + limit_s
    while not ready():
        if time.monotonic() > until:
            raise TimeoutError("the other process did not come up")
        time.sleep(0.01)


def through_agent(port: int, symbols: int, readers: int) -> dict[str, float] | None:
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "feed.sock")
        cpu = mp.Value("d", 0.0)
        process = mp.Process(target=agent, args=(port, path, cpu), daemon=True)
        process.start()
        wait_until(lambda: os.path.exists(path))
        pipes = []
        bots = []
        for _ in range(readers):
            here, there = mp.Pipe(duplex=False)
            bot = mp.Process(target=bot_feed, args=(path, symbols, there), daemon=True)
            bot.start()
            pipes.append(here)
            bots.append(bot)
        results = [pipe.recv() if pipe.poll(120) else None for pipe in pipes]
        time.sleep(0.1)
        for each in [*bots, process]:
            each.kill()
            each.join()
        if None in results or not results[0]:
            return None
        worst = min(results, key=lambda result: result["per_s"] if result else 0)
        assert worst is not None
        return {**worst, "agent_cpu_us": cpu.value / worst["messages"] * 1e6}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--symbols", type=int, default=1)
    parser.add_argument("--rate", type=float, default=0.0)
    parser.add_argument("--readers", type=int, default=1)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    port = mp.Value("i", 0)
    venue = mp.Process(target=exchange, args=(port, args.messages, args.symbols, args.rate), daemon=True)
    venue.start()
    wait_until(lambda: bool(port.value))
    rows: dict[str, list[dict[str, float]]] = {"agent": [], "websockets": [], "aiohttp": []}
    for _ in range(args.rounds):
        for name, result in (
            ("websockets", one(bot_websockets, port.value, args.symbols)),
            ("aiohttp", one(bot_aiohttp, port.value, args.symbols)),
            ("agent", through_agent(port.value, args.symbols, args.readers)),
        ):
            if result is None:
                print(f"{name}: no result within its time", file=sys.stderr)
                return 1
            rows[name].append(result)
    venue.kill()
    offered = f"{args.rate:.0f}/s" if args.rate else "as fast as taken"
    print(f"{args.messages} messages, {args.symbols} symbols, offered {offered}, {args.readers} reader(s) at the agent")
    summary: dict[str, dict[str, float]] = {}
    for name, results in rows.items():
        summary[name] = {key: statistics.median(result[key] for result in results) for key in results[0]}
        line = summary[name]
        extra = "".join(f"  {key} {line[key]:.2f}" for key in ("batch", "lagged", "agent_cpu_us") if key in line)
        print(f"{name:12s} {line['per_s'] / 1e3:8.1f} k/s   bot cpu {line['cpu_us']:6.2f} us/message{extra}")
    for name in ("websockets", "aiohttp"):
        ratio = {key: summary["agent"][key] / summary[name][key] for key in ("per_s", "cpu_us")}
        print(f"agent / {name}: {ratio['per_s']:.2f} x messages/s, {ratio['cpu_us']:.2f} x bot cpu")
    if args.json:
        args.json.write_text(json.dumps({"settings": vars(args) | {"json": str(args.json)}, "rows": summary}, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
