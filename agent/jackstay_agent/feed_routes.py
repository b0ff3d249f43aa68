"""From a socket's message to its topic: the hot path of market data (DESIGN §2, at its end).

Each socket has its own table of the topics it carries, so that a message of a topic that moved elsewhere is nobody's.
A topic that two sockets carry for a while is not in the fast table: it takes the slow way through its `Merge`.
"""

from __future__ import annotations

from collections.abc import Callable

from jackstay_protocols.limits import TOPIC_BYTES_MAX

from .core.book import Continuity, Finding
from .core.dialect import Dialect
from .feed_batches import Batcher, Topic
from .feed_socket import FeedSocket

_CLOSING_BRACE = 125


class FeedRoutes:
    """The tables of one feed. ``unrouted(socket, payload)`` gets what belongs to no carried topic, ``gap`` is told
    when the venue's own numbers say that something is missing."""

    def __init__(
        self,
        dialect: Dialect,
        batcher: Batcher,
        *,
        unrouted: Callable[[FeedSocket, bytes], None],
        gap: Callable[[FeedSocket, Topic, Finding], None],
    ) -> None:
        self._dialect = dialect
        self._batcher = batcher
        self._unrouted = unrouted
        self._gap = gap
        self._fast: dict[FeedSocket, dict[bytes, Topic]] = {}  # by opening, {"stream":"NAME or {"topic":"NAME
        self._names: dict[FeedSocket, dict[bytes, Topic]] = {}  # by name, all that the socket carries

    def carry(self, socket: FeedSocket, topic: Topic) -> None:
        """This socket brings this topic, alone (``topic.merge`` None) or with others."""
        self._names[socket][topic.name] = topic
        if topic.merge is None and topic.book is None:
            self._fast[socket][self._dialect.head + topic.name] = topic
        else:
            self._fast[socket].pop(self._dialect.head + topic.name, None)

    def alone(self, socket: FeedSocket, topic: Topic) -> None:
        """From here on this socket brings the topic without others: back to the fast table."""
        topic.merge = None
        self.carry(socket, topic)

    def drop(self, socket: FeedSocket, topic: Topic) -> None:
        self._names.get(socket, {}).pop(topic.name, None)
        self._fast.get(socket, {}).pop(self._dialect.head + topic.name, None)

    def forget(self, socket: FeedSocket) -> None:
        self._names.pop(socket, None)
        self._fast.pop(socket, None)

    def reader(self, socket: FeedSocket) -> Callable[[list[bytes]], None]:
        """What takes a socket's messages, with everything it needs at hand: each lookup here is paid per message."""
        fast = self._fast.setdefault(socket, {})
        self._names.setdefault(socket, {})
        slow, dirty, took, touched = self._slow, self._batcher.dirty, self._batcher.took, self._batcher.touched
        start = len(self._dialect.head)
        last = start + TOPIC_BYTES_MAX

        def read_whole(payloads: list[bytes]) -> None:
            # {"topic":"NAME", ...: as below, and the message goes on as it is.
            others = 0
            for payload in payloads:
                topic = fast.get(payload[: payload.find(b'"', start, last)])
                if topic is None:
                    slow(socket, payload)
                    others += 1
                    continue
                if not topic.batch:
                    dirty(topic)
                topic.batch.append(payload)
            if others < len(payloads) and not socket.fresh:
                touched(socket)
            took(len(payloads))

        def read_any(payloads: list[bytes]) -> None:
            for payload in payloads:
                slow(socket, payload)
            took(len(payloads))

        def read(payloads: list[bytes]) -> None:
            others = 0
            for payload in payloads:
                # {"stream":"NAME","data":{...}}: one search, one lookup. By partition (0.15 us in all), since find with
                # bounds reads its arguments from a tuple and leaves two slices to make (0.22).
                opening, _, data = payload.partition(b'","data":')
                topic = fast.get(opening)
                if topic is None or not data or data[-1] != _CLOSING_BRACE:
                    slow(socket, payload)
                    others += 1
                    continue
                batch = topic.batch
                if not batch:
                    dirty(topic)
                batch.append(data[:-1])
            if others < len(payloads) and not socket.fresh:
                touched(socket)
            took(len(payloads))

        if not self._dialect.head:
            return read_any
        return read if self._dialect.unwrap else read_whole

    def _slow(self, socket: FeedSocket, payload: bytes) -> None:
        """Any dialect, any order of fields, any number of sockets for the topic."""
        dialect = self._dialect
        name = b"" if dialect.one_topic else dialect.topic_of(payload)
        topic = self._names.get(socket, {}).get(name) if name is not None else None
        if topic is None or (dialect.one_topic and dialect.is_control(payload)):
            self._unrouted(socket, payload)
            return
        if not socket.fresh:
            self._batcher.touched(socket)
        if dialect.unwrap:
            payload = self._unwrapped(payload, topic)
        if topic.merge is None:
            self._append(socket, topic, payload)
            return
        if socket.awaits(topic.stream):
            socket.heard_topic(topic.stream)
        merge = topic.merge
        for each in merge.take(socket, payload):
            self._append(socket, topic, each)
        if merge.ending and merge.at_end(socket):
            self.alone(socket, topic)

    def _append(self, socket: FeedSocket, topic: Topic, payload: bytes) -> None:
        self._batcher.append(topic, payload)
        if topic.book is not None:
            finding = topic.book.check(payload)
            if finding.continuity is Continuity.GAP:
                self._gap(socket, topic, finding)

    def _unwrapped(self, payload: bytes, topic: Topic) -> bytes:
        start = len(self._dialect.head) + len(topic.name)
        usual = payload.startswith(self._dialect.head) and payload.startswith(b'","data":', start)
        return payload[start + 9 : -1] if usual and payload.endswith(b"}") else payload
