"""What the journal costs: microseconds added to a direct request, beside a bare SQLite insert and persist-queue.

    python tests/bench/bench_outbox.py [--seconds 5] [--rate 1000]

Rows, all in one run on one machine, files in one folder:

* begin + finish, open loop at ``rate``/s, checkpoints on the worker happening meanwhile (durability "process"): the
  time the caller loses in `begin` and in `finish` with its flush;
* the same with durability "disk": from `begin` to ``on_durable``;
* enqueue throughput, closed loop;
* a bare SQLite insert of the same payload (WAL, synchronous NORMAL and FULL, no index, nothing else);
* persist-queue's SQLiteQueue put of the same payload, if it is installed.

Not a test: numbers depend on the machine; read them as ratios.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import shutil
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "agent"), str(ROOT / "protocols")]

from jackstay_agent.outbox import Admitted, Intent, Outbox, OutboxSettings, Signed  # noqa: E402
from jackstay_agent.outbox.runner import loop_runner  # noqa: E402
from jackstay_protocols.errors import Lane, Outcome  # noqa: E402

REPLY = b'{"symbol":"BTCUSDT","orderId":28,"clientOrderId":"js-000000000001","status":"NEW"' + b" " * 120 + b"}"


def intent(number: int, lane: Lane = Lane.ORDER) -> Intent:
    query = f"symbol=BTCUSDT&side=BUY&type=LIMIT&quantity=0.01&price=50000.{number % 99:02}&timestamp={number}"
    fields = {
        "symbol": "BTCUSDT",
        "side": "BUY",
        "type": "LIMIT",
        "quantity": "0.01",
        "price": f"50000.{number % 99:02}",
    }
    return Intent(
        "bot", "rest", lane, "POST", f"/api/v3/order?{query}&signature={'ab' * 32}", b"", f"k-{number}", f"r-{number}",
        "binance", "order.place", "BTCUSDT", "BUY", f"js-{number:012}", "", fields,
        is_entry=True, signed=Signed.BOT, recv_window_s=10.0,
    )  # fmt: skip


ROWS: list[dict[str, object]] = []


def show(name: str, taken_s: list[float], note: str = "") -> None:
    us = sorted(t * 1e6 for t in taken_s)
    at = [us[min(len(us) - 1, int(len(us) * q))] for q in (0.5, 0.99, 0.999)]
    print(f"{name:46} p50 {at[0]:8.1f}  p99 {at[1]:8.1f}  p99.9 {at[2]:8.1f}  max {us[-1]:8.0f} µs  n={len(us)} {note}")
    figures = {"p50_us": round(at[0], 1), "p99_us": round(at[1], 1), "p999_us": round(at[2], 1)}
    ROWS.append({"bench": "outbox", "way": name, **figures, "note": note})


async def open_loop(folder: Path, durability: str, rate: float, seconds: float) -> None:
    loop = asyncio.get_running_loop()
    settings = OutboxSettings(durability=durability)
    with ThreadPoolExecutor(1) as pool:
        box = Outbox.open(folder / f"{durability}.db", settings, run_blocking=loop_runner(loop, pool))
        added: list[float] = []
        lag: list[float] = []
        tasks: set[asyncio.Task[None]] = set()

        async def request(number: int) -> None:
            wanted = intent(number)
            waited_from = time.perf_counter()
            durable: asyncio.Future[None] | None = None
            done = None
            if durability == "disk":
                durable = loop.create_future()
                done = lambda fault: durable.set_result(None)  # noqa: E731
            admitted = box.begin(wanted, done)
            assert isinstance(admitted, Admitted), admitted
            if durable is not None:
                await durable
            begun = time.perf_counter() - waited_from
            await asyncio.sleep(0)  # here the request travels
            answered_at = time.perf_counter()
            box.finish(admitted.seq, Outcome.OK, status=200, reply=REPLY)
            added.append(begun + time.perf_counter() - answered_at)

        async def ticker() -> None:
            while True:
                before = time.perf_counter()
                await asyncio.sleep(0.01)
                lag.append(max(0.0, time.perf_counter() - before - 0.01))
                box.tick()
                box.ack("bot", [one.seq for one in box.uncollected("bot", 0)])

        tick = asyncio.create_task(ticker())
        started = time.perf_counter()
        total = int(rate * seconds)
        gc.collect()
        gc.freeze()
        for number in range(total):
            due_at = started + number / rate
            while (left := due_at - time.perf_counter()) > 0:
                await asyncio.sleep(left)  # never a spin: it would keep the worker from the interpreter
            task = asyncio.create_task(request(number))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        await asyncio.gather(*tasks)
        tick.cancel()
        facts = box.stats()
        box.close()
    show(
        f"begin + finish, {durability}, {rate:.0f}/s",
        added,
        f"checkpoints={facts['checkpoints']} commits={facts['commits']}",
    )
    show("    loop lag seen by a 10 ms ticker", lag)


def closed_loop(name: str, put: Callable[[int], object], count: int) -> None:
    taken = []
    for number in range(count):
        before = time.perf_counter()
        put(number)
        taken.append(time.perf_counter() - before)
    show(name, taken, f"{count / sum(taken):,.0f}/s")


def direct_closed(folder: Path, count: int) -> None:
    """The cost alone, without the cold caches of a program that sleeps between orders."""
    box = Outbox.open(folder / "closed.db")
    wanted = [intent(number) for number in range(count)]

    def one(number: int) -> None:
        admitted = box.begin(wanted[number])
        assert isinstance(admitted, Admitted)
        box.finish(admitted.seq, Outcome.OK, status=200, reply=REPLY)

    closed_loop("begin + finish, process, closed loop", one, count)
    box.close()


def enqueue(folder: Path, count: int) -> None:
    box = Outbox.open(folder / "queue.db", OutboxSettings(queue_max=10**6, queue_connection_max=10**6))
    closed_loop("enqueue, process", lambda n: box.enqueue(intent(n)), min(count, 9_000))
    box.close()


def bare_insert(folder: Path, count: int, synchronous: str) -> None:
    conn = sqlite3.connect(folder / f"bare-{synchronous}.db", isolation_level=None)
    conn.execute("PRAGMA journal_mode=WAL")
    conn.execute(f"PRAGMA synchronous={synchronous}")
    conn.execute("CREATE TABLE q (seq INTEGER PRIMARY KEY, body BLOB)")
    body = b"x" * 500
    closed_loop(
        f"bare SQLite insert, {synchronous}",
        lambda n: conn.execute("INSERT INTO q(body) VALUES (?)", (body,)),
        count,
    )
    conn.close()


def persist_queue(folder: Path, count: int) -> None:
    sys.path.append(str(ROOT / ".bench" / "peers"))  # where `make bench` installs what is only measured beside
    try:
        import persistqueue
    except ImportError:
        print("persist-queue: not installed (the extra 'bench' of pyproject.toml), row left out")
        return
    queue = persistqueue.SQLiteQueue(str(folder / "persistqueue"), auto_commit=True)
    body = b"x" * 500
    closed_loop("persist-queue SQLiteQueue.put", lambda n: queue.put(body), min(count, 2_000))
    queue.close()


def main(argv: list[str] | None = None) -> list[dict[str, object]]:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--rate", type=float, default=1000.0)
    parser.add_argument("--dir", type=Path, default=None)
    parser.add_argument("--json", type=Path, default=None, help="write the rows to this file")
    args = parser.parse_args(argv)
    folder = Path(tempfile.mkdtemp(prefix="bench-outbox-", dir=args.dir))
    try:
        for durability in ("process", "disk"):
            asyncio.run(open_loop(folder, durability, args.rate, args.seconds))
        direct_closed(folder, 5_000)
        enqueue(folder, 20_000)
        bare_insert(folder, 20_000, "NORMAL")
        bare_insert(folder, 500, "FULL")
        persist_queue(folder, 2_000)
    finally:
        shutil.rmtree(folder)
    if args.json:
        args.json.write_text(json.dumps(ROWS, indent=1), encoding="utf-8")
    return ROWS


if __name__ == "__main__":
    main()
