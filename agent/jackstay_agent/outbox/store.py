"""The one connection: who may use it when, what is written together, and what happens when the disk says no.

Two ways of writing. With durability "process" the loop writes the first commit of an intent itself (some 15 µs); what
follows a reply is batched. With "disk" everything goes into a batch that a worker thread commits with a sync, as many
intents as came in meanwhile at once (group commit). A checkpoint also runs on the worker. While the worker has the
connection the loop must not touch it (SQLite's own mutex would block it for milliseconds): `busy` says so. What the
loop must have safe meanwhile goes to the side log, and all of it joins the batch.

A failed commit loses nothing: the batch is put back and tried again. Refuses to know what a row means.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from .rows import Row
from .schema import Fault, StoreFault, fault_of
from .sidelog import INSERT as INSERT_ASIDE
from .sidelog import UPDATE as UPDATE_ASIDE
from .sidelog import SideLog

INSERT = "INSERT INTO intents VALUES (?,?,?,?,?,?,?,?,?,?)"
#: in a batch: after a commit of doubtful success (an I/O error) the same rows may be written again
INSERT_AGAIN = "INSERT OR REPLACE INTO intents VALUES (?,?,?,?,?,?,?,?,?,?)"
UPDATE = "UPDATE intents SET state=?, sum=?, finished=?, held=?, outcome=?, attempts=? WHERE seq=?"
ACK = "UPDATE intents SET acked=sum WHERE seq=? AND bot_id=?"
SELECT = "SELECT seq, state, acked, sum, finished, held, bot_id, payload, outcome, attempts FROM intents"

#: state, sum, finished, held, outcome, attempts, seq
Update = tuple[int, int, float, int, bytes | None, int, int]
Done = Callable[[StoreFault | None], None]


class RunBlocking(Protocol):
    """Runs ``work`` where it may block and calls ``done`` with its exception or None, back where the outbox lives."""

    def __call__(self, work: Callable[[], None], done: Callable[[BaseException | None], None]) -> None: ...


def run_inline(work: Callable[[], None], done: Callable[[BaseException | None], None]) -> None:
    """For tests and simulation: at once, in place."""
    error: BaseException | None = None
    try:
        work()
    except Exception as caught:
        error = caught
    done(error)


@dataclass(slots=True)
class Batch:
    """Rows waiting for a commit. A later update of a row that is not in the file yet changes the insert itself."""

    inserts: dict[int, Row] = field(default_factory=dict)
    updates: dict[int, Update] = field(default_factory=dict)
    acks: dict[int, str] = field(default_factory=dict)
    waiting: list[Done] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.inserts or self.updates or self.acks or self.waiting)

    def __len__(self) -> int:
        return len(self.inserts) + len(self.updates) + len(self.acks)

    def update(self, update: Update) -> None:
        seq = update[6]
        self.acks.pop(seq, None)  # what changes after the bot had it is uncollected again
        row = self.inserts.get(seq)
        if row is None:
            self.updates[seq] = update
        else:
            self.inserts[seq] = (seq, update[0], row[2], *update[1:4], row[6], row[7], update[4], update[5])

    def above(self, seq: int) -> Batch:
        """Without what has the number of a row the file already holds: those rows are the older truth."""
        return Batch({s: row for s, row in self.inserts.items() if s > seq}, {}, self.acks, self.waiting)

    def followed_by(self, later: Batch) -> Batch:
        """Both in one, ``later`` on top."""
        both = Batch(dict(self.inserts), dict(self.updates), dict(self.acks), self.waiting + later.waiting)
        both.inserts.update(later.inserts)
        for update in later.updates.values():
            both.update(update)
        both.acks.update(later.acks)
        return both


class Store:
    def __init__(
        self,
        conn: sqlite3.Connection,
        path: Path,
        *,
        disk: bool,
        run_blocking: RunBlocking,
        on_fault: Callable[[StoreFault], None],
        side: SideLog,
    ) -> None:
        self._conn = conn
        self._path = path
        self._disk = disk
        self._run_blocking = run_blocking
        self._on_fault = on_fault
        self._lock = threading.Lock()  # held by whoever uses the connection; the loop only ever waits in `read`
        self.batch = Batch()
        self.flying = Batch()  # what the worker is committing now
        self.busy = False
        self.closed = False
        self.commits = 0
        self.commits_since_checkpoint = 0
        self.checkpoints = 0
        self._checkpoint_wanted: Callable[[sqlite3.Connection], None] | None = None
        self._wal_synced = False
        self.side = side

    # -- writing on the loop (durability "process") ------------------------------------------------------------------

    def insert(self, row: Row) -> None:
        """One row, one commit, now. Raises `StoreFault`; then nothing is in the file."""
        assert not self.busy, "the worker has the connection: a bug of ours"
        try:
            self._conn.execute(INSERT, row)
        except sqlite3.Error as error:
            raise self._failed(error) from error
        self._count()

    def write_now(self, inserts: Iterable[Row] = (), updates: Iterable[Update] = ()) -> None:
        """These and the batch in one commit. Raises `StoreFault`: then the batch is as it was, without these."""
        assert not self.busy, "the worker has the connection: a bug of ours"
        more = Batch()
        more.inserts = {row[0]: row for row in inserts}
        more.updates = {update[6]: update for update in updates}
        whole = self.batch.followed_by(more)
        if not whole:
            return
        self._commit(whole)
        self.batch = Batch()
        self.side.clear()
        for done in whole.waiting:
            done(None)

    def put_aside(self, inserts: Sequence[Row] = (), updates: Sequence[Update] = ()) -> None:
        """Safe now although the worker has the connection; committed with the batch. Raises `StoreFault`."""
        if inserts:
            self.side.append(INSERT_ASIDE, inserts)
            self.batch.inserts.update((row[0], row) for row in inserts)
        for update in updates:
            self.side.append(UPDATE_ASIDE, [update])
            self.batch.update(update)

    def probe(self) -> None:
        """Whether the disk takes a write at all. Raises `StoreFault`."""
        assert not self.busy, "the worker has the connection: a bug of ours"
        try:
            self._conn.execute("INSERT OR REPLACE INTO meta VALUES ('probe', ?)", (self.commits,))
        except sqlite3.Error as error:
            raise self._failed(error) from error

    def _commit(self, batch: Batch) -> None:
        conn = self._conn
        try:
            if len(batch) == len(batch.inserts) == 1:  # its own transaction: two hand-overs of the interpreter less
                conn.execute(INSERT_AGAIN, next(iter(batch.inserts.values())))
                self._count()
                return
            conn.execute("BEGIN IMMEDIATE")
            if batch.inserts:
                conn.executemany(INSERT_AGAIN, batch.inserts.values())
            if batch.updates:
                conn.executemany(UPDATE, batch.updates.values())
            if batch.acks:
                conn.executemany(ACK, batch.acks.items())
            conn.execute("COMMIT")
        except sqlite3.Error as error:
            raise self._failed(error) from error
        self._count()

    def _failed(self, error: sqlite3.Error) -> StoreFault:
        with suppress(sqlite3.Error):
            if self._conn.in_transaction:
                self._conn.execute("ROLLBACK")
        return fault_of(error)

    def _count(self) -> None:
        self.commits += 1
        self.commits_since_checkpoint += 1

    # -- writing on the worker ---------------------------------------------------------------------------------------

    def commit_soon(self) -> None:
        """Have the worker commit the batch (durability "disk"); what comes in meanwhile goes with the next one."""
        if self.busy or self.closed or not self.batch:
            return
        batch = self.flying = self.batch
        self.batch = Batch()
        self._borrow(lambda: self._commit(batch), lambda error: self._committed(batch, error))

    def _committed(self, batch: Batch, error: BaseException | None) -> None:
        fault = _as_fault(error)
        self.flying = Batch()
        if fault is None:
            for done in batch.waiting:
                done(None)
            return
        waiting, batch.waiting = batch.waiting, []
        self.batch = batch.followed_by(self.batch)
        self._on_fault(fault)
        for done in waiting:
            done(fault)

    def checkpoint(self, before: Callable[[sqlite3.Connection], None]) -> bool:
        """Sync the WAL off the loop without a hold, then hold, run ``before`` (compaction) and TRUNCATE the WAL.

        False if the worker has the connection already.
        """
        if (self.busy and not self._disk) or self.closed or self._checkpoint_wanted is not None:
            return False
        self._checkpoint_wanted = before
        self.commits_since_checkpoint = 0
        # the expensive part of a checkpoint's sync is done while orders still flow
        self._run_blocking(self._sync_wal, lambda _error: self._checkpoint_next())
        return True

    def _checkpoint_next(self) -> None:
        self._wal_synced = True
        if self.busy:  # a group commit came first: the checkpoint follows it
            return
        self._checkpoint_held()

    def _sync_wal(self) -> None:
        with suppress(OSError):
            # of the WAL only: closing any descriptor of the main file would drop SQLite's locks on it (POSIX)
            fd = os.open(f"{self._path}-wal", os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.fsync(fd)
            finally:
                os.close(fd)

    def _checkpoint_held(self) -> None:
        before, self._checkpoint_wanted, self._wal_synced = self._checkpoint_wanted, None, False
        if self.closed or before is None:
            return
        batch = self.flying = self.batch
        self.batch = Batch()

        def work() -> None:
            if batch:
                self._commit(batch)
            before(self._conn)
            self._conn.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            self.checkpoints += 1

        # if the commit worked and the checkpoint did not, the batch is written once more: the same rows, no harm done
        self._borrow(work, lambda error: self._committed(batch, error))

    def lend(self, work: Callable[[sqlite3.Connection], None], done: Callable[[BaseException | None], None]) -> bool:
        """Run ``work`` on the connection, off the loop, after what is batched was committed. False if it is busy."""
        if self.busy or self.closed:
            return False
        batch = self.flying = self.batch
        self.batch = Batch()

        failed: list[BaseException] = []  # the borrower's own trouble is not the journal's

        def whole() -> None:
            if batch:
                self._commit(batch)
            try:
                work(self._conn)
            except (sqlite3.Error, OSError) as error:
                failed.append(error)

        def then(error: BaseException | None) -> None:
            self._committed(batch, error)
            done(error or (failed[0] if failed else None))

        self._borrow(whole, then)
        return True

    def _borrow(self, work: Callable[[], None], then: Callable[[BaseException | None], None]) -> None:
        self.busy = True

        def locked() -> None:
            with self._lock:
                try:
                    work()
                except sqlite3.Error as error:
                    raise self._failed(error) from error

        def done(error: BaseException | None) -> None:
            if self.closed:  # `close` wrote the same once more and told those who wait
                return
            self.busy = False
            then(error)
            if error is None:
                self._go_on()
            else:  # the owner tries again when it thinks the disk may have recovered
                self._checkpoint_wanted, self._wal_synced = None, False

        self._run_blocking(locked, done)

    def _go_on(self) -> None:
        """The worker gave the connection back: what waits for it, most important first."""
        if self._wal_synced:
            self._checkpoint_held()
        elif self._disk:
            self.commit_soon()
        elif self.side.bytes:
            try:
                self.write_now()
            except StoreFault as fault:
                self._on_fault(fault)

    # -- reading and closing -----------------------------------------------------------------------------------------

    def read(self, sql: str, parameters: Iterable[Any] = ()) -> list[Any]:
        """Rare questions only: waits for the worker (some milliseconds). Raises `StoreFault`."""
        with self._lock:
            try:
                return self._conn.execute(sql, tuple(parameters)).fetchall()
            except sqlite3.Error as error:
                raise fault_of(error) from error

    def unwritten(self, seq: int) -> bytes | None:
        """The outcome of a row as it will be written, if it waits for a commit."""
        for batch in (self.batch, self.flying):
            if seq in batch.updates:
                return batch.updates[seq][4]
            if seq in batch.inserts:
                return batch.inserts[seq][8]
        return None

    def wal_bytes(self) -> int:
        try:
            return os.stat(f"{self._path}-wal").st_size
        except OSError:
            return 0

    def close(self) -> StoreFault | None:
        """Write what is left, checkpoint, close. What could not be written is said, not raised."""
        self.closed = True
        fault: StoreFault | None = None
        with self._lock:
            # what the worker was at may have failed without anybody knowing yet: the same rows again do no harm
            left = self.batch = self.flying.followed_by(self.batch)
            self.flying = Batch()
            try:
                if left:
                    self._commit(left)
                    self.batch = Batch()
                self.side.remove()
                self._conn.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            except StoreFault as caught:
                fault = caught
            except sqlite3.Error as error:
                fault = fault_of(error)
            self._conn.close()
            self.side.close()
        for done in left.waiting:
            done(None if self.batch is not left else fault)
        return fault


def replay(conn: sqlite3.Connection, records: Iterable[tuple[str, tuple[Any, ...]]]) -> None:
    """Write what the side log holds, as if the process had not died. Raises `StoreFault`.

    If it was committed already nothing changes: rows that are there, or were there and are compacted, are left alone,
    and only a row that is still RECORDED is moved on (the log holds no other updates).
    """
    try:
        conn.execute("BEGIN IMMEDIATE")
        high = conn.execute("SELECT coalesce(max(value), 0) FROM meta WHERE name='seq_high'").fetchone()[0]
        for kind, values in records:
            if kind == UPDATE_ASIDE:
                conn.execute(f"{UPDATE} AND state=0", values)
            elif values[0] > high:
                conn.execute(INSERT.replace("INSERT", "INSERT OR IGNORE", 1), values)
        conn.execute("COMMIT")
    except sqlite3.Error as error:
        with suppress(sqlite3.Error):
            if conn.in_transaction:
                conn.execute("ROLLBACK")
        raise fault_of(error) from error


def _as_fault(error: BaseException | None) -> StoreFault | None:
    if error is None or isinstance(error, StoreFault):
        return error
    return StoreFault(Fault.IO, f"{type(error).__name__} on the worker")
