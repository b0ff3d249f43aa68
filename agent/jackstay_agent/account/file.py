"""The account's evidence on the disk: one SQLite file beside the outbox, used by one worker thread only.

The loop never touches the connection: it hands work to ``run`` and hears the answer later. Fills are unique by venue,
symbol and trade id in the file itself, so "new" is the file's word, also across restarts; a fill that its bot has yet
to hear of keeps that mark until the bot acknowledges it. Everything is bounded by age and by count.

It is a cache: a damaged row is put out and counted, a damaged file is set aside, and the venue is asked again. Where
the disk refuses, the agent goes on without the file and says so (`fault`).
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import Any, Final, TypeVar

from ..core.account import Fill, Order
from ..outbox.schema import set_aside
from . import rows

T = TypeVar("T")
#: Runs work on the one thread that owns the connection.
Submit = Callable[[Callable[[], Any]], "Future[Any]"]

APPLICATION_ID: Final = 0x4A_53_41_43  # "JSAC"
SCHEMA_VERSION: Final = 1
OVER_LOADED: Final = 1_000  # latest ended orders that are kept in memory
CACHE: Final = "cache_size=-256"  # KB; its readers walk once over everything, which no cache helps
TABLES: Final = (
    """CREATE TABLE orders (number INTEGER PRIMARY KEY, venue TEXT NOT NULL, client_id TEXT NOT NULL,
    venue_id TEXT NOT NULL, over INTEGER NOT NULL, wall REAL NOT NULL, row BLOB NOT NULL, sum INTEGER NOT NULL)""",
    "CREATE INDEX orders_client ON orders (venue, client_id)",
    "CREATE INDEX orders_venue ON orders (venue, venue_id)",
    "CREATE INDEX orders_over ON orders (over, wall)",
    """CREATE TABLE fills (number INTEGER PRIMARY KEY AUTOINCREMENT, venue TEXT NOT NULL, symbol TEXT NOT NULL,
    trade_id TEXT NOT NULL, venue_id TEXT NOT NULL, bot_id TEXT NOT NULL, told INTEGER NOT NULL, wall REAL NOT NULL,
    row BLOB NOT NULL, sum INTEGER NOT NULL, UNIQUE (venue, symbol, trade_id, venue_id))""",
    "CREATE INDEX fills_told ON fills (told, bot_id) WHERE told IN (1, 2)",
    "CREATE INDEX fills_order ON fills (venue, venue_id)",
    "CREATE TABLE marks (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID",
    """CREATE TABLE results (number INTEGER PRIMARY KEY AUTOINCREMENT, wall REAL NOT NULL, row BLOB NOT NULL,
    sum INTEGER NOT NULL)""",
    "CREATE INDEX results_wall ON results (wall)",
)


THIS_FILL: Final = "venue=? AND symbol=? AND trade_id=? AND venue_id=?"


class Told(IntEnum):
    """What became of a fill on its way to the bot. The numbers are in the file: never renumber."""

    NO = 0  # nothing to tell: its bot saw it, or it is nobody's here
    JUDGE = 1  # written down and not judged yet
    TELL = 2  # to be told until acknowledged
    DONE = 3  # acknowledged


@dataclass(slots=True)
class Loaded:
    """What a start finds: ``orders`` by number, what is to be judged, how many rows were damaged."""

    orders: dict[int, Order] = field(default_factory=dict)
    to_judge: list[Fill] = field(default_factory=list)
    marks: dict[str, int] = field(default_factory=dict)
    damaged: int = 0
    set_aside: str = ""


class AccountFile:
    """``submit`` owns the thread. Calls give futures; their errors are sqlite3.Error."""

    def __init__(self, path: Path, connect: Callable[..., sqlite3.Connection], submit: Submit, stamp: str) -> None:
        self._path = path
        self._connect = connect
        self._submit = submit
        self._stamp = stamp
        self._conn: sqlite3.Connection | None = None

    def open(self) -> Future[Loaded]:
        return self._submit(self._open)

    def write_orders(self, orders: Sequence[tuple[int, Order]], wall: float) -> Future[None]:
        def work() -> None:
            values = []
            for number, each in orders:
                row, total = rows.write_order(each)
                values.append((number, each.venue, each.client_id, each.venue_id, not each.live, wall, row, total))
            with self._transaction() as conn:
                conn.executemany("INSERT OR REPLACE INTO orders VALUES (?,?,?,?,?,?,?,?)", values)

        return self._submit(work)

    def find_order(self, venue: str, client_id: str, venue_id: str) -> Future[Order | None]:
        """The newest order of that client id or venue id, also one that is long over."""

        def work() -> Order | None:
            for column, value in (("venue_id", venue_id), ("client_id", client_id)):
                if not value:
                    continue
                query = f"SELECT row, sum FROM orders WHERE venue=? AND {column}=? ORDER BY number DESC LIMIT 1"
                found = self._open_conn().execute(query, (venue, value)).fetchone()
                if found is not None:
                    try:
                        return rows.read_order(*found)
                    except rows.DamagedRow:
                        return None
            return None

        return self._submit(work)

    def add_fills(self, fills: Sequence[Fill], told: Told, wall: float) -> Future[list[Fill]]:
        """Write them down; the ones that were not there before. Each is safe when this has answered."""

        def work() -> list[Fill]:
            new = []
            with self._transaction() as conn:
                for each in fills:
                    row, total = rows.write_fill(each)
                    added = conn.execute(
                        "INSERT OR IGNORE INTO fills (venue, symbol, trade_id, venue_id, bot_id, told, wall, row, sum)"
                        " VALUES (?,?,?,?,?,?,?,?,?)",
                        (*each.key, each.bot_id, int(told), wall, row, total),
                    ).rowcount
                    if added:
                        new.append(each)
            return new

        return self._submit(work)

    def judged(self, fills: Iterable[tuple[Fill, Told]]) -> Future[None]:
        """What was decided about fills that waited for a judgement; their owner is known now."""

        def work() -> None:
            with self._transaction() as conn:
                for fill, told in fills:
                    row, total = rows.write_fill(fill)
                    conn.execute(
                        f"UPDATE fills SET told=?, bot_id=?, row=?, sum=? WHERE {THIS_FILL} AND told=?",
                        (int(told), fill.bot_id, row, total, *fill.key, int(Told.JUDGE)),
                    )

        return self._submit(work)

    def heard_elsewhere(self, fills: Sequence[Fill]) -> Future[None]:
        """The bot's own traffic shows them: what still waits for a judgement needs none."""

        def work() -> None:
            with self._transaction() as conn:
                conn.executemany(
                    f"UPDATE fills SET told=? WHERE {THIS_FILL} AND told=?",
                    [(int(Told.NO), *each.key, int(Told.JUDGE)) for each in fills],
                )

        return self._submit(work)

    def uncollected(self, bot_id: str, limit: int) -> Future[list[Fill]]:
        """Fills this bot has not acknowledged, oldest first."""

        def work() -> list[Fill]:
            found = self._open_conn().execute(
                "SELECT row, sum FROM fills WHERE told=? AND bot_id=? ORDER BY number LIMIT ?",
                (int(Told.TELL), bot_id, limit),
            )
            return [rows.read_fill(*each) for each in found]

        return self._submit(work)

    def ack(self, bot_id: str, keys: Sequence[tuple[str, str, str, str]]) -> Future[None]:
        """The bot's code has these fills (venue, symbol, trade id, order id)."""

        def work() -> None:
            with self._transaction() as conn:
                conn.executemany(
                    f"UPDATE fills SET told=? WHERE {THIS_FILL} AND bot_id=? AND told=?",
                    [(int(Told.DONE), *key, bot_id, int(Told.TELL)) for key in keys],
                )

        return self._submit(work)

    def filled(self, venue: str, symbol: str, venue_id: str) -> Future[list[Fill]]:
        """All fills kept of one order."""

        def work() -> list[Fill]:
            query = "SELECT row, sum FROM fills WHERE venue=? AND venue_id=? AND symbol=?"
            return [rows.read_fill(*each) for each in self._open_conn().execute(query, (venue, venue_id, symbol))]

        return self._submit(work)

    def mark(self, name: str, value: int) -> Future[None]:
        def work() -> None:
            with self._transaction() as conn:
                conn.execute("INSERT OR REPLACE INTO marks VALUES (?,?)", (name, value))

        return self._submit(work)

    def add_result(self, result: dict[str, Any], wall: float) -> Future[None]:
        def work() -> None:
            row, total = rows.write_result(result)
            with self._transaction() as conn:
                conn.execute("INSERT INTO results (wall, row, sum) VALUES (?,?,?)", (wall, row, total))

        return self._submit(work)

    def results(self, since_wall: float, limit: int) -> Future[list[dict[str, Any]]]:
        """Newest first."""

        def work() -> list[dict[str, Any]]:
            query = "SELECT row, sum FROM results WHERE wall>=? ORDER BY number DESC LIMIT ?"
            return [rows.read_result(*each) for each in self._open_conn().execute(query, (since_wall, limit))]

        return self._submit(work)

    def check_rows(self, after: int, limit: int) -> Future[tuple[int, list[str]]]:
        """Checksums of the next ``limit`` orders: the last number looked at (0: the end), and what is damaged."""

        def work() -> tuple[int, list[str]]:
            query = "SELECT number, client_id, row, sum FROM orders WHERE number>? ORDER BY number LIMIT ?"
            found = self._open_conn().execute(query, (after, limit)).fetchall()
            damaged = []
            for number, client_id, row, total in found:
                if not rows.is_whole(row, total):
                    damaged.append(client_id or str(number))
            return (found[-1][0] if len(found) == limit else 0), damaged

        return self._submit(work)

    def drop_damaged(self) -> Future[int]:
        """Put out rows that cannot be read; the venue is asked again. How many."""

        def work() -> int:
            return len(self._put_out(self._open_conn()))

        return self._submit(work)

    def compact(self, before_wall: float, rows_max: int) -> Future[int]:
        """Forget what is over and old, and what is over beyond the bound; uncollected fills only by age."""

        def work() -> int:
            gone = 0
            with self._transaction() as conn:
                gone += conn.execute("DELETE FROM orders WHERE over=1 AND wall<?", (before_wall,)).rowcount
                gone += conn.execute("DELETE FROM fills WHERE wall<?", (before_wall,)).rowcount
                gone += conn.execute("DELETE FROM results WHERE wall<?", (before_wall,)).rowcount
                for table, rest in (("orders", "over=1"), ("fills", "told IN (0,3)"), ("results", "1")):
                    count = conn.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
                    if count > rows_max:
                        gone += conn.execute(
                            f"DELETE FROM {table} WHERE number IN (SELECT number FROM {table} WHERE {rest}"
                            " ORDER BY wall, number LIMIT ?)",
                            (count - rows_max,),
                        ).rowcount
            self._open_conn().execute("PRAGMA wal_checkpoint(TRUNCATE)")
            return gone

        return self._submit(work)

    def close(self) -> Future[None]:
        def work() -> None:
            if self._conn is not None:
                self._conn.close()
                self._conn = None

        return self._submit(work)

    # ---- on the worker

    def _open_conn(self) -> sqlite3.Connection:
        if self._conn is None:
            raise sqlite3.OperationalError("the account's file is not open")
        return self._conn

    def _transaction(self) -> _Transaction:
        return _Transaction(self._open_conn())

    def _open(self) -> Loaded:
        loaded = Loaded()
        try:
            self._conn = self._prepared()
        except sqlite3.DatabaseError as error:
            if getattr(error, "sqlite_errorcode", 0) & 0xFF not in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
                raise
            loaded.set_aside = str(set_aside(self._path, self._stamp))
            self._conn = self._prepared()
        conn = self._conn
        loaded.damaged = len(self._put_out(conn))
        loaded.marks = dict(conn.execute("SELECT name, value FROM marks"))
        live = "SELECT number, row, sum FROM orders WHERE over=0"
        over = f"SELECT number, row, sum FROM orders WHERE over=1 ORDER BY wall DESC LIMIT {OVER_LOADED}"
        for query in (live, over):
            for number, row, total in conn.execute(query):
                loaded.orders[number] = rows.read_order(row, total)
        for row, total in conn.execute("SELECT row, sum FROM fills WHERE told=?", (int(Told.JUDGE),)):
            loaded.to_judge.append(rows.read_fill(row, total))
        return loaded

    def _prepared(self) -> sqlite3.Connection:
        # before SQLite makes it: an account is nobody else's business
        os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        conn = self._connect(str(self._path), timeout=0, isolation_level=None, check_same_thread=False)
        try:
            for pragma in (
                "locking_mode=EXCLUSIVE",
                "journal_mode=WAL",
                "synchronous=NORMAL",
                "trusted_schema=OFF",
                CACHE,
            ):
                conn.execute(f"PRAGMA {pragma}")
            if conn.execute("PRAGMA quick_check(1)").fetchone()[0] != "ok":
                raise _corrupt("the page check found errors")
            version = conn.execute("PRAGMA user_version").fetchone()[0]
            if version == 0 and not conn.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                conn.execute("BEGIN EXCLUSIVE")
                for statement in TABLES:
                    conn.execute(statement)
                conn.execute(f"PRAGMA application_id={APPLICATION_ID}")
                conn.execute(f"PRAGMA user_version={SCHEMA_VERSION}")
                conn.execute("COMMIT")
            elif conn.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID or version != SCHEMA_VERSION:
                raise _corrupt("it is a file of something else, or of another version")
        except BaseException:
            conn.close()
            raise
        return conn

    def _put_out(self, conn: sqlite3.Connection) -> list[tuple[str, int]]:
        """Rows whose bytes are not what was written: out, so that nothing believes them."""
        damaged = [
            (table, number)
            for table in ("orders", "fills", "results")
            for number, row, total in conn.execute(f"SELECT number, row, sum FROM {table}")
            if not rows.is_whole(row, total)
        ]
        if damaged:
            with _Transaction(conn):
                for table, number in damaged:
                    conn.execute(f"DELETE FROM {table} WHERE number=?", (number,))
                if any(table == "fills" for table, _number in damaged):
                    conn.execute("DELETE FROM marks WHERE name LIKE 'fills %'")  # they are pulled again, from the start
        return damaged


class _Transaction:
    """All or nothing."""

    def __init__(self, conn: sqlite3.Connection) -> None:
        self._conn = conn

    def __enter__(self) -> sqlite3.Connection:
        self._conn.execute("BEGIN IMMEDIATE")
        return self._conn

    def __exit__(self, kind: type[BaseException] | None, *_rest: object) -> None:
        self._conn.execute("COMMIT" if kind is None else "ROLLBACK")


def _corrupt(words: str) -> sqlite3.DatabaseError:
    error = sqlite3.DatabaseError(words)
    error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
    return error
