"""One connection of http.sock: HTTP/1.1 in, one request at a time, until the client asks for a WebSocket.

Knows the protocol and nothing else: what a request is for, the door decides. Whatever a client sends costs bounded
memory and gets an answer where HTTP allows one; a pipelining client's next requests wait in the socket.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections import deque
from typing import Any, Protocol

import httptools

from jackstay_protocols.limits import HEADER_BYTES_MAX, HEADERS_MAX, REQUEST_BODY_BYTES_MAX, URL_BYTES_MAX

from .door import PeerCredentials
from .http_answers import own_bytes

PIPELINED_MAX = 32
LINGER_S = 2.0
_TLS_HANDSHAKE = 0x16


class HttpRequest:
    """One request as it came. ``headers`` verbatim pairs; ``get`` looks one up whatever its capitalisation."""

    __slots__ = ("body", "headers", "keep_alive", "method", "rest", "target", "upgrade")

    def __init__(self) -> None:
        self.method = ""
        self.target = ""
        self.headers: list[tuple[bytes, bytes]] = []
        self.body = b""
        self.keep_alive = True
        self.upgrade = False  # a WebSocket is wanted
        self.rest = b""  # bytes that came after an upgrade request

    def get(self, name: bytes) -> bytes:
        for each, value in self.headers:
            if each.lower() == name:
                return value
        return b""


class Tunnel(Protocol):
    """What a connection becomes after an upgrade."""

    def from_client(self, data: bytes) -> None: ...
    def client_gone(self) -> None: ...
    def client_slow(self, slow: bool) -> None: ...


class Handler(Protocol):
    """The door, as a connection sees it."""

    def opened(self, peer: HttpPeer) -> bool: ...
    def take(self, peer: HttpPeer, request: HttpRequest) -> None: ...
    def left(self, peer: HttpPeer) -> None: ...
    def refused(self, peer: HttpPeer, what: str) -> None: ...


class HttpPeer(asyncio.Protocol):
    """A client's connection."""

    def __init__(self, handler: Handler, *, tcp: bool) -> None:
        self.tcp = tcp
        self.credentials: PeerCredentials | None = None
        self.busy: object | None = None  # the request under way, as the door calls it
        self.tunnel: Tunnel | None = None
        self.heard_at = 0.0
        self._handler = handler
        self._transport: Any = None
        self._parser = httptools.HttpRequestParser(self)
        self._request = HttpRequest()
        self._waiting: deque[HttpRequest] = deque()
        self._header_bytes = 0
        self._chunks: list[bytes] = []
        self._body_bytes = 0
        self._url = b""
        self._wrong: tuple[int, str] | None = None
        self._first = True
        self._deaf = False
        self.closed = False

    # ------------------------------------------------------------ the connection

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        if not self.tcp:
            self.credentials = _credentials(transport)
        if not self._handler.opened(self):
            self.closed = True
            transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        self.closed = True
        self._waiting.clear()
        if self.tunnel is not None:
            self.tunnel.client_gone()
        self._handler.left(self)

    def eof_received(self) -> bool:
        return False  # a client that closed its half does not wait for an answer: HTTP libraries never do that

    def pause_writing(self) -> None:
        if self.tunnel is not None:
            self.tunnel.client_slow(True)

    def resume_writing(self) -> None:
        if self.tunnel is not None:
            self.tunnel.client_slow(False)

    def read(self, wanted: bool) -> None:
        """Read on, or let the client wait."""
        if not self.closed:
            (self._transport.resume_reading if wanted else self._transport.pause_reading)()

    def write(self, data: bytes) -> None:
        if not self.closed:
            self._transport.write(data)

    def close(self) -> None:
        """What was written still leaves."""
        if not self.closed:
            self._transport.close()

    def abort(self) -> None:
        """End it as a network would: no more bytes, no orderly close."""
        if not self.closed:
            self._transport.abort()

    # ------------------------------------------------------------ bytes

    def data_received(self, data: bytes) -> None:
        if self.tunnel is not None:
            self.tunnel.from_client(data)
            return
        if self._deaf:
            return
        if self._first:
            self._first = False
            if data[0] == _TLS_HANDSHAKE:
                self._handler.refused(self, "TLS on a plain local socket: use http:// with this socket, or a library's")
                self.abort()
                return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._upgraded(data[upgrade.args[0] :])
            return
        except httptools.HttpParserError as error:
            self._wrong = self._wrong or (400, f"no HTTP/1.1 request: {error}")
        if self._wrong is not None:
            self._refuse(*self._wrong)

    def answered(self, answer: bytes, keep_alive: bool) -> None:
        """The request under way has its answer; the next one may go."""
        self.busy = None
        self.write(answer)
        if not keep_alive:
            self.close()
            return
        if self._waiting:
            if len(self._waiting) == PIPELINED_MAX:
                self.read(True)
            self._begin(self._waiting.popleft())

    def _upgraded(self, rest: bytes) -> None:
        """The parser stops after a request that names another protocol, whether that is spoken here or not."""
        self._parser = httptools.HttpRequestParser(self)
        if self.tunnel is not None:
            if rest:
                self.tunnel.from_client(rest)
        elif rest and not self.closed:
            self.data_received(rest)

    def _refuse(self, status: int, what: str) -> None:
        self._handler.refused(self, what)
        if self.busy is not None:
            self.close()
            return
        self.write(own_bytes(status, what, reason="bad_request", keep_alive=False))
        # Closing on unread bytes would reset the line under the answer: say goodbye, and swallow the rest for a moment.
        self._deaf = True
        self._transport.write_eof()
        asyncio.get_running_loop().call_later(LINGER_S, self.abort)

    # ------------------------------------------------------------ httptools' callbacks; none may raise

    def on_message_begin(self) -> None:
        self._request = HttpRequest()
        self._header_bytes = self._body_bytes = 0
        self._chunks = []
        self._url = b""

    def on_url(self, url: bytes) -> None:
        self._url += url
        if len(self._url) > URL_BYTES_MAX:
            self._wrong = (414, f"a url of more than {URL_BYTES_MAX} bytes")

    def on_header(self, name: bytes, value: bytes) -> None:
        self._header_bytes += len(name) + len(value)
        if self._header_bytes > HEADER_BYTES_MAX or len(self._request.headers) >= HEADERS_MAX:
            self._wrong = (431, f"more than {HEADERS_MAX} headers or {HEADER_BYTES_MAX} bytes of them")
            return
        self._request.headers.append((name, value))

    def on_headers_complete(self) -> None:
        request = self._request
        request.method = self._parser.get_method().decode("ascii")
        request.keep_alive = self._parser.should_keep_alive()
        request.upgrade = request.get(b"upgrade").lower() == b"websocket" and self._parser.should_upgrade()
        try:
            request.target = self._url.decode("ascii")
        except UnicodeDecodeError:
            self._wrong = (400, "a url that is not ASCII; a percent-encoded one is expected")
        if request.get(b"expect").lower() == b"100-continue" and self._wrong is None and self.busy is None:
            self.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, chunk: bytes) -> None:
        self._body_bytes += len(chunk)
        if self._body_bytes > REQUEST_BODY_BYTES_MAX:
            self._wrong = (413, f"a body of more than {REQUEST_BODY_BYTES_MAX} bytes")
            return
        self._chunks.append(chunk)

    def on_message_complete(self) -> None:
        request = self._request
        request.body = b"".join(self._chunks)
        self._chunks = []
        if self._wrong is not None or self.closed or self.tunnel is not None:
            return
        if self.busy is not None:
            self._waiting.append(request)
            if len(self._waiting) > PIPELINED_MAX:
                self._wrong = (429, f"more than {PIPELINED_MAX} requests wait on one connection")
            elif len(self._waiting) == PIPELINED_MAX:
                self.read(False)
            return
        self._begin(request)

    def _begin(self, request: HttpRequest) -> None:
        self.busy = request
        self._handler.take(self, request)


def _credentials(transport: Any) -> PeerCredentials | None:
    """Who is on the other end, by the kernel's word; None where the system does not tell."""
    sock = transport.get_extra_info("socket")
    option = getattr(socket, "SO_PEERCRED", None)
    if sock is None or option is None:
        return None
    try:
        pid, uid, gid = struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, option, struct.calcsize("3i")))
    except OSError:
        return None
    return PeerCredentials(uid, gid, pid)
