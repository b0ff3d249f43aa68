"""Market data end to end: a scripted exchange, a real agent process, and the client a bot uses."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from harness import AgentProcess
from jackstay import AgentEvent, AsyncClient, FeedMessage
from scripted_exchange import BinanceLike, ScriptedExchange

CONFIG = """
[upstreams]
"stream.venue.test" = "http://127.0.0.1:{port}"

[feeds.sim]
url = "wss://stream.venue.test/stream"
dialect = "binance"
subscribes_per_s = 0
ping_interval_s = 0.5
pong_timeout_s = 0.5
"""


@asynccontextmanager
async def streaming(venue: BinanceLike) -> AsyncIterator[tuple[ScriptedExchange, AgentProcess, AsyncClient]]:
    async with ScriptedExchange(venue) as exchange:
        agent = AgentProcess(CONFIG.format(port=exchange.port))
        await asyncio.to_thread(agent.start)
        try:
            client = AsyncClient(agent.name, runtime_dir=agent.runtime_dir, bot_id="reader", kind="reader")
            try:
                yield exchange, agent, client
            finally:
                await client.close()
        finally:
            await asyncio.to_thread(agent.__exit__, None, None, None)


async def take(stream: AsyncIterator[Any], count: int) -> list[FeedMessage]:
    got: list[FeedMessage] = []
    async with asyncio.timeout(20):
        while len(got) < count:
            item = await anext(stream)
            if isinstance(item, FeedMessage):
                got.append(item)
    return got


@pytest.mark.asyncio
async def test_a_stream_survives_resets_and_an_exchange_restart() -> None:
    """Through a rerouted host the bot gets every topic gapless, also across a reset and an exchange that is down for a
    while; nothing is raised in the bot, and the events say what happened."""
    venue = BinanceLike(period_s=0.002)
    async with streaming(venue) as (exchange, agent, client):
        stream = client.subscribe("sim", ["btcusdt@trade"])
        events = client.subscribe("", [], events=True)
        first = await take(stream, 50)
        assert [item.sequence for item in first] == list(range(first[0].sequence, first[0].sequence + 50))
        assert json.loads(first[0].payload)["e"] == "trade"
        assert b"Host: stream.venue.test" in exchange.peers[0].head

        waiting = asyncio.ensure_future(anext(events))
        await asyncio.sleep(0.1)
        exchange.peers[0].reset()
        began = time.monotonic()
        async with asyncio.timeout(10):
            while not agent.events("feed.resumed"):
                await asyncio.sleep(0.01)
        after_reset = await take(stream, 50)
        told = await asyncio.wait_for(waiting, 10)
        assert isinstance(told, AgentEvent)
        assert told.name == "feed.lost"

        await exchange.stop()
        await asyncio.sleep(0.3)
        await exchange.start()
        async with asyncio.timeout(20):
            while len(agent.events("feed.resumed")) < 2:
                await asyncio.sleep(0.01)
        after_restart = await take(stream, 200)
        numbers = [item.sequence for item in [*first, *after_reset, *after_restart]]
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
        resumed = agent.events("feed.resumed")
        assert len(resumed) >= 2
        print(
            f"\nreset: first message {resumed[0]['down_s'] * 1e3:.1f} ms later, in all {time.monotonic() - began:.2f} s"
        )
        assert agent.status()["feeds"]["sim"]["topics"]["sim/btcusdt@trade"]["readers"] == 1


@pytest.mark.asyncio
async def test_a_frozen_agent_does_not_take_its_own_absence_for_the_venues() -> None:
    """After the agent was stopped for longer than the pong's deadline it goes on with the same connection."""
    venue = BinanceLike(period_s=0.02)
    async with streaming(venue) as (exchange, agent, client):
        stream = client.subscribe("sim", ["btcusdt@trade"])
        await take(stream, 20)
        for _ in range(3):
            await asyncio.sleep(0.35)
            agent.signal(signal.SIGSTOP)
            await asyncio.sleep(1.2)
            agent.signal(signal.SIGCONT)
            await take(stream, 20)
        await take(stream, 60)
        assert len(exchange.peers) == 1
        assert agent.events("feed.lost") == []
