"""A reader that is stopped under 50,000 messages a second: bounded memory, the others unaffected, losses told."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from typing import Any

import pytest

from harness import AgentProcess, child_env
from scripted_exchange import TEXT, Peer, ScriptedExchange, frame, trade

PER_S = 50_000
QUEUE_BYTES = 8 * 1024 * 1024  # gateway/feed_door.py
SNDHWM, BATCH_BYTES = 64, 32 * 1024  # what ZeroMQ may hold for one reader besides
CATCH_UP_S = 3.0
HELD_MESSAGES_MAX = 220_000
SLACK_BYTES = 12 * 1024 * 1024  # the kernel's buffers, the allocator, the agent's own life

READER = """
import json, signal, sys, time
from jackstay import Client, FeedMessage, Lagged
client = Client(sys.argv[1], runtime_dir=sys.argv[2], kind="reader", bot_id=sys.argv[3])
enough = []
signal.signal(signal.SIGTERM, lambda *_: enough.append(True))
got = missed = gaps = 0
expected = None
last = {"at": 0.0, "worst": 0.0}
for item in client.subscribe("sim", ["s@trade"], timeout_s=60):
    now = time.monotonic()
    if isinstance(item, Lagged):
        missed += item.missed
        if expected is not None and item.missed > 0:
            expected += item.missed
    elif isinstance(item, FeedMessage):
        if expected is None:
            print("ready", flush=True)
        elif item.sequence != expected:
            gaps += 1
        if last["at"]:
            last["worst"] = max(last["worst"], now - last["at"])
        last["at"] = now
        expected = item.sequence + 1
        got += 1
    if enough:
        break
print(json.dumps({"got": got, "missed": missed, "gaps": gaps, "worst_s": last["worst"], "last": expected}), flush=True)
"""


async def pour(peer: Peer) -> None:
    """50,000 trades a second to whoever subscribed, in blocks of 5 ms."""
    subscribed = asyncio.Event()

    async def write() -> None:
        await subscribed.wait()
        loop = asyncio.get_running_loop()
        frames = [frame(TEXT, trade("s@trade", number)) for number in range(1000, 2000)]
        began, sent = loop.time(), 0
        while True:
            await asyncio.sleep(0.005)
            due = int((loop.time() - began) * PER_S) - sent
            sent += due
            peer.writer.write(b"".join(frames[n % 1000] for n in range(due)))
            await peer.writer.drain()

    writing = asyncio.create_task(write())
    try:
        async for text in peer.texts():
            await peer.text({"result": None, "id": json.loads(text)["id"]})
            subscribed.set()
    finally:
        writing.cancel()
        with contextlib.suppress(asyncio.CancelledError, ConnectionError):
            await writing


async def stopped_for(stop_s: float) -> None:
    async with ScriptedExchange(pour) as exchange:
        config = f'[feeds.sim]\nurl = "{exchange.url}"\ndialect = "binance"\nsubscribes_per_s = 0\n'
        with AgentProcess(config) as agent:
            env = child_env()
            readers = {
                who: subprocess.Popen(
                    [sys.executable, "-c", READER, agent.name, str(agent.runtime_dir), who],
                    stdout=subprocess.PIPE,
                    env=env,
                    text=True,
                )
                for who in ("slow", "fast")
            }
            try:
                for reader in readers.values():
                    assert reader.stdout is not None
                    assert await asyncio.to_thread(reader.stdout.readline) == "ready\n"
                await asyncio.sleep(1.0)
                before_mb = agent.rss_mb()
                os.kill(readers["slow"].pid, signal.SIGSTOP)
                worst_mb, until = before_mb, time.monotonic() + stop_s
                while time.monotonic() < until:
                    await asyncio.sleep(0.2)
                    worst_mb = max(worst_mb, agent.rss_mb())
                os.kill(readers["slow"].pid, signal.SIGCONT)
                await asyncio.sleep(CATCH_UP_S)
                for reader in readers.values():
                    reader.terminate()
                told: dict[str, dict[str, Any]] = {}
                for who, reader in readers.items():
                    assert reader.stdout is not None
                    told[who] = json.loads(await asyncio.to_thread(reader.stdout.readline))
            finally:
                for reader in readers.values():
                    reader.kill()
                    reader.wait()
                    if reader.stdout is not None:
                        reader.stdout.close()
    grown = (worst_mb - before_mb) * 1e6
    print(f"\nstopped {stop_s:g} s: agent grew {grown / 2**20:.1f} MiB; {told}")
    slow, fast = told["slow"], told["fast"]
    assert grown <= QUEUE_BYTES + SNDHWM * BATCH_BYTES + SLACK_BYTES
    assert (fast["missed"], fast["gaps"]) == (0, 0)
    assert fast["got"] >= 0.6 * PER_S * stop_s
    assert slow["gaps"] == 0  # every jump was told before
    # What the bounds hold (about 13 MB of 85-byte messages) comes late, everything older was dropped and counted.
    assert slow["missed"] > max(0, 0.8 * PER_S * stop_s - HELD_MESSAGES_MAX)


@pytest.mark.serial
@pytest.mark.asyncio
async def test_a_reader_stopped_for_five_seconds() -> None:
    """The agent grows by its configured bytes at most, the other reader misses nothing, the slow one is told all."""
    await stopped_for(5.0)


@pytest.mark.soak
@pytest.mark.asyncio
async def test_a_reader_stopped_for_ten_seconds() -> None:
    """The same for ten seconds."""
    await stopped_for(10.0)
