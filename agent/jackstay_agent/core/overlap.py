"""Two connections of one account for a moment: each event once, whichever brings it first (DESIGN §5 Connections).

For user streams, where `merge` does not fit: their connections are subscribed with several channels and snapshots of
their own, so copies come in different orders. A message is told apart by its bytes; the n-th copy of it on one line is
the n-th on the other. Nothing waits, so nothing is late: what one line alone has is delivered when it comes.

Pure. It is made before the second connection is opened and dropped when the first is gone and the second has had time
to bring what was still on its way.
"""

from __future__ import annotations

from collections.abc import Hashable

MARKS_MAX = 65_536  # more than any account is told in a minute; beyond it the oldest could come twice


class Overlap:
    """`take` says whether a message is news."""

    __slots__ = ("_counts", "_delivered", "doubles")

    def __init__(self) -> None:
        self.doubles = 0
        self._delivered: dict[int, int] = {}
        self._counts: dict[Hashable, dict[int, int]] = {}

    def take(self, line: Hashable, payload: bytes) -> bool:
        """A message of one line: is it to be delivered?"""
        mark = hash(payload)
        counts = self._counts.setdefault(line, {})
        counts[mark] = count = counts.get(mark, 0) + 1
        if count <= self._delivered.get(mark, 0):
            self.doubles += 1
            return False
        self._delivered[mark] = count
        if len(self._delivered) > MARKS_MAX:
            gone = next(iter(self._delivered))
            for each in (self._delivered, *self._counts.values()):
                each.pop(gone, None)
        return True
