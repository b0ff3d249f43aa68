"""jackstay_agent.gateway.feed_door: real ZeroMQ sockets, real reader processes."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import zmq
import zmq.asyncio

from feed_house import house, until
from jackstay_agent.core.fanout import ENTRY_OVERHEAD_BYTES
from jackstay_agent.feed_batches import BATCH_BYTES_MAX
from jackstay_protocols.codec import decode, encode
from jackstay_protocols.limits import TO_CLIENT_FRAME_BYTES_MAX, WIRE_VERSION
from jackstay_protocols.messages import (
    TO_CLIENT,
    Beat,
    Done,
    Event,
    Feed,
    Goodbye,
    Lagged,
    Message,
    Refusal,
    Request,
    StatusQuery,
    Subscribe,
    Unsubscribe,
    Welcome,
)

# ---------------------------------------------------------------- words


@pytest.mark.asyncio
async def test_hello_subscribe_data_unsubscribe(tmp_path: Path) -> None:
    """A reader is welcomed, gets the batches of its topics with their numbers, and none after it left."""
    async with house(tmp_path) as h:
        tool = h.tool()
        welcome = await tool.hello()
        assert isinstance(welcome, Welcome)
        assert (welcome.agent, welcome.wire_version) == ("test", WIRE_VERSION)
        done = await tool.ask(Subscribe("sim", ["a", "b", "a"]))
        assert done == Done({"topics": ["sim/a", "sim/b"], "events": False})
        assert h.feeds.readers == {"sim/a": 1, "sim/b": 1}
        h.door.publish([("sim/a", 1, [b"1", b"2"])])
        h.door.publish([("sim/c", 1, [b"not ours"])])
        h.door.publish([("sim/b", 7, [b"3"])])
        assert (await tool.recv())[1:] == (1, Feed("sim/a", [b"1", b"2"]))
        assert (await tool.recv())[1:] == (7, Feed("sim/b", [b"3"]))
        assert await tool.ask(Unsubscribe("sim", ["a"])) == Done({"topics": ["sim/a"], "events": False})
        assert h.feeds.readers == {"sim/a": 0, "sim/b": 1}
        h.door.publish([("sim/a", 3, [b"late"])])
        h.door.publish([("sim/b", 8, [b"4"])])
        assert (await tool.recv())[1:] == (8, Feed("sim/b", [b"4"]))
        assert await tool.ask(Unsubscribe("sim")) == Done({"topics": ["sim/b"], "events": False})
        assert h.feeds.readers == {"sim/a": 0, "sim/b": 0}


@pytest.mark.asyncio
async def test_a_turns_batches_are_one_message_of_bounded_parts(tmp_path: Path) -> None:
    """Many topics of one turn: a reader gets its own of them in order, as few ZeroMQ messages, none over the bound."""
    async with house(tmp_path) as h:
        tool = h.tool()
        await tool.hello()
        topics = [f"t{number}" for number in range(200)]
        await tool.ask(Subscribe("sim", topics))
        turn = [(f"sim/{topic}", 5, [b"%0300d" % at]) for at, topic in enumerate(topics)]
        big = ("sim/t0", 6, [b"y" * 50_000])  # larger than the bound: alone
        h.door.publish([*turn[:100], ("sim/not ours", 1, [b""]), *turn[100:], big])
        messages = []
        while sum(map(len, messages)) < 201:
            messages.append(await asyncio.wait_for(tool.socket.recv_multipart(), 10))
        frames = [decode(part, TO_CLIENT, bytes_max=TO_CLIENT_FRAME_BYTES_MAX) for each in messages for part in each]
        assert [(message.topic, header.when) for header, message in frames] == [  # type: ignore[attr-defined]
            (topic, seq) for topic, seq, _payloads in [*turn, big]
        ]
        assert len(messages) <= 5
        assert all(sum(map(len, each)) <= BATCH_BYTES_MAX for each in messages[:-1])
        assert len(messages[-1]) == 1


@pytest.mark.asyncio
async def test_a_turn_that_a_reader_does_not_take_waits_whole_and_in_order(tmp_path: Path) -> None:
    """A full pipe takes a turn's first parts or none of them; what came in between is told in numbers without a gap."""
    async with house(tmp_path, sndhwm=2, queue_bytes_max=64 * 1024 * 1024) as h:
        tool = h.tool()
        tool.socket.setsockopt(zmq.RCVHWM, 1)
        await tool.hello()
        await tool.ask(Subscribe("sim", ["a", "b"]))
        for turn in range(200):
            h.door.publish([("sim/a", turn + 1, [b"%020000d" % turn]), ("sim/b", turn + 1, [b"%020000d" % turn])])
        assert h.readers()[0]["queued_bytes"] > 0
        seen: dict[str, list[int]] = {"sim/a": [], "sim/b": []}
        while sum(map(len, seen.values())) < 400:
            _id, when, message = await tool.recv()
            assert isinstance(message, Feed)
            seen[message.topic].append(when)
        assert seen == {"sim/a": list(range(1, 201)), "sim/b": list(range(1, 201))}
        assert h.readers()[0]["missed"] == 0


@pytest.mark.asyncio
async def test_a_gap_nobody_counted_is_told_and_leaves_no_last_value(tmp_path: Path) -> None:
    """`uncounted` reaches the topic's readers as -1; what was published without a last value greets no late joiner."""
    async with house(tmp_path) as h:
        first, second = h.tool(), h.tool()
        await first.hello()
        await first.ask(Subscribe("sim", ["a"]))
        h.door.publish([("sim/a", 1, [b"1"])], keep_last=False)
        h.door.uncounted("sim/a")
        h.door.uncounted("sim/nobody reads it")
        assert (await first.recv())[2] == Feed("sim/a", [b"1"])
        assert (await first.recv())[2] == Lagged("sim/a", -1)
        await second.hello()
        await second.ask(Subscribe("sim", ["a"]))
        h.door.publish([("sim/a", 2, [b"2"])], keep_last=False)
        assert (await second.recv())[1:] == (2, Feed("sim/a", [b"2"]))


@pytest.mark.asyncio
async def test_a_late_joiner_starts_with_the_last_value(tmp_path: Path) -> None:
    """A second reader first gets the newest message with its number, then goes on gapless."""
    async with house(tmp_path) as h:
        first, second = h.tool(), h.tool()
        await first.hello()
        await first.ask(Subscribe("sim", ["a"]))
        h.door.publish([("sim/a", 1, [b"1", b"2"])])
        await second.hello()
        await second.send(Subscribe("sim", ["a"]))
        assert isinstance((await second.recv())[2], Done)
        assert (await second.recv())[1:] == (2, Feed("sim/a", [b"2"]))
        h.door.publish([("sim/a", 3, [b"3"])])
        assert (await second.recv())[1:] == (3, Feed("sim/a", [b"3"]))
        for tool in (first, second):
            await tool.ask(Unsubscribe("sim"))
        await first.send(Subscribe("sim", ["a"]))
        assert isinstance((await first.recv())[2], Done)
        h.door.publish([("sim/a", 9, [b"9"])])
        assert (await first.recv())[1:] == (9, Feed("sim/a", [b"9"]))  # nothing stale before it


@pytest.mark.asyncio
async def test_events_reach_those_who_asked(tmp_path: Path) -> None:
    """Events carry a number of their own and go to readers that set ``events``."""
    async with house(tmp_path) as h:
        tool, other = h.tool(), h.tool()
        await tool.hello()
        await other.hello("other")
        await tool.ask(Subscribe(events=True))
        h.door.publish_event(Event("feed.lost", 1, {"feed": "sim"}))
        h.door.publish_event(Event("feed.resumed", 1, {"down_s": 0.5}))
        assert (await tool.recv())[1:] == (1, Event("feed.lost", 1, {"feed": "sim"}))
        assert (await tool.recv())[1:] == (2, Event("feed.resumed", 1, {"down_s": 0.5}))
        assert isinstance(await other.ask(Beat()), Done)  # nothing came before the answer


@pytest.mark.asyncio
async def test_refusals_say_why_and_leave_no_half(tmp_path: Path) -> None:
    """Strangers, unknown feeds, misplaced messages, other versions and broken frames get a typed no."""
    async with house(tmp_path, topics_max=2) as h:
        tool = h.tool()

        async def reason(message: Message) -> str:
            answer = await tool.ask(message)
            assert isinstance(answer, Refusal), answer
            return answer.reason

        assert await reason(Subscribe("sim", ["a"])) == "unknown_peer"
        refused = await tool.hello(wire_min=7, wire_max=9)
        assert isinstance(refused, Refusal)
        assert refused.reason == "version"
        assert isinstance(await tool.hello(bot_id=""), Refusal)
        assert isinstance(await tool.hello(), Welcome)
        assert await reason(Subscribe("nope", ["a"])) == "upstream_not_allowed"
        assert await reason(Subscribe()) == "bad_request"
        assert await reason(Subscribe("sim", ["a", "b", "c"], events=True)) == "queue_full"
        assert h.feeds.readers == {}
        assert await reason(Subscribe("sim", ["x"] * 2000)) == "too_large"
        assert await reason(Request("GET", "/")) == "bad_request"
        assert h.readers()[0]["events"] is False
        for broken in (b"", b"\x01", encode(Beat(), id=5, version=99), encode(Beat(), id=6)[:-1] + b"\xc1"):
            await tool.socket.send(broken)
            _id, _when, answer = await tool.recv()
            assert isinstance(answer, Refusal)
        assert isinstance(await tool.ask(StatusQuery()), Done)


@pytest.mark.asyncio
async def test_other_users_are_refused(tmp_path: Path) -> None:
    """A uid that is not on the list gets a typed no, by the kernel's word."""
    async with house(tmp_path, allow_uids=frozenset({os.getuid() + 1})) as h:
        refused = await h.tool().hello()
        assert isinstance(refused, Refusal)
        assert refused.reason == "not_permitted"


@pytest.mark.asyncio
async def test_the_number_of_readers_is_bounded(tmp_path: Path) -> None:
    """One reader too many is refused; a place freed by GOODBYE is given again."""
    async with house(tmp_path, readers_max=1) as h:
        first, second = h.tool(), h.tool()
        assert isinstance(await first.hello(), Welcome)
        await first.ask(Subscribe("sim", ["a"]))
        refused = await second.hello()
        assert isinstance(refused, Refusal)
        assert refused.reason == "queue_full"
        assert isinstance(await first.ask(Goodbye()), Done)
        assert h.feeds.readers == {"sim/a": 0}
        assert isinstance(await second.hello(), Welcome)


@pytest.mark.asyncio
async def test_a_reader_that_vanished_is_forgotten(tmp_path: Path) -> None:
    """A closed socket is noticed at the next batch; its demand is released."""
    async with house(tmp_path) as h:
        tool = h.tool()
        await tool.hello()
        await tool.ask(Subscribe("sim", ["a"]))
        tool.socket.close(0)

        def noticed() -> bool:
            h.door.publish([("sim/a", 1, [b"x"])])
            return h.feeds.readers == {"sim/a": 0}

        await until(noticed)
        assert h.readers() == []


@pytest.mark.asyncio
async def test_a_reader_silent_beyond_its_lease_is_forgotten_and_told_when_it_speaks(tmp_path: Path) -> None:
    """Ten minutes of silence, or ten times an announced lease if that is longer, end a reader that still lives."""
    now = 1000.0
    async with house(tmp_path, clock=lambda: now) as h:
        short, patient = h.tool(), h.tool()
        await short.hello("short")
        await patient.hello("patient", beat_within_s=3600.0)
        await short.ask(Subscribe("sim", ["a"]))
        now += 599
        h.door.sweep()
        assert len(h.readers()) == 2
        await short.ask(Beat())
        now += 599
        h.door.sweep()
        assert len(h.readers()) == 2
        now += 10
        h.door.sweep()
        assert [reader["bot_id"] for reader in h.readers()] == ["patient"]
        assert h.feeds.readers == {"sim/a": 0}
        refused = await short.ask(Beat())
        assert isinstance(refused, Refusal)
        assert refused.reason == "unknown_peer"


# ---------------------------------------------------------------- slow readers

READER = """
import json, os, sys, zmq
from jackstay_protocols.codec import decode, encode
from jackstay_protocols.limits import TO_CLIENT_FRAME_BYTES_MAX
from jackstay_protocols.messages import TO_CLIENT, Feed, Hello, Lagged, Subscribe

socket = zmq.Context().socket(zmq.DEALER)
socket.setsockopt(zmq.RCVHWM, 64)
socket.connect("ipc://" + sys.argv[1])
socket.send(encode(Hello("slow", "reader", os.getpid(), "t", 1, 1), id=1))
socket.send(encode(Subscribe("sim", ["a"]), id=2))
got = missed = gaps = 0
expected = None
lagged = 0
while True:
    header, message = decode(socket.recv(), TO_CLIENT, bytes_max=TO_CLIENT_FRAME_BYTES_MAX)
    if isinstance(message, Lagged):
        missed += message.missed
        lagged += 1
        expected += message.missed
    elif isinstance(message, Feed):
        if expected is not None and header.when != expected:
            gaps += 1
        expected = header.when + len(message.payloads)
        got += len(message.payloads)
        if message.payloads[-1] == b"END":
            break
    elif header.id == 2:
        print("ready", flush=True)
print(json.dumps({"got": got, "missed": missed, "lagged": lagged, "gaps": gaps}), flush=True)
"""


@pytest.mark.asyncio
async def test_a_stopped_reader_costs_bounded_memory_and_nobody_else(tmp_path: Path) -> None:
    """While one reader is stopped the other gets everything; the agent grows by its bound at most; woken up, the slow
    reader gets the newest data and is told exactly how much it missed."""
    queue_bytes = 2 * 1024 * 1024
    async with house(tmp_path, queue_bytes_max=queue_bytes) as h:
        env = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        slow = subprocess.Popen([sys.executable, "-c", READER, str(h.path)], stdout=subprocess.PIPE, env=env, text=True)
        try:
            assert slow.stdout is not None
            assert await asyncio.to_thread(slow.stdout.readline) == "ready\n"
            fast = h.tool()
            await fast.hello("fast")
            await fast.ask(Subscribe("sim", ["a"]))
            os.kill(slow.pid, signal.SIGSTOP)
            before = psutil.Process().memory_info().rss
            payloads = [b"%0200d" % n for n in range(100)]
            seq, received, expected = 1, 0, 1
            for _ in range(1500):
                h.door.publish([("sim/a", seq, payloads)])
                seq += len(payloads)
                _id, when, message = await fast.recv()
                assert isinstance(message, Feed)
                assert when == expected
                expected += len(message.payloads)
                received += len(message.payloads)
            assert received == seq - 1 == 150_000
            grown = psutil.Process().memory_info().rss - before
            (behind,) = [reader for reader in h.readers() if reader["bot_id"] == "slow"]
            assert 0 < behind["queued_bytes"] <= queue_bytes
            assert behind["missed"] > 0
            # What ZeroMQ and the kernel hold besides our queue: its high-water mark of frames.
            assert grown < queue_bytes + 128 * (len(payloads) * 203 + ENTRY_OVERHEAD_BYTES) + 4 * 1024 * 1024
            os.kill(slow.pid, signal.SIGCONT)
            await until(lambda: all(reader["queued_bytes"] == 0 for reader in h.readers()))
            h.door.publish([("sim/a", seq, [b"END"])])
            result = json.loads(await asyncio.to_thread(slow.stdout.readline))
            assert result["gaps"] == 0
            assert result["missed"] > 0
            assert result["got"] + result["missed"] == seq
            assert result["lagged"] >= 1
            print(f"\nstopped reader: agent grew {grown / 2**20:.1f} MiB, reader {result}")
        finally:
            slow.kill()
            slow.wait()
            slow.stdout and slow.stdout.close()


@pytest.mark.asyncio
async def test_a_killed_reader_is_forgotten(tmp_path: Path) -> None:
    """kill -9 of a reader frees its demand."""
    async with house(tmp_path) as h:
        env = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        reader = subprocess.Popen(
            [sys.executable, "-c", READER, str(h.path)], stdout=subprocess.PIPE, env=env, text=True
        )
        assert reader.stdout is not None
        assert await asyncio.to_thread(reader.stdout.readline) == "ready\n"
        assert h.readers()[0]["pid"] == reader.pid
        reader.kill()
        reader.wait()
        reader.stdout.close()
        h.door.sweep()
        assert h.readers() == []
        assert h.feeds.readers == {"sim/a": 0}


@pytest.mark.asyncio
async def test_a_reader_behind_by_a_burst_catches_up_without_loss(tmp_path: Path) -> None:
    """More frames in one turn than ZeroMQ takes are queued and delivered in order, nothing missed."""
    async with house(tmp_path, sndhwm=4) as h:
        tool = h.tool()
        await tool.hello()
        await tool.ask(Subscribe("sim", ["a"]))
        for number in range(1, 3001):
            h.door.publish([("sim/a", number, [b"%d" % number])])
        for number in range(1, 3001):
            _id, when, message = await tool.recv()
            assert (when, message) == (number, Feed("sim/a", [b"%d" % number]))
        assert h.readers()[0]["missed"] == 0
