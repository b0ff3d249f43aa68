"""The order in which queued intents may leave: by lane, then first in first out, and per symbol never out of order.

Numbers in, numbers out: it knows sequence numbers, lanes and groups (a bot's orders of a symbol), nothing of intents. A
group whose head may not leave yet does not hold up the others of its lane.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable, Iterable
from heapq import heappop, heappush

from jackstay_protocols.errors import Lane

LANES = (Lane.DERISK, Lane.ORDER, Lane.QUERY, Lane.OTHER)


class LaneQueue:
    """The waiting intents of one connection."""

    __slots__ = ("_groups", "_heads", "_members")

    def __init__(self) -> None:
        self._groups: dict[tuple[Lane, str], list[int]] = {}
        self._heads: dict[Lane, list[tuple[int, str]]] = {lane: [] for lane in LANES}
        self._members: dict[int, tuple[Lane, str]] = {}

    def __len__(self) -> int:
        return len(self._members)

    def __contains__(self, seq: int) -> bool:
        return seq in self._members

    def add(self, seq: int, lane: Lane, group: str) -> None:
        """Put in, or put back in its old place."""
        self._members[seq] = (lane, group)
        waiting = self._groups.setdefault((lane, group), [])
        insort(waiting, seq)
        if waiting[0] == seq:
            heappush(self._heads[lane], (seq, group))

    def remove(self, seq: int) -> None:
        """Take out wherever it stands; a stranger is no error."""
        at = self._members.pop(seq, None)
        if at is None:
            return
        lane, group = at
        waiting = self._groups[at]
        index = bisect_left(waiting, seq)
        del waiting[index]
        if not waiting:
            del self._groups[at]
        elif index == 0:
            heappush(self._heads[lane], (waiting[0], group))

    def first(self, may_leave: Callable[[int], bool], lanes: Iterable[Lane] = LANES) -> int | None:
        """The first that may leave, left where it is; ``may_leave`` is asked about group heads only."""
        for lane in lanes:
            heads, found = self._heads[lane], None
            aside: list[tuple[int, str]] = []
            while heads:
                seq, group = heappop(heads)
                waiting = self._groups.get((lane, group))
                if waiting is None or waiting[0] != seq or (aside and aside[-1][0] == seq):
                    continue  # an old head
                aside.append((seq, group))
                if may_leave(seq):
                    found = seq
                    break
            for head in aside:
                heappush(heads, head)
            if found is not None:
                return found
        return None

    def head(self, lane: Lane, group: str) -> int | None:
        """The oldest of a group; None: nothing of it waits."""
        waiting = self._groups.get((lane, group))
        return waiting[0] if waiting else None

    def waiting(self) -> list[int]:
        return sorted(self._members)
