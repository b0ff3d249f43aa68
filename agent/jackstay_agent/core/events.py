"""Facts a decision wants told, kept until their owner drains them: events are values, told elsewhere.

Bounded: with nobody draining, the oldest fall out and are counted. Knows nothing of what the facts mean.
"""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

EVENTS_MAX = 256  # a drain per request or per second never sees a tenth of it

T = TypeVar("T")


class EventLog(Generic[T]):
    __slots__ = ("_events", "lost")

    def __init__(self, events_max: int = EVENTS_MAX) -> None:
        self._events: deque[T] = deque(maxlen=events_max)
        self.lost = 0

    def add(self, event: T) -> None:
        self.lost += len(self._events) == self._events.maxlen
        self._events.append(event)

    def __bool__(self) -> bool:
        return bool(self._events)

    def drain(self) -> list[T]:
        """Everything since the last drain, oldest first."""
        events = list(self._events)
        self._events.clear()
        return events
