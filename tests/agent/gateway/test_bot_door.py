"""bot.sock judged frame by frame: sessions, refusals, bounds. The door is a list; the clock is a number."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgpack
import pytest

from jackstay_agent.gateway import bot_door
from jackstay_agent.gateway.bot_door import BotDoor, BotDoorSettings, Call
from jackstay_agent.gateway.door import PeerCredentials, Sent
from jackstay_protocols.codec import HEADER_BYTES, decode, encode
from jackstay_protocols.errors import Lane, Outcome
from jackstay_protocols.limits import REQUESTS_IN_FLIGHT_PER_PEER_MAX, TO_CLIENT_FRAME_BYTES_MAX
from jackstay_protocols.messages import (
    TO_CLIENT,
    Abandon,
    Ack,
    Beat,
    Command,
    Done,
    Goodbye,
    Hello,
    Message,
    Refusal,
    Request,
    Response,
    StatusQuery,
    Subscribe,
    Welcome,
)
from jackstay_protocols.session import LAST_WORD_READ, BotSession, SilenceLease


class ListDoor:
    """Keeps what is sent; answers as told."""

    def __init__(self) -> None:
        self.path = Path("bot.sock")
        self.frames_in = self.frames_out = self.bad_parts = 0
        self.sent: list[tuple[bytes, Any, Message]] = []
        self.answer = Sent.OK
        self.who: PeerCredentials | None = PeerCredentials(1000, 1000, 42)

    def open(self) -> None: ...

    def close(self) -> None: ...

    def send(self, identity: bytes, frame: bytes) -> Sent:
        if self.answer is Sent.OK:
            self.sent.append((identity, *decode(frame, TO_CLIENT, bytes_max=TO_CLIENT_FRAME_BYTES_MAX)))
        return self.answer

    def send_together(self, identity: bytes, frames: Sequence[bytes]) -> Sent:
        return [self.send(identity, frame) for frame in frames][-1]

    def credentials(self, identity: bytes) -> PeerCredentials | None:
        return self.who


class World:
    def __init__(self) -> None:
        self.now = 1000.0
        self.door = ListDoor()
        self.calls: list[Call] = []
        self.events: list[tuple[str, dict[str, Any]]] = []
        self.timers: list[Callable[[], None]] = []
        self.gone: set[int] = set()
        self.bots = BotDoor(
            BotDoorSettings("t", "0.1", 1, "boot-a", 3.0, frozenset(), 1000),
            clock=lambda: self.now,
            call_later=lambda delay, what: self.timers.append(what),
            process_gone=self.gone.__contains__,
            take=self.calls.append,
            status=lambda: {"ok": True},
            on_event=lambda name, fields: self.events.append((name, fields)),
        )
        self.bots.attach(self.door)

    def send(self, identity: bytes, message: Message, **header: Any) -> Message | None:
        """Deliver a frame; what came back to that peer, if anything."""
        before = len(self.door.sent)
        self.bots.on_frame(identity, encode(message, **header))
        new = [each for each in self.door.sent[before:] if each[0] == identity]
        return new[-1][2] if new else None

    def hello(
        self, identity: bytes = b"p1", *, bot: str = "b", kind: str = "primary", pid: int = 42, **more: Any
    ) -> Any:
        return self.send(identity, Hello(bot, kind, pid, "0.1", 1, 1, **more), id=1)

    def request(self, identity: bytes = b"p1", *, id: int = 5, left_s: float = 1.0) -> Message | None:
        return self.send(identity, Request("GET", "https://x.test/"), id=id, when=int((self.now + left_s) * 1e6))


@pytest.fixture
def world() -> World:
    return World()


def refusal(message: Message | None) -> Refusal:
    assert isinstance(message, Refusal), message
    return message


def test_a_hello_is_welcomed_and_a_call_reaches_the_pipeline(world: World) -> None:
    """After WELCOME a request becomes a call with an absolute deadline, and its answer carries its id."""
    welcome = world.hello()
    assert isinstance(welcome, Welcome)
    assert (welcome.agent, welcome.grade, welcome.preset) == ("t", "carry", "observe")
    assert world.request() is None
    (call,) = world.calls
    assert call.deadline_at == pytest.approx(1001.0)
    call.reply(Response(200, b"OK", [], b"{}", Outcome.OK))
    _identity, header, answer = world.door.sent[-1]
    assert header.id == 5
    assert isinstance(answer, Response)
    call.reply(Response(500, b"", [], b"", Outcome.FAILED))
    assert len(world.door.sent) == 2, "a call is answered once"


def test_without_hello_nothing_is_taken(world: World) -> None:
    """A stranger's request is refused with a word that tells the client to say hello again."""
    assert refusal(world.request()).reason == "unknown_peer"
    assert world.calls == []


def test_a_frame_past_its_deadline_is_refused_before_anything_else(world: World) -> None:
    """DESIGN §3 rule 3: what a stopped agent finds in its queue when it wakes up is not sent."""
    world.hello()
    late = refusal(world.request(left_s=-0.001))
    assert late.reason == "expired"
    assert late.outcome is Outcome.FAILED
    assert world.calls == []


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (b"", "bad_frame"),
        (b"\x01\x04short", "bad_frame"),
        (b"\x07" + encode(StatusQuery(), id=9)[1:], "version"),
        (encode(StatusQuery(), id=9)[:1] + b"\x3f" + encode(StatusQuery(), id=9)[2:], "unknown_kind"),
        (encode(StatusQuery(), id=9)[:HEADER_BYTES] + b"\xc1", "bad_frame"),
        (encode(Beat(), id=9)[:HEADER_BYTES] + msgpack.packb(["no number"]), "bad_frame"),
        (encode(Request("GET", "x"), id=9)[:HEADER_BYTES] + b"\x91" * 3000 + b"\xc0", "bad_frame"),
        (encode(Beat(), id=9)[:HEADER_BYTES] + msgpack.packb([1]) + b"\0" * (4 * 1024 * 1024), "too_large"),
    ],
    ids=["empty", "short", "version", "kind", "garbage", "wrong type", "deep", "oversize"],
)
def test_a_hostile_frame_gets_a_typed_refusal(world: World, frame: bytes, reason: str) -> None:
    """Whatever the bytes, the peer learns what was wrong and the door goes on."""
    world.bots.on_frame(b"evil", frame)
    assert refusal(world.door.sent[-1][2]).reason == reason
    assert isinstance(world.hello(), Welcome)


def test_an_unknown_version_is_told_both_versions(world: World) -> None:
    """The refusal names theirs and ours, so that a person knows which side to upgrade."""
    world.bots.on_frame(b"p", b"\x63" + encode(StatusQuery(), id=3)[1:])
    told = refusal(world.door.sent[-1][2])
    assert told.details["theirs"] == 0x63
    assert told.details["ours"] == 1
    assert "99" in told.message


def test_a_second_primary_of_a_living_bot_is_refused(world: World) -> None:
    """Two processes cannot both speak for one bot; the message says what to do."""
    world.hello(b"p1", pid=42)
    world.door.who = None
    taken = refusal(world.hello(b"p2", pid=43))
    assert taken.reason == "session_taken"
    assert "42" in taken.message
    assert taken.retry_after_s == pytest.approx(3.0)


def test_the_same_process_joins_with_further_sockets(world: World) -> None:
    """Threads and a sync and an async client of one process share a session."""
    world.hello(b"p1", pid=42)
    assert isinstance(world.hello(b"p2", pid=42), Welcome)
    (bot,) = world.bots.bots()
    assert bot["sockets"] == 2


@pytest.mark.parametrize("why", ["gone", "goodbye", "lease over", "resume token"])
def test_a_newer_process_takes_over_when_the_old_one_left(world: World, why: str) -> None:
    """Takeover needs a reason: death, goodbye, a lost lease, or the old session's own token."""
    welcome = world.hello(b"p1", pid=42)
    more: dict[str, Any] = {}
    if why == "gone":
        world.gone.add(42)
    elif why == "goodbye":
        world.send(b"p1", Goodbye("deploy"), id=2)
    elif why == "lease over":
        world.now += 3.1
    else:
        more["resume"] = welcome.resume
    assert isinstance(world.hello(b"p2", pid=43, **more), Welcome)
    assert [bot["pid"] for bot in world.bots.bots()] == [43]
    assert refusal(world.request(b"p1")).reason == "unknown_peer", "the old socket speaks no more"


def test_a_reader_never_competes_and_never_trades(world: World) -> None:
    """Reader sessions may watch beside the primary; a venue request from one is refused."""
    world.hello(b"p1")
    assert isinstance(world.hello(b"r1", kind="reader", pid=50), Welcome)
    assert refusal(world.request(b"r1")).reason == "not_permitted"


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"bot": ""}, "bot id"),
        ({"bot": "a/b"}, "bot id"),
        ({"bot": "x" * 65}, "65 bytes"),
        ({"kind": "king"}, "king"),
        ({"pid": 0}, "pid 0"),
        ({"boot_id": "boot-b"}, "boot"),
    ],
)
def test_a_wrong_hello_says_what_is_wrong(world: World, fields: dict[str, Any], word: str) -> None:
    """Each bad field is named in the refusal."""
    assert word in refusal(world.hello(**fields)).message


def test_a_foreign_uid_is_refused(world: World) -> None:
    """The kernel's word on the peer's uid decides, whatever the hello says."""
    world.door.who = PeerCredentials(65534, 65534, 42)
    assert refusal(world.hello()).reason == "not_permitted"


def test_requests_in_flight_are_bounded_per_socket(world: World) -> None:
    """At the bound the next request is refused at once; one answer makes room for one more."""
    world.hello()
    for number in range(REQUESTS_IN_FLIGHT_PER_PEER_MAX):
        assert world.request(id=10 + number) is None
    assert refusal(world.request(id=5)).reason == "queue_full"
    world.calls[0].reply(Response(200, b"", [], b"", Outcome.OK))
    world.request(id=6)
    assert len(world.calls) == REQUESTS_IN_FLIGHT_PER_PEER_MAX + 1


def test_a_request_id_in_flight_is_not_taken_twice(world: World) -> None:
    """Ids name calls: a second request under a living id is a mistake of the client."""
    world.hello()
    world.request(id=5)
    assert refusal(world.request(id=5)).reason == "bad_request"
    assert len(world.calls) == 1


def test_a_slow_reader_gets_a_bounded_backlog_in_order(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Replies wait for a peer that does not read, oldest first, up to a bound; then they are counted as lost."""
    monkeypatch.setattr(bot_door, "WAITING_BYTES_PER_PEER_MAX", 1000)
    world.hello()
    for number in range(20):
        world.request(id=10 + number)
    world.door.answer = Sent.SLOW
    for call in world.calls:
        call.reply(Response(200, b"", [], b"x" * 100, Outcome.OK))
    assert world.bots.counters["replies_dropped_slow"] > 0
    world.door.answer = Sent.OK
    before = len(world.door.sent)
    world.timers.pop()()
    delivered = [header.id for _identity, header, _message in world.door.sent[before:]]
    assert delivered == sorted(delivered)
    assert delivered[0] == 10


def test_a_vanished_peer_is_forgotten_and_its_questions_cancelled(world: World) -> None:
    """A client that goes away in mid-request costs nothing afterwards, and the call's cancel is told."""
    world.hello()
    world.request(id=5)
    cancelled: list[bool] = []
    world.calls[0].cancel = lambda: cancelled.append(True)
    world.gone.add(42)
    world.bots.sweep()
    assert cancelled == [True]
    world.calls[0].reply(Response(200, b"", [], b"", Outcome.OK))
    assert world.bots.in_flight() == 0
    assert not any(isinstance(message, Response) for _i, _h, message in world.door.sent)


def test_an_abandoned_call_is_told_and_not_answered(world: World) -> None:
    """The caller stopped waiting: the pipeline may drop a question, and the late answer goes nowhere."""
    world.hello()
    world.request(id=5)
    cancelled: list[bool] = []
    world.calls[0].cancel = lambda: cancelled.append(True)
    world.send(b"p1", Abandon(), id=5)
    assert cancelled == [True]
    before = len(world.door.sent)
    world.calls[0].reply(Response(200, b"", [], b"", Outcome.OK))
    assert len(world.door.sent) == before
    assert world.bots.in_flight() == 0


def test_any_message_renews_the_lease_and_may_change_its_length(world: World) -> None:
    """Silence is a lease that every frame may announce anew (deciseconds in the header)."""
    world.hello()
    world.send(b"p1", Beat(), beat_ds=100)
    world.now += 9.0
    assert world.bots.bots()[0]["state"] == "fresh"
    world.now += 2.0
    assert world.bots.bots()[0]["state"] == "late"
    world.now += 10.0
    assert world.bots.bots()[0]["state"] == "stalled"
    world.send(b"p1", Beat())
    assert world.bots.bots()[0]["state"] == "fresh"


def test_goodbye_is_checked_and_ends_the_session(world: World) -> None:
    """A deploy is not a death: the reason is kept, the sockets are released, a wrong word is refused."""
    world.hello()
    assert refusal(world.send(b"p1", Goodbye("x", orders="sell everything"), id=2)).reason == "bad_request"
    assert isinstance(world.send(b"p1", Goodbye("deploy", "keep", 30.0), id=3), Done)
    assert world.bots.bots()[0]["state"] == "gone"
    assert ("bot.goodbye" in [name for name, _ in world.events]) is True


def test_a_beat_is_answered_only_when_asked(world: World) -> None:
    """Unread answers to heartbeats would fill the peer's queue (measured): no id, no answer."""
    world.hello()
    assert world.send(b"p1", Beat(3)) is None
    assert isinstance(world.send(b"p1", Beat(4), id=8), Done)


def test_status_and_misplaced_messages(world: World) -> None:
    """Status is answered; feed and control messages are told where they belong."""
    world.hello()
    status = world.send(b"p1", StatusQuery(), id=3)
    assert isinstance(status, Done)
    assert status.data == {"ok": True}
    assert "feed.sock" in refusal(world.send(b"p1", Subscribe("f", ["t"]), id=4)).message
    assert refusal(world.send(b"p1", Command("status"), id=5)).reason == "unknown_kind"


def test_a_draining_agent_takes_nothing_new(world: World) -> None:
    """On stop, requests and hellos are refused with a time to come back; calls in flight are still answered."""
    world.hello()
    world.request(id=5)
    idle: list[bool] = []
    world.bots.draining = True
    world.bots.when_idle(lambda: idle.append(True))
    assert refusal(world.request(id=6)).reason == "draining"
    assert refusal(world.hello(b"p9", pid=99, bot="other")).reason == "draining"
    assert idle == []
    world.calls[0].reply(Response(200, b"", [], b"", Outcome.OK))
    assert idle == [True]


def test_a_stop_is_told_on_every_socket_and_its_reading_confirmed(world: World) -> None:
    """Each peer hears which of its calls are still seen through; the farewell waits for those who can confirm it."""
    world.hello(b"p1")
    world.hello(b"p2", bot="other", pid=43)
    world.request(b"p1", id=5)
    world.door.sent.clear()
    world.bots.leave()
    told = {peer: refusal(message).details for peer, header, message in world.door.sent if header.id == 0}
    assert told == {b"p1": {"accepted": [5], "confirm": False}, b"p2": {"accepted": [], "confirm": False}}
    assert refusal(world.request(b"p2", id=6)).reason == "draining"
    world.calls[0].reply(Response(200, b"", [], b"", Outcome.OK))
    read: list[bool] = []
    world.door.sent.clear()
    world.bots.farewell(lambda: read.append(True))
    assert [refusal(message).details for _peer, _header, message in world.door.sent] == [
        {"accepted": [], "confirm": True}
    ] * 2
    world.send(b"p1", Ack(["something else"]))
    assert read == []
    world.send(b"p1", Ack([LAST_WORD_READ]))
    assert read == []
    world.send(b"p2", Goodbye())
    assert read == [True], "one confirmed, the other left"


def test_with_nobody_there_a_farewell_is_over_at_once(world: World) -> None:
    """No peer, no waiting."""
    read: list[bool] = []
    world.bots.leave()
    world.bots.farewell(lambda: read.append(True))
    assert read == [True]


def test_a_lane_hint_travels_as_a_word(world: World) -> None:
    """The lane is a hint on the wire; an unknown lane is a bad frame, not a crash."""
    world.hello()
    frame = encode(Request("GET", "https://x.test/", lane=Lane.QUERY), id=7, when=int((world.now + 1) * 1e6))
    world.bots.on_frame(b"p1", frame.replace(b"\xa5query", b"\xa5qqqqq"))
    assert refusal(world.door.sent[-1][2]).reason == "bad_frame"


def test_a_bot_that_died_is_remembered_for_a_day_and_one_that_left_for_an_hour(world: World) -> None:
    """A dead bot's orders may still have to be cancelled; then its name is free and costs nothing."""
    world.hello(b"p1", bot="dead", pid=42)
    world.hello(b"p2", bot="left", pid=43)
    world.send(b"p2", Goodbye("deploy"))
    world.gone.add(42)
    world.now += 3601
    world.bots.sweep()
    assert [each["bot"] for each in world.bots.bots()] == ["dead"]
    world.now += 24 * 3600
    world.bots.sweep()
    assert world.bots.bots() == []
    assert world.bots.primaries() == []


def test_a_bot_that_an_earlier_agent_knew_is_expected_and_joins_its_session(world: World) -> None:
    """Adopted without a socket; its hello goes on with that session, under a token of its own."""
    expected = BotSession("b", 42, "primary", "", SilenceLease(3.0, world.now))
    world.bots.adopt([expected])
    welcome = world.hello()
    assert world.bots.primaries() == [expected]
    assert welcome.resume == expected.token != ""
    assert expected.seen_pid == 42
    assert expected.client_version == "0.1"
