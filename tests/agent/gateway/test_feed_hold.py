"""jackstay_agent.gateway.feed_hold: readers that asked to be woken less often, over real ZeroMQ sockets."""

from __future__ import annotations

import asyncio
import math
from pathlib import Path

import pytest

from feed_house import House, Tool, house, until
from jackstay_protocols.codec import decode
from jackstay_protocols.limits import HOLD_S_MAX, TO_CLIENT_FRAME_BYTES_MAX
from jackstay_protocols.messages import (
    TO_CLIENT,
    Done,
    Event,
    Feed,
    FeedItem,
    FeedTurn,
    Goodbye,
    Lagged,
    Message,
    Refusal,
    Subscribe,
    Unsubscribe,
)


async def reader(
    h: House, hold_s: float = HOLD_S_MAX, *, topics: tuple[str, ...] = ("a",), events: bool = False
) -> Tool:
    tool = h.tool()
    await tool.hello()
    assert isinstance(await tool.ask(Subscribe("sim", list(topics), events, turns=True, hold_s=hold_s)), Done)
    return tool


async def together(tool: Tool) -> list[Message]:
    """The messages that the agent sent as one."""
    parts = await asyncio.wait_for(tool.socket.recv_multipart(), 10)
    return [decode(part, TO_CLIENT, bytes_max=TO_CLIENT_FRAME_BYTES_MAX)[1] for part in parts]


@pytest.mark.asyncio
async def test_turns_are_collected_for_one_reader_and_not_for_another(tmp_path: Path) -> None:
    """One message with all that came in its time for the one, a message per turn for the other; the order is that of
    the turns, over topics too."""
    async with house(tmp_path) as h:
        prompt = await reader(h, 0.0, topics=("a", "b"))
        patient = await reader(h, 0.05, topics=("a", "b", "c"))
        h.door.publish([("sim/a", 1, [b"1"])])
        h.door.publish([("sim/b", 7, [b"2", b"3"]), ("sim/c", 1, [b"4"])])
        h.door.publish([("sim/a", 2, [b"5"])])
        assert [(each["hold_s"], each["held_bytes"] > 0) for each in h.readers()] == [(0.0, False), (0.05, True)]
        first, second, third = [await together(prompt) for _ in range(3)]
        assert first == [Feed("sim/a", [b"1"])]
        assert second == [Feed("sim/b", [b"2", b"3"])]
        assert third == [Feed("sim/a", [b"5"])]
        items = [("sim/a", 1, b"1"), ("sim/b", 7, b"2"), ("sim/b", 8, b"3"), ("sim/c", 1, b"4"), ("sim/a", 2, b"5")]
        assert await together(patient) == [FeedTurn([FeedItem(*each) for each in items])]
        assert [(each["held_bytes"], each["sent"]) for each in h.readers()] == [(0, 4), (0, 5)]


@pytest.mark.asyncio
async def test_events_and_gaps_come_behind_what_was_there_before_them(tmp_path: Path) -> None:
    """Neither waits, and neither overtakes: both bring along what is held."""
    async with house(tmp_path) as h:
        tool = await reader(h, events=True)
        h.door.publish([("sim/a", 1, [b"1"])])
        h.door.publish_event(Event("feed.gap", 1, {}))
        h.door.publish([("sim/a", 2, [b"2"])])
        h.door.uncounted("sim/a")
        h.door.publish([("sim/a", 3, [b"3"])])
        came = [(await tool.recv())[2] for _ in range(5)]
        event, gap = Event("feed.gap", 1, {}), Lagged("sim/a", -1)
        assert came == [Feed("sim/a", [b"1"]), event, Feed("sim/a", [b"2"]), gap, Feed("sim/a", [b"3"])]


@pytest.mark.asyncio
@pytest.mark.parametrize("farewell", [Unsubscribe("sim", ["a"]), Unsubscribe("sim"), Goodbye()], ids=repr)
async def test_who_leaves_gets_what_is_held_before_the_answer(tmp_path: Path, farewell: Message) -> None:
    """Nothing of a topic comes behind the answer that it is over."""
    async with house(tmp_path) as h:
        tool = await reader(h)
        h.door.publish([("sim/a", 1, [b"1"])])
        await tool.send(farewell)
        assert (await tool.recv())[1:] == (1, Feed("sim/a", [b"1"]))
        assert isinstance((await tool.recv())[2], Done)
        assert h.feeds.readers == {"sim/a": 0}
        assert not any(each["held_bytes"] for each in h.readers())


@pytest.mark.asyncio
async def test_the_latest_subscribe_that_names_a_feed_counts(tmp_path: Path) -> None:
    """For all topics of the socket, from then on; one for events alone changes nothing."""
    async with house(tmp_path) as h:
        tool = await reader(h)
        await tool.ask(Subscribe(events=True))
        assert [each["hold_s"] for each in h.readers()] == [HOLD_S_MAX]
        h.door.publish([("sim/a", 1, [b"1"])])
        await tool.send(Subscribe("sim", ["b"], turns=True))
        assert (await tool.recv())[2] == Feed("sim/a", [b"1"])
        assert isinstance((await tool.recv())[2], Done)
        h.door.publish([("sim/a", 2, [b"2"])])
        assert [(each["hold_s"], each["held_bytes"]) for each in h.readers()] == [(0.0, 0)]
        assert (await tool.recv())[2] == Feed("sim/a", [b"2"])


@pytest.mark.asyncio
@pytest.mark.parametrize("hold_s", [-0.001, HOLD_S_MAX * 1.01, math.inf, math.nan])
async def test_a_hold_outside_its_bounds_is_refused(tmp_path: Path, hold_s: float) -> None:
    """With what was found and what is expected; nothing is subscribed."""
    async with house(tmp_path) as h:
        tool = h.tool()
        await tool.hello()
        answer = await tool.ask(Subscribe("sim", ["a"], hold_s=hold_s))
        assert isinstance(answer, Refusal)
        assert answer.reason == "bad_request"
        assert f"hold_s is {hold_s!r}" in answer.message
        assert "0.1" in answer.message
        assert h.feeds.readers == {}


@pytest.mark.asyncio
async def test_a_door_that_closes_sends_what_is_held(tmp_path: Path) -> None:
    """To every reader that holds something, before it forgets them."""
    async with house(tmp_path) as h:
        tools = [await reader(h), await reader(h, 0.09)]
        h.door.publish([("sim/a", 1, [b"1"])])
        h.door.close()
        assert h.readers() == []
        assert h.feeds.readers == {"sim/a": 0}
        for tool in tools:
            assert (await tool.recv())[1:] == (1, Feed("sim/a", [b"1"]))


@pytest.mark.asyncio
async def test_a_reader_that_vanished_while_something_is_held_is_forgotten(tmp_path: Path) -> None:
    """With its demand, by the end of its own time; another one with the same time gets what is its."""
    async with house(tmp_path) as h:
        gone, stays = await reader(h, 0.02), await reader(h, 0.02)
        gone.socket.close(0)
        numbers = iter(range(1, 1_000_000))

        def published() -> bool:
            h.door.publish([("sim/a", next(numbers), [b"x"])])
            return len(h.readers()) == 1

        await until(published)
        assert h.feeds.readers == {"sim/a": 1}
        sent = next(numbers)
        h.door.publish([("sim/a", sent, [b"last"])])
        expected = 1
        while expected <= sent:
            _id, when, message = await stays.recv()
            numbered = (
                [(when, message.payloads[0])] if isinstance(message, Feed) else [each[1:] for each in message.items]  # type: ignore[attr-defined]
            )
            for number, _payload in numbered:
                assert number == expected
                expected += 1
