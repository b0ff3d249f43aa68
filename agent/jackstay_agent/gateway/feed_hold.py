"""Readers that asked to be woken less often: what is held for each of them, and the timers that end it.

A wake-up costs a reader as much as some seventy messages, and at a moderate rate a loop turn brings it only a few
(docs/BENCHMARKS.md). One that says how long it can wait (`Subscribe.hold_s`; Kafka's linger.ms) gets the turns of that
time together, in their order. The time counts from the first message held and is a bound: less is always allowed.

Readers with the same time share a timer, so that they are served in one go: what is put together for one serves the
next. One that begins while the timer runs waits less.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from ..feed_batches import BATCH_BYTES_MAX
from .feed_turn import Turn

# Several ZeroMQ messages, each within its own bound: one is full after 8 ms of 20,000 messages/s, and most of what
# longer times save would be lost.
HELD_BYTES_MAX = 8 * BATCH_BYTES_MAX


@dataclass(slots=True)
class Held:
    """What one reader gets when its time is over; ``hold_s`` 0: nothing is ever held."""

    hold_s: float = 0.0
    turn: Turn = field(default_factory=list)
    held_bytes: int = 0

    def room_for(self, size: int) -> bool:
        return self.held_bytes + size <= HELD_BYTES_MAX

    def add(self, turn: Turn, size: int) -> None:
        self.turn += turn
        self.held_bytes += size


class Holds:
    """The timers. ``due(identities)`` is called with those whose time is over."""

    def __init__(
        self,
        call_later: Callable[[float, Callable[[], None]], asyncio.TimerHandle],
        due: Callable[[list[bytes]], None],
    ) -> None:
        self._call_later = call_later
        self._due = due
        self._waiting: dict[float, dict[bytes, None]] = {}
        self._timers: dict[float, asyncio.TimerHandle] = {}

    def begin(self, identity: bytes, hold_s: float) -> None:
        """Something is held for this reader: its time begins, unless it runs already."""
        waiting = self._waiting.get(hold_s)
        if waiting is None:
            waiting = self._waiting[hold_s] = {}
            self._timers[hold_s] = self._call_later(hold_s, lambda: self._over(hold_s))
        waiting[identity] = None

    def take(self, identity: bytes, held: Held) -> Turn:
        """What is held, which then waits no longer; empty when nothing is."""
        if not held.turn:
            return []
        turn, held.turn, held.held_bytes = held.turn, [], 0
        waiting = self._waiting.get(held.hold_s)
        if waiting is not None:
            waiting.pop(identity, None)
            if not waiting:
                del self._waiting[held.hold_s]
                self._timers.pop(held.hold_s).cancel()
        return turn

    def _over(self, hold_s: float) -> None:
        del self._timers[hold_s]
        self._due(list(self._waiting.pop(hold_s)))
