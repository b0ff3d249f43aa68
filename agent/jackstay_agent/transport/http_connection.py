"""One HTTP/1.1 client connection: bytes out, one answer at a time in.

httptools is a parser and no client; what a correct client needs beyond it is here (docs/ARCHITECTURE.md lists the
traps): 1xx answers are skipped, HEAD has no body, a body without length ends with the connection, truncated bodies are
failures, bytes nobody asked for close the connection, headers and bodies are bounded, exceptions never pass through
the parser's callbacks.
"""

from __future__ import annotations

import asyncio
import zlib
from typing import TYPE_CHECKING, Any

import httptools

from jackstay_protocols.errors import Reason

from ..core.pool import ConnState, move

if TYPE_CHECKING:
    from .http import HttpPool
    from .http_ticket import Ticket

_DECODABLE = {b"gzip": 31, b"x-gzip": 31, b"deflate": 15}


class HttpConnection(asyncio.Protocol):
    """Owned by a pool. Not reentrant: the pool writes one request, this delivers one answer, then the next."""

    def __init__(self, pool: HttpPool, number: int) -> None:
        self.pool = pool
        self.number = number
        self.state = ConnState.CONNECTING
        self.ticket: Ticket | None = None
        self.opened_at = 0.0
        self.used_at = 0.0
        self.keep_alive_hint_s = 0.0
        self.replace_at = float("inf")
        self.peer_address = ""
        self.served = 0
        self.writable = True
        self._transport: Any = None
        self._settings = pool.settings
        self._reset_parser()

    def _reset_parser(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._clear()

    def _clear(self) -> None:
        self._reason = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._header_bytes = 0
        self._chunks: list[bytes] = []
        self._body_bytes = 0
        self._status = 0
        self._headers_done = False
        self._ends_with_connection = False
        self._complete = False
        self._keep_alive = False
        self._extra = False
        self._head_fed = 0
        self._wrong: tuple[Reason, str] | None = None
        self._decoder: Any = None
        self._first_byte_at = 0.0

    # ------------------------------------------------------------ asyncio

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self.opened_at = self.used_at = self.pool.clock()
        peer = transport.get_extra_info("peername")
        self.peer_address = str(peer[0]) if isinstance(peer, tuple) else ""

    def pause_writing(self) -> None:
        self.writable = False

    def resume_writing(self) -> None:
        self.writable = True

    def data_received(self, data: bytes) -> None:
        if self.ticket is None:
            # Nobody asked: a second answer, or a farewell. Either way the next request would get the wrong bytes.
            self.close()
            return
        if not self._first_byte_at:
            self._first_byte_at = self.pool.clock()
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._wrong = (Reason.PROTOCOL, "the server switched protocols without being asked")
        except httptools.HttpParserError as error:
            if self._wrong is None and not self._complete:
                self._wrong = (Reason.PROTOCOL, f"not an HTTP/1.1 answer: {error}")
            elif self._complete:
                self._wrong = None
                self._deliver(keep=False)  # a good answer, then garbage: the answer counts, the connection does not
                return
        if not self._headers_done:
            # The parser holds an unfinished line itself, whatever its length: what was fed is what is bounded.
            self._head_fed += len(data)
            if self._head_fed > 2 * self._settings.header_bytes_max and self._wrong is None:
                self._wrong = (Reason.RESPONSE_TOO_LARGE, "headers without end")
        if self._wrong is not None:
            self._fail(*self._wrong)
        elif self._complete:
            self._deliver(keep=self._keep_alive and not self._extra)

    def eof_received(self) -> bool:
        return False  # close; connection_lost follows

    def connection_lost(self, error: Exception | None) -> None:
        if self.state is not ConnState.CLOSED:
            self.state = move(self.state, "closed")
        self.pool.connection_closed(self)
        if self.ticket is None:
            return
        if self._headers_done and self._ends_with_connection and error is None:
            self._complete = True
            self._deliver(keep=False)
        elif self._headers_done or self._first_byte_at:
            self._fail(Reason.PROTOCOL, "the connection ended inside the answer")
        else:
            self._fail(Reason.RESET, f"the connection ended before an answer: {error or 'closed by the server'}")

    # ------------------------------------------------------------ the pool's side

    def send(self, ticket: Ticket) -> None:
        """Write one whole request; the state is READY."""
        self.state = move(self.state, "picked")
        self.ticket = ticket
        ticket.connection = self
        ticket.written = True
        self._transport.write(ticket.data)

    def is_closing(self) -> bool:
        return self._transport is None or bool(self._transport.is_closing())

    def close(self) -> None:
        """Close without waiting; a ticket still here hears of it from connection_lost."""
        if self._transport is not None:
            self._transport.abort() if self.ticket is not None else self._transport.close()

    def drop(self) -> None:
        """The request's owner left in mid-answer: the connection can never be reused."""
        self.ticket = None
        if self._transport is not None:
            self._transport.abort()

    # ------------------------------------------------------------ parser callbacks (never raise)

    def on_message_begin(self) -> None:
        if self._complete:
            self._extra = True  # a second answer to one request: the first counts, the connection does not

    def on_status(self, status: bytes) -> None:
        if self._complete:
            return
        self._reason += status  # arrives in pieces
        if len(self._reason) > 1024:
            self._wrong = (Reason.RESPONSE_TOO_LARGE, "an endless status line")
            self._transport.pause_reading()

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._headers_done:
            return  # trailers, or an answer nobody asked for
        self._header_bytes += len(name) + len(value)
        if self._header_bytes > self._settings.header_bytes_max or len(self._headers) >= self._settings.headers_max:
            self._wrong = (Reason.RESPONSE_TOO_LARGE, "more headers than the bound allows")
            return
        self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        if self._complete:
            return
        status = self._parser.get_status_code()
        if 100 <= status < 200:
            return  # interim; on_message_complete drops it
        self._status = status
        self._headers_done = True
        has_length = chunked = False
        for name, value in self._headers:
            lower = name.lower()
            if lower == b"content-length":
                has_length = True
            elif lower == b"transfer-encoding":
                chunked = b"chunked" in value.lower()
            elif lower == b"content-encoding":
                self._set_decoder(value)
            elif lower == b"keep-alive":
                self._take_hint(value)
        assert self.ticket is not None
        if self.ticket.head:
            self._complete = True
        elif not has_length and not chunked and status not in (204, 304):
            self._ends_with_connection = True

    def on_body(self, chunk: bytes) -> None:
        if self._complete:
            return  # a HEAD answer with a body, against the protocol
        if self._decoder is not None:
            try:
                room = self._settings.body_bytes_max - self._body_bytes + 1
                chunk = self._decoder.decompress(chunk, room)
            except zlib.error as error:
                self._wrong = (Reason.PROTOCOL, f"the compressed body is damaged: {error}")
                return
            if self._decoder.unconsumed_tail:
                self._body_bytes += self._settings.body_bytes_max + 1
        self._body_bytes += len(chunk)
        if self._body_bytes > self._settings.body_bytes_max:
            self._wrong = (
                Reason.RESPONSE_TOO_LARGE,
                f"a body over {self._settings.body_bytes_max} bytes, the bound [connections] body_bytes_max",
            )
            self._chunks.clear()
            return
        self._chunks.append(chunk)

    def on_message_complete(self) -> None:
        if self._complete:
            return
        if 100 <= self._parser.get_status_code() < 200:
            first_byte_at = self._first_byte_at
            self._clear()
            self._first_byte_at = first_byte_at
            return
        if self._decoder is not None and not self._decoder.eof and self._wrong is None:
            self._wrong = (Reason.PROTOCOL, "the compressed body is cut short")
        self._keep_alive = self._parser.should_keep_alive()  # right only inside this callback
        self._complete = True

    def _set_decoder(self, value: bytes) -> None:
        bits = _DECODABLE.get(value.strip().lower())
        if bits is not None and self.ticket is not None and self.ticket.decode:
            self._decoder = zlib.decompressobj(bits)

    def _take_hint(self, value: bytes) -> None:
        for part in value.split(b","):
            key, _, seconds = part.strip().partition(b"=")
            if key.lower() == b"timeout" and seconds.isdigit():
                self.keep_alive_hint_s = float(min(int(seconds), 86400))

    # ------------------------------------------------------------ endings

    def _deliver(self, *, keep: bool) -> None:
        ticket, self.ticket = self.ticket, None
        assert ticket is not None
        headers = self._headers
        if self._decoder is not None:
            headers = [(name, value) for name, value in headers if name.lower() not in _CHANGED_BY_DECODING]
        chunks = self._chunks
        body = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        status, reason, first_byte_at = self._status, self._reason, self._first_byte_at
        self.served += 1
        self.used_at = self.pool.clock()
        keep = keep and not ticket.head and not self._ends_with_connection and self.state is ConnState.BUSY
        if keep:
            self._clear()
            self.state = move(self.state, "answered")
        self.pool.answered(self, ticket, status, reason, headers, body, first_byte_at, keep=keep)
        if not keep:
            self.close()

    def _fail(self, cause: Reason, detail: str) -> None:
        ticket, self.ticket = self.ticket, None
        if self._transport is not None:
            self._transport.abort()
        if ticket is not None:
            self.pool.failed(self, ticket, cause, detail, any_byte=bool(self._first_byte_at))


_CHANGED_BY_DECODING = frozenset({b"content-encoding", b"content-length"})
