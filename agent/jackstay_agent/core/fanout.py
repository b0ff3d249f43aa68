"""What a slow reader still gets: a byte-bounded queue that drops the oldest market data and counts it (DESIGN §4).

Market data ages: the newest is worth most, so the oldest goes first, and the reader is told per topic how many it
missed before the next one of that topic. Events are facts and are not dropped one by one; past their bound they
collapse into a marker that says how many there were, and the reader asks for a snapshot. ZeroMQ's own PUB does the
opposite on all counts: it keeps the oldest, counts nothing, and bounds messages, not bytes (systems.md, XPUB).

Pure: frames are opaque bytes shared by all readers; who sends them, and when, is the feed door's business.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

# What one queued entry costs besides its bytes: the tuple, the deque's slot, its share of the bytes object.
ENTRY_OVERHEAD_BYTES = 120
TOPICS_MISSED_MAX = 8192  # more topics than any feed holds


@dataclass(frozen=True, slots=True)
class Lag:
    """Send first: ``missed`` messages of ``topic`` were dropped."""

    topic: str
    missed: int


@dataclass(frozen=True, slots=True)
class Collapsed:
    """Send first: ``missed`` events were collapsed; the reader should ask for a snapshot."""

    missed: int


Entry = bytes | Lag | Collapsed


@dataclass(slots=True)
class ReaderQueue:
    """One reader's backlog; empty as long as the reader keeps up.

    Take with `head` (which does not remove) and, once it is really sent, `pop`.
    """

    bytes_max: int
    events_max: int
    held_bytes: int = 0
    missed_total: int = 0
    _data: deque[tuple[str, bytes, int]] = field(default_factory=deque)
    _events: deque[bytes] = field(default_factory=deque)
    _events_collapsed: int = 0
    _missed: dict[str, int] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self._data or self._events or self._missed or self._events_collapsed)

    def __len__(self) -> int:
        return len(self._data) + len(self._events)

    def offer(self, topic: str, frame: bytes, count: int) -> None:
        """Queue one frame of ``count`` messages; the oldest market data makes room."""
        self._data.append((topic, frame, count))
        self.held_bytes += len(frame) + ENTRY_OVERHEAD_BYTES
        while self.held_bytes > self.bytes_max and self._data:
            self._drop_oldest()

    def offer_event(self, frame: bytes) -> None:
        """Queue one event; past the bound all waiting events collapse into one marker."""
        if self._events_collapsed:
            self._events_collapsed += 1
            return
        self._events.append(frame)
        self.held_bytes += len(frame) + ENTRY_OVERHEAD_BYTES
        if len(self._events) > self.events_max:
            self._events_collapsed = len(self._events)
            self.held_bytes -= sum(len(each) + ENTRY_OVERHEAD_BYTES for each in self._events)
            self._events.clear()
        while self.held_bytes > self.bytes_max and self._data:
            self._drop_oldest()

    def missed(self, topic: str, count: int) -> None:
        """Messages that were lost before they could be queued."""
        self._missed[topic] = self._missed.get(topic, 0) + count
        self.missed_total += count
        while len(self._missed) > TOPICS_MISSED_MAX:
            del self._missed[next(iter(self._missed))]

    def forget(self, topic: str) -> None:
        """The reader unsubscribed: neither its data nor its losses are of interest."""
        self._missed.pop(topic, None)
        if any(entry[0] == topic for entry in self._data):
            kept = [entry for entry in self._data if entry[0] != topic]
            self.held_bytes -= sum(len(e[1]) + ENTRY_OVERHEAD_BYTES for e in self._data if e[0] == topic)
            self._data = deque(kept)

    def head(self) -> Entry | None:
        """What to send next, or None: events, then what is missing, then the data."""
        if self._events:
            return self._events[0]
        if self._events_collapsed:
            return Collapsed(self._events_collapsed)
        if self._missed:
            topic = next(iter(self._missed))
            return Lag(topic, self._missed[topic])
        return self._data[0][1] if self._data else None

    def pop(self) -> None:
        """The head was sent."""
        if self._events:
            self.held_bytes -= len(self._events.popleft()) + ENTRY_OVERHEAD_BYTES
        elif self._events_collapsed:
            self._events_collapsed = 0
        elif self._missed:
            del self._missed[next(iter(self._missed))]
        elif self._data:
            self.held_bytes -= len(self._data.popleft()[1]) + ENTRY_OVERHEAD_BYTES

    def _drop_oldest(self) -> None:
        topic, frame, count = self._data.popleft()
        self.held_bytes -= len(frame) + ENTRY_OVERHEAD_BYTES
        self.missed(topic, count)


@dataclass(slots=True)
class LastValues:
    """The newest message of each topic, so that a late joiner starts with something; bounded in topics and bytes."""

    topics_max: int
    payload_bytes_max: int
    _last: dict[str, tuple[int, bytes]] = field(default_factory=dict)

    def put(self, topic: str, seq: int, payload: bytes) -> None:
        if len(payload) > self.payload_bytes_max:
            self._last.pop(topic, None)
            return
        self._last[topic] = (seq, payload)
        if len(self._last) > self.topics_max:
            del self._last[next(iter(self._last))]

    def get(self, topic: str) -> tuple[int, bytes] | None:
        return self._last.get(topic)

    def forget(self, topic: str) -> None:
        self._last.pop(topic, None)
