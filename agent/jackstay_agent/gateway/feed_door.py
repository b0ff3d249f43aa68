"""feed.sock: market data and events to any number of readers (DESIGN §4).

One encoded frame per batch, shared by all readers of the topic; a reader's frames of one loop turn travel together, of
several turns where it asked for that (`feed_hold.py`). A reader whose ZeroMQ pipe is full gets a queue of its own
(`core/fanout.py`), which drops the oldest market data and says so; the others notice nothing. A reader that is gone is
forgotten together with its subscriptions. Frames of a peer that said no HELLO are refused, so that a client of an
earlier agent says HELLO again.

It refuses to know what a topic means and where the data comes from: `FeedSource` answers that.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from jackstay_protocols.codec import decode, encode, read_header
from jackstay_protocols.errors import ProtocolError, Reason, TradingBotError
from jackstay_protocols.limits import (
    BEAT_WITHIN_S_DEFAULT,
    BEAT_WITHIN_S_MAX,
    HOLD_S_MAX,
    PEERS_MAX,
    TO_AGENT_FRAME_BYTES_MAX,
    TOPICS_PER_SUBSCRIBE_MAX,
    WIRE_VERSION,
)
from jackstay_protocols.messages import (
    TO_AGENT,
    Beat,
    Done,
    Event,
    Feed,
    Goodbye,
    Hello,
    Lagged,
    Message,
    Refusal,
    StatusQuery,
    Subscribe,
    Unsubscribe,
    Welcome,
)
from jackstay_protocols.session import check_hello, clamp_beat_s

from ..core.fanout import Collapsed, Entry, Lag, LastValues, ReaderQueue
from ..feed_batches import Batch
from .door import DoorLike, PeerCredentials, Sent
from .feed_hold import Held, Holds
from .feed_turn import Parcels, Sheet, Turn

FEED_SNDHWM = 128  # frames inside ZeroMQ per reader; with 32 KiB batches a stopped reader pins 4 MiB at most
QUEUE_BYTES_MAX = 8 * 1024 * 1024
EVENTS_MAX = 1024
TOPICS_PER_READER_MAX = 4096
LAST_PAYLOAD_BYTES_MAX = 64 * 1024
RETRY_S_MIN = 0.001  # a reader behind by a burst catches up before it matters
RETRY_S_MAX = 0.05  # a stopped reader costs 20 refused sends a second
SWEEP_S = 5.0
# A reader may be paused by its bot for minutes; forgotten, it is refused with UNKNOWN_PEER when it speaks again, says
# HELLO and knows that it missed something. A closed socket on a quiet topic is noticed no other way.
LEASE_FACTOR = 10
SILENT_S_MIN = 600.0


UNCOUNTED = -1  # in `Lagged`: something is missing, and nobody counted


class FeedSource(Protocol):
    """What the door needs of the feed manager; raises ValidationError or Refused."""

    def check(self, feed: str, streams: Iterable[str]) -> list[str]: ...
    def demand(self, feed: str, streams: Iterable[str]) -> list[str]: ...
    def release(self, feed: str, streams: Iterable[str]) -> None: ...


@dataclass(frozen=True, slots=True)
class FeedDoorSettings:
    """Who the agent is, and the bounds per reader."""

    agent: str
    agent_version: str = "0"
    agent_pid: int = 0
    allow_uids: frozenset[int] = frozenset()  # the agent's own among them; empty: whoever can open the socket
    queue_bytes_max: int = QUEUE_BYTES_MAX
    events_max: int = EVENTS_MAX
    readers_max: int = PEERS_MAX
    topics_max: int = TOPICS_PER_READER_MAX
    last_topics_max: int = 16384
    lease_s_min: float = 60.0


class _Shut:
    """Before a door is attached nobody can be reached."""

    path = Path()
    frames_in = frames_out = bad_parts = 0

    def open(self) -> None: ...
    def close(self) -> None: ...
    def send(self, identity: bytes, frame: bytes) -> Sent:
        return Sent.GONE

    def send_together(self, identity: bytes, frames: Sequence[bytes]) -> Sent:
        return Sent.GONE

    def credentials(self, identity: bytes) -> PeerCredentials | None:
        return None


@dataclass(slots=True)
class Reader:
    """One connected socket of a bot or tool."""

    identity: bytes
    hello: Hello
    pid: int  # 0 when its process cannot be seen from here
    heard_at: float
    lease_s: float
    queue: ReaderQueue
    events: bool = False
    topics: dict[str, tuple[str, str]] = field(default_factory=dict)  # full name -> (feed, stream)
    sent: int = 0
    turns: bool = False  # takes frames of several topics
    turn: Turn = field(default_factory=list)  # what it gets of the turn being published
    held: Held = field(default_factory=Held)  # what it gets later, because it asked to be woken less often


class FeedDoor:
    """The fan-out: `attach` an open ROUTER whose frames go to `on_frame`; `publish` and `publish_event` feed it.

    ``status()`` answers a status query; ``process_gone(pid)`` says whether a reader's process has ended;
    ``call_later`` is the loop's. The door itself belongs to whoever opened it.
    """

    def __init__(
        self,
        settings: FeedDoorSettings,
        *,
        feeds: FeedSource,
        clock: Callable[[], float],
        wall: Callable[[], float],
        call_later: Callable[[float, Callable[[], None]], asyncio.TimerHandle],
        status: Callable[[], dict[str, Any]] | None = None,
        process_gone: Callable[[int], bool] | None = None,
    ) -> None:
        self.settings = settings
        self.events_sent = 0
        self.dropped = 0
        self.bad_frames = 0
        self._feeds = feeds
        self._clock = clock
        self._wall = wall
        self._call_later = call_later
        self._status = status
        self._process_gone = process_gone
        self._readers: dict[bytes, Reader] = {}
        self._by_topic: dict[str, dict[bytes, Reader]] = {}
        self._slow: dict[bytes, Reader] = {}
        self._parcels = Parcels()
        self._holds = Holds(call_later, self._hold_over)
        self._last = LastValues(settings.last_topics_max, LAST_PAYLOAD_BYTES_MAX)
        self._retry: asyncio.TimerHandle | None = None
        self._retry_s = RETRY_S_MIN
        self._sweep_timer: asyncio.TimerHandle | None = None
        self._event_seq = 0
        self._sessions = 0
        self._door: DoorLike = _Shut()

    def attach(self, door: DoorLike) -> None:
        """Start: from here on frames go out through ``door``."""
        self._door = door
        self._sweep_timer = self._call_later(SWEEP_S, self.sweep)

    def close(self) -> None:
        """Send what is held, stop the timers and forget all readers, so that their demand is released; the door stays
        its owner's."""
        for timer in (self._retry, self._sweep_timer):
            if timer is not None:
                timer.cancel()
        for reader in list(self._readers.values()):
            self._hand_on(reader)
            self._forget(reader.identity)

    # ------------------------------------------------------------ out: market data and events

    def publish(self, batches: list[Batch], *, keep_last: bool = True) -> None:
        """One loop turn's batches to the readers of their topics: each encoded once, a reader's own sent together.

        ``keep_last``: a late joiner begins with the last message.
        """
        served: list[Reader] = []
        for topic, first_seq, payloads in batches:
            readers = self._by_topic.get(topic)
            if not readers:
                continue
            if keep_last:
                self._last.put(topic, first_seq + len(payloads) - 1, payloads[-1])
            sheet = Sheet(topic, first_seq, payloads)
            for reader in readers.values():
                if not reader.turn:
                    served.append(reader)
                reader.turn.append(sheet)
        for reader in served:
            turn, reader.turn = reader.turn, []
            if reader.held.hold_s:
                self._hold(reader, turn)
            else:
                self._send_turn(reader, turn)
        self._parcels.forget()

    def _hold(self, reader: Reader, turn: Turn) -> None:
        """Until the reader's time is over or its bytes are full; at once behind what waits for a slow one anyway."""
        held = reader.held
        size = sum(sheet.size() for sheet in turn)
        if not held.room_for(size):
            self._hand_on(reader)
        held.add(turn, size)
        if reader.queue or not held.room_for(0):
            self._hand_on(reader)
        else:
            self._holds.begin(reader.identity, held.hold_s)

    def _hand_on(self, reader: Reader) -> None:
        """What is held for this reader goes now."""
        turn = self._holds.take(reader.identity, reader.held)
        if turn:
            self._send_turn(reader, turn)

    def _hold_over(self, identities: list[bytes]) -> None:
        for identity in identities:
            reader = self._readers.get(identity)
            if reader is not None:
                self._hand_on(reader)
        self._parcels.forget()

    def _send_turn(self, reader: Reader, turn: Turn) -> None:
        """In as few ZeroMQ messages as the bound on their bytes allows; the rest waits from where the pipe is full."""
        at = 0
        for parcel in [] if reader.queue else self._parcels.of(turn, shared=reader.turns):
            sent = self._door.send_together(reader.identity, parcel.frames)
            if sent is Sent.GONE:
                self._forget(reader.identity)
                return
            if sent is Sent.SLOW:
                self._mark_slow(reader)
                break
            reader.sent += parcel.count
            at = parcel.end
        for sheet in turn[at:]:  # each by itself, so that the oldest of it can go
            reader.queue.offer(sheet.topic, sheet.frame(), sheet.count)

    def uncounted(self, topic: str) -> None:
        """Readers of this topic missed something that nobody counted."""
        turn = [Sheet(topic, 0, (), encode(Lagged(topic, UNCOUNTED)))]
        for reader in list(self._by_topic.get(topic, {}).values()):
            self._hand_on(reader)
            self._send_turn(reader, turn)

    def publish_event(self, event: Event) -> None:
        """One event to every reader that asked for events; its number says how many there were before it."""
        self._event_seq += 1
        readers = [reader for reader in self._readers.values() if reader.events]
        if not readers:
            return
        frame = encode(event, when=self._event_seq)
        for reader in readers:
            self.events_sent += 1
            self._hand_on(reader)  # an event overtakes no market data that was there before it
            self._send_or_queue_event(reader, frame)

    def _send_or_queue_event(self, reader: Reader, frame: bytes) -> None:
        if reader.queue:
            reader.queue.offer_event(frame)
            return
        sent = self._door.send(reader.identity, frame)
        if sent is Sent.SLOW:
            reader.queue.offer_event(frame)
            self._mark_slow(reader)
        elif sent is Sent.GONE:
            self._forget(reader.identity)

    # ------------------------------------------------------------ slow readers

    def _mark_slow(self, reader: Reader) -> None:
        self._slow[reader.identity] = reader
        if self._retry is None:
            self._retry_s = RETRY_S_MIN
            self._retry = self._call_later(self._retry_s, self._retry_slow)

    def _retry_slow(self) -> None:
        self._retry = None
        progress = False
        for reader in list(self._slow.values()):
            progress = self._drain_queue(reader) or progress
        self._retry_s = RETRY_S_MIN if progress else min(self._retry_s * 2, RETRY_S_MAX)
        if self._slow:
            self._retry = self._call_later(self._retry_s, self._retry_slow)

    def _drain_queue(self, reader: Reader) -> bool:
        """Send what the pipe takes; True when something went."""
        queue = reader.queue
        moved = False
        while (entry := queue.head()) is not None:
            sent = self._door.send(reader.identity, self._frame_of(entry))
            if sent is Sent.SLOW:
                return moved
            if sent is Sent.GONE:
                self._forget(reader.identity)
                return True
            queue.pop()
            moved = True
        self._slow.pop(reader.identity, None)
        return True

    def _frame_of(self, entry: Entry) -> bytes:
        if isinstance(entry, Lag):
            return encode(Lagged(entry.topic, entry.missed))
        if isinstance(entry, Collapsed):
            fields = {"missed": entry.missed, "next": "ask for status: events before this one were collapsed"}
            return encode(Event("events.collapsed", int(self._wall() * 1e6), fields), when=self._event_seq)
        return entry

    # ------------------------------------------------------------ in: readers' frames

    def on_frame(self, identity: bytes, frame: bytes) -> None:
        """Any frame of any peer; never raises."""
        request_id = 0
        try:
            request_id = read_header(frame).id
            header, message = decode(frame, TO_AGENT, bytes_max=TO_AGENT_FRAME_BYTES_MAX)
            self._handle(identity, message, request_id, header.beat_ds / 10)
        except TradingBotError as error:
            if isinstance(error, ProtocolError):
                self.bad_frames += 1
                request_id = request_id or int(error.details.get("id", 0))
            reason = str(error.reason or Reason.BAD_REQUEST)
            self._reply(identity, Refusal(reason, str(error), error.retry_after_s), request_id)

    def _handle(self, identity: bytes, message: Message, request_id: int, beat_s: float) -> None:
        if isinstance(message, Hello):
            self._hello(identity, message, request_id)
            return
        reader = self._readers.get(identity)
        if reader is None:
            what = "no HELLO came from this socket; say HELLO first"
            self._reply(identity, Refusal(str(Reason.UNKNOWN_PEER), what), request_id)
            return
        reader.heard_at = self._clock()
        if beat_s > 0:
            reader.lease_s = self._lease(beat_s)
        if isinstance(message, Subscribe):
            self._subscribe(reader, message, request_id)
        elif isinstance(message, Unsubscribe):
            self._unsubscribe(reader, message, request_id)
        elif isinstance(message, Beat):
            if request_id:
                self._reply(identity, Done(), request_id)
        elif isinstance(message, StatusQuery):
            self._reply(identity, Done(self._status() if self._status is not None else self.snapshot()), request_id)
        elif isinstance(message, Goodbye):
            self._hand_on(reader)
            if request_id:
                self._reply(identity, Done(), request_id)
            self._forget(identity)
        else:
            what = f"{type(message).__name__} has no place on feed.sock; send it to bot.sock"
            self._reply(identity, Refusal(str(Reason.BAD_REQUEST), what), request_id)

    def _hello(self, identity: bytes, hello: Hello, request_id: int) -> None:
        credentials = self._door.credentials(identity)
        refusal = self._hello_refusal(identity, hello, credentials)
        if refusal is not None:
            self._reply(identity, refusal, request_id)
            return
        reader = self._readers.get(identity)
        if reader is None:
            settings = self.settings
            queue = ReaderQueue(settings.queue_bytes_max, settings.events_max)
            pid = credentials.pid if credentials is not None else 0
            lease_s = self._lease(hello.beat_within_s)
            self._sessions += 1
            self._readers[identity] = reader = Reader(identity, hello, pid, self._clock(), lease_s, queue)
        else:
            reader.hello, reader.heard_at = hello, self._clock()
        welcome = Welcome(
            agent=self.settings.agent,
            agent_version=self.settings.agent_version,
            session=f"feed-{self._sessions}",
            wire_version=WIRE_VERSION,
            resume="",
            beat_within_s=clamp_beat_s(hello.beat_within_s, BEAT_WITHIN_S_DEFAULT),
            beat_within_s_max=BEAT_WITHIN_S_MAX,
            frame_bytes_max=TO_AGENT_FRAME_BYTES_MAX,
            agent_pid=self.settings.agent_pid,
        )
        self._reply(identity, welcome, request_id)

    def permit(self, allow_uids: frozenset[int]) -> None:
        self.settings = replace(self.settings, allow_uids=allow_uids)

    def _hello_refusal(self, identity: bytes, hello: Hello, credentials: PeerCredentials | None) -> Refusal | None:
        wrong = check_hello(hello)
        if wrong is not None:
            return Refusal(str(Reason.BAD_REQUEST), wrong)
        if not hello.wire_min <= WIRE_VERSION <= hello.wire_max:
            what = (
                f"the client speaks wire versions {hello.wire_min} to {hello.wire_max}, this agent {WIRE_VERSION}:"
                " install the same jackstay release on both sides"
            )
            return Refusal(str(Reason.VERSION), what)
        if identity not in self._readers and len(self._readers) >= self.settings.readers_max:
            what = f"feed.sock has {len(self._readers)} readers, its maximum; close one, or use another agent"
            return Refusal(str(Reason.QUEUE_FULL), what)
        allowed = self.settings.allow_uids
        if credentials is not None and allowed and credentials.uid not in allowed:
            what = f"uid {credentials.uid} may not read this agent's feeds: add it to [agent] allow_uids"
            return Refusal(str(Reason.NOT_PERMITTED), what)
        return None

    def _lease(self, beat_s: float) -> float:
        return max(self.settings.lease_s_min, LEASE_FACTOR * clamp_beat_s(beat_s))

    # ------------------------------------------------------------ subscriptions

    def _subscribe(self, reader: Reader, ask: Subscribe, request_id: int) -> None:
        if len(ask.topics) > TOPICS_PER_SUBSCRIBE_MAX:
            what = f"{len(ask.topics)} topics in one subscribe; {TOPICS_PER_SUBSCRIBE_MAX} at most: ask in several"
            self._reply(reader.identity, Refusal(str(Reason.TOO_LARGE), what), request_id)
            return
        if not 0 <= ask.hold_s <= HOLD_S_MAX:  # also what is no number
            what = f"hold_s is {ask.hold_s!r}; seconds from 0 (at once) to {HOLD_S_MAX:g} are expected"
            self._reply(reader.identity, Refusal(str(Reason.BAD_REQUEST), what), request_id)
            return
        names: list[str] = []
        new: list[str] = []
        if ask.feed:
            # Both before anything changes: a refused subscribe leaves no half behind.
            streams = self._feeds.check(ask.feed, ask.topics)
            names = [_full(ask.feed, stream) for stream in streams]
            fresh = [s for s, name in zip(streams, names, strict=True) if name not in reader.topics]
            if len(reader.topics) + len(fresh) > self.settings.topics_max:
                what = f"this reader holds {len(reader.topics)} topics of at most {self.settings.topics_max}"
                self._reply(reader.identity, Refusal(str(Reason.QUEUE_FULL), what), request_id)
                return
            new = self._feeds.demand(ask.feed, [s for s in fresh if s]) if fresh else []
            for stream, name in zip(fresh, new, strict=True):
                reader.topics[name] = (ask.feed, stream)
            if ask.hold_s != reader.held.hold_s:
                self._hand_on(reader)
                reader.held.hold_s = ask.hold_s
        elif not ask.events:
            what = "neither a feed nor events in this subscribe; name a feed and its topics, or set events"
            self._reply(reader.identity, Refusal(str(Reason.BAD_REQUEST), what), request_id)
            return
        reader.events = reader.events or ask.events
        reader.turns = reader.turns or ask.turns
        self._reply(reader.identity, Done({"topics": names, "events": reader.events}), request_id)
        self._join(reader, new)

    def _join(self, reader: Reader, names: list[str]) -> None:
        """From here on the reader gets every batch; first the last value, so that it starts with something."""
        for name in names:
            last = self._last.get(name)
            if last is not None:
                seq, payload = last
                self._send_data(reader, name, encode(Feed(name, [payload]), when=seq), 1)
            self._by_topic.setdefault(name, {})[reader.identity] = reader

    def _send_data(self, reader: Reader, topic: str, frame: bytes, count: int) -> None:
        if reader.queue or self._door.send(reader.identity, frame) is Sent.SLOW:
            reader.queue.offer(topic, frame, count)
            self._mark_slow(reader)

    def _unsubscribe(self, reader: Reader, ask: Unsubscribe, request_id: int) -> None:
        names: list[str] = []
        if ask.feed:
            self._hand_on(reader)  # before the answer, behind which nothing of these topics is expected
            wanted = [_full(ask.feed, topic) for topic in ask.topics] or [
                name for name, (feed, _stream) in reader.topics.items() if feed == ask.feed
            ]
            names = [name for name in dict.fromkeys(wanted) if name in reader.topics]
            self._leave(reader, names)
        if ask.events:
            reader.events = False
        self._reply(reader.identity, Done({"topics": names, "events": reader.events}), request_id)

    def _leave(self, reader: Reader, names: list[str]) -> None:
        left: dict[str, list[str]] = {}
        for name in names:
            feed, stream = reader.topics.pop(name)
            readers = self._by_topic.get(name, {})
            readers.pop(reader.identity, None)
            if not readers:
                self._by_topic.pop(name, None)
                self._last.forget(name)  # nothing keeps it fresh from here on
            reader.queue.forget(name)
            left.setdefault(feed, []).append(stream)
        for feed, streams in left.items():
            self._feeds.release(feed, streams)

    # ------------------------------------------------------------ peers that went

    def _forget(self, identity: bytes) -> None:
        reader = self._readers.pop(identity, None)
        self._slow.pop(identity, None)
        if reader is not None:
            self._holds.take(identity, reader.held)
            self.dropped += reader.queue.missed_total
            self._leave(reader, list(reader.topics))

    def sweep(self) -> None:
        """Forget readers whose process ended, or that are silent beyond a generous lease."""
        now = self._clock()
        for reader in list(self._readers.values()):
            silent_s = now - reader.heard_at
            gone = reader.pid > 0 and self._process_gone is not None and self._process_gone(reader.pid)
            if gone or silent_s > max(reader.lease_s, SILENT_S_MIN):
                self._forget(reader.identity)
        self._sweep_timer = self._call_later(SWEEP_S, self.sweep)

    def _reply(self, identity: bytes, message: Message, request_id: int) -> None:
        """Best effort: a reader that does not read its answers has its own deadline."""
        if self._door.send(identity, encode(message, id=request_id)) is Sent.GONE:
            self._forget(identity)

    # ------------------------------------------------------------ status

    def snapshot(self) -> dict[str, Any]:
        """Readers with what they hold and how far behind they are."""
        now = self._clock()
        return {
            "readers": [
                {
                    "bot_id": reader.hello.bot_id,
                    "pid": reader.pid or reader.hello.pid,
                    "topics": len(reader.topics),
                    "events": reader.events,
                    "sent": reader.sent,
                    "missed": reader.queue.missed_total,
                    "queued_bytes": reader.queue.held_bytes,
                    "hold_s": reader.held.hold_s,
                    "held_bytes": reader.held.held_bytes,
                    "silent_s": now - reader.heard_at,
                }
                for reader in self._readers.values()
            ],
            "topics": len(self._by_topic),
            "bad_frames": self.bad_frames,
            "dropped": self.dropped + sum(reader.queue.missed_total for reader in self._readers.values()),
        }


def _full(feed: str, stream: str) -> str:
    """The name on the wire: FEED/STREAM, or FEED alone for a feed that is one topic."""
    return feed if not stream or stream == feed else f"{feed}/{stream}"
