"""Facts a decision wants told, kept until their owner drains them: events are values, told elsewhere.

Bounded: with nobody draining, the oldest fall out and are counted. Knows nothing of what the facts mean.
"""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

EVENTS_MAX = 256  # a drain per request or per second never sees a tenth of it

T = TypeVar("T")


class EventLog(Generic[T]):
    __slots__ = ("lost", "pending")

    def __init__(self, events_max: int = EVENTS_MAX) -> None:
        self.pending: deque[T] = deque(maxlen=events_max)
        self.lost = 0

    def add(self, event: T) -> None:
        self.lost += len(self.pending) == self.pending.maxlen
        self.pending.append(event)

    def drain(self) -> list[T]:
        """Everything since the last drain, oldest first."""
        events = list(self.pending)
        self.pending.clear()
        return events
