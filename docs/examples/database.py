"""A bot's own database module: PostgreSQL behind a breaker, an error handler, a recovery and bounded retries.

    DATABASE_URL=postgresql://bot@localhost/trades python database.py

What it shows, from the inside out, on `TradeStore.record_fill`:

* errors are *translated* first, `raise ... from`, into what the caller has to do: `DatabaseUnavailable` (come back
  later), `DatabaseConflict` (try again), `DataRejected` (mend your data). The driver's own error stays as `__cause__`;
* `error_handler_decorator` records it and asks the recovery scenario to reconnect; recovered, one more call;
* the breaker `database_connections` stands *around* that: while it is open nobody dials, nobody recovers, nothing is
  logged a thousand times. Only an unreachable database counts, a refused row does not;
* `retry` stands around the breaker; an open breaker's refusal ends it at once.

A COMMIT whose answer is lost may or may not have happened. So a fill has a key, and fill and position change in one
transaction, the position only if the fill is new: twice does no more than once, which is what makes `idempotent=True`
and the retries true.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import psycopg

from jackstay_agent import (
    CircuitOpenError,
    Config,
    ErrorHandler,
    ErrorSeverity,
    HalfOpenFullError,
    NetworkDisconnectionRecovery,
    circuit_breaker,
    error_handler_decorator,
    get_logger,
    retry,
    time_execution,
)
from jackstay_protocols.errors import DataError

CONNECTIONS = 4  # a bot writes little; more would only queue inside the server
CALL_S = 5.0  # no statement of a bot takes longer; a hung database must not hang the bot
CONNECT_S = 3
PAUSE_S = 0.1
BACKLOG_MAX = 10_000  # fills kept in memory while the database is away

# Short: the caller of a broken call waits for it, and the breaker decides what comes after.
RECOVERY = Config.from_toml("[recovery.network_disconnection]\nwithin_s = 5\nretry_s = 0.5\n")

SCHEMA = """
create table if not exists fills (
    fill_id text primary key, symbol text not null, quantity numeric not null check (quantity <> 0),
    price numeric not null check (price > 0));
create table if not exists positions (symbol text primary key, quantity numeric not null)
"""
NEW_FILL = "insert into fills values (%s, %s, %s, %s) on conflict (fill_id) do nothing"
MOVE = """insert into positions values (%s, %s)
on conflict (symbol) do update set quantity = positions.quantity + excluded.quantity"""

log = get_logger("bot.database")


class DatabaseUnavailable(DataError):
    """No database, or none that answers in time. Whether a commit under way happened is not known."""

    default_severity = ErrorSeverity.HIGH


class DatabaseConflict(DataError):
    """Two transactions met and this one gave way: nothing happened, try again."""


class DataRejected(DataError):
    """The database works and refuses these data."""


def translated(error: Exception) -> DataError:
    """What the driver says, as what the caller has to do."""
    facts = {"sqlstate": getattr(error, "sqlstate", None) or ""}
    what = f"{type(error).__name__}: {error}".strip()
    if isinstance(error, psycopg.errors.SerializationFailure | psycopg.errors.DeadlockDetected):
        return DatabaseConflict(what, details=facts)
    if isinstance(error, psycopg.OperationalError | psycopg.InterfaceError | OSError):  # TimeoutError is an OSError
        return DatabaseUnavailable(what, details=facts)
    return DataRejected(what, details=facts)


@dataclass(frozen=True, slots=True)
class Fill:
    fill_id: str  # the venue's trade id: the same fill reported twice is one fill
    symbol: str
    quantity: Decimal  # signed: bought is positive
    price: Decimal


class Connections:
    """At most ``size`` connections, dialled when needed. One that broke, or whose call was cancelled, is not reused."""

    def __init__(self, url: str, size: int = CONNECTIONS) -> None:
        self._url = url
        self._slots: asyncio.LifoQueue[psycopg.AsyncConnection[Any] | None] = asyncio.LifoQueue(size)
        self.dials = 0
        for _ in range(size):
            self._slots.put_nowait(None)

    @asynccontextmanager
    async def lend(self) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
        slot = await self._slots.get()
        try:
            if slot is None or slot.closed:
                slot = await self._dial()
            yield slot
        except BaseException as error:
            if slot is not None and not isinstance(error, psycopg.IntegrityError | psycopg.DataError):
                await slot.close()
            raise
        finally:
            self._slots.put_nowait(slot)

    async def _dial(self) -> psycopg.AsyncConnection[Any]:
        self.dials += 1
        return await psycopg.AsyncConnection.connect(
            self._url,
            autocommit=True,  # transactions are written out below
            connect_timeout=CONNECT_S,
            options=f"-c statement_timeout={int(CALL_S * 1000)}",
            keepalives_idle=10,  # a peer that went without a word is noticed
            tcp_user_timeout=10_000,
        )

    async def close(self) -> None:
        """Drop what is idle: after a restart every connection is dead, not only the one that noticed."""
        idle = [self._slots.get_nowait() for _ in range(self._slots.qsize())]
        try:
            for slot in idle:
                if slot is not None:
                    await slot.close()
        finally:
            for _ in idle:
                self._slots.put_nowait(None)


class Reconnect:
    """What NetworkDisconnectionRecovery may ask of a database: drop the dead connections and get an answer."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    async def reconnect(self, what: str) -> bool:
        await self._connections.close()
        async with asyncio.timeout(CALL_S), self._connections.lend() as connection:
            return await (await connection.execute("select 1")).fetchone() == (1,)


class TradeStore:
    """Fills and positions of one bot. ``config``: breaker, retries and severities of its [errors] section."""

    def __init__(self, config: Config, url: str, handler: ErrorHandler | None = None) -> None:
        self.connections = Connections(url)
        self.handler = handler or ErrorHandler(config)
        self.breaker = self.handler.circuit_breaker("database_connections", failures=(DatabaseUnavailable,))
        policy = self.handler.settings.retry.policy("database")
        reconnect = NetworkDisconnectionRecovery(RECOVERY, actions=Reconnect(self.connections))

        def protect(method: Any) -> Any:
            handled = error_handler_decorator(config, "database", reconnect, idempotent=True, handler=self.handler)
            guarded = circuit_breaker(handled(method), breaker=self.breaker)
            return time_execution(
                retry(guarded, on=(DatabaseUnavailable, DatabaseConflict), policy=policy), warn_over_s=1.0
            )

        # Decorated per store, because a breaker belongs to one database and not to the class.
        self.record_fill = protect(self._record_fill)
        self.position = protect(self._position)
        self.create = protect(self._create)

    @asynccontextmanager
    async def _session(self) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
        try:
            async with asyncio.timeout(CALL_S), self.connections.lend() as connection:
                yield connection
        except (psycopg.Error, OSError) as error:
            raise translated(error) from error

    async def _create(self) -> None:
        async with self._session() as connection:
            await connection.execute(SCHEMA)

    async def _record_fill(self, fill: Fill) -> bool:
        """True if it was new. Safe to call again with the same fill."""
        async with self._session() as connection, connection.transaction():
            row = (fill.fill_id, fill.symbol, fill.quantity, fill.price)
            new = (await connection.execute(NEW_FILL, row)).rowcount == 1
            if new:
                await connection.execute(MOVE, (fill.symbol, fill.quantity))
            return new

    async def _position(self, symbol: str) -> Decimal:
        async with self._session() as connection:
            row = await (
                await connection.execute("select quantity from positions where symbol = %s", (symbol,))
            ).fetchone()
            return Decimal(0) if row is None else Decimal(row[0])

    async def close(self) -> None:
        await self.connections.close()


class FillWriter:
    """Takes fills at once, writes them when the database lets it. What the database refuses is put aside, not lost."""

    def __init__(self, store: TradeStore) -> None:
        self._store = store
        self._fills: asyncio.Queue[Fill] = asyncio.Queue(BACKLOG_MAX)
        self.refused: deque[tuple[Fill, DataRejected]] = deque(maxlen=1000)

    def take(self, fill: Fill) -> None:
        """Raises asyncio.QueueFull: then stop trading, for nobody would know your position."""
        self._fills.put_nowait(fill)

    async def run(self) -> None:
        """Write until cancelled. What is not written then is only in memory: ask the venue for its fills at the start;
        those that are known already change nothing.
        """
        while True:
            fill = await self._fills.get()
            await self._write(fill)
            self._fills.task_done()

    async def written(self) -> None:
        """Wait until everything taken so far is written or put aside."""
        await self._fills.join()

    async def _write(self, fill: Fill) -> None:
        while True:
            try:
                await self._store.record_fill(fill)
                return
            except DataRejected as error:
                self.refused.append((fill, error))
                log.error("fill.refused", fill_id=fill.fill_id, symbol=fill.symbol)
                return
            except CircuitOpenError as refusal:
                await asyncio.sleep(refusal.retry_after_s or PAUSE_S)
            except (HalfOpenFullError, DatabaseUnavailable, DatabaseConflict):
                # A probe is under way (its retry_after_s is the longest it may take), or the retries are used up: look
                # again soon, for as long as it is bad the breaker turns this into long waits.
                await asyncio.sleep(PAUSE_S)


async def main() -> int:
    url = os.environ.get("DATABASE_URL")
    if not url:
        print("DATABASE_URL is not set; postgresql://user@host/database is expected", file=sys.stderr)
        return 2
    store = TradeStore(Config(), url)
    writer = FillWriter(store)
    await store.create()
    running = asyncio.create_task(writer.run())
    writer.take(Fill("demo-1", "BTCUSDT", Decimal("0.001"), Decimal("50000")))
    await writer.written()
    print("position", await store.position("BTCUSDT"), "breakers", store.handler.get_circuit_breaker_status())
    running.cancel()
    await store.close()
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
