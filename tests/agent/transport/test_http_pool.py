"""The HTTP pool against servers that speak exact bytes: every trap of a client on a bare parser, and the promises."""

from __future__ import annotations

import asyncio
import gzip
import random
import ssl
import time
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trustme

from jackstay_agent.core.pool import PoolSettings
from jackstay_agent.transport.dial import dial, resolve
from jackstay_agent.transport.endpoint import Endpoint
from jackstay_agent.transport.http import HttpAnswer, HttpFailure, HttpPool
from jackstay_protocols.clock import boot_s
from jackstay_protocols.errors import Reason, ValidationError

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Server:
    """Counts connections and requests; ``talk`` handles one connection."""

    def __init__(self, talk: Talk) -> None:
        self.talk = talk
        self.connections = 0
        self.requests: list[bytes] = []
        self.port = 0
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.add(writer)
        try:
            await self.talk(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()
            self._writers.discard(writer)

    async def start(self, port: int = 0, context: ssl.SSLContext | None = None) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", port, ssl=context)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        for writer in list(self._writers):
            writer.transport.abort()

    async def read(self, reader: asyncio.StreamReader) -> bytes:
        """One request, head and body."""
        head = await reader.readuntil(b"\r\n\r\n")
        length = 0
        for line in head.split(b"\r\n"):
            if line.lower().startswith(b"content-length:"):
                length = int(line.partition(b":")[2])
        body = await reader.readexactly(length)
        self.requests.append(head + body)
        return head + body


def answering(answer: bytes, *, close: bool = False) -> Server:
    """Every request of a connection gets these bytes."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await server.read(reader)
            writer.write(answer)
            await writer.drain()
            if close:
                return

    server = Server(talk)
    return server


@asynccontextmanager
async def pool_for(server: Server | int, **options: Any) -> AsyncIterator[HttpPool]:
    port = server if isinstance(server, int) else server.port
    context = options.pop("ssl_context", None)
    endpoint = options.pop("endpoint", None) or Endpoint.parse(f"{'https' if context else 'http'}://127.0.0.1:{port}")
    pool = HttpPool(
        endpoint,
        PoolSettings(**({"connections_min": 0} | options)),
        loop=asyncio.get_running_loop(),
        clock=boot_s,
        random=random.Random(1),
        dial=dial,
        resolve=resolve,
        ssl_context=context,
    )
    try:
        yield pool
    finally:
        await pool.close(0.5)
        if isinstance(server, Server):
            await server.stop()


async def ask(
    pool: HttpPool,
    method: bytes = b"GET",
    *,
    target: bytes = b"/",
    headers: list[tuple[bytes, bytes]] | None = None,
    body: bytes = b"",
    within_s: float = 3.0,
    idempotent: bool | None = None,
) -> HttpAnswer | HttpFailure:
    done: asyncio.Future[HttpAnswer | HttpFailure] = asyncio.get_running_loop().create_future()
    pool.submit(
        method,
        target,
        headers or [],
        body,
        deadline_at=boot_s() + within_s,
        done=done.set_result,
        idempotent=method == b"GET" if idempotent is None else idempotent,
    )
    return await asyncio.wait_for(done, within_s + 2)


def answer(result: HttpAnswer | HttpFailure) -> HttpAnswer:
    assert isinstance(result, HttpAnswer), f"{result.cause}: {result.detail}"
    return result


def failure(result: HttpAnswer | HttpFailure) -> HttpFailure:
    assert isinstance(result, HttpFailure), result
    return result


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nsome\r\n5\r\n text\r\n0\r\nX-Trailer: t\r\n\r\n"
WHOLE = [
    (OK, 200, b"ok"),
    (CHUNKED, 200, b"some text"),
    (b"HTTP/1.1 204 No Content\r\n\r\n", 204, b""),
    (b"HTTP/1.1 304 Not Modified\r\n\r\n", 304, b""),
    (b"HTTP/1.1 100 Continue\r\n\r\n" + OK, 200, b"ok"),
    (b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + OK, 200, b"ok"),
    (b"HTTP/1.1 404 Not Found Anywhere Here\r\nContent-Length: 0\r\n\r\n", 404, b""),
    (b"HTTP/1.1 302 Found\r\nLocation: /other\r\nContent-Length: 0\r\n\r\n", 302, b""),
]


@pytest.mark.asyncio
@pytest.mark.parametrize(("raw", "status", "body"), WHOLE, ids=[row[0][:24].decode() for row in WHOLE])
async def test_an_answer_is_the_same_wherever_the_network_splits_it(raw: bytes, status: int, body: bytes) -> None:
    """Each split point gives the same answer: interim ones skipped, trailers dropped, redirects not followed."""
    where = {"at": 0}

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await server.read(reader)
            writer.write(raw[: where["at"]])
            await writer.drain()
            await asyncio.sleep(0)
            writer.write(raw[where["at"] :])

    server = Server(talk)
    await server.start()
    async with pool_for(server) as pool:
        for where["at"] in range(0, len(raw), 3):
            got = answer(await ask(pool))
            assert (got.status, got.body) == (status, body)
            assert not any(name == b"X-Trailer" for name, _ in got.headers)
        assert server.connections == 1, "one connection served them all"


@pytest.mark.asyncio
async def test_headers_travel_verbatim_and_ours_are_ours() -> None:
    """Capitalisation, order and repetition are kept both ways; framing and hop-by-hop fields are set by us."""
    server = answering(
        b"HTTP/1.1 200 Fine\r\nx-LOWER: 1\r\nSet-Cookie: a\r\nSet-Cookie: b\r\nContent-Length: 0\r\n\r\n"
    )
    await server.start()
    endpoint = Endpoint.parse("https://api.venue.test").routed(f"http://127.0.0.1:{server.port}")
    async with pool_for(server, endpoint=endpoint) as pool:
        sent = [(b"X-MBX-APIKEY", b"k"), (b"Host", b"evil"), (b"Content-Length", b"999"), (b"Connection", b"close")]
        got = answer(await ask(pool, b"POST", target=b"/a%20b?q=%2F", headers=sent, body=b"body"))
    head = server.requests[0]
    assert head.startswith(b"POST /a%20b?q=%2F HTTP/1.1\r\nHost: api.venue.test\r\nX-MBX-APIKEY: k\r\n")
    assert head.endswith(b"Content-Length: 4\r\n\r\nbody")
    assert b"evil" not in head
    assert got.headers[:3] == [(b"x-LOWER", b"1"), (b"Set-Cookie", b"a"), (b"Set-Cookie", b"b")]
    assert got.reason == b"Fine"


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "wrong",
    [
        {"method": b"GET\r\n"},
        {"method": b"G T"},
        {"target": b"/a b"},
        {"target": b"relative"},
        {"target": b"/x\r\nEvil: 1"},
        {"headers": [(b"A", b"1\r\nB: 2")]},
        {"headers": [(b"A\n", b"1")]},
        {"headers": [(b"", b"1")]},
        {"headers": [(b"A", b"\0")]},
    ],
    ids=str,
)
async def test_what_could_break_the_framing_is_refused(wrong: dict[str, Any]) -> None:
    """Line breaks, NULs and spaces never reach the wire."""
    async with pool_for(1) as pool:
        given: dict[str, Any] = {"method": b"GET", "target": b"/", "headers": []} | wrong
        with pytest.raises(ValidationError):
            pool.submit(
                given["method"],
                given["target"],
                given["headers"],
                b"",
                deadline_at=boot_s() + 1,
                done=lambda result: None,
                idempotent=True,
            )


@pytest.mark.asyncio
async def test_head_has_no_body_and_a_body_without_length_ends_with_the_connection() -> None:
    """Neither confuses the next request."""
    server = answering(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n")
    await server.start()
    async with pool_for(server) as pool:
        assert answer(await ask(pool, b"HEAD")).body == b""
    server = answering(b"HTTP/1.1 200 OK\r\n\r\nuntil the end", close=True)
    await server.start()
    async with pool_for(server) as pool:
        assert answer(await ask(pool)).body == b"until the end"
        assert answer(await ask(pool)).body == b"until the end"
        assert server.connections == 2


BROKEN = [
    (b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\ncut", Reason.PROTOCOL),
    (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\ncut", Reason.PROTOCOL),
    (b"HTTP/1.1 200 O", Reason.PROTOCOL),
    (b"\x16\x03\x01 no http", Reason.PROTOCOL),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx", Reason.PROTOCOL),
    (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n", Reason.PROTOCOL),
    (b"", Reason.RESET),
]


@pytest.mark.asyncio
@pytest.mark.parametrize(("raw", "cause"), BROKEN, ids=[repr(row[0][:40]) for row in BROKEN])
async def test_a_broken_answer_is_a_failure_that_says_sent(raw: bytes, cause: Reason) -> None:
    """Truncated, garbled or missing: the request was written, so nobody may call it unsent; it is not repeated."""
    server = answering(raw, close=True)
    await server.start()
    async with pool_for(server) as pool:
        failed = failure(await ask(pool, b"POST", body=b"order"))
        assert (failed.cause, failed.sent) == (cause, True)
        assert len(server.requests) == 1


@pytest.mark.asyncio
async def test_bytes_nobody_asked_for_are_never_an_answer() -> None:
    """A doubled answer, or bytes on an idle connection, close it; the next request gets its own answer."""
    count = {"n": 0}

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await server.read(reader)
            count["n"] += 1
            body = b"%d" % count["n"]
            good = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
            stale = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nstale"
            writer.write(good + stale if count["n"] % 2 else good)

    server = Server(talk)
    await server.start()
    async with pool_for(server) as pool:
        for number in range(1, 9):
            assert answer(await ask(pool)).body == b"%d" % number


@pytest.mark.asyncio
async def test_connection_close_and_keep_alive_hints_are_honoured() -> None:
    """A connection the server is about to close is not used again."""
    server = answering(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
    await server.start()
    async with pool_for(server) as pool:
        await ask(pool)
        await ask(pool)
        assert server.connections == 2


@pytest.mark.asyncio
@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
async def test_compression_is_decoded_only_for_who_asked(encoding: str) -> None:
    """With Accept-Encoding the body comes decoded and its header goes; without, bytes travel verbatim."""
    packed = gzip.compress(b"body") if encoding == "gzip" else zlib.compress(b"body")
    head = f"HTTP/1.1 200 OK\r\nContent-Encoding: {encoding}\r\nContent-Length: {len(packed)}\r\n\r\n".encode()
    server = answering(head + packed)
    await server.start()
    async with pool_for(server) as pool:
        decoded = answer(await ask(pool, headers=[(b"Accept-Encoding", b"gzip, deflate, br")]))
        assert decoded.body == b"body"
        assert not any(name.lower() == b"content-encoding" for name, _ in decoded.headers)
        assert b"br" not in server.requests[0]
        assert answer(await ask(pool)).body == packed


@pytest.mark.asyncio
async def test_damaged_and_bomb_like_bodies_are_bounded_failures() -> None:
    """A damaged gzip is a protocol failure; one that unpacks past the bound is cut off there."""
    damaged = gzip.compress(b"x" * 1000)[:-10]
    bomb = gzip.compress(b"\0" * 50_000_000)
    for packed, cause in ((damaged, Reason.PROTOCOL), (bomb, Reason.RESPONSE_TOO_LARGE)):
        head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(packed)
        server = answering(head + packed)
        await server.start()
        async with pool_for(server, body_bytes_max=100_000) as pool:
            assert failure(await ask(pool, b"POST", headers=[(b"Accept-Encoding", b"gzip")])).cause is cause


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.1 200 OK\r\n" + b"".join(b"X-%d: y\r\n" % number for number in range(5000)),
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 500_000,
        b"HTTP/1.1 200 " + b"y" * 500_000,
        b"HTTP/1.1 200 OK\r\nContent-Length: 500000\r\n\r\n" + b"y" * 500_000,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + (b"1000\r\n" + b"y" * 4096 + b"\r\n") * 200,
    ],
    ids=["headers", "header", "status line", "body", "chunks"],
)
async def test_nothing_a_server_sends_grows_past_its_bound(raw: bytes) -> None:
    """Headers, status line and body are bounded; past the bound the connection is given up."""
    server = answering(raw)
    await server.start()
    async with pool_for(server, body_bytes_max=100_000) as pool:
        failed = failure(await ask(pool, b"POST"))
        assert failed.cause in (Reason.RESPONSE_TOO_LARGE, Reason.PROTOCOL)
        assert failed.sent


@pytest.mark.asyncio
async def test_a_deadline_ends_the_wait_and_the_connection() -> None:
    """No answer in time: TIMEOUT, sent; the late answer reaches nobody, the connection is not used again."""
    release = asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await server.read(reader)
        if len(server.requests) == 1:
            await release.wait()
        writer.write(OK)

    server = Server(talk)
    await server.start()
    async with pool_for(server) as pool:
        began = time.monotonic()
        failed = failure(await ask(pool, b"POST", within_s=0.2))
        assert (failed.cause, failed.sent) == (Reason.TIMEOUT, True)
        assert 0.19 <= time.monotonic() - began < 1.0
        release.set()
        assert answer(await ask(pool)).body == b"ok"
        assert server.connections == 2


@pytest.mark.asyncio
async def test_waiting_for_a_connection_is_not_sent() -> None:
    """At the bound of connections a request waits; if its deadline comes first, no byte of it left."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await server.read(reader)
        await asyncio.Event().wait()

    server = Server(talk)
    await server.start()
    async with pool_for(server, connections_max=1, waiters_max=1) as pool:
        first = asyncio.create_task(ask(pool, b"POST", within_s=1.0))
        while not server.requests:
            await asyncio.sleep(0)
        second = asyncio.create_task(ask(pool, b"POST", within_s=0.2))
        await asyncio.sleep(0)
        third = failure(await ask(pool, b"POST"))
        assert (third.cause, third.sent) == (Reason.QUEUE_FULL, False)
        waited = failure(await second)
        assert (waited.cause, waited.sent) == (Reason.TIMEOUT, False)
        assert failure(await first).sent
        assert len(server.requests) == 1


@pytest.mark.asyncio
async def test_a_question_survives_a_dead_kept_connection_and_an_order_does_not_repeat() -> None:
    """The server closed an idle connection: GET is written once more elsewhere, POST is answered as it is."""
    closing = {"now": False}

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await server.read(reader)
            if closing["now"]:
                closing["now"] = False
                writer.transport.abort()
                return
            writer.write(OK)

    server = Server(talk)
    await server.start()
    async with pool_for(server) as pool:
        answer(await ask(pool))
        closing["now"] = True
        assert answer(await ask(pool)).body == b"ok"
        assert len(server.requests) == 3
        closing["now"] = True
        failed = failure(await ask(pool, b"POST", body=b"order"))
        assert (failed.cause, failed.sent) == (Reason.RESET, True)
        assert len(server.requests) == 4


@pytest.mark.asyncio
async def test_a_place_that_was_never_up_fails_at_once_and_one_that_was_is_waited_for() -> None:
    """A wrong port is told quickly; an outage is waited out inside the deadline, or ends with its cause, unsent."""
    server = answering(OK)
    await server.start()
    port = server.port
    await server.stop()
    async with pool_for(port) as pool:
        began = time.monotonic()
        failed = failure(await ask(pool, b"POST"))
        assert (failed.cause, failed.sent) == (Reason.REFUSED, False)
        assert time.monotonic() - began < 1.0
    server = answering(OK)
    await server.start()
    port = server.port
    async with pool_for(port) as pool:
        answer(await ask(pool))
        await server.stop()
        while pool.status()["live"]:
            await asyncio.sleep(0.01)
        failed = failure(await ask(pool, b"POST", within_s=0.3))
        assert (failed.cause, failed.sent) == (Reason.REFUSED, False)
        waiting = asyncio.create_task(ask(pool, b"POST", within_s=10))
        await asyncio.sleep(0.1)
        await server.start(port)
        assert answer(await waiting).body == b"ok"
        assert pool.status()["dials"] <= 20
        await server.stop()


@pytest.mark.asyncio
async def test_an_abandoned_request_calls_nobody_back() -> None:
    """Waiting: it leaves the queue. Written: its connection goes with it."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await server.read(reader)
        if len(server.requests) == 1:
            await asyncio.Event().wait()
        writer.write(OK)

    server = Server(talk)
    await server.start()
    async with pool_for(server, connections_max=1) as pool:
        called: list[Any] = []
        make: Any = {"deadline_at": boot_s() + 3, "done": called.append, "idempotent": True}
        written = pool.submit(b"GET", b"/", [], b"", **make)
        while not server.requests:
            await asyncio.sleep(0)
        waiting = pool.submit(b"GET", b"/", [], b"", **make)
        waiting.abandon()
        written.abandon()
        written.abandon()
        assert answer(await ask(pool)).body == b"ok"
        assert called == []
        assert server.connections == 2


@pytest.mark.asyncio
async def test_two_thousand_requests_through_random_resets_each_end_once() -> None:
    """Whatever happens to connections, every request is called back exactly once and no order is written twice."""
    chance = random.Random(7)

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await server.read(reader)
            if chance.random() < 0.05:
                writer.transport.abort()
                return
            writer.write(OK)

    server = Server(talk)
    await server.start()
    async with pool_for(server, connections_max=8, dials_per_window_max=10_000) as pool:
        ended: list[int] = []

        async def one(number: int) -> None:
            await ask(pool, b"POST", body=b"%d" % number, within_s=20)
            ended.append(number)

        await asyncio.gather(*(one(number) for number in range(2000)))
        assert sorted(ended) == list(range(2000))
        bodies = [request.rpartition(b"\r\n\r\n")[2] for request in server.requests]
        assert len(bodies) == len(set(bodies)), "an order was written twice"


# ---------------------------------------------------------------- TLS and names


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def trusting(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


@pytest.mark.asyncio
@pytest.mark.parametrize("case", ["good", "routed", "wrong host", "expired", "unknown authority", "no TLS there"])
async def test_certificates_are_checked(authority: trustme.CA, case: str) -> None:
    """Only a valid certificate of the right name is talked to; the failure says what is wrong, nothing is sent."""
    import datetime

    names = {"wrong host": "other.test", "routed": "api.venue.test"}.get(case, "127.0.0.1")
    past = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=1)
    issuer = trustme.CA() if case == "unknown authority" else authority
    cert = issuer.issue_cert(names, not_after=past) if case == "expired" else issuer.issue_cert(names)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    cert.configure_cert(context)

    async def no_tls(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(OK)
        await reader.read()

    server = Server(no_tls) if case == "no TLS there" else answering(OK)
    await server.start(context=None if case == "no TLS there" else context)
    endpoint = None
    if case == "routed":
        endpoint = Endpoint.parse("https://api.venue.test").routed(
            f"https://127.0.0.1:{server.port}", verify_as="api.venue.test"
        )
    async with pool_for(server, ssl_context=trusting(authority), endpoint=endpoint) as pool:
        result = await ask(pool, b"POST")
        if case in ("good", "routed"):
            assert answer(result).body == b"ok"
            return
        failed = failure(result)
        assert failed.cause in (Reason.TLS, Reason.RESET if case == "no TLS there" else Reason.TLS)
        assert not failed.sent
        assert server.requests == []
        words = {"wrong host": "IP address mismatch", "expired": "expired", "unknown authority": "verify|issuer|self"}
        if case in words:
            import re

            assert re.search(words[case], failed.detail), failed.detail


@pytest.mark.asyncio
async def test_a_name_that_does_not_resolve_is_told() -> None:
    """DNS, not sent, with the name."""
    async with pool_for(1, endpoint=Endpoint.parse("http://no-such-name.invalid")) as pool:
        failed = failure(await ask(pool))
        assert (failed.cause, failed.sent) == (Reason.DNS, False)
        assert "no-such-name.invalid" in failed.detail


@pytest.mark.parametrize(
    ("url", "word"),
    [
        ("", "scheme"),
        ("api.binance.com/x", "scheme"),
        ("ftp://x.test", "ftp"),
        ("https://", "no host"),
        ("https://user:secret@x.test", "user information"),
        ("https://x.test:99999", "port|Port"),
        ("https://x.test:0", "port 0"),
        ("https://x y.test", "spaces"),
        ("https://x.test\r\nEvil: 1", "control"),
    ],
)
def test_a_bad_url_says_what_is_wrong(url: str, word: str) -> None:
    """Each kind of bad URL is named, and no secret of it is needed to say so."""
    with pytest.raises(ValidationError, match=word):
        Endpoint.parse(url)


def test_an_endpoint_knows_its_names() -> None:
    """Default ports, IPv6 and international names."""
    assert Endpoint.parse("https://x.test").host_header == b"x.test"
    assert Endpoint.parse("https://x.test:8443/a").host_header == b"x.test:8443"
    assert Endpoint.parse("http://[::1]:80").host_header == b"[::1]"
    assert Endpoint.parse("https://bücher.test").host == "xn--bcher-kva.test"
    routed = Endpoint.parse("wss://x.test").routed("http://127.0.0.1:9")
    assert (routed.dial_scheme, routed.host, routed.routed_elsewhere) == ("ws", "x.test", True)


@pytest.mark.asyncio
async def test_a_passed_deadline_is_not_written_even_on_a_warm_connection() -> None:
    """Nothing stale is sent: the request fails as not sent, the venue never sees it."""
    server = answering(OK)
    await server.start()
    async with pool_for(server) as pool:
        answer(await ask(pool))
        failed = failure(await ask(pool, b"POST", target=b"/stale", within_s=-0.001))
        assert (failed.cause, failed.sent) == (Reason.TIMEOUT, False)
        answer(await ask(pool))
    assert not any(b"/stale" in request for request in server.requests)


@pytest.mark.asyncio
async def test_whatever_a_dial_raises_the_waiters_hear_of_it() -> None:
    """An unexpected error of the dial port is a failure at once, not a silence until the deadline."""

    async def broken(*args: Any, **options: Any) -> Any:
        raise RuntimeError("no such thing as a network")

    pool = HttpPool(
        Endpoint.parse("http://127.0.0.1:1"),
        PoolSettings(connections_min=0),
        loop=asyncio.get_running_loop(),
        clock=boot_s,
        random=random.Random(1),
        dial=broken,
        resolve=resolve,
    )
    failed = failure(await ask(pool))
    assert not failed.sent
    assert "no such thing" in failed.detail
    await pool.close(0.1)


@pytest.mark.asyncio
async def test_what_waits_for_a_connection_is_signed_when_it_leaves() -> None:
    """Its signature's time is that of the moment its bytes go out, not that of the moment it was submitted; what
    cannot be signed then was never sent, and the next one in line is not kept by it.
    """
    release = asyncio.Event()
    seen = asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await server.read(reader)
            seen.set()
            await release.wait()
            writer.write(OK)

    server = Server(talk)
    await server.start()
    signed: list[str] = []

    def sealed(name: str) -> tuple[bytes, list[tuple[bytes, bytes]], bytes]:
        if name == "broken" and name in signed:
            raise OSError("the nonce cannot be written down")
        signed.append(name)
        return f"/{name}?made={len(signed)}".encode(), [], b""

    async with pool_for(server, connections_max=1) as pool:
        first = asyncio.create_task(ask(pool, target=b"/first"))
        await seen.wait()
        loop = asyncio.get_running_loop()
        told = []
        for name in ("broken", "signed"):
            landed = loop.create_future()
            target, headers, body = sealed(name)
            pool.submit(
                b"GET", target, headers, body,
                deadline_at=boot_s() + 30.0, done=landed.set_result, idempotent=False,
                sealed=lambda name=name: sealed(name),
            )  # fmt: skip
            told.append(landed)
        assert signed == ["broken", "signed"]
        release.set()
        assert isinstance(await first, HttpAnswer)
        broken, answer = await asyncio.wait_for(asyncio.gather(*told), 30)
    assert (broken.sent, broken.cause) == (False, Reason.INTERNAL)
    assert "nonce cannot be written" in broken.detail
    assert isinstance(answer, HttpAnswer)
    assert [request.split(b" ")[1] for request in server.requests] == [b"/first", b"/signed?made=3"]


@pytest.mark.asyncio
async def test_a_question_that_is_repeated_is_signed_anew() -> None:
    """The connection died under it: on the next one it carries another time."""
    made: list[bytes] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await server.read(reader)
        if server.connections == 1:
            writer.write(OK)
            await server.read(reader)
            return
        writer.write(OK)
        await reader.read()

    server = Server(talk)
    await server.start()

    def sealed() -> tuple[bytes, list[tuple[bytes, bytes]], bytes]:
        made.append(b"/q?made=%d" % (len(made) + 1))
        return made[-1], [], b""

    async with pool_for(server) as pool:
        assert isinstance(await ask(pool), HttpAnswer)
        landed = asyncio.get_running_loop().create_future()
        target, headers, body = sealed()
        pool.submit(
            b"GET", target, headers, body,
            deadline_at=boot_s() + 30.0, done=landed.set_result, idempotent=True, sealed=sealed,
        )  # fmt: skip
        assert isinstance(await asyncio.wait_for(landed, 30), HttpAnswer)
    assert [request.split(b" ")[1] for request in server.requests] == [b"/", b"/q?made=1", b"/q?made=2"]
