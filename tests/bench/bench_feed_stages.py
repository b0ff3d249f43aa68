"""Where a market data message's time goes inside the agent: its way cut off after each stage in turn.

    python tests/bench/bench_feed_stages.py [--messages N] [--rounds N] [--json FILE]

Each stage is the real code up to there, in a process of its own, fed by an exchange as fast as it takes: processor time
per message, and what the stage adds to the one before. The first two are picows alone, below which nothing written in
Python over it can come. ``faults`` are page faults per 1,000 messages: memory that is not used again.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing as mp
import resource
import statistics
import sys
import tempfile
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from bench_feed import AGENT, WAIT_S, bot_client, exchange, feeds_of, opened_door, topics_of, wait_until
from figures import Row, show

WARM = 20_000  # messages before it counts
Took = tuple[float, float]


class Meter:
    """Counts messages; from the first after the warm-up to the last one."""

    def __init__(self, messages: int) -> None:
        self.wanted = messages
        self.n = 0
        self.done: asyncio.Future[Took] = asyncio.get_running_loop().create_future()
        self._began: resource.struct_rusage | None = None

    def add(self, count: int) -> None:
        self.n += count
        if self._began is None:
            if self.n >= WARM:
                self.n, self._began = 0, resource.getrusage(resource.RUSAGE_SELF)
        elif self.n >= self.wanted - 2 * WARM and not self.done.done():
            now, began = resource.getrusage(resource.RUSAGE_SELF), self._began
            spent = now.ru_utime + now.ru_stime - began.ru_utime - began.ru_stime
            self.done.set_result((spent / self.n * 1e6, (now.ru_minflt - began.ru_minflt) / self.n * 1e3))


async def frames(port: int, meter: Meter, *, copied: bool) -> Took:
    """picows alone: its parser and a Python call per frame; ``copied``: the payload as well."""
    import picows

    class Line(picows.WSListener):
        def on_ws_frame(self, transport: picows.WSTransport, frame: picows.WSFrame) -> None:
            if copied:
                frame.get_payload_as_bytes()
            meter.add(1)

    transport, _line = await picows.ws_connect(Line, f"ws://127.0.0.1:{port}/")
    transport.send(picows.WSMsgType.TEXT, b"SUB")
    return await meter.done


async def connection(port: int, meter: Meter) -> Took:
    """A checked connection that hands on complete messages."""
    from jackstay_agent.transport.websocket import ws_connect

    def take(payloads: list[bytes]) -> None:
        meter.add(len(payloads))

    ws = await ws_connect(f"ws://127.0.0.1:{port}/", on_messages=take, on_close=lambda _closed: None)
    ws.send("SUB")
    return await meter.done


async def feed(port: int, meter: Meter, symbols: int, *, readers: int, path: str) -> Took:
    """Topics, numbers and batches (``readers`` 0); with a door and readers: encoded and sent too."""
    doors: list[Any] = []

    def publish(batches: list[tuple[str, int, list[bytes]]]) -> None:
        for door in doors:
            door.publish(batches)
        meter.add(sum(len(payloads) for _topic, _seq, payloads in batches))

    feeds = feeds_of(port, publish)
    if not readers:
        feeds.demand("sim", topics_of(symbols))
        return await meter.done
    doors.append(opened_door(feeds, path))
    return await meter.done


STAGES: dict[str, Callable[[int, Meter, int, str], Any]] = {
    "picows: a frame": lambda port, meter, _symbols, _path: frames(port, meter, copied=False),
    "its payload": lambda port, meter, _symbols, _path: frames(port, meter, copied=True),
    "checked connection": lambda port, meter, _symbols, _path: connection(port, meter),
    "topic, number, batch": lambda port, meter, symbols, _path: feed(port, meter, symbols, readers=0, path=""),
    "encoded and sent, 1 reader": lambda port, meter, symbols, path: feed(port, meter, symbols, readers=1, path=path),
    "4 readers": lambda port, meter, symbols, path: feed(port, meter, symbols, readers=4, path=path),
}


def staged(stage: str, port: int, messages: int, symbols: int, path: str, pipe: Connection) -> None:
    import uvloop

    async def run() -> Took:
        took: Took = await STAGES[stage](port, Meter(messages), symbols, path)
        return took

    pipe.send(uvloop.run(run()))


def measure(stage: str, port: int, messages: int, symbols: int) -> Took:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / AGENT).mkdir(mode=0o700)
        path = Path(folder) / AGENT / "feed.sock"
        here, there = mp.Pipe(duplex=False)
        running = [mp.Process(target=staged, args=(stage, port, messages, symbols, str(path), there), daemon=True)]
        running[0].start()
        readers = 4 if stage == "4 readers" else 1 if "reader" in stage else 0
        if readers:
            wait_until(path.exists)
        pipes = [mp.Pipe(duplex=False) for _ in range(readers)]  # nobody reads what they say, but they may say it
        for _ear, mouth in pipes:
            running.append(mp.Process(target=bot_client, args=(folder, symbols, mouth), daemon=True))
            running[-1].start()
        if not here.poll(WAIT_S):
            raise SystemExit(f"{stage}: no result within {WAIT_S} s")
        took: Took = here.recv()
        for process in running:
            process.kill()
            process.join()
        return took


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=300_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    rows: list[Row] = []
    for symbols in (1, 200):
        port = mp.Value("i", 0)
        venue = mp.Process(target=exchange, args=(port, args.messages, symbols, 0.0), daemon=True)
        venue.start()
        wait_until(lambda port=port: bool(port.value))  # type: ignore[misc]
        runs: dict[str, list[Took]] = {stage: [] for stage in STAGES}
        for _ in range(args.rounds):
            for stage in STAGES:
                runs[stage].append(measure(stage, port.value, args.messages, symbols))
        venue.kill()
        before, found = 0.0, []
        for stage, results in runs.items():
            us = statistics.median(each[0] for each in results)
            faults = statistics.median(each[1] for each in results)
            found.append(
                {
                    "bench": "feed stages",
                    "symbols": symbols,
                    "up to": stage,
                    "us": round(us, 2),
                    "adds": round(us - before, 2),
                    "faults": round(faults, 1),
                }
            )
            before = us
        show(found)
        print(flush=True)
        rows += found
    if args.json:
        args.json.write_text(json.dumps(rows), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
