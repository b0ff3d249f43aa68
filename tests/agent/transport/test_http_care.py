"""jackstay_agent.transport.http_care: a pool's connections are warm, proved alive, and replaced before they go."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any

import pytest

from jackstay_agent.core.pool import PoolSettings
from jackstay_agent.transport import http_care
from jackstay_agent.transport.dial import DialError, dial
from jackstay_agent.transport.dial import resolve as resolve_system
from jackstay_agent.transport.endpoint import Endpoint
from jackstay_agent.transport.http import HttpAnswer, HttpFailure, HttpPool
from jackstay_protocols.clock import boot_s
from jackstay_protocols.errors import Reason

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The care's second, shortened."""
    monkeypatch.setattr(http_care, "LOOK_S", 0.02)


async def serve_ok(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while True:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(OK)


class Server:
    """``talk`` handles one connection; all of them end with the server."""

    def __init__(self, talk: Talk, host: str = "127.0.0.1") -> None:
        self._talk = talk
        self._host = host
        self._writers: set[asyncio.StreamWriter] = set()
        self.port = 0

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await self._talk(reader, writer)
        writer.close()

    async def __aenter__(self) -> Server:
        self._server = await asyncio.start_server(self._serve, self._host)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()


@asynccontextmanager
async def pool_for(
    server: Server,
    *,
    host: str = "127.0.0.1",
    resolve: Callable[..., Awaitable[Any]] = resolve_system,
    probe_path: str = "",
    is_open: Callable[[], bool] = lambda: True,
    **settings: Any,
) -> AsyncIterator[HttpPool]:
    pool = HttpPool(
        Endpoint.parse(f"http://{host}:{server.port}"),
        PoolSettings(**settings),
        loop=asyncio.get_running_loop(),
        clock=boot_s,
        random=random.Random(1),
        dial=dial,
        resolve=resolve,
        probe_path=probe_path,
        is_open=is_open,
    )
    try:
        yield pool
    finally:
        await pool.close(0.5)


async def ask(pool: HttpPool) -> HttpAnswer | HttpFailure:
    done: asyncio.Future[HttpAnswer | HttpFailure] = asyncio.get_running_loop().create_future()
    pool.submit(b"GET", b"/", [], b"", deadline_at=boot_s() + 3.0, done=done.set_result, idempotent=True)
    return await asyncio.wait_for(done, 5)


def answer(result: HttpAnswer | HttpFailure) -> HttpAnswer:
    assert isinstance(result, HttpAnswer), f"{result.cause}: {result.detail}"
    return result


async def until(condition: Callable[[], bool], limit_s: float = 5.0) -> None:
    async with asyncio.timeout(limit_s):
        while not condition():
            await asyncio.sleep(0.005)


@pytest.mark.asyncio
async def test_the_pool_is_warm_before_the_first_request() -> None:
    """warm() opens the minimum; the first request then dials nothing."""
    async with Server(serve_ok) as server, pool_for(server, connections_min=2) as pool:
        await pool.warm()
        assert (pool.status()["ready"], pool.status()["dials"]) == (2, 2)
        answer(await ask(pool))
        assert pool.status()["dials"] == 2


@pytest.mark.serial  # the successor has a twentieth of a lifetime to come up
@pytest.mark.asyncio
async def test_a_connection_is_replaced_before_it_goes() -> None:
    """Near its lifetime a successor is up first: there are never fewer than the minimum, and no request fails."""
    async with Server(serve_ok) as server, pool_for(server, connections_min=1, lifetime_s=1.0) as pool:
        await pool.warm()
        fewest, done = 9, 0
        async with asyncio.timeout(20):
            while pool.status()["replaced"] < 3:
                fewest = min(fewest, pool.status()["live"])
                answer(await ask(pool))
                done += 1
                await asyncio.sleep(0.002)
        assert fewest >= 1
        assert pool.status()["failures"] == 0
        assert done > 50


@pytest.mark.asyncio
async def test_what_is_under_way_on_an_old_connection_is_seen_through() -> None:
    """A drained connection delivers its answer, then closes; nobody is dropped."""
    release = asyncio.Event()

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                await reader.readuntil(b"\r\n\r\n")
                await release.wait()
                writer.write(OK)

    async with Server(slow) as server, pool_for(server, connections_min=1) as pool:
        under_way = asyncio.ensure_future(ask(pool))
        await until(lambda: pool.status()["busy"] == 1)
        assert pool.care.drain() == 1
        await until(lambda: pool.status()["replaced"] == 1)
        assert pool.status()["live"] == 2
        release.set()
        assert answer(await under_way).status == 200
        await until(lambda: pool.status()["live"] == 1)


@pytest.mark.asyncio
async def test_a_kept_connection_is_probed_and_a_dead_one_replaced() -> None:
    """Idle for probe_s it is asked the profile's question; without an answer it is given up for another."""
    probes: list[bytes] = []

    async def server_script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                probes.append(head.split(b"\r\n")[0])
                writer.write(OK)

    async with Server(server_script) as server, pool_for(server, probe_path="/ping", probe_s=0.1) as pool:
        await pool.warm()
        await until(lambda: pool.status()["probes"] >= 2)
        assert set(probes) == {b"GET /ping HTTP/1.1"}
        assert pool.status()["live"] == 1
        assert pool.status()["loss"] == 0.0


@pytest.mark.asyncio
async def test_a_probe_without_answer_ends_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """A line that swallows the probe is closed on the probe, not on the next order; loss and quality say so."""
    monkeypatch.setattr(http_care, "PROBE_WITHIN_S", 0.1)

    async def swallow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while await reader.read(65536):
                pass

    async with Server(swallow) as server, pool_for(server, probe_path="/ping", probe_s=0.05) as pool:
        await pool.warm()
        await until(lambda: pool.status()["probes"] >= 2)
        assert pool.status()["dials"] >= 2
        assert pool.status()["loss"] == 1.0
        assert pool.status()["quality"] == 0.0


@pytest.mark.asyncio
async def test_outside_the_markets_hours_nothing_is_kept_open() -> None:
    """A closed market's pool holds no minimum; a request is served as ever."""
    open_now = True
    async with Server(serve_ok) as server, pool_for(server, idle_s=0.05, is_open=lambda: open_now) as pool:
        await pool.warm()
        await asyncio.sleep(0.2)
        assert pool.status()["live"] == 1
        open_now = False
        await until(lambda: pool.status()["live"] == 0)
        answer(await ask(pool))


@pytest.mark.asyncio
async def test_a_name_that_moved_takes_its_connections_along() -> None:
    """Looked up again, the name shows another address: connections there replace those to the one that left."""
    addresses = [(socket.AF_INET, "127.0.0.1", 0)]

    async def resolve(_host: str, port: int) -> list[Any]:
        return [(family, address, port) for family, address, _ in addresses]

    async with (
        Server(serve_ok, "0.0.0.0") as server,
        pool_for(server, host="venue.test", resolve=resolve, resolve_interval_s=0.02) as pool,
    ):
        await pool.warm()
        assert {each.peer_address for each in pool.live} == {"127.0.0.1"}
        addresses[:] = [(socket.AF_INET, "127.0.0.2", 0)]
        await until(lambda: {each.peer_address for each in pool.live} == {"127.0.0.2"})
        assert pool.status()["replaced"] == 1


@pytest.mark.asyncio
async def test_a_resolver_that_fails_stops_no_dial() -> None:
    """While names do not resolve the address known before is dialled, and counted as stale."""
    works = True

    async def resolve(_host: str, port: int) -> list[Any]:
        if not works:
            raise DialError(Reason.DNS, "the resolver is away")
        return [(socket.AF_INET, "127.0.0.1", port)]

    async with Server(serve_ok) as server, pool_for(server, host="venue.test", resolve=resolve) as pool:
        await pool.warm()
        works = False
        for each in list(pool.live):
            each.close()
        answer(await ask(pool))
        assert pool.status()["dns_stale"] >= 1


@pytest.mark.asyncio
async def test_connections_are_bound_to_the_local_address() -> None:
    """A machine with several addresses dials from the one that was configured."""
    seen: list[str] = []

    async def note(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(writer.get_extra_info("peername")[0])
        await serve_ok(reader, writer)

    async with Server(note) as server, pool_for(server, local_address="127.0.0.7") as pool:
        answer(await ask(pool))
    assert seen == ["127.0.0.7"]
