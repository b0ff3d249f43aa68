"""Back to the version before a schema step, without forgetting what was recorded since.

Before a step the file is kept as it was (`schema.kept_copy`). Putting that copy back as it is would forget every order
since, so it is only the mould: today's rows are poured into it, with the columns that the earlier schema has. What it
has no place for is named in the plan. Nothing is changed in place: the file of today is set aside, whole.

Nobody may have the file meanwhile; the caller holds the agent's lock.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from zlib import crc32

from jackstay_agent.core.intent import OPEN
from jackstay_protocols.errors import StateConsistencyError, ValidationError

from .rows import CODES, checksum
from .schema import SCHEMA_VERSION, kept_copy
from .sidelog import SideLog
from .store import replay

_OPEN = tuple(CODES[state] for state in OPEN)


@dataclass(frozen=True, slots=True)
class Plan:
    """What a rollback would do: rows that come along, how many are open, what the old schema has no place for."""

    path: Path
    copy: Path
    schema: int
    to_schema: int
    copied_at: float
    rows: int
    open_rows: int
    lost: tuple[str, ...]


def plan(path: Path, to_schema: int | None = None) -> Plan:
    """Raises ValidationError when there is no journal, or no copy to go back to."""
    if not path.exists():
        raise ValidationError(f"there is no journal {path}; look at the agent's state folder")
    kept = {version: kept_copy(path, version) for version in range(1, SCHEMA_VERSION)}
    there = {version: copy for version, copy in kept.items() if copy.exists()}
    if not there or (to_schema is not None and to_schema not in there):
        known = ", ".join(str(version) for version in there) or "none"
        raise ValidationError(
            f"no copy of {path} from before a schema step is kept (kept: {known}): the schema did not change, so the"
            " earlier version reads the journal as it is; start it"
        )
    target = max(there) if to_schema is None else to_schema
    with closing(_reading(path)) as now:
        if (schema := now.execute("PRAGMA user_version").fetchone()[0]) <= target:
            raise ValidationError(f"{path} has schema {schema} already; start the earlier version")
    _settle(path)
    with closing(_reading(path)) as now, closing(_reading(there[target])) as before:
        rows, open_rows = now.execute(
            f"SELECT count(*), count(CASE WHEN state IN ({','.join('?' * len(_OPEN))}) THEN 1 END) FROM intents", _OPEN
        ).fetchone()
        lost = tuple(
            f"{column} of {count} rows"
            for column in _columns(now) - _columns(before)
            if (count := now.execute(f"SELECT count(*) FROM intents WHERE {column}").fetchone()[0])
        )
    return Plan(path, there[target], schema, target, there[target].stat().st_mtime, rows, open_rows, lost)


def roll_back(planned: Plan, stamp: str) -> Path:
    """Do it. Returns where today's file was set aside. Raises StateConsistencyError, with nothing changed."""
    path = planned.path
    making = path.with_name(f"{path.name}.rolling-back")
    making.unlink(missing_ok=True)
    os.close(os.open(making, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    try:
        making.write_bytes(planned.copy.read_bytes())
        with closing(sqlite3.connect(str(making), isolation_level=None)) as conn:
            _pour(conn, path)
            poured = conn.execute("SELECT count(*) FROM intents").fetchone()[0]
            if poured != planned.rows or conn.execute("PRAGMA quick_check(1)").fetchone()[0] != "ok":
                raise StateConsistencyError(f"{poured} of {planned.rows} rows came along: {path} is as it was")
    except BaseException:
        making.unlink(missing_ok=True)
        raise
    aside = path.with_name(f"{path.name}.rolled-back-{stamp}")
    os.rename(path, aside)
    for suffix in ("-wal", "-shm"):
        with suppress(FileNotFoundError):
            os.rename(f"{path}{suffix}", f"{aside}{suffix}")
    os.rename(making, path)
    return aside


def _pour(conn: sqlite3.Connection, source: Path) -> None:
    conn.execute("PRAGMA synchronous=FULL")
    conn.execute("ATTACH DATABASE ? AS today", (str(source),))
    columns = [row[1] for row in conn.execute("PRAGMA main.table_info(intents)")]
    attempts = "attempts" in columns
    names = ", ".join(columns)
    conn.execute("BEGIN IMMEDIATE")
    conn.execute("DELETE FROM intents")
    conn.execute(f"INSERT INTO intents ({names}) SELECT {names} FROM today.intents")
    if not attempts:  # a row's checksum covers them where there are any (rows.checksum)
        _sums_without_attempts(conn)
    for table in ("damaged", "meta"):
        conn.execute(f"INSERT OR REPLACE INTO {table} SELECT * FROM today.{table}")
    conn.execute("COMMIT")
    conn.execute("DETACH DATABASE today")


def _sums_without_attempts(conn: sqlite3.Connection) -> None:
    tried = conn.execute(
        "SELECT seq, state, held, finished, bot_id, payload, outcome, sum, acked FROM today.intents WHERE attempts"
    ).fetchall()
    for seq, state, held, finished, bot_id, payload, outcome, old, acked in tried:
        total = checksum(seq, state, held, finished, bot_id, crc32(payload), outcome, 0)
        conn.execute("UPDATE intents SET sum=?, acked=? WHERE seq=?", (total, total if acked == old else 0, seq))


def _settle(path: Path) -> None:
    """What a killed agent left in the WAL and in the side log comes into the file."""
    side = SideLog(path.with_name(f"{path.name}-side"))
    with closing(_reading(path)) as conn:
        if records := side.records():
            replay(conn, records)
        side.remove()
        side.close()
        conn.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


def _reading(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(str(path), isolation_level=None)


def _columns(conn: sqlite3.Connection) -> set[str]:
    return {row[1] for row in conn.execute("PRAGMA table_info(intents)")}
