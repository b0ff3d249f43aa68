"""One loop turn's messages, a batch per topic: numbers are given here, and nowhere else.

A batch is capped in frames and bytes, so that what a stopped reader can pin inside ZeroMQ stays bounded: its high-water
mark counts frames, not bytes (systems.md, XPUB). The data clock of a socket is stamped once per turn, not per message.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from .core.book import BookSequence
from .core.merge import Merge
from .feed_socket import FeedSocket

BATCH_FRAMES_MAX = 256
BATCH_BYTES_MAX = 32 * 1024  # times the door's high-water mark: what a stopped reader can pin inside ZeroMQ

Publish = Callable[[str, int, list[bytes]], None]


class Topic:
    """One stream of a feed: who wants it, its number, and this turn's messages."""

    __slots__ = (
        "awaited",
        "batch",
        "batch_bytes",
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
        self.batch_bytes = 0
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
        self._scheduled = False

    def touched(self, socket: FeedSocket) -> None:
        socket.fresh = True
        self._sockets.append(socket)
        self._schedule()

    def dirty(self, topic: Topic) -> None:
        self._dirty.append(topic)
        self._schedule()

    def append(self, topic: Topic, payload: bytes) -> None:
        """One message of a topic; what `FeedRoutes` does inline on the usual path."""
        batch = topic.batch
        batch.append(payload)
        topic.batch_bytes += len(payload)
        if len(batch) == 1:
            self.dirty(topic)
        elif len(batch) >= BATCH_FRAMES_MAX or topic.batch_bytes >= BATCH_BYTES_MAX:
            self.full(topic)

    def full(self, topic: Topic) -> None:
        """The batch is at its cap: out with it now; the topic stays on the list of this turn."""
        self._hand_out(topic)

    def finish(self, topic: Topic) -> None:
        """Hand out what a topic has collected, because it goes."""
        if topic.batch:
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
