"""One loop turn's market data as its readers get it: few frames, few ZeroMQ messages, all bounded.

Each frame costs its reader about as much as ten messages in one do, so small batches of several topics share a frame
(`FeedTurn`) where the reader said that it takes them; an older client gets a frame per batch. Order is the turn's. The
frames of a turn travel as the parts of as few ZeroMQ messages as the bound on their bytes allows.

Readers of one feed mostly want the same of it: what was put together for one is used for the next.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count, repeat

from jackstay_protocols.codec import encode
from jackstay_protocols.messages import Feed, FeedItem, FeedTurn

from ..feed_batches import BATCH_BYTES_MAX

TOGETHER_MAX = 64  # frames in one ZeroMQ message; more save nothing
# Messages of a batch that shares its frame. A reader takes any such message in 0.08 us, one of a batch of 64 with its
# own frame in 0.11; what larger batches save is bytes, the topic's name said once.
SMALL_MAX = 64
ITEM_OVERHEAD_BYTES = 16


class Sheet:
    """One batch of one topic, or another frame between them; its own frame is encoded when it is needed, once."""

    __slots__ = ("_frame", "_size", "count", "first_seq", "payloads", "topic")

    def __init__(self, topic: str, first_seq: int, payloads: Sequence[bytes], frame: bytes | None = None) -> None:
        self.topic = topic
        self.first_seq = first_seq
        self.payloads = payloads
        self.count = len(payloads)
        self._frame = frame
        self._size = -1

    def frame(self) -> bytes:
        if self._frame is None:
            self._frame = encode(Feed(self.topic, list(self.payloads)), when=self.first_seq)
        return self._frame

    def size(self) -> int:
        """Bytes it takes in a frame that it shares, at most (topics are ASCII)."""
        if self._size < 0:
            each = len(self.topic) + ITEM_OVERHEAD_BYTES
            self._size = sum(map(len, self.payloads)) + self.count * each if self.count else len(self.frame())
        return self._size

    def small(self) -> bool:
        return 0 < self.count <= SMALL_MAX


Turn = list[Sheet]


@dataclass(frozen=True, slots=True)
class Parcel:
    """One ZeroMQ message: its frames, the messages in them, and the place in the turn after it."""

    frames: list[bytes]
    count: int
    end: int


class Parcels:
    """Turns put together; the last one is remembered, for the reader after it usually has the same."""

    def __init__(self) -> None:
        self._turn: Turn = []
        self._shared = False
        self._made: list[Parcel] = []

    def of(self, turn: Turn, *, shared: bool) -> list[Parcel]:
        """``shared``: the reader takes frames of several topics."""
        if shared is not self._shared or turn != self._turn:
            self._turn, self._shared, self._made = turn, shared, _parcels(turn, shared)
        return self._made

    def forget(self) -> None:
        """The turn is over: its payloads are not kept alive."""
        self._turn, self._made = [], []


def _parcels(turn: Turn, shared: bool) -> list[Parcel]:
    made: list[Parcel] = []
    frames: list[bytes] = []
    held_bytes = messages = at = 0
    while at < len(turn):
        end = _run(turn, at) if shared else at + 1
        frame = turn[at].frame() if end == at + 1 else _joined(turn[at:end])
        if frames and (len(frames) == TOGETHER_MAX or held_bytes + len(frame) > BATCH_BYTES_MAX):
            made.append(Parcel(frames, messages, at))
            frames, held_bytes, messages = [], 0, 0
        frames.append(frame)
        held_bytes += len(frame)
        messages += sum(sheet.count for sheet in turn[at:end])
        at = end
    if frames:
        made.append(Parcel(frames, messages, at))
    return made


def _run(turn: Turn, at: int) -> int:
    """The end of the small batches from ``at`` on that fit into one frame; at least one batch."""
    end = at
    held_bytes = 0
    while end < len(turn) and turn[end].small():
        held_bytes += turn[end].size()
        if held_bytes > BATCH_BYTES_MAX:
            break
        end += 1
    return max(end, at + 1)


def _joined(sheets: Turn) -> bytes:
    items: list[FeedItem] = []
    for sheet in sheets:  # plain tuples: the bytes are the same, and making a FeedItem of each costs twice the encoding
        items.extend(zip(repeat(sheet.topic), count(sheet.first_seq), sheet.payloads))  # type: ignore[arg-type]
    return encode(FeedTurn(items))
