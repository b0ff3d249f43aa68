"""A long-lived HTTP answer as a stream of messages, one a line: for venues that push prices without WebSockets.

It looks to a feed like a WebSocket that is never written to. There are no pings, so a line without a byte for as long
as a WebSocket's missing pong would be noticed is dead: such venues send heartbeats as messages (OANDA: every 5 s).
Lines are bounded, compression is not asked for, redirects are an error, and an answer other than 200 fails the dial.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

import httptools

from jackstay_protocols.clock import boot_s
from jackstay_protocols.errors import ExchangeError, Reason

from .dial import Address, DialError, dial, resolve
from .endpoint import Endpoint
from .http_request import serialise
from .tls import make_ssl_context
from .ws_types import ABNORMAL, LATE_S, NORMAL, TEXT, OnMessages, WsClosed, WsSettings


class LineStream(asyncio.Protocol):
    """One open answer. ``latency_s`` is the time to its first byte; nothing measures it later."""

    def __init__(
        self, settings: WsSettings, on_messages: OnMessages, on_close: Callable[[WsClosed], None], clock: Any
    ) -> None:
        self.heard_at = clock()
        self.latency_s: float | None = None
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []
        self._settings = settings
        self._on_messages = on_messages
        self._on_close = on_close
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpResponseParser(self)
        self._rest = b""
        self._transport: Any = None
        self._ending: WsClosed | None = None
        self._asked_at = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._due_at = 0.0
        self.answered: asyncio.Future[None] = self._loop.create_future()
        self._ended: asyncio.Future[WsClosed] = self._loop.create_future()

    # ------------------------------------------------------------ what a feed needs

    @property
    def is_open(self) -> bool:
        return not self._ended.done() and self._ending is None

    def ask(self, data: bytes) -> None:
        self._asked_at = self._clock()
        self._transport.write(data)

    def send(self, payload: bytes | str, kind: int = TEXT) -> bool:
        """Nothing is ever sent; the topics are in the URL."""
        return self.is_open

    def close(self, code: int = NORMAL, detail: str = "", *, reason: str = "") -> None:
        self._end(WsClosed("us", code, reason, detail))

    def abort(self, detail: str = "", *, reason: str = "") -> None:
        self._end(WsClosed("us", ABNORMAL, reason, detail))

    async def wait_closed(self) -> WsClosed:
        return await asyncio.shield(self._ended)

    def _end(self, closed: WsClosed) -> None:
        if self._ending is None:
            self._ending = closed
        if self._transport is not None:
            self._transport.abort()

    # ------------------------------------------------------------ asyncio

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self.heard_at = self._clock()
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._end(WsClosed("us", ABNORMAL, Reason.PROTOCOL, f"not an HTTP answer: {str(error)[:100]}"))

    def connection_lost(self, error: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        closed = self._ending or WsClosed("network", ABNORMAL, Reason.RESET, "the connection ended inside the stream")
        if not self._ended.done():
            self._ended.set_result(closed)
        if not self.answered.done():
            self.answered.set_exception(ConnectionResetError(closed.detail))
        elif self.status == 200:
            self._on_close(closed)

    # ------------------------------------------------------------ the parser's calls

    def on_header(self, name: bytes, value: bytes) -> None:
        if len(self.headers) < 256:
            self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if 100 <= status < 200:
            return
        self.status = status
        self.latency_s = self._clock() - self._asked_at
        if not self.answered.done():
            self.answered.set_result(None)
        self._watch()

    def on_body(self, chunk: bytes) -> None:
        if self.status != 200 or self._ending is not None:
            return
        lines = (self._rest + chunk).split(b"\n")
        self._rest = lines.pop()
        payloads = [payload for line in lines if (payload := line.rstrip(b"\r"))]
        if payloads:
            self._on_messages(payloads)
        if len(self._rest) > self._settings.message_bytes_max:
            what = f"a line over {self._settings.message_bytes_max} bytes"
            self._rest = b""
            self._end(WsClosed("us", ABNORMAL, Reason.RESPONSE_TOO_LARGE, what))

    def on_message_complete(self) -> None:
        if self.status >= 200:
            self._ending = self._ending or WsClosed("peer", NORMAL, "", "the venue ended the stream")
            self._transport.close()

    # ------------------------------------------------------------ silence

    def _watch(self) -> None:
        silent_s = self._settings.ping_interval_s + self._settings.pong_timeout_s
        if self._settings.ping_interval_s > 0:
            self._due_at = self.heard_at + silent_s
            self._timer = self._loop.call_later(max(0.001, self._due_at - self._clock()), self._look)

    def _look(self) -> None:
        now = self._clock()
        if now - self._due_at > LATE_S and self._due_at - self.heard_at > 0:
            self.heard_at = max(self.heard_at, now - self._settings.ping_interval_s)  # we did not run: look again
        elif now >= self.heard_at + self._settings.ping_interval_s + self._settings.pong_timeout_s:
            self.abort(f"not a byte for {now - self.heard_at:.3g} s", reason=Reason.TIMEOUT)
            return
        self._watch()


async def line_stream_connect(
    url: str,
    *,
    on_messages: OnMessages,
    on_close: Callable[[WsClosed], None],
    headers: Mapping[str, str] | None = None,
    ssl_context: ssl.SSLContext | None = None,
    timeout_s: float = 10.0,
    settings: WsSettings | None = None,
    endpoint: Endpoint | None = None,
    resolve: Callable[[str, int], Awaitable[list[Address]]] = resolve,
    local_address: str = "",
    clock: Callable[[], float] = boot_s,
) -> LineStream:
    """Ask ``url`` and return the stream once the venue answered 200. As `ws_connect`: the same arguments and errors."""
    target = endpoint or Endpoint.parse(url)
    parts = urlsplit(url)
    line = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    pairs = [(name.encode(), value.encode()) for name, value in (headers or {}).items()]
    data, _decode = serialise(b"GET", line.encode("ascii"), target.host_header, pairs, b"")
    if target.tls and ssl_context is None:
        ssl_context = make_ssl_context(ca_file=target.ca_file or None)
    made: list[LineStream] = []

    def stream() -> LineStream:
        made.append(LineStream(settings or WsSettings(), on_messages, on_close, clock))
        return made[-1]

    try:
        async with asyncio.timeout(timeout_s):
            addresses = await resolve(target.dial_host, target.dial_port)
            _transport, opened = await dial(
                stream,
                addresses,
                ssl_context=ssl_context if target.tls else None,
                server_hostname=target.server_hostname,
                local_address=local_address,
                timeout_s=timeout_s,
            )
            opened.ask(data)
            await opened.answered
    except DialError as error:
        raise _failed(target, error.cause, error.detail) from error
    except TimeoutError:
        _cut(made)
        raise _failed(target, Reason.TIMEOUT, f"no answer within {timeout_s:g} s") from None
    except ConnectionResetError as error:
        raise _failed(target, Reason.RESET, str(error)) from error
    except BaseException:
        _cut(made)
        raise
    if opened.status != 200:
        opened.abort()
        limited = opened.status in (418, 429)
        after = next((value for name, value in opened.headers if name == b"retry-after"), b"")
        retry_s = float(after) if after.isdigit() and len(after) < 8 else None
        reason = Reason.RATE_LIMITED if limited else Reason.PROTOCOL
        raise _failed(target, reason, f"the venue answered {opened.status} instead of 200", retry_s, opened.status)
    return opened  # type: ignore[no-any-return]


def _cut(made: list[LineStream]) -> None:
    for each in made:
        each.abort()


def _failed(
    target: Endpoint, reason: Reason, what: str, retry_after_s: float | None = None, status: int = 0
) -> ExchangeError:
    details: dict[str, Any] = {"host": target.host, "port": target.port}
    if status:
        details["status"] = status
    return ExchangeError(
        f"stream from {target.host}:{target.port} failed: {what}",
        reason=reason,
        retry_after_s=retry_after_s,
        details=details,
    )
