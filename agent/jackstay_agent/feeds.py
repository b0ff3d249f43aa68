"""Market data: which topics are wanted, on which sockets, in which order they reach the readers.

    transport/websocket -> FeedSocket -> FeedRoutes -> Batcher -> publish -> gateway/feed_door

Upstream subscriptions follow demand: the first reader of a topic subscribes it, the last one leaves it after a linger.
Every message gets the agent's own sequence number per topic, so that a reader knows what it missed. Messages of one
loop turn travel as one batch per topic, capped in frames and bytes. There is no Python object per message but its
payload (DESIGN §2, at its end).

A socket near its end is replaced before it breaks: its successor subscribes the same topics, both are merged until each
topic's place on the new one is known, then the old one goes. A redundant feed carries every topic twice all the time.

It refuses to know prices and books, who the readers are, and how they are reached.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from jackstay_protocols.errors import Reason, Refused, ValidationError

from .core.book import BookSequence, Finding
from .core.dialect import check_topic
from .core.feed_state import FeedState
from .core.merge import Merge
from .core.redial import DialBudget
from .feed_batches import BATCH_BYTES_MAX, BATCH_MESSAGES_MAX, Batch, Batcher, Publish, Topic
from .feed_reach import Reach
from .feed_routes import FeedRoutes
from .feed_settings import FeedSettings
from .feed_socket import FeedSocket, WsDial, WsLike
from .trading_hours import TradingHours
from .transport.ws_types import WsClosed, WsSettings
from .transport.ws_url import parse_stream_url

__all__ = ["BATCH_BYTES_MAX", "BATCH_MESSAGES_MAX", "Batch", "Feed", "FeedManager", "FeedSettings", "WsDial"]

ROTATION_LOOK_S = 0.02  # how often a running rotation is looked at
TWIN_WAIT_S = 1.0  # a redundant socket is not replaced while its twin is down

OnEvent = Callable[[str, dict[str, Any]], None]


@dataclass(slots=True)
class Rotation:
    """One socket on its way out, and the one that takes over."""

    old: FeedSocket
    new: FeedSocket
    began_at: float
    timer: asyncio.TimerHandle | None = None


class Feed:
    """One ``[feeds.NAME]``: its topics and the sockets that carry them."""

    def __init__(self, name: str, settings: FeedSettings, manager: FeedManager) -> None:
        settings.check(name)
        self.name = name
        self.settings = settings
        self.dialect = settings.made_dialect()
        self.topics: dict[str, Topic] = {}
        self.sockets: list[FeedSocket] = []  # those that topics are placed on
        self.unrouted = 0  # messages that named no topic anybody wants
        self.rotated = 0
        self._rule = settings.sequence_rule()
        self._manager = manager
        self._batcher = manager.batcher
        self._routes = FeedRoutes(self.dialect, manager.batcher, unrouted=self._unrouted, gap=self._gap)
        self._reach = manager.reach_of(settings)
        self._retired: dict[str, int] = {}  # last numbers of topics that were left, so that they go on counting
        self._forgotten = 0  # messages of topics that are not even retired any more
        self._twins: dict[FeedSocket, FeedSocket] = {}  # both ways, in a redundant feed
        self._rotations: dict[FeedSocket, Rotation] = {}  # by the old socket
        self._closing: set[asyncio.Task[None]] = set()
        self._fetching: set[str] = set()  # streams whose snapshot is under way
        self._ws_settings = WsSettings(
            message_bytes_max=settings.message_bytes_max,
            ping_interval_s=settings.ping_interval_s,
            pong_timeout_s=settings.pong_timeout_s,
        )
        self._made = 0
        self._market = manager.hours.market({name, *settings.names()}) if manager.hours is not None else None

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
                if self._rule is not None and self._rule.is_for(stream):
                    topic.book = BookSequence(self._rule)
                self.topics[stream] = topic
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
        self._batcher.finish(topic)  # this turn's messages get their numbers before the last one is written down
        self._retired[topic.stream] = topic.seq
        while len(self._retired) > self.settings.topics_max:
            self._forgotten += self._retired.pop(next(iter(self._retired)))
        for socket in self._all_sockets():
            if topic.stream in socket.topics:
                self._routes.drop(socket, topic)
                socket.remove([topic.stream])
        topic.socket = None

    # ------------------------------------------------------------ sockets

    def _place(self, topics: list[Topic]) -> None:
        """Put topics on sockets with room, as few sockets as the venue's limit allows."""
        batches: dict[FeedSocket, list[Topic]] = {}
        room: dict[FeedSocket, int] = {}
        for topic in topics:
            socket = next((s for s in self.sockets if room.get(s, self._room(s)) > 0), None)
            socket = socket or self._new_socket()
            room[socket] = room.get(socket, self._room(socket)) - 1
            batches.setdefault(socket, []).append(topic)
        for socket, group in batches.items():
            self._carry(socket, group)

    def _room(self, socket: FeedSocket) -> int:
        return 0 if socket.retiring else self.settings.streams_max - len(socket.topics)

    def _carry(self, socket: FeedSocket, topics: list[Topic]) -> None:
        """These topics are this socket's from now on; in a redundant feed its twin's too."""
        twin = self._twins.get(socket)
        for topic in topics:
            topic.socket = socket
            topic.awaited = True
            if twin is not None:
                topic.merge = Merge()
                self._routes.carry(twin, topic)
            self._routes.carry(socket, topic)
        streams = [topic.stream for topic in topics]
        for each in (socket, twin):
            if each is not None:
                if twin is not None and each.state in (FeedState.SUBSCRIBING, FeedState.LIVE):
                    self._join(each, streams)
                each.add(streams)

    def _new_socket(self) -> FeedSocket:
        """A socket of this feed, with its twin where the feed is redundant."""
        socket = self._make_socket()
        self.sockets.append(socket)
        if self.settings.redundant:
            twin = self._make_socket()
            self._twins[socket] = twin
            self._twins[twin] = socket
        return socket

    def _make_socket(self) -> FeedSocket:
        self._made += 1
        settings, manager = self.settings, self._manager

        async def dial(on_messages: Callable[[list[bytes]], None]) -> WsLike:
            return await manager.ws_dial(
                settings.url_for(socket.topics),
                on_messages=on_messages,
                on_close=_ignore,
                headers=settings.headers,
                timeout_s=settings.connect_timeout_s,
                settings=self._ws_settings,
            )

        socket = FeedSocket(
            f"{self.name}#{self._made}",
            owner=self,
            dialect=self.dialect,
            rules=settings.rules(self.dialect, manager.random()),
            dial=dial,
            reader=self._routes.reader,
            reach=self._reach,
            loop=manager.loop,
            clock=manager.clock,
            random=manager.random,
            market=self._market,
        )
        socket.start()
        return socket

    def _all_sockets(self) -> list[FeedSocket]:
        return [*self.sockets, *(s for s in self._twins if s not in self.sockets), *self._rotations]

    # ------------------------------------------------------------ what sockets tell

    def socket_event(self, socket: FeedSocket, name: str, fields: dict[str, Any]) -> None:
        if name == "feed.connected":
            for stream in socket.topics:
                self.topics[stream].awaited = True
            if socket in self._twins:
                self._join(socket, socket.topics)
        elif name == "feed.lost":
            self._lost(socket)
        self._manager.on_event(name, {"feed": self.name, "socket": socket.label, **fields})

    def _lost(self, socket: FeedSocket) -> None:
        if socket in self._twins:
            self._part(socket)
        elif any(rotation.new is socket for rotation in self._rotations.values()):
            self._part(socket)
            self._join(socket, socket.topics)  # with the next connection it has to find its place again

    def socket_overdue(self, socket: FeedSocket, topics: list[str]) -> None:
        """Subscribed and never delivered: onto a fresh socket. A socket that delivers nothing at all is replaced."""
        if any(rotation.new is socket for rotation in self._rotations.values()):
            return  # the old one still brings what there is
        alone = len(topics) >= len(socket.topics) or len(self.sockets) >= self.settings.sockets_max
        if alone or socket in self._twins or socket.retiring:
            socket.replace("subscriptions were taken and nothing came")
            return
        moved = [self.topics[stream] for stream in topics]
        for topic in moved:
            self._routes.drop(socket, topic)
        socket.remove(topics)
        self._carry(self._new_socket(), moved)

    def socket_old(self, socket: FeedSocket, why: str) -> None:
        """The socket's end is near: make before break."""
        if any(rotation.new is socket for rotation in self._rotations.values()):
            self._manager.loop.call_later(TWIN_WAIT_S, self.socket_old, socket, why)  # it has not taken over itself
        elif socket in self._twins:
            self._replace_twin(socket, why)
        elif socket not in self._rotations and not socket.retiring and socket.topics:
            self._rotate(socket, why)

    def rotate(self, label: str) -> bool:
        for socket in self._all_sockets():
            if socket.label == label:
                self.socket_old(socket, "an operator asked")
                return True
        return False

    def socket_ended(self, socket: FeedSocket) -> None:
        """A retiring socket's line ended before its successor had taken over."""
        rotation = self._rotations.get(socket)
        if rotation is not None:
            self._finish(rotation)

    def _unrouted(self, socket: FeedSocket, payload: bytes) -> None:
        if self.dialect.is_notice(payload):
            self._manager.on_event("feed.notice", {"feed": self.name, "socket": socket.label})
            self.socket_old(socket, "the venue announced its end")
        elif self.dialect.is_control(payload):
            socket.on_control(payload)
        else:
            # Data nobody asked for, or of a topic that is being left: the socket lives, nobody gets it.
            self.unrouted += 1
            if not socket.fresh:
                self._batcher.touched(socket)

    def _gap(self, socket: FeedSocket, topic: Topic, finding: Finding) -> None:
        """The venue's numbers jump: readers' books are wrong from ``seq`` on. Venues that send a snapshot with a
        subscription are asked for one."""
        seq = topic.seq + len(topic.batch)  # the number the message after the gap gets
        fields = {"feed": self.name, "topic": topic.full, "seq": seq}
        numbers = {"expected": finding.expected, "found": finding.found}
        renewed = self.dialect.snapshot_on_subscribe and topic.merge is None
        if renewed:
            socket.renew([topic.stream])
        fetched = bool(self.settings.snapshot) and not renewed and self._manager.fetch is not None
        self._manager.on_event("feed.gap", {**fields, **numbers, "renewed": renewed, "fetched": fetched})
        if fetched and topic.stream not in self._fetching:
            self._fetching.add(topic.stream)
            task = self._manager.loop.create_task(self._fetch(topic), name=f"feed {self.name} snapshot")
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)

    async def _fetch(self, topic: Topic) -> None:
        """The venue's snapshot becomes the topic's next message; one at a time per topic."""
        assert self._manager.fetch is not None, "asked before"
        try:
            body = await self._manager.fetch(self.settings.snapshot_for(topic.stream))
        finally:
            self._fetching.discard(topic.stream)
        if body is None:
            self._manager.on_event("feed.snapshot_failed", {"feed": self.name, "topic": topic.full})
        elif self.topics.get(topic.stream) is topic:
            self._batcher.append(topic, body)
            self._manager.on_event("feed.snapshot", {"feed": self.name, "topic": topic.full, "bytes": len(body)})

    # ------------------------------------------------------------ rotation

    def _rotate(self, old: FeedSocket, why: str) -> None:
        new = self._make_socket()
        self.sockets[self.sockets.index(old)] = new
        old.retiring = True
        rotation = self._rotations[old] = Rotation(old, new, self._manager.clock())
        topics = [self.topics[stream] for stream in old.topics]
        for topic in topics:
            topic.socket = new
            if old.asks(topic.stream):
                topic.merge = Merge()
                topic.merge.join(old)
                topic.merge.join(new)
                self._routes.carry(old, topic)
            else:  # it never came on the old one: nothing to merge
                self._routes.drop(old, topic)
            self._routes.carry(new, topic)
        new.add([topic.stream for topic in topics])
        fields = {"feed": self.name, "socket": old.label, "successor": new.label, "why": why, "topics": len(topics)}
        self._manager.on_event("feed.rotating", fields)
        self._look_later(rotation)

    def _look_later(self, rotation: Rotation) -> None:
        rotation.timer = self._manager.loop.call_later(ROTATION_LOOK_S, self._look, rotation)

    def _look(self, rotation: Rotation) -> None:
        """Is every topic's place on the new socket known, or has it been quiet on both for the settling time?"""
        settled_s = rotation.new.settled_s(self._manager.clock())
        ready = settled_s > 0 and (
            settled_s >= self.settings.settle_s
            or all(
                topic.merge is None or topic.merge.aligned(rotation.new)
                for topic in (self.topics[stream] for stream in rotation.new.topics)
            )
        )
        if ready:
            self._finish(rotation)
        else:
            self._look_later(rotation)

    def _finish(self, rotation: Rotation) -> None:
        """The old socket goes; what only waited for it is delivered."""
        old, new = rotation.old, rotation.new
        if rotation.timer is not None:
            rotation.timer.cancel()
        del self._rotations[old]
        for topic in self.topics.values():
            merge = topic.merge
            if merge is None or old not in merge.lines():
                continue
            for payload in merge.leave(old):
                self._batcher.append(topic, payload)
            # The new one may be behind: what the old one brought already is still to be left out.
            merge.ending = True
            if merge.at_end(new):
                self._routes.alone(new, topic)
        self._routes.forget(old)
        self.rotated += 1
        task = self._manager.loop.create_task(old.close(), name=f"feed {old.label} closing")
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)
        took_s = self._manager.clock() - rotation.began_at
        fields = {"feed": self.name, "socket": old.label, "successor": new.label, "took_s": took_s}
        self._manager.on_event("feed.rotated", fields)

    # ------------------------------------------------------------ redundant pairs

    def _join(self, socket: FeedSocket, streams: Iterable[str]) -> None:
        for stream in streams:
            merge = self.topics[stream].merge
            if merge is not None:
                merge.join(socket)

    def _part(self, socket: FeedSocket) -> None:
        for stream in socket.topics:
            topic = self.topics[stream]
            if topic.merge is not None:
                for payload in topic.merge.leave(socket):
                    self._batcher.append(topic, payload)

    def _replace_twin(self, socket: FeedSocket, why: str) -> None:
        """The twin covers meanwhile; if it is down itself, a little later."""
        if self._twins[socket].state is FeedState.LIVE:
            socket.replace(why, reason="")
        else:
            self._manager.loop.call_later(TWIN_WAIT_S, self._replace_twin, socket, why)

    # ------------------------------------------------------------ status and end

    def snapshot(self, now: float) -> dict[str, Any]:
        return {
            "feed": self.name,
            "dialect": self.dialect.name,
            "url": place_of(self.settings.url),
            "topics": {topic.full: topic.snapshot() for topic in self.topics.values()},
            "sockets": [socket.snapshot(now) for socket in self._all_sockets()],
            "messages": self._forgotten
            + sum(self._retired.values())
            + sum(topic.seq for topic in self.topics.values()),
            "rotated": self.rotated,
            "unrouted": self.unrouted,
        }

    async def close(self) -> None:
        for topic in self.topics.values():
            if topic.leaving is not None:
                topic.leaving.cancel()
        for rotation in self._rotations.values():
            if rotation.timer is not None:
                rotation.timer.cancel()
        await asyncio.gather(*(socket.close() for socket in self._all_sockets()), *self._closing)


def place_of(url: str) -> str:
    """Scheme, host and port: paths may hold secrets."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _ignore(closed: WsClosed) -> None:
    """The socket's own task awaits the end; the callback says nothing more."""


class FeedManager:
    """All feeds of one agent. ``publish(batches)`` gets a loop turn's messages, on the loop."""

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
        hours: TradingHours | None = None,
        fetch: Callable[[str], Awaitable[bytes | None]] | None = None,
    ) -> None:
        self.fetch = fetch
        self.loop = loop
        self.hours = hours
        self.clock = clock
        self.random = random
        self.ws_dial = ws_dial
        self.on_event = on_event
        self.batcher = Batcher(loop=loop, clock=clock, publish=publish)
        self._reaches: dict[str, Reach] = {}
        self._feeds = {name: Feed(name, settings, self) for name, settings in feeds.items()}

    def reach_of(self, settings: FeedSettings) -> Reach:
        """The host's, shared by its feeds; the strictest of their dial budgets holds for all of them."""
        host = parse_stream_url(settings.url).place
        budget = DialBudget(settings.dials_max, settings.dial_window_s)
        reach = self._reaches.get(host)
        if reach is None:
            reach = self._reaches[host] = Reach(budget, self.random)
        elif 0 < budget.per_s() < reach.budget.per_s() or reach.budget.attempts_max == 0:
            reach.budget = budget
        return reach

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

    def rotate(self, label: str) -> bool:
        """Have a successor take over from this socket; False when there is none of that name."""
        return any(feed.rotate(label) for feed in self._feeds.values())

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
