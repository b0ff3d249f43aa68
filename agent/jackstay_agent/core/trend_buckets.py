"""Counts over time in rings of fixed size: seconds, ten-second bins, minutes (DESIGN §5 Analytics).

However many events come, a series is a few rings; what is older than a ring is forgotten. Times are UTC seconds handed
in. A gauge keeps means instead of counts (latency, used weight).
"""

from __future__ import annotations

from array import array
from typing import Any

FINE_S, FINE_BINS = 10, 360  # an hour
COARSE_S, COARSE_BINS = 60, 2880  # two days
SECONDS = 120


class Ring:
    """Bins of ``width_s`` seconds; the newest is the one that contains the last instant it was moved to."""

    __slots__ = ("at", "bins", "size", "width_s")

    def __init__(self, width_s: int, size: int, kind: str = "L") -> None:
        self.width_s, self.size = width_s, size
        self.bins: Any = array(kind, bytes(size * array(kind).itemsize))
        self.at = -1

    def move(self, second: float) -> int:
        """Up to that instant; the number of its bin."""
        now = int(second // self.width_s)
        if self.at < 0:
            self.at = now
        elif now > self.at:
            if now - self.at >= self.size:
                self.bins = array(self.bins.typecode, bytes(self.size * self.bins.itemsize))
            else:
                for each in range(self.at + 1, now + 1):
                    self.bins[each % self.size] = 0
            self.at = now
        return now

    def add(self, second: float, count: float) -> None:
        """Into its own bin, if the ring still holds it."""
        now = self.move(second)
        if now > self.at - self.size:
            self.bins[now % self.size] += count

    def last(self, count: int, until: int) -> list[float]:
        """``count`` bins that end before bin number ``until``, oldest first; bins that are not there are 0."""
        size, first = self.size, self.at - self.size
        if first < until - count and until <= self.at + 1:
            begin, end = (until - count) % size, until % size
            if begin < end:
                return self.bins[begin:end].tolist()  # type: ignore[no-any-return]
            return (self.bins[begin:] + self.bins[:end]).tolist()  # type: ignore[no-any-return]
        return [self.bins[each % size] if first < each <= self.at else 0 for each in range(until - count, until)]


class Series:
    """The counts of one kind of errors. ``hit`` is the hot one: it only counts within the current second."""

    __slots__ = ("coarse", "fine", "last_at", "pending", "second", "seconds")

    def __init__(self) -> None:
        self.seconds = Ring(1, SECONDS)
        self.fine = Ring(FINE_S, FINE_BINS)
        self.coarse = Ring(COARSE_S, COARSE_BINS)
        self.second = -1
        self.pending = 0
        self.last_at = 0.0

    def hit(self, second: int, count: int = 1) -> None:
        if second == self.second:
            self.pending += count
            return
        self.settle()
        self.second, self.pending = second, count

    def settle(self) -> None:
        """What was counted within the current second, into the rings."""
        if self.pending:
            count, second = self.pending, self.second
            self.pending = 0
            self.last_at = max(self.last_at, float(second))
            self.seconds.add(second, count)
            self.fine.add(second, count)
            self.coarse.add(second, count)


class Gauge:
    """The mean of a measured value per bin. ``last`` carries a value on over bins in which nothing was measured."""

    __slots__ = ("counts", "last_at", "sums")

    def __init__(self) -> None:
        self.sums = Ring(FINE_S, 4 * FINE_BINS, "d")  # four hours
        self.counts = Ring(FINE_S, 4 * FINE_BINS)
        self.last_at = 0.0

    def measure(self, at: float, value: float) -> None:
        self.sums.add(at, value)
        self.counts.add(at, 1)
        self.last_at = at

    def means(self, bins: int, per: int, until: int) -> list[float] | None:
        """``bins`` means of ``per`` fine bins each, ending before fine bin ``until``; None with a third of them
        empty.
        """
        sums, counts = self.sums.last(bins * per, until), self.counts.last(bins * per, until)
        found: list[float] = []
        empty = 0
        for at in range(0, bins * per, per):
            count = sum(counts[at : at + per])
            empty += not count
            found.append(sum(sums[at : at + per]) / count if count else (found[-1] if found else 0.0))
        return None if empty * 3 > bins else found
