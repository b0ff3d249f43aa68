"""The recent past of a breaker: totals over the last N calls or the last N seconds, in constant memory and time.

A running total minus what falls out (as resilience4j's sliding windows). Decides nothing; the breaker asks for totals.
"""

from __future__ import annotations

from typing import Any

from jackstay_protocols.errors import ValidationError

FAILED = 1
SLOW = 2
_BUCKETS = 10  # a time window of W seconds forgets in steps of W / 10


class CountWindow:
    """The last ``size`` calls, one byte each."""

    __slots__ = ("_at", "_ring", "_size", "calls", "failed", "slow")

    def __init__(self, size: int) -> None:
        self._size = size
        self.clear()

    def clear(self) -> None:
        self._ring = bytearray(self._size)
        self._at = self.calls = self.failed = self.slow = 0

    def record(self, now: float, flags: int) -> None:
        ring, at = self._ring, self._at
        gone = ring[at]  # zero until the ring is full
        if self.calls != self._size:
            self.calls += 1
        if gone != flags:
            self.failed += (flags & FAILED) - (gone & FAILED)
            self.slow += (flags >> 1) - (gone >> 1)
            ring[at] = flags
        at += 1
        self._at = at if at != self._size else 0

    def advance(self, now: float) -> None:
        """Nothing ages here: only calls push calls out."""

    def dump(self, now: float) -> list[Any]:
        """Oldest first: one number (bit 0 failed, bit 1 slow) per call."""
        start = self._at if self.calls == self._size else 0
        return [self._ring[(start + i) % self._size] for i in range(self.calls)]

    def load(self, rows: list[Any], now: float) -> None:
        self.clear()
        for flags in rows[-self._size :]:
            if flags not in (0, 1, 2, 3):
                raise ValidationError(f"breaker window row is {flags!r}; a number from 0 to 3 is expected")
            self.record(now, flags)


class TimeWindow:
    """The last ``seconds`` in ten buckets; what is older than the oldest bucket is forgotten at once."""

    __slots__ = ("_epoch", "_ring", "_step_s", "calls", "failed", "slow")

    def __init__(self, seconds: int) -> None:
        self._step_s = seconds / _BUCKETS
        self.clear()

    def clear(self) -> None:
        self._ring = [[0, 0, 0] for _ in range(_BUCKETS)]
        self._epoch: int | None = None  # number of the newest bucket; None: nothing recorded yet
        self.calls = self.failed = self.slow = 0

    def advance(self, now: float) -> None:
        epoch = int(now // self._step_s)
        last = self._epoch
        if last is None:
            self._epoch = epoch
            return
        if epoch <= last:
            return  # same bucket, or a caller a moment behind: booked in the newest bucket
        for number in range(last + 1, last + 1 + min(epoch - last, _BUCKETS)):
            bucket = self._ring[number % _BUCKETS]
            self.calls -= bucket[0]
            self.failed -= bucket[1]
            self.slow -= bucket[2]
            bucket[0] = bucket[1] = bucket[2] = 0
        # With a jump of more than the window every bucket was emptied; the newest may sit at any ring place.
        self._epoch = epoch

    def record(self, now: float, flags: int) -> None:
        self.advance(now)
        assert self._epoch is not None  # advance() set it
        bucket = self._ring[self._epoch % _BUCKETS]
        failed, slow = flags & FAILED, flags >> 1
        bucket[0] += 1
        bucket[1] += failed
        bucket[2] += slow
        self.calls += 1
        self.failed += failed
        self.slow += slow

    def dump(self, now: float) -> list[Any]:
        """Rows [age in buckets, calls, failed, slow], without empty ones."""
        self.advance(now)
        assert self._epoch is not None
        rows = []
        for age in range(_BUCKETS):
            bucket = self._ring[(self._epoch - age) % _BUCKETS]
            if bucket[0]:
                rows.append([age, *bucket])
        return rows

    def load(self, rows: list[Any], now: float) -> None:
        self.clear()
        self.advance(now)
        assert self._epoch is not None
        for row in rows:
            if not (isinstance(row, list | tuple) and len(row) == 4 and all(_is_count(n) for n in row)):
                raise ValidationError(f"breaker window row is {row!r}; [age, calls, failed, slow] is expected")
            age, calls, failed, slow = row
            if age >= _BUCKETS or failed > calls or slow > calls:
                raise ValidationError(f"breaker window row is {row!r}; parts that fit their total are expected")
            bucket = self._ring[(self._epoch - age) % _BUCKETS]
            for place, amount in enumerate((calls, failed, slow)):
                bucket[place] += amount
            self.calls += calls
            self.failed += failed
            self.slow += slow


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
