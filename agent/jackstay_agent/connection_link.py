"""The two kinds of connection a `ConnectionManager` holds: an HTTP pool and a WebSocket, behind one small face.

A link dials, proves that it lives, sends one queued message and says what became of it. It decides nothing: when to
dial again, what to do with an unknown outcome and how healthy a connection is are the manager's.
"""

from __future__ import annotations

import asyncio
import random as chance
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from jackstay_protocols.errors import ExchangeError, Reason, ValidationError

from .transport.ws_dial import ws_dial
from .transport.ws_types import WsClosed, WsSettings
from .transport.ws_url import parse_ws_url

if TYPE_CHECKING:
    from .transport.websocket import WsConnection

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
_SAFE = ("GET", "HEAD", "PUT", "DELETE")  # may be repeated (RFC 9110 §9.2.2)


class Fate(Enum):
    """What became of a message that was handed to a link."""

    SENT = "sent"  # HTTP: answered; WebSocket: in the system's socket
    KEPT = "kept"  # provably not sent: it may stay in the queue
    UNKNOWN = "unknown"  # bytes may have left and nothing says more: never sent again by us


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One queued message, made final when it was queued."""

    data: bytes  # WebSocket: the text; HTTP: the body
    method: str = ""
    target: str = ""
    headers: tuple[tuple[bytes, bytes], ...] = ()
    repeatable: bool = False
    message: Any = None  # as the caller gave it, for his own callback
    seq: int = 0  # its number in the journal, if it has one

    @property
    def size(self) -> int:
        return len(self.data) + len(self.target) + sum(len(n) + len(v) for n, v in self.headers)


@dataclass(frozen=True, slots=True)
class LinkOptions:
    """``connection_options`` and ``credentials``, checked."""

    headers: dict[str, str]
    timeout_s: float
    ping_interval_s: float
    pong_timeout_s: float
    health_path: str
    ssl_context: ssl.SSLContext | None
    on_message: Callable[[bytes], None] | None
    on_answer: Callable[[Any, int, bytes], None] | None


class Link(Protocol):
    """What the manager needs of a connection."""

    @property
    def is_open(self) -> bool: ...
    @property
    def heard_at(self) -> float | None: ...
    def outgoing(self, message: Mapping[str, Any]) -> Outgoing: ...
    async def open(self) -> None: ...
    async def probe(self, timeout_s: float) -> float: ...
    async def send(self, out: Outgoing, timeout_s: float) -> Fate: ...
    async def close(self, *, polite: bool = True) -> None: ...


class WsLink:
    """A WebSocket. A message is one JSON text."""

    def __init__(
        self, url: str, options: LinkOptions, *, endpoint: Any, clock: Callable[[], float], lost: Callable[[str], None]
    ) -> None:
        parse_ws_url(url)
        self._url = url
        self._options = options
        self._endpoint = endpoint
        self._clock = clock
        self._lost = lost
        self._ws: WsConnection | None = None
        self._message_at: float | None = None

    @property
    def is_open(self) -> bool:
        return self._ws is not None and self._ws.is_open

    @property
    def heard_at(self) -> float | None:
        if self._ws is None:
            return None
        return max(self._ws.heard_at, self._message_at or 0.0)

    def outgoing(self, message: Mapping[str, Any]) -> Outgoing:
        return Outgoing(_json(message), message=message)

    async def open(self) -> None:
        """Raises ExchangeError; returns once the upgrade is through."""
        options = self._options
        self._ws = await ws_dial(
            self._url,
            on_messages=self._on_messages,
            on_close=self._on_close,
            headers=options.headers,
            ssl_context=options.ssl_context,
            timeout_s=options.timeout_s,
            endpoint=self._endpoint,
            settings=WsSettings(ping_interval_s=options.ping_interval_s, pong_timeout_s=options.pong_timeout_s),
            clock=self._clock,
        )

    async def probe(self, timeout_s: float) -> float:
        """One ping's round trip in seconds; raises ExchangeError."""
        ws = self._ws
        if ws is None:
            raise ExchangeError("the websocket is not connected", reason=Reason.RESET)
        try:
            async with asyncio.timeout(timeout_s):
                return await ws.round_trip()
        except TimeoutError as error:
            raise ExchangeError(f"no pong within {timeout_s:g} s", reason=Reason.TIMEOUT) from error
        except ConnectionError as error:
            raise ExchangeError(str(error), reason=Reason.RESET) from error

    async def send(self, out: Outgoing, timeout_s: float) -> Fate:
        ws = self._ws
        if ws is None or not ws.is_open:
            return Fate.KEPT
        if not ws.send(out.data):
            return Fate.KEPT  # the peer does not read: past the write bound
        try:
            async with asyncio.timeout(timeout_s):
                return Fate.SENT if await ws.drained() else Fate.UNKNOWN
        except TimeoutError:
            return Fate.UNKNOWN

    async def close(self, *, polite: bool = True) -> None:
        """Politely with a closing handshake, bounded by its own wait; else cut: the peer is believed dead."""
        ws, self._ws = self._ws, None
        if ws is not None and ws.closed is None:
            if polite:
                ws.close()
            else:
                ws.abort()
            await ws.wait_closed()

    def _on_messages(self, payloads: list[bytes]) -> None:
        self._message_at = self._clock()
        if self._options.on_message is not None:
            for payload in payloads:
                self._options.on_message(payload)

    def _on_close(self, closed: WsClosed) -> None:
        if self._ws is not None:
            self._lost(closed.detail or closed.reason or f"closed with code {closed.code}")


class HttpLink:
    """A pool of HTTP/1.1 connections to one origin. A message is one request:
    ``{"method", "path", "headers"?, "body"? (str or bytes) or "json"?, "idempotent"?}``.
    """

    def __init__(
        self,
        url: str,
        options: LinkOptions,
        *,
        endpoint: Any,
        pool_settings: Any,
        clock: Callable[[], float],
        random: chance.Random,
    ) -> None:
        self._url = url
        self._options = options
        self._endpoint = endpoint
        self._pool_settings = pool_settings
        self._clock = clock
        self._random = random
        self._pool: Any = None
        self._answered_at: float | None = None
        self._base = tuple((name.encode(), value.encode()) for name, value in options.headers.items())

    @property
    def is_open(self) -> bool:
        return self._pool is not None and self._pool.status()["live"] > 0

    @property
    def heard_at(self) -> float | None:
        return self._answered_at

    def outgoing(self, message: Mapping[str, Any]) -> Outgoing:
        unknown = set(message) - {"method", "path", "headers", "body", "json", "idempotent"}
        if unknown:
            raise ValidationError(
                f"http message with {', '.join(sorted(map(repr, unknown)))}; method, path, headers, body, json and"
                " idempotent are expected",
                reason=Reason.BAD_REQUEST,
            )
        method = str(message.get("method", "GET")).upper()
        path = message.get("path", "/")
        if method not in METHODS or not isinstance(path, str) or not path.startswith("/"):
            raise ValidationError(
                f"http message with method {method!r} and path {path!r}; one of {', '.join(METHODS)} and a path that"
                " starts with '/' are expected",
                reason=Reason.BAD_REQUEST,
            )
        headers = [*self._base, *((str(n).encode(), str(v).encode()) for n, v in message.get("headers", {}).items())]
        body = message.get("body", b"")
        if "json" in message:
            body = _json(message["json"])
            headers.append((b"Content-Type", b"application/json"))
        data = body.encode() if isinstance(body, str) else bytes(body)
        repeatable = bool(message.get("idempotent", method in _SAFE))
        return Outgoing(data, method, path, tuple(headers), repeatable, message)

    async def open(self) -> None:
        """Raises ExchangeError; returns once a TCP (and TLS) connection stands."""
        from .transport.dial import dial, resolve
        from .transport.http import HttpPool
        from .transport.tls import make_ssl_context

        context = self._options.ssl_context
        if context is None and self._endpoint.tls:
            context = make_ssl_context(ca_file=self._endpoint.ca_file or None)
        pool = HttpPool(
            self._endpoint,
            self._pool_settings,
            loop=asyncio.get_running_loop(),
            clock=self._clock,
            random=self._random,
            dial=dial,
            resolve=resolve,
            ssl_context=context,
        )
        try:
            async with asyncio.timeout(self._options.timeout_s):
                await pool.warm()
        except TimeoutError:
            pass  # told below, like any other reason for having no connection
        status = pool.status()
        if not status["live"]:
            await pool.close(0.0)
            raise ExchangeError(
                f"no connection to {self._endpoint.host}:{self._endpoint.port}: {status['last_error'] or 'timed out'}",
                reason=Reason.REFUSED,
            )
        self._pool = pool

    async def probe(self, timeout_s: float) -> float:
        """One harmless request's round trip in seconds; raises ExchangeError. Any answer of a server that was only
        asked for ``/`` is proof of life; a named health path has to answer below 400."""
        path = self._options.health_path
        started = self._clock()
        answer = await self._ask(Outgoing(b"", "GET" if path else "HEAD", path or "/", self._base, True), timeout_s)
        status = getattr(answer, "status", 0)
        if not status:
            raise ExchangeError(f"no answer: {answer.detail}", reason=str(answer.cause))
        if path and status >= 400:
            raise ExchangeError(f"{path} answered {status}", reason=Reason.PROTOCOL)
        return self._clock() - started

    async def send(self, out: Outgoing, timeout_s: float) -> Fate:
        if self._pool is None:
            return Fate.KEPT
        answer = await self._ask(out, timeout_s)
        status = getattr(answer, "status", 0)
        if status:
            if self._options.on_answer is not None:
                self._options.on_answer(out.message, status, answer.body)
            return Fate.SENT
        return Fate.KEPT if not answer.sent or out.repeatable else Fate.UNKNOWN

    async def close(self, *, polite: bool = True) -> None:
        pool, self._pool = self._pool, None
        if pool is not None:
            await pool.close(0.0)

    async def _ask(self, out: Outgoing, timeout_s: float) -> Any:
        """The pool's answer or failure; a cancelled wait abandons the request."""
        if self._pool is None:
            raise ExchangeError("the http connection is not open", reason=Reason.RESET)
        waiter: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

        def done(answer: Any) -> None:
            if not waiter.done():
                waiter.set_result(answer)

        ticket = self._pool.submit(
            out.method.encode(),
            out.target.encode(),
            list(out.headers),
            out.data,
            deadline_at=self._clock() + timeout_s,
            done=done,
            idempotent=out.repeatable,
        )
        try:
            answer = await waiter
        except asyncio.CancelledError:
            ticket.abandon()
            raise
        if getattr(answer, "status", 0):
            self._answered_at = self._clock()
        return answer


def _json(value: Any) -> bytes:
    try:
        return msgspec.json.encode(value)
    except (TypeError, msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise ValidationError(
            f"message cannot be written as JSON: {error}; plain text, numbers, lists and dicts are expected",
            reason=Reason.BAD_REQUEST,
        ) from error
