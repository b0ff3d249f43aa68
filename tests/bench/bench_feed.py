"""Market data, side by side: exchange socket -> agent -> feed.sock -> reader, against sockets held by the bot itself.

    python tests/bench/bench_feed.py [--messages N] [--rounds N] [--symbols N --readers N --rate N] [--json FILE]

Exchange, agent and bots are processes of their own. Rounds are interleaved, so that a noisy minute hits all alike. A
bot's work per message is the same everywhere: take it from its library's iterator, count it. With several readers the
direct ways are as many bots with a socket each, which is what they are without an agent. CPU is a bot process's own
(user and system). ``--rate`` offers messages at a fixed rate instead of as fast as the sockets take them; there readers
that let the agent hold messages (`subscribe(hold_s=...)`) run too, and a run of its own measures how old a message is
when its reader has it (``late``: from the exchange's write, in ms). Without ``--symbols`` the cases of
docs/BENCHMARKS.md are run.
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
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from figures import Row, percentile, show

from jackstay import FeedMessage

PAD = b"x" * 60
STAMP = b"1672515782136"  # where a message at a fixed rate says when it was written, in microseconds
BURST = 50
AGENT = "bench"
WAIT_S = 120.0
TRIES = 5


def message(symbol: int, number: int) -> bytes:
    return (
        b'{"stream":"s%d@trade","data":{"e":"trade","E":%s,"s":"S%d","t":%d,"p":"50000.01","q":"0.100",'
        b'"T":1672515782136,"m":true,"M":true,"pad":"%s"}}' % (symbol, STAMP, symbol, number, PAD)
    )


def last(symbol: int) -> bytes:
    return b'{"stream":"s%d@trade","data":"END"}' % symbol


def raw(payload: bytes) -> bytes:
    """A server's text frame."""
    size = len(payload)
    return (bytes((0x81, size)) if size < 126 else struct.pack("!BBH", 0x81, 126, size)) + payload


def now_us() -> int:
    return time.monotonic_ns() // 1000


# ---------------------------------------------------------------- the exchange


def exchange(port: Any, messages: int, symbols: int, rate: float) -> None:
    import picows
    import uvloop

    # Written as prepared blocks, so that the exchange is faster than every reader: the reader is what is measured.
    frames = [raw(message(number % symbols, number)) for number in range(1000)]
    parts = [frame.split(STAMP, 1) for frame in frames]
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
                    now = b"%013d" % now_us()
                    write(b"".join(now.join(parts[number % 1000]) for number in range(sent, sent + due)))
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


def feeds_of(port: int, publish: Callable[[Any], None]) -> Any:
    """The agent's feed manager with one feed from that exchange."""
    from jackstay_agent.feeds import FeedManager, FeedSettings
    from jackstay_agent.transport.websocket import ws_connect
    from jackstay_protocols.clock import boot_s

    return FeedManager(
        {
            "sim": FeedSettings(
                url=f"ws://127.0.0.1:{port}/stream", dialect="binance", subscribes_per_s=0, streams_max=4096
            )
        },
        loop=asyncio.get_running_loop(),
        clock=boot_s,
        random=random.random,
        ws_dial=ws_connect,
        publish=publish,
        on_event=lambda name, fields: None,
    )


def opened_door(feeds: Any, path: str) -> Any:
    """feed.sock, with room for readers that are slow to start."""
    import zmq

    from jackstay_agent.gateway.door import Door
    from jackstay_agent.gateway.feed_door import FEED_SNDHWM, FeedDoor, FeedDoorSettings
    from jackstay_protocols.clock import boot_s
    from jackstay_protocols.limits import TO_AGENT_FRAME_BYTES_MAX

    loop = asyncio.get_running_loop()
    settings = FeedDoorSettings(agent=AGENT, queue_bytes_max=256 * 1024 * 1024)
    door = FeedDoor(settings, feeds=feeds, clock=boot_s, wall=time.time, call_later=loop.call_later)
    router = Door(
        zmq.Context(),
        Path(path),
        loop=loop,
        on_frame=door.on_frame,
        recv_bytes_max=TO_AGENT_FRAME_BYTES_MAX,
        sndhwm=FEED_SNDHWM,
    )
    router.open()
    door.attach(router)
    return door


def agent(port: int, path: str, cpu: Any, batch: Any) -> None:
    import uvloop

    async def run() -> None:
        doors: list[Any] = []
        began: list[float] = []

        def publish(batches: Any) -> None:
            if not began:
                began.append(time.process_time())
            doors[0].publish(batches)

        feeds = feeds_of(port, publish)
        doors.append(opened_door(feeds, path))
        while True:
            await asyncio.sleep(0.05)
            cpu.value = (time.process_time() - began[0]) / feeds.batcher.messages if began else 0.0
            batch.value = feeds.batcher.messages / max(1, feeds.batcher.batches)

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


LATENESS = ("p50", "p99", "max")  # in ms


class Lateness:
    """How old messages are when a reader has them; watched in runs whose processor time does not count."""

    def __init__(self) -> None:
        self.ages_us: list[int] = []

    def see(self, payload: bytes | str) -> None:
        stamp = payload[17:30] if isinstance(payload, bytes) else payload.partition('"E":')[2][:13]
        if len(stamp) == len(STAMP):
            self.ages_us.append(now_us() - int(stamp))

    def items(self, items: Iterator[Any]) -> Iterator[Any]:
        for item in items:
            if type(item) is FeedMessage:
                self.see(item.payload)
            yield item

    async def messages(self, messages: AsyncIterator[Any]) -> AsyncIterator[Any]:
        async for each in messages:
            self.see(each.data)
            yield each

    def result(self) -> dict[str, float]:
        if not self.ages_us:
            raise SystemExit("no message said when it was written")
        ages = sorted(self.ages_us[len(self.ages_us) // 10 :])  # the first may wait for a reader that is starting
        shares = (0.5, 0.99, 1.0)
        return {key: percentile(ages, share) / 1e3 for key, share in zip(LATENESS, shares, strict=True)}


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


def bot_aiohttp(port: int, symbols: int, pipe: Connection, *, late: bool = False) -> None:
    import aiohttp
    import uvloop

    async def run() -> dict[str, float]:
        count, lateness = Count(symbols), Lateness()
        async with aiohttp.ClientSession() as session, session.ws_connect(f"http://127.0.0.1:{port}/") as ws:
            await ws.send_str("SUB")
            async for part in lateness.messages(ws) if late else ws:
                if not count.n:
                    count.first()
                count.n += 1
                if part.data.endswith('"END"}'):
                    count.left -= 1
                    if not count.left:
                        return (
                            lateness.result() if late else count.result()
                        )  # before the closing handshake, which is not measured
        raise RuntimeError("the exchange ended early")

    pipe.send(uvloop.run(run()))


def topics_of(symbols: int) -> list[str]:
    return [f"s{number}@trade" for number in range(symbols)]


class Tally(Count):
    """What a client's iterator brings."""

    def __init__(self, symbols: int) -> None:
        super().__init__(symbols)
        self.lagged = 0

    def result(self) -> dict[str, float]:
        return {**super().result(), "lagged": self.lagged}


def bot_client(folder: str, symbols: int, pipe: Connection, *, hold_s: float = 0.0, late: bool = False) -> None:
    from jackstay import Client

    tally, lateness = Tally(symbols), Lateness()
    with Client(agent=AGENT, runtime_dir=folder, bot_id=f"bench-{os.getpid()}") as client:
        items = client.subscribe("sim", topics_of(symbols), hold_s=hold_s)
        for item in lateness.items(items) if late else items:
            if type(item) is not FeedMessage:
                tally.lagged += item.missed  # type: ignore[union-attr]
                continue
            if not tally.n:
                tally.first()
            tally.n += 1
            if item.payload == b'"END"':
                tally.left -= 1
                if not tally.left:
                    break
        pipe.send(lateness.result() if late else tally.result())


def bot_async_client(folder: str, symbols: int, pipe: Connection, *, hold_s: float = 0.0) -> None:
    import uvloop

    from jackstay import AsyncClient

    async def run() -> None:
        tally = Tally(symbols)
        async with AsyncClient(agent=AGENT, runtime_dir=folder, bot_id=f"bench-{os.getpid()}") as client:
            async for item in client.subscribe("sim", topics_of(symbols), hold_s=hold_s):
                if type(item) is not FeedMessage:
                    tally.lagged += item.missed  # type: ignore[union-attr]
                    continue
                if not tally.n:
                    tally.first()
                tally.n += 1
                if item.payload == b'"END"':
                    tally.left -= 1
                    if not tally.left:
                        break
            pipe.send(tally.result())

    uvloop.run(run())


# ---------------------------------------------------------------- rounds


def side_by_side(bot: Any, readers: int, *args: Any) -> dict[str, float] | None:
    """So many bots at once; the slowest one's result, None when one had none in time."""
    pipes, bots = [], []
    for _ in range(readers):
        here, there = mp.Pipe(duplex=False)
        process = mp.Process(target=bot, args=(*args, there), daemon=True)
        process.start()
        pipes.append(here)
        bots.append(process)
    results = [pipe.recv() if pipe.poll(WAIT_S) else None for pipe in pipes]
    for process in bots:
        process.kill()
        process.join()
    got = [result for result in results if result is not None]
    return min(got, key=lambda result: result.get("per_s", 0.0)) if len(got) == readers else None


def wait_until(ready: Callable[[], bool], limit_s: float = 20.0) -> None:
    until = time.monotonic() + limit_s
    while not ready():
        if time.monotonic() > until:
            raise TimeoutError("the other process did not come up")
        time.sleep(0.01)


def through_agent(bot: Any, readers: int, port: int, symbols: int) -> dict[str, float] | None:
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / AGENT
        place.mkdir(mode=0o700)
        path = place / "feed.sock"
        cpu, batch = mp.Value("d", 0.0), mp.Value("d", 0.0)
        process = mp.Process(target=agent, args=(port, str(path), cpu, batch), daemon=True)
        process.start()
        wait_until(path.exists)
        result = side_by_side(bot, readers, folder, symbols)
        time.sleep(0.1)
        process.kill()
        process.join()
        if result is None:
            return None
        return {**result, "agent_cpu_us": cpu.value * 1e6, "batch": batch.value}


Way = Callable[[int, int, int], dict[str, float] | None]

WAYS: dict[str, Way] = {
    "websockets": lambda readers, port, symbols: side_by_side(bot_websockets, readers, port, symbols),
    "aiohttp": lambda readers, port, symbols: side_by_side(bot_aiohttp, readers, port, symbols),
    "agent": lambda readers, port, symbols: through_agent(bot_client, readers, port, symbols),
    "agent, asyncio": lambda readers, port, symbols: through_agent(bot_async_client, readers, port, symbols),
}

HOLDS_MS = (10, 20, 50)


def held(bot: Any, hold_ms: int, **more: Any) -> Way:
    reader = partial(bot, hold_s=hold_ms / 1e3, **more)
    return lambda readers, port, symbols: through_agent(reader, readers, port, symbols)


HELD: dict[str, Way] = {
    **{f"agent, held {each} ms": held(bot_client, each) for each in HOLDS_MS},
    **{f"agent, asyncio, held {each} ms": held(bot_async_client, each) for each in HOLDS_MS},
}

LATE: dict[str, Way] = {
    "aiohttp": lambda readers, port, symbols: side_by_side(partial(bot_aiohttp, late=True), readers, port, symbols),
    "agent": held(bot_client, 0, late=True),
    **{f"agent, held {each} ms": held(bot_client, each, late=True) for each in HOLDS_MS},
}


@dataclass(frozen=True, slots=True)
class Case:
    symbols: int
    readers: int
    rate: float  # 0: as fast as taken


CASES = [Case(200, 1, 0.0), Case(200, 4, 0.0), Case(200, 1, 20_000.0), Case(200, 4, 20_000.0), Case(1, 1, 0.0)]


def whole(way: Way, case: Case, port: int, messages: int) -> Any:
    """A round in which even the slowest reader was there from nearly the beginning: on a busy machine not every one."""
    for _ in range(TRIES):
        result = way(case.readers, port, case.symbols)
        if result is None or result.get("messages", messages) >= 0.9 * messages:
            return result
    return None


def measure(case: Case, messages: int, rounds: int) -> list[Row]:
    """Medians per way, with the ratios to the direct ways round by round."""
    port = mp.Value("i", 0)
    venue = mp.Process(target=exchange, args=(port, messages, case.symbols, case.rate), daemon=True)
    venue.start()
    wait_until(lambda: bool(port.value))
    ways = WAYS | HELD if case.rate else WAYS
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in ways}
    late: dict[str, dict[str, float]] = {}

    def result_of(name: str, way: Way) -> dict[str, float]:
        result: dict[str, float] | None = whole(way, case, port.value, messages)
        if result is None:
            raise SystemExit(f"{name}: no reader had everything within {WAIT_S} s, in {TRIES} tries")
        return result

    try:
        for _ in range(rounds):
            for name, way in ways.items():
                runs[name].append(result_of(name, way))
        for name, way in LATE.items() if case.rate else ():
            late[name] = result_of(name, way)
    finally:
        venue.kill()
    return [
        row(case, name, runs) | {f"late_{key}": round(late[name][key], 1) for key in LATENESS if name in late}
        for name in ways
    ]


def row(case: Case, name: str, runs: dict[str, list[dict[str, float]]]) -> Row:
    def median(key: str) -> float:
        return statistics.median(result[key] for result in runs[name])

    found: Row = {
        "bench": "feed",
        "symbols": case.symbols,
        "readers": case.readers,
        "offered": f"{case.rate:.0f}/s" if case.rate else "flood",
        "way": name,
        "k/s": round(median("per_s") / 1e3, 1),
        "bot_us": round(median("cpu_us"), 2),
    }
    for other in ("websockets", "aiohttp"):
        for key, short in (("per_s", "rate"), ("cpu_us", "cpu")):
            ratio = statistics.median(
                mine[key] / theirs[key] for mine, theirs in zip(runs[name], runs[other], strict=True)
            )
            found[f"{short}/{other}"] = round(ratio, 2)
    if "agent_cpu_us" in runs[name][0]:
        found |= {"agent_us": round(median("agent_cpu_us"), 2), "batch": round(median("batch"), 1)}
        found["lagged"] = int(median("lagged"))
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--symbols", type=int)
    parser.add_argument("--readers", type=int, default=1)
    parser.add_argument("--rate", type=float, default=0.0)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    cases = CASES if args.symbols is None else [Case(args.symbols, args.readers, args.rate)]
    rows = []
    for case in cases:
        rows += (found := measure(case, args.messages, args.rounds))
        show(found)
        print(flush=True)
    if args.json:
        args.json.write_text(json.dumps(rows), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
