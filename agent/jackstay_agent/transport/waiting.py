"""Who waits for a connection: what reduces risk, then orders, then the rest, by age (DESIGN §3 rule 4).

A flood of questions at a slow venue fills this line with thousands. A cancel and an order do not stand behind them, nor
are they refused for them: each of the three has a queue and a bound of its own.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from itertools import chain
from typing import TYPE_CHECKING

from jackstay_protocols.errors import Lane

if TYPE_CHECKING:
    from .http_ticket import Ticket

URGENT_CONNECTIONS = 4  # dialled for cancels beyond connections_max, while every other one is busy


class WaitingLine:
    """Three queues by lane; ``len``, iteration and `pop` see the most urgent first."""

    __slots__ = ("_orders", "_rest", "_urgent")

    def __init__(self) -> None:
        self._urgent: deque[Ticket] = deque()
        self._orders: deque[Ticket] = deque()
        self._rest: deque[Ticket] = deque()

    def __len__(self) -> int:
        return len(self._urgent) + len(self._orders) + len(self._rest)

    def __iter__(self) -> Iterator[Ticket]:
        return chain(self._urgent, self._orders, self._rest)

    @property
    def urgent(self) -> int:
        return len(self._urgent)

    def has_room(self, lane: Lane, waiters_max: int) -> bool:
        return len(self._queue(lane)) < waiters_max

    def add(self, ticket: Ticket) -> None:
        self._queue(ticket.lane).append(ticket)

    def add_first(self, ticket: Ticket) -> None:
        """One that had its turn already."""
        self._queue(ticket.lane).appendleft(ticket)

    def pop(self) -> Ticket:
        return (self._urgent or self._orders or self._rest).popleft()

    def remove(self, ticket: Ticket) -> None:
        """It no longer waits; nothing happens if it does not wait here."""
        try:
            self._queue(ticket.lane).remove(ticket)
        except ValueError:
            pass

    def take_late(self, now: float) -> list[Ticket]:
        """Those whose deadline is over, out of the line."""
        late = [ticket for ticket in self if ticket.deadline_at <= now]
        if late:
            left = [ticket for ticket in self if ticket.deadline_at > now]
            self.take_all()
            for ticket in left:
                self.add(ticket)
        return late

    def take_all(self) -> list[Ticket]:
        everyone = list(self)
        for queue in (self._urgent, self._orders, self._rest):
            queue.clear()
        return everyone

    def _queue(self, lane: Lane) -> deque[Ticket]:
        return self._urgent if lane is Lane.DERISK else self._orders if lane is Lane.ORDER else self._rest
