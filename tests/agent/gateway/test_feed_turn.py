"""jackstay_agent.gateway.feed_turn and feed_hold: readers that take several topics in a frame, or let turns be
collected, get what the others get."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from jackstay_agent.feed_batches import BATCH_BYTES_MAX, Batch
from jackstay_agent.gateway.door import PeerCredentials, Sent
from jackstay_agent.gateway.feed_door import FeedDoor, FeedDoorSettings
from jackstay_agent.gateway.feed_hold import HELD_BYTES_MAX
from jackstay_agent.gateway.feed_turn import SMALL_MAX
from jackstay_protocols.codec import decode, encode
from jackstay_protocols.limits import TO_CLIENT_FRAME_BYTES_MAX
from jackstay_protocols.messages import TO_CLIENT, Feed, FeedTurn, Hello, Lagged, Subscribe

TOPICS = ("a", "b", "c", "d")
PLAIN, TURNS, HELD, HELD_TOO, HELD_PLAIN = b"plain", b"turns", b"held", b"held too", b"held, plain"
HOLD_S, OTHER_HOLD_S = 0.05, 0.02
KINDS = {
    PLAIN: Subscribe("sim", list(TOPICS)),
    TURNS: Subscribe("sim", list(TOPICS), turns=True),
    HELD: Subscribe("sim", list(TOPICS), turns=True, hold_s=HOLD_S),
    HELD_TOO: Subscribe("sim", list(TOPICS), turns=True, hold_s=HOLD_S),
    HELD_PLAIN: Subscribe("sim", list(TOPICS), hold_s=OTHER_HOLD_S),
}


class Pipes:
    """A door whose peers take so many ZeroMQ messages each, and no more until they read."""

    path = Path()
    frames_in = frames_out = bad_parts = 0

    def __init__(self) -> None:
        self.room = dict.fromkeys(KINDS, 10)
        self.messages: dict[bytes, list[list[bytes]]] = {identity: [] for identity in KINDS}

    def open(self) -> None: ...
    def close(self) -> None: ...
    def send(self, identity: bytes, frame: bytes) -> Sent:
        return self.send_together(identity, [frame])

    def send_together(self, identity: bytes, frames: Sequence[bytes]) -> Sent:
        if not self.room[identity]:
            return Sent.SLOW
        self.room[identity] -= 1
        self.messages[identity].append(list(frames))
        return Sent.OK

    def credentials(self, identity: bytes) -> PeerCredentials | None:
        return None


class AnyTopic:
    def check(self, feed: str, streams: Iterable[str]) -> list[str]:
        return list(streams)

    def demand(self, feed: str, streams: Iterable[str]) -> list[str]:
        return [f"{feed}/{stream}" for stream in streams]

    def release(self, feed: str, streams: Iterable[str]) -> None: ...


class Timer:
    def __init__(self, delay_s: float, callback: Callable[[], None]) -> None:
        self.delay_s, self.callback, self.cancelled = delay_s, callback, False

    def cancel(self) -> None:
        self.cancelled = True


class Timers:
    """What is due is run when the test says so."""

    def __init__(self) -> None:
        self._due: list[Timer] = []

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> asyncio.TimerHandle:
        timer: Any = Timer(delay_s, callback)
        if delay_s < 1:  # the sweep of readers is not wanted here
            self._due.append(timer)
        return timer  # type: ignore[no-any-return]

    def pending(self, *delays_s: float) -> list[float]:
        return [each.delay_s for each in self._due if not each.cancelled and each.delay_s in delays_s]

    def run(self) -> None:
        due, self._due = self._due, []
        for each in due:
            if not each.cancelled:
                each.callback()


class House:
    """A feed door with a reader of each kind, all of the same topics."""

    def __init__(self, queue_bytes_max: int) -> None:
        self.pipes, self.timers = Pipes(), Timers()
        self.now = 0.0
        self.numbers = dict.fromkeys(TOPICS, 0)
        self.published: list[tuple[str, int, bytes]] = []
        self.door = FeedDoor(
            FeedDoorSettings(agent="t", queue_bytes_max=queue_bytes_max),
            feeds=AnyTopic(),
            clock=lambda: self.now,
            wall=lambda: 0.0,
            call_later=self.timers.call_later,
        )
        self.door.attach(self.pipes)
        for identity, ask in KINDS.items():
            self.door.on_frame(identity, encode(Hello(identity.decode(), "reader", 1, "t", 1, 1), id=1))
            self.door.on_frame(identity, encode(ask, id=2))
            self.pipes.messages[identity].clear()  # the answers

    def publish(self, turn: list[tuple[str, list[bytes]]]) -> None:
        batches: list[Batch] = []
        for topic, payloads in turn:
            first = self.numbers[topic] + 1
            self.numbers[topic] += len(payloads)
            batches.append((f"sim/{topic}", first, payloads))
            self.published += [(f"sim/{topic}", first + at, payload) for at, payload in enumerate(payloads)]
        self.door.publish(batches)
        self.check_holds()

    def check_holds(self) -> None:
        """Bounded; and whoever holds something has a timer, one for all with the same time."""
        readers = self.door.snapshot()["readers"]
        assert all(each["held_bytes"] <= HELD_BYTES_MAX for each in readers)
        waiting = {each["hold_s"] for each in readers if each["held_bytes"]}
        assert sorted(self.timers.pending(HOLD_S, OTHER_HOLD_S)) == sorted(waiting)
        assert not any(each["held_bytes"] and each["queued_bytes"] for each in readers)

    def make_room(self, count: int) -> None:
        for identity in self.pipes.room:
            self.pipes.room[identity] += count
        self.timers.run()

    def items(self, identity: bytes) -> list[tuple[str, int, bytes] | Lagged]:
        found: list[tuple[str, int, bytes] | Lagged] = []
        for frame in (frame for message in self.pipes.messages[identity] for frame in message):
            header, message = decode(frame, TO_CLIENT, bytes_max=TO_CLIENT_FRAME_BYTES_MAX)
            if isinstance(message, FeedTurn):
                assert KINDS[identity].turns
                found += [tuple(item) for item in message.items]
            elif isinstance(message, Feed):
                found += [(message.topic, header.when + at, each) for at, each in enumerate(message.payloads)]
            else:
                assert isinstance(message, Lagged)
                found.append(message)
        return found


payloads = st.one_of(st.binary(max_size=12), st.integers(3_000, 40_000).map(bytes))
counts = st.sampled_from([SMALL_MAX - 1, SMALL_MAX, SMALL_MAX + 1])
turns = st.lists(
    st.tuples(
        st.sampled_from(TOPICS), st.lists(payloads, min_size=1, max_size=9) | counts.map(lambda count: [b"x"] * count)
    ),
    min_size=1,
    max_size=12,
)


@settings(max_examples=100, deadline=None)
@given(st.lists(turns, max_size=6))
def test_all_kinds_of_readers_get_the_same_in_the_same_order(script: list[list[tuple[str, list[bytes]]]]) -> None:
    """Numbers, payloads and order of a turn, whatever shares a frame; no message of several frames is too big."""
    house = House(1 << 30)
    house.make_room(1_000_000)
    for turn in script:
        house.publish(turn)
    assert house.items(PLAIN) == house.items(TURNS) == house.published
    house.timers.run()
    house.check_holds()
    assert house.items(HELD) == house.items(HELD_TOO) == house.items(HELD_PLAIN) == house.published
    assert house.pipes.messages[HELD] == house.pipes.messages[HELD_TOO]
    for messages in house.pipes.messages.values():
        assert all(len(each) == 1 or sum(map(len, each)) <= BATCH_BYTES_MAX for each in messages)
    assert sum(map(len, house.pipes.messages[TURNS])) <= sum(map(len, house.pipes.messages[PLAIN]))


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.one_of(turns, st.integers(1, 4)), max_size=20),
    st.sampled_from([2_000, 60_000, 1 << 30]),
)
def test_what_a_slow_reader_misses_is_told_where_it_is_missing(script: list[Any], queue_bytes_max: int) -> None:
    """All kinds: each number comes next, or so many were told as missing since the one before; the newest is there."""
    house = House(queue_bytes_max)
    for step in script:
        if isinstance(step, int):
            house.make_room(step)
        else:
            house.publish(step)
    house.make_room(1_000_000)
    payload_of = {(topic, number): payload for topic, number, payload in house.published}
    for identity in KINDS:
        reached = {f"sim/{topic}": 0 for topic in TOPICS}
        for item in house.items(identity):
            if isinstance(item, Lagged):
                reached[item.topic] += item.missed
            else:
                topic, number, payload = item
                assert number == reached[topic] + 1
                assert payload == payload_of[topic, number]
                reached[topic] = number
        assert reached == {f"sim/{topic}": number for topic, number in house.numbers.items()}
        assert all(each["queued_bytes"] == each["held_bytes"] == 0 for each in house.door.snapshot()["readers"])


def test_small_batches_of_many_topics_share_a_frame() -> None:
    """Twenty quiet topics of a turn are one frame for a reader that takes it, and one each for one that does not."""
    house = House(1 << 30)
    house.publish([(TOPICS[at % 4], [b"%d" % at]) for at in range(20)])
    assert [len(message) for message in house.pipes.messages[TURNS]] == [1]
    assert [len(message) for message in house.pipes.messages[PLAIN]] == [20]


def test_a_large_batch_keeps_its_own_frame_and_its_place() -> None:
    """It is shared by all its readers, and what came before it in the turn comes before it."""
    house = House(1 << 30)
    many = [b"x"] * (SMALL_MAX + 1)
    house.publish([("a", [b"1"]), ("b", [b"2"]), ("a", many), ("b", [b"3"]), ("c", [b"4"])])
    ((first, large, last),) = house.pipes.messages[TURNS]
    assert large == encode(Feed("sim/a", many), when=2)
    assert large in house.pipes.messages[PLAIN][0]
    assert [len(decode(each, TO_CLIENT, bytes_max=1 << 20)[1].items) for each in (first, last)] == [2, 2]  # type: ignore[attr-defined]


def test_a_hold_begins_with_its_first_message_and_ends_for_all_with_the_same_time() -> None:
    """Turns of that time are one frame, made once for several readers; the timer starts with the first and is not
    moved by what comes later."""
    house = House(1 << 30)
    for at in range(5):
        house.publish([("a", [b"%d" % at]), ("b", [b"%d" % at])])
        assert house.timers.pending(HOLD_S) == [HOLD_S]
    assert house.pipes.messages[HELD] == []
    assert len(house.pipes.messages[TURNS]) == 5
    house.timers.run()
    ((frame,),) = house.pipes.messages[HELD]
    ((same,),) = house.pipes.messages[HELD_TOO]
    assert frame is same
    assert house.items(HELD) == house.published
    assert house.timers.pending(HOLD_S, OTHER_HOLD_S) == []


def test_what_fills_a_hold_goes_at_once() -> None:
    """What would not fit any more sends what is held, and is held itself unless it is too large alone."""
    house = House(1 << 30)
    house.make_room(1_000)
    house.publish([("a", [b"1"])])
    house.publish([("a", [bytes(HELD_BYTES_MAX - 40)])])
    assert house.items(HELD) == house.published[:1]
    house.publish([("b", [b"2"])])
    assert house.items(HELD) == house.published[:2]
    house.publish([("c", [bytes(HELD_BYTES_MAX)])])
    assert house.items(HELD) == house.published
    assert house.timers.pending(HOLD_S) == []
    house.publish([("d", [b"3"])])
    assert house.items(HELD) == house.published[:-1]
    house.timers.run()
    assert house.items(HELD) == house.published


def test_nothing_waits_for_readers_that_were_forgotten() -> None:
    """Silent for too long with something held: their timers end with them."""
    house = House(1 << 30)
    house.publish([("a", [b"1"])])
    house.now = 1e6
    house.door.sweep()
    assert house.door.snapshot()["readers"] == []
    assert house.timers.pending(HOLD_S, OTHER_HOLD_S) == []
