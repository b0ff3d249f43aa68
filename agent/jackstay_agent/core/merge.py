"""One stream from several copies of it: nothing lost, nothing doubled, in order (DESIGN §5 Connections).

Used while a socket is replaced before its end (make before break) and for a redundant pair. Every copy is a *line*. A
shared log remembers what was delivered lately, and each line has a place in it: a message that stands at the line's
place is a repetition, a message at the log's end is new and is delivered. First copy wins.

A line that joins late is ahead or behind by an unknown number of messages. Until one message is seen both on it and in
the log, its unknown messages wait in a buffer: an older line will bring them, or it ends, and then they are delivered.
Without that wait a fresh line that is ahead would push messages in front of those an older line still has to bring.

Equality is judged on the payload's bytes (through their hash), so it fits venues whose copies are identical. Where they
are not, a joiner is found to be *unlike*: it is kept out, and takes over only when the others end. Known limits: a line
more than ``log_max`` messages behind has lost its place and joins again; a message only one line has is delivered late
rather than never.

Pure: lines are any hashable words, payloads opaque bytes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable

UNLIKE_AFTER = 256  # this many messages on a joiner and on the others without one in common: the copies differ
LOG_MAX = 2048  # at 5,000 messages a second on one topic, two lines may be 400 ms apart


class Merge:
    """The copies of one topic. `take` returns what to deliver now, in order."""

    __slots__ = (
        "_at",
        "_behind",
        "_buffers",
        "_first",
        "_log",
        "_log_max",
        "_marks",
        "_passed",
        "_places",
        "_unlike",
        "doubles",
        "ending",
        "late",
    )

    def __init__(self, log_max: int = LOG_MAX) -> None:
        self.ending = False  # the owner wants to be rid of it as soon as the last line is at the end
        self.doubles = 0
        self.late = 0  # messages only one line had
        self._log_max = log_max
        self._log: deque[int] = deque()
        self._first = 0  # number of the log's oldest entry
        self._at: dict[int, int] = {}  # hash -> number of its newest entry
        self._places: dict[Hashable, int] = {}  # aligned lines: the number of the entry they bring next
        self._buffers: dict[Hashable, list[bytes]] = {}  # joining lines
        self._marks: dict[Hashable, set[int]] = {}  # what is in a joiner's buffer
        self._passed: dict[Hashable, int] = {}  # messages the others brought while this one waited
        self._unlike: set[Hashable] = set()
        self._behind: set[Hashable] = set()  # joining lines that had a place and fell behind the log

    def lines(self) -> set[Hashable]:
        return set(self._places) | set(self._buffers)

    def aligned(self, line: Hashable) -> bool:
        """Is this line's place in the stream known?"""
        return line in self._places

    def at_end(self, line: Hashable) -> bool:
        """Has this line brought everything that was delivered, so that its next message is new?"""
        return self._places.get(line) == self._end() and not self._buffers

    def join(self, line: Hashable) -> None:
        """A line begins. The first one is the stream itself; a later one has to find its place."""
        if line in self._places or line in self._buffers:
            return
        if self.lines():
            self._wait(line)
        else:
            self._places[line] = self._end()

    def _wait(self, line: Hashable) -> None:
        self._buffers[line] = []
        self._marks[line] = set()
        self._passed[line] = 0

    def _forget_wait(self, line: Hashable) -> list[bytes]:
        self._marks.pop(line, None)
        self._passed.pop(line, None)
        self._unlike.discard(line)
        return self._buffers.pop(line, [])

    def leave(self, line: Hashable) -> list[bytes]:
        """A line ended: what only waited for it is delivered now."""
        self._places.pop(line, None)
        self._forget_wait(line)
        self._behind.discard(line)
        if self._places or not self._buffers:
            return []
        # Nobody is left to bring what the longest-waiting joiner has: it becomes the stream.
        heir = next(iter(self._buffers))
        return self._promote(heir)

    def take(self, line: Hashable, payload: bytes) -> list[bytes]:
        """One message of one line; what to deliver because of it, in order (often it alone, or nothing)."""
        place = self._places.get(line)
        if place is None:
            return self._take_joining(line, payload)
        mark = hash(payload)
        if place == self._end():
            out = self._deliver(payload, mark)
            self._places[line] = self._end()
            return out + self._wake(mark)
        if place >= self._first and self._log[place - self._first] == mark:
            self._places[line] = place + 1
            self.doubles += 1
            return []
        at = self._at.get(mark, -1)
        if at >= max(place, self._first):  # the line skipped some that others brought
            self._places[line] = at + 1
            self.doubles += 1
            return []
        if place < self._first:  # too far behind: it has lost its place
            del self._places[line]
            self._wait(line)
            self._behind.add(line)
            return self._take_joining(line, payload) if self._places else self._promote(line, payload)
        self.late += 1
        return [payload]

    def _take_joining(self, line: Hashable, payload: bytes) -> list[bytes]:
        buffer = self._buffers.get(line)
        if buffer is None:
            return []  # a line that left: nobody waits for it
        at = self._at.get(hash(payload), -1)
        if at >= self._first:
            self._forget_wait(line)
            self._places[line] = at + 1
            self.doubles += 1
            if line in self._behind:  # what it buffered had fallen out of the log: delivered long ago
                self._behind.discard(line)
                return []
            out: list[bytes] = []
            for earlier in buffer:  # the others went past these without bringing them
                self.late += 1
                out += self._deliver(earlier, hash(earlier))
            return out
        if line in self._unlike:
            return []
        buffer.append(payload)
        self._marks[line].add(hash(payload))
        if len(buffer) >= UNLIKE_AFTER and self._passed[line] >= UNLIKE_AFTER:
            self._unlike.add(line)  # its buffer would only double what the others brought in other words
            buffer.clear()
            self._marks[line].clear()
        elif len(buffer) > self._log_max:
            self._marks[line].discard(hash(buffer[0]))
            del buffer[0]
        return []

    def _wake(self, mark: int) -> list[bytes]:
        """A delivered message may be what a joining line is ahead with: then the rest of its buffer is next."""
        if not self._buffers:
            return []
        out: list[bytes] = []
        for line, buffer in list(self._buffers.items()):
            self._passed[line] += 1
            if mark not in self._marks[line]:
                continue
            index = next(i for i, payload in enumerate(buffer) if hash(payload) == mark)
            self._forget_wait(line)
            self.doubles += index + 1
            for payload in buffer[index + 1 :]:
                if self._at.get(hash(payload), -1) < self._first:
                    out += self._deliver(payload, hash(payload))
            self._places[line] = self._end()
        return out

    def _promote(self, line: Hashable, *more: bytes) -> list[bytes]:
        out: list[bytes] = []
        for payload in (*self._forget_wait(line), *more):
            if self._at.get(hash(payload), -1) < self._first:
                out += self._deliver(payload, hash(payload))
        self._places[line] = self._end()
        return out

    def _end(self) -> int:
        return self._first + len(self._log)

    def _deliver(self, payload: bytes, mark: int) -> list[bytes]:
        self._at[mark] = self._end()
        self._log.append(mark)
        if len(self._log) > self._log_max:
            gone = self._log.popleft()
            if self._at.get(gone) == self._first:
                del self._at[gone]
            self._first += 1
        return [payload]
