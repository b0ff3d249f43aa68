"""What one more costs: connections, symbols, readers, agents of a host, queued orders; a flat curve is the aim.

    python tests/bench/bench_scaling.py [--quick] [--only symbols] [--json FILE] [--svg docs/scaling.svg]

Each point is measured in a process of its own, so that no point pays for the one before it. Memory is resident memory
over what the process had before the first unit.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import psutil
import zmq

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import bench_feed

from bench.curves_svg import Panel, svg
from bench.figures import Row, show
from harness import AgentProcess, compiled_env
from jackstay_protocols.codec import decode_feed, encode, feed_turn_reader
from jackstay_protocols.endpoints import ipc
from jackstay_protocols.messages import FeedItem, Hello, Subscribe

SPAWN = multiprocessing.get_context("spawn")
SUBSCRIBE_AT_ONCE = 1000
IDLE_S = 3.0
MESSAGES = 40_000


def in_a_process(function: Callable[[int], Row], count: int) -> Row:
    here, there = SPAWN.Pipe(duplex=False)
    process = SPAWN.Process(target=_tell, args=(there, function, count))
    process.start()
    there.close()
    try:
        return dict(here.recv())  # EOFError: it ended with the error above
    finally:
        process.join()


def _tell(pipe: Any, function: Callable[[int], Row], count: int) -> None:
    pipe.send(function(count))


def rss_kb() -> float:
    return float(psutil.Process().memory_info().rss / 1e3)


# ---------------------------------------------------------------- connections


def venue_of_sockets(pipe: Any) -> None:
    """A WebSocket server that says nothing."""
    import picows
    import uvloop

    async def serve() -> None:
        server = await picows.ws_create_server(lambda _request: picows.WSListener(), "127.0.0.1", 0, backlog=2048)
        pipe.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    uvloop.run(serve())


def connections(count: int) -> Row:
    """So many WebSockets of one `ConnectionManager`, held idle: memory each, processor time to establish one."""
    import uvloop

    from jackstay_agent import Config, ConnectionManager
    from jackstay_agent.connection_settings import ConnectionSettings

    async def run(port: int) -> Row:
        many = ConnectionSettings(connections_max=4096, dials_max=100_000)
        manager = ConnectionManager(Config(), settings=many)
        assert await manager.establish_connection("warm", "websocket", f"ws://127.0.0.1:{port}/")
        before_kb, spent = rss_kb(), time.process_time()
        for number in range(count):
            assert await manager.establish_connection(str(number), "websocket", f"ws://127.0.0.1:{port}/{number}")
        established_us = (time.process_time() - spent) / count * 1e6
        kb = (rss_kb() - before_kb) / count
        spent = time.process_time()
        await asyncio.sleep(IDLE_S)
        idle = (time.process_time() - spent) / IDLE_S * 100
        await manager.aclose()
        return {"kB each": round(kb, 1), "us to establish": round(established_us), "idle %": round(idle, 2)}

    here, there = SPAWN.Pipe()
    venue = SPAWN.Process(target=venue_of_sockets, args=(there,))
    venue.start()
    try:
        return uvloop.run(run(here.recv()))
    finally:
        venue.kill()
        venue.join()


# ---------------------------------------------------------------- symbols and readers


def reader(folder: str, symbols: int, pipe: Any) -> None:
    """As a client reads, with as many subscriptions on one socket as the symbols take."""
    read = feed_turn_reader(FeedItem)
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    socket = context.socket(zmq.DEALER)
    socket.connect(ipc(Path(folder) / bench_feed.AGENT / "feed.sock"))
    socket.send(encode(Hello(f"r-{os.getpid()}", "reader", os.getpid(), "bench", 1, 1), id=1))
    topics = bench_feed.topics_of(symbols)
    for at in range(0, symbols, SUBSCRIBE_AT_ONCE):
        socket.send(encode(Subscribe("sim", topics[at : at + SUBSCRIBE_AT_ONCE], turns=True), id=2))
    count = bench_feed.Count(symbols)
    while count.left:
        for frame in socket.recv_multipart():
            items = read(frame)
            if items is None:
                batch = decode_feed(frame)
                payloads = batch[1].payloads if batch is not None else []
            else:
                payloads = [item.payload for item in items]
            for payload in payloads:
                if not count.n:
                    count.first()
                count.n += 1
                if payload == b'"END"':
                    count.left -= 1
    pipe.send(count.result())
    socket.close(0)


def feed(symbols: int, readers: int, rate: float) -> Row:
    """Processor time per message of the agent, and of a reader."""
    port = multiprocessing.Value("i", 0)
    venue = multiprocessing.Process(target=bench_feed.exchange, args=(port, MESSAGES, symbols, rate), daemon=True)
    venue.start()
    try:
        bench_feed.wait_until(lambda: bool(port.value))
        found = bench_feed.through_agent(reader, readers, port.value, symbols)
    finally:
        venue.kill()
        venue.join()
    assert found is not None, "no reader had everything in time"
    return {
        "agent us": round(found["agent_cpu_us"], 2),
        "agent us per reader": round(found["agent_cpu_us"] / readers, 2),
        "reader us": round(found["cpu_us"], 2),
    }


def symbols_of(count: int) -> Row:
    return feed(count, 1, 10_000.0)


def readers_of(count: int) -> Row:
    return feed(200, count, 5_000.0)


# ---------------------------------------------------------------- agents of a host


def agents(count: int) -> Row:
    """Resident memory of one, its share of all (PSS: what it has with others is divided), idle processor of all."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="js-pyc-")))
        running = []
        for number in range(count + 1):
            agent = AgentProcess()
            agent.more_env = compiled_env(folder)
            process = psutil.Process(stack.enter_context(agent).pid)
            if number:
                running.append(process)
            else:
                agent.stop()  # the first compiled, as an installation does
        before = sum(sum(each.cpu_times()[:2]) for each in running)
        time.sleep(IDLE_S)
        idle = (sum(sum(each.cpu_times()[:2]) for each in running) - before) / IDLE_S * 100
        facts = [each.memory_full_info() for each in running[:5]]
        return {
            "MB each": round(sum(each.rss for each in facts) / len(facts) / 1e6, 1),
            "MB each, shared divided": round(sum(each.pss for each in facts) / len(facts) / 1e6, 1),
            "idle % each": round(idle / count, 2),
        }


# ---------------------------------------------------------------- queued orders


def queued(count: int) -> Row:
    """With so many waiting: processor time to queue one more, to see an order through; memory each, the next start."""
    from bench.bench_outbox import REPLY, intent
    from jackstay_agent.outbox import Accepted, Admitted, Outbox, OutboxSettings, Signed
    from jackstay_protocols.errors import Outcome

    settings = OutboxSettings(queue_max=10**6, queue_connection_max=10**6, queue_bytes_max=1 << 34, keys_max=10**6)
    more = 1000
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "queue.db"
        box = Outbox.open(path, settings)

        def wait(number: int) -> None:
            # what a bot signed would expire within its ten seconds
            accepted = box.enqueue(
                msgspec.structs.replace(intent(number), signed=Signed.AGENT, recv_window_s=None, ttl_s=3600.0)
            )
            assert isinstance(accepted, Accepted), accepted

        wait(10**7)
        before_kb = rss_kb()
        for number in range(count):
            wait(number)
            if number % 500 == 0:
                box.tick()
        kb = (rss_kb() - before_kb) / max(count, 1)
        spent = time.process_time()
        for number in range(count, count + more):
            wait(number)
        enqueue_us = (time.process_time() - spent) / more * 1e6
        spent = time.process_time()
        for number in range(count + more, count + 2 * more):
            admitted = box.begin(intent(number))
            assert isinstance(admitted, Admitted), admitted
            box.finish(admitted.seq, Outcome.OK, status=200, reply=REPLY)
        order_us = (time.process_time() - spent) / more * 1e6
        box.close()
        began = time.perf_counter()
        Outbox.open(path, settings).close()
        start_us = (time.perf_counter() - began) / (count + 2 * more) * 1e6
    row: Row = {"us to queue": round(enqueue_us, 1), "us per order": round(order_us, 1)}
    return row | ({"kB each": round(kb, 2), "us of the next start": round(start_us, 1)} if count >= 1000 else {})


# ---------------------------------------------------------------- all of it


@dataclass(frozen=True)
class Curve:
    name: str
    measure: Callable[[int], Row]
    counts: tuple[int, ...]
    panels: tuple[tuple[str, str, tuple[str, ...]], ...]  # title, unit, columns


CURVES = (
    Curve(
        "connections",
        connections,
        (1, 10, 100, 1000),
        (
            ("WebSockets held by an agent", "us of processor to establish one", ("us to establish",)),
            ("Memory of a WebSocket", "kB each", ("kB each",)),
        ),
    ),
    Curve(
        "symbols",
        symbols_of,
        (1, 10, 100, 500, 2000),
        (("Symbols, 10,000 messages/s", "us of processor per message", ("agent us", "reader us")),),
    ),
    Curve(
        "readers",
        readers_of,
        (1, 2, 4, 8, 16),
        (("Readers, 5,000 messages/s", "us of processor per message", ("agent us per reader", "reader us")),),
    ),
    Curve(
        "queued",
        queued,
        (0, 100, 1000, 10_000, 100_000),
        (
            ("Orders waiting in the queue", "us of processor", ("us to queue", "us per order")),
            ("Memory of a waiting order", "kB each", ("kB each",)),
            ("The next start with them", "us each", ("us of the next start",)),
        ),
    ),
    Curve(
        "agents",
        agents,
        (1, 2, 5, 10, 20),
        (("Agents of a host", "MB", ("MB each", "MB each, shared divided")),),
    ),
)


def panels_of(rows: list[Row]) -> list[Panel]:
    found = []
    for curve in CURVES:
        mine = [row for row in rows if row["of"] == curve.name]
        for title, unit, columns in curve.panels:
            lines = {name: [(row["count"], row[name]) for row in mine if name in row] for name in columns}
            if mine and all(lines.values()):
                found.append(Panel(title, curve.name, unit, lines))
    return found


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=[curve.name for curve in CURVES])
    parser.add_argument("--quick", action="store_true", help="the first two points of each curve")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--svg", type=Path, help="write the curves as a picture")
    args = parser.parse_args(argv)
    rows: list[Row] = []
    for curve in CURVES:
        if args.only and curve.name != args.only:
            continue
        found = [
            {"bench": "scaling", "of": curve.name, "count": count} | in_a_process(curve.measure, count)
            for count in curve.counts[: 2 if args.quick else None]
        ]
        show(found)
        print(flush=True)
        rows += found
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1), encoding="utf-8")
    if args.svg:
        args.svg.write_text(svg(panels_of(rows)), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
