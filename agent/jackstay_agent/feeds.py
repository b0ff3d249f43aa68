"""Market data: which topics are wanted, on which sockets, in which order they reach the readers.

    transport/websocket -> FeedSocket -> Feed (here: route, number, batch) -> publish -> gateway/feed_door

Upstream subscriptions follow demand: the first reader of a topic subscribes it, the last one leaves it after a linger.
Every message gets the agent's own sequence number per topic, so that a reader knows what it missed. Messages of one
loop turn travel as one batch per topic, capped in frames and bytes. There is no Python object per message but its
payload (DESIGN §2, at its end).

It refuses to know prices and books, who the readers are, and how they are reached.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Protocol

import msgspec

from jackstay_protocols.errors import Reason, Refused, ValidationError
from jackstay_protocols.limits import TOPIC_BYTES_MAX

from .core.dialect import DIALECTS, Dialect, check_topic
from .core.heartbeat import HeartbeatRules
from .core.redial import DialBudget, RedialRules
from .feed_socket import FeedSocket, SocketRules, WsLike
from .transport.websocket import WsClosed, WsSettings, check_headers, parse_ws_url

BATCH_FRAMES_MAX = 256
BATCH_BYTES_MAX = 32 * 1024  # times the door's high-water mark: what a stopped reader can pin inside ZeroMQ

Publish = Callable[[str, int, list[bytes]], None]
OnEvent = Callable[[str, dict[str, Any]], None]


class WsDial(Protocol):
    """`transport.websocket.ws_connect`, or the simulation's stand-in."""

    def __call__(
        self,
        url: str,
        *,
        on_message: Callable[[int, bytes], None],
        on_close: Callable[[WsClosed], None],
        headers: Mapping[str, str] | None,
        timeout_s: float,
        settings: WsSettings,
    ) -> Awaitable[WsLike]: ...


class FeedSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One ``[feeds.NAME]`` table. Times in seconds; 0 turns a rule off."""

    url: str
    dialect: str = "raw"  # binance | bybit | okx | kraken | raw | template
    headers: dict[str, str] = {}

    # dialect = "template": how to ask, and which fields name the topic (see core/dialect.py)
    subscribe: str = ""
    unsubscribe: str = ""
    item: str = '"$topic"'
    topics_per_message: int = 0  # 0: the dialect's own
    topic_fields: list[str] = []
    control: list[str] = []

    connect_timeout_s: float = 10.0
    ping_interval_s: float = 15.0  # below Binance's 20 s server rhythm, so a half-open line is found first
    pong_timeout_s: float = 10.0
    heartbeat: str = ""  # application heartbeat text; "": the dialect's own
    heartbeat_interval_s: float = 20.0  # Bybit asks for 20 s, OKX cuts after 30 s
    silence_s: float = 60.0  # no data on the whole socket for this long: it is replaced
    first_message_s: float = 30.0  # a subscription that delivers nothing moves; doubles for quiet symbols
    lifetime_s: float = 23 * 3600.0  # Binance ends a socket at 24 h

    backoff_min_s: float = 0.25
    backoff_max_s: float = 30.0
    healthy_s: float = 10.0  # a connection up for this long is redialled at once, and resets the backoff
    dials_max: int = 60  # per dial_window_s, over all sockets of the feed; Binance allows 300 per 5 min and IP
    dial_window_s: float = 300.0

    subscribes_per_s: float = 4.0  # Binance spot cuts at 5 incoming messages a second, pongs included
    streams_max: int = 200  # topics on one socket; Binance allows 1024
    sockets_max: int = 16
    topics_max: int = 4096
    linger_s: float = 5.0  # how long a topic stays subscribed without a reader
    message_bytes_max: int = 8 * 1024 * 1024

    def check(self, name: str) -> None:
        """Raises ValidationError naming the key that is wrong."""
        parse_ws_url(self.url)
        check_headers(self.headers)
        if self.dialect != "template" and self.dialect not in DIALECTS:
            known = ", ".join([*DIALECTS, "template"])
            raise ValidationError(f"feeds.{name}.dialect is {self.dialect!r}; one of {known} is expected")
        if self.dialect == "template" and not (self.subscribe and self.topic_fields):
            raise ValidationError(f"feeds.{name}: dialect 'template' needs 'subscribe' and 'topic_fields'")
        for key in ("streams_max", "sockets_max", "topics_max", "message_bytes_max"):
            if getattr(self, key) < 1:
                raise ValidationError(f"feeds.{name}.{key} is {getattr(self, key)}; 1 or more is expected")
        for key in self.__struct_fields__:
            value = getattr(self, key)
            if isinstance(value, float | int) and (not math.isfinite(value) or value < 0):
                raise ValidationError(f"feeds.{name}.{key} is {value}; 0 or a finite number above it is expected")
        if self.connect_timeout_s == 0 or self.backoff_max_s < self.backoff_min_s:
            raise ValidationError(
                f"feeds.{name}: connect_timeout_s above 0 and backoff_max_s of at least backoff_min_s are expected"
            )

    def made_dialect(self) -> Dialect:
        """The dialect with this table's own words in it."""
        if self.dialect == "template":
            return Dialect(
                "template",
                subscribe=self.subscribe,
                unsubscribe=self.unsubscribe,
                item=self.item,
                items_max=self.topics_per_message or 100,
                topic_fields=tuple(self.topic_fields),
                control=tuple(self.control),
            )
        base = DIALECTS[self.dialect]
        return Dialect(
            base.name,
            subscribe=base.subscribe,
            unsubscribe=base.unsubscribe,
            item=base.item,
            items_max=self.topics_per_message or base.items_max,
            topic_fields=base.topic_fields,
            unwrap=base.unwrap,
            control=base.control + tuple(self.control),
            errors=base.errors,
            heartbeat=self.heartbeat or base.heartbeat,
            one_topic=base.one_topic,
        )

    def rules(self, dialect: Dialect) -> SocketRules:
        text = self.heartbeat or dialect.heartbeat
        beats = HeartbeatRules(
            silence_s=self.silence_s,
            heartbeat_interval_s=self.heartbeat_interval_s if text else 0.0,
            lifetime_s=self.lifetime_s,
        )
        redial = RedialRules(min_s=self.backoff_min_s, max_s=self.backoff_max_s, healthy_s=self.healthy_s)
        return SocketRules(beats, redial, self.first_message_s, self.subscribes_per_s, text)


class Topic:
    """One stream of a feed: who wants it, its number, and this turn's messages."""

    __slots__ = ("awaited", "batch", "batch_bytes", "full", "leaving", "readers", "seq", "socket", "stream")

    def __init__(self, full: str, stream: str, seq: int) -> None:
        self.full = full
        self.stream = stream
        self.seq = seq  # of the last message handed out
        self.readers = 0
        self.batch: list[bytes] = []
        self.batch_bytes = 0
        self.awaited = True  # no message yet since it was last subscribed
        self.socket: FeedSocket | None = None
        self.leaving: asyncio.TimerHandle | None = None


class Batcher:
    """Collects one loop turn's messages and hands them on, a batch per topic."""

    def __init__(self, *, loop: asyncio.AbstractEventLoop, clock: Callable[[], float], publish: Publish) -> None:
        self.batches = 0
        self.messages = 0
        self._loop = loop
        self._clock = clock
        self._publish = publish
        self._dirty: list[Topic] = []
        self._sockets: list[FeedSocket] = []
        self._scheduled = False

    def touched(self, socket: FeedSocket) -> None:
        socket.fresh = True
        self._sockets.append(socket)
        self._schedule()

    def dirty(self, topic: Topic) -> None:
        self._dirty.append(topic)
        self._schedule()

    def full(self, topic: Topic) -> None:
        """The batch is at its cap: out with it now; the topic stays on the list of this turn."""
        self._hand_out(topic)

    def flush(self) -> None:
        self._scheduled = False
        if self._sockets:
            sockets, self._sockets = self._sockets, []
            now = self._clock()
            for socket in sockets:
                socket.heard_data(now)
        dirty, self._dirty = self._dirty, []
        for topic in dirty:
            if topic.batch:
                self._hand_out(topic)

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self.flush)

    def _hand_out(self, topic: Topic) -> None:
        batch = topic.batch
        first_seq = topic.seq + 1
        topic.seq += len(batch)
        topic.batch = []
        topic.batch_bytes = 0
        self.batches += 1
        self.messages += len(batch)
        if topic.awaited and topic.socket is not None:
            topic.awaited = False
            topic.socket.heard_topic(topic.stream)
        self._publish(topic.full, first_seq, batch)


class Feed:
    """One ``[feeds.NAME]``: its topics and the sockets that carry them."""

    def __init__(self, name: str, settings: FeedSettings, manager: FeedManager) -> None:
        settings.check(name)
        self.name = name
        self.settings = settings
        self.dialect = settings.made_dialect()
        self.topics: dict[str, Topic] = {}
        self.sockets: list[FeedSocket] = []
        self.unrouted = 0  # messages that named no topic anybody wants
        self._manager = manager
        self._batcher = manager.batcher
        self._rules = settings.rules(self.dialect)
        self._budget = DialBudget(settings.dials_max, settings.dial_window_s)
        self._routes: dict[bytes, Topic] = {}
        self._retired: dict[str, int] = {}  # last numbers of topics that were left, so that they go on counting
        self._ws_settings = WsSettings(
            message_bytes_max=settings.message_bytes_max,
            ping_interval_s=settings.ping_interval_s,
            pong_timeout_s=settings.pong_timeout_s,
        )
        self._made = 0
        # Single-field dialects are read by the opening of a message alone: {"stream":"btcusdt@trade
        self._head = self.dialect.head
        self._heads: dict[bytes, Topic] = {}

    # ------------------------------------------------------------ demand

    def check(self, streams: Iterable[str]) -> list[str]:
        """The streams a reader may ask for, without repeats. Raises ValidationError or Refused."""
        wanted = list(dict.fromkeys(streams))
        if self.dialect.one_topic:
            if wanted not in ([], [self.name]):
                raise ValidationError(
                    f"feed {self.name!r} is one topic; subscribe it without topics", reason=Reason.BAD_REQUEST
                )
            return [""]
        if not wanted:
            raise ValidationError(
                f"no topics for feed {self.name!r}; name at least one, e.g. 'btcusdt@trade'",
                reason=Reason.BAD_REQUEST,
            )
        for stream in wanted:
            check_topic(stream)
        new = sum(1 for stream in wanted if stream not in self.topics)
        room = min(self.settings.topics_max, self.settings.sockets_max * self.settings.streams_max)
        if len(self.topics) + new > room:
            raise Refused(
                f"feed {self.name!r} holds {len(self.topics)} topics of at most {room}; unsubscribe some,"
                " or raise topics_max, streams_max or sockets_max",
                reason=Reason.QUEUE_FULL,
            )
        return wanted

    def demand(self, streams: list[str]) -> list[str]:
        """One more reader for each; full topic names. The caller has passed `check`."""
        added: list[Topic] = []
        names = []
        for stream in streams:
            topic = self.topics.get(stream)
            if topic is None:
                full = f"{self.name}/{stream}" if stream else self.name
                topic = Topic(full, stream, self._retired.pop(stream, 0))
                self.topics[stream] = topic
                self._routes[stream.encode()] = topic
                self._heads[self._head + stream.encode()] = topic
                added.append(topic)
            if topic.leaving is not None:
                topic.leaving.cancel()
                topic.leaving = None
            topic.readers += 1
            names.append(topic.full)
        self._place(added)
        return names

    def release(self, streams: Iterable[str]) -> None:
        """One reader less for each; the last one starts the linger."""
        for stream in streams:
            topic = self.topics.get(stream)
            if topic is None or topic.readers == 0:
                continue
            topic.readers -= 1
            if topic.readers == 0:
                topic.leaving = self._manager.loop.call_later(self.settings.linger_s, self._leave, topic)

    def _leave(self, topic: Topic) -> None:
        topic.leaving = None
        self.topics.pop(topic.stream, None)
        self._routes.pop(topic.stream.encode(), None)
        self._heads.pop(self._head + topic.stream.encode(), None)
        self._retired[topic.stream] = topic.seq
        while len(self._retired) > self.settings.topics_max:
            del self._retired[next(iter(self._retired))]
        if topic.socket is not None:
            topic.socket.remove([topic.stream])
            topic.socket = None

    # ------------------------------------------------------------ sockets

    def _place(self, topics: list[Topic], *, avoid: FeedSocket | None = None) -> None:
        """Put topics on the fullest socket with room, as few sockets as the venue's limit allows."""
        batches: dict[FeedSocket, list[str]] = {}
        for topic in topics:
            socket = next(
                (s for s in self.sockets if s is not avoid and len(s.topics) < self.settings.streams_max), None
            )
            socket = socket or self._new_socket()
            topic.socket = socket
            topic.awaited = True
            socket.topics[topic.stream] = None
            batches.setdefault(socket, []).append(topic.stream)
        for socket, streams in batches.items():
            socket.add(streams)

    def _new_socket(self) -> FeedSocket:
        self._made += 1
        settings, manager = self.settings, self._manager

        async def dial(on_message: Callable[[int, bytes], None]) -> WsLike:
            return await manager.ws_dial(
                settings.url,
                on_message=on_message,
                on_close=_ignore,
                headers=settings.headers,
                timeout_s=settings.connect_timeout_s,
                settings=self._ws_settings,
            )

        socket = FeedSocket(
            f"{self.name}#{self._made}",
            owner=self,
            dialect=self.dialect,
            rules=self._rules,
            dial=dial,
            reader=self._reader,
            budget=self._budget,
            loop=manager.loop,
            clock=manager.clock,
            random=manager.random,
        )
        self.sockets.append(socket)
        socket.start()
        return socket

    def socket_event(self, socket: FeedSocket, name: str, fields: dict[str, Any]) -> None:
        if name == "feed.connected":
            for stream in socket.topics:
                self.topics[stream].awaited = True
        self._manager.on_event(name, {"feed": self.name, "socket": socket.label, **fields})

    def socket_overdue(self, socket: FeedSocket, topics: list[str]) -> None:
        """Subscribed and never delivered: onto a fresh socket. A socket that delivers nothing at all is replaced."""
        if len(topics) >= len(socket.topics) or len(self.sockets) >= self.settings.sockets_max:
            socket.replace("subscriptions were taken and nothing came")
            return
        moved = [self.topics[stream] for stream in topics]
        socket.remove(topics)
        fresh = self._new_socket()
        for topic in moved:
            topic.socket = fresh
            topic.awaited = True
        fresh.add(topics)

    def socket_old(self, socket: FeedSocket) -> None:
        socket.replace("the venue's lifetime of a socket is near", reason="")

    # ------------------------------------------------------------ messages: the hot path

    def _reader(self, socket: FeedSocket) -> Callable[[int, bytes], None]:
        """What takes a socket's messages, with everything it needs at hand: each lookup here is paid per message."""
        if self.dialect.one_topic:
            return self._one_topic_reader(socket)
        if self._head and self.dialect.unwrap:
            return self._unwrapping_reader(socket)

        def read(_kind: int, payload: bytes) -> None:
            name = self.dialect.topic_of(payload)
            topic = self._routes.get(name) if name is not None else None
            if topic is None:
                self._unrouted(socket, payload)
            else:
                self._append(socket, topic, payload)

        return read

    def _one_topic_reader(self, socket: FeedSocket) -> Callable[[int, bytes], None]:
        topics, control = self.topics, self.dialect.is_control

        def read(_kind: int, payload: bytes) -> None:
            topic = topics.get("")
            if topic is None or control(payload):
                self._unrouted(socket, payload)
            else:
                self._append(socket, topic, payload)

        return read

    def _unwrapping_reader(self, socket: FeedSocket) -> Callable[[int, bytes], None]:
        """{"stream":"NAME","data":{...}}: one search, one lookup and one copy per message."""
        start, heads, slow, unrouted = len(self._head), self._heads, self._slow_route, self._unrouted
        dirty, full, touched = self._batcher.dirty, self._batcher.full, self._batcher.touched
        last = start + TOPIC_BYTES_MAX

        def read(_kind: int, payload: bytes) -> None:
            end = payload.find(b'","data":', start, last)
            topic = heads.get(payload[:end])
            if topic is not None and payload[-1] == 125:  # "}"
                payload = payload[end + 9 : -1]
            else:
                topic = slow(payload)
                if topic is None:
                    unrouted(socket, payload)
                    return
            if not socket.fresh:
                touched(socket)
            batch = topic.batch
            batch.append(payload)
            topic.batch_bytes += len(payload)
            if len(batch) == 1:
                dirty(topic)
            elif len(batch) >= BATCH_FRAMES_MAX or topic.batch_bytes >= BATCH_BYTES_MAX:
                full(topic)

        return read

    def _slow_route(self, payload: bytes) -> Topic | None:
        """A message that does not open as usual: fields in another order."""
        name = self.dialect.topic_of(payload)
        return self._routes.get(name) if name is not None else None

    def _append(self, socket: FeedSocket, topic: Topic, payload: bytes) -> None:
        if not socket.fresh:
            self._batcher.touched(socket)
        batch = topic.batch
        batch.append(payload)
        topic.batch_bytes += len(payload)
        if len(batch) == 1:
            self._batcher.dirty(topic)
        elif len(batch) >= BATCH_FRAMES_MAX or topic.batch_bytes >= BATCH_BYTES_MAX:
            self._batcher.full(topic)

    def _unrouted(self, socket: FeedSocket, payload: bytes) -> None:
        if self.dialect.is_control(payload):
            socket.on_control(payload)
            return
        # Data nobody asked for, or of a topic that is being left: the socket lives, nobody gets it.
        self.unrouted += 1
        if not socket.fresh:
            self._batcher.touched(socket)

    # ------------------------------------------------------------ status and end

    def snapshot(self, now: float) -> dict[str, Any]:
        return {
            "feed": self.name,
            "dialect": self.dialect.name,
            "topics": {topic.full: {"readers": topic.readers, "seq": topic.seq} for topic in self.topics.values()},
            "sockets": [socket.snapshot(now) for socket in self.sockets],
            "unrouted": self.unrouted,
        }

    async def close(self) -> None:
        for topic in self.topics.values():
            if topic.leaving is not None:
                topic.leaving.cancel()
        await asyncio.gather(*(socket.close() for socket in self.sockets))


def _ignore(closed: WsClosed) -> None:
    """The socket's own task awaits the end; the callback says nothing more."""


class FeedManager:
    """All feeds of one agent. ``publish(topic, first_seq, payloads)`` gets every batch, on the loop."""

    def __init__(
        self,
        feeds: Mapping[str, FeedSettings],
        *,
        loop: asyncio.AbstractEventLoop,
        clock: Callable[[], float],
        random: Callable[[], float],
        ws_dial: WsDial,
        publish: Publish,
        on_event: OnEvent,
    ) -> None:
        self.loop = loop
        self.clock = clock
        self.random = random
        self.ws_dial = ws_dial
        self.on_event = on_event
        self.batcher = Batcher(loop=loop, clock=clock, publish=publish)
        self._feeds = {name: Feed(name, settings, self) for name, settings in feeds.items()}

    def names(self) -> list[str]:
        return sorted(self._feeds)

    def check(self, feed: str, streams: Iterable[str]) -> list[str]:
        """The streams a reader may ask for. Raises ValidationError (unknown feed, bad topic) or Refused (full)."""
        return self._feed(feed).check(streams)

    def demand(self, feed: str, streams: Iterable[str]) -> list[str]:
        """One more reader of these streams; returns their full topic names. Raises as `check`."""
        found = self._feed(feed)
        return found.demand(found.check(streams))

    def release(self, feed: str, streams: Iterable[str]) -> None:
        """One reader less. Unknown feeds and streams are ignored."""
        if feed in self._feeds:
            found = self._feeds[feed]
            found.release([""] if found.dialect.one_topic else list(dict.fromkeys(streams)))

    async def start(self) -> None:
        """Nothing is dialled before a reader asks; here so that the composition root starts all parts alike."""

    def status(self) -> dict[str, Any]:
        """Feed name -> its topics, sockets and counts, for status."""
        now = self.clock()
        return {name: feed.snapshot(now) for name, feed in self._feeds.items()}

    async def stop(self) -> None:
        """Close every socket, politely and in bounded time."""
        await asyncio.gather(*(feed.close() for feed in self._feeds.values()))

    def _feed(self, name: str) -> Feed:
        feed = self._feeds.get(name)
        if feed is None:
            known = ", ".join(self.names()) or "none"
            raise ValidationError(
                f"feed {name!r} is not configured (known: {known}); add [feeds.{name}] to the agent's configuration",
                reason=Reason.UPSTREAM_NOT_ALLOWED,
            )
        return feed
