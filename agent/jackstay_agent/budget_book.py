"""The book of a host's shared rate budgets: one small SQLite file that every agent of the host writes.

All agents of a host share its address, so they share the venue's per-address limits. The book grants *leases*: so much
weight, to be spent before an instant. A lease counts against the budget from its grant until a whole window after its
last possible use, so no stretch of the window can hold more than the limit, whoever spends when. Told early what a
lease really spent, the book frees the rest. A dead agent's lease frees itself.

Rollback journal and BEGIN IMMEDIATE: several processes write, WAL has a corruption bug with that in the SQLite
versions in the field, and a deferred BEGIN can fail busy in spite of a timeout. No fsync: the times in it are of this
boot, and another boot starts it empty. Every call may take milliseconds: never on an event loop.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jackstay_protocols.clock import boot_id, boot_s

from .core.rate_rule import BudgetRule

BUSY_S = 2.0  # how long a writer waits for the others; their transactions last well under a millisecond
WANT_STANDS_S = 1.0  # an agent that has not asked for this long wants nothing any more
SELF_RESTRAINT = 20  # a single grant is at most this part of the usable limit, so that others get their turn
LEASE_SHARE = 0.1  # a lease lasts this share of the window

_SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS leases (
    number INTEGER PRIMARY KEY, budget TEXT NOT NULL, agent TEXT NOT NULL, weight REAL NOT NULL, ends_at REAL NOT NULL
);
CREATE INDEX IF NOT EXISTS leases_budget ON leases (budget, ends_at);
CREATE TABLE IF NOT EXISTS wants (
    budget TEXT NOT NULL, agent TEXT NOT NULL, weight REAL NOT NULL, at REAL NOT NULL, PRIMARY KEY (budget, agent)
);
"""


@dataclass(frozen=True, slots=True)
class Order:
    """What one agent tells and wants of one budget. ``finished``: (lease number, really spent)."""

    budget: str
    rule: BudgetRule
    want: float = 0.0
    finished: Sequence[tuple[int, float]] = ()
    overdrawn: float = 0.0  # spent without a lease since the last time
    venue_used: float | None = None  # the venue's own count, if a header told it


@dataclass(frozen=True, slots=True)
class Lease:
    """What was granted: ``weight`` (0: nothing now) until ``ends_at``. ``ask_at``: when more becomes free.

    ``agents``: how many share the budget now.
    """

    budget: str
    number: int
    weight: float
    ends_at: float
    ask_at: float
    agents: int


class BudgetBook:
    """One connection to the book; use it from one thread."""

    def __init__(self, path: Path, agent: str, *, clock: Callable[[], float] = boot_s, boot: str | None = None) -> None:
        """``agent``: a name no other process of the host uses (name and pid). A damaged file is set aside."""
        self._agent = agent
        self._clock = clock
        self._boot = boot_id() if boot is None else boot
        self.set_aside: Path | None = None  # where a damaged book went
        try:
            self._db = self._open(path)
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError):
                raise
            self.set_aside = path.with_name(f"{path.name}.damaged-{os.getpid()}")
            with suppress(FileNotFoundError):
                path.rename(self.set_aside)
            self._db = self._open(path)

    def _open(self, path: Path) -> sqlite3.Connection:
        # The file is made with its mode at once; SQLite would use the umask.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        db = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
        try:
            db.execute("PRAGMA journal_mode = DELETE")
            db.execute("PRAGMA synchronous = OFF")
            db.execute("BEGIN IMMEDIATE")
            for statement in _SCHEMA.split(";"):
                db.execute(statement)
            row = db.execute("SELECT value FROM meta WHERE key = 'boot'").fetchone()
            if row is None or row[0] != self._boot:  # times of another boot mean nothing here
                db.execute("DELETE FROM leases")
                db.execute("DELETE FROM wants")
                db.execute("INSERT OR REPLACE INTO meta VALUES ('boot', ?)", (self._boot,))
            db.execute("COMMIT")
        except BaseException:
            db.close()
            raise
        return db

    def close(self) -> None:
        self._db.close()

    @contextmanager
    def _transaction(self) -> Any:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            self._db.execute("ROLLBACK")
            raise

    def exchange(self, orders: Sequence[Order]) -> list[Lease]:
        """Tell and ask, in one transaction. Raises sqlite3.Error if the file does not let itself be used."""
        with self._transaction():
            now = self._clock()  # inside: waiting for the lock takes time
            return [self._serve(order, now) for order in orders]

    def _serve(self, order: Order, now: float) -> Lease:
        db, budget, per_s = self._db, order.budget, order.rule.per_s
        for number, spent in order.finished:
            db.execute(
                "UPDATE leases SET weight = ?, ends_at = MIN(ends_at, ?) WHERE number = ? AND agent = ?",
                (spent, now, number, self._agent),
            )
        db.execute("DELETE FROM leases WHERE budget = ? AND (ends_at <= ? OR weight <= 0)", (budget, now - per_s))
        if order.overdrawn > 0:
            self._book(budget, self._agent, order.overdrawn, now)
        total = self._total(budget)
        if order.venue_used is not None and order.venue_used > total:
            self._book(budget, "venue", order.venue_used - total, now)  # somebody else uses this address too
            total = order.venue_used
        db.execute(
            "DELETE FROM wants WHERE budget = ? AND (agent = ? OR at <= ?)", (budget, self._agent, now - WANT_STANDS_S)
        )
        weight, agents = self._share(order, total) if order.want > 0 else (0.0, 1)
        number, ends_at = 0, now + per_s * LEASE_SHARE
        if weight > 0:
            number = self._book(budget, self._agent, weight, ends_at)
        if weight < order.want:
            db.execute("INSERT INTO wants VALUES (?, ?, ?, ?)", (budget, self._agent, order.want - weight, now))
        return Lease(budget, number, weight, ends_at, self._ask_at(order, weight, now), agents)

    def _book(self, budget: str, agent: str, weight: float, ends_at: float) -> int:
        row = self._db.execute(
            "INSERT INTO leases (budget, agent, weight, ends_at) VALUES (?, ?, ?, ?)", (budget, agent, weight, ends_at)
        )
        return row.lastrowid or 0

    def _total(self, budget: str) -> float:
        return float(self._db.execute("SELECT TOTAL(weight) FROM leases WHERE budget = ?", (budget,)).fetchone()[0])

    def _share(self, order: Order, total: float) -> tuple[float, int]:
        """How much this agent gets: all that is free, less what others want and have the better right to."""
        usable = order.rule.usable
        held = dict(
            self._db.execute("SELECT agent, SUM(weight) FROM leases WHERE budget = ? GROUP BY agent", (order.budget,))
        )
        wants = dict(self._db.execute("SELECT agent, weight FROM wants WHERE budget = ?", (order.budget,)))
        agents = len({self._agent, *wants})
        fair = usable / agents
        others = sum(min(want, max(0.0, fair - held.get(agent, 0.0))) for agent, want in wants.items())
        free = usable - total
        right = max(fair - held.get(self._agent, 0.0), free - others)
        most = max(1.0, order.want if agents == 1 else usable / SELF_RESTRAINT)
        weight = float(int(min(order.want, most, right, free) + 1e-9))
        return max(0.0, weight), len({self._agent, *held, *wants} - {"venue"})

    def _ask_at(self, order: Order, weight: float, now: float) -> float:
        if weight >= order.want:
            return now
        row = self._db.execute("SELECT MIN(ends_at) FROM leases WHERE budget = ?", (order.budget,)).fetchone()
        soon = now + order.rule.per_s * LEASE_SHARE / 2
        return soon if row[0] is None else max(now + 0.001, min(soon, row[0] + order.rule.per_s))
