"""jackstay.feed and aio_feed: market data in order, gaps named, across the agent's restarts."""

from __future__ import annotations

import asyncio
import itertools
import re
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import jackstay
from client.fake_agent import FakeAgent
from jackstay import AgentEvent, FeedMessage, Lagged
from jackstay_protocols import messages as m
from jackstay_protocols.errors import AgentGone, Reason, Refused, ValidationError

Connect = Callable[..., jackstay.Client]
TOPIC = "btcusdt@trade"
OTHER = "ethusdt@trade"
# a frame of one turn of several topics, and what a bot gets of it
SEVERAL = m.FeedTurn([m.FeedItem(TOPIC, 16, b"d"), m.FeedItem(OTHER, 3, b"e"), m.FeedItem(OTHER, 4, b"f")])
IN_SEVERAL = [FeedMessage(TOPIC, 16, b"d"), FeedMessage(OTHER, 3, b"e"), FeedMessage(OTHER, 4, b"f")]


def publish(agent: FakeAgent, first: int, *payloads: bytes, topic: str = TOPIC, reader: int = -1) -> None:
    agent.tell(agent.wait_for(m.Subscribe)[reader].peer, m.Feed(topic, list(payloads)), when=first, door="feed")


def say(agent: FakeAgent, message: m.Message) -> None:
    agent.tell(agent.wait_for(m.Subscribe)[-1].peer, message, door="feed")


def test_messages_come_in_order_with_their_sequence(agent: FakeAgent, connect: Connect) -> None:
    """A batch is taken apart, and a turn of several topics; gaps and events are items."""
    reader = connect().subscribe("binance", [TOPIC], events=True, timeout_s=2)
    publish(agent, 10, b"a", b"b")
    say(agent, m.Lagged(TOPIC, 3))
    say(agent, m.Event("breaker.opened", 5, {"venue": "x"}))
    publish(agent, 15, b"c")
    say(agent, SEVERAL)
    assert list(itertools.islice(reader, 8)) == [
        FeedMessage(TOPIC, 10, b"a"),
        FeedMessage(TOPIC, 11, b"b"),
        Lagged(TOPIC, 3),
        AgentEvent("breaker.opened", 5, {"venue": "x"}),
        FeedMessage(TOPIC, 15, b"c"),
        *IN_SEVERAL,
    ]
    (hello,) = [each for each in agent.of(m.Hello) if each.door == "feed"]
    assert hello.message.kind == "reader"  # type: ignore[attr-defined]
    assert agent.of(m.Subscribe)[0].message == m.Subscribe("binance", [TOPIC], True, turns=True)


def test_a_reader_says_how_long_its_messages_may_be_collected(
    agent: FakeAgent, connect: Connect, runtime: Path
) -> None:
    """Both faces, as ``hold_s`` of their subscription."""

    async def asyncio_reader() -> list[object]:
        async with jackstay.AsyncClient("fake", runtime_dir=runtime, bot_id="aio") as client:
            return [item async for item in client.subscribe("binance", [TOPIC], hold_s=0.1, timeout_s=0.05)]

    assert list(connect().subscribe("binance", [TOPIC], hold_s=0.02, timeout_s=0.05)) == []
    assert asyncio.run(asyncio_reader()) == []
    assert [each.message for each in agent.of(m.Subscribe)] == [
        m.Subscribe("binance", [TOPIC], turns=True, hold_s=0.02),
        m.Subscribe("binance", [TOPIC], turns=True, hold_s=0.1),
    ]


@pytest.mark.parametrize("hold_s", [-0.01, 0.11, 10, float("nan"), float("inf"), True, "0.01", None])
def test_a_wrong_hold_is_told_before_anything_is_sent(
    agent: FakeAgent, connect: Connect, runtime: Path, hold_s: object
) -> None:
    """With what was found and what is expected, at both faces."""

    async def asyncio_reader() -> None:
        async with jackstay.AsyncClient("fake", runtime_dir=runtime, bot_id="aio") as client:
            async for _item in client.subscribe("binance", [TOPIC], hold_s=hold_s):  # type: ignore[arg-type]
                pass

    expected = re.escape(f"hold_s is {hold_s!r}") + r".*from 0 \(at once\) to 0\.1"
    with pytest.raises(ValidationError, match=expected):
        connect().subscribe("binance", [TOPIC], hold_s=hold_s)
    with pytest.raises(ValidationError, match=expected):
        asyncio.run(asyncio_reader())
    assert agent.of(m.Subscribe) == []


def test_silence_ends_the_iterator(agent: FakeAgent, connect: Connect) -> None:
    """After timeout_s, not before; its socket is gone then."""
    began = time.monotonic()
    assert list(connect().subscribe("binance", [TOPIC], timeout_s=0.2)) == []
    assert 0.2 <= time.monotonic() - began < 3


def test_events_alone(agent: FakeAgent, connect: Connect) -> None:
    """No feed, no topics."""
    news = connect().events(timeout_s=0.3)
    thread = threading.Thread(target=lambda: say(agent, m.Event("venue.gated", 1, {})))
    thread.start()
    assert list(news) == [AgentEvent("venue.gated", 1, {})]
    thread.join()
    assert agent.of(m.Subscribe)[0].message == m.Subscribe("", [], True, turns=True)


def test_after_a_restart_the_stream_goes_on_and_names_the_gap(agent: FakeAgent, connect: Connect) -> None:
    """Subscribed again by itself; nobody counted what went by."""
    reader = connect().subscribe("binance", [TOPIC], timeout_s=5)
    publish(agent, 1, b"a")
    assert next(reader) == FeedMessage(TOPIC, 1, b"a")
    agent.stop()
    agent.start()
    thread = threading.Thread(target=lambda: (agent.wait_for(m.Subscribe, 2), publish(agent, 1, b"b")))
    thread.start()
    assert [next(reader), next(reader)] == [Lagged(TOPIC, -1), FeedMessage(TOPIC, 1, b"b")]
    thread.join()


def test_a_refused_subscription_is_told_at_once(agent: FakeAgent, connect: Connect) -> None:
    """With the agent's reason."""
    agent.other_script = lambda _a, h: (
        m.Refusal(Reason.GATED, "no such feed") if isinstance(h.message, m.Subscribe) else None
    )
    with pytest.raises(Refused, match="no such feed"):
        connect().subscribe("nowhere", [TOPIC])


def test_without_an_agent_a_subscription_says_so(connect: Connect) -> None:
    """AgentGone, as for any call."""
    with pytest.raises(AgentGone):
        connect(connect_timeout_s=0.1).subscribe("binance", [TOPIC])


def test_a_single_text_is_no_list_of_topics(agent: FakeAgent, connect: Connect) -> None:
    """Or seven subscriptions to one letter each."""
    with pytest.raises(ValidationError, match="list"):
        connect().subscribe("binance", TOPIC)


def test_a_reading_thread_keeps_the_bots_lease(agent: FakeAgent, connect: Connect) -> None:
    """While it waits for data, it beats on both sockets."""
    agent.beat_within_s = 0.3
    client = connect()
    client.status()
    list(client.subscribe("binance", [TOPIC], timeout_s=0.6))
    assert {each.door for each in agent.of(m.Beat)} == {"bot", "feed"}


def test_asyncio_reads_the_same(agent: FakeAgent, runtime: Path) -> None:
    """Order, gaps, events, a restart, and the end by silence."""

    async def run() -> list[object]:
        items: list[object] = []
        async with jackstay.AsyncClient("fake", runtime_dir=runtime, bot_id="bot") as client:
            async for item in client.subscribe("binance", [TOPIC], events=True, timeout_s=1.0):
                items.append(item)
                if len(items) == 7:
                    await asyncio.to_thread(agent.stop)
                    agent.start()
                    thread.start()
        return items

    def first() -> None:
        publish(agent, 10, b"a", b"b")
        say(agent, m.Lagged(TOPIC, 3))
        say(agent, m.Event("e", 5, {}))
        say(agent, SEVERAL)

    starter = threading.Thread(target=first)
    thread = threading.Thread(target=lambda: (agent.wait_for(m.Subscribe, 2), publish(agent, 1, b"c")))
    starter.start()
    items = asyncio.run(run())
    starter.join()
    thread.join()
    assert items == [
        FeedMessage(TOPIC, 10, b"a"),
        FeedMessage(TOPIC, 11, b"b"),
        Lagged(TOPIC, 3),
        AgentEvent("e", 5, {}),
        *IN_SEVERAL,
        Lagged(TOPIC, -1),
        FeedMessage(TOPIC, 1, b"c"),
    ]


def test_an_asyncio_reader_lets_other_tasks_run(agent: FakeAgent, runtime: Path) -> None:
    """However fast the data comes, and none of it is lost."""

    async def run() -> tuple[int, int]:
        turns = count = 0

        async def other() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        task = asyncio.create_task(other())
        async with jackstay.AsyncClient("fake", runtime_dir=runtime, bot_id="bot") as client:
            async for _item in client.subscribe("binance", [TOPIC], timeout_s=2.0):
                count += 1
                if count == 5000:
                    break
        task.cancel()
        return turns, count

    def flood() -> None:
        agent.wait_for(m.Subscribe)
        for number in range(50):
            publish(agent, number * 100, *[b"x"] * 100)

    thread = threading.Thread(target=flood)
    thread.start()
    turns, count = asyncio.run(run())
    thread.join()
    assert count == 5000
    assert turns > 10


def test_a_refused_asyncio_subscription_raises_on_the_first_item(agent: FakeAgent, runtime: Path) -> None:
    """And releases its socket."""
    agent.other_script = lambda _a, h: (
        m.Refusal(Reason.GATED, "no such feed") if isinstance(h.message, m.Subscribe) else None
    )

    async def run() -> None:
        async with jackstay.AsyncClient("fake", runtime_dir=runtime, bot_id="bot") as client:
            async for _item in client.events():
                pass

    with pytest.raises(Refused):
        asyncio.run(run())
