"""One loop turn's messages, a batch per topic: numbers are given here, and nowhere else.

A batch is capped in messages and bytes, so that what a stopped reader can pin inside ZeroMQ stays bounded: its
high-water mark counts frames, not bytes (systems.md, XPUB). What a turn takes in is capped too: a flood is handed on
before the turn ends. The data clock of a socket is stamped once per turn, not per message.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

from .core.book import BookSequence
from .core.merge import Merge
from .feed_socket import FeedSocket

BATCH_MESSAGES_MAX = 256
BATCH_BYTES_MAX = 32 * 1024  # times the door's high-water mark: what a stopped reader can pin inside ZeroMQ
TURN_MESSAGES_MAX = 4096  # some 4 ms of work; more are on fresh pages again, fewer make a reader's batches smaller

Batch = tuple[str, int, list[bytes]]  # a topic's full name, the number of its first message, the messages
Publish = Callable[[list[Batch]], None]


class Topic:
    """One stream of a feed: who wants it, its number, and this turn's messages."""

    __slots__ = (
        "awaited",
        "batch",
        "book",
        "full",
        "leaving",
        "merge",
        "name",
        "readers",
        "seq",
        "socket",
        "stream",
    )

    def __init__(self, full: str, stream: str, seq: int) -> None:
        self.full = full
        self.stream = stream
        self.name = stream.encode()
        self.seq = seq  # of the last message handed out
        self.readers = 0
        self.batch: list[bytes] = []
        self.awaited = True  # no message yet since it was last subscribed
        self.socket: FeedSocket | None = None
        self.merge: Merge | None = None  # while more than one socket carries it
        self.book: BookSequence | None = None  # where the venue numbers its messages
        self.leaving: asyncio.TimerHandle | None = None

    def snapshot(self) -> dict[str, Any]:
        """What an operator sees of it."""
        return {
            "readers": self.readers,
            "seq": self.seq,
            "gaps": self.book.gaps if self.book is not None else 0,
            "awaited": self.awaited,
            "socket": self.socket.label if self.socket is not None else "",
        }


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
        self._taken = 0
        self._scheduled = False

    def touched(self, socket: FeedSocket) -> None:
        socket.fresh = True
        self._sockets.append(socket)
        self._schedule()

    def dirty(self, topic: Topic) -> None:
        """The topic is about to get its first message of this turn."""
        self._dirty.append(topic)
        self._schedule()

    def append(self, topic: Topic, payload: bytes) -> None:
        """One message of a topic; what `FeedRoutes` does inline on the usual path."""
        if not topic.batch:
            self.dirty(topic)
        topic.batch.append(payload)

    def took(self, count: int) -> None:
        """A socket's read is done: so many messages more in this turn."""
        self._taken += count
        if self._taken >= TURN_MESSAGES_MAX:
            self.flush()

    def finish(self, topic: Topic) -> None:
        """Hand out what a topic has collected, because it goes."""
        if topic.batch:
            self._publish(list(self._numbered(topic)))

    def flush(self) -> None:
        self._scheduled = False
        self._taken = 0
        if self._sockets:
            sockets, self._sockets = self._sockets, []
            now = self._clock()
            for socket in sockets:
                socket.heard_data(now)
        dirty, self._dirty = self._dirty, []
        batches = [batch for topic in dirty if topic.batch for batch in self._numbered(topic)]
        if batches:
            self._publish(batches)

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self.flush)

    def _numbered(self, topic: Topic) -> Iterator[Batch]:
        payloads, topic.batch = topic.batch, []
        if topic.awaited and topic.socket is not None:
            topic.awaited = False
            topic.socket.heard_topic(topic.stream)
        self.messages += len(payloads)
        for group in _capped(payloads):
            first_seq = topic.seq + 1
            topic.seq += len(group)
            self.batches += 1
            yield topic.full, first_seq, group


def _capped(payloads: list[bytes]) -> Iterator[list[bytes]]:
    """The same in groups within the caps; a message larger than the cap is a group of its own."""
    if len(payloads) <= BATCH_MESSAGES_MAX and sum(map(len, payloads)) <= BATCH_BYTES_MAX:
        yield payloads
        return
    group: list[bytes] = []
    held_bytes = 0
    for payload in payloads:
        if group and (len(group) >= BATCH_MESSAGES_MAX or held_bytes + len(payload) > BATCH_BYTES_MAX):
            yield group
            group, held_bytes = [], 0
        group.append(payload)
        held_bytes += len(payload)
    yield group
