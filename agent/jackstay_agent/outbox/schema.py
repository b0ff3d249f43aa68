"""The file: made, opened, checked, brought up to date, or set aside.

One EXCLUSIVE connection in WAL mode with timeout 0 and autocheckpoint off: a second connection lets the WAL grow
without bound (measured), and SQLite before 3.51.3 may corrupt a file when two connections write and checkpoint. Tools
read through the agent or an export, never from the file of a living agent.

Says what is wrong in four ways, because each asks for something else: `OutboxTaken` (another agent has it: stop),
`OutboxTooNew` (run the newer version: stop), a damaged file (set aside, start afresh, say so), and `StoreFault`
(the disk is full, read-only or broken: go on degraded).
"""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Callable, Mapping
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, TypeAlias

from jackstay_protocols.errors import StateConsistencyError, ValidationError

Connect: TypeAlias = Callable[..., sqlite3.Connection]

SCHEMA_VERSION: Final = 2
VERSION_MAX: Final = 1_000  # no schema will ever have a higher number: such a one is damage
COPY_LEAVES_BYTES: Final = 8 << 20  # free beside a copy: the WAL of a busy agent between two checkpoints
APPLICATION_ID: Final = 0x4A_53_54_59  # "JSTY"

TABLES: Final = (
    # small columns first: a walk over states does not touch the overflow pages of a long body
    """CREATE TABLE intents (seq INTEGER PRIMARY KEY, state INTEGER NOT NULL, acked INTEGER NOT NULL,
    sum INTEGER NOT NULL, finished REAL NOT NULL, held INTEGER NOT NULL, bot_id TEXT NOT NULL, payload BLOB NOT NULL,
    outcome BLOB, attempts INTEGER NOT NULL DEFAULT 0)""",
    "CREATE TABLE damaged (seq INTEGER PRIMARY KEY, found_wall REAL NOT NULL, why TEXT NOT NULL, row BLOB)",
    "CREATE TABLE meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID",
)
#: statements that lead from the version in the key to the next one
MIGRATIONS: Final[Mapping[int, tuple[str, ...]]] = {
    # 2: how often a queued intent was tried outlives a restart, so that "attempts are bounded" holds across it
    1: ("ALTER TABLE intents ADD COLUMN attempts INTEGER NOT NULL DEFAULT 0",),
}


class Fault(StrEnum):
    FULL = "disk full"
    READ_ONLY = "read-only"
    IO = "disk error"
    DAMAGED = "damaged"


class StoreFault(Exception):
    """The disk cannot be written (or read) now. ``fault`` says how; the text holds no content of the file."""

    def __init__(self, fault: Fault, message: str) -> None:
        super().__init__(f"{fault.value}: {message}")
        self.fault = fault


class OutboxTaken(StateConsistencyError):
    """Another process holds the file."""


class OutboxTooNew(ValidationError):
    """The file was written by a later version."""


def fault_of(error: sqlite3.Error) -> StoreFault:
    """What kind of fault an SQLite error is."""
    code = getattr(error, "sqlite_errorcode", None)
    primary = code & 0xFF if isinstance(code, int) else None
    if primary == sqlite3.SQLITE_FULL:
        return StoreFault(Fault.FULL, str(error))
    if primary in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH):
        return StoreFault(Fault.READ_ONLY, str(error))
    if primary in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return StoreFault(Fault.DAMAGED, str(error))
    return StoreFault(Fault.IO, str(error))


def open_file(
    path: Path,
    connect: Connect,
    *,
    disk: bool,
    check_bytes_max: int,
    on_event: Callable[[str, dict[str, Any]], None],
    stamp: str,
) -> sqlite3.Connection:
    """A connection ready for use, to the file or, if that is damaged, to a new one in its place.

    ``stamp`` is appended to the name of a file that is set aside. Raises `OutboxTaken`, `OutboxTooNew`, `StoreFault`.
    """
    try:
        return _open(path, connect, disk, check_bytes_max)
    except StoreFault as fault:
        if fault.fault is not Fault.DAMAGED:
            raise
        moved = set_aside(path, stamp)
        on_event("outbox.set_aside", {"path": str(path), "moved_to": str(moved), "why": str(fault)})
        return _open(path, connect, disk, check_bytes_max)


def copy_file(conn: sqlite3.Connection, target: Path) -> None:
    """A consistent copy of what ``conn`` sees, at ``target``, complete or not at all. Raises sqlite3.Error, OSError.

    Not begun where it would fill the disk: the file that is copied lives there, too, and orders need the room more.
    """
    size = conn.execute("PRAGMA page_count").fetchone()[0] * conn.execute("PRAGMA page_size").fetchone()[0]
    disk = os.statvfs(target.parent)
    free = disk.f_bavail * disk.f_frsize
    if free < size + COPY_LEAVES_BYTES:
        what = (
            f"{free >> 20} MiB are free, {(size + COPY_LEAVES_BYTES) >> 20} MiB are expected for a copy of the journal"
        )
        raise OSError(errno.ENOSPC, what, str(target.parent))
    making = target.with_name(f"{target.name}.making")
    making.unlink(missing_ok=True)
    os.close(os.open(making, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    try:
        copy = sqlite3.connect(str(making), isolation_level=None)
        try:
            conn.backup(copy)
            copy.execute("PRAGMA journal_mode=DELETE")  # one file, without a WAL beside it
        finally:
            copy.close()
        os.rename(making, target)
    except BaseException:
        making.unlink(missing_ok=True)
        raise


def kept_copy(path: Path, version: int) -> Path:
    """Where the file is kept as it was before a step to a later schema (`jackstay rollback`)."""
    return path.with_name(f"{path.name}.schema-{version}")


def _keep_before_step(conn: sqlite3.Connection, path: Path) -> None:
    """A later schema cannot be read by the version that wrote this file: it is kept as it was."""
    version: int = conn.execute("PRAGMA user_version").fetchone()[0]
    ours = conn.execute("PRAGMA application_id").fetchone()[0] == APPLICATION_ID
    if not ours or not 0 < version < SCHEMA_VERSION:
        return
    try:
        copy_file(conn, kept_copy(path, version))
    except OSError as error:
        raise StoreFault(
            Fault.FULL, f"no copy can be kept before the step to schema {SCHEMA_VERSION}: {error}"
        ) from error


def set_aside(path: Path, stamp: str) -> Path:
    """Rename the file and its WAL, so that somebody can look at them; the new name of the file."""
    moved = path.with_name(f"{path.name}.damaged-{stamp}")
    count = 1
    while moved.exists():
        count += 1
        moved = path.with_name(f"{path.name}.damaged-{stamp}-{count}")
    try:
        for suffix in ("-wal", "-shm", "-journal"):
            with suppress(FileNotFoundError):
                os.rename(f"{path}{suffix}", f"{moved}{suffix}")
        os.rename(path, moved)
    except OSError as error:
        raise StoreFault(Fault.READ_ONLY, f"a damaged file cannot be set aside: {error.strerror}") from error
    return moved


def _open(path: Path, connect: Connect, disk: bool, check_bytes_max: int) -> sqlite3.Connection:
    try:
        # before SQLite makes it: orders are nobody else's business. The WAL inherits the mode.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        size = path.stat().st_size
    except OSError as error:
        raise StoreFault(Fault.READ_ONLY, f"{path} cannot be opened for writing: {error.strerror}") from error
    conn = None
    try:
        conn = connect(str(path), timeout=0, isolation_level=None, check_same_thread=False)
        _prepare(conn, path, disk, check=0 < size <= check_bytes_max)
        _sync_folder(path)
    except sqlite3.Error as error:
        if conn is not None:
            conn.close()
        if getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise OutboxTaken(
                f"outbox {path} is held by another process; exactly one agent is expected: stop the other one"
            ) from error
        raise fault_of(error) from error
    except UnicodeDecodeError as error:  # SQLite's own complaint quotes the damaged schema
        if conn is not None:
            conn.close()
        raise StoreFault(Fault.DAMAGED, "its schema is no text any more") from error
    except BaseException:
        if conn is not None:
            conn.close()
        raise
    return conn


def _sync_folder(path: Path) -> None:
    """The file's name survives a loss of power too."""
    with suppress(OSError):
        folder = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _prepare(conn: sqlite3.Connection, path: Path, disk: bool, *, check: bool) -> None:
    # a damaged text is found by its row's checksum, row by row; an exception here would lose the whole file
    conn.text_factory = lambda text: text.decode("utf-8", "replace")
    conn.execute("PRAGMA locking_mode=EXCLUSIVE")
    conn.execute("PRAGMA journal_mode=WAL")
    conn.execute("PRAGMA wal_autocheckpoint=0")
    conn.execute(f"PRAGMA synchronous={'FULL' if disk else 'NORMAL'}")
    conn.execute("PRAGMA trusted_schema=OFF")
    conn.execute("PRAGMA cell_size_check=ON")
    if check:
        verdict = conn.execute("PRAGMA quick_check(1)").fetchone()
        if verdict is None or verdict[0] != "ok":
            raise StoreFault(Fault.DAMAGED, "the page check found errors")
    _keep_before_step(conn, path)
    conn.execute("BEGIN EXCLUSIVE")
    try:
        migrate(conn, str(path))
        conn.execute("COMMIT")
    except BaseException:
        if conn.in_transaction:
            conn.execute("ROLLBACK")
        raise


def migrate(
    conn: sqlite3.Connection,
    name: str,
    migrations: Mapping[int, tuple[str, ...]] = MIGRATIONS,
    target: int = SCHEMA_VERSION,
) -> int:
    """Bring the schema to ``target`` inside the caller's transaction; the version it had (0: it was empty)."""
    version: int = conn.execute("PRAGMA user_version").fetchone()[0]
    application: int = conn.execute("PRAGMA application_id").fetchone()[0]
    if version == 0 and application == 0:
        if conn.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            raise StoreFault(Fault.DAMAGED, "it is an SQLite file of something else")
        for statement in TABLES:
            conn.execute(statement)
    elif application != APPLICATION_ID:
        raise StoreFault(Fault.DAMAGED, "it is an SQLite file of something else")
    elif not 0 < version <= VERSION_MAX:
        raise StoreFault(Fault.DAMAGED, f"its schema has the number {version}")
    elif version > target:
        raise OutboxTooNew(
            f"outbox {name} has schema {version}; this version knows up to {target}: run the later jackstay, or"
            " drain the outbox with it and move the file away"
        )
    else:
        for step in range(version, target):
            for statement in migrations[step]:
                conn.execute(statement)
    if version != target:
        conn.execute(f"PRAGMA application_id={APPLICATION_ID}")
        conn.execute(f"PRAGMA user_version={target}")
    return version
