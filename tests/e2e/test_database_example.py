"""docs/examples/database.py against a real PostgreSQL that is restarted, crashed and stopped under load."""

from __future__ import annotations

import asyncio
import importlib.util
import sys
from collections.abc import AsyncIterator, Awaitable, Iterator
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from harness import child_env
from jackstay_agent import CircuitOpenError, Config, ErrorHandler, ErrorSeverity
from jackstay_agent.core.breaker import BreakerState
from jackstay_agent.error_handler import context_of
from postgres import PostgresServer, why_not

pytestmark = [
    pytest.mark.skipif(bool(why_not()), reason=why_not() or "-"),
    pytest.mark.skipif(importlib.util.find_spec("psycopg") is None, reason="psycopg is not installed"),
]
#: The shipped breaker of this name stays open for a minute; a test has less time. All the rest of it is as shipped.
PATIENT = "[errors.retry.policies.database.backoff]\nbase_s = 0.05\n"
QUICK = Config.from_toml(PATIENT + "[errors.breakers.database_connections]\nopen_s = 0.2\n")


def load() -> ModuleType:
    path = Path(__file__).resolve().parents[2] / "docs" / "examples" / "database.py"
    spec = importlib.util.spec_from_file_location("example_database", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def example() -> ModuleType:
    return load()


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with PostgresServer() as running:
        yield running


@asynccontextmanager
async def opened(example: ModuleType, server: PostgresServer, config: Config = QUICK) -> AsyncIterator[Any]:
    """A store with empty tables."""
    store = example.TradeStore(config, server.url, ErrorHandler(config, log=False))
    try:
        await store.create()
        async with store.connections.lend() as connection:
            await connection.execute("truncate fills, positions")
        yield store
    finally:
        await store.close()


async def rows(store: Any, statement: str) -> list[tuple[Any, ...]]:
    async with store.connections.lend() as connection:
        return await (await connection.execute(statement)).fetchall()


def fills(example: ModuleType, name: str, count: int) -> list[Any]:
    symbols = ("BTCUSDT", "ETHUSDT")
    return [
        example.Fill(f"{name}-{n}", symbols[n % 2], Decimal("0.001") * (1 if n % 3 else -1), Decimal(100 + n))
        for n in range(count)
    ]


async def in_time(waited: Awaitable[Any], limit_s: float = 40.0) -> Any:
    return await asyncio.wait_for(waited, limit_s)


async def until(fact: Any, limit_s: float = 20.0) -> None:
    """Look every few milliseconds; for facts that announce themselves to nobody."""
    async with asyncio.timeout(limit_s):
        while not fact():
            await asyncio.sleep(0.005)


@pytest.mark.asyncio
@pytest.mark.parametrize("mode", ["fast", "immediate"])
async def test_a_restart_under_load_loses_no_fill_and_doubles_none(
    example: ModuleType, server: PostgresServer, mode: str
) -> None:
    """Eight writers, a database that goes and returns: each fill once, positions their sum, breaker shut again."""
    async with opened(example, server) as store:
        everything = [fills(example, f"w{n}", 150) for n in range(8)]
        writers = [example.FillWriter(store) for _ in everything]
        tasks = [asyncio.create_task(writer.run()) for writer in writers]

        async def feed() -> None:
            for batch in zip(*everything, strict=True):
                for writer, fill in zip(writers, batch, strict=True):
                    writer.take(fill)
                await asyncio.sleep(0.002)

        feeding = asyncio.create_task(feed())
        await asyncio.sleep(0.05)  # in the middle of the load
        assert not feeding.done()
        await asyncio.to_thread(server.stop, mode)
        await in_time(until(lambda: store.breaker.state is BreakerState.OPEN))
        dials, refused = store.connections.dials, store.breaker.counts
        await asyncio.sleep(0.5)  # down for two open times and a half: a few probes, no storm of dials
        assert store.connections.dials - dials <= 12, refused
        await in_time(feeding)
        await asyncio.to_thread(server.start)
        await in_time(asyncio.gather(*(writer.written() for writer in writers)))

        taken = [fill for batch in everything for fill in batch]
        assert await rows(store, "select count(*), count(distinct fill_id) from fills") == [(len(taken), len(taken))]
        for symbol in ("BTCUSDT", "ETHUSDT"):
            expected = sum((fill.quantity for fill in taken if fill.symbol == symbol), Decimal(0))
            assert await store.position(symbol) == expected
        assert not any(writer.refused for writer in writers)
        assert store.handler.get_circuit_breaker_status()["database_connections"] == "closed"
        assert "database:DatabaseUnavailable" in store.handler.get_error_patterns()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@pytest.mark.asyncio
async def test_a_quick_restart_is_recovered_from_inside_one_call(example: ModuleType, server: PostgresServer) -> None:
    """All pooled connections are dead, the database is back: the caller notices nothing, the recovery is told."""
    async with opened(example, server) as store:
        told: list[str] = []
        store.handler.on_event = lambda event: told.append(event.kind)
        several = fills(example, "q", 8)
        await asyncio.gather(*(store.record_fill(fill) for fill in several[:6]))  # fills the pool
        await asyncio.to_thread(server.stop)
        await asyncio.to_thread(server.start)
        assert await in_time(store.record_fill(several[6])) is True
        assert "recovered" in told
        assert store.breaker.state is BreakerState.CLOSED
        assert await in_time(store.record_fill(several[6])) is False, "the same fill is one fill"


@pytest.mark.asyncio
async def test_while_it_is_down_calls_fail_at_once_and_say_why(example: ModuleType, server: PostgresServer) -> None:
    """The first errors keep the driver's word as their cause; then the breaker refuses without dialling."""
    async with opened(example, server, Config.from_toml(PATIENT)) as store:
        await asyncio.to_thread(server.stop)
        try:
            with pytest.raises((example.DatabaseUnavailable, CircuitOpenError)) as caught:
                await in_time(store.position("BTCUSDT"))
            first = caught.value
            while store.breaker.state is not BreakerState.OPEN:
                with pytest.raises((example.DatabaseUnavailable, CircuitOpenError)):
                    await in_time(store.position("BTCUSDT"))
            errors = store.handler.recent_errors(component="database")
            assert {error.severity for error in errors} == {ErrorSeverity.HIGH}
            dials, recorded = store.connections.dials, len(errors)
            for _ in range(200):
                with pytest.raises(CircuitOpenError) as refused:
                    await store.position("BTCUSDT")
                assert 0 < refused.value.retry_after_s <= 60.0
            assert store.connections.dials == dials
            assert len(store.handler.recent_errors(component="database")) == recorded
            if isinstance(first, example.DatabaseUnavailable):
                assert isinstance(first.__cause__, Exception)
                assert context_of(first) is not None
        finally:
            await asyncio.to_thread(server.start)


@pytest.mark.asyncio
async def test_refused_rows_trip_nothing_and_are_put_aside(example: ModuleType, server: PostgresServer) -> None:
    """A hundred rows the database refuses: not retried, the breaker closed, good rows around them written."""
    async with opened(example, server) as store:
        writer = example.FillWriter(store)
        running = asyncio.create_task(writer.run())
        for n in range(100):
            writer.take(example.Fill(f"bad-{n}", "BTCUSDT", Decimal(1), Decimal(-1)))
        good = fills(example, "good", 10)
        for fill in good:
            writer.take(fill)
        await in_time(writer.written())
        assert len(writer.refused) == 100
        fill, error = writer.refused[0]
        assert fill.fill_id == "bad-0"
        assert type(error.__cause__).__name__ == "CheckViolation"
        assert error.details["sqlstate"] == "23514"
        assert store.breaker.state is BreakerState.CLOSED
        assert await rows(store, "select count(*) from fills") == [(10,)]
        running.cancel()


@pytest.mark.asyncio
async def test_a_statement_that_hangs_ends_with_its_deadline(
    example: ModuleType, server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody holds a lock: the call ends as unavailable in its time, and the connection is not reused half-way."""
    monkeypatch.setattr(example, "CALL_S", 0.3)
    async with opened(example, server) as store, store.connections.lend() as other, other.transaction():
        await other.execute("lock table fills in access exclusive mode")
        with pytest.raises((example.DatabaseUnavailable, CircuitOpenError)):
            await in_time(store.record_fill(fills(example, "hang", 1)[0]), 20.0)
        assert "database:DatabaseUnavailable" in store.handler.get_error_patterns()


@pytest.mark.asyncio
async def test_a_cancelled_call_counts_nowhere_and_keeps_no_connection(
    example: ModuleType, server: PostgresServer
) -> None:
    """Cancellation passes untouched; nothing is recorded, the breaker stays as it is, all connections can be lent."""
    async with opened(example, server) as store:
        async with store.connections.lend() as other, other.transaction():
            await other.execute("lock table fills in access exclusive mode")
            waiting = [asyncio.create_task(store.record_fill(fill)) for fill in fills(example, "c", 3)]
            blocked = "select count(*) = 3 from pg_locks where not granted"
            async with asyncio.timeout(10):
                while await (await other.execute(blocked)).fetchone() != (True,):
                    await asyncio.sleep(0.01)
            for task in waiting:
                task.cancel()
            ended = await in_time(asyncio.gather(*waiting, return_exceptions=True))
            assert [type(each) for each in ended] == [asyncio.CancelledError] * 3
        assert store.handler.recent_errors() == []
        assert (store.breaker.counts["ignored"], store.breaker.counts["failed"]) == (3, 0)
        again = await in_time(asyncio.gather(*(store.record_fill(fill) for fill in fills(example, "d", 8))))
        assert again == [True] * 8
        assert await rows(store, "select count(*) from fills") == [(8,)]


@pytest.mark.asyncio
async def test_no_password_is_kept_or_logged(
    example: ModuleType, server: PostgresServer, capsys: pytest.CaptureFixture[str]
) -> None:
    """A wrong password is refused by the server; neither context, trace nor log line holds it."""
    wrong = "correct-horse-battery"
    store = example.TradeStore(QUICK, server.url_with(wrong))
    with pytest.raises((example.DatabaseUnavailable, CircuitOpenError)):
        await in_time(store.position("BTCUSDT"))
    recent = store.handler.recent_errors()
    assert recent
    assert wrong not in repr(recent)
    assert wrong not in capsys.readouterr().err
    await store.close()


@pytest.mark.asyncio
async def test_the_example_runs_as_a_program(server: PostgresServer) -> None:
    """It creates its tables, writes a fill once however often it runs, and says where it stands."""
    async with opened(load(), server):
        pass
    path = Path(__file__).resolve().parents[2] / "docs" / "examples" / "database.py"
    for _ in range(2):
        running = await asyncio.create_subprocess_exec(
            sys.executable,
            str(path),
            env=child_env() | {"DATABASE_URL": server.url},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await in_time(running.communicate())
        assert (running.returncode, err) == (0, b"")
        assert out.startswith(b"position 0.001 breakers")
