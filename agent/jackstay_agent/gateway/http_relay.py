"""One WebSocket of http.sock: the client's own bytes to the venue and back.

The upgrade travels as the client wrote it, and so does every frame after it: pings, pongs, closes and compression are
agreed between the client and the venue, and the death of one line is the death of the other. A socket that may carry
orders has a `Guard`: then compression is not offered to the venue, messages are read on their way, and what the guard
does not let through never leaves. Bounded: what waits for a slow side stops the other side's reading.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

import httptools

from jackstay_protocols.errors import Reason

from ..core.ws_frames import CLOSE, TEXT, BrokenFrames, Messages, WsMessage, close_frame, frame
from ..transport.dial import DialError
from ..transport.endpoint import Endpoint
from .http_answers import own_bytes, venue_bytes
from .http_peer import HttpPeer, HttpRequest

UPGRADE_S = 10.0
MESSAGE_BYTES_MAX = 16 * 1024 * 1024
EARLY_BYTES_MAX = 64 * 1024  # what a client may say before the venue has agreed
HEAD_BYTES_MAX = 64 * 1024
BODY_BYTES_MAX = 1024 * 1024
GO_AWAY = 1001
_NOT_FORWARDED = frozenset(
    {b"host", b"connection", b"upgrade", b"keep-alive", b"proxy-connection", b"content-length", b"transfer-encoding"}
)


class Guard(Protocol):
    """Reads the messages of one socket that may carry orders."""

    def from_client(self, message: WsMessage) -> bool:
        """True: let it pass. Otherwise the guard has dealt with it."""
        ...

    def from_venue(self, message: WsMessage) -> None: ...
    def ended(self) -> None: ...


class Relay:
    """From the upgrade request to the end of either side."""

    def __init__(
        self,
        peer: HttpPeer,
        request: HttpRequest,
        url: str,
        endpoint: Endpoint,
        *,
        on_end: Callable[[Relay, str], None],
    ) -> None:
        self.url = url
        self.endpoint = endpoint
        self.peer = peer
        self.to_venue_bytes = self.to_client_bytes = 0
        self.guard: Guard | None = None
        self._request = request
        self._on_end = on_end
        self._venue: _Venue | None = None
        self._early = bytearray(request.rest)
        self._open = False
        self._ended = False
        self._task: asyncio.Task[None] | None = None
        self._client_messages: Messages | None = None
        self._venue_messages: Messages | None = None
        self._held: list[bytes] = []  # answers of the guard's that wait for the end of a venue's message

    @property
    def place(self) -> str:
        """What may be shown of the URL: queries of user streams hold secrets."""
        return self.url.partition("?")[0]

    def watch(self, guard: Guard) -> None:
        """Before `start`: read what passes."""
        self.guard = guard
        self._client_messages = Messages(MESSAGE_BYTES_MAX)
        self._venue_messages = Messages(MESSAGE_BYTES_MAX)

    def start(self, dial: Callable[[Callable[[], asyncio.Protocol]], Awaitable[Any]]) -> None:
        """Dial and ask for the upgrade; the client hears of a failure as an HTTP answer."""
        self.peer.tunnel = self
        self._task = asyncio.get_running_loop().create_task(self._dial(dial), name=f"upgrade {self.place}")

    async def _dial(self, dial: Callable[[Callable[[], asyncio.Protocol]], Awaitable[Any]]) -> None:
        try:
            async with asyncio.timeout(UPGRADE_S):
                venue = _Venue(self)
                self._venue = venue
                await dial(lambda: venue)
                venue.transport.write(self._upgrade())
                await venue.answered.wait()
        except DialError as error:
            self._failed(502, str(error.cause), error.detail)
        except TimeoutError:
            self._failed(502, str(Reason.TIMEOUT), f"{self.place} did not answer the upgrade within {UPGRADE_S:g} s")
        except asyncio.CancelledError:
            if self._venue is not None:
                self._venue.abort()
            raise

    def _upgrade(self) -> bytes:
        request = self._request
        slash = self.url.find("/", self.url.find("://") + 3)
        target = self.url[slash:].encode("ascii") if slash >= 0 else b"/"
        parts = [b"GET ", target, b" HTTP/1.1\r\nHost: ", self.endpoint.host_header, b"\r\n"]
        parts.append(b"Connection: Upgrade\r\nUpgrade: websocket\r\n")
        for name, value in request.headers:
            lower = name.lower()
            if lower in _NOT_FORWARDED or lower.startswith(b"x-jackstay-"):
                continue
            if self.guard is not None and lower == b"sec-websocket-extensions":
                continue  # compressed messages could not be read
            parts += (name, b": ", value, b"\r\n")
        parts.append(b"\r\n")
        return b"".join(parts)

    # ------------------------------------------------------------ the venue's answer to the upgrade

    def agreed(self, head: bytes, rest: bytes) -> None:
        """101: from now on both sides are one line."""
        self._open = True
        self.peer.write(head)
        early, self._early = bytes(self._early), bytearray()
        if early:
            self.from_client(early)
        if rest:
            self.from_venue(rest)

    def declined(self, status: int, reason: bytes, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
        """Any other answer: the client's library says it in its own words."""
        self._end(f"the venue answered {status} instead of 101")
        self.peer.write(venue_bytes(status, reason, headers, body))
        self.peer.close()

    def _failed(self, status: int, reason: str, words: str) -> None:
        if self._ended:
            return
        self._end(words)
        self.peer.write(own_bytes(status, words, reason=reason, keep_alive=False))
        self.peer.close()

    # ------------------------------------------------------------ bytes

    def from_client(self, data: bytes) -> None:
        if self._ended:
            return
        if not self._open:
            self._early += data
            if len(self._early) > EARLY_BYTES_MAX:
                self._failed(400, "bad_request", f"more than {EARLY_BYTES_MAX} bytes before the upgrade was answered")
            return
        if self._client_messages is None or self.guard is None:
            self.to_venue(data)
            return
        try:
            for message in self._client_messages.feed(data):
                if message.kind >= CLOSE or self.guard.from_client(message):
                    self.to_venue(message.raw)
        except BrokenFrames as error:
            self.stop(error.code, str(error))

    def from_venue(self, data: bytes) -> None:
        if self._ended:
            return
        self.to_client_bytes += len(data)
        self.peer.write(data)
        if self._venue_messages is None or self.guard is None:
            return
        try:
            for message in self._venue_messages.feed(data):
                if message.kind < CLOSE:
                    self.guard.from_venue(message)
        except BrokenFrames as error:
            self.stop(error.code, f"the venue: {error}")
            return
        if self._held and self._venue_messages.between:
            held, self._held = self._held, []
            for each in held:
                self.peer.write(each)

    def to_venue(self, data: bytes) -> bool:
        """False when nothing can leave any more."""
        if self._venue is None or self._ended or not self._open:
            return False
        self.to_venue_bytes += len(data)
        self._venue.transport.write(data)
        return True

    def to_client(self, text: bytes) -> None:
        """A message of the guard's own, between the venue's."""
        whole = frame(TEXT, text)
        if self._venue_messages is not None and not self._venue_messages.between:
            self._held.append(whole)
        elif not self._ended:
            self.peer.write(whole)

    def client_slow(self, slow: bool) -> None:
        if self._venue is not None and not self._ended:
            self._venue.read(not slow)

    def venue_slow(self, slow: bool) -> None:
        if not self._ended:
            self.peer.read(not slow)

    # ------------------------------------------------------------ ends

    def stop(self, code: int = GO_AWAY, why: str = "the agent is stopping") -> None:
        """End it orderly toward the client, at once toward the venue."""
        if self._ended:
            return
        opened = self._open
        self._end(why)
        if opened:
            self.peer.write(close_frame(code, why))
        else:
            self.peer.write(own_bytes(503, why, reason=str(Reason.DRAINING), keep_alive=False))
        self.peer.close()

    def client_gone(self) -> None:
        self._end("the client left")

    def venue_gone(self, error: Exception | None) -> None:
        if self._ended:
            return
        if not self._open:
            self._failed(502, str(Reason.RESET), f"{self.place} ended the line before it answered the upgrade")
            return
        # what the venue said is out; after it the client sees the end it would have seen without us
        self._end("the venue ended the line" if error is None else f"the line broke: {type(error).__name__}")
        self.peer.close()

    def _end(self, why: str) -> None:
        if self._ended:
            return
        self._ended = True
        if self.guard is not None:
            self.guard.ended()
        if self._venue is not None:
            self._venue.close()
        if self._task is not None and not self._task.done():
            current = asyncio.current_task()
            if current is not self._task:
                self._task.cancel()
        self._on_end(self, why)


class _Venue(asyncio.Protocol):
    """The venue's side: the answer to the upgrade, then bytes."""

    def __init__(self, relay: Relay) -> None:
        self.transport: Any = None
        self.answered = asyncio.Event()
        self._relay = relay
        self._parser: Any = httptools.HttpResponseParser(self)
        self._headers: list[tuple[bytes, bytes]] = []
        self._body = bytearray()
        self._reason = b""
        self._fed = 0
        self._complete = False
        self._lost = False

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        if self._parser is None:
            self._relay.from_venue(data)
            return
        self._fed += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._upgraded(data[upgrade.args[0] :])
            return
        except httptools.HttpParserError as error:
            self._relay._failed(502, str(Reason.PROTOCOL), f"{self._relay.place}: no HTTP answer: {error}")
            return
        if self._complete:
            self._declined()
        elif self._fed > HEAD_BYTES_MAX + BODY_BYTES_MAX:
            self._relay._failed(502, str(Reason.RESPONSE_TOO_LARGE), f"{self._relay.place}: an endless answer")

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, error: Exception | None) -> None:
        self._lost = True
        if self._parser is not None and self._headers and not self._complete and self._parser.get_status_code() != 101:
            self._declined()  # a body that ends with the connection
        self._relay.venue_gone(error)
        self.answered.set()

    def pause_writing(self) -> None:
        self._relay.venue_slow(True)

    def resume_writing(self) -> None:
        self._relay.venue_slow(False)

    def read(self, wanted: bool) -> None:
        if not self._lost:
            (self.transport.resume_reading if wanted else self.transport.pause_reading)()

    def close(self) -> None:
        if self.transport is not None and not self._lost:
            self.transport.close()

    def abort(self) -> None:
        if self.transport is not None and not self._lost:
            self.transport.abort()

    def _upgraded(self, rest: bytes) -> None:
        status = self._parser.get_status_code()
        if status != 101:
            self._declined()
            return
        self._parser = None
        head = [b"HTTP/1.1 101 Switching Protocols\r\n"]
        for name, value in self._headers:
            head += (name, b": ", value, b"\r\n")
        self.answered.set()
        self._relay.agreed(b"".join([*head, b"\r\n"]), rest)

    def _declined(self) -> None:
        status = self._parser.get_status_code()
        self.answered.set()
        self._relay.declined(status, self._reason, self._headers, bytes(self._body))

    def on_status(self, status: bytes) -> None:
        self._reason += status

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name, value))

    def on_body(self, chunk: bytes) -> None:
        self._body += chunk

    def on_message_complete(self) -> None:
        self._complete = True
