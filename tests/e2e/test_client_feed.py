"""Market data from a WebSocket server through a real agent to both faces of the client."""

from __future__ import annotations

import asyncio
import itertools
import json
import threading
from collections.abc import Iterator

import pytest

import jackstay
from harness import AgentProcess, cli
from jackstay import FeedMessage
from scripted_exchange import BinanceLike, ScriptedExchange

TOPICS = ["btcusdt@trade", "ethusdt@trade"]


@pytest.fixture
def agent() -> Iterator[AgentProcess]:
    """An agent whose only feed is a scripted exchange in a thread of this process."""
    loop = asyncio.new_event_loop()
    exchange = ScriptedExchange(BinanceLike(period_s=0.002))
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    asyncio.run_coroutine_threadsafe(exchange.start(), loop).result(5)
    config = f'[feeds.spot]\nurl = "{exchange.url}"\ndialect = "binance"\n'
    with AgentProcess(config) as running:
        yield running
    asyncio.run_coroutine_threadsafe(exchange.stop(), loop).result(5)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


def in_order(items: list[FeedMessage]) -> bool:
    """Per topic, the sequence rises by one."""
    by_topic: dict[str, list[int]] = {}
    for item in items:
        by_topic.setdefault(item.topic, []).append(item.sequence)
    return all(later == earlier + 1 for each in by_topic.values() for earlier, later in itertools.pairwise(each))


def test_the_blocking_client_reads_and_survives_the_agents_death(agent: AgentProcess) -> None:
    """kill -9 of the agent and a new one: the iterator names the gap and goes on by itself."""
    with jackstay.Client(agent.name, runtime_dir=agent.runtime_dir, bot_id="bot", kind="reader") as client:
        reader = client.subscribe("spot", TOPICS, timeout_s=20)
        before = list(itertools.islice(reader, 100))
        agent.kill()
        agent.start()
        after = list(itertools.islice(reader, 300))
    messages = [item for item in before if isinstance(item, FeedMessage)]
    assert {item.topic for item in messages} == {"spot/btcusdt@trade", "spot/ethusdt@trade"}
    assert in_order(messages)
    gaps = [item for item in after if isinstance(item, jackstay.Lagged)]
    assert {(gap.topic, gap.missed) for gap in gaps} == {("spot/btcusdt@trade", -1), ("spot/ethusdt@trade", -1)}
    assert isinstance(after[-1], FeedMessage)


def test_the_asyncio_client_reads_the_same(agent: AgentProcess) -> None:
    """And the payload is the exchange's own event."""

    async def run() -> list[FeedMessage]:
        items: list[FeedMessage] = []
        async with jackstay.AsyncClient(agent.name, runtime_dir=agent.runtime_dir, bot_id="bot") as client:
            async for item in client.subscribe("spot", TOPICS, timeout_s=20):
                assert isinstance(item, FeedMessage)
                items.append(item)
                if len(items) == 100:
                    break
        return items

    items = asyncio.run(run())
    assert in_order(items)
    assert items[0].payload.startswith(b'{"e":"trade"')


def test_readers_that_wait_and_one_that_does_not_get_the_same_stream(agent: AgentProcess) -> None:
    """Both faces with ``hold_s`` and one without: in order, nothing missing; the agent's list shows who waits."""

    async def run() -> list[FeedMessage | jackstay.Lagged | jackstay.AgentEvent]:
        items: list[FeedMessage | jackstay.Lagged | jackstay.AgentEvent] = []
        async with jackstay.AsyncClient(agent.name, runtime_dir=agent.runtime_dir, bot_id="aio") as client:
            async for item in client.subscribe("spot", TOPICS, hold_s=0.05, timeout_s=20):
                items.append(item)
                if len(items) == 200:
                    break
        return items

    with jackstay.Client(agent.name, runtime_dir=agent.runtime_dir, bot_id="bot", kind="reader") as client:
        waits = client.subscribe("spot", TOPICS, hold_s=0.1, timeout_s=20)
        prompt = client.subscribe("spot", TOPICS, timeout_s=20)
        second, third = (list(itertools.islice(reader, 200)) for reader in (waits, prompt))
        listed = json.loads(cli("feeds", "list", "--agent", agent.name, "--json", runtime_dir=agent.runtime_dir).stdout)
        first = asyncio.run(run())
    for items in (first, second, third):
        messages = [item for item in items if isinstance(item, FeedMessage)]
        assert len(messages) == 200
        assert in_order(messages)
    assert sorted(each["hold_s"] for each in listed["readers"]) == [0.0, 0.1]


def test_an_unknown_feed_is_told_at_once(agent: AgentProcess) -> None:
    """With the agent's own words."""
    with (
        jackstay.Client(agent.name, runtime_dir=agent.runtime_dir, bot_id="bot", kind="reader") as client,
        pytest.raises(jackstay.Refused, match="nowhere"),
    ):
        client.subscribe("nowhere", TOPICS)
