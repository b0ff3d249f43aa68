"""The disk: real SQLite on a folder in memory, with slow, full and failing writes, and what a loss of power leaves.

A killed process leaves what it committed. A loss of power leaves what was synced: SQLite syncs a commit only with
``synchronous=FULL`` (durability "disk"), so the files are copied after each such commit, and the copy is what the next
start finds.
"""

from __future__ import annotations

import asyncio
import errno
import shutil
import sqlite3
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future
from contextlib import suppress
from pathlib import Path
from typing import Any

from .loop import Killed, Process, Time
from .weather import Weather

WRITES = ("INSERT", "UPDATE", "DELETE", "COMMIT", "BEGIN", "CREATE", "ALTER")


class Connection(sqlite3.Connection):
    """Every statement passes here; before and after each write its process may die."""

    disk: Disk
    process: Process
    full_sync = False
    uncommitted: list[tuple[int, bytes]]

    def execute(self, sql: str, *args: Any) -> Any:
        if not sql.startswith(WRITES):
            if self.process.dead:
                raise Killed
            if sql.startswith("PRAGMA synchronous"):
                self.full_sync = sql.endswith("FULL")
            return super().execute(sql, *args)
        self.process.touch()
        self.disk.strike()
        done = super().execute(sql, *args)
        if sql.startswith("INSERT") and "INTO intents" in sql:
            self.uncommitted.append((args[0][0], args[0][7]))
        if not self.in_transaction:
            self._committed()
        self.process.touch()
        return done

    def executemany(self, sql: str, rows: Any) -> Any:
        self.process.touch()
        self.disk.strike()
        rows = list(rows)
        done = super().executemany(sql, rows)
        if sql.startswith("INSERT") and "INTO intents" in sql:
            self.uncommitted += [(row[0], row[7]) for row in rows]
        self.process.touch()
        return done

    def _committed(self) -> None:
        """What was inserted is in the file now (and on the platters, if it was asked for)."""
        if self.full_sync:
            self.disk.synced()
        for seq, payload in self.uncommitted:
            self.disk.on_journaled(seq, payload)
        self.uncommitted.clear()


class SlowExecutor(Executor):
    """One thread's stand-in: work is done a little later, in order; who waits for a result has it at once."""

    def __init__(self, disk: Disk, process: Process) -> None:
        self._disk = disk
        self._process = process
        self._free_at = 0.0
        self._left: deque[tuple[Future[Any], Callable[[], Any]]] = deque()

    def submit(self, work: Any, /, *args: Any, **options: Any) -> Future[Any]:
        took_s = 0.0005
        if self._disk.weather.hits("disk_slow"):
            took_s = self._disk.weather.dice("disk_slow").uniform(0.001, 1.5)
        world = self._disk.world
        self._free_at = max(self._free_at, world.now) + took_s
        future = Awaited(self)
        self._left.append((future, lambda: work(*args, **options)))
        world.at(self._process, self._free_at, self._do)
        return future

    def _do(self) -> None:
        if not self._left:
            return
        future, work = self._left.popleft()
        if not future.set_running_or_notify_cancel():
            return
        try:
            done = work()
        except Exception as error:
            future.set_exception(error)
        else:
            future.set_result(done)

    def finish(self) -> None:
        while self._left:
            self._do()

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        self.finish()


class Awaited(Future[Any]):
    """A result that can be waited for where nothing can wait."""

    def __init__(self, executor: SlowExecutor) -> None:
        super().__init__()
        self._executor = executor

    def result(self, timeout: float | None = None) -> Any:
        self._executor.finish()
        return super().result(timeout)


class Disk:
    """One agent's state folder."""

    def __init__(self, world: Time, weather: Weather, folder: Path, *, keeps_synced: bool) -> None:
        self.world = world
        self.weather = weather
        self.folder = folder
        self.full_until = 0.0
        self.on_journaled: Callable[[int, bytes], None] = lambda seq, payload: None
        self.writes = 0
        self.syncs = True
        self._open: list[Connection] = []
        self._synced_folder = folder.with_name(f"{folder.name}-synced") if keeps_synced else None

    def connect(self, process: Process, path: str, **options: Any) -> sqlite3.Connection:
        process.touch()
        conn: Connection = sqlite3.connect(path, factory=Connection, **options)
        conn.disk, conn.process, conn.uncommitted = self, process, []
        self._open.append(conn)
        return conn

    def executor(self, process: Process) -> SlowExecutor:
        return SlowExecutor(self, process)

    async def run_blocking(self, process: Process, function: Callable[..., Any], *args: Any) -> Any:
        """Blocking work on some thread: a little later."""
        slow = self.weather.hits("disk_slow")
        await asyncio.sleep(self.weather.dice("disk_slow").uniform(0.001, 1.5) if slow else 0.0005)
        process.touch()
        if self.world.now < self.full_until:
            raise OSError(errno.ENOSPC, "no space left on device")
        done = function(*args)
        process.touch()
        return done

    def strike(self) -> None:
        self.writes += 1
        if self.world.now < self.full_until:
            raise _error("database or disk is full", sqlite3.SQLITE_FULL)
        if self.weather.hits("disk_error"):
            raise _error("disk I/O error", sqlite3.SQLITE_IOERR)

    def is_aside(self, client_id: str) -> bool:
        """Whether the side log, which takes rows while the worker has the connection, holds it."""
        try:
            return client_id.encode() in (self.folder / "outbox.sqlite-side").read_bytes()
        except OSError:
            return False

    def crash(self) -> None:
        """The process ended: what it had not committed is gone."""
        for conn in self._open:
            with suppress(sqlite3.Error):
                if conn.in_transaction:
                    sqlite3.Connection.execute(conn, "ROLLBACK")
            with suppress(sqlite3.Error):
                conn.close()
        self._open.clear()

    def synced(self) -> None:
        """What there is now is on the platters."""
        if self._synced_folder is None or not self.syncs:
            return
        self._synced_folder.mkdir(exist_ok=True)
        for suffix in ("", "-wal"):
            there = self.folder / f"outbox.sqlite{suffix}"
            here = self._synced_folder / there.name
            if there.exists():
                shutil.copyfile(there, here)
            else:
                here.unlink(missing_ok=True)

    def lose_power(self) -> None:
        """Everything not synced is gone."""
        assert self._synced_folder is not None
        for left in self.folder.glob("outbox.sqlite*"):
            left.unlink()
        for kept in self._synced_folder.glob("outbox.sqlite*"):
            shutil.copyfile(kept, self.folder / kept.name)


def _error(text: str, code: int) -> sqlite3.OperationalError:
    error = sqlite3.OperationalError(text)
    error.sqlite_errorcode = code
    return error
