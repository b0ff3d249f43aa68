"""Rate budgets shared by the agents of a host: the go-between of the limiter and the host's book.

The limiter spends `Leased` budgets on the hot path and never waits for a file. `SharedBudgets.tick` runs on the same
thread as the limiter (the event loop): it hands answers over and sends orders to one worker thread, which alone touches
SQLite. A small lease is kept ready while an agent is active, so that its next request does not wait for the book.

If the book cannot be used, each agent grants itself its fair part of the budget as last seen, and says it is degraded:
neither a stampede nor a standstill.
"""

from __future__ import annotations

import queue
import sqlite3
import threading
from collections.abc import Callable
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any

from jackstay_protocols.clock import boot_s

from .budget_book import LEASE_SHARE, BudgetBook, Lease, Order
from .core.rate_lease import Leased

READY_SHARE = 0.01  # of the usable limit, kept leased while active
ACTIVE_S = 300.0  # an agent that spent nothing for this long keeps nothing ready
RETRY_S = 1.0  # between attempts to use a book that failed
SELF_GRANTED = 0  # the number of leases no book knows
AGENTS_UNKNOWN = 4  # if the book never answered, this many are assumed to share


@dataclass(slots=True)
class _Shared:
    budget: Leased
    told_overdrawn: float = 0.0
    seen_used: float = 0.0
    spent_at: float = -1e18
    ask_at: float = 0.0
    waiting: bool = False  # an order is under way
    agents: int = AGENTS_UNKNOWN
    venue_used: float | None = None


class SharedBudgets:
    """Call `tick` on the limiter's thread: after a request had to wait, when ``wake`` was called, and at the instant
    the last tick named.
    """

    def __init__(
        self,
        path: Path,
        *,
        agent: str,
        clock: Callable[[], float] = boot_s,
        wake: Callable[[], None] | None = None,
        open_book: Callable[..., BudgetBook] = BudgetBook,
    ) -> None:
        """``agent``: unique among the host's processes. ``wake`` is called on the worker thread for each answer."""
        self._path = path
        self._agent = agent
        self._clock = clock
        self._wake = wake
        self._open_book = open_book
        self._shared: dict[str, _Shared] = {}
        self._orders: queue.SimpleQueue[list[Order] | None] = queue.SimpleQueue()
        self._answers: queue.SimpleQueue[list[Lease] | tuple[list[Order], str]] = queue.SimpleQueue()
        self.degraded: str | None = None  # why the book is not used, in words
        self._thread: threading.Thread | None = None

    def share(self, name: str, budget: Leased) -> None:
        """Fill this budget from the host's; ``name`` is the same in all agents that share it (venue, scope, rule)."""
        self._shared[name] = _Shared(budget)

    def start(self) -> None:
        self._thread = threading.Thread(target=self._work, name="jackstay-budgets", daemon=True)
        self._thread.start()

    def stop(self, timeout_s: float = 2.0) -> None:
        """Give back what is not spent and end the worker."""
        if self._thread is None:
            return
        self._take_answers(self._clock())
        self._orders.put([self._order(name, s, 0.0, everything=True) for name, s in self._shared.items()])
        self._orders.put(None)
        self._thread.join(timeout_s)
        self._thread = None

    def correct(self, name: str, used: float) -> None:
        """The venue's own count, from a header; told to the book with the next order."""
        shared = self._shared.get(name)
        if shared is not None and used >= 0.0:
            shared.venue_used = used

    def tick(self, now: float | None = None) -> float:
        """Hand answers over and order what is needed; says when to call again at the latest."""
        now = self._clock() if now is None else now
        self._take_answers(now)
        orders, next_at = [], now + 1.0
        for name, shared in self._shared.items():
            want = self._want(shared, now)
            due = want > 0.0 or shared.venue_used is not None
            if due and not shared.waiting and now >= shared.ask_at:
                shared.waiting = True
                orders.append(self._order(name, shared, want))
            elif due:
                next_at = min(next_at, max(shared.ask_at, now + 0.001))
        if orders:
            self._orders.put(orders)
        return next_at

    def _want(self, shared: _Shared, now: float) -> float:
        budget = shared.budget
        used = budget.used(now)
        fresh = used - shared.seen_used
        if fresh > 0.0:
            shared.spent_at = now
        left = budget.left(now)
        if budget.wanted > left:
            return max(budget.wanted - left, fresh)
        ready = max(1.0, budget.rule.usable * READY_SHARE)
        if left < ready and now - shared.spent_at < ACTIVE_S:
            return max(ready - left, min(fresh, budget.rule.usable))
        return 0.0

    def _order(self, name: str, shared: _Shared, want: float, *, everything: bool = False) -> Order:
        budget, now = shared.budget, self._clock()
        overdrawn = budget.overdrawn - shared.told_overdrawn
        shared.told_overdrawn = budget.overdrawn
        shared.seen_used = budget.used(now)
        venue_used, shared.venue_used = shared.venue_used, None
        finished = budget.take_finished(now, everything=everything)
        # What one helped oneself to while the book was away was spent without a lease.
        overdrawn += sum(spent for number, spent in finished if number == SELF_GRANTED)
        told = tuple(row for row in finished if row[0] != SELF_GRANTED)
        return Order(name, budget.rule, float(ceil(want)), told, overdrawn, venue_used)

    def _take_answers(self, now: float) -> None:
        while True:
            try:
                answer = self._answers.get_nowait()
            except queue.Empty:
                return
            if isinstance(answer, list):
                self.degraded = None
                for lease in answer:
                    self._take_lease(lease)
            else:
                orders, self.degraded = answer
                for order in orders:
                    self._help_oneself(order, now)

    def _take_lease(self, lease: Lease) -> None:
        shared = self._shared[lease.budget]
        shared.waiting, shared.ask_at, shared.agents = False, lease.ask_at, lease.agents
        shared.budget.ask_at = lease.ask_at if lease.weight <= 0.0 else 0.0
        if lease.weight > 0.0:
            shared.budget.grant(lease.weight, lease.ends_at, lease.number)

    def _help_oneself(self, order: Order, now: float) -> None:
        """Without a book: the fair part of one lease time; what is spent of it is told when the book is back."""
        shared = self._shared[order.budget]
        shared.told_overdrawn -= order.overdrawn  # it was not heard; the finished leases stay booked in full
        rule = order.rule
        part = rule.usable * LEASE_SHARE / (shared.agents * (1.0 + LEASE_SHARE))
        weight = min(order.want, max(1.0, float(int(part))))
        lease_s = max(rule.per_s * LEASE_SHARE, weight * rule.per_s * shared.agents / rule.usable)
        shared.waiting, shared.ask_at = False, now + lease_s
        if weight > 0.0:
            shared.budget.grant(weight, now + lease_s, SELF_GRANTED)

    # -- the worker thread --------------------------------------------------------------------------------------

    def _work(self) -> None:
        book: BudgetBook | None = None
        tried_at = -1e18
        why = ""
        while (orders := self._orders.get()) is not None:
            try:
                if book is None and self._clock() - tried_at >= RETRY_S:
                    tried_at = self._clock()
                    book = self._open_book(self._path, self._agent, clock=self._clock)
                answer: Any = (orders, why) if book is None else book.exchange(orders)
            except (sqlite3.Error, OSError) as error:
                why = f"{type(error).__name__}: {error}"
                answer = (orders, why)
                if book is not None and not isinstance(error, sqlite3.OperationalError):
                    book.close()
                    book = None
            self._answers.put(answer)
            if self._wake is not None:
                self._wake()
        if book is not None:
            book.close()
