"""jackstay_agent.transport.websocket and websocket_connection, against a server that does what the test says."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trustme

from jackstay_agent.transport.websocket import (
    WsClosed,
    WsConnection,
    WsSettings,
    check_headers,
    parse_ws_url,
    ws_connect,
)
from jackstay_agent.transport.websocket_connection import READ_MESSAGES_MAX
from jackstay_protocols.errors import ExchangeError, Reason, ValidationError
from scripted_exchange import BINARY, CLOSE, PING, PONG, TEXT, Peer, ScriptedExchange, frame, mute, silent

QUICK = WsSettings(message_bytes_max=64 * 1024, close_wait_s=0.2, ping_interval_s=0)


class Sink:
    """What a connection handed to its owner."""

    def __init__(self) -> None:
        self.messages: list[bytes] = []
        self.ends: list[WsClosed] = []
        self._news = asyncio.Event()

    def take(self, payloads: list[bytes]) -> None:
        self.messages += payloads
        self._news.set()

    def end(self, closed: WsClosed) -> None:
        self.ends.append(closed)
        self._news.set()

    async def until(self, condition: Callable[[], bool], limit_s: float = 5.0) -> None:
        async with asyncio.timeout(limit_s):
            while not condition():
                self._news.clear()
                await self._news.wait()


@asynccontextmanager
async def connected(
    script: Callable[[Peer], Any], settings: WsSettings = QUICK, **options: Any
) -> AsyncIterator[tuple[WsConnection, Sink, ScriptedExchange]]:
    sink = Sink()
    async with ScriptedExchange(script) as exchange:
        connection = await ws_connect(
            exchange.url, on_messages=sink.take, on_close=sink.end, settings=settings, timeout_s=5, **options
        )
        try:
            yield connection, sink, exchange
        finally:
            connection.abort()
            await connection.wait_closed()


async def ended_with(*frames: bytes, settings: WsSettings = QUICK) -> tuple[WsClosed, list[bytes], Peer]:
    """Send these frames to a client; how it ended, and what it delivered."""

    async def script(peer: Peer) -> None:
        await peer.send(*frames)
        await silent(peer)

    async with connected(script, settings) as (connection, sink, exchange):
        closed = await connection.wait_closed()
        return closed, sink.messages, await exchange.peer()


async def sent_close_code(peer: Peer) -> int:
    return next(int.from_bytes(data[:2], "big") for opcode, data in peer.received if opcode == CLOSE)


# ---------------------------------------------------------------- messages


@pytest.mark.asyncio
async def test_messages_arrive_whole_and_in_order() -> None:
    """Text and binary, fragmented or not, with control frames between the fragments, arrive as whole messages."""
    big = os.urandom(60_000)

    async def script(peer: Peer) -> None:
        await peer.send(
            frame(TEXT, b"one"),
            frame(TEXT, "zwei €"[:4].encode(), fin=False),
            frame(PING, b"between"),
            frame(0, b" \xe2", fin=False),  # the fragments split a character
            frame(0, b"\x82\xac"),
            frame(BINARY, big),
            frame(TEXT, b"", fin=False),
            frame(0, b""),
        )
        await silent(peer)

    async with connected(script) as (_connection, sink, exchange):
        await sink.until(lambda: len(sink.messages) == 4)
        assert sink.messages == [b"one", "zwei €".encode(), big, b""]
        peer = await exchange.peer()
        async with asyncio.timeout(5):
            while (PONG, b"between") not in peer.received:
                await asyncio.sleep(0.001)


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("frames", "code", "reason"),
    [
        pytest.param([frame(0, b"x")], 1002, Reason.PROTOCOL, id="orphan continuation"),
        pytest.param([frame(TEXT, b"x", fin=False), frame(TEXT, b"y")], 1002, Reason.PROTOCOL, id="message in message"),
        pytest.param([frame(TEXT, b"x", rsv=4)], 1002, Reason.PROTOCOL, id="compressed without negotiation"),
        pytest.param([frame(TEXT, b"x", rsv=1)], 1002, Reason.PROTOCOL, id="reserved bit"),
        pytest.param([frame(3, b"x")], 1002, Reason.PROTOCOL, id="reserved opcode"),
        pytest.param([frame(PING, b"x", fin=False)], 1002, Reason.PROTOCOL, id="fragmented control frame"),
        pytest.param([frame(TEXT, b"\xff\xfe")], 1007, Reason.PROTOCOL, id="text is not UTF-8"),
        pytest.param(
            [frame(TEXT, b"\xe2", fin=False), frame(0, b"x")], 1007, Reason.PROTOCOL, id="joined text is not UTF-8"
        ),
        pytest.param([frame(BINARY, bytes(70_000))], 1009, Reason.RESPONSE_TOO_LARGE, id="frame over the bound"),
        pytest.param(
            [frame(BINARY, bytes(40_000), fin=False), frame(0, bytes(40_000))],
            1009,
            Reason.RESPONSE_TOO_LARGE,
            id="fragments over the bound",
        ),
        pytest.param(
            [frame(BINARY, b"", fin=False), frame(0, b"", fin=False) * 20_000],
            1009,
            Reason.RESPONSE_TOO_LARGE,
            id="endless empty fragments",
        ),
    ],
)
async def test_broken_frames_end_the_connection_with_their_code(frames: list[bytes], code: int, reason: Reason) -> None:
    """What breaks RFC 6455 or our bound is answered with the RFC's close code and nothing of it is delivered."""
    closed, messages, peer = await ended_with(frame(TEXT, b"good"), *frames, frame(TEXT, b"after"))
    assert (closed.by, closed.code, closed.reason) == ("us", code, reason)
    assert messages in ([b"good"], [])  # picows drops a frame before a broken one
    assert await sent_close_code(peer) == code


@pytest.mark.asyncio
async def test_a_message_of_exactly_the_bound_is_delivered() -> None:
    """The bound itself is allowed, in one frame and in fragments."""
    at_bound = bytes(64 * 1024)

    async def script(peer: Peer) -> None:
        half = at_bound[: len(at_bound) // 2]
        await peer.send(frame(BINARY, at_bound), frame(BINARY, half, fin=False), frame(0, half))
        await silent(peer)

    async with connected(script) as (_connection, sink, _exchange):
        await sink.until(lambda: len(sink.messages) == 2)
        assert sink.messages == [at_bound, at_bound]


# ---------------------------------------------------------------- ping and pong


@pytest.mark.asyncio
async def test_pings_of_the_peer_are_answered_with_their_payload() -> None:
    """Every ping gets a pong with the same payload."""

    async def script(peer: Peer) -> None:
        await peer.send(frame(PING, b"a"), frame(PING, b"b" * 125))
        await silent(peer)

    async with connected(script) as (_connection, _sink, exchange):
        peer = await exchange.peer()
        async with asyncio.timeout(5):
            while len(peer.received) < 2:
                await asyncio.sleep(0.001)
        assert peer.received == [(PONG, b"a"), (PONG, b"b" * 125)]


@pytest.mark.asyncio
async def test_a_missing_pong_ends_the_connection_even_while_data_flows() -> None:
    """Data is no pong: without one the line is cut after interval plus timeout."""

    async def script(peer: Peer) -> None:
        reading = asyncio.create_task(mute(peer))
        try:
            while True:
                await peer.send(frame(TEXT, b"data"), frame(PONG, b"unsolicited"))
                await asyncio.sleep(0.01)
        finally:
            reading.cancel()

    settings = WsSettings(ping_interval_s=0.1, pong_timeout_s=0.1)
    loop = asyncio.get_running_loop()
    async with connected(script, settings) as (connection, sink, _exchange):
        started = loop.time()
        closed = await connection.wait_closed()
        assert 0.15 < loop.time() - started < 0.6
        assert (closed.by, closed.reason) == ("us", Reason.TIMEOUT)
        assert "no pong" in closed.detail
        assert sink.messages
        assert connection.pings_missed == 1


@pytest.mark.asyncio
async def test_answered_pings_keep_the_connection_and_measure_latency() -> None:
    """With pongs the connection stays; the round trip is known; pongs are no messages."""
    settings = WsSettings(ping_interval_s=0.02, pong_timeout_s=0.5)
    async with connected(silent, settings) as (connection, sink, _exchange):
        heard = connection.heard_at
        async with asyncio.timeout(5):
            while connection.pings_sent < 3:
                await asyncio.sleep(0.005)
        assert connection.is_open
        assert connection.latency_s is not None
        assert 0 < connection.latency_s < 0.5
        assert connection.heard_at > heard
        assert sink.messages == []


# ---------------------------------------------------------------- sending


@pytest.mark.asyncio
async def test_sends_reach_the_peer_and_drain() -> None:
    """Text and binary arrive as such; `drained` says when the system took them."""

    async with connected(silent) as (connection, _sink, exchange):
        assert connection.send("grüß")
        assert connection.send(b"\x00\xff", 2)
        assert await connection.drained()
        peer = await exchange.peer()
        async with asyncio.timeout(5):
            while len(peer.received) < 2:
                await asyncio.sleep(0.001)
        assert peer.received == [(TEXT, "grüß".encode()), (BINARY, b"\x00\xff")]


@pytest.mark.asyncio
async def test_a_peer_that_does_not_read_gets_a_bounded_amount() -> None:
    """Past the write bound sends are refused and nothing grows; an aborted line tells those who wait for the drain."""
    stop = asyncio.Event()

    async def deaf(peer: Peer) -> None:
        peer.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await stop.wait()

    settings = WsSettings(write_bytes_max=256 * 1024, ping_interval_s=0)
    async with connected(deaf, settings) as (connection, _sink, _exchange):
        block = bytes(64 * 1024)
        accepted = 0
        while connection.send(block, 2):
            accepted += 1
            assert accepted < 1000
        assert connection.unsent_bytes <= settings.write_bytes_max
        waiting = asyncio.create_task(connection.drained())
        await asyncio.sleep(0)
        connection.abort()
        assert await waiting is False
        assert connection.send(b"x") is False
        stop.set()


# ---------------------------------------------------------------- endings


@pytest.mark.asyncio
async def test_close_shakes_hands() -> None:
    """Our close reaches the peer with code and text; its answer ends the line; the owner hears it once."""
    async with connected(silent) as (connection, sink, exchange):
        connection.close(1000, "done")
        closed = await connection.wait_closed()
        assert (closed.by, closed.code) == ("us", 1000)
        peer = await exchange.peer()
        assert (CLOSE, b"\x03\xe8done") in peer.received
        connection.close()
        connection.abort()
        assert sink.ends == [closed]


@pytest.mark.asyncio
async def test_a_peer_that_never_answers_our_close_is_cut_off() -> None:
    """The close wait bounds the handshake."""
    async with connected(mute) as (connection, _sink, _exchange):
        loop = asyncio.get_running_loop()
        started = loop.time()
        connection.close()
        await connection.wait_closed()
        assert loop.time() - started < 1.0


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("payload", "code", "detail"),
    [(b"\x03\xf0nope", 1008, "nope"), (b"", 1005, ""), (b"\x0f\xa0own", 4000, "own")],
)
async def test_the_peers_close_is_told_with_its_code(payload: bytes, code: int, detail: str) -> None:
    """Code and text of the peer's close reach the owner, private codes and none at all included."""
    closed, _messages, _peer = await ended_with(frame(CLOSE, payload))
    assert (closed.by, closed.code, closed.detail) == ("peer", code, detail)


@pytest.mark.asyncio
async def test_a_reset_line_is_told_as_such() -> None:
    """A line that ends without a close frame is the network's doing."""

    async def script(peer: Peer) -> None:
        await peer.send(frame(TEXT, b"x"))
        peer.reset()

    async with connected(script) as (connection, _sink, _exchange):
        closed = await connection.wait_closed()
        assert (closed.by, closed.code, closed.reason) == ("network", 1006, Reason.RESET)


# ---------------------------------------------------------------- dialling


async def dial_error(url: str, **options: Any) -> ExchangeError:
    sink = Sink()
    with pytest.raises(ExchangeError) as caught:
        await ws_connect(url, on_messages=sink.take, on_close=sink.end, **{"timeout_s": 5, **options})
    assert sink.ends == []
    return caught.value


@pytest.mark.asyncio
async def test_refused_and_unresolvable_are_told_apart() -> None:
    """No listener is REFUSED, no such name is DNS, and the text names host and port but never the path."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    refused = await dial_error(f"ws://127.0.0.1:{port}/ws/secret-listen-key")
    assert refused.reason == Reason.REFUSED
    assert f"127.0.0.1:{port}" in str(refused)
    assert "secret" not in str(refused)

    async def nowhere(host: str, port: int) -> list[Any]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    unresolved = await dial_error("wss://venue.invalid/ws", resolve=nowhere)
    assert unresolved.reason == Reason.DNS
    assert unresolved.details["host"] == "venue.invalid"


@pytest.mark.asyncio
async def test_the_next_address_is_tried() -> None:
    """A name with a dead and a living address connects to the living one."""
    sink = Sink()
    async with ScriptedExchange(silent) as exchange:

        async def both(host: str, port: int) -> list[Any]:
            return [(socket.AF_INET, "127.0.0.1", 1), (socket.AF_INET, "127.0.0.1", exchange.port)]

        url = f"ws://venue.test:{exchange.port}/"
        connection = await ws_connect(url, on_messages=sink.take, on_close=sink.end, resolve=both)
        peer = await exchange.peer()
        assert f"Host: venue.test:{exchange.port}".encode() in peer.head
        connection.abort()
        await connection.wait_closed()


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("answer", "reason", "words"),
    [
        (b"HTTP/1.1 302 Found\r\nLocation: ws://evil.example/x\r\n\r\n", Reason.PROTOCOL, "not followed"),
        (b"HTTP/1.1 403 Forbidden\r\n\r\n", Reason.PROTOCOL, "403"),
        (b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 7\r\n\r\n", Reason.RATE_LIMITED, "429"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", Reason.PROTOCOL, "200"),
        (b"SSH-2.0-OpenSSH_9\r\n\r\n", Reason.PROTOCOL, "unknown protocol"),
        (b"", Reason.RESET, "closed the connection"),
    ],
)
async def test_a_refused_upgrade_says_what_came(answer: bytes, reason: Reason, words: str) -> None:
    """Redirects are an error and never followed; other answers are named; Retry-After is kept."""
    async with ScriptedExchange(silent, answer=answer) as exchange:
        error = await dial_error(exchange.url)
        assert error.reason == reason
        assert words in str(error)
        assert error.retry_after_s == (7.0 if b"Retry-After" in answer else None)


@pytest.mark.asyncio
async def test_one_read_is_handed_on_in_bounded_groups_and_ends_with_the_connection() -> None:
    """Thousands of messages in one write arrive in order and in groups of bounded size; whoever closes in the middle
    gets no further group."""
    reads: list[list[bytes]] = []

    async def flood(peer: Peer) -> None:
        await peer.read_frame()
        await peer.send(b"".join(frame(TEXT, b"%d" % number) for number in range(5000)))
        await silent(peer)

    async with ScriptedExchange(flood) as exchange:
        sink = Sink()
        whole = await ws_connect(exchange.url, on_messages=sink.take, on_close=sink.end)
        whole.send("go")
        await sink.until(lambda: len(sink.messages) == 5000)
        assert sink.messages == [b"%d" % number for number in range(5000)]
        whole.abort()
        await whole.wait_closed()

        def take(payloads: list[bytes]) -> None:
            reads.append(payloads)
            if len(reads) == 2:
                cut.abort("enough")

        cut = await ws_connect(exchange.url, on_messages=take, on_close=sink.end)
        cut.send("go")
        assert (await cut.wait_closed()).detail == "enough"
    assert len(reads) == 2
    assert all(0 < len(each) <= READ_MESSAGES_MAX for each in reads)


@pytest.mark.asyncio
async def test_a_peer_that_never_answers_the_upgrade_times_out_and_is_let_go() -> None:
    """One deadline contains the dial, and neither a timeout nor a cancellation leaves a socket open."""
    gone = asyncio.Event()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await reader.read()
        writer.transport.abort()
        gone.set()

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    error = await dial_error(url, timeout_s=0.5)
    assert error.reason == Reason.TIMEOUT
    assert error.details["phase"] == "upgrade"
    await asyncio.wait_for(gone.wait(), 5)

    gone.clear()
    sink = Sink()
    dialling = asyncio.create_task(ws_connect(url, on_messages=sink.take, on_close=sink.end))
    await asyncio.sleep(0.05)
    dialling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await dialling
    await asyncio.wait_for(gone.wait(), 5)
    server.close()
    await server.wait_closed()


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def tls_server(authority: trustme.CA, name: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    return context


def tls_client(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


@pytest.mark.asyncio
async def test_tls_verifies_the_certificate_and_the_host(authority: trustme.CA) -> None:
    """A right certificate works; an unknown authority, a wrong host and a plain server are TLS errors."""

    async def script(peer: Peer) -> None:
        await peer.send(frame(TEXT, b"over tls"))
        await silent(peer)

    sink = Sink()
    async with ScriptedExchange(script, tls=tls_server(authority, "127.0.0.1")) as exchange:
        connection = await ws_connect(
            exchange.url, on_messages=sink.take, on_close=sink.end, ssl_context=tls_client(authority)
        )
        await sink.until(lambda: bool(sink.messages))
        assert sink.messages == [b"over tls"]
        connection.close()
        await connection.wait_closed()
        unknown = await dial_error(exchange.url)
        assert unknown.reason == Reason.TLS
        assert "certificate" in str(unknown)
    async with ScriptedExchange(script, tls=tls_server(authority, "other.example")) as exchange:
        wrong_host = await dial_error(exchange.url, ssl_context=tls_client(authority))
        assert wrong_host.reason == Reason.TLS
        assert "127.0.0.1" in str(wrong_host)
    async with ScriptedExchange(script) as plain:
        url = plain.url.replace("ws://", "wss://")
        assert (await dial_error(url, ssl_context=tls_client(authority), timeout_s=0.3)).reason in (
            Reason.TLS,
            Reason.TIMEOUT,
        )


@pytest.mark.parametrize(
    "url",
    ["http://x/", "ws:///x", "ws://u:p@x/", "ws://x/#y", "ws://x:0/", "ws://x:99999/", "ws://x/a b", "ws://x/é", "x"],
)
def test_bad_urls_are_refused_with_the_expectation(url: str) -> None:
    """A URL that cannot work is the caller's error, before anything is dialled."""
    with pytest.raises(ValidationError):
        parse_ws_url(url)


@pytest.mark.parametrize("headers", [{"X Y": "1"}, {"": "1"}, {"X": "a\r\nY: b"}, {"X": "é"}, {"X": "a" * 70_000}])
def test_bad_headers_are_refused(headers: dict[str, str]) -> None:
    """A header that could break the upgrade request is refused."""
    with pytest.raises(ValidationError):
        check_headers(headers)


@pytest.mark.asyncio
async def test_extra_headers_are_sent() -> None:
    """Configured headers reach the venue."""
    async with connected(silent, headers={"X-Api": "k"}) as (_connection, _sink, exchange):
        assert b"X-Api: k" in (await exchange.peer()).head


class Elsewhere:
    """An endpoint that leads a host to another place."""

    dial_scheme = "ws"
    tls = False
    server_hostname = None
    host_header = b"stream.venue.test"

    def __init__(self, port: int) -> None:
        self.dial_host = "127.0.0.1"
        self.dial_port = port


@pytest.mark.asyncio
async def test_a_rerouted_host_keeps_its_name() -> None:
    """The bytes go elsewhere, over another scheme even; path and Host are the caller's own."""
    sink = Sink()
    async with ScriptedExchange(silent) as exchange:
        connection = await ws_connect(
            "wss://stream.venue.test/stream?x=1",
            on_messages=sink.take,
            on_close=sink.end,
            endpoint=Elsewhere(exchange.port),
        )
        head = (await exchange.peer()).head
        assert head.startswith(b"GET /stream?x=1 HTTP/1.1")
        assert head.lower().count(b"host:") == 1
        assert b"Host: stream.venue.test\r\n" in head
        connection.abort()
        await connection.wait_closed()
