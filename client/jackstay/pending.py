"""Who waits for which answer, and until when. Pure: microseconds come in, waiters come out.

A waiter is whatever the shell needs (a future); it is never touched here. Expiry uses one heap whose finished entries
are left lying and cleared when they outnumber the living, so that adding and settling cost no search.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from typing import Generic, TypeVar

W = TypeVar("W")

_SLACK = 64  # finished entries that are not worth a clearing


class Pending(Generic[W]):
    """Request id -> (waiter, deadline); bounded by ``size_max``."""

    def __init__(self, size_max: int) -> None:
        self.size_max = size_max
        self._waiting: dict[int, tuple[W, int]] = {}
        self._by_deadline: list[tuple[int, int]] = []

    def __len__(self) -> int:
        return len(self._waiting)

    def __contains__(self, request_id: object) -> bool:
        return request_id in self._waiting

    @property
    def full(self) -> bool:
        return len(self._waiting) >= self.size_max

    def add(self, request_id: int, waiter: W, deadline_us: int) -> None:
        self._waiting[request_id] = (waiter, deadline_us)
        heap = self._by_deadline
        if len(heap) > 2 * len(self._waiting) + _SLACK:
            heap[:] = [(at, each) for each, (_, at) in self._waiting.items()]
            heapify(heap)
        else:
            heappush(heap, (deadline_us, request_id))

    def settle(self, request_id: int) -> W | None:
        """The waiter of an answer that came, or None: nobody waits for it any more."""
        entry = self._waiting.pop(request_id, None)
        return None if entry is None else entry[0]

    def next_deadline_us(self) -> int | None:
        """When to look again, or None: nobody waits."""
        heap = self._by_deadline
        while heap and heap[0][1] not in self._waiting:
            heappop(heap)
        return heap[0][0] if heap else None

    def expired(self, now_us: int) -> list[tuple[int, W]]:
        """Takes out all whose deadline is reached."""
        over: list[tuple[int, W]] = []
        heap = self._by_deadline
        while heap and heap[0][0] <= now_us:
            _, request_id = heappop(heap)
            entry = self._waiting.pop(request_id, None)
            if entry is not None:
                over.append((request_id, entry[0]))
        return over

    def take_all(self) -> list[tuple[int, W]]:
        """Takes out everyone: the connection they were waiting on is gone."""
        everyone = [(request_id, waiter) for request_id, (waiter, _) in self._waiting.items()]
        self._waiting.clear()
        self._by_deadline.clear()
        return everyone
