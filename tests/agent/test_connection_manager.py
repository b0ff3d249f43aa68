"""jackstay_agent.connection_manager as a library: real sockets, honest answers."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jackstay_agent.config import Config
from jackstay_agent.connection_manager import ConnectionHealth, ConnectionManager, ConnectionSettings, ConnectionState
from jackstay_agent.connection_record import MOVES, Connection
from jackstay_agent.core.health import Health
from jackstay_protocols.errors import Refused, ValidationError
from scripted_exchange import TEXT, Peer, ScriptedExchange, frame, mute, silent

QUICK = ConnectionSettings(
    connect_timeout_s=2,
    send_timeout_s=2,
    probe_timeout_s=0.3,
    heartbeat_interval_s=0,
    reconnect_attempts_max=2,
    backoff_min_s=0.01,
    backoff_max_s=0.02,
    healthy_s=0,
    dials_max=0,
)
NO_RETRY = {"auto_reconnect": False}


class HttpVenue:
    """An HTTP/1.1 server that keeps a ledger; ``script`` decides what happens to each request."""

    def __init__(self) -> None:
        self.ledger: list[tuple[str, bytes]] = []
        self.heads: list[bytes] = []
        self.before: Callable[[asyncio.StreamWriter], Awaitable[bool]] | None = None
        self.port = 0
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
            for writer in list(self._writers):
                writer.transport.abort()
            await self._server.wait_closed()
            self._server = None

    async def __aenter__(self) -> HttpVenue:
        await self.start()
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await self.stop()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = 0
                for line in head.split(b"\r\n"):
                    if line.lower().startswith(b"content-length:"):
                        length = int(line.split(b":")[1])
                body = await reader.readexactly(length)
                method, path, _ = head.split(b" ", 2)
                self.heads.append(head)
                if method != b"HEAD":
                    self.ledger.append((f"{method.decode()} {path.decode()}", body))
                if self.before is not None and not await self.before(writer):
                    return
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (0 if method == b"HEAD" else 2))
                if method != b"HEAD":
                    writer.write(b"ok")
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            self._writers.discard(writer)
            writer.transport.abort()


class Events(list[tuple[str, dict[str, Any]]]):
    def __call__(self, name: str, fields: dict[str, Any]) -> None:
        self.append((name, fields))

    def named(self, name: str) -> list[dict[str, Any]]:
        return [fields for each, fields in self if each == name]


@asynccontextmanager
async def managing(settings: ConnectionSettings = QUICK) -> AsyncIterator[tuple[ConnectionManager, Events]]:
    events = Events()
    manager = ConnectionManager(Config(), settings=settings, on_event=events)
    try:
        yield manager, events
    finally:
        await manager.aclose()


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


async def until(condition: Callable[[], bool], limit_s: float = 5.0) -> None:
    async with asyncio.timeout(limit_s):
        while not condition():
            await asyncio.sleep(0.002)


# ---------------------------------------------------------------- honesty


@pytest.mark.asyncio
async def test_with_only_a_config_it_knows_nothing_and_says_so() -> None:
    """Unknown ids are False, None, 0 and an empty table, never True."""
    manager = ConnectionManager(Config())
    assert await manager.close_connection("x") is False
    assert await manager.reconnect_connection("x") is False
    assert await manager.queue_message("x", {"a": 1}) is False
    assert await manager.flush_message_queue("x") == 0
    assert await manager.set_maintenance("x", True) is False
    assert manager.get_connection_status("x") is None
    assert manager.get_all_connection_status() == {}
    assert manager.is_connection_healthy("x") is False


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("a", "carrier-pigeon", "http://x"), "one of http, websocket"),
        (("a", "http", "ftp://x"), "http://HOST"),
        (("a", "http", "wss://x"), "http://HOST"),
        (("a", "websocket", "https://x"), "ws://HOST"),
        (("a", "http", "http://"), "HOST"),
        (("a", "http", "http://u:p@x"), "user name"),
        (("a", "http", "http://x y"), "spaces"),
        (("a", "http", "http://x:99999"), "HOST"),
        (("a", "http", None), "NoneType"),
        (("", "http", "http://x"), "connection id"),
        (("a" * 200, "http", "http://x"), "connection id"),
        (("a", "http", "http://x", {"api_key": "k"}), "api_key_header"),
        (("a", "http", "http://x", {"bearer_tokn": "k"}), "did you mean 'bearer_token'"),
        (("a", "http", "http://x", None, {"timeout": 1}), "did you mean 'timeout_s'"),
        (("a", "http", "http://x", None, {"ssl_context": 1}), "SSLContext"),
        (("a", "http", "http://x", None, {"headers": {"a b": "c"}}), "header name"),
    ],
)
async def test_wrong_arguments_are_the_callers_error(arguments: tuple[Any, ...], words: str) -> None:
    """A bad type, endpoint, id, credential or option raises ValidationError with the way out; nothing is kept."""
    async with managing() as (manager, _events):
        with pytest.raises(ValidationError, match=words):
            await manager.establish_connection(*arguments)
        assert manager.get_all_connection_status() == {}


@pytest.mark.asyncio
async def test_establish_is_true_only_after_the_handshake() -> None:
    """No listener, a listener that never upgrades, and a refused upgrade are False with state and error; then it
    works on the same id."""

    async def never(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.transport.abort()

    async with managing() as (manager, _events):
        port = free_port()
        url = f"ws://127.0.0.1:{port}/"
        assert await manager.establish_connection("ws", "websocket", url) is False
        status = manager.get_connection_status("ws")
        assert status is not None
        assert status["state"] == "failed"
        assert "refused" in str(status["health"]["last_error"]).lower()
        server = await asyncio.start_server(never, "127.0.0.1", port)
        options = {"timeout_s": 0.1}
        await manager.close_connection("ws")
        assert await manager.establish_connection("ws", "websocket", url, None, options) is False
        assert manager.is_connection_healthy("ws") is False
        server.close()
        await server.wait_closed()
        exchange = ScriptedExchange(silent)
        exchange.port = port
        async with exchange:
            assert await manager.establish_connection("ws", "websocket", url) is True
            assert manager.is_connection_healthy("ws") is True
            await manager.aclose()


@pytest.mark.asyncio
async def test_double_establish_dials_once_and_another_endpoint_is_refused() -> None:
    """The same id again is True without a second socket, also when asked at once; another endpoint is an error."""
    async with managing() as (manager, _events), ScriptedExchange(silent) as exchange:
        asked = [manager.establish_connection("ws", "websocket", exchange.url) for _ in range(3)]
        assert await asyncio.gather(*asked) == [True, True, True]
        assert len(exchange.peers) == 1
        with pytest.raises(ValidationError, match="close it first"):
            await manager.establish_connection("ws", "websocket", "ws://127.0.0.1:1/other")
        await manager.aclose()


@pytest.mark.asyncio
async def test_http_connections_are_connections() -> None:
    """HTTP is True only with a connection that stands; a closed port is False."""
    async with managing() as (manager, _events), HttpVenue() as venue:
        assert await manager.establish_connection("rest", "http", f"http://127.0.0.1:{free_port()}") is False
        assert await manager.establish_connection("rest2", "http", venue.url) is True
        assert manager.is_connection_healthy("rest2")
        assert not manager.is_connection_healthy("rest")
        assert set(manager.get_all_connection_status()) == {"rest", "rest2"}


@pytest.mark.asyncio
async def test_secrets_stay_inside() -> None:
    """Credentials reach the venue and neither status nor errors show them or the endpoint's path."""
    async with managing() as (manager, events), ScriptedExchange(silent) as exchange:
        url = exchange.url + "/listen-key-123"
        credentials = {"bearer_token": "tok-456", "api_key": "key-789", "api_key_header": "X-KEY"}
        assert await manager.establish_connection("ws", "websocket", url, credentials)
        head = (await exchange.peer()).head
        assert b"Authorization: Bearer tok-456" in head
        assert b"X-KEY: key-789" in head
        shown = json.dumps(manager.get_all_connection_status()) + json.dumps(events)
        assert not any(secret in shown for secret in ("tok-456", "key-789", "listen-key-123"))
        await manager.aclose()


@pytest.mark.asyncio
async def test_the_number_of_connections_is_bounded() -> None:
    """One connection too many is a typed refusal."""
    settings = ConnectionSettings(connections_max=1, dials_max=0)
    async with managing(settings) as (manager, _events), ScriptedExchange(silent) as exchange:
        assert await manager.establish_connection("a", "websocket", exchange.url)
        with pytest.raises(Refused, match="maximum"):
            await manager.establish_connection("b", "websocket", exchange.url)
        await manager.aclose()


@pytest.mark.asyncio
async def test_close_ends_and_forgets() -> None:
    """After close the id is unknown, the peer saw a close frame, and no task is left."""
    async with managing() as (manager, _events), ScriptedExchange(silent) as exchange:
        assert await manager.establish_connection("ws", "websocket", exchange.url)
        assert await manager.close_connection("ws") is True
        assert await manager.close_connection("ws") is False
        assert manager.get_connection_status("ws") is None
        assert any(opcode == 8 for opcode, _data in exchange.peers[0].received)


# ---------------------------------------------------------------- reconnect


@pytest.mark.asyncio
async def test_reconnect_is_false_while_the_peer_is_down_and_true_when_it_is_back() -> None:
    """Attempts with backoff, then False; after the return True with validated health and a count."""
    async with managing() as (manager, _events):
        exchange = ScriptedExchange(silent)
        async with exchange:
            assert await manager.establish_connection("ws", "websocket", exchange.url, None, NO_RETRY)
        assert await manager.reconnect_connection("ws") is False
        status = manager.get_connection_status("ws")
        assert status is not None
        assert status["state"] == "failed"
        async with exchange:
            assert await manager.reconnect_connection("ws") is True
            status = manager.get_connection_status("ws")
            assert status is not None
            assert status["state"] == "connected"
            assert status["health"]["reconnect_count"] == 1
            assert status["health"]["latency_ms"] > 0
            await manager.aclose()


@pytest.mark.asyncio
async def test_reconnect_validates_health() -> None:
    """A peer that upgrades and never pongs, or a health path that answers 500, is no success."""
    async with managing() as (manager, _events):
        async with ScriptedExchange(mute) as exchange:
            assert await manager.establish_connection("ws", "websocket", exchange.url, None, NO_RETRY)
            assert await manager.reconnect_connection("ws") is False
        async with HttpVenue() as venue:
            options = {**NO_RETRY, "health_path": "/ping"}
            assert await manager.establish_connection("rest", "http", venue.url, None, options)
            assert await manager.reconnect_connection("rest") is True
            assert venue.ledger == [("GET /ping", b"")]

            async def broken(writer: asyncio.StreamWriter) -> bool:
                writer.write(b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n")
                return False

            venue.before = broken
            assert await manager.reconnect_connection("rest") is False


@pytest.mark.asyncio
async def test_a_lost_connection_comes_back_by_itself() -> None:
    """A reset is told and dialled again without a call; the messages that waited can be flushed."""
    async with managing() as (manager, events), ScriptedExchange(silent) as exchange:
        assert await manager.establish_connection("ws", "websocket", exchange.url)
        exchange.peers[0].reset()
        await until(lambda: manager.get_connection_status("ws")["health"]["reconnect_count"] == 1)  # type: ignore[index]
        assert manager.is_connection_healthy("ws")
        (lost,) = events.named("connection.lost")
        assert lost["connection"] == "ws"
        assert await manager.queue_message("ws", {"n": 1})
        assert await manager.flush_message_queue("ws") == 1
        await until(lambda: (TEXT, b'{"n":1}') in exchange.peers[1].received)
        await manager.aclose()


@pytest.mark.asyncio
async def test_a_silent_peer_is_found_by_the_heartbeat() -> None:
    """A websocket without pongs is lost, an HTTP origin without answers is unhealthy then lost; both are replaced."""
    settings = ConnectionSettings(
        heartbeat_interval_s=0.05,
        pong_timeout_s=0.1,
        probe_timeout_s=0.1,
        backoff_min_s=0.01,
        backoff_max_s=0.02,
        healthy_s=0,
        dials_max=0,
    )
    answering = True

    async def script(peer: Peer) -> None:
        while True:
            opcode, data = await peer.read_frame()
            if opcode == 9 and answering:
                await peer.send(frame(10, data))

    async with managing(settings) as (manager, events), ScriptedExchange(script) as exchange, HttpVenue() as venue:
        assert await manager.establish_connection("ws", "websocket", exchange.url)
        assert await manager.establish_connection("rest", "http", venue.url)
        await until(lambda: all(manager._connections[name].health.latency_s > 0 for name in ("ws", "rest")))
        answering = False
        hold = asyncio.Event()

        async def hang(_writer: asyncio.StreamWriter) -> bool:
            await hold.wait()
            return True

        venue.before = hang
        await until(lambda: {fields["connection"] for fields in events.named("connection.lost")} == {"ws", "rest"})
        for name in ("ws", "rest"):
            health = manager.get_connection_status(name)["health"]  # type: ignore[index]
            assert health["packet_loss"] > 0
        answering = True
        venue.before = None
        hold.set()
        await until(lambda: all(manager.is_connection_healthy(name) for name in ("ws", "rest")))
        await manager.aclose()


@pytest.mark.asyncio
async def test_maintenance_holds_everything() -> None:
    """Held, nothing is sent or dialled; let go, it comes back by itself."""
    async with managing() as (manager, _events), ScriptedExchange(silent) as exchange:
        assert await manager.establish_connection("ws", "websocket", exchange.url)
        assert await manager.set_maintenance("ws", True)
        assert manager.get_connection_status("ws")["state"] == "maintenance"  # type: ignore[index]
        assert await manager.queue_message("ws", {"n": 1})
        assert await manager.flush_message_queue("ws") == 0
        assert await manager.reconnect_connection("ws") is False
        assert await manager.establish_connection("ws", "websocket", exchange.url) is False
        assert await manager.set_maintenance("ws", False)
        await until(lambda: manager.is_connection_healthy("ws"))
        assert await manager.flush_message_queue("ws") == 1
        await manager.aclose()


# ---------------------------------------------------------------- the queue


@pytest.mark.asyncio
async def test_a_full_queue_says_no_at_once() -> None:
    """At the bound one more is False, in messages and in bytes; the rest stays."""
    settings = ConnectionSettings(queue_bytes_max=100, queue_max=3, dials_max=0)
    async with managing(settings) as (manager, _events), ScriptedExchange(silent) as exchange:
        assert await manager.establish_connection("ws", "websocket", exchange.url)
        assert [await manager.queue_message("ws", {"n": n}) for n in range(4)] == [True, True, True, False]
        assert await manager.flush_message_queue("ws") == 3
        assert await manager.queue_message("ws", {"x": "y" * 50})
        assert await manager.queue_message("ws", {"x": "y" * 50}) is False
        status = manager.get_connection_status("ws")
        assert status is not None
        assert (status["queued"], status["refused"]) == (1, 2)
        await manager.aclose()


@pytest.mark.asyncio
async def test_messages_leave_in_order_with_money_exact() -> None:
    """FIFO; a Decimal becomes its own digits; what is not JSON is the caller's error."""
    async with managing() as (manager, _events), ScriptedExchange(silent) as exchange:
        assert await manager.establish_connection("ws", "websocket", exchange.url)
        for number in range(50):
            assert await manager.queue_message("ws", {"n": number, "p": Decimal("0.10")})
        with pytest.raises(ValidationError, match="JSON"):
            await manager.queue_message("ws", {"x": object()})
        with pytest.raises(ValidationError, match="dict"):
            await manager.queue_message("ws", ["x"])  # type: ignore[arg-type]
        assert await manager.flush_message_queue("ws") == 50
        peer = exchange.peers[0]
        await until(lambda: len(peer.received) == 50)
        assert [json.loads(data) for _op, data in peer.received] == [{"n": n, "p": "0.10"} for n in range(50)]
        await manager.aclose()


@pytest.mark.asyncio
async def test_a_disconnected_flush_sends_nothing_and_keeps_everything() -> None:
    """Down: 0 sent, all kept; up again: all sent."""
    async with managing() as (manager, _events):
        exchange = ScriptedExchange(silent)
        async with exchange:
            assert await manager.establish_connection("ws", "websocket", exchange.url, None, NO_RETRY)
        await until(lambda: not manager.is_connection_healthy("ws"))
        for number in range(3):
            assert await manager.queue_message("ws", {"n": number})
        assert await manager.flush_message_queue("ws") == 0
        assert manager.get_connection_status("ws")["queued"] == 3  # type: ignore[index]
        async with exchange:
            assert await manager.reconnect_connection("ws")
            assert await manager.flush_message_queue("ws") == 3
            await manager.aclose()


@pytest.mark.asyncio
async def test_what_waited_too_long_is_reported_not_sent() -> None:
    """Past its time to live a message is dropped, counted and told."""
    async with managing() as (manager, events), ScriptedExchange(silent) as exchange:
        options = {"message_ttl_s": 0.05}
        assert await manager.establish_connection("ws", "websocket", exchange.url, None, options)
        assert await manager.queue_message("ws", {"old": True})
        await asyncio.sleep(0.06)
        assert await manager.queue_message("ws", {"new": True})
        assert await manager.flush_message_queue("ws") == 1
        await until(lambda: bool(exchange.peers[0].received))
        assert exchange.peers[0].received == [(TEXT, b'{"new":true}')]
        assert events.named("connection.messages_expired") == [{"connection": "ws", "count": 1}]
        await manager.aclose()


@asynccontextmanager
async def keeping(path: Path) -> AsyncIterator[tuple[ConnectionManager, Events]]:
    """A manager whose queue is in a file; leaving it is the ordered end of its process."""
    events = Events()
    manager = ConnectionManager(Config(), settings=QUICK, on_event=events, queue_file=path)
    try:
        yield manager, events
    finally:
        await manager.aclose()


@pytest.mark.asyncio
async def test_a_queue_in_a_file_outlives_the_process(tmp_path: Path) -> None:
    """What was queued and not sent is there for the next process under the same id, once and in order; what was sent,
    closed for good, or carries headers of its own is not.
    """
    async with HttpVenue() as venue:
        async with keeping(tmp_path / "queue") as (manager, _events):
            assert await manager.establish_connection("rest", "http", venue.url)
            assert await manager.establish_connection("closed", "http", venue.url)
            assert await manager.queue_message("rest", {"path": "/first"})
            assert await manager.flush_message_queue("rest") == 1
            for number in range(3):
                message = {"method": "POST", "path": f"/{number}", "json": {"q": Decimal("0.10")}}
                assert await manager.queue_message("rest", message)
            assert await manager.queue_message("rest", {"path": "/secret", "headers": {"X-SIGN": "s3cret"}})
            assert await manager.queue_message("closed", {"path": "/closed"})
            assert await manager.close_connection("closed")
        assert b"s3cret" not in b"".join(path.read_bytes() for path in tmp_path.iterdir())
        for sent in (3, 0):
            async with keeping(tmp_path / "queue") as (manager, _events):
                assert await manager.establish_connection("rest", "http", venue.url)
                assert await manager.establish_connection("closed", "http", venue.url)
                assert await manager.flush_message_queue("rest") == sent
                assert await manager.flush_message_queue("closed") == 0
    assert venue.ledger == [("GET /first", b""), *((f"POST /{number}", b'{"q":"0.10"}') for number in range(3))]


@pytest.mark.asyncio
async def test_a_message_that_may_have_left_is_not_sent_by_the_next_process(tmp_path: Path) -> None:
    """No answer came: told as unknown, and gone from the file; what stood behind it stays."""
    async with HttpVenue() as venue:
        async with keeping(tmp_path / "queue") as (manager, events):
            assert await manager.establish_connection("rest", "http", venue.url)

            async def cut(writer: asyncio.StreamWriter) -> bool:
                venue.before = None
                return False

            venue.before = cut
            assert await manager.queue_message("rest", {"method": "POST", "path": "/order", "body": "1"})
            assert await manager.flush_message_queue("rest") == 0
            assert await manager.queue_message("rest", {"path": "/time"})
            assert len(events.named("connection.message_unknown")) == 1
        async with keeping(tmp_path / "queue") as (manager, events):
            assert await manager.establish_connection("rest", "http", venue.url)
            assert await manager.flush_message_queue("rest") == 1
            assert events.named("connection.message_unknown") == []
    assert [what for what, _body in venue.ledger] == ["POST /order", "GET /time"]


def test_one_that_was_leaving_when_the_process_died_is_told_as_unknown(tmp_path: Path) -> None:
    """kill -9 between the first byte and the answer: the next process tells it and never sends it."""
    from jackstay_agent.connection_journal import MessageJournal

    events = Events()
    path = tmp_path / "queue"
    child = os.fork()
    if child == 0:
        try:
            first = MessageJournal(path, queue_max=10, clock=time.monotonic, wall=time.time, on_event=events)
            seq = first.keep("rest", {"path": "/x"}, 60.0)
            os._exit(0 if seq and first.leaving(seq) else 1)
        finally:
            os._exit(2)
    assert os.waitpid(child, 0)[1] == 0
    second = MessageJournal(path, queue_max=10, clock=time.monotonic, wall=time.time, on_event=events)
    assert events.named("connection.message_unknown") == [{"connection": "rest", "restart": True}]
    assert second.left_over("rest") == []
    second.close()


@pytest.mark.asyncio
async def test_http_flush_counts_answers() -> None:
    """Requests go out in order with headers and body; each answer is handed to the caller; only answers count."""
    answers: list[tuple[Any, int, bytes]] = []
    async with managing() as (manager, _events), HttpVenue() as venue:
        options = {"on_answer": lambda message, status, body: answers.append((message["path"], status, body))}
        assert await manager.establish_connection("rest", "http", venue.url, {"headers": {"X-KEY": "k"}}, options)
        assert await manager.queue_message("rest", {"method": "POST", "path": "/order", "json": {"q": "1"}})
        assert await manager.queue_message("rest", {"path": "/time"})
        for wrong in ({"method": "BREW"}, {"path": "no-slash"}, {"url": "/x"}):
            with pytest.raises(ValidationError):
                await manager.queue_message("rest", wrong)
        assert await manager.flush_message_queue("rest") == 2
        assert venue.ledger == [("POST /order", b'{"q":"1"}'), ("GET /time", b"")]
        assert answers == [("/order", 200, b"ok"), ("/time", 200, b"ok")]
        assert all(b"X-KEY: k" in head for head in venue.heads)


@pytest.mark.asyncio
async def test_an_order_without_an_answer_is_unknown_and_never_sent_again() -> None:
    """A POST whose connection dies after it was read is taken out, told and not repeated; what follows still goes."""
    async with managing() as (manager, events), HttpVenue() as venue:
        assert await manager.establish_connection("rest", "http", venue.url)

        async def cut(writer: asyncio.StreamWriter) -> bool:
            venue.before = None
            return False

        venue.before = cut
        assert await manager.queue_message("rest", {"method": "POST", "path": "/order", "body": "1"})
        assert await manager.queue_message("rest", {"path": "/time"})
        assert await manager.flush_message_queue("rest") == 1
        assert await manager.flush_message_queue("rest") == 0
        assert [what for what, _body in venue.ledger] == ["POST /order", "GET /time"]
        assert len(events.named("connection.message_unknown")) == 1
        status = manager.get_connection_status("rest")
        assert status is not None
        assert (status["sent"], status["unknown"], status["queued"]) == (1, 1, 0)


@pytest.mark.asyncio
async def test_a_cancelled_flush_leaves_the_truth() -> None:
    """Cancelled in the middle of a request: that one is unknown, the others stay queued, nothing is sent twice."""
    async with managing() as (manager, _events), HttpVenue() as venue:
        assert await manager.establish_connection("rest", "http", venue.url)
        reached, hold = asyncio.Event(), asyncio.Event()

        async def hang(_writer: asyncio.StreamWriter) -> bool:
            reached.set()
            await hold.wait()
            return False

        venue.before = hang
        for number in range(3):
            assert await manager.queue_message("rest", {"method": "POST", "path": f"/{number}"})
        flushing = asyncio.create_task(manager.flush_message_queue("rest"))
        await reached.wait()
        flushing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await flushing
        venue.before = None
        hold.set()
        assert await manager.flush_message_queue("rest") == 2
        assert [what for what, _body in venue.ledger] == ["POST /0", "POST /1", "POST /2"]
        assert manager.get_connection_status("rest")["unknown"] == 1  # type: ignore[index]


@pytest.mark.asyncio
async def test_received_messages_reach_the_callback() -> None:
    """What a websocket receives goes to on_message."""

    async def script(peer: Peer) -> None:
        await peer.send(frame(TEXT, b"hello"))
        await silent(peer)

    got: list[bytes] = []
    async with managing() as (manager, _events), ScriptedExchange(script) as exchange:
        assert await manager.establish_connection("ws", "websocket", exchange.url, None, {"on_message": got.append})
        await until(lambda: got == [b"hello"])
        await manager.aclose()


@pytest.mark.asyncio
async def test_one_hanging_venue_does_not_slow_another() -> None:
    """With one venue swallowing requests the other's flush is as quick as alone."""
    async with managing() as (manager, _events), HttpVenue() as hanging, HttpVenue() as well:
        hold = asyncio.Event()

        async def hang(_writer: asyncio.StreamWriter) -> bool:
            await hold.wait()
            return False

        hanging.before = hang
        assert await manager.establish_connection("hanging", "http", hanging.url)
        assert await manager.establish_connection("well", "http", well.url)
        for _ in range(100):
            assert await manager.queue_message("hanging", {"path": "/"})
            assert await manager.queue_message("well", {"path": "/"})
        stuck = asyncio.create_task(manager.flush_message_queue("hanging"))
        loop = asyncio.get_running_loop()
        started = loop.time()
        assert await manager.flush_message_queue("well") == 100
        assert loop.time() - started < 1.0
        stuck.cancel()
        hold.set()
        with pytest.raises(asyncio.CancelledError):
            await stuck


# ---------------------------------------------------------------- health and states


def test_health_becomes_a_plain_dict() -> None:
    """All fields of the contract, the time as ISO text."""
    now = datetime(2026, 1, 2, tzinfo=UTC)
    health = ConnectionHealth(now, 1.5, 0.1, 0.9, 60, 2, None)
    assert health.to_dict() == {
        "last_heartbeat": "2026-01-02T00:00:00+00:00",
        "latency_ms": 1.5,
        "packet_loss": 0.1,
        "connection_quality": 0.9,
        "uptime_seconds": 60,
        "reconnect_count": 2,
        "last_error": None,
    }


@pytest.mark.asyncio
async def test_the_heartbeats_time_is_wall_time() -> None:
    """The last heartbeat of a living connection is now, aware and in UTC."""
    async with managing() as (manager, _events), ScriptedExchange(silent) as exchange:
        assert await manager.establish_connection("ws", "websocket", exchange.url)
        beat = datetime.fromisoformat(manager.get_connection_status("ws")["health"]["last_heartbeat"])  # type: ignore[index]
        assert abs(datetime.now(UTC) - beat) < timedelta(seconds=5)
        await manager.aclose()


@pytest.mark.parametrize("state", ConnectionState)
@pytest.mark.parametrize("target", ConnectionState)
def test_every_move_is_legal_by_the_table_or_refused_by_name(state: ConnectionState, target: ConnectionState) -> None:
    """A legal move leads there; an illegal one names the connection and both states; staying is none."""
    connection = Connection("c1", "websocket", "wss://venue.test", "wss://venue.test")
    connection.state = state
    if target is state or target in MOVES[state]:
        connection.move(target)
        assert connection.state is target
    else:
        with pytest.raises(AssertionError, match=f"connection c1 is {state.value} and cannot be {target.value}"):
            connection.move(target)
        assert connection.state is state


def test_the_state_table_knows_every_state() -> None:
    """Every state has its moves, and each can be left."""
    assert set(MOVES) == set(ConnectionState)
    assert all(MOVES.values())
    assert {state.value for state in ConnectionState} == {
        "connected",
        "connecting",
        "disconnected",
        "failed",
        "maintenance",
    }


@given(
    st.lists(st.one_of(st.none(), st.floats(0.0001, 10)), max_size=150),
    st.floats(0, 1000),
)
def test_figures_stay_in_their_ranges(probes: list[float | None], wait_s: float) -> None:
    """Loss and quality lie between 0 and 1, latency between the observed extremes, and nothing improves by waiting."""
    health = Health(interval_s=10)
    for probe in probes:
        if probe is None:
            health.missed()
        else:
            health.answered(100.0, probe)
    assert 0 <= health.loss <= 1
    quality = health.quality(100.0, connected=True)
    assert 0 <= health.quality(100.0 + wait_s, connected=True) <= quality <= 1
    assert health.quality(100.0, connected=False) == 0
    seen = [probe for probe in probes if probe is not None]
    if seen:
        assert min(seen) * 0.999 <= health.latency_s <= max(seen) * 1.001
        assert health.percentile_s(0.5) <= health.percentile_s(0.99)


def test_quality_follows_its_formula() -> None:
    """Loss, slow answers and silence each lower it as documented."""
    health = Health(interval_s=10)
    health.answered(0.0, 0.05)
    assert health.quality(0.0, connected=True) == 1.0
    assert health.quality(20.0, connected=True) == 1.0
    assert health.quality(40.0, connected=True) == 0.5
    assert health.quality(60.0, connected=True) == 0.0
    health.missed()
    assert health.quality(0.0, connected=True) == 0.5
    slow = Health(interval_s=10)
    slow.answered(0.0, 0.2)
    assert slow.quality(0.0, connected=True) == 0.5
