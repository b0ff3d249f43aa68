"""A line that is half open: the peer's packets and ours vanish without a word, in a network namespace of its own."""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jackstay_agent.feeds import Batch, FeedManager, FeedSettings
from jackstay_agent.transport.websocket import ws_connect
from jackstay_protocols.clock import boot_s

SERVER = """
import asyncio, sys
sys.path.insert(0, sys.argv[1])
from scripted_exchange import BinanceLike, ScriptedExchange

class Everywhere(ScriptedExchange):
    async def start(self):
        self._server = await asyncio.start_server(self._accept, "0.0.0.0", 9443)

async def main():
    async with Everywhere(BinanceLike(period_s=0.02)):
        print("ready", flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""
PING_S, PONG_S = 1.0, 1.0


def sh(*words: str) -> None:
    subprocess.run(words, check=True, capture_output=True, timeout=10)


class Island:
    """A namespace behind a veth pair; `blackhole` loses everything in both directions."""

    def __init__(self) -> None:
        self.name = f"js{os.getpid()}"
        self.here, self.there = f"jh{os.getpid()}"[:15], f"jt{os.getpid()}"[:15]
        self.host = "10.213.77.2"

    def up(self) -> None:
        sh("ip", "netns", "add", self.name)
        sh("ip", "link", "add", self.here, "type", "veth", "peer", "name", self.there)
        sh("ip", "link", "set", self.there, "netns", self.name)
        sh("ip", "addr", "add", "10.213.77.1/30", "dev", self.here)
        sh("ip", "link", "set", self.here, "up")
        sh("ip", "-n", self.name, "addr", "add", f"{self.host}/30", "dev", self.there)
        sh("ip", "-n", self.name, "link", "set", self.there, "up")

    def blackhole(self) -> None:
        # A neighbour that answers to nothing: frames go to an address nobody has, so no error comes back either.
        nobody = "02:00:00:00:00:99"
        sh("ip", "neigh", "replace", self.host, "lladdr", nobody, "dev", self.here, "nud", "permanent")
        there = ("10.213.77.1", "lladdr", nobody, "dev", self.there, "nud", "permanent")
        sh("ip", "-n", self.name, "neigh", "replace", *there)

    def heal(self) -> None:
        sh("ip", "neigh", "del", self.host, "dev", self.here)
        sh("ip", "-n", self.name, "neigh", "del", "10.213.77.1", "dev", self.there)

    def down(self) -> None:
        for words in (("ip", "link", "del", self.here), ("ip", "netns", "del", self.name)):
            subprocess.run(words, check=False, capture_output=True, timeout=10)


@pytest.fixture
def island() -> Iterator[Island]:
    made = Island()
    try:
        made.up()
    except (OSError, subprocess.SubprocessError) as error:
        made.down()
        pytest.skip(f"network namespaces are not permitted here: {error}")
    server = subprocess.Popen(
        ["ip", "netns", "exec", made.name, sys.executable, "-c", SERVER, str(Path(__file__).resolve().parents[1])],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert server.stdout is not None
        assert server.stdout.readline() == "ready\n"
        yield made
    finally:
        server.kill()
        server.wait()
        made.down()


@pytest.mark.serial
@pytest.mark.asyncio
async def test_a_half_open_line_is_found_in_time_and_replaced(island: Island) -> None:
    """Packets vanish without a reset: the missing pong tells within ping and pong time and a tenth; after the return
    the topic is subscribed anew and its numbers go on."""
    events: list[tuple[float, str, dict[str, Any]]] = []
    numbers: list[int] = []
    news = asyncio.Event()

    def publish(batches: list[Batch]) -> None:
        for _topic, first, payloads in batches:
            numbers.extend(range(first, first + len(payloads)))
        news.set()

    def event(name: str, fields: dict[str, Any]) -> None:
        events.append((boot_s(), name, fields))
        news.set()

    async def until(condition: Any, limit_s: float) -> None:
        async with asyncio.timeout(limit_s):
            while not condition():
                news.clear()
                await news.wait()

    settings = FeedSettings(
        url=f"ws://{island.host}:9443/stream",
        dialect="binance",
        ping_interval_s=PING_S,
        pong_timeout_s=PONG_S,
        connect_timeout_s=1.0,
        backoff_min_s=0.1,
        backoff_max_s=0.5,
        cadence_factor=0,
        first_message_s=0,
    )
    manager = FeedManager(
        {"sim": settings},
        loop=asyncio.get_running_loop(),
        clock=boot_s,
        random=random.random,
        ws_dial=ws_connect,
        publish=publish,
        on_event=event,
    )
    manager.demand("sim", ["btcusdt@trade"])
    await until(lambda: len(numbers) > 20, 5)
    await asyncio.sleep(PING_S * random.random())
    island.blackhole()
    since = boot_s()
    await until(lambda: any(name == "feed.lost" for _at, name, _fields in events), 10)
    at, _name, fields = next(each for each in events if each[1] == "feed.lost")
    print(f"\nhalf open: found after {at - since:.2f} s, deadline {PING_S + PONG_S:g} s")
    assert fields["reason"] == "timeout"
    assert at - since <= (PING_S + PONG_S) * 1.1
    seen = len(numbers)
    island.heal()
    await until(lambda: len(numbers) > seen + 20, 10)
    assert numbers == list(range(1, len(numbers) + 1))
    await manager.stop()
