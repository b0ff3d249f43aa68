"""When things are written, and what is done while they cannot be: batching, checkpoints, compaction, a sick disk.

Between the outbox, which knows what happened, and the store, which has the connection. Degraded means: the disk cannot
be written, what must go on goes on in memory, and the disk is tried again every few seconds.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path
from typing import Any

from jackstay_agent.core.intent import TERMINAL
from jackstay_agent.core.ttl import Stamp

from . import schema
from .aging import LowestLead
from .recovery import Recovered, recover
from .rows import CODES, Row
from .schema import Connect, Fault, StoreFault
from .settings import DISK, OutboxSettings
from .sidelog import SideLog
from .store import Batch, Done, RunBlocking, Store, Update, replay

#: Rows in memory that could not be written yet. Only de-risking adds to them while degraded.
UNWRITTEN_MAX = 10_000
_TERMINAL_CODES = frozenset(CODES[state] for state in TERMINAL)


class Kept(Enum):
    """How a row was taken."""

    WRITTEN = "written"
    COMING = "coming"  # in the batch; ``done`` will be called
    MEMORY = "memory"  # degraded, or the worker has the connection: written when it can be


class Journal:
    def __init__(
        self,
        path: Path,
        settings: OutboxSettings,
        *,
        connect: Connect,
        run_blocking: RunBlocking,
        on_event: Callable[[str, dict[str, Any]], None],
        on_free: Callable[[], None],
        clock: Callable[[], float],
    ) -> None:
        self.key_floor: Callable[[], int] = lambda: 0
        self._path = path
        self._settings = settings
        self._connect = connect
        self._run_blocking = run_blocking
        self._on_event = on_event
        self._on_free = on_free
        self._clock = clock
        self._disk = settings.durability == DISK
        self._store: Store | None = None
        self._unattached = Batch()  # while there is no file at all
        self.fault: StoreFault | None = None
        self.unjournaled = 0  # rows that had to be forgotten while degraded
        self._retry_at = 0.0
        self._flush_at: float | None = None
        self._checkpoint_at: float | None = None
        self._compacted_to = 0
        self._in_window = LowestLead(settings.idempotency_window_s)
        self._retained = LowestLead(settings.retention_s)
        self._retired: list[int] = []
        self._side = SideLog(path.with_name(f"{path.name}-side"))

    # -- opening -----------------------------------------------------------------------------------------------------

    def attach(self, now: Stamp) -> Recovered | None:
        """Open the file and read it; None, and degraded, if the disk does not allow it."""
        stamp = datetime.fromtimestamp(now.wall_s, UTC).strftime("%Y%m%dT%H%M%SZ")
        conn: sqlite3.Connection | None = None
        try:
            conn, found = self._open_and_read(now, stamp)
        except StoreFault as fault:
            self._degrade(fault)
            return None
        self._store = Store(
            conn,
            self._path,
            disk=self._disk,
            run_blocking=self._run_blocking,
            on_fault=self._degrade,
            side=self._side,
        )
        for lead in (self._in_window, self._retained):
            lead.see(now, found.lead_s)
        self._store.batch, self._unattached = self._unattached.above(found.seq_max), Batch()
        return found

    def _open_and_read(self, now: Stamp, stamp: str) -> tuple[sqlite3.Connection, Recovered]:
        for last in (False, True):
            conn = schema.open_file(
                self._path,
                self._connect,
                disk=self._disk,
                check_bytes_max=self._settings.check_bytes_max,
                on_event=self._on_event,
                stamp=stamp,
            )
            try:
                self._replay_side(conn)
                return conn, recover(conn, now, self._settings.clock_jump_max_s, self._settings.idempotency_window_s)
            except StoreFault as fault:
                conn.close()
                if last or fault.fault is not Fault.DAMAGED:
                    raise
                moved = schema.set_aside(self._path, stamp)
                self._on_event("outbox.set_aside", {"path": str(self._path), "moved_to": str(moved), "why": str(fault)})
        raise AssertionError("unreachable: the second pass returns or raises")

    def _replay_side(self, conn: sqlite3.Connection) -> None:
        """Rows of a process that died during a checkpoint's hold."""
        if records := self._side.records():
            replay(conn, records)
            self._on_event("outbox.side_replayed", {"rows": len(records)})
        self._side.remove()

    # -- writing -----------------------------------------------------------------------------------------------------

    def insert(self, rows: list[Row], *, unjournaled: bool, done: Done | None) -> Kept:
        """New rows, before their first byte. Raises `StoreFault` unless they may go on in memory (``unjournaled``)."""
        store = self._store
        if store is None or self.fault is not None:
            if not unjournaled:
                raise self.fault or StoreFault(Fault.IO, "there is no file")
            return self._in_memory(rows)
        if self._disk:
            for row in rows:
                store.batch.inserts[row[0]] = row
            if done is not None and not unjournaled:
                store.batch.waiting.append(done)
            store.commit_soon()
            return Kept.WRITTEN if unjournaled else Kept.COMING
        try:
            if store.busy:
                store.put_aside(inserts=rows)
            elif len(rows) == 1:
                store.insert(rows[0])
            else:
                store.write_now(inserts=rows)
        except StoreFault as fault:
            self._degrade(fault)
            if not unjournaled:
                raise
            return self._in_memory(rows)
        return Kept.WRITTEN

    def _in_memory(self, rows: list[Row]) -> Kept:
        inserts = self._batch.inserts
        for row in rows:
            inserts[row[0]] = row
        self._flush_later()
        while len(inserts) > UNWRITTEN_MAX:  # the oldest that has ended, else the oldest
            gone = next((seq for seq, row in inserts.items() if row[1] in _TERMINAL_CODES), next(iter(inserts)))
            del inserts[gone]
            self.unjournaled += 1
        return Kept.MEMORY

    def change(self, update: Update) -> None:
        """A row's mutable part, batched."""
        self._batch.update(update)
        self._flush_later()
        if len(self._batch) >= self._settings.flush_rows_max:
            self.flush()

    def change_now(self, update: Update, *, unjournaled: bool, done: Done | None) -> Kept:
        """The same before a first byte: committed on return, or ``done`` is called when it is. Raises `StoreFault`."""
        store = self._store
        if store is None or self.fault is not None:
            if not unjournaled:
                raise self.fault or StoreFault(Fault.IO, "there is no file")
            self.change(update)
            return Kept.MEMORY
        if self._disk:
            store.batch.update(update)
            if done is not None and not unjournaled:
                store.batch.waiting.append(done)
            store.commit_soon()
            return Kept.WRITTEN if unjournaled else Kept.COMING
        try:
            if store.busy:
                store.put_aside(updates=[update])
            else:
                store.write_now(updates=[update])
        except StoreFault as fault:
            self._degrade(fault)
            if not unjournaled:
                raise
            self._batch.update(update)
            return Kept.MEMORY
        return Kept.WRITTEN

    def ack(self, seqs: Iterable[int], bot_id: str) -> None:
        for seq in seqs:
            self._batch.acks[seq] = bot_id
        self._flush_later()
        if len(self._batch) >= self._settings.flush_rows_max:
            self.flush()

    @property
    def at_rest(self) -> bool:
        """The file is well and has everything."""
        return self._flush_at is None and self.fault is None and not self._batch

    def _flush_later(self) -> None:
        if self._flush_at is None:
            self._flush_at = self._clock() + self._settings.flush_after_s

    def flush(self) -> None:
        """Write the batch now (durability "disk": have the worker write it). While held it waits for the next tick."""
        store = self._store
        if store is None or self.fault is not None or (store.busy and not self._disk):
            return
        self._flush_at = None
        if self._disk:
            store.commit_soon()
        else:
            try:
                store.write_now()
            except StoreFault as fault:
                self._degrade(fault)

    @property
    def _batch(self) -> Batch:
        return self._unattached if self._store is None else self._store.batch

    # -- reading -----------------------------------------------------------------------------------------------------

    def read(self, sql: str, parameters: Iterable[Any] = ()) -> list[Any]:
        """Raises `StoreFault`; rare questions only."""
        if self._store is None:
            raise self.fault or StoreFault(Fault.IO, "there is no file")
        return self._store.read(sql, parameters)

    def unwritten_row(self, seq: int) -> Row | None:
        """A row that is not in the file yet."""
        for batch in (self._batch, *(() if self._store is None else (self._store.flying,))):
            if seq in batch.inserts:
                row: Row = batch.inserts[seq]
                return row
        return None

    def unwritten_ending(self, seq: int) -> bytes | None:
        """A newer outcome than the file's."""
        return self._unattached_ending(seq) if self._store is None else self._store.unwritten(seq)

    def _unattached_ending(self, seq: int) -> bytes | None:
        row = self._unattached.inserts.get(seq)
        return None if row is None else row[8]

    # -- housekeeping ------------------------------------------------------------------------------------------------

    def _degrade(self, fault: StoreFault) -> None:
        self._retry_at = self._clock() + self._settings.disk_retry_s
        if self.fault is None:
            self._on_event("outbox.degraded", {"why": fault.fault.value, "detail": str(fault)})
        self.fault = fault

    def tick(self, now: Stamp) -> Recovered | None:
        """What is due: flush, checkpoint, the sick disk. What a file opened late held is returned."""
        self._in_window.see(now)
        self._retained.see(now)
        found = self._heal(now) if self.fault is not None else None
        if self._flush_at is not None and now.boot_s >= self._flush_at:
            self.flush()
        store = self._store
        if store is not None and self.fault is None:
            if self._checkpoint_at is None:
                self._checkpoint_at = now.boot_s + self._settings.checkpoint_idle_s
            many = store.commits_since_checkpoint >= self._settings.checkpoint_commits
            if many or (now.boot_s >= self._checkpoint_at and store.commits_since_checkpoint):
                self.checkpoint(now)
        return found

    def _heal(self, now: Stamp) -> Recovered | None:
        was, found = self.fault, None
        # a file damaged under our hands stays unused until a restart checks it and sets it aside
        if was is None or now.boot_s < self._retry_at or was.fault is Fault.DAMAGED:
            return None
        if self._store is None:
            found = self.attach(now)
            if found is None:
                return None
        elif self._store.busy:
            return None
        else:
            try:
                self._store.probe()
                self._store.write_now()
            except StoreFault as fault:
                self._degrade(fault)
                return None
        self.fault = None
        self._on_event("outbox.healed", {"was": was.fault.value})
        self._on_free()
        return found

    def checkpoint(self, now: Stamp) -> bool:
        """Start one: WAL sync, short hold, compaction, TRUNCATE. False if one is under way or there is no disk."""
        floor = self.key_floor()
        store = self._store
        if store is None or self.fault is not None:
            return False
        self._checkpoint_at = now.boot_s + self._settings.checkpoint_idle_s
        out, old = self._in_window.over_before(now), self._retained.over_before(now)
        return store.checkpoint(lambda conn: self._compact(conn, out, old, floor))

    def _compact(self, conn: sqlite3.Connection, out: float, old: float, floor: int) -> None:
        """Look at the next stretch of rows and delete what nobody needs. Runs on the worker.

        That is what was collected and whose key is forgotten (``floor``: below it all are; ended before ``out``: its
        window is over), and what is past the retention (ended before ``old``).
        """
        s = self._settings
        rows = conn.execute(
            "SELECT seq, state, acked = sum, finished FROM intents WHERE seq > ? ORDER BY seq LIMIT ?",
            (self._compacted_to, s.compact_rows),
        ).fetchall()
        self._compacted_to = rows[-1][0] if len(rows) == s.compact_rows else 0
        gone = [
            (seq,)
            for seq, state, collected, finished in rows
            if state in _TERMINAL_CODES and ((collected and (seq < floor or finished < out)) or finished < old)
        ]
        if gone:
            conn.execute("BEGIN IMMEDIATE")
            conn.execute(
                "INSERT OR REPLACE INTO meta VALUES ('seq_high', max(?, coalesce("
                "(SELECT value FROM meta WHERE name='seq_high'), 0)))",
                gone[-1],
            )
            conn.executemany("DELETE FROM intents WHERE seq=?", gone)
            conn.execute("COMMIT")
            self._retired.extend(seq for (seq,) in gone)

    def copy_to(self, target: Path, done: Callable[[BaseException | None], None]) -> None:
        """Have the worker copy the file, what is batched included."""
        store = self._store
        if store is None or self.fault is not None:
            done(self.fault or StoreFault(Fault.IO, "there is no file"))
        elif not store.lend(lambda conn: schema.copy_file(conn, target), done):
            done(StoreFault(Fault.IO, "the file is being written just now, ask again in a moment"))

    def take_retired(self) -> list[int]:
        """Rows deleted since the last call; none while the worker may be at it."""
        if self._store is not None and self._store.busy:
            return []
        retired, self._retired = self._retired, []
        return retired

    def stats(self) -> dict[str, Any]:
        store = self._store
        return {
            "degraded": None if self.fault is None else str(self.fault),
            "unwritten": len(self._batch),
            "unjournaled": self.unjournaled,
            "commits": 0 if store is None else store.commits,
            "checkpoints": 0 if store is None else store.checkpoints,
            "wal_bytes": 0 if store is None else store.wal_bytes(),
        }

    def close(self) -> None:
        """Write what is left; what cannot be written is said."""
        if self._store is not None and (fault := self._store.close()) is not None:
            self._on_event("outbox.unwritten", {"why": str(fault), "rows": len(self._store.batch)})
